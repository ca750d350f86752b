"""What the two commands about weights share: exit codes, names that command no terminal, a bar when it is slow."""

import io
import math
from collections.abc import Sequence

import pytest

from barograph.cli import weights_report
from barograph.cli.weights_report import Bar, checked_severity, exit_code, number, printable
from barograph.errors import UsageError


@pytest.mark.parametrize(
    ("severities", "fail_on", "judged", "code"),
    [
        ([], None, True, 0),
        ([], "warning", True, 0),
        ([], None, False, 2),
        (["info"], "warning", True, 0),
        (["warning"], None, True, 0),
        (["warning"], "warning", True, 1),
        (["warning"], "critical", True, 0),
        (["critical"], "warning", True, 1),
        (["critical"], "critical", False, 1),
        (["critical"], None, False, 2),
    ],
)
def test_a_finding_as_grave_as_asked_is_1_and_nothing_to_judge_by_is_2(
    severities: Sequence[str], fail_on: str | None, judged: bool, code: int
) -> None:
    assert exit_code(severities, fail_on=fail_on, judged=judged) == code


def test_only_two_severities_can_fail() -> None:
    assert [checked_severity(one) for one in (None, "warning", "critical")] == [None, "warning", "critical"]
    with pytest.raises(UsageError, match="--fail-on is 'info'"):
        checked_severity("info")


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    assert printable("layers.0.w") == "layers.0.w"
    assert printable("\x1b[2Ja\nb\x07") == "\\x1b[2Ja\\nb\\x07"


def test_what_was_not_measured_is_a_dash_and_no_zero() -> None:
    assert [number(one) for one in (None, math.nan, math.inf, 0.0)] == ["-", "nan", "inf", "0"]


class Terminal(io.StringIO):
    """Standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_when_it_takes_longer_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", quick := Terminal())
    bar = Bar("Reading", total=10)
    bar.advance(5)
    bar.close()
    assert quick.getvalue() == ""
    monkeypatch.setattr(weights_report, "SLOW_S", -1.0)
    monkeypatch.setattr("sys.stderr", slow := Terminal())
    bar = Bar("Reading", total=10)
    bar.advance(5)
    bar.close()
    assert "Reading" in slow.getvalue()
