"""The documentation is a contract: what it names exists, what exists is named, and its examples run."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
from msgspec import inspect

from barograph.records.codec import decode_line

LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")
DECISION_HEADINGS = ["## Context", "## Choice", "## What would change our mind"]
FRAGMENT = re.compile(r"[a-z0-9-]+\.(?:added|changed|fixed|removed)\.md")
NOT_DOCUMENTS = {"GET /", "GET /assets/{name}", "GET /api/openapi.json"}
"""Routes that answer with the page, its files, or the description of the others."""

ELSEWHERE = {"docs/reference/seed-map.md", "docs/reference/cli.md"}
"""Pages whose commands are checked by `test_seed_map.py`, or made from the commands themselves."""

MAKE_TARGET = re.compile(r"`make ([a-z-]+)`")


def test_every_generated_page_says_what_the_code_says_today(generate: ModuleType, root: Path) -> None:
    pages: dict[str, Callable[[], str]] = generate.PAGES
    stale = [name for name, make in pages.items() if (root / "docs" / "reference" / name).read_text() != make()]
    assert stale == [], "run: python docs/generate.py"


def undescribed(struct: type[msgspec.Struct]) -> list[str]:
    """The fields of a Struct that have no sentence."""
    found = inspect.type_info(struct)
    assert isinstance(found, inspect.StructType)
    return [
        f"{struct.__name__}.{field.encode_name}"
        for field in found.fields
        if not (
            isinstance(field.type, inspect.Metadata)
            and str((field.type.extra_json_schema or {}).get("description", "")).strip()
        )
    ]


def test_every_field_of_every_record_and_document_has_a_sentence(structs: tuple[type[msgspec.Struct], ...]) -> None:
    assert [field for struct in structs for field in undescribed(struct)] == []
    assert [struct.__name__ for struct in structs if not (struct.__doc__ or "").strip()] == []


def test_the_sentence_law_can_fail() -> None:
    silent = msgspec.defstruct("Silent", [("loss", float)])
    assert undescribed(silent) == ["Silent.loss"]


def test_every_command_and_every_option_has_a_sentence(options: dict[str, dict[str, str]]) -> None:
    assert options != {}
    assert [f"{name} {option}" for name, said in options.items() for option, text in said.items() if not text] == []


def test_every_route_has_a_section_in_the_reference(pages: dict[str, str], routes: frozenset[str]) -> None:
    documented = set(re.findall(r"^### ([A-Z]+ /\S*)$", pages["docs/reference/api.md"], re.MULTILINE))
    assert sorted(routes - documented - NOT_DOCUMENTS) == []
    assert sorted(documented - routes) == []


def commands_named(text: str) -> list[tuple[str, set[str]]]:
    """Every command line of ours in a page's code, as the command's name and its options."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = [*(line.strip() for block in blocks for line in block.splitlines()), *re.findall(r"`([^`\n]+)`", text)]
    return [
        (match[1], set(re.findall(r"(?<= )--[a-z-]+", line)))
        for line in code
        if (match := re.match(r"(?:\$ )?barograph ([a-z]+)", line)) is not None
    ]


def test_every_command_that_a_page_names_exists(pages: dict[str, str], options: dict[str, dict[str, str]]) -> None:
    unknown = [
        f"{page}: barograph {name} {' '.join(sorted(said))}"
        for page, text in pages.items()
        if page not in ELSEWHERE
        for name, said in commands_named(text)
        if name not in options or not said <= set(options[name])
    ]
    assert unknown == []


def test_the_command_law_can_fail() -> None:
    text = "run `barograph fly --high`\n```\n$ barograph serve --low\n```\nbarograph watches"
    assert commands_named(text) == [("serve", {"--low"}), ("fly", {"--high"})]


def broken_links(page: str, text: str, *, root: Path) -> list[str]:
    """Links of a page to files that are not there."""
    folder = (root / page).parent
    return [f"{page}: {target}" for target in LINK.findall(text) if not (folder / target).exists()]


def test_every_link_between_pages_leads_somewhere(pages: dict[str, str], root: Path) -> None:
    assert [link for page, text in pages.items() for link in broken_links(page, text, root=root)] == []


def test_the_link_law_can_fail(root: Path) -> None:
    assert broken_links("docs/x.md", "see [there](nowhere.md#part)", root=root) == ["docs/x.md: nowhere.md"]


def test_every_decision_has_its_three_parts_and_is_listed(pages: dict[str, str]) -> None:
    folder = "docs/decisions/"
    decisions = {page.removeprefix(folder): text for page, text in pages.items() if page.startswith(folder)}
    listed = LINK.findall(decisions.pop("README.md"))
    assert sorted(listed) == sorted(decisions)
    wrong = [
        page
        for page, text in decisions.items()
        if [line for line in text.splitlines() if line.startswith("## ")] != DECISION_HEADINGS
    ]
    assert wrong == []


def test_every_fragment_of_the_changelog_has_a_kind_and_is_one_paragraph(pages: dict[str, str]) -> None:
    folder = "changelog.d/"
    fragments = {page.removeprefix(folder): text for page, text in pages.items() if page.startswith(folder)}
    del fragments["README.md"]
    assert [name for name in fragments if FRAGMENT.fullmatch(name) is None] == []
    assert [name for name, text in fragments.items() if not text.strip() or "\n" in text.strip()] == []


def test_every_make_target_that_a_page_names_exists(pages: dict[str, str], root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert targets != set()
    named = {target for text in pages.values() for target in MAKE_TARGET.findall(text)}
    assert sorted(named - targets) == []


def test_the_python_examples_run(recorded: Path, examples: Callable[[str, Path], None]) -> None:
    assert list(recorded.glob("barograph-runs/*/logs/train-000001-*.jsonl")) != []
    examples("docs/explanation/journal.md", recorded)
    examples("docs/tutorials/first-run.md", recorded)


def test_the_python_examples_about_monitors_run(tmp_path: Path, examples: Callable[[str, Path], None]) -> None:
    examples("docs/how-to/monitors.md", tmp_path)
    assert (tmp_path / "my-training" / "status" / "training_status.json").is_file()


def test_the_python_example_about_notifications_runs(tmp_path: Path, examples: Callable[[str, Path], None]) -> None:
    examples("docs/how-to/notifications.md", tmp_path)


def test_the_example_line_of_the_journal_page_has_the_right_checksum(pages: dict[str, str]) -> None:
    lines = [line for line in pages["docs/explanation/journal.md"].splitlines() if line.startswith('{"type"')]
    assert [decode_line(line.encode()).checked for line in lines] == [True]
