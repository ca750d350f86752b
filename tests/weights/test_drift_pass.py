"""Every tensor of either side becomes one record; what cannot be compared says so; frozen tensors are read once."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barograph.errors import CheckpointChanged, CheckpointError
from barograph.records import TensorPass, WeightsPass
from barograph.records.codec import decode_line, encode_line
from barograph.weights import Pass, drift_pass, open_checkpoint
from barograph.weights.drift_pass import bytes_to_read


def passed(current: Path, reference: Path | None = None, **options: Any) -> Pass:
    with open_checkpoint(current) as after:
        if reference is None:
            return drift_pass(after, **options)
        with open_checkpoint(reference) as before:
            return drift_pass(after, reference=before, **options)


def by_name(done: Pass) -> dict[str, TensorPass]:
    return {row.tensor: row for row in done.rows}


def ids(make: Any) -> Any:
    return make.tensor("I64", (3,), np.arange(3, dtype=np.uint64))


@pytest.fixture
def pair(tmp_path: Path, make: Any) -> tuple[Path, Path]:
    """A reference and a checkpoint that differ in every way there is."""
    reference = {
        "layers.0.same": make.stored([[3.0, 4.0]]),
        "layers.0.moved": make.stored([[1.0, 0.0], [0.0, 0.0]]),
        "gone": make.stored([1.0]),
        "grown": make.stored([[1.0, 2.0]]),
        "position_ids": ids(make),
    }
    current = {
        "layers.0.same": reference["layers.0.same"],
        "layers.0.moved": make.stored([[1.0, 2.0], [0.0, -0.0]]),
        "new": make.stored([5.0]),
        "grown": make.stored([[1.0, 2.0, 3.0]]),
        "position_ids": ids(make),
    }
    return make.write(tmp_path / "base", reference), make.write(tmp_path / "checkpoint-40", current)


def test_every_tensor_of_either_side_is_a_record(pair: tuple[Path, Path]) -> None:
    done = passed(pair[1], pair[0])
    rows = by_name(done)
    assert {name: row.state for name, row in rows.items()} == {
        "gone": "missing",
        "grown": "reshaped",
        "layers.0.moved": "compared",
        "layers.0.same": "compared",
        "new": "extra",
        "position_ids": "integer",
    }
    moved = rows["layers.0.moved"]
    assert (moved.delta_squares, moved.reference_squares, moved.current_squares) == (4.0, 1.0, 5.0)
    assert (moved.current_zeros, moved.current_zero_rows, moved.reference_zero_rows, moved.changed) == (2, 1, 1, 2)
    assert (moved.current_min, moved.current_max, moved.shape, moved.rows) == (1.0, 2.0, [2, 2], 2)
    assert (rows["gone"].reference_squares, rows["gone"].current_squares) == (None, None), "missing is not zero"
    assert (rows["grown"].delta_squares, rows["grown"].current_squares) == (None, 14.0)
    assert rows["position_ids"].current_squares is None
    assert {row.step for row in done.rows} == {40}
    assert done.summary.tensors == 6


def test_records_survive_the_journal(pair: tuple[Path, Path]) -> None:
    done = passed(pair[1], pair[0])
    records: list[TensorPass | WeightsPass] = [*done.rows, done.summary]
    for record in records:
        assert decode_line(encode_line(record)).record == record


def test_a_checkpoint_alone_is_its_own_reference(pair: tuple[Path, Path]) -> None:
    done = passed(pair[1])
    assert {row.state for row in done.rows} == {"alone", "integer"}
    assert all(row.delta_squares is None and row.reference is None for row in done.rows)
    assert by_name(done)["layers.0.moved"].current_squares == 5.0


def test_a_checkpoint_against_itself_has_not_moved_and_is_read_once(pair: tuple[Path, Path]) -> None:
    done = passed(pair[1], pair[1])
    assert all(row.delta_squares == 0.0 and row.changed == 0 for row in done.rows if row.state == "compared")
    assert done.summary.bytes_read == 4 * (2 + 4 + 1 + 3)


def test_nothing_in_common_is_an_error_and_never_a_drift_of_zero(tmp_path: Path, make: Any) -> None:
    one = make.write(tmp_path / "one", {"a": make.stored([1.0]), "shape": make.stored([1.0]), "ids": ids(make)})
    other = make.write(tmp_path / "two", {"b": make.stored([1.0]), "shape": make.stored([1.0, 2.0]), "ids": ids(make)})
    with pytest.raises(CheckpointError, match="not one tensor is on both sides with the same shape") as found:
        passed(one, other)
    assert str(one) in str(found.value)
    assert str(other) in str(found.value)
    only_ids = make.write(tmp_path / "ids", {"ids": ids(make)})
    with pytest.raises(CheckpointError, match="not one tensor of weights"):
        passed(only_ids)


def test_what_is_not_finite_is_counted(tmp_path: Path, make: Any) -> None:
    good = make.write(tmp_path / "base", {"w": make.stored([1.0, 2.0, 3.0])})
    bad = make.write(tmp_path / "bad", {"w": make.stored([math.nan, -math.inf, 3.0])})
    row = passed(bad, good).rows[0]
    assert (row.current_nan, row.current_infinite, row.current_max, row.delta_squares) == (1, 1, 3.0, 0.0)


def test_a_frozen_tensor_is_read_on_one_side_only_the_second_time(tmp_path: Path, make: Any) -> None:
    frozen, moving = np.arange(1000.0), np.ones(1000)
    base = make.write(tmp_path / "base", {"frozen": make.stored(frozen), "moving": make.stored(moving)})
    first = make.write(tmp_path / "c1", {"frozen": make.stored(frozen), "moving": make.stored(2 * moving)})
    second = make.write(tmp_path / "c2", {"frozen": make.stored(frozen), "moving": make.stored(3 * moving)})
    thawed = make.write(tmp_path / "c3", {"frozen": make.stored(frozen + 1.0), "moving": make.stored(moving)})
    earlier = passed(first, base)
    assert earlier.summary.bytes_read == 16_000
    for checkpoint, read, unchanged in ((second, 12_000, 1), (thawed, 4_000 + 8_000 + 8_000, 0)):
        again, fresh = passed(checkpoint, base, earlier=earlier), passed(checkpoint, base)
        assert (again.summary.bytes_read, again.summary.unchanged) == (read, unchanged)
        assert [(row.delta_squares, row.reference_squares, row.current_squares) for row in again.rows] == [
            (row.delta_squares, row.reference_squares, row.current_squares) for row in fresh.rows
        ]
    os.utime(base / "model.safetensors", ns=(5, 5))
    assert passed(second, base, earlier=earlier).summary.unchanged == 0, "another reference, nothing is known of it"


def test_a_checkpoint_that_is_written_to_during_the_pass_is_no_result(pair: tuple[Path, Path]) -> None:
    def touch(_count: int) -> None:
        os.utime(pair[1] / "model.safetensors", ns=(7, 7))

    with pytest.raises(CheckpointChanged, match="changed while it was read"):
        passed(pair[1], pair[0], progress=touch)


def test_a_checkpoint_that_is_deleted_during_the_pass_is_read_to_its_end(pair: tuple[Path, Path]) -> None:
    def delete(_count: int) -> None:
        (pair[1] / "model.safetensors").unlink(missing_ok=True)

    assert passed(pair[1], pair[0], progress=delete).summary.tensors == 6


def test_the_bar_s_total_is_what_will_be_read(pair: tuple[Path, Path]) -> None:
    with open_checkpoint(pair[0]) as before, open_checkpoint(pair[1]) as after:
        assert bytes_to_read(after, before) == drift_pass(after, reference=before).summary.bytes_read


def test_an_adapter_as_the_reference_is_refused(tmp_path: Path, make: Any, pair: tuple[Path, Path]) -> None:
    folder = tmp_path / "adapter"
    factors = {"q.lora_A.weight": make.stored(np.ones((1, 2))), "q.lora_B.weight": make.stored(np.ones((2, 1)))}
    make.write(folder / "adapter_model.safetensors", factors)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1}))
    with pytest.raises(CheckpointError, match="the reference is an adapter"):
        passed(pair[1], folder)
    with pytest.raises(CheckpointError, match="not one tensor is on both sides") as found:
        passed(folder, make.write(tmp_path / "ids", {"ids": ids(make)}))
    assert "adapter" in str(found.value)
    assert {row.state for row in passed(folder).rows} == {"alone"}
