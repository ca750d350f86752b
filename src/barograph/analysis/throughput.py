"""How fast a training goes: a fold over the times of its steps.

A step's time is its active time, waiting for data included, and pauses (evaluation, saving) left out, by a monotonic
clock. n steps have n durations and n counts of tokens, so no rate is taken over one interval too few:

    rate = sum of tokens / sum of seconds,   of the window, of the whole, and of two moving averages

The moving average is that of the tokens over that of the seconds: an average of rates would count short steps more than
long ones. A step whose tokens are not known counts for seconds per step, and for no rate, before a count of all tokens
so far says what the steps up to it had together: then each of them had the mean.
"""

import math
from collections import deque
from collections.abc import Iterable
from statistics import NormalDist, median
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from barograph.records.quantities import Count, Seconds, Step
from barograph.records.signals import TrendWord

SAMPLES = 60
"""Newest steps that are kept as samples."""


class StepTiming(Struct, frozen=True, kw_only=True, gc=False):
    """The times of one optimizer step, by a monotonic clock; `None` is not measured."""

    tokens: float | None
    """Tokens that it was trained on, padding left out where a mask says which those are."""
    seconds: float
    """Its active time: from the end of the step before to its own end, waiting for data included, and without
    evaluation, saving, logging and pauses."""
    data_wait_s: float | None = None
    """Of it, seconds that waited for batches."""
    forward_backward_s: float | None = None
    """Of it, seconds of forward and backward passes."""
    optimizer_s: float | None = None
    """Of it, seconds of the optimizer's step."""
    batch_size: int | None = None
    """Examples of the step, all its micro-batches together."""
    sequence_length: int | None = None
    """Greatest length of its sequences, padding included."""


class TokensSeen(Struct, frozen=True):
    """How many tokens a training had seen, and when."""

    step: int
    """After this step."""
    time: float | None
    """By the wall clock."""
    tokens: float
    """Since it began."""


class ThroughputRule(Struct, frozen=True, kw_only=True):
    """How the rates are taken."""

    window: Annotated[int, Meta(ge=2, description="Steps that the current rate is taken of.")]
    ema_alpha: Annotated[float, Meta(gt=0.0, lt=1.0, description="Weight of one step in the moving average.")]
    baseline_steps: Annotated[int, Meta(ge=2, description="Steps after warming up whose median is the baseline.")]
    trend_min_steps: Annotated[int, Meta(ge=4, description="Fewer steps than this have no trend.")]
    trend_share: Annotated[float, Meta(gt=0.0, description="A change of more than this share is a trend.")]
    warm_up_steps: Annotated[int, Meta(ge=0, description="First steps that baseline and trend ignore.")]
    judged_steps: Annotated[int, Meta(ge=2, description="Steps that the usual time of a token is taken of.")]


class ThroughputSample(Struct, frozen=True, kw_only=True):
    """The throughput at one step."""

    time: Annotated[Seconds | None, Meta(description="When the step ended.")]
    step: Annotated[Step, Meta(description="The step.")]
    tokens_per_sec: Annotated[float | None, Meta(description="Its rate.")]
    batch_size: Annotated[Count | None, Meta(description="Its examples.")]
    sequence_length: Annotated[Count | None, Meta(description="Greatest length of its sequences.")]


class TokenTime(Struct, frozen=True, kw_only=True):
    """What a token usually takes in the newest steps."""

    median: Annotated[float, Meta(description="Median over the steps of seconds per token.")]
    least: Annotated[float, Meta(description="Lower bound of that median.")]
    steps: Annotated[int, Meta(description="Steps that it is of.")]


