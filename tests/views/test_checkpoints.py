"""The documents about checkpoints: what was read, what waits, what failed, what nobody looked at."""

import json
import math
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from barograph.errors import NoDocument, UnknownCheckpoint, UnknownRun
from barograph.index import Index, Indexer
from barograph.index.lock import WATCH, RootLock
from barograph.policy import load
from barograph.records import Banner, Checkpoint, Job, Record, RunComplete, Step, TensorPass, WeightsPass, codec
from barograph.records.jobs import JobState
from barograph.views import checkpoint_detail, checkpoint_tensors, checkpoints, unified, weights_document
from barograph.views.weight_documents import CheckpointWeights
from barograph.views.weights import checkpoint_id

NOW = 1_800_000_000.0
BLOCKS = 4


def log(root: Path, *records: Record, writer: str = "train", attempt: int = 1, run: str = "r") -> None:
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{writer}-{attempt:06d}-20260101T000000.jsonl"
    banner = [] if path.exists() else [Banner(run=run, attempt=attempt, writer=writer, time=NOW)]
    with path.open("ab") as file:
        file.write(b"".join(codec.encode_line(record) for record in (*banner, *records)))


def place(step: int) -> str:
    return f"/out/checkpoint-{step}"


def saved(step: int, *, at: float = NOW) -> list[Record]:
    return [Step(step=step, loss=1.0, time=at), Checkpoint(step=step, time=at, path=place(step))]


def job(step: int, state: JobState, *, at: float = NOW, reason: str | None = None) -> Job:
    return Job(
        id=f"{step}", work="weights", state=state, time=at, checkpoint=f"checkpoint-{step}", path=place(step),
        step=step, stamp="s", reason=reason,
    )  # fmt: skip


def one_pass(
    step: int, change: float, *, at: float = NOW, reference: str | None = "base", nan: int = 0, why: str | None = None
) -> list[Record]:
    """Blocks whose weights have norm 2 and moved by `change` times that, and an embedding that did not move."""
    name = f"checkpoint-{step}"
    names = [*(f"layers.{i}.w" for i in range(BLOCKS)), "embed"]
    rows: list[Record] = [
        TensorPass(
            checkpoint=name,
            reference=reference,
            step=step,
            time=at,
            tensor=tensor,
            state="compared" if reference else "alone",
            dtype="F32",
            shape=[2, 2],
            elements=4,
            rows=2,
            delta_squares=(0.0 if tensor == "embed" else 4.0 * change**2) if reference else None,
            reference_squares=4.0 if reference else None,
            current_squares=4.0,
            reference_max=1.0 if reference else None,
            current_max=1.0,
            current_min=1.0,
            reference_nan=0 if reference else None,
            reference_infinite=0 if reference else None,
            current_nan=nan if tensor == "layers.2.w" else 0,
            current_infinite=0,
            reference_zeros=0 if reference else None,
            current_zeros=0,
            reference_zero_rows=0 if reference else None,
            current_zero_rows=0,
            changed=4 if reference else None,
            fingerprint="0" * 16,
        )
        for tensor in sorted(names)
    ]
    summary = WeightsPass(
        checkpoint=name,
        path=place(step),
        reference=reference,
        reference_path="/base" if reference else None,
        reference_origin="named" if reference else None,
        no_reference=why,
        step=step,
        time=at,
        seconds=0.5,
        tensors=len(rows),
        bytes_read=80,
        stamp="s",
        reference_stamp="b" if reference else None,
        job=f"{step}",
    )
    return [*rows, summary]


def indexed(root: Path) -> Index:
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def by_name(rows: list[CheckpointWeights]) -> dict[str, CheckpointWeights]:
    return {row.name: row for row in rows}


