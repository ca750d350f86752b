"""The web pages: the built UI read once into a table of names, and two plain pages of our own.

Requests are looked up in the table; no part of a request ever becomes a path. Vite puts a content hash into the name
of every asset, so those may be kept for good; a name without a hash is asked for again each time.
"""

import base64
import hashlib
import re
from html import escape
from pathlib import Path

import msgspec

from barograph.api.bodies import FOREVER, REVALIDATE, Body, make_body

STATIC = Path(__file__).parent / "static"
"""Where the build of the UI puts its files."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of every answer: nothing inline, nothing from elsewhere."""

_HASHED = re.compile(r".*-[A-Za-z0-9_-]{8,}\.[a-z0-9]+")
_LARGEST = 16 * 1024 * 1024
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem}"
    ":root{color-scheme:light dark}"
    "input,button{font:inherit;padding:.5rem;min-height:44px;box-sizing:border-box}"
    "input{width:100%;margin:.25rem 0 .75rem}code{overflow-wrap:anywhere}"
)
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

MISSING_UI = """<h1>The web UI is not in this installation</h1>
<p>It is built when the package is installed. Install barograph again:</p>
<p><code>pip install .</code> in a checkout, or <code>pip install barograph</code>.</p>
<p>The API works without it: <a href="api/runs">runs</a>, <a href="api/openapi.json">description</a>.</p>"""

_SIGN_IN = """<h1>Sign in to barograph</h1>
{notice}<p>The token lies in the file <code>.barograph/token</code> of the folder that holds the runs.
<code>barograph token</code> prints it.</p>
<form method="post" action="{action}">
<label for="token">Token</label>
<input id="token" name="token" type="password" required maxlength="512" autocomplete="current-password" autofocus>
<button>Sign in</button>
</form>"""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be served besides documents."""

    home: Body
    """The page at `/`."""
    home_status: int
    """200, or 503 where the UI was never built."""
    assets: dict[str, Body]
    """Name under `/assets/` to file."""


def read_site(folder: Path = STATIC) -> Site:
    """The built UI in `folder`, or a page that says how to get it."""
    index = folder / "index.html"
    if not index.is_file():
        return Site(home=plain_page("No web UI", MISSING_UI), home_status=503, assets={})
    assets = {
        file.relative_to(folder / "assets").as_posix(): _read_asset(file)
        for file in sorted((folder / "assets").rglob("*"))
        if file.is_file() and not file.is_symlink() and file.stat().st_size <= _LARGEST
    }
    home = make_body(index.read_bytes(), media_type=_MEDIA_TYPES[".html"], cache_control=REVALIDATE)
    return Site(home=home, home_status=200, assets=assets)


def sign_in_page(notice: str = "", *, action: str = "api/login") -> Body:
    """The page that asks for the token. `action` is the form's target, relative to the page."""
    said = f'<p role="alert"><strong>{escape(notice)}</strong></p>\n' if notice else ""
    return plain_page("Sign in", _SIGN_IN.format(notice=said, action=escape(action)))


def plain_page(title: str, content: str) -> Body:
    """A page without script; its one inline style is allowed by its digest. `content` is HTML of ours."""
    html = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)} - barograph</title><style>{_STYLE}</style></head>\n"
        f"<body><main>{content}</main></body></html>\n"
    )
    return make_body(
        html.encode(),
        media_type=_MEDIA_TYPES[".html"],
        cache_control="no-store",
        headers={
            "Content-Security-Policy": POLICY.replace("style-src 'self'", f"style-src 'sha256-{_STYLE_DIGEST}'"),
            # Under `no-referrer` a browser sends a form with `Origin: null`, which nobody may have.
            "Referrer-Policy": "same-origin",
        },
    )


def _read_asset(file: Path) -> Body:
    return make_body(
        file.read_bytes(),
        media_type=_MEDIA_TYPES.get(file.suffix, "application/octet-stream"),
        cache_control=FOREVER if _HASHED.fullmatch(file.name) else REVALIDATE,
    )
