"""The index is a cache: however it came to be, the documents are the same, byte for byte."""

import os
import random
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.index import Index, Indexer
from barograph.records import (
    Alert,
    Banner,
    Checkpoint,
    Columns,
    ExactMatch,
    Heartbeat,
    Pause,
    Record,
    RejectedValue,
    RunComplete,
    Step,
)
from barograph.records.codec import encode_document, encode_line
from barograph.views import live_status, run_detail, runs, series_set
from barograph.views.series import Asked

NOW = 2e9
NAN, INF = float("nan"), float("inf")
BEGUN = "20260101T000000"
FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
"""Newer Pythons warn of any fork beside numpy's threads; the child here uses none of them."""


@contextmanager
def temporary_root() -> Iterator[Path]:
    """A root of its own for each example of a law."""
    root = Path(tempfile.mkdtemp(prefix="barograph-test-"))
    try:
        yield root
    finally:
        shutil.rmtree(root)


def file_of(root: Path, run: str, writer: str = "train", attempt: int = 1) -> Path:
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs / f"{writer}-{attempt:06d}-{BEGUN}.jsonl"


def documents(root: Path) -> bytes:
    """Every document about everything under a root."""
    index = Index(root)
    listed = runs(index, now=NOW)
    said = [encode_document(listed), encode_document(live_status(index, now=NOW))]
    for row in listed.runs:
        detail = run_detail(index, row.run, now=NOW)
        said.append(encode_document(detail))
        said.append(encode_document(live_status(index, row.run, now=NOW)))
        asked = Asked(smoothing=0.9, times=True, ranks=True)
        if detail.series:
            found = series_set(index, row.run, detail.series, asked=asked, now=NOW)
            # A cursor names one reading of a file: of another index it is not to be used.
            said.append(encode_document(replace(found, series=[replace(one, cursor="") for one in found.series])))
    index.close()  # or its connection keeps the write-ahead log, which would hide damage of the file
    return b"\n".join(said)


def cold_rebuild(root: Path) -> bytes:
    """The documents from an index that never existed before."""
    shutil.rmtree(root / ".barograph", ignore_errors=True)
    with Indexer(root) as indexer:
        indexer.scan()
        return documents(root)


def warm(root: Path) -> bytes:
    """The documents from the index that is there, brought up to date."""
    with Indexer(root) as indexer:
        indexer.scan()
        return documents(root)


VALUES = st.one_of(st.floats(-10, 10), st.sampled_from([NAN, INF, -INF, 1e308, 5e-324]))
NAMES = st.sampled_from(["loss", "train/learning_rate", "épreuve/<b>&\x00", "a" * 300])
STEPS = st.integers(0, 40)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(Step, step=STEPS, loss=st.one_of(st.none(), VALUES), time=VALUES, metrics=st.dictionaries(NAMES, VALUES)),
    st.builds(
        Step, step=STEPS, time=st.just(1.0), columns=st.just("c"), values=st.lists(VALUES, min_size=2, max_size=2)
    ),
    st.just(Columns(id="c", names=["wide/a", "wide/b"])),
    st.builds(Heartbeat, time=VALUES, step=STEPS),
    st.builds(Alert, time=VALUES, title=st.text(max_size=5)),
    st.builds(Pause, time=st.floats(0, 9), paused=st.booleans()),
    st.builds(Checkpoint, step=STEPS, time=VALUES, path=st.just("/x/checkpoint-1")),
    st.builds(RunComplete, time=st.just(5.0), exit_code=st.sampled_from([None, 0, 1]), rejected=st.integers(0, 9)),
    st.builds(RejectedValue, time=st.just(1.0), key=NAMES, value_type=st.just("str"), step=st.one_of(st.none(), STEPS)),
    st.just(Banner(run="r", attempt=1, writer="train", time=1.0, config='{"a":1}', total_steps=50)),
)
LINES = st.one_of(
    RECORDS.map(encode_line),
    st.sampled_from(
        [b"\n", b"garbage\n", b'{"type":"step","step":"7","time":1}\n', b'{"type":"new","x":1}\n', b"\xff\xfe\n"]
    ),
    st.just(b'{"type":"step","step":3,"loss":"NaN","time":1}\n'),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, max_size=30), st.lists(LINES, max_size=10), st.data())
