"""An evaluation whose loss is no number is told at its own step, whatever the training does, and no checkpoint of it is
ever the one to use."""

import itertools
import math
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.policy import Policy, load
from barograph.policy.alert_tables import NonFiniteEvaluationTable
from barograph.policy.non_finite_evaluation import CHANGES, MOST_SETS, NonFiniteEvaluations
from barograph.policy.training_watch import TrainingWatch
from barograph.records import Alert, Record, codec

POLICIES = {name: load(name) for name in ("default", "contract")}
TABLE = POLICIES["default"].alerts.non_finite_evaluation
BEGAN = 1.7e9
NONE = [math.nan, math.inf, -math.inf]

losses = st.floats(0.0, 10.0) | st.sampled_from(NONE)
logs = st.lists(
    st.tuples(
        st.integers(0, 2), st.dictionaries(st.sampled_from(["eval/loss", "eval/a_loss", "b"]), losses, min_size=1)
    ),
    max_size=20,
)


def stepped(seen: Iterable[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
    """The logs with their steps, which are counted up by what each begins with."""
    step, found = 0, []
    for further, values in seen:
        step += further
        found.append((step, values))
    return found


@given(seen=logs)
def test_it_is_seen_where_it_is_logged_and_over_when_every_newest_loss_is_a_number(
    seen: list[tuple[int, dict[str, float]]],
) -> None:
    fold = NonFiniteEvaluations(TABLE)
    newest: dict[str, float] = {}
    for step, values in stepped(seen):
        newest |= values
        found = fold.update(step, values, training_loss=1.0)
        if not all(map(math.isfinite, values.values())):
            assert found is not None
            assert found.seen
            assert set(found.subjects) == {name for name, loss in newest.items() if not math.isfinite(loss)}
        elif all(map(math.isfinite, newest.values())):
            assert found is not None
            assert found.seen is False
        else:
            assert found is None, "another set is still no number, and nothing is known of it anew"


@given(seen=logs, at=st.integers(-1, 50))
def test_a_step_is_sound_if_the_newest_evaluation_up_to_it_gave_numbers_alone(
    seen: list[tuple[int, dict[str, float]]], at: int
) -> None:
    fold = NonFiniteEvaluations(TABLE)
    told: dict[int, dict[str, float]] = {}
    for step, values in stepped(seen):
        fold.update(step, values, training_loss=None)
        told.setdefault(step, {}).update(values)
    before = [step for step in told if step <= at]
    expected = not before or all(map(math.isfinite, told[max(before)].values()))
    assert fold.sound_at(at) == expected


def test_a_second_evaluation_of_a_step_counts_and_steps_that_go_back_forget_what_was_ahead() -> None:
    fold = NonFiniteEvaluations(TABLE)
    fold.update(100, {"eval/loss": math.nan}, training_loss=None)
    fold.update(100, {"eval/loss": 1.0}, training_loss=None)
    assert fold.sound_at(100)
    fold.update(200, {"eval/loss": math.nan}, training_loss=None)
    fold.update(50, {"eval/loss": 1.0}, training_loss=None)
    assert fold.sound_at(200)


@pytest.mark.parametrize(
    ("before", "training", "expected"),
    [
        ([1.5], 1.2, TABLE.recommendation),
        ([1.5], None, TABLE.recommendation),
        ([], 1.2, TABLE.recommendation_never),
        ([math.nan, math.inf], 1.2, TABLE.recommendation_never),
        ([1.5], math.nan, TABLE.recommendation_lost),
        ([], math.inf, TABLE.recommendation_lost),
    ],
)
def test_what_to_do_depends_on_what_was_a_number_before(
    before: list[float], training: float | None, expected: str
) -> None:
    fold = NonFiniteEvaluations(TABLE)
    for step, loss in enumerate(before):
        fold.update(step, {"eval/loss": loss}, training_loss=training)
    found = fold.update(9, {"eval/loss": math.nan}, training_loss=training)
    assert found is not None
    assert (found.recommendation or TABLE.recommendation) == expected


def test_its_numbers_are_in_the_text_and_in_the_evidence() -> None:
    fold = NonFiniteEvaluations(TABLE)
    first = fold.update(100, {"eval/loss": math.nan}, training_loss=None)
    assert first is not None
    assert (first.title, first.text) == (
        "The evaluation loss is NaN",
        "At step 100 the evaluation loss is NaN, and none before it was a number.",
    )
    fold.update(200, {"eval/loss": 1.25, "eval/math_loss": 2.5}, training_loss=1.0)
    found = fold.update(300, {"eval/math_loss": math.inf}, training_loss=1.125)
    assert found is not None
    assert (found.title, found.step, found.subjects) == ("eval/math_loss is Infinity", 300, ("eval/math_loss",))
    assert found.text == (
        "At step 300 eval/math_loss is Infinity; it was 2.5 at step 200. The loss of a token whose probability was"
        " rounded to zero is infinite. The newest loss of training is 1.125."
    )
    assert found.evidence == {
        "validation_loss": math.inf,
        "last_loss": 2.5,
        "last_step": 200.0,
        "training_loss": 1.125,
    }
    both = fold.update(400, {"eval/loss": math.nan}, training_loss=math.nan)
    assert both is not None
    assert (both.title, both.subjects) == ("The evaluation loss is NaN, and 1 more", ("eval/loss", "eval/math_loss"))
    assert both.text.endswith("it was 1.25 at step 200. The newest loss of training is NaN.")


def test_what_is_kept_is_bounded_and_one_beyond_the_bound_is_still_seen() -> None:
    fold = NonFiniteEvaluations(TABLE)
    for step in range(4 * CHANGES):
        fold.update(step, {f"eval/{step}_loss": 1.0 if step % 2 else math.nan}, training_loss=None)
    found = fold.update(9_999, {"eval/another_loss": math.nan}, training_loss=None)
    assert found is not None
    assert found.seen
    assert len(found.subjects) <= MOST_SETS
    assert not fold.sound_at(9_999)
    assert fold.sound_at(0), "long ago: nothing is known of it any more"


def watch(policy: Policy) -> TrainingWatch:
    ids = itertools.count(1)
    return TrainingWatch(policy, new_id=lambda: f"alert-{next(ids)}")


def evaluated(fold: TrainingWatch, step: int, values: Mapping[str, float]) -> list[Record]:
    return fold.metrics(step, BEGAN + step, values)


def alerts(records: Iterable[Record]) -> list[Alert]:
    return [one for one in records if isinstance(one, Alert) and one.condition == "non_finite_evaluation"]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("loss", NONE)
@pytest.mark.parametrize(
    "name", ["eval/loss", "eval_loss", "val_loss", "eval/math_loss", "eval_math_loss", "test/loss"]
)
def test_it_alerts_at_its_own_step_and_is_over_after_two_that_are_numbers(
    policy: Policy, loss: float, name: str
) -> None:
    fold = watch(policy)
    fold.step(1, BEGAN, loss=1.5)
    assert fold.signals(1, BEGAN).conditions["non_finite_evaluation"] == "no_data"
    assert alerts(evaluated(fold, 100, {name: 1.6})) == []
    assert fold.signals(100, BEGAN).conditions["non_finite_evaluation"] == "ok"
    (alert,) = alerts(evaluated(fold, 200, {name: loss}))
    assert (alert.state, alert.level, alert.category) == ("firing", "warning", "evaluation")
    assert (alert.step, alert.first_step, alert.subjects) == (200, 200, [name])
    assert alert.recommendation == policy.alerts.non_finite_evaluation.recommendation
    assert repr(codec.decode_line(codec.encode_line(alert)).record) == repr(alert)
    (better,) = alerts(evaluated(fold, 300, {name: 1.5}))
    (over,) = alerts(evaluated(fold, 400, {name: 1.4}))
    assert [better.state, over.state] == ["recovering", "resolved"]
    assert better.id == over.id == alert.id
    assert better.text.endswith("An evaluation after it is a number again.")


def test_the_loss_of_training_needs_not_be_known_and_other_numbers_are_no_evaluation_loss() -> None:
    fold = watch(POLICIES["default"])
    silent = {"eval/accuracy": math.nan, "eval/runtime": math.nan, "train/loss": math.nan, "loss": math.nan}
    assert alerts(evaluated(fold, 1, silent)) == []
    assert fold.signals(1, BEGAN).conditions["non_finite_evaluation"] == "no_data"
    (alert,) = alerts(evaluated(fold, 2, {"train/eval_loss": math.nan}))
    assert "training" not in alert.text


def test_sets_of_one_step_count_once_and_an_evaluation_that_stays_so_is_one_alert() -> None:
    fold, said = watch(POLICIES["default"]), list[Record]()
    for step in range(1, 2_001):
        for name in ("eval/a_loss", "eval/b_loss", "eval/c_loss"):
            said += evaluated(fold, step, {name: math.nan if name != "eval/c_loss" else 1.0})
    (alert,) = [one for one in fold.active if one.condition == "non_finite_evaluation"]
    assert (alert.count, alert.subjects, alert.first_step) == (2_000, ["eval/a_loss", "eval/b_loss"], 1)
    assert {one.id for one in alerts(said)} == {alert.id}
    assert len(alerts(said)) < 100


@settings(max_examples=50)
@given(seen=st.lists(st.floats(0.1, 10.0), max_size=30), policy=st.sampled_from(list(POLICIES.values())))
def test_evaluations_that_are_numbers_never_alert(seen: list[float], policy: Policy) -> None:
    fold = watch(policy)
    for step, loss in enumerate(seen):
        assert alerts(evaluated(fold, step, {"eval/loss": loss})) == []


def test_the_gap_to_the_training_loss_is_not_known_then_and_says_so() -> None:
    fold = watch(POLICIES["default"])
    fold.step(1, BEGAN, loss=1.0)
    evaluated(fold, 1, {"eval/loss": math.nan})
    told = fold.signals(1, BEGAN)
    assert told.validation_loss is not None
    assert math.isnan(told.validation_loss)
    assert told.why["val_train_gap"] == "it is NaN at step 1"
    assert told.conditions["val_train_gap"] == "no_data"


@settings(max_examples=60)
@given(
    seen=st.lists(st.tuples(losses, st.booleans(), st.booleans()), min_size=1, max_size=25),
    lost=st.booleans(),
    ended=st.booleans(),
)
def test_no_advice_names_a_checkpoint_whose_evaluation_was_no_number(
    seen: list[tuple[float, bool, bool]], lost: bool, ended: bool
) -> None:
    fold, told = watch(POLICIES["default"]), dict[str, float]()
    for place, (loss, saves, before) in enumerate(seen, 1):
        step = 100 * place
        fold.step(step, BEGAN + step, loss=2.0)
        if saves and before:
            fold.saved(step, f"checkpoint-{step}")
        evaluated(fold, step, {"eval/loss": loss})
        told[f"checkpoint-{step}"] = loss
        if saves and not before:
            fold.saved(step, f"checkpoint-{step}")
    if lost:
        fold.step(100 * len(seen) + 1, BEGAN + 1e5, loss=math.nan, gradient_norm=math.nan)
    if ended:
        fold.end(BEGAN + 2e5)
    newest = fold.advice
    assert newest is not None
    for item in newest.items:
        if item.action == "use_checkpoint":
            assert all(math.isfinite(told[name]) for name in item.subjects)


def test_the_policies_say_what_to_do_of_each_case_in_words_of_its_own() -> None:
    for policy in POLICIES.values():
        table: NonFiniteEvaluationTable = policy.alerts.non_finite_evaluation
        said = {table.recommendation, table.recommendation_never, table.recommendation_lost}
        assert len(said) == 3
        assert all("evaluation" in one for one in said)