class Rates(Struct, frozen=True, kw_only=True):
    """How fast it goes, under the names that `Signals` has for it; None is not known."""

    tokens_per_sec: float | None
    """Tokens a second of the window."""
    tokens_per_sec_ema: float | None
    """Those of the moving average."""
    tokens_per_sec_avg: float | None
    """Those of all steps."""
    tokens_per_sec_baseline: float | None
    """The median of the first steps after warming up."""
    throughput_trend: TrendWord
    """Whether it became faster."""
    seconds_per_step: float | None
    """Mean active time of a step of the window."""
    eta_s: float | None
    """Active seconds that are left."""
    data_wait_share: float | None
    """Share of the window's time that waited for data."""
    forward_backward_share: float | None
    """That of forward and backward passes."""
    optimizer_share: float | None
    """That of the optimizer's steps."""


class Throughput:
    """A fold over the steps of one attempt. Rates are tokens a second; each is `None` until it is known."""

    def __init__(self, rule: ThroughputRule) -> None:
        self._rule = rule
        self._window: deque[StepTiming] = deque(maxlen=rule.window)
        self._compared: deque[StepTiming] = deque(maxlen=max(rule.window, rule.trend_min_steps))
        self._token_times: deque[float] = deque(maxlen=rule.judged_steps)
        self._samples: deque[ThroughputSample] = deque(maxlen=SAMPLES)
        self._first_rates: list[float] = []
        self._baseline: float | None = None
        self._uncounted, self._uncounted_s = 0, 0.0
        self._says_tokens = self._timed = False
        self._seen: TokensSeen | None = None
        self._tokens, self._seconds = 0.0, 0.0
        self._ema_tokens, self._ema_seconds = 0.0, 0.0
        self.steps = 0
        """Steps taken in."""
        self.left_out = 0
        """Steps whose duration was no duration."""

    def update(self, step: int, time: float | None, timing: StepTiming) -> None:
        """Take one step in; `time` is the wall clock at its end. A duration that is negative or not finite is left out
        and counted, tokens that are so are not known."""
        self._timed = True
        self._take(step, time, timing)
        if _tokens(timing) is not None:
            self._says_tokens = True

    def count(self, seen: TokensSeen) -> bool:
        """Take in a count of all tokens so far; whether rates are known by it. It says nothing where the steps say
        their own tokens. Where no step is timed, the time between two counts is taken for that of their steps, pauses
        included."""
        before, self._seen = self._seen, seen
        steps, seconds = self._uncounted, self._uncounted_s
        self._uncounted, self._uncounted_s = 0, 0.0
        if self._says_tokens or before is None or seen.step <= before.step or seen.tokens < before.tokens:
            return False
        each = (seen.tokens - before.tokens) / (seen.step - before.step)
        if self._timed:
            return self._fill(steps, seconds, each)
        if seen.time is None or before.time is None or not seen.time > before.time:
            return False
        pace = (seen.time - before.time) / (seen.step - before.step)
        self._take(seen.step, seen.time, StepTiming(tokens=each, seconds=pace))
        return True

    def _fill(self, steps: int, seconds: float, tokens: float) -> bool:
        """The newest `steps` steps took `seconds` together, and had `tokens` each."""
        if not steps or not math.isfinite(tokens):
            return False
        for kept in (self._window, self._compared):
            for at in range(1, min(steps, len(kept)) + 1):
                kept[-at] = replace(kept[-at], tokens=tokens)
        for at in range(1, min(steps, len(self._samples)) + 1):
            took = self._window[-at].seconds if at <= len(self._window) else 0.0
            self._samples[-at] = replace(self._samples[-at], tokens_per_sec=tokens / took if took > 0.0 else None)
        self._sum(tokens * steps, seconds, steps=steps)
        for timing in list(self._compared)[-steps:]:
            self._compare(timing)
        return True

    def _take(self, step: int, time: float | None, timing: StepTiming) -> None:
        seconds = timing.seconds
        if not 0.0 <= seconds < math.inf:
            self.left_out += 1
            return
        self.steps += 1
        self._window.append(timing)
        tokens = _tokens(timing)
        rate = tokens / seconds if tokens is not None and seconds > 0.0 else None
        self._samples.append(
            ThroughputSample(
                time=time,
                step=step,
                tokens_per_sec=rate,
                batch_size=timing.batch_size,
                sequence_length=timing.sequence_length,
            )
        )
        if tokens is None:
            self._uncounted += 1
            self._uncounted_s += seconds
        else:
            self._sum(tokens, seconds, steps=1)
        if self.steps > self._rule.warm_up_steps:
            self._compared.append(timing)
            self._compare(timing)

    def _sum(self, tokens: float, seconds: float, *, steps: int) -> None:
        """Put the tokens and the seconds of so many steps into the sums that rates are taken of."""
        self._tokens += tokens
        self._seconds += seconds
        past = (1.0 - self._rule.ema_alpha) ** steps
        self._ema_tokens = past * self._ema_tokens + (1.0 - past) * (tokens / steps)
        self._ema_seconds = past * self._ema_seconds + (1.0 - past) * (seconds / steps)

    def _compare(self, timing: StepTiming) -> None:
        """Put a step behind the warm-up into what later steps are compared with, if its tokens are known."""
        tokens, seconds = _tokens(timing), timing.seconds
        if tokens:
            self._token_times.append(seconds / tokens)
        if tokens is not None and seconds > 0.0 and self._baseline is None:
            self._first_rates.append(tokens / seconds)
            if len(self._first_rates) == self._rule.baseline_steps:
                self._baseline = _finite(median(self._first_rates))

    @property
    def current(self) -> float | None:
        """Of the window."""
        return _rate(self._window)

    @property
    def ema(self) -> float | None:
        """The moving average."""
        return _finite(self._ema_tokens / self._ema_seconds) if self._ema_seconds > 0.0 else None

    @property
    def average(self) -> float | None:
        """Of all steps."""
        return _finite(self._tokens / self._seconds) if self._seconds > 0.0 else None

    @property
    def baseline(self) -> float | None:
        """The median rate of the first steps after warming up; it stays as it is once it is known."""
        return self._baseline

    def token_time(self, *, confidence: float) -> TokenTime | None:
        """The usual time of a token in the newest `judged_steps` steps; None while there are fewer.

        A few slow steps decide a sum of seconds and not a median, and a step with much padding counts as one. The lower
        bound is the order statistic of rank n / 2 - z sqrt(n) / 2, as half of all steps are below the median whatever
        their distribution is (Conover 1999, section 3.2); one-sided, of that confidence.
        """
        count = len(self._token_times)
        if count < self._rule.judged_steps:
            return None
        ordered = sorted(self._token_times)
        below = NormalDist().inv_cdf(confidence) * math.sqrt(count) / 2.0
        return TokenTime(
            median=median(ordered), least=ordered[max(0, math.floor((count - 1) / 2.0 - below))], steps=count
        )

    @property
    def trend(self) -> TrendWord:
        """The newer half of the window beside its older half; "improving" is faster."""
        if len(self._compared) < self._rule.trend_min_steps:
            return "unknown"
        every = list(self._compared)
        older, newer = _rate(every[: len(every) // 2]), _rate(every[len(every) // 2 :])
        if not older or newer is None:
            return "unknown"
        change = newer / older - 1.0
        if abs(change) <= self._rule.trend_share:
            return "stable"
        return "improving" if change > 0.0 else "degrading"

    @property
    def seconds_per_step(self) -> float | None:
        """Mean active time of a step of the window."""
        return _finite(sum(one.seconds for one in self._window) / len(self._window)) if self._window else None

    @property
    def data_wait_share(self) -> float | None:
        """Share of the window's time that waited for data, of steps that say so."""
        return _share([(one.data_wait_s, one.seconds) for one in self._window])

    @property
    def forward_backward_share(self) -> float | None:
        """Share of forward and backward passes."""
        return _share([(one.forward_backward_s, one.seconds) for one in self._window])

    @property
    def optimizer_share(self) -> float | None:
        """Share of the optimizer."""
        return _share([(one.optimizer_s, one.seconds) for one in self._window])

    @property
    def tokens_per_step(self) -> float | None:
        """Mean tokens of a step of the window, of those whose tokens are known."""
        known = [tokens for tokens in map(_tokens, self._window) if tokens is not None]
        return _finite(sum(known) / len(known)) if known else None

    def eta_s(self, total_steps: int | None, step: int) -> float | None:
        """Active seconds from `step` to `total_steps`, at the window's pace; 0 at or behind the end."""
        pace = self.seconds_per_step
        return None if total_steps is None or pace is None else max(0, total_steps - step) * pace

    def rates(self, *, total_steps: int | None, step: int) -> Rates:
        """Everything that is known at `step`."""
        return Rates(
            tokens_per_sec=self.current,
            tokens_per_sec_ema=self.ema,
            tokens_per_sec_avg=self.average,
            tokens_per_sec_baseline=self.baseline,
            throughput_trend=self.trend,
            seconds_per_step=self.seconds_per_step,
            eta_s=self.eta_s(total_steps, step),
            data_wait_share=self.data_wait_share,
            forward_backward_share=self.forward_backward_share,
            optimizer_share=self.optimizer_share,
        )

    def samples(self) -> list[ThroughputSample]:
        """The newest steps, at most 60, oldest first."""
        return list(self._samples)

    def reasons(self, *, total_steps: int | None = None) -> dict[str, str]:
        """Field of `Signals` -> why this fold does not know it: for those that are `None` or unknown now."""
        if not self.steps:
            nothing = "no step has been timed yet" if not self.left_out else "no step had a duration that is one"
            return dict.fromkeys(Rates.__struct_fields__, nothing)
        told = asdict(self.rates(total_steps=total_steps, step=0))
        known = {field: None if value == "unknown" else value for field, value in told.items()}
        return {field: self._reason(field) for field, value in known.items() if value is None}

    def _reason(self, field: str) -> str:
        """Why a field is not known although steps were timed."""
        if field in {"seconds_per_step", "eta_s"} and self.seconds_per_step is None:
            return "the times of the steps are together more than a number holds"
        if field == "eta_s":
            return "the number of planned steps is not known"
        if field.endswith("_share"):
            return "the steps do not say how their time was spent"
        if self.current is None:
            return "the tokens of the steps are not known" if not self._tokens else "the steps took no measurable time"
        after, counted = self._rule.warm_up_steps, max(0, self.steps - self._rule.warm_up_steps)
        if field == "tokens_per_sec_baseline":
            return f"{len(self._first_rates)} of {self._rule.baseline_steps} steps after the first {after}"
        if field == "throughput_trend" and counted < self._rule.trend_min_steps:
            return f"{counted} of {self._rule.trend_min_steps} steps after the first {after}"
        return "the tokens of too few steps are known"


def _tokens(timing: StepTiming) -> float | None:
    """Tokens of a step, if it says a number of them."""
    tokens = timing.tokens
    return tokens if tokens is not None and 0.0 <= tokens < math.inf else None


def _rate(timings: Iterable[StepTiming]) -> float | None:
    """Tokens a second of some steps, of those whose tokens are known."""
    known = [(tokens, one.seconds) for one in timings if (tokens := _tokens(one)) is not None]
    seconds = sum(one[1] for one in known)
    return _finite(sum(one[0] for one in known) / seconds) if seconds > 0.0 else None


def _share(parts: list[tuple[float | None, float]]) -> float | None:
    """Sum of the parts over the sum of the whole, of `(part, whole)` whose part is known; never above 1."""
    known = [(part, whole) for part, whole in parts if part is not None and 0.0 <= part < math.inf]
    whole = sum(one[1] for one in known)
    share = _finite(sum(one[0] for one in known) / whole) if whole > 0.0 else None
    return None if share is None else min(1.0, share)


def _finite(value: float) -> float | None:
    """The number, or None for one beyond what a double holds: sums of huge counts may be."""
    return value if math.isfinite(value) else None
