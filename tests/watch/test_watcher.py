"""The watcher over real folders and journals: everything is read once, in step order, whatever happens meanwhile."""

import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from barograph.errors import RootBusy
from barograph.index import Index, Indexer
from barograph.index.passes import tensor_passes, weights_passes
from barograph.journal import TailReader, layout
from barograph.policy import load
from barograph.records import Banner, Checkpoint, Job, RunComplete
from barograph.views import checkpoints, unified
from barograph.watch.watcher import Settings, Watcher

if TYPE_CHECKING:
    from tests.watch.conftest import Watching

ATTEMPT_2 = 2


def jobs_of(root: Path, run: str = "r") -> list[tuple[str, str]]:
    """Name and state of every job line, in the order of the files."""
    found: list[tuple[str, str]] = []
    for file in layout.journal_files(root / run):
        reader = TailReader(root, file.path)
        for entry in reader.read().entries:
            if isinstance(entry.record, Job):
                found.append((entry.record.checkpoint, entry.record.state))
        reader.close()
    return found


def document(root: Path, name: str, run: str = "r") -> dict[str, object]:
    found = json.loads((root / run / "status" / f"{name}.json").read_text())
    assert isinstance(found, dict)
    return found


def saved(root: Path, watching: "Watching", *steps: int, run: str = "r") -> list[Path]:
    """Checkpoints that a run spoke of, each a little further from the first."""
    folders = []
    for step in steps:
        folder = watching.save(root.parent / f"out-{run}" / f"checkpoint-{step}", watching.model(1.0 + step / 100))
        watching.log(root, *watching.spoken(folder, step), run=run)
        folders.append(folder)
    return folders


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "runs"
    place.mkdir()
    return place


def test_everything_is_read_once_in_step_order_and_the_second_time_nothing(root: Path, watching: "Watching") -> None:
    saved(root, watching, 10, 9, 100)
    first = watching.once(root)
    assert first.ended_jobs == [("checkpoint-9", None), ("checkpoint-10", None), ("checkpoint-100", None)]
    assert watching.once(root).ended_jobs == []
    assert jobs_of(root) == [
        *(("checkpoint-9", "planned"), ("checkpoint-10", "planned"), ("checkpoint-100", "planned")),
        *(("checkpoint-9", "started"), ("checkpoint-9", "done")),
        *(("checkpoint-10", "started"), ("checkpoint-10", "done")),
        *(("checkpoint-100", "started"), ("checkpoint-100", "done")),
    ]


def test_the_documents_are_those_of_the_newest_and_the_histories_hold_all(root: Path, watching: "Watching") -> None:
    saved(root, watching, 10, 20, 30)
    watching.once(root)
    drift, stability = document(root, "layer_drift"), document(root, "parameter_stability")
    assert (drift["current_checkpoint"], drift["current_step"], drift["reference_checkpoint"]) == (
        "checkpoint-30",
        30,
        "checkpoint-10",
    )
    # The blocks went from 1.1 to 1.3 times theirs; a block's relative change is exactly that.
    layers = drift["layers"]
    assert isinstance(layers, list)
    assert [layer["relative_change"] for layer in layers] == pytest.approx([0.2 / 1.1] * 4 + [0.0], rel=1e-6)
    assert stability["checkpoint"] == "checkpoint-30"
    histories = {
        name: json.loads((root / "r" / "status" / f"{name}_history.json").read_text())
        for name in ("layer_drift", "parameter_stability")
    }
    assert [one["current_step"] for one in histories["layer_drift"]] == [20, 30]
    assert [one["step"] for one in histories["parameter_stability"]] == [10, 20, 30]
    assert histories["layer_drift"][-1] == drift
    with Indexer(root) as indexer:
        indexer.scan()
    served = json.loads(msgspec.json.encode(unified(Index(root), "r")))
    assert served["sources"]["training_analytics"]["data"]["layer_drift"] == drift
    assert served["sources"]["training_analytics"]["data"]["parameter_stability"] == stability
    assert served["sources"]["training_analytics"]["status"] == "ok"


