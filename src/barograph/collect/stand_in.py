"""Stands in the place of one method of one object, and hears every call on the way.

A method is wrapped on the one object that trains, and only while it trains: the outermost method is seen, whatever a
subclass overrides with or without `super()`, and no other object pays anything. The wrap holds its object weakly: the
bound method in its place would be a cycle that keeps the model in memory after `del trainer`.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

Before = Callable[[tuple[object, ...], Mapping[str, object]], object]
After = Callable[[object], object]
Failed = Callable[[Exception], object]


class StandIn:
    """Stands in the place of `owner.<name>`, from construction to `remove`."""

    def __init__(
        self,
        owner: object,
        name: str,
        *,
        failed: Failed,
        before: Before | None = None,
        after: After | None = None,
    ) -> None:
        """`before(arguments, named)` is called before each call and `after(result)` after it; `failed(error)`, which
        may not raise, when one of them does."""
        self._owner = weakref.ref(owner)
        self._name = name
        self._before = before
        self._after = after
        self._failed = failed
        self._replaced: Callable[..., Any] | None = own_attribute(owner, name)  # type: ignore[assignment]  # it is callable
        setattr(owner, name, self)

    def __call__(self, *arguments: object, **named: object) -> object:
        """What the object's own method returns, heard on the way."""
        if self._before is not None:
            try:
                self._before(arguments, named)
            except Exception as error:  # noqa: BLE001 - whoever called the method must not hear of it
                self._failed(error)
        if self._replaced is not None:
            result = self._replaced(*arguments, **named)
        else:
            owner = self._owner()
            if owner is None:
                raise ReferenceError(f"{self._name} was called after its owner had been freed")
            result = getattr(type(owner), self._name)(owner, *arguments, **named)
        if self._after is not None:
            try:
                self._after(result)
            except Exception as error:  # noqa: BLE001 - as before the call
                self._failed(error)
        return result

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """A copy of the object, or a pickle of it, gets the method that it would have without us."""
        if self._replaced is not None:
            return _itself, (self._replaced,)
        return getattr, (self._owner(), self._name)

    def remove(self) -> None:
        """Put back what was there. If someone wrapped ours meanwhile, theirs stays and ours only passes through."""
        self._before = self._after = None
        self._failed = _itself  # what listened is held no more
        owner = self._owner()
        if owner is None or own_attribute(owner, self._name) is not self:
            return
        if self._replaced is None:
            delattr(owner, self._name)
        else:
            setattr(owner, self._name, self._replaced)


def own_attribute(owner: object, name: str) -> object:
    """What `owner` itself has under `name`, and not its class; never computed. None if it has nothing."""
    return getattr(owner, "__dict__", {}).get(name)


def _itself(found: object) -> object:
    return found
