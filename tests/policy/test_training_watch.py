"""The watch over a training: what comes out follows from what came in, whatever that was, and one broken fold breaks
nothing else."""

import itertools
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.layer_activity import LayerName, LayerValues
from barograph.analysis.throughput import StepTiming
from barograph.policy import Policy, load
from barograph.policy.training_watch import TrainingWatch
from barograph.policy.watched_conditions import CATEGORIES, NOT_YET
from barograph.records import Advice, Alert, Hardware, Record, Signals, codec
from barograph.records.signals import Gpu

DEFAULT, CONTRACT = load("default"), load("contract")
BEGAN = 1.7e9


def watch(policy: Policy = DEFAULT, *, total_steps: int | None = None) -> TrainingWatch:
    ids = itertools.count(1)
    return TrainingWatch(policy, total_steps=total_steps, new_id=lambda: f"alert-{next(ids)}")


def alerts(records: Iterable[Record], condition: str | None = None) -> list[Alert]:
    return [one for one in records if isinstance(one, Alert) and condition in (None, one.condition)]


def curve(count: int, *, seed: int = 0, noise: float = 0.01) -> list[float]:
    random = np.random.default_rng(seed)
    steps = np.arange(count)
    return [float(one) for one in (2.0 + np.exp(-steps / 100.0)) * (1.0 + noise * random.standard_normal(count))]


def stepped(fold: TrainingWatch, losses: Iterable[float], *, first: int = 1, seconds: float = 0.1) -> list[Record]:
    said: list[Record] = []
    for step, loss in enumerate(losses, first):
        said += fold.step(step, BEGAN + step * seconds, loss=loss)
    return said


@pytest.mark.parametrize("policy", [DEFAULT, CONTRACT], ids=["default", "contract"])
@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [1, 2, 57])
def test_a_loss_that_is_no_number_alerts_at_its_own_step(policy: Policy, loss: float, at: int) -> None:
    fold = watch(policy)
    stepped(fold, curve(at - 1))
    (alert,) = alerts(fold.step(at, BEGAN + at, loss=loss), "non_finite_loss")
    assert (alert.state, alert.level, alert.step, alert.first_step) == ("firing", "critical", at, at)
    assert alert.recommendation == policy.alerts.non_finite_loss.recommendation
    assert fold.active == [alert]


def test_ten_thousand_such_steps_are_one_alert_with_their_count() -> None:
    fold = watch()
    said = stepped(fold, [math.nan] * 10_000)
    said += fold.end(BEGAN + 1e4)
    found = alerts(said, "non_finite_loss")
    assert {one.id for one in found} == {"alert-1"}
    assert found[-1].count == 10_000
    assert len(said) < 400


def test_an_alert_is_over_after_so_many_sound_steps() -> None:
    fold = watch()
    said = stepped(fold, [math.nan, *curve(60)])
    assert [one.state for one in alerts(said)] == ["firing", "recovering", "resolved"]
    assert fold.active == []


def test_a_jump_alerts_at_its_own_step() -> None:
    losses = curve(300)
    losses[200] *= 1.3
    found = alerts(stepped(watch(), losses), "loss_spike")
    assert (found[0].state, found[0].first_step, found[0].step) == ("firing", 201, 201)
    assert (found[0].evidence["peak"], found[0].evidence["peak_step"]) == (losses[200], 201.0)


@pytest.mark.parametrize("policy", [DEFAULT, CONTRACT])
def test_steps_that_go_back_are_no_jump(policy: Policy) -> None:
    fold = watch(policy)
    losses = [4.0 * 0.99**step + 0.01 * math.sin(step) for step in range(300)]
    said = stepped(fold, losses) + stepped(fold, losses[100:], first=101)
    assert alerts(said, "loss_spike") == []
    assert alerts(said, "plateau") == [] or policy is CONTRACT


def test_a_small_rise_behind_a_spike_does_not_take_its_headline() -> None:
    losses = curve(400)
    losses[200] = 11.98
    losses[203] *= 1.5
    losses[300] *= 1.5
    fold = watch()
    found = alerts([*stepped(fold, losses), *fold.end(BEGAN + 60)], "loss_spike")
    assert len({one.id for one in found}) == 1, "all of it is within the cooldown"
    assert {one.title for one in found} == {found[0].title}
    assert found[0].title.startswith("The loss jumped to 11.98 at step 201 (2.")
    assert found[-1].count == 3
    assert (found[-1].evidence["peak"], found[-1].evidence["peak_step"]) == (11.98, 201.0)
    assert "greatest of 2 spikes; the newest reached 3." in found[-1].text
    assert found[-1].evidence["last_step"] == 301.0


