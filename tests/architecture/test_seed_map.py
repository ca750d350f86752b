"""`docs/reference/seed-map.md` is true: what it claims exists, and what it calls *not yet* does not.

The page is a list of tables with three columns. In the last one, code before the words "not yet" is a claim, and code
after them is a promise; both are of a few forms, and every form has one function here that says whether it exists.
"""

import re
from pathlib import Path

import msgspec
import pytest

import barograph

PAGE = "docs/reference/seed-map.md"
TITLES = (
    "Training Analytics Data Contracts",
    "Advanced Metrics System",
    "Learning Visualization Plan",
    "Monitoring System V2",
    "training_drift",
)
LATER = "not yet"
CODE = re.compile(r"`([^`]+)`")
PATH = re.compile(r"(?:src|ui|docs|tests|bench)/[\w./-]*")
RUN_FILE = re.compile(r"RUN/([\w./*-]+)")
ROUTE = re.compile(r"(?:GET|POST) /\S*")
COMMAND = re.compile(r"barograph (\w+)((?: --[a-z-]+)*)")
PUBLIC_NAME = re.compile(r"barograph\.(\w+)")
FIELD = re.compile(r"[A-Z]\w+\.\w+")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table."""

    document: str
    """Title of the document that names it."""
    named: str
    """What the document names."""
    claims: list[str]
    """Code that exists, the page says."""
    promises: list[str]
    """Code that does not exist, the page says."""


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What really exists."""

    root: Path
    """The repository."""
    run: Path
    """The folder of a run that was recorded."""
    routes: frozenset[str]
    """Method and path of every route."""
    options: dict[str, dict[str, str]]
    """Command to its options, each with its sentence."""
    fields: frozenset[str]
    """`Struct.field` of every record and document."""


@pytest.fixture(scope="module")
def house(
    root: Path,
    recorded: Path,
    routes: frozenset[str],
    options: dict[str, dict[str, str]],
    fields: frozenset[str],
) -> House:
    """The repository as it is, and a run recorded by it."""
    run = recorded / "barograph-runs" / "watched"
    return House(root=root, run=run, routes=routes, options=options, fields=fields)


def rows(text: str) -> list[Row]:
    """Every row of every table below a heading of the second level, heads and rules left out."""
    found: list[Row] = []
    document = ""
    for line in text.splitlines():
        if line.startswith("## "):
            document = line.removeprefix("## ").strip()
        if not document or not line.startswith("|") or line.startswith(("|---", "| named there")):
            continue
        named, _, here = (cell.strip() for cell in line.strip("|").split("|"))
        now, _, later = here.partition(LATER)
        found.append(Row(document=document, named=named, claims=CODE.findall(now), promises=CODE.findall(later)))
    return found


def exists(code: str, house: House) -> bool:
    """Whether a claim is true; raises `ValueError` for code of no known form."""
    if PATH.fullmatch(code):
        return (house.root / code).exists()
    if ROUTE.fullmatch(code):
        return code in house.routes
    if match := RUN_FILE.fullmatch(code):
        return any(house.run.glob(match[1]))
    if match := COMMAND.fullmatch(code):
        return match[1] in house.options and set(match[2].split()) <= set(house.options[match[1]])
    if match := PUBLIC_NAME.fullmatch(code):
        return match[1] in barograph.__all__
    if FIELD.fullmatch(code):
        return code in house.fields
    raise ValueError(f"{code!r} has none of the forms that {PAGE} lists")


def untrue(text: str, house: House) -> list[str]:
    """Every claim of a page that is not true, and every promise that has come true."""
    found: list[str] = []
    for row in rows(text):
        where = f"{row.document}: {row.named}"
        found += [f"{where}: {code} does not exist" for code in row.claims if not exists(code, house)]
        found += [f"{where}: {code} exists now" for code in row.promises if exists(code, house)]
    return found


def test_the_map_is_true(pages: dict[str, str], house: House) -> None:
    assert untrue(pages[PAGE], house) == []


def test_the_map_has_a_table_for_every_document(pages: dict[str, str]) -> None:
    found = rows(pages[PAGE])
    assert tuple(dict.fromkeys(row.document for row in found)) == TITLES


def test_every_row_says_where_the_thing_is_or_that_it_is_not_there_yet(pages: dict[str, str]) -> None:
    tables = pages[PAGE].partition(f"## {TITLES[0]}")[2]
    lines = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith("| named there")]
    cells = [line.strip("|").split("|")[-1] for line in lines]
    assert [cell for cell in cells if LATER not in cell and not CODE.search(cell)] == []


TRUE_CLAIMS = (
    "`src/barograph/errors.py`",
    "`RUN/logs/train-*.jsonl`",
    "`GET /healthz`",
    "`barograph serve --port`",
    "`barograph.init`",
    "`Step.loss`",
)
FALSE_CLAIMS = (
    "`src/barograph/nowhere.py`",
    "`RUN/logs/nowhere-*.jsonl`",
    "`GET /api/nowhere`",
    "`POST /healthz`",
    "`barograph nowhere`",
    "`barograph serve --nowhere`",
    "`barograph.nowhere`",
    "`Step.nowhere`",
    "`Nowhere.step`",
)


def page_with(cell: str) -> str:
    """A map of one row."""
    return f"# Map\n\n## {TITLES[0]}\n\n| named there | kind | here |\n|---|---|---|\n| `x.py` | script | {cell} |\n"


@pytest.mark.parametrize("claim", TRUE_CLAIMS)
def test_a_true_claim_passes_and_a_promise_that_came_true_fails(claim: str, house: House) -> None:
    assert untrue(page_with(claim), house) == []
    assert untrue(page_with(f"not yet: {claim}"), house) != []


@pytest.mark.parametrize("claim", FALSE_CLAIMS)
def test_a_false_claim_fails_and_an_open_promise_passes(claim: str, house: House) -> None:
    assert untrue(page_with(claim), house) != []
    assert untrue(page_with(f"{TRUE_CLAIMS[0]}; the rest not yet: {claim}"), house) == []


def test_code_of_an_unknown_form_is_refused(house: House) -> None:
    with pytest.raises(ValueError, match="none of the forms"):
        untrue(page_with("`something else`"), house)
