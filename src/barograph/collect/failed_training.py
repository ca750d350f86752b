"""Tells who watches a trainer that its `train` failed: no event does, and in a notebook the process lives on.

`train` is wrapped once on the class that defines it, and asks, when it fails, whether anybody watches that trainer. A
wrap on the trainer itself was tried twice. Holding the trainer, it is a cycle that keeps the model in memory after
`del trainer`. Holding it weakly, `Trainer(...).train()` finds its trainer gone, because Python lets go of an object
before it calls a plain function that was found on it. And a copy of such a trainer would train the original.
"""

import functools
import weakref
from collections.abc import Callable
from typing import Protocol


class Watcher(Protocol):
    """Who wants to know."""

    def training_failed(self, error: BaseException) -> None:
        """Called once, in the thread that trains, before the error goes on to the user. Must not raise."""


_WATCHERS: "weakref.WeakKeyDictionary[object, weakref.WeakSet[Watcher]]" = weakref.WeakKeyDictionary()
_TRAINING: "weakref.WeakSet[object]" = weakref.WeakSet()
_WRAPS: "weakref.WeakSet[Callable[..., object]]" = weakref.WeakSet()


def watch(trainer: object, watcher: Watcher) -> None:
    """Let `watcher` know when a `train` of `trainer` that begins from now on fails. Neither is kept alive by this."""
    if trainer not in _WATCHERS:
        _WATCHERS[trainer] = weakref.WeakSet()
    _WATCHERS[trainer].add(watcher)
    for kind in type(trainer).__mro__:
        original = vars(kind).get("train")
        if original is not None:
            if original not in _WRAPS:
                kind.train = _wrap(original)  # type: ignore[attr-defined]  # it has one: we just read it
            return


def _wrap(original: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(original)
    def train(trainer: object, *arguments: object, **named: object) -> object:
        if trainer in _TRAINING:  # a subclass's `train` called this one: the outermost tells
            return original(trainer, *arguments, **named)
        _TRAINING.add(trainer)
        try:
            return original(trainer, *arguments, **named)
        except BaseException as error:
            for watcher in tuple(_WATCHERS.get(trainer, ())):
                watcher.training_failed(error)
            raise
        finally:
            _TRAINING.discard(trainer)

    _WRAPS.add(train)
    return train