def test_a_greater_spike_takes_the_headline_and_one_after_the_cooldown_has_its_own() -> None:
    losses = curve(3_000)
    for place, factor in ((200, 1.5), (300, 3.0), (2_500, 1.5)):
        losses[place] *= factor
    found = alerts(stepped(watch(), losses), "loss_spike")
    first = [one for one in found if one.id == found[0].id]
    assert first[0].evidence["peak_step"] == 201.0
    assert first[-1].evidence["peak_step"] == 301.0
    assert found[-1].id != found[0].id
    assert (found[-1].evidence["peak_step"], found[-1].evidence["episodes"]) == (2_501.0, 1.0)


@pytest.mark.parametrize("logged_later", [False, True])
def test_a_batch_without_labels_is_no_lost_training(logged_later: bool) -> None:
    fold = watch(total_steps=600)
    fold.saved(100, "checkpoint-100")
    stepped(fold, curve(200))
    if logged_later:
        fold.step(201, BEGAN + 30, loss=math.nan)
        fold.metrics(201, BEGAN + 30.1, {"grad_norm": 0.0})
    else:
        fold.step(201, BEGAN + 30, loss=math.nan, gradient_norm=0.0)
    (alert,) = [one for one in fold.active if one.condition == "non_finite_loss"]
    assert (alert.count, alert.evidence["gradient_norm"]) == (1, 0.0)
    assert "the weights are untouched" in alert.text
    assert "-100" in alert.text
    assert "lost" not in alert.text
    assert "learning rate" not in alert.recommendation
    fold.end(BEGAN + 31)
    assert fold.advice is not None
    assert [item.action for item in fold.advice.items] == ["continue"]
    assert "labels" in fold.advice.items[0].text


def test_a_loss_that_is_a_number_again_was_not_lost() -> None:
    fold = watch(total_steps=600)
    stepped(fold, curve(200))
    (lost,) = [one for one in fold.step(201, BEGAN + 30, loss=math.nan) if isinstance(one, Advice)]
    assert (lost.items[0].action, lost.items[0].confidence) == ("use_checkpoint", "medium")
    said = fold.step(202, BEGAN + 31, loss=2.0)
    (alert,) = alerts(said, "non_finite_loss")
    assert (alert.state, alert.recommendation) == (
        "recovering",
        DEFAULT.alerts.non_finite_loss.recommendation_untouched,
    )
    assert alert.text.endswith("the weights are not lost.")
    (now,) = [one for one in said if isinstance(one, Advice)]
    assert [item.action for item in now.items] == ["continue"]
    assert "is a number again" in now.items[0].text