def test_what_was_read_waits_failed_and_was_not_looked_at_are_told_apart(tmp_path: Path) -> None:
    log(tmp_path, *(record for step in (10, 20, 30, 40, 50) for record in saved(step)))
    log(
        tmp_path,
        *one_pass(10, 0.01),
        job(10, "done"),
        job(20, "failed", reason="it ends at byte 7"),
        job(30, "started"),
        job(40, "planned"),
        writer="watch",
    )
    grown = time.time()
    found = by_name(checkpoints(indexed(tmp_path), "r", now=grown).checkpoints)
    assert [row.state for row in found.values()] == ["analysed", "failed", "running", "planned", "not_analysed"]
    assert found["checkpoint-20"].reason == "it ends at byte 7"
    assert found["checkpoint-50"].reason == "a watcher will read it"
    later = by_name(checkpoints(Index(tmp_path), "r", now=grown + 3600.0).checkpoints)
    assert later["checkpoint-30"].state == "interrupted"
    assert later["checkpoint-40"].reason == "it was planned by a watcher that has ended"
    assert later["checkpoint-50"].reason == "no watcher runs: barograph watch"
    for name in ("checkpoint-20", "checkpoint-30", "checkpoint-40", "checkpoint-50"):
        row = found[name]
        assert (row.total_relative_change, row.health, row.alerts, row.relative_change) == (None, None, None, [])


def test_the_numbers_are_those_of_the_rows(tmp_path: Path) -> None:
    log(tmp_path, *saved(10), *saved(20))
    log(tmp_path, *one_pass(10, 0.01), *one_pass(20, 0.2), writer="watch")
    document = checkpoints(indexed(tmp_path), "r")
    assert document.layers == [0, 1, 2, 3, -1]
    first, second = document.checkpoints
    assert first.relative_change == pytest.approx([0.01] * 4 + [0.0], rel=1e-12)
    assert second.total_relative_change == pytest.approx(math.sqrt(4 * 4 * 0.2**2) / math.sqrt(5 * 4), rel=1e-12)
    assert first.colours == ["green"] * 5
    assert second.colours == ["red"] * 4 + ["green"]
    assert second.weight_norm == [2.0] * 5
    assert (second.band, second.pattern, second.health, second.alerts) == ("significant", "uniform", "healthy", 0)
    assert document.newest == checkpoint_id(place(20))
    assert document.policy == "default"


def test_another_policy_judges_the_same_rows(tmp_path: Path) -> None:
    log(tmp_path, *one_pass(10, 0.25), writer="watch")
    contract = checkpoints(indexed(tmp_path), "r", policy=load("contract"))
    assert contract.checkpoints[0].colours == ["yellow"] * 4 + ["green"]
    assert contract.checkpoints[0].band == "normal"
    assert (contract.yellow_from, contract.red_above, contract.policy) == (0.20, 0.35, "contract")


def test_weights_that_are_no_numbers_are_critical_and_null_and_never_zero(tmp_path: Path) -> None:
    log(tmp_path, *one_pass(10, 0.01, nan=3), writer="watch")
    index = indexed(tmp_path)
    (row,) = checkpoints(index, "r").checkpoints
    assert row.health == "critical"
    assert row.total_relative_change is None
    assert row.relative_change[2] is None
    assert row.colours[2] is None
    assert row.weight_norm[2] is None
    detail = json.loads(msgspec.json.encode(checkpoint_detail(index, "r", "newest")))
    assert detail["layer_drift"]["layers"][2]["current_norm"] is None
    assert "3 weights" in detail["layer_drift"]["why"]["layers[2].current_norm"]
    assert detail["parameter_stability"]["alerts"][0]["severity"] == "critical"


def test_the_newest_pass_of_a_folder_counts(tmp_path: Path) -> None:
    log(tmp_path, *one_pass(10, 0.5, at=NOW), *one_pass(10, 0.01, at=NOW + 5.0), writer="watch")
    (row,) = checkpoints(indexed(tmp_path), "r").checkpoints
    assert row.relative_change[0] == pytest.approx(0.01)


def test_rows_that_are_not_all_there_are_not_half_a_measurement(tmp_path: Path) -> None:
    log(tmp_path, *saved(10))
    log(tmp_path, *one_pass(10, 0.5)[1:], writer="watch")
    (row,) = checkpoints(indexed(tmp_path), "r").checkpoints
    assert row.relative_change == []
    assert row.state == "not_analysed"


