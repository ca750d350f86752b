"""How often the signals of a training are right, and what they cost: false alarms, what is found, and when.

    python bench/signals.py [--runs N] [--repetitions N]

Every curve goes through `TrainingWatch`, step by step, as a live training does, under the policy `default`; what
`contract` says of the same curves stands beside it.

- Flat Gaussian noise, 40 x 500 steps at 1 % and 10 %: episodes of spikes, plateaus, and directions of the trend.
- Noise with tails, 500 steps: Student's t with three degrees of freedom, and two modes as a mixture of tasks has them;
  episodes of spikes, and what they were without the bar that the window's own residuals set (`tail`).
- A single jump by 1.15 at 1 % noise: found at its own step, or not.
- Losses that stay above where they were: how many healthy curves have an alert (noise of several kinds, losses that
  fall, that rise a little while they warm up, and of examples that come in order), and how soon it is found where the
  learning rate is too high from the first step on, or from some step on.
- Curves that still improve, from 11.0 to 3.3 by three power laws, with noise: the first plateau alert. And curves that
  do stop improving: how often that is found.
- A NaN at any step: the step of its alert.
- Norms of gradients as healthy runs have them, and a jump by 30 in them.
- Times of steps that vary by 30 % (log-normal), with random counts of tokens: runs with an alert of the throughput, and
  how many of those are found whose steps take twice as long from step 400 on.
- Processor time of `step` and `layers`, per call.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from barograph.analysis.layer_activity import LayerName, LayerValues
from barograph.analysis.throughput import StepTiming
from barograph.policy import Policy, load
from barograph.policy.training_watch import TrainingWatch
from barograph.records import Alert
from measure import conditions, spread, table, target, write

Floats = NDArray[np.float64]

STEPS = 500
PRETRAINING = 6_000
FIRST, LAST = 11.0, 3.3
TIMED = 10_000
FLOORS = (0.0, 1.5, 2.5)
MODULES = 196
SLOW_STEPS, SLOW_FROM = 1_000, 400
NOT_SHOWN = [
    "Real curves: these are generated, with independent noise.",
    "Losses that are averages over several steps.",
    "The cost of writing what the watch says.",
]


class Found(Struct):
    """What one curve gave."""

    fired: dict[str, int]
    """Condition -> the step of its first firing line."""
    episodes: int
    trend: str
    plateau_steps: int
    """Steps at which a plateau was on."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--repetitions", type=int, default=7)
    given = arguments.parse_args()
    about = conditions("numpy", "msgspec")
    policies = {name: load(name) for name in ("default", "contract")}
    measured = {
        name: {
            "flat": flat(policy, runs=40),
            "flat_trend": flat_trend(policy, runs=given.runs),
            "heavy_tails": heavy_tails(policy, runs=max(40, given.runs // 2)),
            "healthy_level": healthy_levels(policy, runs=max(4, given.runs // 2)),
            "diverging": diverging(policy, runs=max(4, given.runs // 2)),
            "jump_x1.15": jumps(policy, runs=given.runs),
            "still_improving": improving(policy, runs=max(4, given.runs // 20)),
            "stopped_improving": stopped(policy, runs=max(4, given.runs // 10)),
            "nan": nans(policy, runs=given.runs),
            "gradient_norms": norms(policy, runs=given.runs // 5),
            "throughput": throughput(policy, runs=max(4, given.runs // 5)),
        }
        for name, policy in policies.items()
    }
    cost = costs(policies, repetitions=given.repetitions)
    result = {
        "conditions": about,
        "measured": measured,
        "cost_us": cost,
        "targets": targets(measured["default"], cost),
        "not_shown": NOT_SHOWN,
    }
    show(result)
    write(result)


def watched(
    policy: Policy, losses: Iterable[float], *, gradient_norms: Iterable[float] | None = None, seconds: float = 0.5
) -> Found:
    """A curve, from step 1, through a watch."""
    watch = TrainingWatch(policy)
    found = Found({}, 0, "unknown", 0)
    beside: Iterator[float] | None = None if gradient_norms is None else iter(gradient_norms)
    step = 0
    on = False
    for step, loss in enumerate(losses, 1):
        norm = None if beside is None else next(beside)
        for record in watch.step(step, step * seconds, loss=loss, gradient_norm=norm):
            if isinstance(record, Alert):
                if record.state == "firing":
                    found.fired.setdefault(record.condition, step)
                on = record.state == "firing" if record.condition == "plateau" else on
        found.plateau_steps += on
    signals = watch.signals(step, step * seconds)
    found.episodes, found.trend = signals.spikes, signals.loss_trend
    return found


def noise(runs: int, *, steps: int, relative: float, seed: int) -> Iterator[Floats]:
    random = np.random.default_rng(seed)
    for _ in range(runs):
        yield 1.0 + relative * random.standard_normal(steps)


def flat(policy: Policy, *, runs: int) -> dict[str, object]:
    """Alerts on noise about 2.0 nats, at 1 % and at 10 %."""
    given: dict[str, object] = {}
    for relative in (0.01, 0.1):
        found = [watched(policy, (2.0 * one).tolist()) for one in noise(runs, steps=STEPS, relative=relative, seed=1)]
        given[f"noise {relative:.0%}"] = {
            "runs": runs,
            "steps": STEPS,
            "spike_episodes": sum(one.episodes for one in found),
            "runs_with_a_plateau_alert": sum("plateau" in one.fired for one in found),
        }
    return given


def flat_trend(policy: Policy, *, runs: int) -> dict[str, object]:
    """Share of flat curves whose trend is said to go somewhere at their end."""
    found = [watched(policy, (2.0 * one).tolist()) for one in noise(runs, steps=STEPS, relative=0.02, seed=2)]
    return {"runs": runs, "false_alarms": sum(one.trend not in ("stable", "unknown") for one in found) / runs}


def jumps(policy: Policy, *, runs: int) -> dict[str, object]:
    """One step at 1.15 times the level, 1 % noise: share of alerts at that very step."""
    random = np.random.default_rng(3)
    right = wrong = 0
    for factors in noise(runs, steps=STEPS, relative=0.01, seed=4):
        at = int(random.integers(60, STEPS))
        losses = 2.0 * factors
        losses[at - 1] *= 1.15
        fired = watched(policy, losses.tolist()).fired.get("loss_spike")
        right += fired == at
        wrong += fired is not None and fired != at
    return {"runs": runs, "found": right / runs, "at_another_step": wrong / runs}


def tailed(kind: str, random: np.random.Generator, steps: int) -> Floats:
    """Noise about 1: `student`, or two modes of which the share in percent has twice the level of the others."""
    if kind == "student t, 3 degrees":
        return np.maximum(0.05, 1.0 + 0.03 * random.standard_t(3, steps))
    high = random.random(steps) < float(kind.removesuffix(" % at twice the level")) / 100.0
    return np.where(high, 2.0, 1.0) * (1.0 + 0.05 * random.standard_normal(steps))


def heavy_tails(policy: Policy, *, runs: int) -> dict[str, object]:
    """Episodes of spikes per curve of 500 steps, and what they are with `tail = 0`."""
    spike = replace(policy.alerts.loss_spike, tail=0.0)
    without = replace(policy, alerts=replace(policy.alerts, loss_spike=spike))
    given: dict[str, object] = {}
    for kind in ("student t, 3 degrees", *(f"{share} % at twice the level" for share in (20, 10, 5, 2))):
        random = np.random.default_rng(13)
        curves = [tailed(kind, random, STEPS).tolist() for _ in range(runs)]
        found = [[watched(one, curve).episodes for curve in curves] for one in (policy, without)]
        given[kind] = {
            "runs": runs,
            "episodes_per_run": float(np.mean(found[0])),
            "runs_without_any": float(np.mean([one == 0 for one in found[0]])),
            "episodes_per_run_without_tail": float(np.mean(found[1])),
        }
    return given


def alike(random: np.random.Generator, correlation: float, steps: int) -> Floats:
    """Noise of variance 1 whose neighbours have that correlation."""
    noise = random.standard_normal(steps)
    for step in range(1, steps):
        noise[step] = correlation * noise[step - 1] + math.sqrt(1.0 - correlation**2) * noise[step]
    return noise


def healthy_levels(policy: Policy, *, runs: int) -> dict[str, object]:
    """Share of healthy curves that have an alert of a loss that stays above where it was."""
    steps = np.arange(STEPS)
    bump = 7.0 * np.where(steps < 40, 1.0 + 0.06 * steps / 40, 1.06 * np.exp(-(steps - 40) / 100.0))
    kinds: dict[str, Callable[[np.random.Generator], Floats]] = {
        **{
            f"flat, noise {share:.0%}": lambda random, share=share: np.maximum(
                0.1, 2.0 * (1.0 + share * random.standard_normal(STEPS))
            )
            for share in (0.01, 0.03, 0.1, 0.2)
        },
        "student t, 3 degrees": lambda random: tailed("student t, 3 degrees", random, STEPS),
        "10 % at twice the level": lambda random: tailed("10 % at twice the level", random, STEPS),
        "falling, 11.0 to 3.3": lambda random: power_law(1.5) * (1.0 + 0.03 * random.standard_normal(PRETRAINING)),
        "warm-up, 6 % up and then down": lambda random: bump * (1.0 + 0.02 * random.standard_normal(STEPS)),
        "neighbours alike, 0.5": lambda random: 2.0 * (1.0 + 0.05 * alike(random, 0.5, STEPS)),
        "neighbours alike, 0.9": lambda random: 2.0 * (1.0 + 0.05 * alike(random, 0.9, STEPS)),
    }
    given: dict[str, object] = {}
    for name, make in kinds.items():
        random = np.random.default_rng(14)
        count = runs if make(random).size == STEPS else max(4, runs // 10)
        fired = ["loss_diverged" in watched(policy, make(random).tolist()).fired for _ in range(count)]
        given[name] = {"runs": count, "false_alarms": float(np.mean(fired))}
    return given


def diverging(policy: Policy, *, runs: int) -> dict[str, object]:
    """A loss that rises and stays: share that is found, and how many steps after the rise began."""
    given: dict[str, object] = {}
    for name, factor, share, at in (
        ("first step, x1.5, noise 13 %", 1.5, 0.13, 1),
        ("fourth step, x1.3, noise 5 %", 1.3, 0.05, 3),
        ("step 200, x1.05, noise 2 %", 1.05, 0.02, 200),
        ("step 200, x1.3, noise 10 %", 1.3, 0.1, 200),
        ("step 200, x3, noise 20 %", 3.0, 0.2, 200),
    ):
        random = np.random.default_rng(15)
        delays: list[int] = []
        early = 0
        for _ in range(runs):
            noise = 1.0 + share * random.standard_normal(300)
            risen = np.arange(300) >= at
            losses = np.maximum(0.1, 2.0 * np.where(risen, factor, 1.0) * noise)
            losses[: min(at, 3)] = 2.0  # what a whole batch of the untrained model gives
            norms = np.exp(0.3 * random.standard_normal(300))
            norms[at : at + 10] *= 30.0
            step = watched(policy, losses.tolist(), gradient_norms=norms.tolist()).fired.get("loss_diverged")
            early += step is not None and step <= at
            delays += [step - at] if step is not None and step > at else []
        given[name] = {
            "runs": runs,
            "found": len(delays) / runs,
            "before_it_rose": early / runs,
            "median_steps_until_then": float(np.median(delays)) if delays else None,
            "most_steps_until_then": max(delays, default=None),
        }
    return given


def power_law(floor: float) -> Floats:
    """From 11.0 to 3.3 over 6,000 steps, and down to `floor` in the end: floor + (11 - floor) (1 + t / 20)^-b."""
    steps = np.arange(PRETRAINING)
    exponent = math.log((FIRST - floor) / (LAST - floor)) / math.log(1.0 + (PRETRAINING - 1) / 20.0)
    return floor + (FIRST - floor) * (1.0 + steps / 20.0) ** -exponent


def improving(policy: Policy, *, runs: int) -> dict[str, object]:
    """Where the first plateau alert comes on curves that still improve, as a share of the curve; 1 is never."""
    given: dict[str, object] = {}
    for floor in FLOORS:
        curve = power_law(floor)
        for relative in (0.01, 0.03):
            curves = noise(runs, steps=PRETRAINING, relative=relative, seed=5)
            found = [watched(policy, (curve * one).tolist()) for one in curves]
            first = [one.fired.get("plateau", PRETRAINING) / PRETRAINING for one in found]
            given[f"floor {floor}, noise {relative:.0%}"] = {
                "runs": runs,
                "gain_of_the_last_quarter": 1.0 - curve[-1] / curve[PRETRAINING * 3 // 4],
                "first_alert_share": {"least": min(first), "median": float(np.median(first))},
                "share_of_steps_on": float(np.mean([one.plateau_steps / PRETRAINING for one in found])),
            }
    return given


def stopped(policy: Policy, *, runs: int) -> dict[str, object]:
    """Curves that fall for 1,000 steps and then stay, 3,000 in all: share that are found, and when."""
    steps = np.arange(3_000)
    curve = 2.0 + 3.0 * np.exp(-np.minimum(steps, 1_000) / 150.0)
    given: dict[str, object] = {}
    for relative in (0.01, 0.03):
        curves = noise(runs, steps=3_000, relative=relative, seed=6)
        first = [watched(policy, (curve * one).tolist()).fired.get("plateau") for one in curves]
        known = [one for one in first if one is not None]
        given[f"noise {relative:.0%}"] = {
            "runs": runs,
            "found": len(known) / runs,
            "median_step": float(np.median(known)) if known else None,
        }
    return given


def nans(policy: Policy, *, runs: int) -> dict[str, object]:
    """A NaN or an infinity at one step of each run: share of alerts at that very step."""
    random = np.random.default_rng(7)
    right = 0
    for place, factors in enumerate(noise(runs, steps=STEPS, relative=0.02, seed=8)):
        at = int(random.integers(1, STEPS + 1))
        losses = (2.0 * factors).tolist()
        losses[at - 1] = (math.nan, math.inf, -math.inf)[place % 3]
        right += watched(policy, losses).fired.get("non_finite_loss") == at
    return {"runs": runs, "at_their_own_step": right / runs}


def norms(policy: Policy, *, runs: int) -> dict[str, object]:
    """Log-normal norms (0.3 in logarithms) that decay tenfold over 2,000 steps, and a jump by 30 in them."""
    random = np.random.default_rng(9)
    usual = np.exp(-np.log(10.0) * np.arange(2_000) / 2_000)
    false = found = 0
    for _ in range(runs):
        healthy = usual * np.exp(0.3 * random.standard_normal(2_000))
        fired = watched(policy, [2.0] * 2_000, gradient_norms=healthy.tolist()).fired
        false += "exploding_gradients" in fired or "vanishing_gradients" in fired
        at = int(random.integers(100, 2_001))
        healthy[at - 1] = 30.0 * usual[at - 1]
        fired = watched(policy, [2.0] * 2_000, gradient_norms=healthy.tolist()).fired
        found += fired.get("exploding_gradients") == at
    return {"runs": runs, "runs_with_a_false_alarm": false, "jumps_found": found / runs}


def throughput(policy: Policy, *, runs: int) -> dict[str, object]:
    """Runs of 1,000 steps; a step takes as long as its tokens need, or always about as long."""
    given: dict[str, object] = {}
    for name, by_tokens in (("time by tokens", True), ("time by steps", False)):
        random = np.random.default_rng(12)
        false = 0
        delays = []
        for _ in range(runs):
            tokens = random.integers(2_000, 4_096, SLOW_STEPS).astype(np.float64)
            seconds = np.where(by_tokens, tokens / 4_000.0, 0.75) * np.exp(0.3 * random.standard_normal(SLOW_STEPS))
            false += slowed(policy, tokens, seconds) is not None
            seconds[SLOW_FROM:] *= 2.0
            found = slowed(policy, tokens, seconds)
            delays += [found - SLOW_FROM] if found is not None and found > SLOW_FROM else []
        given[name] = {
            "runs": runs,
            "runs_with_a_false_alarm": false,
            "found": len(delays) / runs,
            "median_steps_until_then": float(np.median(delays)) if delays else None,
        }
    return given


def slowed(policy: Policy, tokens: Floats, seconds: Floats) -> int | None:
    """The step at which an alert of the throughput fires; None if none does."""
    watch, now = TrainingWatch(policy), 0.0
    for step, (count, took) in enumerate(zip(tokens.tolist(), seconds.tolist(), strict=True), 1):
        now += took
        for record in watch.step(step, now, loss=None, timing=StepTiming(tokens=count, seconds=took)):
            if isinstance(record, Alert) and (record.condition, record.state) == ("throughput_degraded", "firing"):
                return step
    return None


def costs(policies: dict[str, Policy], *, repetitions: int) -> dict[str, object]:
    """Microseconds of processor time per call: means over 10,000 calls, repeated."""
    random = np.random.default_rng(10)
    losses = ((2.0 + np.exp(-np.arange(TIMED) / 800.0)) * (1.0 + 0.01 * random.standard_normal(TIMED))).tolist()
    gradients = np.exp(0.3 * random.standard_normal(TIMED)).tolist()
    measured: dict[str, list[list[float]]] = {}
    for _ in range(repetitions):
        for name, policy in policies.items():
            sound = timed(policy, losses, gradients)
            measured.setdefault(f"step, {name}", []).append([sound])
            broken = timed(policy, [math.nan] * TIMED, gradients)
            measured.setdefault(f"step with a NaN, {name}", []).append([broken])
        measured.setdefault("layers, 392 tensors", []).append([timed_layers(policies["default"])])
    return {name: spread(values) for name, values in measured.items()}


def timed(policy: Policy, losses: list[float], gradients: list[float]) -> float:
    watch = TrainingWatch(policy, total_steps=TIMED)
    timing = StepTiming(tokens=4096.0, seconds=0.1, data_wait_s=0.01, forward_backward_s=0.07, optimizer_s=0.02)

    def every() -> None:
        for step, loss in enumerate(losses):
            norm = gradients[step]
            watch.step(step, 0.1 * step, loss=loss, gradient_norm=norm, learning_rate=1e-4, timing=timing)

    return 1e6 * processor_time(every) / len(losses)


def timed_layers(policy: Policy) -> float:
    names = tuple(
        LayerName(f"model.layers.{place // 7}.self_attn.{'qkvoudg'[place % 7]}_proj", part)
        for place in range(MODULES)
        for part in ("A", "B")
    )
    random = np.random.default_rng(11)
    collections = [
        LayerValues(
            names=names,
            gradient=np.exp(random.standard_normal(2 * MODULES)),
            weight=np.ones(2 * MODULES),
            update=np.full(2 * MODULES, 1e-3),
            kind="lora",
        )
        for _ in range(200)
    ]
    watch = TrainingWatch(policy)

    def every() -> None:
        for step, values in enumerate(collections):
            watch.layers(step, 0.1 * step, values)

    return 1e6 * processor_time(every) / len(collections)


def processor_time(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def targets(found: dict[str, dict[str, object]], cost: dict[str, object]) -> list[dict[str, object]]:
    spikes = sum(one["spike_episodes"] for one in found["flat"].values())  # type: ignore[index]
    first = min(one["first_alert_share"]["least"] for one in found["still_improving"].values())  # type: ignore[index]
    levels = {name: one["false_alarms"] for name, one in found["healthy_level"].items()}  # type: ignore[index]
    false_level = max(share for name, share in levels.items() if not name.startswith("neighbours"))
    modes = found["heavy_tails"]["10 % at twice the level"]["episodes_per_run"]  # type: ignore[index]
    risen = min(one["found"] for one in found["diverging"].values())  # type: ignore[index]
    step = cost["step, default"]["median"]  # type: ignore[index]
    paces = found["throughput"].values()
    false_slow = sum(one["runs_with_a_false_alarm"] for one in paces)  # type: ignore[index]
    found_slow = min(one["found"] for one in paces)  # type: ignore[index]
    return [
        target("spike episodes on flat noise, 40 x 500 steps, 1 % and 10 %", float(spikes), 0.0),
        target("flat curves whose trend goes somewhere, share", float(found["flat_trend"]["false_alarms"]), 0.10),  # type: ignore[arg-type]
        target("jumps by 1.15 that are missed, share", 1.0 - found["jump_x1.15"]["found"], 0.05),  # type: ignore[operator]
        target("spike episodes per 500 steps where a tenth has twice the level", float(modes), 1.0),
        target("healthy curves with an alert of a diverged loss, share, the worst kind", float(false_level), 0.01),
        target("losses that rise for good and are missed, share, the worst kind", 1.0 - risen, 0.05),
        target("NaNs without an alert at their own step, share", 1.0 - found["nan"]["at_their_own_step"], 0.0),  # type: ignore[operator]
        target("improving curves: share of the curve left at the first plateau alert", 1.0 - first, 0.05),
        target("steady runs with noisy step times that have a throughput alert", float(false_slow), 0.0),
        target("paces that halve for good and are missed, share", 1.0 - found_slow, 0.05),
        target("processor time of a step, microseconds", step, 30.0),
    ]


def show(result: dict[str, object]) -> None:
    for policy, found in result["measured"].items():  # type: ignore[attr-defined]
        print(f"\npolicy {policy}")
        for name, parts in found.items():
            for part, values in _parts(parts):
                print(f"  {name}{', ' if part else ''}{part}: {', '.join(_pairs(values))}")
    cost = result["cost_us"]
    rows = [[name, one["median"], one["min"], one["max"]] for name, one in cost.items()]  # type: ignore[attr-defined]
    table("processor time, microseconds per call", ["call", "median", "min", "max"], rows)


def _parts(values: dict[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    if any(isinstance(one, dict) for one in values.values()):
        yield from values.items()  # type: ignore[misc]
    else:
        yield "", values


def _pairs(values: dict[str, object]) -> list[str]:
    return [f"{name} {one:.4g}" if isinstance(one, float) else f"{name} {one}" for name, one in values.items()]


if __name__ == "__main__":
    main()