@settings(max_examples=25, deadline=None)
@given(places=st.sets(st.integers(0, 149), max_size=20), loss=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_no_number_changes_none_of_the_finite_folds(places: set[int], loss: float) -> None:
    clean, dirty = watch(), watch()
    step = 0
    for place, sound in enumerate(curve(150)):
        step += 1
        clean.step(step, BEGAN, loss=sound, gradient_norm=1.0 + sound)
        dirty.step(step, BEGAN, loss=sound, gradient_norm=1.0 + sound)
        if place in places:
            dirty.step(step, BEGAN, loss=loss, gradient_norm=math.nan)
    ours, theirs = clean.signals(step, BEGAN), dirty.signals(step, BEGAN)
    assert theirs.non_finite == len(places)
    for name in ("loss_variance", "loss_noise", "loss_trend", "loss_change_per_1000", "plateau", "spikes"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert theirs.streaming_ce == pytest.approx(ours.streaming_ce, rel=0.2)


observations = st.lists(
    st.tuples(
        st.sampled_from(["step", "metrics", "layers", "hardware", "alert"]),
        st.floats() | st.floats(0.0, 10.0),
        st.none() | st.floats() | st.floats(0.0, 10.0),
        st.floats(0.0, 20.0),
    ),
    max_size=60,
)
NAMES = (LayerName("model.layers.0.q_proj", "A"), LayerName("model.layers.0.q_proj", "B"), LayerName("lm_head", ""))


def fed(fold: TrainingWatch, seen: list[tuple[str, float, float | None, float]]) -> list[Record]:
    """Everything that the watch says of a list of observations."""
    said: list[Record] = []
    time = BEGAN
    for step, (kind, first, second, seconds) in enumerate(seen, 1):
        time += seconds
        other = math.nan if second is None else second
        if kind == "step":
            timing = StepTiming(tokens=second, seconds=first, data_wait_s=second)
            said += fold.step(
                step, time, loss=first, gradient_norm=second, learning_rate=second, token_entropy=second, timing=timing
            )
        elif kind == "metrics":
            values = {"train/learning_rate": first, "eval/loss": other, "fixed_eval_ece": first, "fixed_eval_n": other}
            said += fold.metrics(step, time, {**values, "grad_norm": other, "num_tokens": first})
        elif kind == "layers":
            said += fold.layers(step, time, LayerValues(names=NAMES, gradient=[first, second, 1.0], kind="lora"))
        elif kind == "hardware":
            gpu = Gpu(
                index=0,
                name=None,
                temp_c=first,
                temp_limit_c=second,
                util_pct=None,
                vram_used_gb=None,
                vram_total_gb=second,
                vram_pct=second,
                power_w=None,
                power_limit_w=None,
                fan_pct=None,
            )
            sample = Hardware(time=time, step=step, disk_used_gb=first, disk_total_gb=other, gpus=[gpu])
            said += fold.hardware(sample)
        else:
            fold.alert(Alert(time=time, title="Mine", step=step))
    return said + fold.end(time)


@settings(max_examples=60, deadline=None)
@given(seen=observations, policy=st.sampled_from([DEFAULT, CONTRACT]))
def test_whatever_comes_in_nothing_fails_and_the_same_comes_out_again(
    seen: list[tuple[str, float, float | None, float]], policy: Policy
) -> None:
    said = fed(watch(policy), seen)
    lines = [codec.encode_line(record) for record in said]
    assert lines == [codec.encode_line(record) for record in fed(watch(policy), seen)]
    assert [type(codec.decode_line(line).record) for line in lines] == [type(record) for record in said]
    assert isinstance(said[-1], Signals | Advice)
    for record in said:
        if isinstance(record, Signals):
            assert set(record.conditions) == set(NOT_YET)
            assert "error" not in record.conditions.values()
            silent = {name for name, word in record.conditions.items() if word == "no_data"}
            assert silent == {name.split(".")[1] for name in record.why if name.startswith("conditions.")}
            unknown = [name for name in Signals.__struct_fields__ if getattr(record, name) is None]
            assert [name for name in unknown if name not in record.why] == []


def test_signals_come_every_five_seconds_and_when_a_condition_changes() -> None:
    fold = watch()
    said = stepped(fold, curve(400), seconds=0.1)
    times = [one.time - BEGAN for one in said if isinstance(one, Signals)]
    assert times[0] == pytest.approx(0.1)
    assert all(later - earlier <= 5.0 + 0.11 for earlier, later in itertools.pairwise(times))
    assert len(times) < 20
    changed = fold.step(401, BEGAN + 40.15, loss=math.nan)
    assert [type(one) for one in changed][:2] == [Alert, Signals]
    told = changed[1]
    assert isinstance(told, Signals)
    assert told.conditions["non_finite_loss"] == "firing"


def test_conditions_that_flap_do_not_flood_the_journal() -> None:
    fold = watch(CONTRACT)
    said = stepped(fold, [math.nan if step % 52 == 0 else 1.0 for step in range(10_000)], seconds=0.01)
    assert len(said) < 400


@pytest.mark.parametrize("together", [True, False])
def test_a_hidden_nan_is_found_by_its_two_signs_however_they_come(together: bool) -> None:
    fold = watch()
    stepped(fold, curve(20))
    if together:
        said = fold.step(21, BEGAN + 30, loss=0.0, gradient_norm=math.nan)
    else:
        fold.step(21, BEGAN + 30, loss=0.0)
        said = fold.metrics(21, BEGAN + 30.1, {"train/grad_norm": math.nan, "train/loss": 0.0})
    (masked,) = alerts(said, "masked_loss")
    assert (masked.level, masked.first_step) == ("critical", 21)
    assert len(alerts(said, "exploding_gradients")) == 1


def test_the_norm_and_the_layers_tell_of_one_alert_and_a_step_counts_once() -> None:
    fold = watch(CONTRACT)
    fold.step(1, BEGAN, loss=1.0, gradient_norm=1.0)
    first = fold.step(2, BEGAN + 1, loss=1.0, gradient_norm=math.nan)
    more = fold.layers(2, BEGAN + 1.1, LayerValues(names=NAMES, gradient=[1.0, 1.0, math.nan]))
    (alert,), (named,) = alerts(first, "exploding_gradients"), alerts(more, "exploding_gradients")
    assert (alert.id, alert.subjects, named.subjects, named.count) == (named.id, [], ["lm_head"], 1)
    quiet = fold.step(3, BEGAN + 2, loss=1.0, gradient_norm=1.0)
    assert alerts(quiet) == [], "a layer of the newest collection still explodes"
    sound = fold.layers(4, BEGAN + 3, LayerValues(names=NAMES, gradient=[1.0, 1.0, 1.0]))
    assert alerts(sound, "exploding_gradients") == []
    (over,) = alerts(fold.step(4, BEGAN + 3, loss=1.0, gradient_norm=1.0), "exploding_gradients")
    assert over.state == "recovering"


def test_a_healthy_adapter_is_never_dead() -> None:
    fold = watch()
    for step in range(1, 12):
        values = LayerValues(
            names=NAMES,
            gradient=[0.0, 1.0, 1.0],
            weight=[1.0, 0.0 if step < 2 else 0.1, 1.0],
            update=[0.0, 0.1, 0.1],
            kind="lora",
        )
        assert alerts(fold.layers(step, BEGAN + step, values)) == []
    assert fold.layer_activity.summary().dead_layers == 0
    assert fold.signals(11, BEGAN + 12).conditions["dead_layers"] == "ok"


def test_reinforcement_learning_has_no_plateau_and_no_spikes() -> None:
    fold = watch(CONTRACT)
    fold.metrics(0, BEGAN, {"rewards/mean": 0.5})
    said = stepped(fold, [0.001] * 200 + [5.0])
    assert alerts(said) == []
    told = fold.signals(201, BEGAN + 100)
    assert (told.conditions["plateau"], told.conditions["loss_spike"]) == ("no_data", "no_data")
    assert "reinforcement" in told.why["conditions.plateau"]


def test_evaluations_calibration_and_scores_are_taken_from_what_is_logged() -> None:
    fold = watch()
    stepped(fold, curve(300))
    said: list[Record] = []
    for place, loss in enumerate((2.1, 2.6, 2.9)):
        values = {"eval/loss": loss, "eval/exact_match": 0.0, "fixed_eval_ece": 0.4, "fixed_eval_n": 200.0}
        said += fold.metrics(300 + place, BEGAN + 40 + place, values)
    (gap,) = [one for one in alerts(said, "val_train_gap") if one.state == "firing" and one.count == 1]
    assert gap.first_step == 301
    assert alerts(said, "poor_calibration")[0].evidence["answers"] == 200.0
    told = fold.signals(303, BEGAN + 50)
    assert told.validation_loss == 2.9
    assert told.val_train_gap == pytest.approx(2.9 - (told.streaming_ce or 0.0))
    assert told.conditions["constant_evaluation"] == "ok", "the loss changes, and the other score is young"
    for place in range(2):
        said += fold.metrics(310 + place, BEGAN + 60 + place, {"eval/exact_match": 0.0, "eval/loss": 2.0 + place})
    assert alerts(said, "constant_evaluation")[0].subjects == ["eval/exact_match"]


def test_a_run_that_slows_down_alerts_and_one_hanging_step_does_not() -> None:
    def run(seconds: Callable[[int], float]) -> list[Alert]:
        fold, time, said = watch(), BEGAN, list[Record]()
        for step in range(1, 801):
            time += seconds(step)
            timing = StepTiming(tokens=1000.0, seconds=seconds(step))
            said += fold.step(step, time, loss=None, timing=timing)
        return [one for one in alerts(said, "throughput_degraded") if one.state == "firing"]

    assert run(lambda step: 1.0) == []
    assert run(lambda step: 300.0 if step == 200 else 1.0) == []
    slow = run(lambda step: 1.0 if step < 200 else 2.0)
    assert len({one.id for one in slow}) == 1
    assert slow[0].first_step is not None
    assert 250 < slow[0].first_step < 350
    assert run(lambda step: 1.0 if step < 150 or step > 300 else 2.0) == [], "it did not last"


def test_counts_of_tokens_give_the_throughput_where_no_step_is_timed() -> None:
    fold = watch()
    for step in range(10, 1000, 10):
        fold.step(step, BEGAN + step, loss=1.0)
        fold.metrics(step, BEGAN + step, {"num_input_tokens_seen": 500.0 * step})
    told = fold.signals(990, BEGAN + 990)
    assert told.tokens_per_sec == pytest.approx(500.0)
    assert told.seconds_per_step == pytest.approx(1.0)
    fold.planned(1990)
    assert fold.signals(990, BEGAN + 990).eta_s == pytest.approx(1000.0)


def test_what_is_not_measured_says_why() -> None:
    fold = watch()
    fold.unavailable("layers", "the parameters are sharded")
    fold.unavailable("token_entropy", "the trainer keeps no logits")
    fold.unavailable("conditions.disk_full", "nobody asks the disk")
    fold.measured(overhead_share=0.004)
    told = fold.signals(0, BEGAN)
    assert told.why["conditions.dead_layers"] == "the parameters are sharded"
    assert told.why["token_entropy"] == "the trainer keeps no logits"
    assert told.why["conditions.disk_full"] == "nobody asks the disk"
    assert told.why["eta_s"]
    assert "overhead_share" not in told.why
    assert told.overhead_share == 0.004
    assert (told.plateau, told.streaming_ce) == (None, None)


class Broken(list[float]):
    """A gradient list that raises when it is read."""

    def __iter__(self) -> "itertools.cycle[float]":
        raise RuntimeError("the columns are gone")

    def __len__(self) -> int:
        raise RuntimeError("the columns are gone")


def test_a_fold_that_raises_is_left_out_and_the_others_go_on() -> None:
    fold = watch()
    fold.step(1, BEGAN, loss=1.0)
    broken = LayerValues(names=NAMES, gradient=Broken([1.0, 1.0, 1.0]))
    said = fold.layers(2, BEGAN + 1, broken)
    (told,) = [one for one in said if isinstance(one, Signals)]
    assert told.conditions["dead_layers"] == "error"
    assert "the columns are gone" in told.why["conditions.dead_layers"]
    sound = LayerValues(names=NAMES, gradient=[1.0, 1.0, 1.0])
    assert [one for one in fold.layers(3, BEGAN + 1.1, sound) if isinstance(one, Alert)] == []
    assert fold.signals(3, BEGAN + 2).conditions["dead_layers"] == "error", "once for all"
    (alert,) = alerts(fold.step(4, BEGAN + 3, loss=math.nan))
    assert alert.condition == "non_finite_loss"


def test_advice_is_told_when_it_changes_and_kept_up_to_date() -> None:
    fold = watch(total_steps=600)
    fold.saved(100, "checkpoint-100")
    said = stepped(fold, curve(200))
    first = [one for one in said if isinstance(one, Advice)]
    assert {item.action for one in first for item in one.items} == {"continue"}
    norm = math.nan
    lost = [one for one in fold.step(201, BEGAN + 30, loss=norm, gradient_norm=norm) if isinstance(one, Advice)]
    assert lost[0].items[0].subjects == ["checkpoint-100"]
    assert fold.advice == lost[0]
    again = [one for one in fold.step(202, BEGAN + 36, loss=norm, gradient_norm=norm) if isinstance(one, Advice)]
    assert again == []
    assert fold.advice is not None
    assert fold.advice.step == 202


def test_advice_quotes_the_newest_learning_rate_and_speaks_in_the_past_at_the_end() -> None:
    fold, said = watch(total_steps=400), list[Record]()
    losses = curve(400)
    for place in (120, 160, 200, 240):
        losses[place] *= 1.5
    for step, loss in enumerate(losses, 1):
        said += fold.step(step, BEGAN + step * 1e-3, loss=loss, learning_rate=2e-4 * (1.0 - step / 400))
    told = [one for one in said if isinstance(one, Advice)]
    assert len(told) < 40
    steps = [one.step or 0 for one in told]
    assert max(later - earlier for earlier, later in itertools.pairwise(steps)) <= 0.08 * 400
    for one in told:
        rate = 2e-4 * (1.0 - (one.step or 0) / 400)
        lower = [item for item in one.items if item.action == "lower_learning_rate"]
        assert all(f"it is {rate:.3g} at step {one.step}" in item.text for item in lower)
        assert not lower or (one.items[0].action, lower[0].confidence) == ("continue", "low")
        assert not lower or (one.step or 0) < 0.9 * 400
    assert any(item.action == "lower_learning_rate" for one in told for item in one.items)
    (last,) = [one for one in fold.end(BEGAN + 1) if isinstance(one, Advice)]
    assert last.items[0].text.startswith("Ended at step 400 of 400. The loss fell by")
    assert [item.action for item in last.items] == ["continue"]


def test_a_loss_that_fell_and_stays_is_stable_and_its_plateau_says_that_it_fell() -> None:
    random = np.random.default_rng(3)
    losses = (0.005 + 4.0 * np.exp(-np.arange(320) / 12.0)) * np.exp(0.01 * random.standard_normal(320))
    fold = watch()
    said = stepped(fold, losses.tolist())
    found = alerts(said, "plateau")
    assert found
    assert "it did fall, by 9" in found[0].text
    for one in said:
        if isinstance(one, Signals) and one.plateau:
            assert one.loss_trend != "improving"
            assert one.conditions["plateau"] != "ok"
    told = fold.signals(320, BEGAN + 40)
    assert (told.plateau, told.loss_trend) == (True, "stable")
    assert told.loss_change is not None
    assert told.loss_change < -0.9
    assert told.loss_change_steps == 319
    fold.end(BEGAN + 41)
    assert fold.advice is not None
    assert "flat" not in [item.text for item in fold.advice.items if item.confidence == "high"]


@pytest.mark.parametrize("name", sorted(NOT_YET))
def test_a_condition_that_is_switched_off_is_never_looked_for(name: str) -> None:
    alerts_off = replace(DEFAULT.alerts, **{name: replace(getattr(DEFAULT.alerts, name), enabled=False)})
    fold = watch(replace(DEFAULT, alerts=alerts_off))
    fold.unavailable(f"conditions.{name}", "nobody measures it")
    losses = curve(200)
    losses[150] *= 3.0
    said = stepped(fold, losses)
    said += fold.step(201, BEGAN + 30, loss=math.nan, gradient_norm=math.inf, learning_rate=1.0)
    said += fold.step(202, BEGAN + 31, loss=0.0, gradient_norm=math.nan, learning_rate=1.0)
    assert alerts(said, name) == []
    told = fold.signals(202, BEGAN + 32)
    assert (told.conditions[name], told.why[f"conditions.{name}"]) == ("no_data", "switched off by the policy")
    others = {one.condition for one in alerts(said)}
    assert others == {"non_finite_loss", "masked_loss", "loss_spike", "exploding_gradients", "learning_rate_high"} - {
        name
    }


def test_the_memory_of_a_watch_does_not_grow_with_the_training() -> None:
    def size(fold: TrainingWatch, steps: int) -> int:
        for step in range(1, steps + 1):
            loss = math.nan if step % 7 == 0 else 50.0 if step % 11 == 0 else 1.0 + step % 3
            fold.step(step, BEGAN + step, loss=loss, gradient_norm=loss, learning_rate=1e-4)
            fold.metrics(step, BEGAN + step, {"eval/loss": loss, f"eval/{step}_loss": loss})
            fold.saved(step, f"checkpoint-{step}")
        return reachable(fold)

    grown, long = size(watch(), 3_000), size(watch(), 9_000)
    assert long < 1.1 * grown


def reachable(root: object) -> int:
    """Bytes of everything that `root` holds, classes and functions left out."""
    seen: set[int] = set()
    todo, total = [root], 0
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type) or callable(one):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        if isinstance(one, dict):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset | deque):
            todo += [*one]
        todo += [*getattr(one, "__dict__", {}).values()]
        todo += [getattr(one, name) for name in getattr(one, "__struct_fields__", ())]
    return total


