"""What is wrong with a policy file, said in the file's own words: its table, its key, and what that may be."""

import difflib
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct, inspect

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$(?:\.(?P<path>.+))?`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<key>.*?)`(?: - at `\$(?:\.(?P<path>.+))?`)?", re.DOTALL)
_VALUE = re.compile(r"(?P<said>.*) - at `\$\.(?P<path>.+)`", re.DOTALL)

LONGEST = 60
"""Characters of a value that are shown."""


class Refusal(Struct, frozen=True):
    """Why a policy file is refused."""

    problem: str
    """What is wrong, and where in the file."""
    advice: str
    """What may stand there."""


def refusal(said: str, *, tables: Mapping[str, object], policy: type[Struct]) -> Refusal:
    """What msgspec said of `tables`, which are no `policy`, as a person needs it."""
    unknown = _UNKNOWN.fullmatch(said)
    if unknown is not None:
        place = _place(unknown["path"])
        is_table = isinstance(_value_at((*place, unknown["key"]), tables), Mapping)
        return _unknown_key(unknown["key"], place, is_table=is_table, policy=policy)
    missing = _MISSING.fullmatch(said)
    if missing is not None:
        place = _place(missing["path"])
        is_table = _keys_of(_type_at((*place, missing["key"]), policy=policy)) is not None
        name = (
            f"table {_spelled([*place, missing['key']])}" if is_table else f"key `{missing['key']}` in {_table(place)}"
        )
        return Refusal(f"missing {name}", 'Say it, or begin the file with base = "default"')
    wrong = _VALUE.fullmatch(said)
    if wrong is not None:
        place = _place(wrong["path"])
        wanted = _type_at(place, policy=policy)
        if wanted is not None and not said.startswith("`"):
            return _wrong_value(place, _value_at(place, tables), wanted)
        return Refusal(f"{wrong['said']} in {_table(place)}", _known(place, policy=policy))
    return Refusal(said, _known((), policy=policy))


def _unknown_key(key: str, place: Sequence[str], *, is_table: bool, policy: type[Struct]) -> Refusal:
    keys = _keys_of(_type_at(place, policy=policy)) or ()
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    name = (
        f"unknown table {_spelled([*place, key])}"
        if is_table
        else f"unknown key `{key}` {'in ' if place else ''}{_table(place)}"
    )
    meant = [_spelled([*place, one]) if is_table else f"`{one}`" for one in near]
    return Refusal(name + "".join(f"; did you mean {one}?" for one in meant), _known(place, policy=policy))


def _wrong_value(place: Sequence[str], value: object, wanted: inspect.Type) -> Refusal:
    *table, key = place
    if _keys_of(wanted) is not None:
        return Refusal(
            f"{_spelled(place)} is {_shown(value)}, and must be a table", f"Write {_spelled(place)} above its keys"
        )
    words = [str(one) for one in wanted.values] if isinstance(wanted, inspect.LiteralType) else []
    near = difflib.get_close_matches(value, words, n=1, cutoff=0.6) if isinstance(value, str) else []
    meant = f'; did you mean "{near[0]}"?' if near else ""
    return Refusal(f"`{key}` in {_table(table)} is {_shown(value)}{meant}", f"It must be {_may_be(wanted)}")


def _may_be(wanted: inspect.Type) -> str:
    """What a key may hold."""
    match wanted:
        case inspect.LiteralType():
            return "one of " + ", ".join(f'"{one}"' for one in wanted.values)
        case inspect.IntType():
            return f"a whole number{_range(wanted)}"
        case inspect.FloatType():
            return f"a number{_range(wanted)}"
        case inspect.BoolType():
            return "true or false"
        case _:
            return "a text that is not empty"


def _range(wanted: inspect.IntType | inspect.FloatType) -> str:
    bounds = []
    if wanted.gt is not None:
        bounds.append(f"above {wanted.gt:g}")
    if wanted.ge is not None:
        bounds.append(f"{wanted.ge:g} or more")
    if wanted.lt is not None:
        bounds.append(f"below {wanted.lt:g}")
    if wanted.le is not None:
        bounds.append(f"at most {wanted.le:g}")
    return f", {' and '.join(bounds)}" if bounds else ""


def _known(place: Sequence[str], *, policy: type[Struct]) -> str:
    keys = [key for key in _keys_of(_type_at(place, policy=policy)) or () if place or key != "name"]
    if place:
        return f"Known in {_table(place)}: {', '.join(keys)}"
    return f"Known tables: {', '.join(f'[{key}]' for key in keys)}; and the key base"


def _type_at(place: Sequence[str], *, policy: type[Struct]) -> inspect.Type | None:
    """The type of what stands there; None if nothing may."""
    found: inspect.Type = inspect.type_info(policy)
    for part in place:
        fields = {one.encode_name: one.type for one in found.fields} if isinstance(found, inspect.StructType) else {}
        if part not in fields:
            return None
        found = _bare(fields[part])
    return found


def _bare(found: inspect.Type) -> inspect.Type:
    return _bare(found.type) if isinstance(found, inspect.Metadata) else found


def _keys_of(found: inspect.Type | None) -> list[str] | None:
    return [one.encode_name for one in found.fields] if isinstance(found, inspect.StructType) else None


def _value_at(place: Sequence[str], tables: Mapping[str, object]) -> object:
    found: object = tables
    for part in place:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _place(path: str | None) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def _spelled(place: Sequence[str]) -> str:
    return f"[{'.'.join(place)}]"


def _table(place: Sequence[str]) -> str:
    return _spelled(place) if place else "outside of any table"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