def test_two_passes_in_one_file_do_not_lend_each_other_rows(tmp_path: Path) -> None:
    torn = one_pass(20, 0.5)
    log(tmp_path, *one_pass(10, 0.01), *torn[:2], torn[-1], writer="watch")
    found = by_name(checkpoints(indexed(tmp_path), "r").checkpoints)
    assert list(found) == ["checkpoint-10"]


def test_a_checkpoint_that_a_newer_attempt_went_over_again_is_dimmed_and_not_the_newest(tmp_path: Path) -> None:
    log(tmp_path, *saved(10), *saved(20), *saved(30))
    log(tmp_path, *one_pass(10, 0.01), *one_pass(20, 0.02), *one_pass(30, 0.03), writer="watch")
    log(tmp_path, Step(step=11, loss=1.0, time=NOW), Step(step=12, loss=1.0, time=NOW), attempt=2)
    document = checkpoints(indexed(tmp_path), "r")
    assert [row.superseded for row in document.checkpoints] == [False, True, True]
    assert document.newest == checkpoint_id(place(10))
    history = json.loads(weights_document(Index(tmp_path), "r", "layer_drift_history"))
    assert [one["current_step"] for one in history] == [10]


def test_the_step_that_the_run_told_outranks_the_name(tmp_path: Path) -> None:
    path = "/out/final"
    log(tmp_path, Checkpoint(step=77, time=NOW, path=path))
    records = [
        msgspec.structs.replace(record, path=path) if isinstance(record, WeightsPass) else record
        for record in one_pass(10, 0.01)
    ]
    log(tmp_path, *records, writer="watch")
    index = indexed(tmp_path)
    detail = checkpoint_detail(index, "r", "newest")
    assert detail.layer_drift is not None
    assert detail.parameter_stability is not None
    assert (detail.checkpoint.step, detail.layer_drift.current_step, detail.parameter_stability.step) == (77, 77, 77)


def test_a_norm_is_compared_with_the_checkpoint_before_however_late_that_was_read(tmp_path: Path) -> None:
    grown = [
        msgspec.structs.replace(record, current_squares=400.0) if isinstance(record, TensorPass) else record
        for record in one_pass(20, 0.01)
    ]
    log(tmp_path, *one_pass(30, 0.01), *grown, *one_pass(10, 0.01), writer="watch")
    index = indexed(tmp_path)
    detail = checkpoint_detail(index, "r", checkpoint_id(place(20)))
    assert detail.parameter_stability is not None
    assert detail.parameter_stability.earlier_checkpoint == "checkpoint-10"
    assert {alert.type for alert in detail.parameter_stability.alerts} >= {"spike", "norm_growth"}


def test_without_a_reference_the_drift_says_why_and_the_weights_are_judged_all_the_same(tmp_path: Path) -> None:
    log(tmp_path, *one_pass(10, 0.0, reference=None, why="it is the first"), writer="watch")
    index = indexed(tmp_path)
    detail = checkpoint_detail(index, "r", "newest")
    assert detail.layer_drift is None
    assert detail.why == {"layer_drift": "it is the first"}
    assert detail.parameter_stability is not None
    with pytest.raises(NoDocument, match="no layer_drift yet"):
        weights_document(index, "r", "layer_drift")
    assert json.loads(weights_document(index, "r", "parameter_stability"))["checkpoint"] == "checkpoint-10"
    source = unified(index, "r").sources.training_analytics
    assert (source.status, source.data.layer_drift, source.why["layer_drift"]) == ("ok", None, "it is the first")


def test_the_tensors_of_a_layer(tmp_path: Path) -> None:
    log(tmp_path, *saved(20))
    log(tmp_path, *one_pass(10, 0.01), writer="watch")
    index = indexed(tmp_path)
    found = checkpoint_tensors(index, "r", checkpoint_id(place(10)), layer=2)
    assert [one.tensor for one in found.tensors] == ["layers.2.w"]
    assert found.tensors[0].relative_change == pytest.approx(0.01)
    assert [one.tensor for one in checkpoint_tensors(index, "r", "newest", layer=-1).tensors] == ["embed"]
    with pytest.raises(UnknownCheckpoint, match="no layer 99"):
        checkpoint_tensors(index, "r", "newest", layer=99)
    with pytest.raises(UnknownCheckpoint, match="not read"):
        checkpoint_tensors(index, "r", checkpoint_id(place(20)), layer=0)


