"""What a value is: no step, loss or time comes about by conversion."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.imports import cells

NUMBERS = st.floats(width=64) | st.integers(-(2**53), 2**53).map(float)


@pytest.mark.parametrize(
    "value", [True, False, "7", 7.9, -1, 2**63, 2**70, math.inf, math.nan, None, [], {}, -1.0, 1e300]
)
def test_what_is_no_step_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no whole number from 0"):
        cells.step_of(value)


@given(st.integers(0, 2**63 - 1))
def test_every_whole_number_of_64_bits_is_a_step(step: int) -> None:
    assert cells.step_of(step) == step


def test_a_whole_float_is_a_step_as_pandas_writes_them() -> None:
    assert cells.step_of(7.0) == 7


@given(NUMBERS)
def test_a_number_that_was_written_as_json_is_read_back(value: float) -> None:
    found = cells.number_of(cells.object_of(json.dumps({"x": value}))["x"])
    assert found == value or (found is not None and math.isnan(found) and math.isnan(value))


@given(NUMBERS)
def test_a_number_that_was_written_as_a_cell_is_read_back(value: float) -> None:
    found = cells.number_of(cells.value_of(str(value)))
    assert found == value or (found is not None and math.isnan(found) and math.isnan(value))


@pytest.mark.parametrize("text", ["NaN", "nan", "-inf", "Infinity", "inf", "-Infinity"])
def test_the_words_for_what_is_not_finite_are_numbers(text: str) -> None:
    found = cells.number_of_cell(text)
    assert found is not None
    assert not math.isfinite(found)


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "1_000", "1,5", "0x10", "1e999", "--inf", "١", "", "9" * 5000]
)
def test_a_cell_that_is_no_number_becomes_none(text: str) -> None:
    assert cells.number_of_cell(text) is None


def test_a_loss_that_no_float_holds_is_refused_and_not_infinite() -> None:
    with pytest.raises(ValueError, match="the loss is '1e999', no number"):
        cells.loss_of(cells.object_of('{"loss": 1e999}')["loss"])
    with pytest.raises(ValueError, match="no number"):
        cells.loss_of(cells.object_of('{"loss": ' + "9" * 5000 + "}")["loss"])
    assert cells.loss_of(cells.object_of('{"loss": -Infinity}')["loss"]) == -math.inf


@pytest.mark.parametrize("value", [True, "low", [1.0], {}])
def test_a_loss_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="the loss is"):
        cells.loss_of(value)


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_loss_is_none_and_not_zero(value: object) -> None:
    assert cells.loss_of(value) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_767_225_600, 1_767_225_600.0),
        (1_767_225_600_000, 1_767_225_600.0),
        ("1767225600.5", 1_767_225_600.5),
        ("2026-01-01T00:00:00Z", 1_767_225_600.0),
        ("2026-01-01 01:00:00+01:00", 1_767_225_600.0),
        ("2026-01-01 00:00:00", 1_767_225_600.0),
        (12.5, None),
        ("0:00:12", None),
        (math.nan, None),
        (None, None),
    ],
)
def test_a_time_is_seconds_milliseconds_or_iso_and_an_elapsed_one_is_none(value: object, seconds: float | None) -> None:
    assert cells.time_of(value) == seconds


def test_a_key_twice_is_said_and_deep_nesting_is_no_crash() -> None:
    with pytest.raises(ValueError, match="the key 'loss' is in it twice"):
        cells.object_of('{"step": 1, "loss": 1, "loss": 2}')
    with pytest.raises(ValueError, match="twice"):
        cells.flat(cells.object_of('{"train": {"loss": 1, "loss": 2}}'))
    with pytest.raises(ValueError, match="nested too deep"):
        cells.object_of('{"a":' * 200_000)


def test_inner_objects_are_joined_and_lists_are_no_metrics() -> None:
    values = cells.flat({"train": {"loss": 1.0, "deep": {"er": 2}}, "list": [1]})
    assert cells.metrics_of(values, without=frozenset({"list"})) == {"train/loss": 1.0, "train/deep/er": 2.0}
