"""The old writer's callers get the document that its readers expect, valid whatever they say."""

import json
import math
from pathlib import Path

import pytest
import torch

import barograph
from barograph.analysis.training_status import TrainingStatus
from barograph.records.quantities import RunStateWord


def document(folder: Path) -> dict[str, object]:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = (folder / "status" / "training_status.json").read_text()
    found: dict[str, object] = json.loads(text, parse_constant=refuse)
    return found


def test_what_was_said_stands_in_the_document_and_the_rest_is_null_with_a_reason(tmp_path: Path) -> None:
    writer = barograph.create_status_writer(tmp_path / "training")
    writer.update_advanced_metrics(
        120,
        1000,
        0.5,
        torch.tensor(1.25),
        2e-4,
        streaming_ce=1.3,
        lora_stats={"layers.0.q_proj": {"current_grad_norm": 0.5, "num_updates": 3}},
        lora_summary={"active_layers": 24, "total_layers": 28},
        alerts=[{"severity": "warning", "message": "Loss spike"}],
        fixed_eval_em=0.75,
        model_name="qwen3_8b",
    )
    assert writer.close(10.0)
    found = document(tmp_path / "training")
    assert list(found) == list(TrainingStatus.__struct_fields__)
    assert (found["status"], found["current_step"], found["total_steps"], found["epoch"]) == (
        "completed",
        120,
        1000,
        0.5,
    )
    assert (found["loss"], found["learning_rate"], found["streaming_ce"]) == (1.25, 2e-4, 1.3)
    assert found["lora_stats"] == {"layers.0.q_proj": {"current_grad_norm": 0.5, "num_updates": 3}}
    assert found["active_alerts"] == [{"severity": "warning", "message": "Loss spike"}]
    why = found["why"]
    assert isinstance(why, dict)
    assert {name for name, value in found.items() if value is None} <= set(why)
    assert not {"loss", "streaming_ce", "lora_stats", "model_name"} & set(why)


def test_a_nan_is_null_and_said_and_the_document_stays_json(tmp_path: Path) -> None:
    writer = barograph.create_status_writer(tmp_path)
    writer.update_advanced_metrics(1, loss=math.nan, lr=-math.inf, lora_stats={"a": {"norm": math.nan}}, epoch="one")
    writer.close(10.0)
    found = document(tmp_path)
    why = found["why"]
    assert isinstance(why, dict)
    assert (found["loss"], found["learning_rate"], found["lora_stats"]) == (None, None, {"a": {"norm": None}})
    assert (why["loss"], why["learning_rate"]) == ("it is NaN", "it is -Infinity")


def test_what_was_said_stays_until_it_is_said_again(tmp_path: Path) -> None:
    writer = barograph.create_status_writer(tmp_path)
    writer.update_advanced_metrics(1, loss=math.nan, fixed_eval_em=0.5)
    writer.update_advanced_metrics(2, loss=3.0)
    writer.close(10.0)
    found = document(tmp_path)
    why = found["why"]
    assert isinstance(why, dict)
    assert (found["current_step"], found["loss"], found["fixed_eval_em"]) == (2, 3.0, 0.5)
    assert "loss" not in why


@pytest.mark.parametrize(
    ("said", "given", "expected"),
    [
        ({}, {}, "completed"),
        ({}, {"status": "crashed"}, "crashed"),
        ({"status": "training"}, {}, "completed"),
        ({"status": "paused"}, {}, "paused"),
    ],
)
def test_a_training_that_is_over_is_not_training_any_more(
    tmp_path: Path, said: dict[str, object], given: dict[str, RunStateWord], expected: str
) -> None:
    writer = barograph.create_status_writer(tmp_path)
    writer.update_advanced_metrics(1, loss=1.0, **said)
    assert writer.close(10.0, **given)
    assert (document(tmp_path)["status"], document(tmp_path)["loss"]) == (expected, 1.0)


def test_a_name_that_the_document_has_not_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = barograph.create_status_writer(tmp_path)
    for step in range(3):
        writer.update_advanced_metrics(step, streming_ce=1.0, why={}, timestamp="now")
    writer.close(10.0)
    assert caplog.text.count("has no field 'streming_ce'") == 1
    assert document(tmp_path)["current_step"] == 2
    assert document(tmp_path)["timestamp"] != "now"


def test_any_value_whatever_leaves_the_document_valid_and_training_alone(tmp_path: Path) -> None:
    class Hostile(dict[str, object]):
        def items(self) -> None:  # type: ignore[override]  # on purpose
            raise RuntimeError("no")

    own: dict[str, object] = {}
    own["itself"] = own
    writer = barograph.create_status_writer(tmp_path)
    for value in (
        "\ud800",
        10**400,
        b"x",
        object(),
        Hostile(x=1),
        own,
        torch.ones(3),
        {1: {2: 3}},
        "x" * 100_000,
        {1, 2},
    ):
        writer.update_advanced_metrics(value, lora_stats=value, current_file=value, loss=value)
    assert writer.close(10.0)
    assert document(tmp_path)["current_step"] == 0


def test_a_folder_that_cannot_be_made_is_said_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in the way").write_text("")
    writer = barograph.create_status_writer(tmp_path / "in the way")
    writer.update_advanced_metrics(1, loss=1.0)
    assert not writer.close(10.0)
    assert "cannot be made" in caplog.text
