"""The verdicts of a run from the index: the same that `barograph check` gives from the files."""

import math
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from barograph.cli.check_target import checked
from barograph.errors import UnknownRun
from barograph.index import Index, Indexer
from barograph.policy import load
from barograph.records import Banner, OptimizerMoments, Record, RunComplete, Step, Verdict, codec
from barograph.views import verdicts

NOW = 1_800_000_000.0


def log(root: Path, *records: Record, writer: str = "train", attempt: int = 1, config: str | None = None) -> None:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{writer}-{attempt:06d}-20260101T000000.jsonl"
    banner = Banner(run="r", attempt=attempt, writer=writer, time=NOW, config=config)
    path.write_bytes(b"".join(codec.encode_line(record) for record in (banner, *records)))


def steps(losses: list[float], *, first: int = 0) -> list[Record]:
    return [Step(step=first + place, loss=loss, time=NOW) for place, loss in enumerate(losses)]


def healthy(count: int = 300) -> list[float]:
    noise = np.random.default_rng(0).standard_normal(count)
    return [float(one) for one in (1.5 + 3.0 * np.exp(-np.arange(count) / 60.0)) * (1.0 + 0.01 * noise)]


def indexed(root: Path) -> Index:
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


@pytest.mark.parametrize("policy", ["default", "contract"])
def test_the_index_and_the_files_give_the_same_verdicts(tmp_path: Path, policy: str) -> None:
    losses = healthy()
    losses[50], losses[200] = math.nan, 9.0
    log(tmp_path, *steps(losses))
    log(tmp_path, *steps(healthy()[250:280], first=250), attempt=2, config='{"logged_loss": "mean"}')
    rules = load(policy)
    here = verdicts(indexed(tmp_path), "r", policy=rules)
    there = checked("r", root=tmp_path, policy=rules)
    assert here.verdict == there.verdict
    for ours, files in zip(here.verdicts, there.verdicts, strict=True):
        assert replace(files, evidence=None) == ours
        assert ours.evidence is None
    drift = here.verdicts[0]
    assert drift.steps == [50, 200] if policy == "default" else drift.steps
    assert "ghost_tail" in [one.name for one in drift.findings]


def test_what_was_not_measured_is_skipped_and_is_no_pass(tmp_path: Path) -> None:
    log(tmp_path, RunComplete(time=NOW, exit_code=0))
    found = verdicts(indexed(tmp_path), "r")
    assert found.verdict == "SKIP"
    assert [one.verdict for one in found.verdicts] == ["SKIP"] * 4
    assert all(one.message for one in found.verdicts)


def test_figures_stand_beside_their_thresholds(tmp_path: Path) -> None:
    losses = healthy()
    losses[-1] = math.inf
    log(tmp_path, *steps(losses))
    figures = {one.name: one for one in verdicts(indexed(tmp_path), "r").verdicts[0].figures}
    assert (figures["non_finite"].value, figures["non_finite"].threshold, figures["non_finite"].held) == (
        1.0,
        0.0,
        False,
    )
    assert (figures["convergence_v2"].sign, figures["convergence_v2"].held) == ("<=", True)
    assert figures["smoothness"].sign is None  # judged under contract only
    assert figures["final_loss"].threshold is None
    log(tmp_path, *steps([math.nan] * 40))
    gone = {one.name: one for one in verdicts(indexed(tmp_path), "r").verdicts[0].figures}
    assert (gone["final_loss"].value, gone["final_loss"].text) == (None, "nan")
    assert gone["convergence_v2"].held is None


def test_recorded_verdicts_of_other_things_stand_beside(tmp_path: Path) -> None:
    log(tmp_path, *steps(healthy()))
    recorded = [
        Verdict(
            name=name, subject="syllo easy", verdict="FAIL", message="m", numbers={"gain": 0.1},
            thresholds={"min_gain": 0.4}, policy="default", time=NOW + place,
        )
        for place, name in enumerate(("exact_match_gain", "exact_match_gain", "training_drift"))
    ]  # fmt: skip
    log(tmp_path, *recorded, writer="judge")
    found = verdicts(indexed(tmp_path), "r")
    assert [one.name for one in found.verdicts] == [
        "training_drift",
        "gradient_ghost",
        "layer_drift",
        "weight_stability",
        "exact_match_gain",
    ]
    assert found.verdicts[-1].figures[0].held is False
    assert found.verdict == "FAIL"


def test_the_newest_second_moments_are_judged(tmp_path: Path) -> None:
    names = [f"model.layers.{block}.w" for block in range(5)]
    moments = OptimizerMoments(
        step=200, time=NOW, optimizer="AdamW", sums=dict.fromkeys(names, 0.0), elements=dict.fromkeys(names, 4)
    )
    log(tmp_path, *steps(healthy()), moments)
    assert [one.verdict for one in verdicts(indexed(tmp_path), "r").verdicts][1] == "FAIL"


def test_a_long_run_is_judged_by_every_point(tmp_path: Path) -> None:
    log(tmp_path, *steps(healthy(20_000)))
    assert verdicts(indexed(tmp_path), "r").verdicts[0].figures[5].value == 20_000


def test_an_unknown_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownRun):
        verdicts(indexed(tmp_path), "nobody")
