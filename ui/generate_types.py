"""Writes what the page knows of the API, from the API: `make types`.

    create_app(...)  ->  ui/openapi.json  ->  ui/src/lib/api.d.ts

`tests/browser/test_generated_types.py` holds both files against the app: a document that changed without this being
run fails the build there, and code of the page that no longer fits fails `npm run check`.
"""

import hashlib
import json
import sys
from pathlib import Path

UI = Path(__file__).resolve().parent
OPENAPI = UI / "openapi.json"
TYPES = UI / "src" / "lib" / "api.d.ts"


def openapi_text() -> str:
    """The API's description of itself, as the file holds it."""
    from litestar.testing import TestClient

    from barograph.api.app import create_app

    with TestClient(create_app(UI / "no-runs"), base_url="http://127.0.0.1") as client:
        schema = client.get("/api/openapi.json").raise_for_status().json()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def first_line(openapi: str) -> str:
    """The line above the types: what they were made from."""
    return (
        f"// Made by ui/generate_types.py from openapi.json, SHA-256 {hashlib.sha256(openapi.encode()).hexdigest()}\n"
    )


def main() -> None:
    """Write both files; fetches the generator with npm if it is not there."""
    sys.path.insert(0, str(UI.parent))
    from hatch_build import find_node, run_node

    node, npm = find_node()
    generator = UI / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    if not generator.is_file():
        run_node(
            [node, npm, "ci", "--ignore-scripts"],
            inside=UI,
            problem="npm ci failed.",
            advice="Is npm's registry reachable?",
        )
    openapi = openapi_text()
    OPENAPI.write_text(openapi, encoding="utf-8")
    run_node(
        [node, generator, OPENAPI, "--output", TYPES],
        inside=UI,
        problem="openapi-typescript failed.",
        advice="Look at ui/openapi.json.",
    )
    TYPES.write_text(first_line(openapi) + TYPES.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
