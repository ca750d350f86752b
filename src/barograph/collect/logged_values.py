"""What a user's `log` may hold: numbers, one-element tensors and arrays, and nested dicts of them; how they are copied
in the training step, and read later in the writer's thread."""

import operator
from collections.abc import Iterator, Mapping

from barograph.collect.device_values import DeviceValue, device_value, is_tensor
from barograph.collect.secrets import text_of

NO_NUMBER = (TypeError, ValueError, OverflowError, RuntimeError)
"""What a value raises that cannot be read as a number; the last one is torch's for everything."""


_ORDINARY = frozenset({"Tensor", "Parameter"})
"""Tensor types whose `item` reads memory and does nothing else: that of a distributed tensor is a collective call."""


class Refused:
    """Stands for a value that is no number, such as a text or a tensor of several elements, which is not copied."""

    def __init__(self, kind: str) -> None:
        """`kind` is the value's type, and its shape if it has one."""
        self.kind = kind


def copied(values: Mapping[str, object]) -> dict[str, object]:
    """`values` such that nothing the caller does later changes it: dicts copied, tensors copied on their device."""
    held: dict[str, object] = {}
    for key, value in values.items():
        if type(value) is float or type(value) is int:  # most are, and they need no other question
            held[key] = value
        else:
            try:
                held[key] = _nested(value) if isinstance(value, Mapping) else copied_value(value)
            except Exception:  # noqa: BLE001 - whatever a user's value does, it must not take its row with it
                held[key] = Refused(type(value).__name__)
    return held


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    """As `copied`, but a dict that cannot be copied, such as one that contains itself, spoils all that it lies in."""
    return {key: _nested(item) if isinstance(item, Mapping) else copied_value(item) for key, item in values.items()}


def width(values: Mapping[str, object]) -> int:
    """How many values there are, those of nested dicts counted."""
    return sum(width(value) if isinstance(value, Mapping) else 1 for value in values.values())


def copied_value(value: object) -> float | DeviceValue | Refused:
    """One value as it is now. What is no number is not held on to: it may be a whole model."""
    try:
        if is_tensor(value):
            if value.numel() == 1 and not value.is_complex():
                if value.device.type == "cpu" and type(value).__name__ in _ORDINARY:
                    return float(value.item())  # nobody waits for host memory, and a copy would cost 15 times as much
                return device_value(value)
            return Refused(f"{type(value).__name__} of shape {list(value.shape)}")
        if type(value).__module__.startswith("numpy.ma"):  # a masked value is missing; as a number it would be 0
            return Refused(type(value).__name__)
        if hasattr(value, "dtype") and hasattr(value, "item"):
            if getattr(value, "size", 1) != 1:
                return Refused(type(value).__name__)
            value = value.item()
        if hasattr(type(value), "__float__"):
            return float(value)  # type: ignore[arg-type]  # it has __float__
    except Exception:  # noqa: BLE001 - a user's value may raise anything, and must not take its row with it
        return Refused(type(value).__name__)
    return Refused(type(value).__name__)


def flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values with the keys of nested dicts joined by `/`."""
    for key, value in values.items():
        name = prefix + text_of(key)
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}/")
        else:
            yield name, value


def number(value: object) -> float:
    """A copied value as a float. Raises one of `NO_NUMBER`, or `NotYet`."""
    if isinstance(value, float | int):
        return float(value)
    if isinstance(value, DeviceValue):
        return value.read()
    raise TypeError(f"{kind_of(value)} is no number")


def kind_of(value: object) -> str:
    """What the user's value is, or was, in one phrase."""
    if isinstance(value, DeviceValue):
        return "Tensor that cannot be read"
    return value.kind if isinstance(value, Refused) else type(value).__name__


def step_of(step: object) -> int | None:
    """What a user gave as a step, as an int of Python's; whole floats of any library are steps too, others are none."""
    try:
        if hasattr(type(step), "__index__") and not _is_float(step):
            at = operator.index(step)  # type: ignore[arg-type]  # it has one
        elif hasattr(type(step), "__float__") and float(step).is_integer():  # type: ignore[arg-type]  # it has one
            at = int(float(step))  # type: ignore[arg-type]  # as above
        else:
            return None
    except Exception:  # noqa: BLE001 - a user's value may raise anything
        return None
    return at if 0 <= at < 2**63 else None


def _is_float(value: object) -> bool:
    """Whether a tensor or an array has an `__index__` that it refuses, as it holds floats."""
    return any(word in str(getattr(value, "dtype", "")) for word in ("float", "double", "half"))