def test_a_named_reference_is_used_and_said(root: Path, watching: "Watching", tmp_path: Path) -> None:
    saved(root, watching, 10)
    base = watching.save(tmp_path / "base", watching.model())
    heard = watching.once(root, reference=base)
    assert heard.passes[0].summary.reference == "base"
    assert heard.passes[0].summary.reference_origin == "named"
    assert document(root, "layer_drift")["reference_checkpoint"] == "base"


def test_the_model_that_the_run_began_from_is_the_reference_if_it_is_here(
    root: Path, watching: "Watching", tmp_path: Path
) -> None:
    base = watching.save(tmp_path / "base", watching.model())
    banner = Banner(run="r", attempt=1, writer="train", time=time.time(), model_path=str(base))
    watching.log(root, banner)
    saved(root, watching, 10)
    assert watching.once(root).passes[0].summary.reference_origin == "run"


def test_an_adapter_is_compared_with_its_base_model(root: Path, watching: "Watching", tmp_path: Path) -> None:
    base = watching.save(tmp_path / "base", {"model.layers.0.q_proj.weight": np.eye(8)})
    adapter = watching.save(
        tmp_path / "out" / "checkpoint-5",
        {
            "base_model.model.model.layers.0.q_proj.lora_A.weight": 0.1 * np.ones((2, 8)),
            "base_model.model.model.layers.0.q_proj.lora_B.weight": 0.1 * np.ones((8, 2)),
        },
        name="adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    watching.log(root, *watching.spoken(adapter, 5))
    heard = watching.once(root)
    assert heard.passes[0].summary.reference_origin == "adapter"
    # (alpha / r) B A has every entry 2 * 2 * 0.01, and the identity has norm sqrt(8).
    total = document(root, "layer_drift")["total_relative_change"]
    assert total == pytest.approx(0.04 * 8 / np.sqrt(8), rel=1e-6)

    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "nobody/has-it"}))
    alone = watching.once(root)
    assert alone.passes[0].summary.no_reference == (
        "the adapter stands on nobody/has-it, which is not on this machine; name a --reference"
    )


def test_folders_that_the_user_names_belong_to_the_run_that_saves_there(
    root: Path, watching: "Watching", tmp_path: Path
) -> None:
    saved(root, watching, 10)
    watching.save(tmp_path / "out-r" / "checkpoint-20", watching.model(1.5))
    watching.save(tmp_path / "elsewhere" / "checkpoint-3", watching.model(1.5))
    heard = watching.once(root, folders=(tmp_path / "out-r", tmp_path / "elsewhere"))
    assert sorted(heard.ended_jobs) == [("checkpoint-10", None), ("checkpoint-20", None), ("checkpoint-3", None)]
    assert ("checkpoint-20", "done") in jobs_of(root)
    assert ("checkpoint-3", "done") in jobs_of(root, "elsewhere")
    assert document(root, "parameter_stability", "elsewhere")["checkpoint"] == "checkpoint-3"
    assert watching.once(root, folders=(tmp_path / "out-r", tmp_path / "elsewhere")).ended_jobs == []


def test_a_root_that_is_one_run_takes_its_folders(watching: "Watching", tmp_path: Path) -> None:
    watching.log(tmp_path, run="single")
    watching.save(tmp_path / "out" / "checkpoint-1", watching.model())
    heard = watching.once(tmp_path / "single", folders=(tmp_path / "out",))
    assert heard.ended_jobs == [("checkpoint-1", None)]
    assert (tmp_path / "single" / "status" / "parameter_stability.json").is_file()


