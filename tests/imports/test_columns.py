"""Which column is what: by its name, and only if what is in it can be that."""

import pytest

from barograph.errors import ImportFailed, NothingYet, UsageError
from barograph.imports.columns import columns, normal


def guessed(**first: object) -> dict[str, str]:
    return columns(list(first), [first], {}, where="log").mapping


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"step": 1, "loss": 2.0}, {"step": "step", "loss": "loss"}),
        ({"global_step": 1, "train/loss": 2.0, "val_loss": 3.0}, {"step": "global_step", "loss": "train/loss"}),
        ({"Iteration": 1, "Train Loss": 2.0}, {"step": "Iteration", "loss": "Train Loss"}),
        ({"_step": 1, "_timestamp": 1.7e9, "lm loss": 2.0}, {"step": "_step", "loss": "lm loss", "time": "_timestamp"}),
        ({"Step": 1, "my-run - train/loss": 2.0}, {"step": "Step", "loss": "my-run - train/loss"}),
        ({"iter": 1, "val_loss": 2.0, "acc": 0.5}, {"step": "iter"}),
        ({"step": "abc", "iter": 1, "loss": 1.0}, {"step": "iter", "loss": "loss"}),
        ({"step": 1, "loss": 1.0, "time": 3.5}, {"step": "step", "loss": "loss"}),
        (
            {"step": 1, "loss": 1.0, "rank": 0, "run_id": "a"},
            {"step": "step", "loss": "loss", "rank": "rank", "run": "run_id"},
        ),
        ({"step": 1, "loss": 1.0, "rank": 3}, {"step": "step", "loss": "loss"}),
        ({"epoch": 1, "loss": 1.0}, {"step": "epoch", "loss": "loss"}),
    ],
)
def test_columns_are_told_by_name_and_content(row: dict[str, object], mapping: dict[str, str]) -> None:
    assert guessed(**row) == mapping


def test_what_the_user_says_wins() -> None:
    row = {"step": 1, "iter": 2, "loss": 1.0, "nll": 2.0}
    found = columns(list(row), [row], {"step": "iter", "loss": "nll"}, where="log")
    assert (found.step, found.loss) == ("iter", "nll")


def test_a_column_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(ImportFailed, match=r"there is no column 'nll' in its first rows.*'step', 'loss'"):
        columns(["step", "loss"], [{"step": 1}], {"loss": "nll"}, where="log")


def test_an_unknown_key_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UsageError, match="step, loss, time"):
        columns(["step"], [], {"x": "step"}, where="log")


def test_no_step_is_said_with_what_to_do() -> None:
    with pytest.raises(ImportFailed, match=r"no column looks like the step.*--map step=COLUMN"):
        guessed(a=1.5, loss=1.0)


def test_a_table_without_numbers_holds_nothing_yet() -> None:
    with pytest.raises(NothingYet, match="no column of it holds numbers"):
        guessed(step=1, note="begun")


def test_separators_and_case_do_not_count() -> None:
    assert {normal(name) for name in ("Train/Loss", "train.loss", "train loss", "_train-loss_")} == {"train_loss"}
