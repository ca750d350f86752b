"""The folds over a training while it runs: losses, gradients, throughput, hardware, and the alerts that follow.

All of it happens in the writer's thread: the lines of a run are made there, and what a line says goes through the
watch, which returns the alerts, signals and advice that are written behind it. The training thread reads two things of
it, `stop` and `wanted`, each of which is one assignment. Whatever the folds do, the line itself is written: one that
raises is recorded, said once, and left out from then on.
"""

import functools
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import ParamSpec

import msgspec

from barograph.analysis.layer_activity import LayerName, LayerValues, layer_metric
from barograph.analysis.throughput import StepTiming
from barograph.analysis.training_status import REPORTED
from barograph.collect.layer_norms import LayerNorms
from barograph.collect.observed import BATCH_SIZE, GRADIENT_NORM, SEQUENCE_LENGTH, TOKENS, Observed, Read, read
from barograph.collect.rows import Rows
from barograph.collect.secrets import shown
from barograph.collect.time_budget import TimeBudget
from barograph.journal.writer import described
from barograph.policy.tables import Policy
from barograph.policy.training_watch import TrainingWatch
from barograph.records import Alert, CollectorFailed, Hardware, Record, Step

LOGGED_LOSS = ("loss", "train/loss")
LOGGED_NORM = ("grad_norm", "train/grad_norm")
"""What trainers call the norm of all gradients; left to the one that is taken at every step, where there is one."""

KNOWN_NORMS = frozenset({*LOGGED_NORM, GRADIENT_NORM, "gradient_norm"})
"""Names under which a user's loop may say that norm; then it is not derived from those of the layers."""

TOKENS_SEEN = "num_input_tokens_seen"
"""What the watch takes the throughput of, where no step was timed: tokens since training began."""

ABOUT_A_BATCH = frozenset({"non_finite_loss", "masked_loss", "loss_spike"})
"""Conditions that ask for the examples of their step."""

ABOUT_LAYERS = frozenset({"loss", "gradients"})
"""Categories of alerts at which the layers are measured at the next step, whenever they would be due."""

LAYERS = "layers"
"""What the time budget calls that measurement."""

LAYERS_AGAIN_S = 10.0
"""Least time between two such measurements."""

LAYERS_ASKED = 5
"""So many are asked for because a layer did not move."""

MOST_OVERFLOWS = 20
"""Steps in a row that a loss scaler may leave out before it counts as a failure: it halves its scale at each, so that
20 take it from 65,536 to below 0.1."""

TOGETHER_S = 0.5
"""Steps that come in this time are folded together: after the arithmetic of a step the folds' own code has left the
caches, and one fold takes as long as ten in a row. What is not finite is folded at once."""

MOST_TOGETHER = 1_000
"""Steps that are folded together at most."""

MOST_WANTED = 100
"""Batches that a run records at most."""

STATUS_FIELDS = frozenset({*REPORTED, "epoch"})
"""Names that a logged metric may have, after its prefix, to be in the status document."""

NAME = "alerts"
"""What the collector is called that all of this is."""

logger = logging.getLogger("barograph")

_Given = ParamSpec("_Given")


