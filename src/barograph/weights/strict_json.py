"""JSON that lies beside weights or in front of them, read without believing it: no key twice, no NaN, no depth."""

import json
from typing import NoReturn


def strict_json(text: str) -> object:
    """What the text says. Raises `ValueError` for a key that stands twice in one object, and for what is no JSON."""
    try:
        found: object = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return found


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it names {key[:100]!r} twice")
        found[key] = value
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
