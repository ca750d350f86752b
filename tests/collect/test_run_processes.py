"""How a process ends is how its run ends; ranks of one launch share a run and an attempt; secrets stay out."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from barograph.journal import TailReader, layout
from barograph.records import Advice, Banner, ConfigUpdate, Hardware, Record, RunComplete, Signals, Step

CANARY = "canary-7f3a91c5e2d84b60"


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what launchers and our own settings put into it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BAROGRAPH_", "SLURM_"))}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        ours.pop(name, None)
    return {**ours, **more}


def records_of(directory: Path) -> list[list[Record]]:
    """The records of each file of a run, without what is derived of them."""
    found: list[list[Record]] = []
    for file in layout.journal_files(directory):
        with TailReader(directory, file.path) as reader:
            batch = reader.read()
        assert batch.bad == []
        records: list[Record] = [entry.record for entry in batch.entries]  # type: ignore[misc]  # all of known kinds
        found.append([record for record in records if not isinstance(record, Signals | Advice | Hardware)])
    return found


def without_git(records: list[Record]) -> list[Record]:
    """The records without what a slow git adds: how slow it is depends on the machine."""
    return [record for record in records if not (isinstance(record, ConfigUpdate) and record.git_commit)]


def ended(script: str, root: Path, *, returncode: int = 0, cwd: Path | None = None, **more: str) -> list[Record]:
    """The records of a script that begins one run under `root` and ends in its own way."""
    begin = "import os, sys, barograph\nrun = barograph.init('p', dir=sys.argv[1])\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + script, root],
        env=environment(**more),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == returncode, done.stderr
    (directory,) = layout.run_directories(root)
    (records,) = records_of(directory)
    return records


@pytest.mark.parametrize(
    ("script", "returncode", "exit_code", "reason"),
    [
        ("run.log({'loss': 1.0}); run.finish()", 0, 0, None),
        ("run.log({'loss': 1.0})", 0, None, "the process ended without finish()"),
        ("run.log({'loss': 1.0}); sys.exit(0)", 0, None, "the process ended without finish()"),
        ("run.log({'loss': 1.0}); sys.exit(5)", 5, 5, "SystemExit: 5"),
        ("run.log({'loss': 1.0}); sys.exit('no data')", 1, 1, "SystemExit: no data"),
        ("run.log({'loss': 1.0}); import argparse; argparse.ArgumentParser().error('x')", 2, 2, "SystemExit: 2"),
        ("try: sys.exit(5)\nexcept SystemExit: run.log({'loss': 1.0})", 0, None, "the process ended without"),
        ("run.log({'loss': 1.0})\ntry: 1/0\nfinally: run.finish()", 1, 1, "ZeroDivisionError"),
        (
            (
                "import threading\nthread = threading.Thread(target=int, args=('x',), name='loader')\n"
                "run.log({'loss': 1.0}); thread.start(); thread.join()"
            ),
            0,
            None,
            "the process ended without finish(); the thread loader ended with ValueError: ",
        ),
        ("run.log({'loss': 1.0}); raise ValueError('NaN')", 1, 1, "ValueError: NaN"),
        ("run.log({'loss': 1.0}); raise KeyboardInterrupt", -signal.SIGINT, 1, "KeyboardInterrupt"),
        ("with run: run.log({'loss': 1.0}); sys.exit(3)", 3, 3, "SystemExit: 3"),
        ("sys.ps1 = '>>> '; sys.last_value = ValueError('old')\nrun.log({'loss': 1.0})", 0, None, "the process ended"),
        ("import warnings; warnings.simplefilter('error')\nrun.log({'loss': 1.0}); barograph.finish()", 0, 0, None),
    ],
)
def test_a_run_ends_as_its_process_ends(
    script: str, returncode: int, exit_code: int | None, reason: str | None, tmp_path: Path
) -> None:
    records = ended(script, tmp_path, returncode=returncode)
    assert [type(record) for record in without_git(records)] == [Banner, Step, RunComplete]
    complete = records[-1]
    assert isinstance(complete, RunComplete)
    assert complete.exit_code == exit_code
    assert (complete.reason or "").startswith(reason or "")
    assert (complete.reason is None) == (reason is None)


@pytest.mark.parametrize(("script", "returncode"), [("os._exit(0)", 0), ("os.kill(os.getpid(), 15)", -signal.SIGTERM)])
def test_a_process_that_is_gone_at_once_says_nothing_of_its_end(script: str, returncode: int, tmp_path: Path) -> None:
    records = ended(f"run.log({{'loss': 1.0}}); run.flush(); {script}", tmp_path, returncode=returncode)
    assert [type(record) for record in without_git(records)] == [Banner, Step]


def test_a_forked_child_neither_logs_into_the_run_nor_ends_it(tmp_path: Path) -> None:
    script = (
        "run.log({'loss': 1.0}, step=1); run.flush(); child = os.fork()\n"
        "run.log({'loss': 2.0}, step=2 if child else 99)\n"
        "if not child: run.alert('child'); run.finish(); sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0; run.log({'loss': 3.0}, step=3)"
    )
    records = ended(script, tmp_path)
    assert [record.step for record in records if isinstance(record, Step)] == [1, 2, 3]
    assert [type(record) for record in without_git(records)] == [Banner, Step, Step, Step, RunComplete]


CHILD = """
import multiprocessing, sys
def train(root, how):
    import barograph
    run = barograph.init("p", dir=root)
    for step in range(100):
        run.log({"loss": 1.0}, step=step)
    if how == "raise":
        raise ValueError("in the child")
    if how == "exit":
        sys.exit(6)
