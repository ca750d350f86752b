"""`barograph check`: one command that judges a training, ours or another tool's."""

from enum import StrEnum
from typing import Annotated

import typer

from barograph.cli.base_dir import BaseDir, root_of
from barograph.cli.weights_report import PolicyName

PASSED, FAILED, NOT_JUDGED = 0, 1, 2


class ReportFormat(StrEnum):
    """What `check` can print."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    MARKDOWN = "markdown"


class Bar(StrEnum):
    """From which verdict on the exit code is 1."""

    FAIL = "fail"
    WARN = "warn"


def check(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="A run or its folder, a journal file, a dlm store, a trainer_state.json, a checkpoint folder, a log.",
            show_default=False,
        ),
    ],
    report: Annotated[ReportFormat, typer.Option("--format", help="What is printed.")] = ReportFormat.TEXT,
    policy: PolicyName = "default",
    fail_on: Annotated[Bar, typer.Option("--fail-on", help="The verdict from which on the exit code is 1.")] = Bar.FAIL,
    base_dir: BaseDir = None,
) -> None:
    """Judge trainings: can the loss curve be trusted, did gradients reach every layer, are the weights sound.

    What a target is, is seen from its content. Every verdict that applies is given, with its numbers, its thresholds
    and what to do; what could not be measured is SKIP with the reason, and never a pass.

    Exit codes: 0 nothing worse than a warning, 1 a FAIL (or a WARN, with --fail-on warn), 2 something could not be
    judged: an ERROR, or a target with nothing but SKIP.

    \b
    Examples:
      barograph check sft-7b                       (a run under --base-dir)
      barograph check output/checkpoint-400
      barograph check runs/* --format junit > report.xml
      barograph check trainer_state.json --policy contract --format json
    """
    from barograph.cli import check_reports
    from barograph.cli.check_target import checked
    from barograph.policy import load

    rules, root = load(policy), root_of(base_dir)
    found = [checked(target, root=root, policy=rules) for target in targets]
    if report is ReportFormat.TEXT:
        check_reports.print_text(found)
    else:
        made = {
            ReportFormat.JSON: lambda: check_reports.json_report(found),
            ReportFormat.JUNIT: lambda: check_reports.junit_report(found, warnings_fail=fail_on is Bar.WARN),
            ReportFormat.MARKDOWN: lambda: check_reports.markdown_report(found),
        }[report]()
        typer.echo(made, nl=False)
    words = [one.verdict for one in found]
    if "FAIL" in words or (fail_on is Bar.WARN and "WARN" in words):
        raise typer.Exit(FAILED)
    raise typer.Exit(NOT_JUDGED if "ERROR" in words or "SKIP" in words else PASSED)
