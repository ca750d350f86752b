"""The watch over a training: its folds, its conditions and its advice in one place, live and over logs alike.

Observations come in, records come out. Each fold is a part of its own: one that raises is left out from then on, its
conditions are in error and its fields null, with the reason, and the others go on. Nothing here waits, reads a clock or
grows with the length of the training.
"""

import math
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from barograph.analysis.layer_activity import LayerActivity, LayerValues
from barograph.analysis.plateau import Plateau, PlateauResult
from barograph.analysis.streaming import StreamingLoss
from barograph.analysis.throughput import StepTiming, Throughput, TokensSeen
from barograph.policy import live_signals, rules, watched_parts
from barograph.policy.advice_watch import AdviceWatch
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.policy.evaluation_watch import EvaluationWatch
from barograph.policy.gradient_watch import GradientWatch
from barograph.policy.learning_rate_watch import LearningRateWatch
from barograph.policy.logged_names import Logged, logged
from barograph.policy.loss_conditions import NOT_PROGRESS, LossSpikes, masked_loss, non_finite_loss, plateau
from barograph.policy.loss_diverged import LossDiverged
from barograph.policy.loss_progress import LossBeginning
from barograph.policy.machine_conditions import disk_full, gpu_memory, gpu_temperature, throughput_degraded
from barograph.policy.pace import Pace
from barograph.policy.situation import Save, Situation
from barograph.policy.tables import Policy
from barograph.policy.watched_conditions import WatchedConditions, fired
from barograph.records import Advice, Alert, Hardware, Record, Signals

P = ParamSpec("P")
T = TypeVar("T")

SIGNALS_S = 5.0
"""Seconds between lines of signals while no condition changes."""

SAVES = 256
"""Checkpoints that advice knows, the newest."""

LOOKS = 5
"""The throughput is looked at so often while its window is filled once: a single step that hangs is in it for no more
looks than that."""


class _Newest(Struct):
    """The newest of the numbers that no fold keeps; None is not measured."""

    step: int = 0
    loss_step: int = -1
    loss: float | None = None
    token_entropy: float | None = None
    top1_probability: float | None = None
    mfu: float | None = None
    overhead_share: float | None = None
    own_alert: Alert | None = None
    own_alerts: int = 0