class LiveFolds:
    """Owns the watch over one attempt; every method but the constructor is called in the writer's thread."""

    def __init__(
        self,
        policy: Policy,
        *,
        rows: Rows,
        budget: TimeBudget,
        total_steps: int | None = None,
        processes: int = 1,
        stop_on: Collection[str] = (),
        told: Callable[[Alert], None] | None = None,
    ) -> None:
        """`processes`: how many train together. `stop_on`: conditions that ask for the end of training when they fire.
        `told(alert)` is called for every alert that fires or is over; it must not block."""
        self._policy = policy
        self._rows = rows
        self._budget = budget
        self._total_steps = total_steps
        self._processes = processes
        self._stop_on = frozenset(stop_on)
        self._told = told
        self._watch: TrainingWatch | None = None
        self._failed = False
        self._states: dict[str, str] = {}
        self._asked: set[int] = set()
        self._shape: dict[str, float] = {}
        self._own_norm = self._logs_norm = False
        self._overflows = self._layer_overflows = 0
        self._layers_asked_at = -LAYERS_AGAIN_S
        self._layers_asked = 0
        self._tokens = 0.0
        self._later: list[Callable[[], Sequence[Record]]] = []
        self._folded_at = -TOGETHER_S
        self.stop: Alert | None = None
        """The alert that asks for the end of training; the training thread looks at it."""
        self.wanted: deque[int] = deque()
        """Steps whose examples are asked for; the training thread takes them."""
        self.last_loss: float | None = None
        """The newest loss of a step, for the status document."""
        self.last_step: int | None = None
        """The newest step of such a loss."""
        self.fired = 0
        """How many alerts have begun to fire."""
        self.newest: dict[str, float] = {}
        """The newest value of each logged metric that the status document has a field for."""

    @property
    def watch(self) -> TrainingWatch | None:
        """The watch; None before the first line, and after it has failed."""
        return None if self._failed else self._watch

    def logged(
        self,
        make: Callable[..., list[Record]],
        step: int,
        at: float,
        values: Mapping[str, object],
        fills_loss: bool,
    ) -> list[Record]:
        """The lines of one `log` call, which `make` makes, and what follows from them."""
        records = make(step, at, values, fills_loss)
        strange = any(one.loss is not None and not math.isfinite(one.loss) for one in records if isinstance(one, Step))
        return records + self._together(functools.partial(self._log, records), at_once=strange)

    def observed(self, step: int, at: float, seen: Observed) -> list[Record]:
        """The line of one optimizer step, and what follows from it. Raises `NotYet`."""
        found = read(seen)
        found.metrics.update(self._new_shape(found.timing))
        records = self._rows.observed(step, at, found)
        said = [one for one in (found.loss, found.gradient_norm) if one is not None]
        strange = not all(map(math.isfinite, said))
        return records + self._together(functools.partial(self._step, step, at, found), at_once=strange)

    def caught_up(self) -> list[Record]:
        """What follows from the steps that wait to be folded together."""
        later, self._later = self._later, []
        said: list[Record] = []
        for fold in later:
            said += self._guarded(fold)
        if later:
            self._folded_at = time.monotonic()
        return said

    def _together(self, fold: Callable[[], Sequence[Record]], *, at_once: bool) -> list[Record]:
        self._later.append(fold)
        waits = time.monotonic() - self._folded_at < TOGETHER_S and len(self._later) < MOST_TOGETHER
        return [] if waits and not at_once else self.caught_up()

    def _now(
        self, fold: Callable[_Given, Sequence[Record]], *arguments: _Given.args, **named: _Given.kwargs
    ) -> list[Record]:
        """What `fold` returns, behind what follows from the steps before."""
        return [*self.caught_up(), *self._guarded(fold, *arguments, **named)]

    def _new_shape(self, timing: StepTiming | None) -> dict[str, float]:
        """What the batches of a step look like, where that is not as it was recorded last."""
        said = {} if timing is None else {BATCH_SIZE: timing.batch_size, SEQUENCE_LENGTH: timing.sequence_length}
        new = {name: float(value) for name, value in said.items() if value is not None}
        new = {name: value for name, value in new.items() if self._shape.get(name) != value}
        self._shape.update(new)
        return new

    def layers(self, step: int, at: float, norms: LayerNorms) -> list[Record]:
        """The row of one collection of the layers' norms, and what follows from it. Raises `NotYet`.

        A step that a loss scaler leaves out has no row: its gradients overflowed by design, and its weights stay.
        """
        values = norms.read()
        before = self.caught_up()
        overflowed = norms.overflowed(values)
        total = None if self._own_norm or self._logs_norm else norms.total(values)
        metrics = layer_metrics(values)
        if total is not None:
            metrics[GRADIENT_NORM] = total
        records: list[Record] = [Step(step=step, time=at, metrics=metrics)] if metrics else []
        self._layer_overflows = self._layer_overflows + 1 if overflowed else 0
        if overflowed and max(self._overflows, self._layer_overflows) < MOST_OVERFLOWS:
            return before
        return before + records + self._guarded(self._layers, step, at, values, total)

    def unavailable_layers(self, reason: str) -> list[Record]:
        """The norms of the layers cannot be had in this training."""
        values = LayerValues(available=False, reason=reason)
        return self._now(self._layers, self.last_step or 0, time.time(), values, None)

    def alert(self, alert: Alert, step: int | None) -> list[Record]:
        """An alert of the user's, at the newest step if it says none."""
        if alert.step is None and step is not None:
            alert = msgspec.structs.replace(alert, step=step)
        return [alert, *self._now(self._users, alert)]

    def saved(self, record: Record, step: int, name: str) -> list[Record]:
        """A checkpoint was saved."""
        return [record, *self._now(self._saved, step, name)]

    def planned(self, record: Record, steps: int) -> list[Record]:
        """The training will make so many steps."""
        self._total_steps = steps
        return [record, *self._now(self._planned, steps)]

    def unavailable(self, name: str, reason: str) -> list[Record]:
        """Why a field of the signals, or a condition, is not measured."""
        return self._now(self._unavailable, name, reason)

    def hardware(self, sample: Hardware) -> list[Record]:
        """The line of what the machine says of itself, and what follows from it."""
        return [sample, *self._now(self._hardware, sample)]

    def utilised(self, mfu: float | None) -> None:
        """The share of the device's arithmetic that the training uses."""
        if self.watch is not None:
            self.watch.measured(mfu=mfu)

    def end(self) -> list[Record]:
        """The last lines of the watch."""
        return self._now(self._end)

    def _log(self, records: Sequence[Record]) -> list[Record]:
        said: list[Record] = []
        for one in records:
            if not isinstance(one, Step):
                continue
            if one.loss is not None:
                norm = None if self._own_norm else _first(one.metrics, LOGGED_NORM)
                said += self._stepped(one.step, one.time, loss=one.loss, gradient_norm=norm)
            self._logs_norm = self._logs_norm or not KNOWN_NORMS.isdisjoint(one.metrics)
            hidden = {*LOGGED_LOSS, *(LOGGED_NORM if self._own_norm or one.loss is not None else ())}
            values = {name: value for name, value in one.metrics.items() if name not in hidden}
            if TOKENS in values and math.isfinite(values[TOKENS]):
                self._tokens += values[TOKENS]
                values.setdefault(TOKENS_SEEN, self._tokens)
            if values:
                for name in values:
                    if name.rpartition("/")[2] in STATUS_FIELDS and (name in self.newest or len(self.newest) < 100):
                        self.newest[name] = values[name]
                said += self._seen().metrics(one.step, one.time, values)
        return said

    def _stepped(self, step: int, at: float, *, loss: float | None, gradient_norm: float | None) -> Sequence[Record]:
        self.last_step, self.last_loss = step, loss
        return self._seen().step(step, at, loss=loss, gradient_norm=gradient_norm)

    def _step(self, step: int, at: float, found: Read) -> Sequence[Record]:
        norm, measured = found.gradient_norm, found.metrics.get(GRADIENT_NORM)
        if measured is not None:
            self._own_norm = True
            self._overflows = self._overflows + 1 if norm is None else 0
            if self._overflows >= MOST_OVERFLOWS:
                norm = measured
        self.last_step = step
        if found.loss is not None:
            self.last_loss = found.loss
        watch = self._seen()
        watch.measured(overhead_share=self._budget.overhead_share)
        return watch.step(
            step,
            at,
            loss=found.loss,
            gradient_norm=norm,
            max_norm=found.max_norm,
            token_entropy=found.token_entropy,
            top1_probability=found.top1_probability,
            timing=found.timing,
        )

    def _layers(self, step: int, at: float, values: LayerValues, total: float | None) -> Sequence[Record]:
        if self._layers_asked < LAYERS_ASKED and (None in values.gradient or 0.0 in values.update):
            # Nothing moved there: once may be chance, and the next look would come when the time budget allows it.
            self._layers_asked += 1
            self._budget.want(LAYERS)
        said = [] if total is None else self._seen().metrics(step, at, {GRADIENT_NORM: total})
        return [*said, *self._seen().layers(step, at, values)]

    def _users(self, alert: Alert) -> Sequence[Record]:
        self._seen().alert(alert)
        if self._told is not None:
            self._told(alert)
        return []

    def _saved(self, step: int, name: str) -> Sequence[Record]:
        self._seen().saved(step, name)
        return []

    def _planned(self, steps: int) -> Sequence[Record]:
        self._seen().planned(steps)
        return []

    def _unavailable(self, name: str, reason: str) -> Sequence[Record]:
        self._seen().unavailable(name, reason)
        return []

    def _hardware(self, sample: Hardware) -> Sequence[Record]:
        return self._seen().hardware(sample)

    def _end(self) -> Sequence[Record]:
        return [] if self._watch is None else self._watch.end(time.time())

    def _seen(self) -> TrainingWatch:
        if self._watch is None:
            self._watch = TrainingWatch(self._policy, total_steps=self._total_steps, processes=self._processes)
        return self._watch

    def _guarded(
        self, fold: Callable[_Given, Sequence[Record]], *arguments: _Given.args, **named: _Given.kwargs
    ) -> list[Record]:
        """What `fold` returns, taken note of; if it raises, that is recorded, and no fold is asked any more."""
        if self._failed:
            return []
        try:
            said = list(fold(*arguments, **named))
            for one in said:
                if isinstance(one, Alert):
                    self._take_note(one)
        except Exception as error:  # noqa: BLE001 - the line that was observed must be written whatever is made of it
            self._failed = True
            what = shown(described(error))
            logger.warning("barograph: the alerts failed and are left out: %s. Training and its log go on.", what)
            return [CollectorFailed(time=time.time(), name=NAME, error=what, step=self.last_step)]
        return said

    def _take_note(self, alert: Alert) -> None:
        before = self._states.get(alert.id, "")
        self._states[alert.id] = alert.state
        if len(self._states) > 1_000:
            del self._states[next(iter(self._states))]
        if alert.state == "firing" and alert.condition in self._stop_on and self.stop is None:
            self.stop = alert
        if alert.state in {"pending", "firing"} and alert.condition in ABOUT_A_BATCH:
            step = alert.step if before else (alert.first_step if alert.first_step is not None else alert.step)
            if step is not None and step not in self._asked and len(self._asked) < MOST_WANTED:
                self._asked.add(step)
                self.wanted.append(step)
        if alert.state == "firing" and before != "firing":
            self.fired += 1
            if alert.category in ABOUT_LAYERS:
                self._ask_for_layers()
        if self._told is not None and before != alert.state and alert.state in {"firing", "resolved"}:
            self._told(alert)

    def _ask_for_layers(self) -> None:
        now = time.monotonic()
        if now - self._layers_asked_at >= LAYERS_AGAIN_S:
            self._layers_asked_at = now
            self._budget.want(LAYERS)


def layer_metrics(values: LayerValues) -> dict[str, float]:
    """The metrics of one collection; a norm that was not measured has none."""
    metrics: dict[str, float] = {}
    for names, norms in (
        (_metric_names(values.names, "gradient_norm"), values.gradient),
        (_metric_names(values.names, "weight_norm"), values.weight),
        (_metric_names(values.names, "update_norm"), values.update),
    ):
        for name, norm in zip(islice(names, len(norms)), norms, strict=True):
            if norm is not None:
                metrics[name] = float(norm)
    return metrics


@functools.lru_cache(maxsize=16)
def _metric_names(names: tuple[LayerName, ...], quantity: str) -> tuple[str, ...]:
    return tuple(layer_metric(name, quantity) for name in names)  # type: ignore[arg-type]  # one of the three


def _first(metrics: Mapping[str, float], names: Collection[str]) -> float | None:
    return next((metrics[name] for name in names if name in metrics), None)
