"""Attempts are claimed once, files are named in time, and other ranks learn the attempt of their own launch."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import WriteError
from barograph.journal import layout
from barograph.journal.layout import Claim, attempt_of_launch, claim_attempt, create_journal, journal_files

CLAIMER = """
import sys, time
from pathlib import Path
from barograph.journal.layout import claim_attempt
run, me = Path(sys.argv[1]), sys.argv[2]
while not (run / "go").exists():
    time.sleep(0.001)
print(*[claim_attempt(run, launch_id=f"{me}-{index}", now=time.time()) for index in range(20)])
"""


def test_no_two_of_eight_processes_ever_get_the_same_attempt(tmp_path: Path) -> None:
    claimers = [
        subprocess.Popen([sys.executable, "-c", CLAIMER, tmp_path, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    (tmp_path / "go").touch()
    claimed = [[int(word) for word in claimer.communicate(timeout=60)[0].split()] for claimer in claimers]
    assert sorted(attempt for own in claimed for attempt in own) == list(range(1, 161))
    assert all(own == sorted(own) for own in claimed)
    for number, own in enumerate(claimed):
        for index, attempt in enumerate(own):
            assert attempt_of_launch(tmp_path, launch_id=f"{number}-{index}", not_before=0.0) == attempt
    assert not [path for path in (tmp_path / "logs").iterdir() if path.name.endswith(".draft")]


def test_a_claim_holds_its_launch_from_the_first_moment_it_can_be_seen(tmp_path: Path) -> None:
    attempt = claim_attempt(tmp_path, launch_id="me", now=12.5)
    content = (tmp_path / "logs" / ".attempt-000001").read_bytes()
    assert msgspec.json.decode(content, type=Claim) == Claim(attempt=attempt, launch_id="me", time=12.5)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [".attempt-000001"]


def test_the_next_attempt_follows_the_greatest_number_seen_in_any_name(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "rank3-000007-20260101T000000.jsonl").touch()
    assert claim_attempt(tmp_path, launch_id="a", now=1.0) == 8
    (logs / ".attempt-000041").write_bytes(b"half of a cl")
    (logs / ".attempt-000099.1.draft").touch()
    (logs / ".attempt-00042x").touch()
    (logs / "train-000000-20260101T000000.jsonl").touch()
    assert claim_attempt(tmp_path, launch_id="a", now=1.0) == 42


def test_a_number_that_cannot_be_followed_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / ".attempt-999999").touch()
    with pytest.raises(WriteError, match=r"attempt 999999 is taken.*logs.*Use another run_id"):
        claim_attempt(tmp_path, launch_id="a", now=1.0)


def test_a_claim_works_where_the_file_system_has_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert [claim_attempt(tmp_path, launch_id=word, now=1.0) for word in "ab"] == [1, 2]
    assert attempt_of_launch(tmp_path, launch_id="b", not_before=0.0) == 2


def test_a_claim_that_the_disk_refuses_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            claim_attempt(tmp_path, launch_id="a", now=1.0)
    assert list((tmp_path / "logs").iterdir()) == []
    monkeypatch.undo()
    assert claim_attempt(tmp_path, launch_id="a", now=1.0) == 1


def test_a_rank_learns_the_newest_attempt_of_its_own_launch_only(tmp_path: Path) -> None:
    assert attempt_of_launch(tmp_path, launch_id="a", not_before=0.0) is None
    for launch, at in (("a", 100.0), ("b", 200.0), ("a", 300.0), ("c", 400.0)):
        claim_attempt(tmp_path, launch_id=launch, now=at)
    assert attempt_of_launch(tmp_path, launch_id="a", not_before=0.0) == 3
    assert attempt_of_launch(tmp_path, launch_id="b", not_before=200.0) == 2
    assert attempt_of_launch(tmp_path, launch_id="b", not_before=201.0) is None, "an older launch of the same name"
    assert attempt_of_launch(tmp_path, launch_id="d", not_before=0.0) is None
    (tmp_path / "logs" / ".attempt-000009").symlink_to(tmp_path / "logs" / ".attempt-000003")
    (tmp_path / "logs" / ".attempt-000010").write_bytes(b"torn")
    assert attempt_of_launch(tmp_path, launch_id="a", not_before=0.0) == 3


def test_files_of_one_second_have_names_in_the_order_of_their_creation(run: Path) -> None:
    created = []
    for _ in range(4):
        descriptor, path = create_journal(run, writer="train", attempt=1)
        os.close(descriptor)
        created.append(path)
    assert created == sorted(created)
    assert [file.path for file in journal_files(run)] == created
    begun = time.strftime("%Y%m%dT", time.gmtime())
    assert created[0].name.startswith(f"train-000001-{begun[:6]}")


def test_journal_files_are_found_by_name_and_sorted_by_attempt(run: Path) -> None:
    logs = run / "logs"
    kept = [
        "train-000001-20260101T000000.jsonl",
        "rank1-000002-20250101T000000.jsonl",
        "evaluate-000002-20260101T000001.jsonl",
        "train-000010-20240101T000000.jsonl",
    ]
    for name in reversed(kept):
        (logs / name).touch()
    for name in (
        *("train-000001-20260101T000000.jsonl.zst", "train-1-20260101T000000.jsonl", "notes.jsonl"),
        *("Train-000001-20260101T000000.jsonl", "train-000000-20260101T000000.jsonl"),
        *("train-٠٠٠٠٠٢-20260101T000000.jsonl", "train-000001-20260101T000000.jsonl\n"),
    ):
        (logs / name).touch()
    (logs / "train-000003-20260101T000000.jsonl").mkdir()
    (logs / "train-000004-20260101T000000.jsonl").symlink_to(logs / kept[0])
    os.mkfifo(logs / "train-000005-20260101T000000.jsonl")
    found = journal_files(run)
    assert [file.path.name for file in found] == kept
    assert [(file.writer, file.attempt, file.begun) for file in found][1] == ("rank1", 2, "20250101T000000")
    assert journal_files(run / "missing") == []


def test_runs_are_folders_with_logs_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("b", "a", ".barograph", "empty"):
        (tmp_path / name).mkdir()
    for name in ("b", "a", ".barograph"):
        (tmp_path / name / "logs").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    (tmp_path / "empty" / "logs").symlink_to(tmp_path / "a" / "logs")
    (tmp_path / "file").touch()
    assert layout.run_directories(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert layout.run_directories(tmp_path / "a") == [tmp_path / "a"]
    assert layout.run_directories(tmp_path / "missing") == []


@settings(deadline=None)
@given(word=st.text(min_size=1, max_size=10).filter(lambda word: "\0" not in word))
def test_a_name_that_is_listed_can_be_opened_and_others_are_not_listed(word: str) -> None:
    match = layout._JOURNAL.fullmatch(f"{word}-000001-20260101T000000.jsonl")
    assert (match is not None) == (
        word.isascii() and word[0].islower() and word == word.lower() and word.isidentifier()
    )


def test_the_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BAROGRAPH_DIR", raising=False)
    assert layout.default_root() == tmp_path / "barograph-runs"
    monkeypatch.setenv("BAROGRAPH_DIR", "")
    assert layout.default_root() == tmp_path / "barograph-runs"
    monkeypatch.setenv("BAROGRAPH_DIR", "elsewhere")
    assert layout.default_root() == tmp_path / "elsewhere"
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("BAROGRAPH_DIR", "~/runs")
    assert layout.default_root() == Path("/somewhere/runs")


def test_the_folder_of_a_run_is_made_again_only_where_its_root_still_is(tmp_path: Path) -> None:
    run, device = tmp_path / "root" / "r", tmp_path.stat().st_dev
    assert not layout.make_again(run, device=device)
    assert not run.parent.exists()
    run.parent.mkdir()
    assert not layout.make_again(run, device=device + 1), "another file system lies there now"
    assert not run.exists()
    assert layout.make_again(run, device=device)
    assert (run / "logs").is_dir()
    assert layout.make_again(run, device=device)