def test_any_split_into_appends_and_scans_gives_the_index_of_one_scan(
    first: list[bytes], second: list[bytes], data: st.DataObject
) -> None:
    with temporary_root() as root:
        texts = {file_of(root, "r", attempt=1): b"".join(first), file_of(root, "r", attempt=2): b"".join(second)}
        indexer = Indexer(root)
        for path, text in texts.items():
            cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
            for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
                with path.open("ab") as file:
                    file.write(text[begin:end])
                indexer.scan()
                if data.draw(st.booleans()):
                    indexer.close()
                    indexer = Indexer(root)
        followed = documents(root)
        indexer.close()
        assert followed == cold_rebuild(root)


def demo_log(root: Path) -> None:
    """Two runs with everything in them: a resume, another rank, an evaluation, refused lines, a torn tail."""
    chance = random.Random(7)
    for attempt, steps in ((1, range(400)), (2, range(250, 500))):
        lines = [
            encode_line(Banner(run="r", attempt=attempt, writer="train", time=attempt, total_steps=1000, host="h"))
        ]
        for step in steps:
            metrics = {f"train/{key}": chance.random() for key in ("learning_rate", "grad_norm")}
            loss = NAN if step == 333 else chance.random()
            lines.append(encode_line(Step(step=step, loss=loss, time=attempt + step, metrics=metrics)))
        lines += [b"not json\n", encode_line(Alert(time=9.0, title="<script>", step=3)), b'{"torn']
        file_of(root, "r", attempt=attempt).write_bytes(b"".join(lines))
    rank = [encode_line(Step(step=step, loss=5.0, time=1.0)) for step in range(10)]
    file_of(root, "r", writer="rank1").write_bytes(b"".join(rank))
    match = ExactMatch(
        step=100, time=1.0, checkpoint="checkpoint-100", probe_set="p", task="syllo", level="easy", regime="plain_sft",
        correct=3, n=4, exact_match=0.75, low=0.3, high=0.95, confidence=0.95, base_rate=0.5,
    )  # fmt: skip
    file_of(root, "r", writer="evaluate").write_bytes(encode_line(match))
    (root / "linked").symlink_to("/nowhere")
    file_of(root, "other").write_bytes(encode_line(Banner(run="other", attempt=1, writer="train", time=1.0)))


def test_a_deleted_index_comes_back_the_same(tmp_path: Path) -> None:
    demo_log(tmp_path)
    before = warm(tmp_path)
    assert b'"non_finite_count":1' in before
    assert b"exact_match/syllo/easy" in before
    assert cold_rebuild(tmp_path) == before


@FORKS
def test_an_indexer_killed_before_any_statement_leaves_an_index_that_the_next_one_completes(tmp_path: Path) -> None:
    demo_log(tmp_path)
    wanted = cold_rebuild(tmp_path)
    survived = False
    for statement in [1, 2, 4, 7, 11, 12, 13, 20, 40, 80, 10_000]:
        shutil.rmtree(tmp_path / ".barograph")
        child = os.fork()
        if child == 0:
            _scan_and_die(tmp_path, statement)
        survived = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for _ in range(2):
            with Indexer(tmp_path) as indexer:
                assert indexer.scan().rebuilt is None
                assert documents(tmp_path) == wanted
    assert survived, "the last one was to get through: else the kills never reached the end"


