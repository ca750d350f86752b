"""What models that are watched beside each other are called."""

import itertools
from collections.abc import Collection

import torch

from barograph.errors import UsageError

LONGEST_NAME = 100
"""Characters that the name of a model has at most."""


def given_name(name: object, taken: Collection[str]) -> str:
    """The name that a user gives. Raises `UsageError` for what is none, or is `taken`."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise UsageError(f"name={name!r:.100} is no name", advice=f"Pass a text of 1 to {LONGEST_NAME} characters")
    found = name.replace("/", "_")
    if found in taken:
        raise UsageError(f"a model called {name!r} is watched already", advice="Give each model a name of its own")
    return found


def model_name(model: torch.nn.Module, taken: Collection[str]) -> str:
    """What a model is called after its class; with a number where others of it are `taken`."""
    inner = unwrapped(model)
    name = type(inner).__name__
    several = (f"{name}_{count}" for count in itertools.count(2))
    return name if name not in taken else next(one for one in several if one not in taken)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model that a compiled or a parallel one wraps; itself if it does not."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, torch.nn.Module):
            return model
        model = inner