def test_what_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    log(tmp_path, *saved(10))
    index = indexed(tmp_path)
    with pytest.raises(UnknownRun):
        checkpoints(index, "other")
    for unknown in ("newest", "0" * 16):
        with pytest.raises(UnknownCheckpoint, match="has no checkpoint"):
            checkpoint_detail(index, "r", unknown)


def test_an_empty_root_has_empty_documents_with_reasons(tmp_path: Path) -> None:
    index = indexed(tmp_path)
    assert checkpoints(index).run is None
    source = unified(index).sources.training_analytics
    assert (source.status, source.age_s) == ("absent", None)
    assert set(source.why) == {"layer_drift", "parameter_stability", "data_file_impact", "age_s", "status"}
    with pytest.raises(NoDocument):
        weights_document(index, None, "layer_drift")


def test_the_status_of_the_analyses(tmp_path: Path) -> None:
    def status(now: float) -> tuple[str, str | None]:
        source = unified(indexed(tmp_path), "r", now=now).sources.training_analytics
        return source.status, source.why.get("status")

    log(tmp_path, *saved(10))
    assert status(NOW) == ("absent", "no watcher runs: barograph watch")
    log(tmp_path, *one_pass(10, 0.01), RunComplete(time=NOW, exit_code=0), writer="watch")
    assert status(NOW) == ("ok", None)
    log(tmp_path, *saved(20))
    assert status(NOW + 60.0) == ("ok", None)
    assert status(NOW + 2000.0) == ("stale", "checkpoint of step 20 was not read yet")
    log(tmp_path, job(20, "failed", reason="it is cut"), writer="watch")
    assert status(NOW) == ("error", "checkpoint-20 could not be read: it is cut")
    assert unified(Index(tmp_path), "r", now=NOW + 30.0).sources.training_analytics.age_s == 30.0


def test_whether_somebody_watches_is_asked_of_the_lock(tmp_path: Path) -> None:
    log(tmp_path, *saved(10))
    index = indexed(tmp_path)
    assert not checkpoints(index, "r", now=NOW + 1e6).jobs.watching
    lock = RootLock(tmp_path / ".barograph", name=WATCH, does="watches")
    assert checkpoints(index, "r", now=NOW + 1e6).jobs.watching
    lock.close()
    assert not checkpoints(index, "r", now=NOW + 1e6).jobs.watching


def test_the_index_says_the_same_after_it_was_built_again(tmp_path: Path) -> None:
    log(tmp_path, *saved(10), *saved(20))
    log(tmp_path, *one_pass(10, 0.01), *one_pass(20, 0.02, nan=1), job(20, "done"), writer="watch")
    first = msgspec.json.encode(checkpoints(indexed(tmp_path), "r", now=NOW))
    for file in (tmp_path / ".barograph").glob("index.sqlite*"):
        file.unlink()
    assert msgspec.json.encode(checkpoints(indexed(tmp_path), "r", now=NOW)) == first


def test_a_hundred_checkpoints_are_added_up_once(tmp_path: Path) -> None:
    log(tmp_path, *(record for step in range(100) for record in one_pass(step, step / 1000)), writer="watch")
    document = checkpoints(indexed(tmp_path), "r")
    assert [row.step for row in document.checkpoints] == list(range(100))
    changes = np.array([row.relative_change[0] for row in document.checkpoints], float)
    assert changes == pytest.approx(np.arange(100) / 1000)
    assert len(json.loads(weights_document(Index(tmp_path), "r", "layer_drift_history"))) == 100
    assert len(json.loads(weights_document(Index(tmp_path), "r", "parameter_stability_history"))) == 100
