"""One value of a log of another tool: what it is as a step, a loss, a time or a metric, or that it is none.

From JSON come `True`, `"7"`, `7.9`, `-1` and 2^70, from CSV only texts; none of these becomes a step by conversion. A
loss is a number or one of the words for NaN and the infinities. A cell that a spreadsheet would compute is a text.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

LAST_STEP = 2**63 - 1
TWICE = "\0twice"
"""The key under which an object says which of its keys it has twice."""
_DIGITS = 24
"""No whole number of a log is longer; Python's own limit would refuse a whole document for one."""
_DEPTH = 4
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_WORDS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
_EARLIEST, _LATEST = 1e8, 1e10
"""Seconds since 1970 between which a number is a time: 1973 to 2286."""


def json_of(text: str) -> object:
    """What a JSON text says. Raises `ValueError`.

    An object with a key twice says so under `TWICE`; a number that Python cannot hold stays the text that it is.
    """
    try:
        found: object = json.loads(text, object_pairs_hook=_object, parse_int=_int, parse_float=_float)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return found


def object_of(text: str) -> dict[str, object]:
    """The object that a JSON text says. Raises `ValueError`."""
    found = json_of(text)
    if not isinstance(found, dict):
        raise ValueError(f"no JSON object but {shown(found)}")
    return checked_object(found)


def checked_object(found: dict[str, object]) -> dict[str, object]:
    """The object, unless it has a key twice: then `ValueError`."""
    if TWICE in found:
        raise ValueError(f"the key {shown(found[TWICE])} is in it twice")
    return found


def step_of(value: object) -> int:
    """The step that a value is. Raises `ValueError`."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LAST_STEP:
        raise ValueError(f"the step is {shown(value)}, no whole number from 0 to 2^63 - 1")
    return value


def value_of(text: str) -> object:
    """What a cell of a table is: a whole number, a number, None if it is empty, else the text itself."""
    if not text:
        return None
    if _WHOLE.fullmatch(text) is not None:
        return int(text)
    number = number_of_cell(text)
    return text if number is None else number


def planned_of(value: object) -> int | None:
    """How many steps are planned; None where that is no step, or 0 or less, as trainers say that there is no plan."""
    try:
        return step_of(value) or None
    except ValueError:
        return None


def number_of(value: object) -> float | None:
    """The number that a value of JSON is, NaN and infinities included; None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and (value[-3:] in ("NaN", "nan", "inf") or value[-8:] == "Infinity"):
        return number_of_cell(value)
    return None


def number_of_cell(text: str) -> float | None:
    """The number that a cell of a table is; None if it is none, or one that no float holds."""
    text = text.strip()
    if len(text) > 400:
        return None
    if _NUMBER.fullmatch(text) is not None:
        value = float(text)
        return None if math.isinf(value) else value
    word = _WORDS.get(text.lstrip("+-").lower())
    if word is None or text[:2] in ("--", "-+", "+-", "++"):
        return None
    return -word if text.startswith("-") else word


def loss_of(value: object) -> float | None:
    """The loss that a value is, None for a missing one. Raises `ValueError` for what is no number."""
    if value is None or value == "":
        return None
    loss = number_of(value)
    if loss is None:
        raise ValueError(f"the loss is {shown(value)}, no number")
    return loss


def time_of(value: object) -> float | None:
    """Seconds since 1970 of a number of seconds or milliseconds, or of an ISO 8601 text; UTC where it names no zone."""
    seconds = number_of_cell(value) if isinstance(value, str) else number_of(value)
    if seconds is not None:
        if 1000 * _EARLIEST < seconds < 1000 * _LATEST:
            seconds /= 1000
        return seconds if _EARLIEST < seconds < _LATEST else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def flat(found: Mapping[str, object], *, depth: int = _DEPTH) -> dict[str, object]:
    """An object whose inner objects' names are joined with `/`; deeper ones are left out.

    Raises `ValueError` if an inner one has a key twice.
    """
    values: dict[str, object] = {}
    for key, value in found.items():
        if not isinstance(value, dict):
            values[key] = value
        elif depth:
            inside = flat(checked_object(value), depth=depth - 1)
            values |= {f"{key}/{name}": inner for name, inner in inside.items()}
    return values


def metrics_of(values: Mapping[str, object], *, without: frozenset[str]) -> dict[str, float]:
    """Whatever is a number, under its name."""
    found = {}
    for name, value in values.items():
        if name not in without and (number := number_of(value)) is not None:
            found[name] = number
    return found


def shown(value: object) -> str:
    """A value as a message shows it: short."""
    text = repr(value) if isinstance(value, str | bytes | int | float | bool) or value is None else type(value).__name__
    return text if len(text) <= 60 else f"{text[:60]}…"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        found[TWICE] = next(name for name in names if names.count(name) > 1)[:100]
    return found


def _int(text: str) -> int | str:
    return int(text) if len(text) <= _DIGITS else text


def _float(text: str) -> float | str:
    value = float(text)
    return text if math.isinf(value) else value
