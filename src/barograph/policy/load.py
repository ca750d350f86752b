"""Read a policy: one of ours by name, or a TOML file of the user's.

A file may name a `base`; its own keys replace the base's, key by key, and what neither says is an error.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import msgspec

from barograph.errors import PolicyError
from barograph.policy.refusal import refusal
from barograph.policy.tables import Policy

SHIPPED = ("default", "contract")
_DEPTH = 4


def load(policy: str | Path = "default") -> Policy:
    """The policy of that name, or in that file. Raises `PolicyError` with the file, the key and what is allowed."""
    name = policy if isinstance(policy, str) and policy in SHIPPED else Path(policy).stem
    tables = _tables(policy, depth=0)
    try:
        return msgspec.convert({"name": name, **tables}, Policy)
    except msgspec.ValidationError as error:
        why = refusal(str(error), tables=tables, policy=Policy)
        raise PolicyError(why.problem, where=_where(policy), advice=why.advice) from error


def _tables(policy: str | Path, *, depth: int) -> dict[str, object]:
    if depth >= _DEPTH:
        raise PolicyError(f"more than {_DEPTH} policies build on each other", where=_where(policy))
    own: dict[str, object] = dict(_parsed(policy))
    if "name" in own:
        raise PolicyError("unknown key `name`", where=_where(policy), advice="A policy is called what its file is")
    base = own.pop("base", None)
    if base is None:
        return own
    if not isinstance(base, str):
        raise PolicyError(f"`base` is {base!r}", where=_where(policy), advice='Use base = "default" or a file name')
    beside = base if base in SHIPPED else Path(policy).parent / base
    return _merged(_tables(beside, depth=depth + 1), own)


def _merged(below: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """`below` with the keys of `own` in place of its own; tables on both sides are merged in turn."""
    merged = dict(below)
    for key, value in own.items():
        other = merged.get(key)
        merged[key] = _merged(other, value) if isinstance(other, Mapping) and isinstance(value, Mapping) else value
    return merged


def _parsed(policy: str | Path) -> dict[str, object]:
    try:
        if isinstance(policy, str) and policy in SHIPPED:
            return tomllib.loads(resources.files("barograph.policy").joinpath(f"{policy}.toml").read_text("utf-8"))
        return tomllib.loads(Path(policy).read_text("utf-8"))
    except OSError as error:
        advice = f"Name a TOML file, or one of {', '.join(SHIPPED)}"
        raise PolicyError(f"cannot be read: {error.strerror}", where=_where(policy), advice=advice) from error
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"is no TOML: {error}", where=_where(policy)) from error


def _where(policy: str | Path) -> str:
    return f"policy {policy}"