def test_what_cannot_be_read_is_recorded_with_the_reason_and_not_tried_again(root: Path, watching: "Watching") -> None:
    folders = saved(root, watching, 10, 20, 30)
    whole = (folders[1] / "model.safetensors").read_bytes()
    (folders[1] / "model.safetensors").write_bytes(whole[:-7])
    (folders[2] / "model.safetensors").unlink()
    (folders[2] / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch PWNED'\ntR.")
    heard = watching.once(root)
    said = dict(heard.ended_jobs)
    assert said["checkpoint-10"] is None
    assert "checkpoint-20" in str(said["checkpoint-20"])
    assert "pickle" in str(said["checkpoint-30"])
    assert not list(root.parent.rglob("PWNED"))
    assert watching.once(root).ended_jobs == []
    (folders[1] / "model.safetensors").write_bytes(whole)
    assert watching.once(root).ended_jobs == [("checkpoint-20", None)]
    assert document(root, "layer_drift")["current_checkpoint"] == "checkpoint-20"


def test_one_that_vanished_is_a_result(root: Path, watching: "Watching") -> None:
    folders = saved(root, watching, 10, 20)
    shutil.rmtree(folders[1])
    heard = watching.once(root)
    assert heard.ended_jobs[0] == ("checkpoint-10", None)
    assert "not on this machine" in str(heard.ended_jobs[1][1])
    assert watching.once(root).ended_jobs == []


def test_one_that_changes_between_two_looks_is_read_again(root: Path, watching: "Watching") -> None:
    folders = saved(root, watching, 10, 20)
    watching.once(root)
    watching.save(folders[1], watching.model(3.0))
    os.utime(folders[1] / "model.safetensors", ns=(1, 1))
    assert watching.once(root).ended_jobs == [("checkpoint-20", None)]
    drift = document(root, "layer_drift")
    assert drift["total_relative_change"] == pytest.approx(
        np.sqrt(30 * 32) * (3.0 - 1.1) / np.sqrt(30 * 32 * 1.1**2 + 128), rel=1e-6
    )


def test_a_reference_that_does_not_fit_leaves_the_checkpoint_read_alone(
    root: Path, watching: "Watching", tmp_path: Path
) -> None:
    saved(root, watching, 10)
    other = watching.save(tmp_path / "other", {"something.else": np.ones(3)})
    heard = watching.once(root, reference=other)
    summary = heard.passes[0].summary
    assert summary.reference is None
    assert summary.no_reference is not None
    assert "not one tensor is on both sides" in summary.no_reference
    assert not (root / "r" / "status" / "layer_drift.json").exists()  # no drift of zero
    assert document(root, "parameter_stability")["checkpoint"] == "checkpoint-10"
    assert watching.once(root, reference=other).ended_jobs == []


def test_killed_at_any_job_the_next_one_goes_on(root: Path, watching: "Watching") -> None:
    saved(root, watching, 1, 2, 3, 4, 5)
    for _ in range(3):
        heard = watching.heard()
        watcher = Watcher(root, Settings(policy=load(), quiet_s=0.0), heard)
        heard.after = watcher.stop
        with watcher:
            watcher.run_once()
        assert len(heard.ended_jobs) == 1
    assert [name for name, _ in watching.once(root).ended_jobs] == ["checkpoint-4", "checkpoint-5"]
    states = jobs_of(root)
    assert [name for name, state in states if state == "done"] == [f"checkpoint-{step}" for step in (1, 2, 3, 4, 5)]


@pytest.mark.slow
def test_a_killed_process_loses_nothing_and_does_nothing_twice(root: Path, watching: "Watching") -> None:
    steps = range(1, 41)
    saved(root, watching, *steps)
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-m", "barograph.watch", "--base-dir", str(root)],
            env=environment,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        for _ in range(4):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait(20)
        child.stdout.close()
    watching.once(root)
    with Indexer(root) as indexer:
        indexer.scan()
    with Index(root).snapshot() as snapshot:
        passes = weights_passes(snapshot, "r")
        rows = [tensor_passes(snapshot, one) for one in passes]
    assert sorted(one.summary.step or 0 for one in passes) == list(steps)
    assert {len(found) for found in rows} == {5}


@pytest.mark.parametrize("path", ["/nothing\0here", "/" + "x" * 5000, "relative/checkpoint-1", "/dev/null", "/"])
def test_a_path_that_cannot_be_one_fails_alone(path: str, root: Path, watching: "Watching") -> None:
    saved(root, watching, 10)
    watching.log(root, Checkpoint(step=5, time=time.time(), path=path))
    said = dict(watching.once(root).ended_jobs)
    assert said.pop("checkpoint-10") is None
    assert all(said.values())
    assert watching.once(root).ended_jobs == []


def test_a_link_that_leads_to_itself_fails_alone(root: Path, watching: "Watching") -> None:
    folders = saved(root, watching, 10, 20)
    (folders[1] / "model.safetensors").unlink()
    (folders[1] / "model.safetensors").symlink_to(folders[1] / "model.safetensors")
    said = dict(watching.once(root).ended_jobs)
    assert said["checkpoint-10"] is None
    assert said["checkpoint-20"]


def test_what_was_read_and_then_deleted_stays_analysed(root: Path, watching: "Watching") -> None:
    folders = saved(root, watching, 10, 20, 30)
    watching.once(root)
    shutil.rmtree(folders[2])
    assert watching.once(root).ended_jobs == []
    with Indexer(root) as indexer:
        indexer.scan()
    assert [row.state for row in checkpoints(Index(root), "r").checkpoints] == ["analysed"] * 3
    assert unified(Index(root), "r").sources.training_analytics.status == "ok"
    assert document(root, "layer_drift")["current_checkpoint"] == "checkpoint-30"


def test_a_reference_that_was_named_once_is_not_forgotten_when_it_is_not_named(
    root: Path, watching: "Watching", tmp_path: Path
) -> None:
    saved(root, watching, 10, 20)
    base = watching.save(tmp_path / "base", watching.model())
    other = watching.save(tmp_path / "other", watching.model(0.5))
    watching.once(root, reference=base)
    assert watching.once(root).ended_jobs == []
    assert document(root, "layer_drift")["reference_checkpoint"] == "base"
    watching.once(root, reference=other)
    assert document(root, "layer_drift")["reference_checkpoint"] == "other"
    watching.once(root, reference=base)
    assert document(root, "layer_drift")["reference_checkpoint"] == "base"


def test_what_this_machine_could_not_do_is_tried_again(
    root: Path, watching: "Watching", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = {f"model-{i:05d}-of-00040.safetensors": f"model.layers.{i}.w.weight" for i in range(40)}
    folder = tmp_path / "out-r" / "checkpoint-10"
    for name, tensor in shards.items():
        watching.save(folder, {tensor: np.ones((2, 2))}, name=name)
    index = {"metadata": {}, "weight_map": {tensor: name for name, tensor in shards.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    watching.log(root, *watching.spoken(folder, 10))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    heard = watching.heard()
    with Watcher(root, Settings(policy=load(), quiet_s=0.0), heard) as watcher:
        gc.collect()  # what earlier tests left open is closed before it is counted, and not after
        taken = {int(name) for name in os.listdir("/proc/self/fd")}
        few = [number for number in range(1_000) if number not in taken][20]  # so that twenty files can be opened
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        try:
            watcher.run_once()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert watcher.unread == 1
    assert "Too many open files" in str(heard.ended_jobs[0][1])
    assert watching.once(root).ended_jobs == [("checkpoint-10", None)]


def test_a_pass_whose_reader_died_before_it_said_so_is_done(root: Path, watching: "Watching") -> None:
    saved(root, watching, 10)
    watching.once(root)
    (journal,) = (root / "r" / "logs").glob("watch-*")
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"state":"done"' not in line and b"run_complete" not in line]
    journal.write_bytes(b"".join(kept))
    with Indexer(root) as indexer:
        indexer.scan()
    (row,) = checkpoints(Index(root), "r", now=time.time() + 3600.0).checkpoints
    assert row.state == "analysed"
    assert watching.once(root).ended_jobs == []


def test_a_final_model_without_a_step_is_the_newest(root: Path, watching: "Watching", tmp_path: Path) -> None:
    saved(root, watching, 10, 20)
    watching.save(tmp_path / "out-r", watching.model(4.0))
    watching.once(root, folders=(tmp_path / "out-r",))
    assert (document(root, "layer_drift")["current_checkpoint"], document(root, "layer_drift")["current_step"]) == (
        "out-r",
        None,
    )


def test_one_watcher_per_root(root: Path, watching: "Watching") -> None:
    with (
        Watcher(root, Settings(policy=load()), watching.heard()),
        pytest.raises(RootBusy, match=f"process {os.getpid()} watches this root already"),
    ):
        Watcher(root, Settings(policy=load()), watching.heard())
    watching.once(root)


def test_what_appears_while_it_watches_is_read_at_once(root: Path, watching: "Watching") -> None:
    heard = watching.heard()
    watcher = Watcher(root, Settings(policy=load(), quiet_s=0.2, folders=(root.parent / "more",)), heard)
    (root.parent / "more").mkdir()
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        saved(root, watching, 10)
        _wait_for(lambda: len(heard.ended_jobs) == 1)
        saved(root, watching, 20)
        _wait_for(lambda: len(heard.ended_jobs) == 2)
        watching.save(root.parent / "more" / "checkpoint-7", watching.model())
        _wait_for(lambda: len(heard.ended_jobs) == 3)
        _wait_for(lambda: (root / "more" / "status" / "parameter_stability.json").exists())
    finally:
        watcher.stop()
        thread.join(20)
        watcher.close()
    assert [name for name, _ in heard.ended_jobs] == ["checkpoint-10", "checkpoint-20", "checkpoint-7"]


def test_frozen_tensors_are_read_on_one_side_only_also_after_a_restart(root: Path, watching: "Watching") -> None:
    saved(root, watching, 10, 20)
    watching.once(root)
    saved(root, watching, 30)
    (done,) = watching.once(root).passes
    assert done.summary.unchanged == 1  # the embedding


def test_a_resumed_run_reads_what_was_saved_again_under_the_new_attempt(root: Path, watching: "Watching") -> None:
    folders = saved(root, watching, 10, 20)
    watching.once(root)
    watching.save(folders[1], watching.model(5.0))
    watching.log(root, RunComplete(time=time.time(), exit_code=1))
    watching.log(root, *watching.spoken(folders[1], 20), attempt=ATTEMPT_2)
    assert watching.once(root).ended_jobs == [("checkpoint-20", None)]
    names = {path.name.rpartition("-")[0] for path in (root / "r" / "logs").glob("watch-*")}
    assert names == {"watch-000001", "watch-000002"}


def test_a_status_folder_that_is_a_link_is_not_written_through(
    root: Path, watching: "Watching", tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(root, watching, 10)
    (tmp_path / "outside").mkdir()
    (root / "r" / "status").symlink_to(tmp_path / "outside")
    watching.once(root)
    assert list((tmp_path / "outside").iterdir()) == []
    assert "status" in caplog.text


def test_a_status_file_that_is_a_link_is_replaced_and_not_followed(
    root: Path, watching: "Watching", tmp_path: Path
) -> None:
    saved(root, watching, 10)
    (tmp_path / "precious").write_text("keep")
    (root / "r" / "status").mkdir()
    (root / "r" / "status" / "parameter_stability.json").symlink_to(tmp_path / "precious")
    watching.once(root)
    assert (tmp_path / "precious").read_text() == "keep"
    assert document(root, "parameter_stability")["checkpoint"] == "checkpoint-10"


def _wait_for(happened: object, *, within_s: float = 20.0) -> None:
    assert callable(happened)
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
