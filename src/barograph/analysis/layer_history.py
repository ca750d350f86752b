"""The newest norms of many modules, kept in rings: a fold over collections, one row of every array per module.

All modules are taken in at once, as arrays: there may be some thousands of them, and a collection must cost far less
than a step of training.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.analysis.layer_status import LayerRule

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

SAME = 1e-12
"""Relative difference up to which two norms of the same weights are one: a device may sum in any order."""


class LayersCollected(Struct, frozen=True, kw_only=True):
    """One collection: every array is `[module]`, and NaN where nothing was measured."""

    gradient: Floats
    """Norms of the gradients, all parts of a module together."""
    measured: Flags
    """Whether there was a gradient: one that was there may be NaN."""
    a: tuple[Floats, Flags]
    """Norms of the gradients of A, and whether there was one."""
    b: tuple[Floats, Flags]
    """The same of B."""
    weight: Floats
    """Norms of the weights."""
    b_weight: Floats
    """Norms of B."""
    update: Floats
    """Norms of the changes by one step."""


class LayersKept(Struct, frozen=True):
    """What a ring says of every module; a number that is not finite is not known."""

    mean: list[float]
    """Mean of what is kept."""
    greatest: list[float]
    """Greatest of it."""


class LayerHistory:
    """What is known of `count` modules: one entry of every array each, and a ring of the newest norms."""

    def __init__(self, count: int, *, history: int) -> None:
        self.count = count
        self.history = history
        self.gradients = np.full((count, history), math.nan)
        """`[module, kept]`: finite gradient norms, NaN where there is none yet."""
        self.updates = np.full((count, history), math.nan)
        self.kept = np.zeros(count, dtype=np.int64)
        """Finite norms so far, those that are not kept any more too."""
        self.updated = np.zeros(count, dtype=np.int64)
        self.taken = np.zeros(count, dtype=np.int64)
        self.step = np.zeros(count, dtype=np.int64)
        self.gradient = np.full(count, math.nan)
        self.measured = np.zeros(count, dtype=np.bool_)
        self.a, self.b = np.full((count, 2), math.nan), np.full((count, 2), math.nan)
        """`[module, 2]`: the norm, and whether there is one."""
        self.weight, self.b_weight, self.update = (np.full(count, math.nan) for _ in range(3))
        self.median = np.full(count, math.nan)
        self.zeros = np.zeros(count, dtype=np.int64)
        """Collections in a row in which the gradient was zero."""
        self.moved = np.zeros(count, dtype=np.bool_)
        """Whether a gradient was ever more than zero."""
        self.absent, self.absent_since = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        """Collections in a row in which there was no gradient and the weights stayed; and the step of the first."""
        self.still, self.still_since = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        """Collections so far in which the weights stayed, -1 once they moved; and the step of the first."""

    def with_more(self, new: int) -> "LayerHistory":
        """The same and some new modules."""
        both, more = LayerHistory(0, history=self.history), LayerHistory(new, history=self.history)
        both.count = self.count + new
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(both, name, np.concatenate([value, getattr(more, name)]))
        return both

    def take(self, step: int, now: LayersCollected, at: Places, *, rule: LayerRule, medians: bool) -> None:
        """Take one collection of the modules `at: [module]` in."""
        if medians:
            self._take_medians(rule.min_history)
        moved = (now.update > 0.0) | self._differs(now.weight, at)
        without = ~now.measured & ~moved & (now.measured.any() | (now.update == 0.0))
        self.absent_since[at] = np.where(without & (self.absent[at] == 0), step, self.absent_since[at])
        self.absent[at] = np.where(without, self.absent[at] + 1, np.where(now.measured | moved, 0, self.absent[at]))
        stays = ~moved & (now.update == 0.0) & (self.still[at] >= 0)
        self.still_since[at] = np.where(stays & (self.still[at] == 0), step, self.still_since[at])
        self.still[at] = np.where(moved, -1, self.still[at] + stays)
        self.step[at] = step
        self.gradient[at], self.measured[at] = now.gradient, now.measured
        for known, (norm, there) in ((self.a, now.a), (self.b, now.b)):
            known[at, 0], known[at, 1] = norm, there
        self.weight[at], self.b_weight[at], self.update[at] = now.weight, now.b_weight, now.update
        self.taken[at] += now.measured
        zero = now.measured & (now.gradient <= rule.dead_below)
        self.zeros[at] = np.where(zero, self.zeros[at] + 1, np.where(now.measured, 0, self.zeros[at]))
        finite = now.measured & np.isfinite(now.gradient)
        self.moved[at] |= finite & ~zero
        self._keep(self.gradients, self.kept, at[finite], now.gradient[finite])
        changed = np.isfinite(now.update)
        self._keep(self.updates, self.updated, at[changed], now.update[changed])

    def _differs(self, weight: Floats, at: Places) -> Flags:
        """Whether the weights are known to be others than at the collection before: an optimizer that runs while
        gradients are made changes them outside of what is measured as a step."""
        with np.errstate(invalid="ignore"):
            found: Flags = np.abs(weight - self.weight[at]) > SAME * np.abs(self.weight[at])
        return found

    def _keep(self, ring: Floats, counts: Places, at: Places, values: Floats) -> None:
        ring[at, counts[at] % self.history] = values
        counts[at] += 1

    def _take_medians(self, least: int) -> None:
        """The median of what is kept of each module, before the collection that it will be set beside."""
        ordered = np.sort(self.gradients, axis=1)
        size = np.minimum(self.kept, self.history)
        at = np.arange(self.count)
        low, high = ordered[at, np.maximum(0, size - 1) // 2], ordered[at, np.minimum(self.history - 1, size // 2)]
        self.median = np.where(size >= least, 0.5 * low + 0.5 * high, math.nan)


def layers_kept(ring: Floats, counts: Places) -> LayersKept:
    """Mean and greatest of what a ring holds of each module; not finite where it holds nothing."""
    size = np.minimum(counts, ring.shape[1])
    there = np.arange(ring.shape[1]) < size[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.where(there, ring, 0.0).sum(axis=1) / size
    greatest = np.where(there, ring, -math.inf).max(axis=1, initial=-math.inf)
    return LayersKept(mean.tolist(), greatest.tolist())