if __name__ == "__main__":
    child = multiprocessing.get_context(sys.argv[2]).Process(target=train, args=(sys.argv[1], sys.argv[3]))
    child.start()
    child.join()
"""


@pytest.mark.parametrize(
    ("start", "how", "exit_code", "reason"),
    [
        ("fork", "return", None, "the process ended without finish()"),
        ("fork", "raise", 1, "ValueError: in the child"),
        ("fork", "exit", 6, "SystemExit: 6"),
        ("spawn", "return", None, "the process ended without finish()"),
    ],
)
def test_a_child_of_multiprocessing_leaves_all_that_it_logged(
    start: str, how: str, exit_code: int | None, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(CHILD)
    line = [sys.executable, os.fspath(tmp_path / "train.py"), os.fspath(tmp_path / "runs"), start, how]
    subprocess.run(line, env=environment(), capture_output=True, timeout=60, check=True)
    (directory,) = layout.run_directories(tmp_path / "runs")
    (records,) = records_of(directory)
    assert len([record for record in records if isinstance(record, Step)]) == 100
    complete = records[-1]
    assert isinstance(complete, RunComplete)
    assert (complete.exit_code, complete.reason) == (exit_code, reason)


def test_a_slow_git_delays_no_step_and_what_it_says_follows(tmp_path: Path) -> None:
    script = (
        "import time; run.log({'loss': 1.0}); began = time.monotonic(); assert run.flush()\n"
        "assert time.monotonic() - began < 1.0, 'the banner waited for git'\ntime.sleep(2.0); run.finish()"
    )
    shim = tmp_path / "shim" / "git"
    shim.parent.mkdir()
    commit = "0123456789abcdef0123456789abcdef01234567"
    shim.write_text(f'#!/bin/sh\nsleep 0.8\ncase "$*" in *rev-parse*) echo {commit};; *) echo " M a";; esac\n')
    shim.chmod(0o755)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(commit)
    records = ended(script, tmp_path / "runs", cwd=tmp_path, PATH=f"{shim.parent}:{os.environ['PATH']}")
    banner, _, update, _ = records
    assert isinstance(banner, Banner)
    assert banner.git_commit == f"{commit}-unknown"
    assert isinstance(update, ConfigUpdate)
    assert update.git_commit == f"{commit}-dirty"


def test_a_working_directory_that_is_gone_costs_no_second_attempt(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = "import os, sys, barograph\nos.rmdir(os.getcwd())\nwith barograph.init('p', dir=sys.argv[1]): pass"
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "runs"], cwd=gone, env=environment(), timeout=60, check=True
    )
    (directory,) = layout.run_directories(tmp_path / "runs")
    assert len(list((directory / "logs").glob(".attempt-*"))) == 1
    assert len(records_of(directory)) == 1


def test_no_secret_of_environment_arguments_or_config_reaches_the_disk(tmp_path: Path) -> None:
    script = f"""
import argparse, dataclasses, sys, barograph
@dataclasses.dataclass
class Arguments:
    hub_token: str = "{CANARY}"
    lr: float = 0.5
deep = {{"token": "{CANARY}"}}
for _ in range(12):
    deep = {{"inner": deep}}
config = {{
    "hf_token": "{CANARY}", "nested": {{"WANDB_API_KEY": "{CANARY}"}}, "list": [{{"password": "{CANARY}"}}],
    "argv": ["--hub-token", "{CANARY}"],
    "url": "https://user:{CANARY}@example.org/x", "note": "use hf_{CANARY.replace("-", "")}", "dataclass": Arguments(),
    "namespace": argparse.Namespace(api_key="{CANARY}", seed=1), "deep": deep, "client-secret": "{CANARY}",
    "headers": {{"Authorization": "Bearer {CANARY}"}}, "aws": ("x", {{"aws_secret_access_key": "{CANARY}"}}),
}}
with barograph.init("p", config=config, dir=sys.argv[1]) as run:
    run.config["openai_api_key"] = "{CANARY}"
    run.log({{"loss": 1.0}})
