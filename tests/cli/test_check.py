"""`barograph check` from the outside: what it recognises, what it says, the four forms, the exit codes."""

import json
import math
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from barograph.journal.seal import seal
from barograph.records import Banner, Job, OptimizerMoments, Record, RunComplete, Step, codec

WriteWeights = Callable[..., Path]
SEED_EVIDENCE = [
    "final_loss",
    "initial_loss",
    "convergence_ratio",
    "smoothness",
    "instability_events",
    "num_steps",
    "num_log_files",
    "curve_sampled",
    "thresholds",
    "weight",
]


def check(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "barograph", "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "120", **environment},
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What was printed, without the ends of lines."""
    return " ".join(done.stdout.split())


def healthy(count: int = 400) -> list[float]:
    random = np.random.default_rng(0)
    steps = np.arange(count)
    losses = (1.5 + 3.0 * np.exp(-steps / 80.0)) * (1.0 + 0.01 * random.standard_normal(count))
    return [float(loss) for loss in losses]


def run(root: Path, losses: list[float], *more: Record, name: str = "r") -> Path:
    logs = root / name / "logs"
    logs.mkdir(parents=True)
    now = time.time()
    records: list[Record] = [
        Banner(run=name, attempt=1, writer="train", time=now),
        *(Step(step=step, loss=loss, time=now) for step, loss in enumerate(losses)),
        *more,
        RunComplete(time=now, exit_code=0),
    ]
    lines = b"".join(codec.encode_line(record) for record in records)
    (logs / "train-000001-20260101T000000.jsonl").write_bytes(lines)
    return root / name


def store(folder: Path, losses: list[float]) -> Path:
    """A log as seed 004 reads it."""
    (folder / "logs").mkdir(parents=True)
    rows: list[dict[str, object]] = [{"type": "banner"}]
    rows += [{"type": "step", "step": step, "loss": loss} for step, loss in enumerate(losses)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "logs" / "train-000001-20260101T000000.jsonl").write_text(text)
    return folder


def document(*arguments: object) -> dict[str, object]:
    done = check(*arguments, "--format", "json")
    found = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert isinstance(found, dict)
    return found


def verdicts(found: dict[str, object]) -> dict[str, str]:
    targets = found["targets"]
    assert isinstance(targets, list)
    return {one["name"]: one["verdict"] for one in targets[0]["verdicts"]}


def test_a_healthy_run_passes_by_path_and_by_name(tmp_path: Path) -> None:
    place = run(tmp_path, healthy())
    for done in (check(place), check("r", "--base-dir", tmp_path)):
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("PASS ")
        assert "training_drift" in done.stdout
        assert "the loss fell to" in done.stdout


def test_what_was_not_measured_is_skipped_with_its_reason_and_is_no_pass(tmp_path: Path) -> None:
    found = document(run(tmp_path, healthy()))
    assert verdicts(found) == {
        "training_drift": "PASS",
        "gradient_ghost": "SKIP",
        "layer_drift": "SKIP",
        "weight_stability": "SKIP",
    }
    nothing = check(run(tmp_path, [], name="empty"))
    assert nothing.returncode == 2
    assert nothing.stdout.startswith("SKIP ")


def test_a_failed_training_is_1_and_names_the_step(tmp_path: Path) -> None:
    losses = healthy()
    losses[300:] = [math.nan] * 100
    done = check(run(tmp_path, losses))
    assert done.returncode == 1
    assert "first such one is at step 300" in said(done)
    assert "Stop; resume from the last checkpoint before it" in said(done)


def test_a_warning_is_1_only_where_that_was_asked_for(tmp_path: Path) -> None:
    losses = healthy()
    losses[200] *= 2.0
    place = run(tmp_path, losses)
    assert check(place).returncode == 0
    assert check(place, "--fail-on", "warn").returncode == 1


def test_the_json_has_the_seeds_fields_and_null_for_what_is_no_number(tmp_path: Path) -> None:
    losses = healthy()
    losses[5] = math.nan
    found = document(store(tmp_path / "store", losses), "--policy", "contract")
    targets = found["targets"]
    assert isinstance(targets, list)
    drift = targets[0]["verdicts"][0]
    assert list(drift["evidence"])[: len(SEED_EVIDENCE)] == SEED_EVIDENCE
    assert drift["verdict"] == "WARN"
    assert drift["message"].startswith("smoothness=")
    assert drift["thresholds"]["smoothness_gte"] == 0.7
    assert drift["score"] <= 0.5
    curve = drift["evidence"]["curve_sampled"]
    assert len(curve) <= 512
    assert [5, None] in curve
    gone = document(store(tmp_path / "gone", [math.nan] * 40), "--policy", "contract")
    assert gone["targets"][0]["verdicts"][0]["evidence"]["final_loss"] is None  # type: ignore[index]


def test_a_journal_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    (file,) = (store(tmp_path, healthy()) / "logs").iterdir()
    other = file.rename(tmp_path / "whatever.txt")
    done = check(other)
    assert done.returncode == 0
    assert "(journal file, policy default)" in done.stdout


def test_a_resume_in_one_file_is_told_apart(tmp_path: Path) -> None:
    losses = healthy()
    rows = [(step, 40.0 if step > 300 else losses[step]) for step in range(400)]
    rows += [(step, losses[step]) for step in range(250, 350)]
    text = "".join(json.dumps({"type": "step", "step": step, "loss": loss}) + "\n" for step, loss in rows)
    (tmp_path / "log.jsonl").write_text(text)
    done = check(tmp_path / "log.jsonl")
    assert done.returncode == 0, done.stdout
    assert "2 attempts; 50 points of older ones were superseded" in said(done)


@pytest.mark.slow
def test_weights_and_gradients_are_judged_where_they_were_measured(tmp_path: Path, write_weights: WriteWeights) -> None:
    place = run(
        tmp_path,
        healthy(),
        OptimizerMoments(
            step=399,
            time=1.0,
            optimizer="AdamW",
            sums={f"model.layers.{block}.w": 1e-6 for block in range(6)},
            elements={f"model.layers.{block}.w": 10 for block in range(6)},
        ),
    )
    base = write_weights(tmp_path / "base", {"model.layers.0.w": np.ones((3, 3))})
    broken = write_weights(tmp_path / "out" / "checkpoint-399", {"model.layers.0.w": [[1.0, math.nan, 1.0]] * 3})
    line = ("watch", "--once", "--base-dir", tmp_path / "r", "--checkpoints", broken.parent, "--reference", base)
    watched = subprocess.run(
        [sys.executable, "-m", "barograph", *map(str, line)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert "1 checkpoints read" in watched.stdout, watched.stdout + watched.stderr
    found = document(place)
    assert verdicts(found) == {
        "training_drift": "PASS",
        "gradient_ghost": "PASS",
        "layer_drift": "FAIL",
        "weight_stability": "FAIL",
    }
    assert found["verdict"] == "FAIL"


def test_junit_has_a_case_per_verdict_and_survives_any_name(tmp_path: Path) -> None:
    losses = healthy()
    losses[-1] = math.inf
    place = run(tmp_path, losses, name="bad").rename(tmp_path / "a<b>&\x01")
    done = check(place, run(tmp_path, healthy(), name="good"), "--format", "junit")
    assert done.returncode == 1
    warned = check(place, "--format", "junit", "--fail-on", "warn", "--policy", "contract")
    assert 'failures="1"' in warned.stdout
    suites = ElementTree.fromstring(done.stdout).findall("testsuite")
    assert [suite.get("failures") for suite in suites] == ["1", "0"]
    assert [suite.get("skipped") for suite in suites] == ["3", "3"]
    failure = suites[0].find("testcase/failure")
    assert failure is not None
    assert "last loss is no number" in str(failure.get("message"))


def test_markdown_is_a_table_per_target_that_names_cannot_break(tmp_path: Path) -> None:
    place = run(tmp_path, healthy(), name="a").rename(tmp_path / "x|<b>![i](u)@all`c`")
    done = check(place, "--format", "markdown")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith("x\\|&lt;b>\\!\\[i\\]\\(u\\)&#64;all\\`c\\`: PASS")
    assert "| **PASS** | training\\_drift |" in done.stdout


@pytest.mark.parametrize("name", ["nothing", "", "../..x", "a/b"])
def test_no_such_target_is_2_with_one_line(name: str, tmp_path: Path) -> None:
    done = check(name, "--base-dir", tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("ERROR ")
    assert "there is no such run, folder or file" in said(done)
    assert "Traceback" not in done.stderr


def test_one_missing_target_does_not_keep_the_others_from_being_judged(tmp_path: Path) -> None:
    found = document(run(tmp_path, healthy()), "nothing", "--base-dir", tmp_path)
    targets = found["targets"]
    assert isinstance(targets, list)
    assert [one["verdict"] for one in targets] == ["PASS", "ERROR"]


def test_a_name_that_is_no_text_is_shown_as_well_as_can_be(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/\xff\xfebad.jsonl"
    with open(place, "wb") as file:
        file.write(b"".join(codec.encode_line(Step(step=step, loss=1.0, time=1.0)) for step in range(3)))
    for form in ("text", "json", "junit", "markdown"):
        done = check(os.fsdecode(place), "--format", form)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_the_gradients_in_a_single_file_are_judged_too(tmp_path: Path) -> None:
    names = [f"model.layers.{block}.w" for block in range(6)]
    moments = OptimizerMoments(
        step=200, time=1.0, optimizer="AdamW", sums=dict.fromkeys(names, math.nan), elements=dict.fromkeys(names, 4)
    )
    (file,) = (run(tmp_path, healthy(), moments) / "logs").iterdir()
    assert verdicts(document(file))["gradient_ghost"] == "FAIL"


def test_a_sealed_journal_can_be_named(tmp_path: Path) -> None:
    (file,) = (run(tmp_path, healthy()) / "logs").iterdir()
    seal(tmp_path, file, expected=file.stat())
    assert check(file.with_name(f"{file.name}.zst")).returncode == 0


def test_a_file_of_training_that_is_none_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    place = run(tmp_path, healthy())
    (place / "logs" / "train-000002-20260102T000000.jsonl").symlink_to("/nowhere")
    done = check(place)
    assert done.returncode == 2
    assert "is no regular file, so it was not read" in said(done)


def test_a_torn_first_line_is_an_error_under_the_contract_as_the_seed_has_it(tmp_path: Path) -> None:
    place = store(tmp_path, healthy())
    (file,) = (place / "logs").iterdir()
    file.write_bytes(file.read_bytes()[5:])
    assert check(place, "--policy", "contract").returncode == 2
    assert check(place).returncode == 0


def test_writers_that_took_turns_in_one_file_are_told_apart(tmp_path: Path) -> None:
    losses = healthy()
    rows = [row for step in range(400) for row in ((step, losses[step]), (step + 5000, 9.0))][:-1]
    text = "".join(json.dumps({"type": "step", "step": step, "loss": loss}) + "\n" for step, loss in rows)
    (tmp_path / "two.jsonl").write_text(text)
    done = check(tmp_path / "two.jsonl")
    assert "2 writers took turns" in said(done)
    assert done.stdout.startswith("PASS ")


def test_a_folder_of_another_tool_that_has_logs_is_read(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1").write_bytes(b"\x00")
    history = [{"step": 10 * step, "loss": loss} for step, loss in enumerate(healthy(50), start=1)]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history, "global_step": 500}))
    done = check(tmp_path)
    assert done.stdout.startswith("PASS ")
    assert "Hugging Face" in done.stdout


def test_a_log_of_which_no_line_can_be_read_is_an_error_and_never_a_pass(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "train-000001-20260101T000000.jsonl").write_bytes(b"\x00" * 100 + b"\n" + b"{oops\n" * 9)
    done = check(tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("ERROR ")
    assert "10 of 10 lines of train-000001-20260101T000000.jsonl cannot be read" in said(done)


def test_a_few_broken_lines_are_told_and_the_rest_is_judged(tmp_path: Path) -> None:
    place = run(tmp_path, healthy())
    (file,) = (place / "logs").iterdir()
    lines = file.read_bytes().split(b"\n")
    lines[7] = b'{"type":"step","step":"7"}'
    file.write_bytes(b"\n".join(lines)[:-30])
    done = check(place)
    assert done.returncode == 0
    assert "byte " in said(done)
    assert "1 lines could not be read" in said(done)


def test_other_writers_of_a_run_are_no_curve(tmp_path: Path) -> None:
    place = run(tmp_path, healthy())
    job = Job(id="x", work="weights", state="planned", time=1.0, checkpoint="c", path="/c")
    (place / "logs" / "watch-000001-20260101T000000.jsonl").write_bytes(codec.encode_line(job))
    (place / "logs" / "rank1-000001-20260101T000000.jsonl").write_bytes(
        b"".join(codec.encode_line(Step(step=step, loss=99.0, time=1.0)) for step in range(400))
    )
    assert check(place).returncode == 0


def test_the_small_log_is_quick_to_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, barograph.cli.check_target; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numba", "litestar", "sqlite3", "scipy", "rich"}