def test_every_condition_of_the_policy_has_a_category_and_is_watched_by_somebody() -> None:
    tables = list(DEFAULT.alerts.__struct_fields__)
    assert list(CATEGORIES) == tables
    assert set(tables) - set(NOT_YET) == {"run_silent", "run_crashed"}


def test_a_policy_of_the_users_own_is_followed() -> None:
    table = replace(DEFAULT.alerts.learning_rate_high, above=1e-5, recommendation="Lower it, as we agreed.")
    policy = replace(DEFAULT, name="mine", alerts=replace(DEFAULT.alerts, learning_rate_high=table))
    (alert,) = alerts(watch(policy).step(1, BEGAN, loss=None, learning_rate=2e-5))
    assert (alert.policy, alert.recommendation) == ("mine", "Lower it, as we agreed.")


@pytest.mark.parametrize("logged", [False, True], ids=["of the step", "logged behind it"])
def test_a_gradient_that_another_process_spoiled_alerts_at_its_own_step(logged: bool) -> None:
    def told(processes: int) -> list[Alert]:
        fold = TrainingWatch(DEFAULT, processes=processes)
        stepped(fold, curve(30))
        said = fold.step(31, BEGAN + 31, loss=2.5, gradient_norm=None if logged else math.nan)
        if logged:
            said += fold.metrics(31, BEGAN + 31, {"grad_norm": math.nan})
        return alerts(said, "non_finite_loss")

    (found,) = told(4)
    assert (found.state, found.first_step, found.level) == ("firing", 31, "critical")
    assert "the batch of another process made it, or an overflow in the backward pass" in found.text
    assert found.evidence["loss"] == 2.5
    assert told(1) == []


