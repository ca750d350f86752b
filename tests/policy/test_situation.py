"""What follows from what is known of a training: missing is never the same as good, and each phrase has its numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.streaming import Change
from barograph.policy import load, situation
from barograph.policy.evaluation_conditions import Evaluation, Evaluations
from barograph.policy.learning_rate_conditions import STEADY_SHARE, Schedule
from barograph.policy.loss_progress import Progress
from barograph.policy.situation import RECENT_SHARE, RECENT_STEPS, Situation
from barograph.records import Alert
from barograph.records.alerts import AlertStateWord
from barograph.records.signals import TrendWord

TABLE = load("default").advice
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
PLATEAU = PlateauResult(
    plateau=True,
    expected_gain=0.001,
    expected_gain_high=0.005,
    rising=False,
    horizon_steps=250.0,
    steps=250,
    why="it gains 0.1%",
)

losses = st.floats(0.1, 10.0) | st.sampled_from([math.nan, math.inf])


def evaluated(*seen: float) -> Evaluations:
    fold = Evaluations()
    for place, loss in enumerate(seen, 1):
        fold.update(Evaluation(100 * place, loss, None))
    return fold


def alert(condition: str, state: AlertStateWord = "firing", **evidence: float) -> Alert:
    return Alert(
        time=1.0, title="It is", condition=condition, state=state, evidence=evidence, count=2, first_step=500, step=600
    )


@given(
    rate=st.floats(0.0, 1.0),
    peak=st.floats(0.0, 1.0),
    total=st.none() | st.integers(1, 3000),
    step=st.integers(0, 3000),
)
def test_a_schedule_is_over_where_its_steps_are_made_or_its_rate_is_a_small_share_of_its_peak(
    rate: float, peak: float, total: int | None, step: int
) -> None:
    now = replace(NOW, step=step, total_steps=total, schedule=Schedule(step, rate, peak))
    made = total is not None and step >= total
    decayed = peak > 0.0 and rate / peak <= TABLE.decayed_share
    over = situation.schedule_over(now, table=TABLE)
    assert over == (made or decayed)
    late = total is not None and step >= 0.9 * total
    steady = peak > 0.0 and rate / peak > STEADY_SHARE
    assert situation.schedule_nearly_over(now, table=TABLE) == ((over or late) and not steady)
    unknown = replace(now, schedule=None)
    assert situation.schedule_nearly_over(unknown, table=TABLE) == late


def test_of_a_schedule_that_nobody_knows_nothing_is_over() -> None:
    assert not situation.schedule_over(NOW, table=TABLE)
    assert not situation.schedule_over(replace(NOW, schedule=Schedule(1, 0.0, 0.0)), table=TABLE), "0 of 0 is no share"


@given(seen=st.lists(losses, max_size=12))
def test_an_evaluation_loss_may_fall_while_its_best_is_young_and_falls_if_it_is_the_newest(seen: list[float]) -> None:
    now = replace(NOW, evaluations=evaluated(*seen))
    finite = [loss for loss in seen if math.isfinite(loss)]
    young = bool(finite) and len(finite) - 1 - finite.index(min(finite)) < TABLE.eval_patience
    assert situation.evaluation_falls(now, table=TABLE) == young
    fell = len(finite) > 1 and math.isfinite(seen[-1]) and finite.index(min(finite)) == len(finite) - 1
    assert situation.evaluation_fell(now) == fell


@given(
    plateau=st.sampled_from([True, False, None]),
    high=st.none() | st.floats(-1.0, 1.0),
    gain=st.none() | st.floats(-1.0, 1.0),
)
def test_it_is_flat_only_by_a_gain_that_is_known_the_upper_bound_before_the_mean(
    plateau: bool | None, high: float | None, gain: float | None
) -> None:
    result = replace(PLATEAU, plateau=plateau, expected_gain_high=high, expected_gain=gain)
    known = gain if high is None else high
    expected = bool(plateau) and known is not None and known < TABLE.stop_after_gain_below
    assert situation.flat(replace(NOW, plateau=result), table=TABLE) == expected


def test_without_a_plateau_that_was_looked_for_nothing_is_flat() -> None:
    assert not situation.flat(NOW, table=TABLE)


@pytest.mark.parametrize(
    ("evidence", "state", "lost"),
    [
        ({}, "firing", True),
        ({"gradient_norm": 0.0}, "firing", False),
        ({"gradient_norm": math.nan}, "firing", True),
        ({"gradient_norm": math.inf}, "firing", True),
        ({"gradient_norm": math.nan}, "recovering", False),
    ],
)
def test_weights_are_lost_unless_gradients_were_numbers_or_a_later_loss_is_one(
    evidence: dict[str, float], state: AlertStateWord, lost: bool
) -> None:
    assert situation.is_lost(alert("non_finite_loss", state, **evidence)) == lost


def test_losses_that_were_no_numbers_are_told_in_the_order_of_their_certainty() -> None:
    every = {name: alert(name) for name in ("loss_spike", "masked_loss", "non_finite_loss", "non_finite_evaluation")}
    found = situation.no_numbers(replace(NOW, alerts=every))
    assert [one.condition for one in found] == ["non_finite_loss", "masked_loss"]
    assert situation.no_numbers(NOW) == []


def test_an_evaluation_fails_only_while_its_alert_fires() -> None:
    assert situation.failed_evaluation(NOW) is None
    firing, better = alert("non_finite_evaluation"), alert("non_finite_evaluation", "recovering")
    assert situation.failed_evaluation(replace(NOW, alerts={"non_finite_evaluation": firing})) is firing
    assert situation.failed_evaluation(replace(NOW, alerts={"non_finite_evaluation": better})) is None


@given(step=st.integers(0, 100_000), spikes=st.lists(st.integers(0, 100_000), max_size=20).map(sorted))
def test_spikes_count_within_the_last_steps_or_the_last_share_of_them(step: int, spikes: list[int]) -> None:
    found = situation.recent_spikes(replace(NOW, step=step, spikes=spikes))
    assert found == [one for one in spikes if step - one <= RECENT_STEPS or step - one <= RECENT_SHARE * step]


@pytest.mark.parametrize(
    ("trend", "spike", "at", "expected"),
    [
        ("improving", None, 900, True),
        ("stable", None, 900, False),
        ("degrading", None, 900, False),
        ("unknown", None, 900, False),
        ("improving", "recovering", 900, True),
        ("improving", "firing", 900, False),
        ("improving", "firing", 998, True),
        ("improving", "firing", 997, False),
    ],
)
def test_a_loss_has_come_back_if_it_falls_and_no_spike_lasts(
    trend: TrendWord, spike: AlertStateWord | None, at: int, expected: bool
) -> None:
    alerts = {} if spike is None else {"loss_spike": alert("loss_spike", spike)}
    assert situation.recovered(replace(NOW, trend=trend, alerts=alerts, spikes=(at,))) == expected


def test_each_phrase_has_its_numbers_and_what_is_not_known_has_none() -> None:
    phrases = (
        situation.of_plateau,
        situation.of_schedule,
        situation.of_evaluations,
        situation.of_trend,
        situation.of_own,
    )
    assert [list(phrase(NOW)) for phrase in phrases] == [[], [], [], [], []]
    known = replace(
        NOW,
        total_steps=2000,
        schedule=Schedule(990, 5e-5, 1e-4, whole=False),
        plateau=PLATEAU,
        evaluations=evaluated(1.5, 1.25, math.nan),
        change=Change(ratio=-0.0123, steps=1500),
        own=Alert(time=1.0, title="Mine", step=5),
        own_count=3,
    )
    assert [said for phrase in phrases for said in phrase(known)] == [
        "at step 1000, it gains 0.1%",
        "learning rate 5e-05 at step 990, 50% of its peak in this attempt 0.0001",
        "step 1000 of 2000",
        "evaluation loss NaN at step 300, least 1.25 at step 200, 0 evaluations ago",
        "the loss changed by -1.23% over the 1,500 steps up to step 1000",
        "3 alerts of the training's own, the newest at step 5: Mine",
    ]
    drawn = replace(known, plateau_step=960, change=Change(ratio=-0.5, steps=119, step=120))
    assert list(situation.of_plateau(drawn)) == ["at step 960, it gains 0.1%"]
    assert list(situation.of_trend(drawn)) == ["the loss changed by -50.00% over the 119 steps up to step 120"]
    assert list(situation.of_schedule(replace(NOW, schedule=Schedule(9, 0.0, 0.0)))) == [
        "learning rate 0 at step 9, and never more"
    ]
    assert list(situation.of_schedule(replace(NOW, schedule=Schedule(9, 5e-5, 1e-4)))) == [
        "learning rate 5e-05 at step 9, 50% of its peak 0.0001"
    ]
    unknown = replace(known, plateau=replace(PLATEAU, plateau=None), evaluations=evaluated(math.nan))
    assert list(situation.of_plateau(unknown)) == []
    assert list(situation.of_evaluations(unknown)) == []
    assert list(situation.of_own(replace(known, own=Alert(time=1.0, title="Mine")))) == [
        "3 alerts of the training's own, the newest: Mine"
    ]


def test_the_beginning_is_cited_where_the_loss_is_not_below_it_or_rose_above_it() -> None:
    for progress, told in (
        (None, False),
        (Progress(4.2, 3.0, False, True), False),
        (Progress(4.2, 3.0, True, True), True),
        (Progress(4.2, 4.3, False, False), True),
    ):
        assert bool([*situation.of_beginning(replace(NOW, progress=progress))]) == told
    (phrase,) = situation.of_beginning(replace(NOW, progress=Progress(4.2, 4.3, True, False)))
    assert phrase == "the loss is 4.3 on average at step 1000, and began with 4.2"


def test_evaluations_that_are_all_the_same_say_nothing_and_one_alone_does() -> None:
    assert not situation.evaluation_speaks(NOW)
    for seen, speaks in (([4.0], True), ([4.0, 4.0], False), ([4.0, math.nan, 4.0], False), ([4.0, 4.1], True)):
        assert situation.evaluation_speaks(replace(NOW, evaluations=evaluated(*seen))) == speaks
    stuck = replace(alert("constant_evaluation"), subjects=["eval/loss"])
    now = replace(NOW, evaluations=evaluated(4.0, 4.1), alerts={"constant_evaluation": stuck})
    assert not situation.evaluation_speaks(now)
    for other in (replace(stuck, subjects=["eval/accuracy"]), replace(stuck, state="recovering")):
        assert situation.evaluation_speaks(replace(now, alerts={"constant_evaluation": other}))


def test_nothing_is_trained_at_a_rate_of_zero_or_where_all_layers_are_dead() -> None:
    zero = alert("learning_rate_zero")
    every = alert("dead_layers", dead_layers=5.0, total_layers=5.0)
    assert situation.untrained(NOW) is None
    assert situation.untrained(replace(NOW, alerts={"learning_rate_zero": zero})) is zero
    assert situation.untrained(replace(NOW, alerts={"dead_layers": every})) is every
    some = alert("dead_layers", dead_layers=2.0, total_layers=5.0)
    assert situation.untrained(replace(NOW, alerts={"dead_layers": some})) is None


def test_equal_rewards_are_told_by_the_evidence_of_gradients_that_vanish() -> None:
    plain, equal = alert("vanishing_gradients"), alert("vanishing_gradients", equal_rewards_share=1.0)
    assert situation.equal_rewards(replace(NOW, alerts={"vanishing_gradients": plain})) is None
    assert situation.equal_rewards(replace(NOW, alerts={"vanishing_gradients": equal})) is equal


def test_an_alert_is_told_by_its_condition_its_first_step_and_its_count() -> None:
    told = alert("loss_spike")
    assert situation.of_alert(told) == "alert loss_spike since step 500, seen 2 times: It is"
    assert situation.of_alert(replace(told, first_step=None, count=1)) == "alert loss_spike, seen 1 time: It is"


@pytest.mark.parametrize(
    ("loss", "said"), [(1.23456, "1.235"), (math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_a_loss_is_told_as_everything_else_tells_it(loss: float, said: str) -> None:
    assert situation.loss_in_words(loss) == said
