"""The application: the routes over one root, behind the edge."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from litestar import Litestar

from barograph.api.attempts import WrongTokens
from barograph.api.description import description_route
from barograph.api.edge import Edge
from barograph.api.events import Events
from barograph.api.export import export_route
from barograph.api.login import login_route
from barograph.api.monitors import monitor_routes
from barograph.api.pages import Site, read_site
from barograph.api.problems import answer_exception
from barograph.api.reading import Reading
from barograph.api.routes import document_routes, page_routes
from barograph.api.security import Access
from barograph.api.stream import event_route
from barograph.api.weights import weights_routes
from barograph.policy import Policy


def create_app(
    root: Path,
    *,
    access: Access | None = None,
    site: Site | None = None,
    events: Events | None = None,
    policy: Policy | None = None,
) -> Edge:
    """The ASGI application over the runs in `root`, which may not exist yet.

    Without `access` it lets in whoever can connect, and answers to loopback names only. `site` is the web UI; by
    default the one that was built into the package. Whoever has to end the event streams brings the `events`. `policy`
    judges; by default ours does.
    """
    access = access or Access()
    wrong_tokens = WrongTokens()
    events = events or Events()
    reading = Reading(root, events=events, policy=policy)

    def follow(_: Litestar) -> AbstractAsyncContextManager[None]:
        return reading.following()

    documented = [
        *document_routes(reading),
        *weights_routes(reading),
        *monitor_routes(reading),
        export_route(reading),
        event_route(events, reading.index_state),
        login_route(access, wrong_tokens),
    ]
    routes = Litestar(
        [*documented, description_route(documented), *page_routes(site or read_site())],
        exception_handlers={Exception: answer_exception},
        lifespan=[follow],
        logging_config=None,
        openapi_config=None,
    )
    return Edge(routes, access, wrong_tokens=wrong_tokens)