@FORKS
def test_an_indexer_killed_while_it_follows_leaves_an_index_that_the_next_one_completes(tmp_path: Path) -> None:
    demo_log(tmp_path)
    warm(tmp_path)
    path = file_of(tmp_path, "r", attempt=2)
    for statement in range(1, 14, 2):
        with path.open("ab") as file:
            file.write(b'"}\n' + encode_line(Step(step=500 + statement, loss=0.5, time=1.0)))
        child = os.fork()
        if child == 0:
            _scan_and_die(tmp_path, statement)
        os.waitpid(child, 0)
        followed = warm(tmp_path)
        kept = tmp_path / ".barograph" / "index.sqlite"
        aside = kept.rename(tmp_path / "aside")
        assert cold_rebuild(tmp_path) == followed
        (tmp_path / ".barograph" / "index.sqlite").unlink()
        aside.rename(kept)


def _scan_and_die(root: Path, statement: int) -> None:
    """In a child process: scans, and is killed as its n-th SQL statement is about to begin."""
    indexer = Indexer(root)
    left = statement

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    indexer._connection.set_trace_callback(count)
    indexer.scan()
    os._exit(0)


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit_changes_no_answer(tmp_path: Path, seed: int) -> None:
    demo_log(tmp_path)
    wanted = warm(tmp_path)
    database = tmp_path / ".barograph" / "index.sqlite"
    good = database.read_bytes()
    chance = random.Random(seed)
    for _ in range(8):
        place, bit = chance.randrange(len(good)), chance.randrange(8)
        database.write_bytes(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])
        assert warm(tmp_path) == wanted, f"bit {bit} of byte {place}"


@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "newer", "foreign", "folder", "link"])
def test_an_index_that_cannot_be_used_is_replaced(tmp_path: Path, damage: str) -> None:
    root = tmp_path / "root"
    demo_log(root)
    wanted = warm(root)
    database = root / ".barograph" / "index.sqlite"
    good = database.read_bytes()
    if damage == "newer":
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif damage == "folder":
        database.unlink()
        (database / "inside").mkdir(parents=True)
    elif damage == "link":
        elsewhere = tmp_path / "precious"
        elsewhere.write_bytes(good)
        database.unlink()
        database.symlink_to(elsewhere)
    else:
        content = {
            "empty": b"",
            "garbage": b"x" * 9_000,
            "half": good[: len(good) // 2],
            "foreign": b"SQLite format 3\0",
        }
        database.write_bytes(content[damage])
    with Indexer(root) as indexer:
        assert indexer.scan().rebuilt is not None
        assert indexer.scan().rebuilt is None
        assert documents(root) == wanted
    if damage == "link":
        assert (tmp_path / "precious").read_bytes() == good


def test_the_index_of_another_root_answers_for_its_new_root_only(tmp_path: Path) -> None:
    demo_log(tmp_path / "a")
    warm(tmp_path / "a")
    file_of(tmp_path / "b", "r").write_bytes(encode_line(Step(step=1, loss=1.0, time=1.0)))
    wanted = cold_rebuild(tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / ".barograph")
    shutil.copytree(tmp_path / "a" / ".barograph", tmp_path / "b" / ".barograph")
    assert warm(tmp_path / "b") == wanted


def test_without_an_index_everything_is_empty_and_says_that_it_is_being_built(tmp_path: Path) -> None:
    demo_log(tmp_path)
    listed = runs(Index(tmp_path), now=NOW)
    assert (listed.runs, listed.index) == ([], "rebuilding")
    with Indexer(tmp_path) as indexer:
        assert runs(Index(tmp_path), now=NOW).index == "rebuilding"
        indexer.scan()
        assert runs(Index(tmp_path), now=NOW).index == "ready"


def test_an_index_that_is_deleted_under_its_indexer_is_built_again(tmp_path: Path) -> None:
    demo_log(tmp_path)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        before = documents(tmp_path)
        for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            (tmp_path / ".barograph" / name).unlink(missing_ok=True)
        assert runs(Index(tmp_path), now=NOW).index == "rebuilding"
        assert indexer.scan().rebuilt == "its file was deleted or replaced"
        assert documents(tmp_path) == before