def test_the_advice_of_a_training_that_exploded_at_once_claims_no_progress() -> None:
    random = np.random.default_rng(1)
    fold = watch(total_steps=200)
    losses = [4.17, *(4.33 + 10.0 * np.exp(-np.arange(199) / 20.0) + 0.2 * random.standard_normal(199))]
    said = [
        *(
            record
            for step, loss in enumerate(losses, 1)
            for record in fold.step(step, BEGAN + step, loss=float(loss), learning_rate=0.3)
        ),
        *fold.end(BEGAN + 201),
    ]
    texts = [item.text for one in said if isinstance(one, Advice) for item in one.items]
    assert not any("gain more" in text or "fell by" in text for text in texts)
    assert texts[-1].startswith("Ended at step 200 of 200. The loss is not below where it began")
    assert any(text.startswith("In the next training, with these settings: lower") for text in texts)


def test_what_the_advice_cites_of_the_loss_is_of_the_step_that_it_names() -> None:
    fold = watch(total_steps=1000)
    stepped(fold, curve(413))
    change = fold._losses.change
    assert change is not None
    advice = [one for one in fold.end(BEGAN + 500) if isinstance(one, Advice)][-1]
    assert change.step is not None
    assert change.step <= 413
    assert f"steps up to step {change.step}" in advice.items[-1].because[0]


