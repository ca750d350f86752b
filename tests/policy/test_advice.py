"""The advice names what it rests on, and never says stop while there is something left to gain."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.streaming import Change
from barograph.policy import load
from barograph.policy.advice import advice
from barograph.policy.evaluation_conditions import Evaluation, Evaluations
from barograph.policy.learning_rate_conditions import Schedule
from barograph.policy.loss_progress import Progress
from barograph.policy.situation import Save, Situation, evaluation_falls, schedule_over
from barograph.records import Alert
from barograph.records.signals import TrendWord

TABLE = load("default").advice
FLAT = PlateauResult(
    plateau=True,
    expected_gain=0.001,
    expected_gain_high=0.005,
    rising=False,
    horizon_steps=250.0,
    steps=250,
    why="by the last 250 losses, the next 250 steps gain 0.1%, at most 0.5%",
)
FELL = Change(ratio=-0.47, steps=200)
OVER = Schedule(step=1000, rate=1e-6, peak=1e-4)


def evaluated(*losses: float) -> Evaluations:
    fold = Evaluations()
    for place, loss in enumerate(losses):
        fold.update(Evaluation(100 * (place + 1), loss, 1.0))
    return fold


def fired(condition: str, *subjects: str, first_step: int = 500) -> Alert:
    return Alert(
        time=1.0,
        title=f"There is {condition}",
        condition=condition,
        id="a",
        first_step=first_step,
        step=900,
        count=3,
        subjects=list(subjects),
    )


NOW = Situation(
    step=1000,
    total_steps=None,
    alerts={},
    schedule=None,
    evaluations=Evaluations(),
    plateau=None,
    trend="unknown",
    change=None,
    spikes=(),
    saves=(),
)


def actions(situation: Situation) -> list[str]:
    return [item.action for item in advice(situation, table=TABLE)]


@given(
    flat=st.booleans(),
    rate=st.none() | st.floats(0.0, 1e-4),
    total=st.none() | st.integers(500, 2000),
    losses=st.lists(st.floats(0.5, 2.0) | st.sampled_from([math.nan, math.inf]), max_size=8),
    conditions=st.sets(
        st.sampled_from(
            ["non_finite_loss", "loss_spike", "dead_layers", "exploding_gradients", "non_finite_evaluation"]
        )
    ),
    spikes=st.lists(st.integers(0, 1000), max_size=5).map(sorted),
    trend=st.sampled_from(["improving", "stable", "degrading", "unknown"]),
)
def test_never_stop_while_something_is_left_to_gain(
    flat: bool,
    rate: float | None,
    total: int | None,
    losses: list[float],
    conditions: set[str],
    spikes: list[int],
    trend: TrendWord,
) -> None:
    situation = replace(
        NOW,
        plateau=FLAT if flat else replace(FLAT, plateau=False),
        schedule=None if rate is None else Schedule(1000, rate, 1e-4),
        total_steps=total,
        evaluations=evaluated(*losses),
        alerts={name: fired(name) for name in conditions},
        spikes=tuple(spikes),
        trend=trend,
    )
    items = advice(situation, table=TABLE)
    assert items
    assert all(item.because and item.text for item in items)
    assert len({item.action for item in items}) == len(items)
    if any(item.action == "stop" for item in items):
        assert flat
        assert schedule_over(situation, table=TABLE)
        assert not evaluation_falls(situation, table=TABLE)
        assert items[0].action == "stop"
        assert "continue" not in {item.action for item in items}


def test_stop_needs_all_three_and_is_sure_only_with_evaluations() -> None:
    all_three = replace(NOW, plateau=FLAT, schedule=OVER, evaluations=evaluated(1.5, 1.0, 1.1, 1.1, 1.1))
    stop = advice(all_three, table=TABLE)[0]
    assert (stop.action, stop.confidence) == ("stop", "high")
    assert len(stop.because) == 3
    assert "step 1000" in stop.because[0]
    unsure = advice(replace(all_three, evaluations=Evaluations()), table=TABLE)[0]
    assert (unsure.action, unsure.confidence) == ("stop", "low")
    for missing in (
        replace(all_three, plateau=replace(FLAT, plateau=False)),
        replace(all_three, plateau=replace(FLAT, plateau=None)),
        replace(all_three, plateau=None),
        replace(all_three, schedule=Schedule(1000, 5e-5, 1e-4)),
        replace(all_three, schedule=None),
        replace(all_three, evaluations=evaluated(1.5, 1.2, 1.0)),
    ):
        assert "stop" not in actions(missing)


def test_a_schedule_that_decays_and_an_evaluation_that_falls_are_reasons_to_go_on() -> None:
    unknown = advice(replace(NOW, plateau=FLAT), table=TABLE)[-1]
    assert "decayed" not in unknown.text, "no learning rate is known"
    assert unknown.confidence == "low"
    decays = advice(replace(NOW, plateau=FLAT, schedule=Schedule(1000, 5e-5, 1e-4)), table=TABLE)
    assert "has not decayed yet" in decays[-1].text
    falls = advice(replace(NOW, plateau=FLAT, schedule=OVER, evaluations=evaluated(2.0, 1.5)), table=TABLE)
    assert "may still fall" in falls[-1].text
    assert actions(replace(NOW, trend="improving")) == ["continue"]
    assert advice(replace(NOW, trend="improving"), table=TABLE)[0].confidence == "high"
    assert advice(NOW, table=TABLE)[0].confidence == "low"


@pytest.mark.parametrize("condition", ["non_finite_loss", "masked_loss"])
def test_a_lost_loss_goes_back_to_the_checkpoint_before_it(condition: str) -> None:
    saves = (Save(200, "checkpoint-200"), Save(400, "checkpoint-400"), Save(600, "checkpoint-600"))
    situation = replace(NOW, alerts={condition: fired(condition)}, saves=saves, plateau=FLAT, schedule=OVER)
    (item,) = advice(situation, table=TABLE)
    assert (item.action, item.confidence, item.subjects) == ("use_checkpoint", "high", ["checkpoint-400"])
    assert "step 500" in item.because[0]
    (without,) = advice(replace(situation, saves=()), table=TABLE)
    assert (without.action, without.subjects) == ("use_checkpoint", [])


def test_the_best_checkpoint_is_named_once_the_evaluation_rises() -> None:
    saves = (Save(100, "checkpoint-100"), Save(210, "checkpoint-210"), Save(500, "checkpoint-500"))
    situation = replace(NOW, evaluations=evaluated(1.5, 1.0, 1.1, 1.2, 1.3), saves=saves)
    item = advice(situation, table=TABLE)[0]
    assert (item.action, item.confidence, item.subjects) == ("use_checkpoint", "medium", ["checkpoint-210"])
    assert "least at step 200, 1, and is 1.3 at step 500" in item.text
    surer = advice(replace(situation, alerts={"val_train_gap": fired("val_train_gap")}), table=TABLE)[0]
    assert surer.confidence == "high"
    assert "use_checkpoint" not in actions(replace(situation, evaluations=evaluated(1.5, 1.0, 1.1)))


FAILED = fired("non_finite_evaluation", "eval/loss", first_step=300)


def test_a_checkpoint_whose_evaluation_was_no_number_is_never_the_one_to_use() -> None:
    saves = (Save(100, "checkpoint-100"), Save(210, "checkpoint-210", sound=False), Save(500, "checkpoint-500"))
    situation = replace(NOW, evaluations=evaluated(1.5, 1.0, 1.1, 1.2, 1.3), saves=saves)
    assert advice(situation, table=TABLE)[0].subjects == ["checkpoint-100"], "the nearest one that is sound"
    (lost,) = advice(replace(situation, alerts={"non_finite_loss": fired("non_finite_loss")}), table=TABLE)
    assert lost.subjects == ["checkpoint-100"]
    assert "checkpoint-100, the last checkpoint before it whose evaluation was a number" in lost.text
    none = tuple(replace(save, sound=False) for save in saves)
    for alerts in ({}, {"non_finite_loss": fired("non_finite_loss")}):
        item = advice(replace(situation, saves=none, alerts=alerts), table=TABLE)[0]
        assert (item.action, item.subjects) == ("use_checkpoint", [])
        assert "checkpoint-" not in item.text


def test_a_single_evaluation_that_is_no_number_is_looked_at_before_anything_is_given_up() -> None:
    saves = (Save(200, "checkpoint-200"), Save(300, "checkpoint-300", sound=False))
    once = replace(
        NOW,
        evaluations=evaluated(1.5, 1.0, math.nan),
        saves=saves,
        trend="improving",
        alerts={"non_finite_evaluation": replace(FAILED, count=1)},
    )
    go_on, use = advice(once, table=TABLE)
    assert (go_on.action, go_on.confidence) == ("continue", "medium")
    assert go_on.text == "Continue: the loss falls. Look at the evaluation: its loss is no number at step 300."
    assert go_on.because[-1].startswith("alert non_finite_evaluation since step 300")
    assert (use.action, use.confidence, use.subjects) == ("use_checkpoint", "low", ["checkpoint-200"])
    assert use.text == ("Use checkpoint-200: the evaluation loss was least at step 200, 1, and is NaN at step 300.")
    again = replace(once, alerts={"non_finite_evaluation": FAILED})
    assert [(item.action, item.confidence) for item in advice(again, table=TABLE)] == [
        ("use_checkpoint", "medium"),
        ("continue", "medium"),
    ]
    over = advice(replace(once, ended=True), table=TABLE)
    assert (over[0].action, over[0].confidence) == ("use_checkpoint", "medium")
    assert over[1].text.endswith("Look at the evaluation: its loss was no number at step 300.")
    never = replace(once, evaluations=evaluated(math.nan, math.nan))
    assert actions(never) == ["continue"], "nothing says that any checkpoint is better"
    sound = replace(
        once,
        evaluations=evaluated(1.5, 1.0, 1.1),
        alerts={"non_finite_evaluation": replace(FAILED, state="recovering")},
    )
    assert actions(sound) == ["continue"]
    assert "evaluation" not in advice(sound, table=TABLE)[0].text


def test_evaluations_that_are_no_numbers_are_no_evidence_that_the_evaluation_loss_stays() -> None:
    done = replace(NOW, plateau=FLAT, schedule=OVER, alerts={"non_finite_evaluation": FAILED})
    young = replace(done, evaluations=evaluated(1.5, 1.0, math.nan, math.nan, math.nan, math.nan))
    assert "stop" not in actions(young), "it may still fall"
    old = advice(replace(done, evaluations=evaluated(1.0, 1.1, 1.1, 1.1, math.nan)), table=TABLE)[0]
    assert (old.action, old.confidence) == ("stop", "medium")
    assert old.because[-1].startswith("alert non_finite_evaluation")
    never = advice(replace(done, evaluations=evaluated(math.nan)), table=TABLE)[0]
    assert (never.action, never.confidence) == ("stop", "low")
    assert "No evaluation loss is a number" in never.text
    falls = replace(NOW, trend="improving", evaluations=evaluated(math.nan, math.nan, math.nan, math.nan))
    assert "the evaluation loss does not" not in advice(falls, table=TABLE)[0].text


def test_spikes_and_explosions_lower_the_learning_rate() -> None:
    assert actions(replace(NOW, spikes=(100, 200, 300))) == ["lower_learning_rate", "continue"]
    assert actions(replace(NOW, spikes=(100, 200))) == ["continue"]
    assert actions(replace(NOW, step=50_000, spikes=(100, 200, 300))) == ["continue"], "long ago"
    assert actions(replace(NOW, alerts={"exploding_gradients": fired("exploding_gradients")}))[0] == (
        "lower_learning_rate"
    )


def test_spikes_from_which_a_falling_loss_came_back_are_a_remark_first() -> None:
    came_back = replace(NOW, spikes=(100, 200, 300), trend="improving", change=FELL)
    go_on, lower = advice(came_back, table=TABLE)
    assert (go_on.action, lower.action, lower.confidence) == ("continue", "lower_learning_rate", "low")
    assert go_on.text == (
        "Continue: the loss fell by 47% over the last 200 steps. It came back after each of 3 spikes, the newest at"
        " step 300."
    )
    assert go_on.confidence == "medium"
    lasts = replace(came_back, alerts={"loss_spike": fired("loss_spike", first_step=300)})
    assert [(item.action, item.confidence) for item in advice(lasts, table=TABLE)] == [
        ("lower_learning_rate", "medium"),
        ("continue", "medium"),
    ]


@pytest.mark.parametrize(
    "over", [{"schedule": OVER}, {"total_steps": 1000}, {"total_steps": 1100}, {"total_steps": 500, "ended": True}]
)
def test_a_learning_rate_that_ends_anyway_is_not_lowered(over: dict[str, object]) -> None:
    spiky = replace(NOW, spikes=(100, 200, 300), alerts={"learning_rate_high": fired("learning_rate_high")})
    assert "lower_learning_rate" in actions(spiky)
    assert "lower_learning_rate" not in actions(replace(spiky, **over))


@given(alert=st.booleans(), schedule=st.sampled_from([None, OVER, Schedule(1000, 5e-5, 1e-4)]), ended=st.booleans())
def test_an_open_plateau_never_stands_beside_a_loss_that_surely_falls(
    alert: bool, schedule: Schedule | None, ended: bool
) -> None:
    situation = replace(
        NOW,
        plateau=None if alert else FLAT,
        alerts={"plateau": fired("plateau")} if alert else {},
        schedule=schedule,
        trend="improving",
        change=FELL,
        ended=ended,
    )
    for item in advice(situation, table=TABLE):
        assert item.confidence != "high"
        assert "fell by" not in item.text


def test_a_training_that_is_over_is_spoken_of_in_the_past() -> None:
    over = replace(NOW, total_steps=1000, trend="improving", change=FELL, ended=True)
    (item,) = advice(over, table=TABLE)
    assert item.text == (
        "Ended at step 1,000 of 1,000. The loss fell by 47% over the last 200 steps: a longer training may gain more."
    )
    stopped = replace(over, plateau=FLAT, schedule=OVER, evaluations=evaluated(1.5, 1.0, 1.1, 1.1, 1.1))
    assert advice(stopped, table=TABLE)[0].text.startswith("Ended, and no more was to be gained")
    lost = replace(over, alerts={"non_finite_loss": fired("non_finite_loss")})
    assert "the training ended so" in advice(lost, table=TABLE)[0].text


@pytest.mark.parametrize(
    ("alert", "lost"),
    [
        ({}, True),
        ({"evidence": {"gradient_norm": math.nan}}, True),
        ({"evidence": {"gradient_norm": 0.0}}, False),
        ({"state": "recovering"}, False),
        ({"state": "recovering", "evidence": {"gradient_norm": math.nan}}, False),
    ],
)
def test_only_a_loss_that_may_be_lost_sends_back_to_a_checkpoint(alert: dict[str, object], lost: bool) -> None:
    found = replace(fired("non_finite_loss"), **alert)
    items = advice(replace(NOW, alerts={"non_finite_loss": found}, trend="improving", change=FELL), table=TABLE)
    assert [item.action for item in items] == (["use_checkpoint"] if lost else ["continue"])
    assert ("lost since" in items[0].text) == lost
    assert items[0].confidence == ("high" if lost else "medium" if "state" in alert else "low")


def test_layers_to_inspect_are_named() -> None:
    layers = [f"model.layers.{block}" for block in range(30)]
    situation = replace(NOW, alerts={"dead_layers": fired("dead_layers", *layers)})
    item = advice(situation, table=TABLE)[0]
    assert (item.action, item.confidence) == ("inspect_layers", "high")
    assert item.subjects == layers[:20]
    assert "model.layers.0, model.layers.1, model.layers.2 and 17 more" in item.text
    assert "since step 500, seen 3 times" in item.because[0]


def test_the_trainings_own_alerts_are_evidence() -> None:
    own = Alert(time=1.0, title="The data ran out", step=77)
    item = advice(replace(NOW, own=own, own_count=2), table=TABLE)[-1]
    assert item.because == ["2 alerts of the training's own, the newest at step 77: The data ran out"]


EXPLODED = Progress(began=4.17, now=4.33, rose=True, gained=False)


@given(
    trend=st.sampled_from(["improving", "stable", "degrading", "unknown"]),
    ended=st.booleans(),
    rose=st.booleans(),
    plateau=st.sampled_from([None, FLAT, replace(FLAT, plateau=False)]),
    schedule=st.sampled_from([None, OVER, Schedule(1000, 1e-4, 1e-4)]),
)
def test_progress_is_never_claimed_of_a_loss_that_is_not_below_where_it_began(
    trend: TrendWord, ended: bool, rose: bool, plateau: PlateauResult | None, schedule: Schedule | None
) -> None:
    situation = replace(
        NOW,
        trend=trend,
        change=FELL,
        ended=ended,
        plateau=plateau,
        schedule=schedule,
        progress=replace(EXPLODED, rose=rose),
    )
    for item in advice(situation, table=TABLE):
        assert "fell by" not in item.text
        assert "gain more" not in item.text
        assert item.confidence != "high"


def test_a_rate_that_stays_high_is_lowered_to_the_last_step_and_after_it() -> None:
    steady = replace(
        NOW,
        total_steps=1000,
        schedule=Schedule(1000, 0.3, 0.3),
        alerts={"learning_rate_high": fired("learning_rate_high")},
        trend="improving",
        change=FELL,
        progress=EXPLODED,
    )
    for step in (500, 899, 900, 999, 1000):
        assert actions(replace(steady, step=step))[0] == "lower_learning_rate"
    over = advice(replace(steady, ended=True), table=TABLE)
    assert over[0].text.startswith("In the next training, with these settings: lower the learning rate")
    assert over[1].text == (
        "Ended at step 1,000 of 1,000. The loss is not below where it began (4.33 on average, and it began with 4.17):"
        " nothing was gained."
    )
    assert "the loss is 4.33 on average at step 1000, and began with 4.17" in over[1].because


CONSTANT = replace(fired("constant_evaluation", "eval/loss", "eval/accuracy"), title="eval/loss is 4 at 10 evaluations")


@pytest.mark.parametrize("alerts", [{}, {"constant_evaluation": CONSTANT}])
def test_an_evaluation_that_never_changes_names_no_checkpoint_and_judges_no_training(
    alerts: dict[str, Alert],
) -> None:
    situation = replace(
        NOW, evaluations=evaluated(*[4.0] * 10), alerts=alerts, trend="improving", change=FELL, ended=True
    )
    (item,) = advice(situation, table=TABLE)
    assert item.action == "continue"
    assert "would not have helped" not in item.text
    assert ("Look at the evaluation: eval/loss is 4 at 10 evaluations." in item.text) == bool(alerts)
    stop = advice(replace(situation, plateau=FLAT, schedule=OVER), table=TABLE)[0]
    assert (stop.action, stop.confidence) == ("stop", "low")
    assert "No evaluation loss has changed since the first, so nothing says" in stop.text


def test_a_stuck_evaluation_outdoes_the_checkpoint_that_it_was_better_at() -> None:
    stuck = replace(NOW, evaluations=evaluated(3.9, *[4.0] * 5), alerts={"constant_evaluation": CONSTANT})
    assert "use_checkpoint" not in actions(stuck)
    assert "use_checkpoint" in actions(replace(stuck, alerts={}))
    accuracy = replace(CONSTANT, subjects=["eval/accuracy"])
    assert "use_checkpoint" in actions(replace(stuck, alerts={"constant_evaluation": accuracy}))


def test_a_checkpoint_that_was_never_saved_is_not_gone_back_to() -> None:
    situation = replace(NOW, alerts={"non_finite_loss": fired("non_finite_loss")})
    (item,) = advice(situation, table=TABLE)
    assert "no checkpoint from before it is known in this attempt: begin anew" in item.text
    late = advice(replace(situation, saves=(Save(600, "checkpoint-600"),)), table=TABLE)[0]
    assert (late.subjects, "begin anew" in late.text) == ([], True)
    (best, _) = advice(replace(NOW, evaluations=evaluated(1.5, 1.0, 1.1, 1.2, 1.3)), table=TABLE)
    assert best.text.startswith("Use a checkpoint of about step 200, if there is one:")


def test_layers_are_no_clue_where_all_of_them_are_meant() -> None:
    every = fired("exploding_gradients")
    assert "inspect_layers" not in actions(replace(NOW, alerts={"exploding_gradients": every}))
    one = fired("exploding_gradients", "lm_head")
    assert "inspect_layers" in actions(replace(NOW, alerts={"exploding_gradients": one}))


def test_at_a_learning_rate_of_zero_nothing_is_over_and_nothing_goes_on() -> None:
    zero = replace(fired("learning_rate_zero"), title="The learning rate is 0 since step 1")
    situation = replace(
        NOW,
        total_steps=1000,
        schedule=Schedule(1000, 0.0, 0.0),
        plateau=FLAT,
        evaluations=evaluated(1.0, 1.1, 1.1, 1.1),
        alerts={"learning_rate_zero": zero},
    )
    assert "stop" not in actions(situation)
    for ended in (False, True):
        item = advice(replace(situation, ended=ended), table=TABLE)[-1]
        assert item.text.endswith("the learning rate is 0 since step 1, and nothing is learned.")
        assert "nan" not in " ".join([item.text, *item.because]).lower()


def test_equal_rewards_are_looked_at_before_any_layer() -> None:
    alert = replace(fired("vanishing_gradients"), evidence={"gradient_norm": 0.0, "equal_rewards_share": 1.0})
    (item,) = advice(replace(NOW, alerts={"vanishing_gradients": alert}), table=TABLE)
    assert item.action == "continue"
    assert "Look at the reward: it is equal in 100% of the groups" in item.text
    assert item.because[-1].startswith("alert vanishing_gradients")
    without = replace(alert, evidence={"gradient_norm": 0.0})
    assert "inspect_layers" in actions(replace(NOW, alerts={"vanishing_gradients": without}))


@pytest.mark.parametrize("schedule", [OVER, Schedule(1000, 1e-4, 1e-4), None])
def test_a_loss_that_diverged_is_no_success_and_the_next_training_has_a_lower_rate(schedule: Schedule | None) -> None:
    alert = replace(fired("loss_diverged"), title="The loss stays at 6; it had been at 3")
    situation = replace(
        NOW, total_steps=1000, alerts={"loss_diverged": alert}, schedule=schedule, trend="improving", change=FELL
    )
    over = advice(replace(situation, ended=True, plateau=FLAT), table=TABLE)
    assert [item.action for item in over] == ["lower_learning_rate", "continue"]
    assert over[0].text.startswith("In the next training, with these settings: lower the learning rate")
    assert "The loss stays at 6; it had been at 3: compare an earlier checkpoint" in over[1].text
    for item in advice(replace(situation, step=500), table=TABLE):
        assert "fell by" not in item.text
    again = advice(replace(situation, alerts={"loss_diverged": replace(alert, state="recovering")}), table=TABLE)
    assert "fell by 47%" in again[-1].text or "fell by 47%" in again[0].text