class TrainingWatch:
    """A fold over one attempt of a training: the records that its steps, metrics, layers and machine give rise to."""

    def __init__(
        self,
        policy: Policy,
        *,
        total_steps: int | None = None,
        processes: int = 1,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """`processes`: how many train together. Each has a loss of its own, and all have one gradient."""
        self._policy = policy
        self._processes = processes
        self._conditions = WatchedConditions(policy, new_id=new_id or (lambda: secrets.token_hex(8)))
        self._losses = StreamingLoss(rules.streaming(policy))
        self._beginning = LossBeginning()
        self._plateau = Plateau(rules.plateau(policy))
        self._plateau_result: PlateauResult | None = None
        self._plateau_step: int | None = None
        self._flat = NOT_SEEN
        self._sound = non_finite_loss(0, 0.0, table=policy.alerts.non_finite_loss)
        self._spikes = LossSpikes(policy.alerts.loss_spike)
        self._level = LossDiverged(policy.alerts.loss_diverged, rules.divergence(policy))
        self._gradients = GradientWatch(policy, self._conditions)
        self._evaluations = EvaluationWatch(policy, self._conditions)
        self._rates = LearningRateWatch(policy, self._conditions)
        self._saves: deque[Save] = deque(maxlen=SAVES)
        self._newest = _Newest()
        self._norms_of_steps = False
        self._rewards = False
        self._failed: dict[str, str] = {}
        self._unavailable: dict[str, str] = {}
        self._pace = Pace(burst=10, every_s=1.0)
        self._signals_at = -math.inf
        self._advice = AdviceWatch(policy)
        self.throughput = Throughput(rules.throughput(policy))
        """Rates and samples as they stand."""
        self.total_steps = total_steps
        """Planned steps; None if not known."""

    def step(
        self,
        step: int,
        time: float,
        *,
        loss: float | None,
        gradient_norm: float | None = None,
        max_norm: float | None = None,
        learning_rate: float | None = None,
        token_entropy: float | None = None,
        top1_probability: float | None = None,
        timing: StepTiming | None = None,
    ) -> list[Record]:
        """One optimizer step: `loss` in nats, `gradient_norm` before clipping to `max_norm`; None is not measured."""
        newest = self._newest
        newest.step = step
        if gradient_norm is not None:
            self._norms_of_steps = True
            self._guarded("gradients", self._gradients.update, step, time, gradient_norm, max_norm=max_norm)
        if loss is not None:
            if step < newest.loss_step:
                # The steps went back: what comes now is no continuation, and its level no jump.
                self._spikes.begin_anew()
                self._level.begin_anew()
                self._plateau = Plateau(rules.plateau(self._policy))
            newest.loss_step, newest.loss = step, loss
            self._guarded("losses", self._losses.update, step, loss)
            self._beginning.update(loss)
            self._guarded("non_finite_loss", self._look_at_loss, step, time, loss)
            self._guarded("masked_loss", self._look_for_mask, step, time)
            self._guarded("spikes", self._look_for_spike, step, time, loss)
            self._guarded("divergence", self._look_at_level, step, time, loss)
            self._guarded("plateau", self._look_for_plateau, step, time, loss)
        if learning_rate is not None:
            self._guarded("learning_rate", self._look_at_rate, step, time, learning_rate)
        if timing is not None:
            self._guarded("throughput", self._look_at_speed, step, time, timing)
        if token_entropy is not None:
            newest.token_entropy = token_entropy
        if top1_probability is not None:
            newest.top1_probability = top1_probability
        return self._due(time)

    def metrics(self, step: int, time: float, values: Mapping[str, float]) -> list[Record]:
        """What a trainer or a user logged. The losses of steps are not taken from here, and norms of gradients and
        counts of tokens only while `step` brings none."""
        said = self._guarded("metrics", logged, values)
        if said is None:
            return self._due(time)
        newest = self._newest
        newest.step = max(step, newest.step)
        self._rewards = self._rewards or said.rewards
        if said.learning_rate is not None:
            self._guarded("learning_rate", self._look_at_rate, step, time, said.learning_rate)
        if said.gradient_norm is not None and not self._norms_of_steps:
            self._guarded("gradients", self._gradients.update, step, time, said.gradient_norm)
            if newest.loss_step == step and newest.loss is not None:
                self._guarded("masked_loss", self._look_for_mask, step, time)
                if not math.isfinite(newest.loss) or (self._processes > 1 and not math.isfinite(said.gradient_norm)):
                    self._guarded("non_finite_loss", self._look_at_loss, step, time, newest.loss, again=True)
        if said.token_entropy is not None:
            newest.token_entropy = said.token_entropy
        if said.top1_probability is not None:
            newest.top1_probability = said.top1_probability
        if said.tokens_seen is not None:
            self._guarded("throughput", self._look_at_tokens, step, time, said.tokens_seen)
        if said.equal_rewards is not None:
            self._gradients.rewards(said.equal_rewards)
        self._look_at_evaluation(step, time, said)
        return self._due(time)

    def layers(self, step: int, time: float, values: LayerValues) -> list[Record]:
        """One collection of the norms of layers."""
        self._newest.step = max(step, self._newest.step)
        self._guarded("layers", self._gradients.layers, step, time, values, learning_rate=self._rates.rate)
        return self._due(time)

    def hardware(self, sample: Hardware) -> list[Record]:
        """What the machine says of itself."""
        alerts = self._policy.alerts
        looks: dict[str, Callable[[], Checked]] = {
            "gpu_memory": lambda: gpu_memory(sample, table=alerts.gpu_memory),
            "gpu_temperature": lambda: gpu_temperature(sample, table=alerts.gpu_temperature),
            "disk_full": lambda: disk_full(sample, table=alerts.disk_full),
        }
        for name, look in looks.items():
            found = self._guarded(name, look)
            if found is not None:
                self._conditions.judge(name, found, step=self._newest.step, time=sample.time)
        return self._due(sample.time)

    def planned(self, total_steps: int | None) -> None:
        """How many steps the training will make; None if nobody knows."""
        self.total_steps = total_steps

    def saved(self, step: int, name: str) -> None:
        """A checkpoint was saved: advice may name it."""
        self._saves.append(Save(step, name))

    def measured(self, *, mfu: float | None = None, overhead_share: float | None = None) -> None:
        """What only those can know who collect: model FLOPs utilisation, and our own share of the wall time."""
        newest = self._newest
        newest.mfu = newest.mfu if mfu is None else mfu
        newest.overhead_share = newest.overhead_share if overhead_share is None else overhead_share

    def alert(self, record: Alert) -> None:
        """An alert of the training's own; it is counted for the advice."""
        self._newest.own_alert = record
        self._newest.own_alerts += 1

    def unavailable(self, name: str, reason: str) -> None:
        """Why a field of `Signals`, a condition, `layers` or `hardware` is not measured."""
        self._unavailable[name] = reason
        words = self._conditions.words()
        for condition in watched_parts.WITHOUT.get(name, (name.removeprefix("conditions."),)):
            if words.get(condition) == "no_data":
                self._conditions.unknown(condition, reason)

    def end(self, time: float) -> list[Record]:
        """The last lines: counts that are still to be told, the signals and the advice."""
        self._conditions.end(time)
        return self._due(time, ended=True)

    def signals(self, step: int, time: float) -> Signals:
        """Everything that is known at `step`."""
        newest = self._newest
        told = Signals(
            step=step,
            time=time,
            spikes=self._spikes.episodes,
            learning_rate=self._rates.rate,
            gradient_norm=self._gradients.norm,
            token_entropy=newest.token_entropy,
            top1_probability=newest.top1_probability,
            mfu=newest.mfu,
            overhead_share=newest.overhead_share,
        )
        parts: dict[str, Callable[[Signals], Signals]] = {
            "losses": lambda told: live_signals.with_losses(told, self._losses),
            "plateau": lambda told: live_signals.with_plateau(told, self._plateau.result),
            "throughput": lambda told: live_signals.with_throughput(
                told, self.throughput, total_steps=self.total_steps
            ),
            "evaluations": lambda told: live_signals.with_evaluations(told, self._evaluations.losses),
        }
        for part, with_it in parts.items():
            told = self._guarded(part, with_it, told) or told
        told = replace(told, conditions=self._conditions.words())
        failed = {
            field: reason for part, reason in self._failed.items() for field in watched_parts.FIELDS.get(part, ())
        }
        return live_signals.explained(told, {**self._unavailable, **self._conditions.reasons(), **failed})

    @property
    def layer_activity(self) -> LayerActivity:
        """The layers as they stand."""
        return self._gradients.layer_activity

    @property
    def active(self) -> list[Alert]:
        """The open alerts as they stand, pending ones included, in the policy's order."""
        return self._conditions.active

    @property
    def advice(self) -> Advice | None:
        """The newest advice; None before the first."""
        return self._advice.newest

    def _look_at_loss(self, step: int, time: float, loss: float, *, again: bool = False) -> None:
        table, norm = self._policy.alerts.non_finite_loss, self._gradients.norm_at(step)
        sound = math.isfinite(loss) and (norm is None or math.isfinite(norm))
        found = non_finite_loss(step, loss, norm, table=table, processes=self._processes) if not sound else self._sound
        self._conditions.judge("non_finite_loss", found, step=step, time=time, again=again)

    def _look_for_mask(self, step: int, time: float) -> None:
        found = masked_loss(step, self._newest.loss, self._gradients.norm_at(step))
        self._conditions.judge("masked_loss", found, step=step, time=time)

    def _look_for_spike(self, step: int, time: float, loss: float) -> None:
        if not self._conditions.goes_on("loss_spike", time):
            self._spikes.forget_alert()
        found = self._spikes.update(step, loss)
        self._conditions.judge("loss_spike", unknown(NOT_PROGRESS) if self._rewards else found, step=step, time=time)

    def _look_at_level(self, step: int, time: float, loss: float) -> None:
        found = unknown(NOT_PROGRESS) if self._rewards else self._level.update(step, loss, self._gradients.norm)
        if math.isfinite(loss):
            self._conditions.judge("loss_diverged", found, step=step, time=time)

    def _look_for_plateau(self, step: int, time: float, loss: float) -> None:
        self._plateau.update(step, loss)
        result = self._plateau.result
        if self._rewards:
            self._flat = unknown(NOT_PROGRESS)
        elif result is not self._plateau_result:  # it is drawn anew now and then
            gain = self._policy.alerts.plateau.min_gain
            self._flat = plateau(result, min_gain=gain, before=self._fell_before() if result.plateau else "")
            self._plateau_result, self._plateau_step = result, step
        self._conditions.judge("plateau", self._flat, step=step, time=time)

    def _fell_before(self) -> str:
        """What a loss that stays did before, if it fell."""
        trend, change = self._losses.trend, self._losses.change
        if trend is None or change is None or trend.word != "improving" or change.ratio >= 0.0:
            return ""
        return f"Over the last {change.steps:,} steps it did fall, by {-change.ratio:.1%}; the newest of them do not."

    def _look_at_evaluation(self, step: int, time: float, said: Logged) -> None:
        """What was logged of an evaluation."""
        watch = self._evaluations
        if said.evaluation_losses:
            losses, newest = said.evaluation_losses, self._newest.loss
            self._guarded("evaluation_losses", watch.numbers, step, time, losses, training_loss=newest)
        if said.validation_loss is not None:
            about = self._losses.streaming_ce
            self._guarded("evaluations", watch.loss, step, time, said.validation_loss, training_loss=about)
        if said.calibration is not None:
            self._guarded("calibration", watch.calibration, step, time, said.calibration)
        if said.scores:
            self._guarded("scores", watch.scores, step, time, said.scores)

    def _look_at_rate(self, step: int, time: float, rate: float) -> None:
        self._rates.update(step, time, rate, total_steps=self.total_steps)

    def _look_at_speed(self, step: int, time: float, timing: StepTiming) -> None:
        self.throughput.update(step, time, timing)
        self._judge_speed(step, time)

    def _look_at_tokens(self, step: int, time: float, tokens: float) -> None:
        if self.throughput.count(TokensSeen(step, time, tokens)):
            self._judge_speed(step, time)

    def _judge_speed(self, step: int, time: float) -> None:
        fold = self.throughput
        if fold.steps % max(1, self._policy.throughput.window // LOOKS):
            return
        found = throughput_degraded(step, fold, table=self._policy.alerts.throughput_degraded)
        self._conditions.judge("throughput_degraded", found, step=step, time=time)

    def _due(self, time: float, *, ended: bool = False) -> list[Record]:
        """The records to write now: alerts when there are any, signals and advice now and then."""
        conditions, step = self._conditions, self._newest.step
        since = time - self._signals_at
        waited = (
            since >= SIGNALS_S or since < -SIGNALS_S
        )  # a clock may be set back, and observers are not quite in step
        at_once = ended or waited or (conditions.changed and self._pace.may(time))
        said: list[Record] = []
        if at_once or self._advice.stale(step, total_steps=self.total_steps):
            told = self.signals(step, time)
            new = self._guarded("advice", self._advised, told, ended=ended)
            said = [*([told] if at_once else []), *([] if new is None else [new])]
        if at_once:
            conditions.changed = False
            self._signals_at = time
        lines, conditions.lines = conditions.lines, []
        return [*lines, *said]

    def _advised(self, told: Signals, *, ended: bool) -> Advice | None:
        """New advice, if it is to be written."""
        known = told.loss_change is not None and not self._rewards
        situation = Situation(
            step=told.step,
            total_steps=self.total_steps,
            alerts=fired(self._conditions.active),
            schedule=self._rates.schedule,
            evaluations=self._evaluations.losses,
            plateau=None if "plateau" in self._failed or self._rewards else self._plateau.result,
            trend="unknown" if self._rewards else told.loss_trend,
            change=self._losses.change if known else None,
            progress=None if self._rewards else self._beginning.progress(told.streaming_ce, told.loss_noise),
            plateau_step=self._plateau_step,
            spikes=() if self._rewards or self._conditions.off("loss_spike") else tuple(self._spikes.newest),
            saves=tuple(
                save if self._evaluations.sound_at(save.step) else replace(save, sound=False) for save in self._saves
            ),
            own=self._newest.own_alert,
            own_count=self._newest.own_alerts,
            ended=ended,
        )
        return self._advice.update(situation, time=told.time)

    def _guarded(self, part: str, look: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What `look` returns; None if this part has failed, now or before."""
        if part in self._failed:
            return None
        try:
            return look(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a fold that fails must not break the others, nor the training
            reason = f"it could not be derived: {type(error).__name__}: {error}"[:300]
            self._failed[part] = reason
            for condition in watched_parts.CONDITIONS.get(part, ()):
                self._conditions.failed(condition, reason)
            return None