def test_equal_rewards_explain_gradients_of_zero_and_no_layer_is_dead() -> None:
    names = (LayerName("model.layers.0", ""), LayerName("model.layers.1", ""))
    fold = watch()
    said: list[Record] = []
    for step in range(1, 61):
        said += fold.step(step, BEGAN + step, loss=0.0, gradient_norm=0.0, timing=StepTiming(tokens=None, seconds=0.5))
        said += fold.metrics(
            step, BEGAN + step, {"reward": 0.0, "frac_reward_zero_std": 1.0, "num_tokens": 100.0 * step}
        )
        said += fold.layers(step, BEGAN + step, LayerValues(names=names, gradient=[0.0, 0.0]))
    found = alerts(said, "vanishing_gradients")[-1]
    assert found.recommendation == DEFAULT.alerts.vanishing_gradients.recommendation_equal_rewards
    assert alerts(said, "dead_layers") == []
    told = fold.signals(60, BEGAN + 60)
    assert "rewards are equal" in told.why["conditions.dead_layers"]
    assert told.tokens_per_sec == pytest.approx(200.0)


def test_gradients_that_reach_nothing_are_told_and_never_ok() -> None:
    names = (LayerName("model.layers.0", ""), LayerName("model.layers.1", ""))
    fold = watch()
    said: list[Record] = []
    for step in range(30):
        values = LayerValues(names=names, gradient=[None, None], weight=[2.0, 3.0], update=[0.0, 0.0])
        said += fold.layers(step, BEGAN + step, values)
    assert alerts(said, "dead_layers")[0].title == "No gradient reaches any trained parameter"
    told = fold.signals(30, BEGAN + 30)
    for name in ("exploding_gradients", "vanishing_gradients"):
        assert told.conditions[name] == "no_data"
        assert told.why[f"conditions.{name}"] == "no layer has a gradient at step 29"
