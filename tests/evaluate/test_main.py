"""The evaluating process, whole: it follows a run to its end, and it reaches for no network."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.journal import layout
from barograph.records import Banner, Checkpoint, CollectorFailed, RunComplete, codec

SaveCheckpoint = Callable[..., None]
ROOT = Path(__file__).resolve().parents[2]

GUARDED = """
import runpy, socket, sys
tried = []
def refuse(*asked, **named):
    tried.append(repr(asked))
    raise OSError("there is no network in this test")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
try:
    runpy.run_module("barograph.evaluate", run_name="__main__")
finally:
    from huggingface_hub import constants
    import json
    print(json.dumps({"offline": constants.HF_HUB_OFFLINE, "tried": tried}))
"""


@pytest.mark.slow
def test_the_process_is_offline_before_transformers_is_imported(
    tmp_path: Path, save_checkpoint: SaveCheckpoint
) -> None:
    run, adapter = tmp_path / "run", tmp_path / "checkpoint-1"
    save_checkpoint(adapter)
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing", "peft_type": "LORA"}')
    (run / "logs").mkdir(parents=True)
    lines = (
        Banner(run="run", attempt=1, writer="train", time=0.0),
        Checkpoint(step=1, time=1.0, path=str(adapter)),
        RunComplete(time=2.0, exit_code=0),
    )
    log = run / "logs" / "train-000001-20260101T000000.jsonl"
    log.write_bytes(b"".join(codec.encode_line(line) for line in lines))
    ran = subprocess.run(
        [sys.executable, "-c", GUARDED, "--base-dir", str(tmp_path), "--run-id", "run"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {"offline": True, "tried": []}
    (file,) = [one for one in layout.journal_files(run) if one.writer == "evaluate"]
    told = [codec.decode_line(line).record for line in file.path.read_bytes().splitlines()]
    (failed,) = [one for one in told if isinstance(one, CollectorFailed)]
    assert "Merge the adapter first" in failed.error
    assert isinstance(told[-1], RunComplete)
    assert told[-1].exit_code == 0
