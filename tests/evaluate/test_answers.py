"""A checkpoint's answers as records: one per probe, in order, scored against the solver's answer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.errors import CheckpointError
from barograph.evaluate.answers import answers
from barograph.evaluate.probe_set import ProbeSet, Quota, probe_set

SaveCheckpoint = Callable[..., None]


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    quotas = [
        Quota(task="syllo", level="easy", regime="plain_sft", count=6),
        Quota(task="binary", level="1", regime="regime3", count=4),
    ]
    return probe_set(quotas, seed=0)


def test_every_probe_has_one_answer_in_the_order_of_the_set(
    tmp_path: Path, save_checkpoint: SaveCheckpoint, probes: ProbeSet
) -> None:
    folder = tmp_path / "checkpoint-7"
    save_checkpoint(folder)
    found = answers(folder, probes, step=7)
    assert [(one.probe, one.regime, one.golden) for one in found] == [
        (probe.id, probe.rendered.regime, probe.golden) for probe in probes.probes
    ]
    assert {(one.step, one.checkpoint, one.probe_set) for one in found} == {(7, "checkpoint-7", probes.hash)}
    assert not any(one.correct for one in found), "a model that knows eight letters cannot solve a syllogism"


def test_a_checkpoint_without_safetensors_is_an_error_and_no_answer(tmp_path: Path, probes: ProbeSet) -> None:
    with pytest.raises(CheckpointError, match=r"no \.safetensors file"):
        answers(tmp_path, probes, step=0)