"""
    (tmp_path / "train.py").write_text(script)
    subprocess.run(
        [sys.executable, tmp_path / "train.py", tmp_path / "runs", f"--token={CANARY}", CANARY],
        env=environment(HF_TOKEN=CANARY, WANDB_API_KEY=CANARY, AWS_SECRET_ACCESS_KEY=CANARY),
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    written = b"".join(path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert b'"type":"banner"' in written
    assert b'\\"seed\\":1' in written
    assert b'\\"lr\\":0.5' in written
    assert CANARY.encode() not in written
    assert CANARY.replace("-", "").encode() not in written


RANK = """
import sys, time, barograph
time.sleep(float(sys.argv[2]))
for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 0):
    with barograph.init("sft", dir=sys.argv[1]) as run:
        run.log({"loss": 1.0}, step=1)
        time.sleep(float(sys.argv[2]))
        assert run.flush(30.0)
        print(run.id)
with barograph.init("sft", dir=sys.argv[1]) as run:
    run.log({"loss": 1.0}, step=1)
    assert run.flush(30.0)
    print(run.id, run.attempt)
"""


def launch(root: Path, delays: list[float], *, before: int = 0, **more: str) -> list[list[str]]:
    """What each rank of a launch says, whose ranks begin after so many seconds and open `before` other runs first."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, root, str(delay), str(before)],
            env=environment(
                MASTER_ADDR="localhost",
                MASTER_PORT="29500",
                TORCHELASTIC_RUN_ID="none",
                RANK=str(rank),
                WORLD_SIZE=str(len(delays)),
                **{"LOCAL_WORLD_SIZE": str(len(delays)), **more},
            ),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, delay in enumerate(delays)
    ]
    return [process.communicate(timeout=60)[0].split() for process in ranks]


def test_ranks_of_one_launch_write_to_one_run_and_one_attempt_whoever_comes_first(tmp_path: Path) -> None:
    answers = launch(tmp_path, [0.5, 0.0, 0.0])
    assert len({tuple(answer) for answer in answers}) == 1
    run_id, attempt = answers[0]
    assert attempt == "1"
    files = layout.journal_files(tmp_path / run_id)
    assert sorted(file.writer for file in files) == ["rank1", "rank2", "train"]
    for records in records_of(tmp_path / run_id):
        banner = records[0]
        assert isinstance(banner, Banner)
        assert (banner.attempt, banner.world_size) == (1, 3)
        assert [type(record) for record in without_git(records)] == [Banner, Step, RunComplete]


def test_each_run_that_a_launch_opens_is_a_run_of_its_own_for_all_ranks(tmp_path: Path) -> None:
    first, second = launch(tmp_path, [0.5, 0.0], before=2)
    assert first == second
    *others, last, attempt = first
    assert len({*others, last}) == 3
    assert attempt == "1"
    for directory in layout.run_directories(tmp_path):
        assert sorted(file.writer for file in layout.journal_files(directory)) == ["rank1", "train"]


def test_a_run_with_a_name_gets_an_attempt_for_each_time_that_a_launch_opens_it(tmp_path: Path) -> None:
    named = launch(tmp_path, [0.4, 0.0], before=1, BAROGRAPH_RUN_ID="named", BAROGRAPH_RESUME="allow")
    assert named == [["named", "named", "2"]] * 2
    assert len(layout.journal_files(tmp_path / "named")) == 4


def test_an_elastic_restart_is_another_attempt_of_the_same_run_for_all_ranks(tmp_path: Path) -> None:
    first = launch(tmp_path, [0.0, 0.0], TORCHELASTIC_RESTART_COUNT="0")
    second = launch(tmp_path, [0.4, 0.0], TORCHELASTIC_RESTART_COUNT="1")
    assert [answer[0] for answer in first + second] == [first[0][0]] * 4
    assert [answer[1] for answer in first + second] == ["1", "1", "2", "2"]


def test_ranks_whose_run_has_a_name_share_it_without_a_common_parent(tmp_path: Path) -> None:
    named = launch(tmp_path, [0.2, 0.0], BAROGRAPH_RUN_ID="named", BAROGRAPH_RESUME="allow", LOCAL_WORLD_SIZE="1")
    assert named == [["named", "1"]] * 2


@pytest.mark.slow
def test_torchrun_starts_ranks_that_share_a_run_and_an_attempt(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(RANK)
    for attempt in ("1", "2"):
        more = {"BAROGRAPH_RUN_ID": "mine", "BAROGRAPH_RESUME": "allow"} if attempt == "2" else {}
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
            + [os.fspath(word) for word in (tmp_path / "train.py", tmp_path / attempt, "0")],
            env=environment(OMP_NUM_THREADS="1", **more),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (directory,) = layout.run_directories(tmp_path / attempt)
        files = layout.journal_files(directory)
        assert sorted(file.writer for file in files) == ["rank1", "train"]
        banners = [records[0] for records in records_of(directory)]
        assert {banner.attempt for banner in banners if isinstance(banner, Banner)} == {1}
        assert len({banner.launch_id for banner in banners if isinstance(banner, Banner)}) == 1
        assert all(banner.time >= began for banner in banners if isinstance(banner, Banner))
