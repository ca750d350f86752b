"""Which layers and adapters take part in training: a fold over the norms of their gradients, weights and updates.

One row is one module: an adapter, whose matrices A and B are its two parts, or a transformer block. A module's norm is
that of all its parameters together:

    |g| = sqrt(sum over its parts of |g_part|^2),   update ratio = |dW| / |W| of one optimizer step

so an adapter whose B is still zero, and whose A therefore has a gradient of exactly zero, is not taken for dead: its B
has a gradient. "Vanishing" and "exploding" are set beside the module's own median, that of the collections before, and
beside fixed bounds; a policy says which of them count. A gradient that is NaN or infinite is `non_finite`, whatever the
bounds: every comparison with NaN is false, and so would call it healthy.

A gradient that was not there (`None`) is something else: a parameter that no loss reached, or one that a sharded
optimizer keeps elsewhere. It is `unknown` and never zero; only where it stays away while others have theirs, or while
the weights stay as they are, is the module dead.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.analysis.layer_history import LayerHistory, LayersCollected, layers_kept
from barograph.analysis.layer_name import (
    LayerKind,
    LayerMetric,
    LayerName,
    LayerPart,
    LayerQuantity,
    layer_metric,
    layer_of,
    module_blocks,
    natural_order,
)
from barograph.analysis.layer_rows import LayerNow, LayerRow, LayerSummary, layer_summary
from barograph.analysis.layer_status import LayerJudged, LayerRule, LayerSeen, LayerStatus, layer_status
from barograph.errors import UsageError

__all__ = [
    "LayerActivity",
    "LayerKind",
    "LayerMetric",
    "LayerName",
    "LayerPart",
    "LayerQuantity",
    "LayerRow",
    "LayerRule",
    "LayerStatus",
    "LayerSummary",
    "LayerValues",
    "layer_metric",
    "layer_of",
]

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

MEDIANS = 20
"""A module's median is taken anew after one in so many of the collections that it is taken of."""


class LayerValues(Struct, frozen=True, kw_only=True):
    """One collection: the norms of every column at one step.

    `names`, `gradient`, `weight` and `update` have one entry per column, in the same order. Keep the tuple of names
    from one collection to the next: what is derived of it is made once.
    """

    names: tuple[LayerName, ...] = ()
    """The columns; each once."""
    gradient: Sequence[float | None] | Floats = ()
    """L2 norms before clipping. `None`: no gradient was there. NaN or infinity: one was there, and is no number."""
    weight: Sequence[float | None] | Floats = ()
    """L2 norms of the weights before the step; `None` or NaN: not measured. Empty: none was."""
    update: Sequence[float | None] | Floats = ()
    """L2 norms of what the step changed; `None` or NaN: not measured. Empty: none was."""
    kind: LayerKind = "full"
    """Whether the columns are adapters or whole layers."""
    frozen: int | None = None
    """Modules of which no parameter is trained, which are no columns; None: nobody counted them."""
    available: bool = True
    """False if this training cannot be measured, such as with sharded parameters; the columns are empty then."""
    reason: str = ""
    """Why it is not available."""


