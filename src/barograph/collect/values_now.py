"""What a caller gives, read at once: for those who ask for an answer and can wait for a device."""

import time
from typing import Protocol, TypeVar

from barograph.collect.logged_values import NO_NUMBER, copied_value, number, step_of
from barograph.journal import NotYet

LOOK_S = 0.0005
"""Seconds between two looks for what a device has been asked for."""

_Content = TypeVar("_Content", covariant=True)


class OnItsWay(Protocol[_Content]):
    """What a device has been asked for."""

    def read(self) -> _Content:
        """It. Raises `NotYet` while it is not there."""


_Read = TypeVar("_Read")


def delivered(asked: OnItsWay[_Read]) -> _Read:
    """What was asked for, once the device has delivered it."""
    while True:
        try:
            return asked.read()
        except NotYet:
            time.sleep(LOOK_S)


def number_now(value: object) -> float | None:
    """A number, or a tensor of one element, as a float, NaN and the infinities included; None for what is none."""
    held = copied_value(value)
    while True:
        try:
            return number(held)
        except NotYet:
            time.sleep(LOOK_S)
        except NO_NUMBER:
            return None


def step_now(step: object, following: int) -> int:
    """The step that a caller means; `following` if none is said, or none that is one."""
    at = None if step is None else step_of(step)
    return following if at is None else at
