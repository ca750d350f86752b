"""What `barograph check` prints: a screen for people, and three forms for machines."""

import re
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from barograph import __version__
from barograph.cli.check_target import CheckedTarget
from barograph.cli.weights_report import number, printable
from barograph.policy.judgement import Judged, gravest
from barograph.records.quantities import VerdictWord

if TYPE_CHECKING:
    from rich.console import Console

COLOURS: dict[VerdictWord, str] = {"PASS": "green", "WARN": "yellow", "FAIL": "red", "ERROR": "red", "SKIP": "dim"}
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MARKDOWN = re.compile(r"[\\`*_{}\[\]()#!|~]")
"""What Markdown would take for more than a letter."""
WEIGHT = 1.0
"""What the seed's report says of every probe."""
FINDINGS = 8
INDENT = 8


class CheckReport(Struct, frozen=True, kw_only=True):
    """The document of `--format json`. What is not finite is null in it."""

    barograph: Annotated[str, Meta(description="Version that judged.")]
    verdict: Annotated[VerdictWord, Meta(description="The gravest of all.")]
    targets: Annotated[list[CheckedTarget], Meta(description="In the order in which they were named.")]


def json_report(found: Sequence[CheckedTarget]) -> str:
    """One JSON document. The evidence of a curve begins with the keys of the seed's report, in its order."""
    report = msgspec.to_builtins(_report(found))
    for target in report["targets"]:
        for one in target["verdicts"]:
            if one["evidence"] is not None:
                one["evidence"] = _evidence(one["evidence"], thresholds=one["thresholds"])
    return msgspec.json.encode(report).decode() + "\n"


def _evidence(measured: dict[str, object], *, thresholds: dict[str, float]) -> dict[str, object]:
    names = list(measured)
    place = names.index("curve_sampled") + 1
    first = {name: measured[name] for name in names[:place]}
    first["instability_events"] = float(str(first["instability_events"]))
    return {**first, "thresholds": thresholds, "weight": WEIGHT, **{name: measured[name] for name in names[place:]}}


def junit_report(found: Sequence[CheckedTarget], *, warnings_fail: bool) -> str:
    """JUnit XML, as continuous integration reads it: a suite per target, a case per verdict."""
    tags: dict[VerdictWord, str] = {"FAIL": "failure", "ERROR": "error", "SKIP": "skipped"}
    if warnings_fail:
        tags["WARN"] = "failure"
    root = ElementTree.Element("testsuites", name="barograph check")
    for target in found:
        words = [one.verdict for one in target.verdicts]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(target.target),
            tests=str(len(words)),
            failures=str(sum(tags.get(word) == "failure" for word in words)),
            errors=str(words.count("ERROR")),
            skipped=str(words.count("SKIP")),
        )
        for one in target.verdicts:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"barograph.{_xml(target.target)}", name=_xml(_title(one))
            )
            said = _xml(f"{one.message}. {one.advice}" if one.advice else one.message)
            if one.verdict in tags:
                ElementTree.SubElement(case, tags[one.verdict], message=said, type=one.verdict)
            else:
                ElementTree.SubElement(case, "system-out").text = f"{one.verdict}: {said}"
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def markdown_report(found: Sequence[CheckedTarget]) -> str:
    """A table per target, for a pull request's comment."""
    parts = []
    for target in found:
        rows = ["| verdict | what | numbers | said |", "|---|---|---|---|"]
        for one in target.verdicts:
            said = f"{one.message}. {one.advice}." if one.advice else one.message
            cells = (_title(one), "; ".join(_numbers(one)), said)
            rows.append(f"| **{one.verdict}** | " + " | ".join(_cell(cell) for cell in cells) + " |")
        notes = [f"- {_cell(note)}" for note in target.notes]
        parts.append(
            "\n".join([f"### {_cell(target.target)}: {target.verdict}", "", *rows, *(["", *notes] if notes else [])])
        )
    return "\n\n".join(parts) + "\n"


def print_text(found: Sequence[CheckedTarget]) -> None:
    """One screen per target."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for place, target in enumerate(found):
        if place:
            console.print()
        line = Text(f"{target.verdict:5} ", style=f"bold {COLOURS[target.verdict]}")
        line.append(printable(target.target), style="bold")
        line.append(f"  ({target.kind}, policy {target.policy})", style="dim")
        console.print(line)
        for one in target.verdicts:
            _print_verdict(console, one)
        for note in target.notes:
            console.print(Text(f"      note: {printable(note)}", style="dim"))


def _print_verdict(console: "Console", one: Judged) -> None:
    from rich.text import Text

    head = Text(f"  {one.verdict:5} ", style=COLOURS[one.verdict])
    head.append(_title(one), style="bold")
    console.print(head)
    _print_lines(console, one.message)
    _print_lines(console, ", ".join(_numbers(one)), style="dim")
    for finding in one.findings[:FINDINGS]:
        if finding.severity != "info":
            _print_lines(console, f"-> {finding.cause}. {finding.action}.")
        elif finding.message not in one.message:
            _print_lines(console, f"note: {finding.message}")


def _print_lines(console: "Console", text: str, *, style: str = "") -> None:
    """The text below its verdict, in lines that fit."""
    from rich.text import Text

    for line in textwrap.wrap(printable(text), max(20, console.width - INDENT)):
        console.print(Text(" " * INDENT + line, style=style))


def _numbers(one: Judged) -> list[str]:
    """The numbers of a verdict, each with the threshold that it was compared with."""
    return [
        f"{figure.name} {figure.text or _plain(figure.value)}"
        + (f" ({figure.sign} {number(figure.threshold)})" if figure.sign else "")
        for figure in one.figures
    ]


def _plain(value: float | None) -> str:
    whole = value is not None and value == int(value) and abs(value) < 1e15
    return str(int(value)) if whole and value is not None else number(value)


def _title(one: Judged) -> str:
    return f"{one.name} {one.subject}".strip()


def _report(found: Sequence[CheckedTarget]) -> CheckReport:
    return CheckReport(barograph=__version__, verdict=gravest([one.verdict for one in found]), targets=list(found))


def _xml(text: str) -> str:
    """The text without what XML cannot hold."""
    return NOT_XML.sub("?", text)


def _cell(text: str) -> str:
    """The text as a cell of a table: names come from files of others."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text.replace("\n", " "))).replace("<", "&lt;").replace("@", "&#64;")