class LayerActivity:
    """A fold over collections, live and over what was recorded; `rows` and `summary` say what was seen so far."""

    def __init__(self, rule: LayerRule) -> None:
        self._rule = rule
        self._plan = _Plan((), {})
        self._index: dict[str, int] = {}
        self._state = LayerHistory(0, history=rule.history)
        self._adapters = np.zeros(0, dtype=np.bool_)
        self._kind: LayerKind | None = None
        self._available = True
        self._reason = ""
        self._frozen: int | None = None
        self._step: int | None = None
        self._order: list[_Place] = []
        self._judged: list[LayerJudged] | None = None
        self.collections = 0
        """Collections taken in so far."""

    def update(self, step: int, values: LayerValues) -> None:
        """Take one collection in. Its names may differ from the last one's: a module that is not among them keeps
        what is known of it, and one that is new begins. Raises `UsageError` for columns of unequal length."""
        self._available, self._reason = values.available, values.reason
        self._judged = None
        if not values.available:
            return
        plan = self._planned(values)
        self._adapters[plan.modules] = values.kind == "lora"
        self._kind = values.kind
        self._frozen = values.frozen
        self._step = step
        self.collections += 1
        gradient, missing = _column(values.gradient, plan, "gradient")
        now = LayersCollected(
            gradient=_together(np.where(missing, 0.0, gradient), plan),
            measured=np.bincount(plan.place[~missing], minlength=len(plan.modules)) > 0,
            a=_of_part(gradient, missing, columns=plan.a, places=plan.a_place, count=len(plan.modules)),
            b=_of_part(gradient, missing, columns=plan.b, places=plan.b_place, count=len(plan.modules)),
            weight=_together(_column(values.weight, plan, "weight")[0], plan),
            b_weight=_spread(_column(values.weight, plan, "weight")[0], plan),
            update=_together(_column(values.update, plan, "update")[0], plan),
        )
        every = max(1, min(self.collections, self._rule.history) // MEDIANS)
        self._state.take(step, now, plan.modules, rule=self._rule, medians=self.collections % every == 0)

    def rows(self) -> list[LayerRow]:
        """One per module, in natural order: block 2 stands before block 10."""
        state, adapters = self._state, self._adapters.tolist()
        kept = layers_kept(state.gradients, state.kept)
        changes = layers_kept(state.updates, state.updated)
        gradient, a, b = state.gradient.tolist(), state.a.tolist(), state.b.tolist()
        weight, b_weight, update = state.weight.tolist(), state.b_weight.tolist(), state.update.tolist()
        median, taken, step = state.median.tolist(), state.taken.tolist(), state.step.tolist()
        measured = state.measured.tolist()
        rows = []
        for place, judged in zip(self._order, self._statuses(), strict=True):
            at = place.at
            row = LayerRow(
                module=place.module,
                block=place.block,
                kind="lora" if adapters[at] else "full",
                status=judged.status,
                why=judged.why,
                current_grad_norm=gradient[at] if measured[at] else None,
                mean_grad_norm=_finite(kept.mean[at]),
                max_grad_norm=_finite(kept.greatest[at]),
                median_grad_norm=_finite(median[at]),
                a_grad_norm=a[at][0] if a[at][1] > 0.0 else None,
                b_grad_norm=b[at][0] if b[at][1] > 0.0 else None,
                weight_norm=_finite(weight[at]),
                b_weight_norm=_finite(b_weight[at]),
                current_update=_finite(update[at]),
                mean_update=_finite(changes.mean[at]),
                max_update=_finite(changes.greatest[at]),
                update_ratio=_finite(update[at] / weight[at]) if weight[at] > 0.0 else None,
                num_updates=taken[at],
                step=step[at],
            )
            rows.append(row)
        return rows

    def summary(self) -> LayerSummary:
        """All modules together."""
        gradient, measured = self._state.gradient.tolist(), self._state.measured.tolist()
        statuses = zip(self._order, self._statuses(), strict=True)
        return layer_summary(
            [
                LayerNow(place.module, judged.status, gradient[place.at], measured[place.at])
                for place, judged in statuses
            ],
            collections=self.collections,
            step=self._step,
            kind=self._kind,
            available=self._available,
            reason=self._reason,
            frozen=self._frozen,
        )

    def _planned(self, values: LayerValues) -> "_Plan":
        """Where the columns of a collection belong; made anew only where the names are new."""
        if values.names is not self._plan.names and values.names != self._plan.names:
            for name in values.names:
                self._index.setdefault(name.module, len(self._index))
            new = len(self._index) - self._state.count
            if new:
                self._state = self._state.with_more(new)
                self._adapters = np.concatenate([self._adapters, np.zeros(new, dtype=np.bool_)])
                blocks = module_blocks(self._index)
                names = sorted(self._index, key=natural_order)
                self._order = [_Place(name, blocks[name], self._index[name]) for name in names]
            self._plan = _Plan(values.names, self._index)
        return self._plan

    def _statuses(self) -> "list[LayerJudged]":
        """The status of every module, in natural order; made once for each collection."""
        if self._judged is None:
            state = self._state
            seen = [
                LayerSeen(*one)
                for one in zip(
                    state.measured.tolist(),
                    state.gradient.tolist(),
                    state.median.tolist(),
                    state.zeros.tolist(),
                    state.moved.tolist(),
                    state.b_weight.tolist(),
                    self._adapters.tolist(),
                    state.absent.tolist(),
                    (state.step - state.absent_since).tolist(),
                    state.still.tolist(),
                    (state.step - state.still_since).tolist(),
                    strict=True,
                )
            ]
            self._judged = [layer_status(seen[place.at], rule=self._rule) for place in self._order]
        return self._judged


class _Place(Struct, frozen=True):
    """One module."""

    module: str
    """Its name."""
    block: int | None
    """Its block, if it is part of one."""
    at: int
    """Its place in the arrays of the history."""


class _Plan:
    """Where the columns of `names` belong: made once for many collections."""

    def __init__(self, names: tuple[LayerName, ...], index: dict[str, int]) -> None:
        self.names = names
        every = np.array([index[name.module] for name in names], dtype=np.int64)
        self.modules: Places
        """`[module]`: places of the modules that these columns are of."""
        self.place: Places
        """`[column]`: which of `modules` a column is of."""
        self.modules, self.place = np.unique(every, return_inverse=True)
        parts = np.array([name.part for name in names], dtype=np.str_)
        self.a, self.b = np.flatnonzero(parts == "A"), np.flatnonzero(parts == "B")
        self.a_place, self.b_place = self.place[self.a], self.place[self.b]


def _column(values: Sequence[float | None] | Floats, plan: _Plan, name: str) -> tuple[Floats, Flags]:
    """The values of every column, and where there is none."""
    count = len(plan.names)
    if not len(values):
        return np.full(count, math.nan), np.ones(count, dtype=np.bool_)
    if len(values) != count:
        raise UsageError(
            f"{len(values)} values of {name} for {count} columns", advice="Give one value per name, None for none"
        )
    if isinstance(values, np.ndarray):
        return values.astype(np.float64), np.zeros(count, dtype=np.bool_)
    known = np.array(values, dtype=np.float64)
    if not np.isnan(known).any():
        return known, np.zeros(count, dtype=np.bool_)
    return known, np.array([value is None for value in values], dtype=np.bool_)


def _together(norms: Floats, plan: _Plan) -> Floats:
    """`norms: [column]` -> `[module]`: the norm of all columns of a module together."""
    count = len(plan.modules)
    with np.errstate(over="ignore", invalid="ignore"):
        joined = np.sqrt(np.bincount(plan.place, weights=norms * norms, minlength=count))
        if not np.isfinite(joined).all():
            # Squares may overflow where the norms do not.
            joined = np.zeros(count)
            np.hypot.at(joined, plan.place, norms)
            joined[np.bincount(plan.place, weights=np.isnan(norms), minlength=count) > 0] = math.nan
    return joined


def _of_part(norms: Floats, missing: Flags, *, columns: Places, places: Places, count: int) -> tuple[Floats, Flags]:
    """`[module]`: the norms of one part of the adapters, and which have one."""
    found, there = np.full(count, math.nan), np.zeros(count, dtype=np.bool_)
    found[places], there[places] = norms[columns], ~missing[columns]
    return found, there


def _spread(norms: Floats, plan: _Plan) -> Floats:
    """`[module]`: the norms of B, NaN where there is none."""
    found = np.full(len(plan.modules), math.nan)
    found[plan.b_place] = norms[plan.b]
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
