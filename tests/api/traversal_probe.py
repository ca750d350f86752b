"""Sends hostile names to every parameter of the application and reports each file that Python opened meanwhile.

A program of its own, because an audit hook cannot be taken out again. Prints one JSON object: `statuses`: pairs of
target and status; `opened`: every path that was opened, listed or connected to while the requests were served.
"""

import asyncio
import json
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from barograph.api.app import create_app
from barograph.api.edge import Edge
from barograph.index import Indexer

CORPUS = (
    *("..", ".", "...", "../", "../..", "../../../../etc/passwd", "..\\..\\etc\\passwd", "..%2f..%2fetc%2fpasswd"),
    *("%2e%2e/%2e%2e/etc/passwd", "%252e%252e%252fetc%252fpasswd", "..%252f..%252fetc%252fpasswd", "%2e%2e%5c%2e%2e"),
    *("..%c0%af..%c0%afetc/passwd", "..%ef%bc%8f..%ef%bc%8fetc", "%u002e%u002e/etc/passwd", ".%00./etc/passwd"),
    *(
        "/etc/passwd",
        "//etc/passwd",
        "///etc/passwd",
        "//evil.example/etc/passwd",
        "/\\evil.example",
        "\\\\host\\share",
    ),
    *(
        "C:\\Windows\\win.ini",
        "C:/Windows/win.ini",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "~/.ssh/id_rsa",
    ),
    *("~root", "$HOME/.bashrc", "%HOME%", "`id`", "$(id)", "|id", ";id", "&id", "alpha;id", "alpha|id", "alpha\nid"),
    *(
        "alpha%00",
        "alpha%00.json",
        "alpha\x00../canary",
        "alpha/../canary",
        "alpha/../../canary",
        "alpha/./../../canary",
    ),
    *("alpha#../../canary", "alpha?x=../../canary", "alpha/..;/canary", "..;/canary", "alpha//../canary", "alpha/"),
    *(
        "․․/canary",
        "‥/canary",
        "．．/canary",
        "。。/canary",
        "..∕..∕canary",
        "..⧸canary",
        "\u202e../canary",
        "🙂/../canary",
    ),
    *(
        ".barograph",
        ".barograph/token",
        "../canary",
        "link",
        "link/canary",
        "canary",
        "*",
        "?",
        "[a-z]*",
        "{alpha,beta}",
    ),
    *("/proc/self/environ", "/dev/zero", "/dev/stdin", "logs", "alpha/logs", "con", "nul", "-", "--", "-rf", " ", ""),
    *(
        "a" * 129,
        "a" * 4096,
        "../" * 300 + "etc/passwd",
        "%2e%2e%2f" * 100,
        "' OR 1=1 --",
        "{{7*7}}",
        "<script>alert(1)",
    ),
)
TARGETS = (
    "/api/runs/{}",
    "/api/series?run={}&name=loss",
    "/api/series?run=alpha&name={}",
    "/api/series?run=alpha&name=loss&first={}",
    "/api/status/live?run={}",
    "/api/events?run={}",
    "/assets/{}",
    "/{}",
    "/status/{}.json",
    "/status/{}",
    "/status/layer_drift.json?run={}",
    "/api/checkpoints?run={}",
    "/api/checkpoints/{}?run=alpha",
    "/api/checkpoints/{}/tensors?run=alpha&layer=0",
    "/api/unified?run={}",
)


def main() -> None:
    """Expects the root, with a run `alpha`, as its one argument."""
    root = Path(sys.argv[1])
    with Indexer(root) as indexer:
        indexer.scan()
    app = create_app(root)
    opened: list[str] = []
    recording = False

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if recording and event in ("open", "os.listdir", "os.scandir", "sqlite3.connect", "shutil.copyfile"):
            opened.append(str(arguments[0]))

    sys.addaudithook(note)
    for target in TARGETS:
        asyncio.run(request(app, target.format("alpha").encode()))
    recording = True
    statuses = [(target.decode("latin-1"), asyncio.run(request(app, target))) for target in hostile_targets()]
    recording = False
    json.dump({"statuses": statuses, "opened": sorted(set(opened))}, sys.stdout)


def hostile_targets() -> Iterator[bytes]:
    """Request targets as they would stand on the wire: each name as it is, and escaped."""
    for target in TARGETS:
        for name in CORPUS:
            raw = target.format(name).encode()
            yield raw.replace(b"\n", b"%0A").replace(b"\x00", b"%00").replace(b" ", b"%20")
            yield target.format(urllib.parse.quote(name, safe="")).encode()


async def request(app: Edge, target: bytes) -> int:
    """GET one target the way uvicorn hands it on; the status."""
    raw_path, _, query = target.partition(b"#")[0].partition(b"?")
    status = 0

    received = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, object]:
        # Then the client hangs up, which ends a stream.
        return next(received, {"type": "http.disconnect"})

    async def send(message: dict[str, object]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(str(message["status"]))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": urllib.parse.unquote(raw_path.decode("latin-1"), encoding="utf-8", errors="replace"),
        "raw_path": raw_path,
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1:8080")],
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 50000),
        "state": {},
    }
    await app(scope, receive, send)  # type: ignore[arg-type]  # a plain dict in the place of Litestar's TypedDicts
    return status


if __name__ == "__main__":
    main()
