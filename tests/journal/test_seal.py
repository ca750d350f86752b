"""Compressing a journal never loses it and never doubles it, whatever dies, and leaves alone what is still written."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.errors import UnsafePath, WriteError
from barograph.journal import Batch, JournalWriter
from barograph.journal.layout import archive_of, create_journal, journal_files
from barograph.journal.seal import Sealed, seal
from barograph.records import Banner, Step
from barograph.records.codec import encode_line

Reader = Callable[[Path], Batch]
BEGUN = "20260101T000000"


def journal(run: Path, *, steps: int = 3_000) -> Path:
    path = run / "logs" / f"train-000001-{BEGUN}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(encode_line(Step(step=step, loss=1.0 / (step + 1), time=1.0)) for step in range(steps)))
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    return path


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_an_archive_takes_the_place_the_times_and_the_mode_of_the_original(tmp_path: Path) -> None:
    path = journal(tmp_path)
    path.chmod(0o640)
    before = path.stat()
    done = seal(tmp_path, path, expected=before)
    after = archive_of(path).stat()
    assert names(path) == [f"train-000001-{BEGUN}.jsonl.zst"]
    assert (after.st_mtime_ns, stat.S_IMODE(after.st_mode)) == (before.st_mtime_ns, 0o640)
    assert done == Sealed(before=before.st_size, after=after.st_size)
    assert done.after < done.before / 2
    (file,) = journal_files(tmp_path)
    assert (file.path, file.place, file.archived) == (path, archive_of(path), True)


STEPS = ("open", "write", "fsync", "fchown", "fchmod", "utime", "pread", "rename", "unlink")


@pytest.mark.timeout(60)
def test_a_process_that_dies_between_any_two_steps_leaves_one_good_journal(tmp_path: Path, read: Reader) -> None:
    after_each = 0
    while True:
        run = tmp_path / str(after_each)
        path = journal(run)
        whole = path.read_bytes()
        child = os.fork()
        if not child:
            _die_after(after_each)
            seal(run, path, expected=path.stat())
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (file,) = journal_files(run)
        assert file.path == path
        assert [entry.record.step for entry in read(path).entries if isinstance(entry.record, Step)] == [*range(3_000)]
        if path.exists():
            assert path.read_bytes() == whole
            seal(run, path, expected=path.stat())  # begun again, it ends
        assert names(path) == [f"train-000001-{BEGUN}.jsonl.zst"]
        assert read(path).position.offset == len(whole)
        if code == 0:
            break
        assert code == 9
        after_each += 1
    assert after_each > 15


def _die_after(count: int) -> None:
    """Makes this process die at the call of the system that follows `count` others."""
    left = [count]

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if not left[0]:
                os._exit(9)
            left[0] -= 1
            return real(*arguments, **named)

        return call

    for name in STEPS:
        setattr(os, name, dying(getattr(os, name)))


def test_a_file_that_a_writer_has_open_is_left_alone(tmp_path: Path, run: Path, banner: Callable[[], Banner]) -> None:
    writer = JournalWriter(run, banner)
    writer.append(1, lambda: Step(step=1, loss=1.0, time=1.0))
    assert writer.flush()
    path = writer.path
    assert path is not None
    with pytest.raises(WriteError, match="a writer has it open"):
        seal(run.parent, path, expected=path.stat())
    assert names(path) == [path.name]
    writer.close()
    seal(run.parent, path, expected=path.stat())
    assert names(path) == [f"{path.name}.zst"]


def test_a_file_that_changed_since_it_was_looked_at_is_left_alone(tmp_path: Path) -> None:
    path = journal(tmp_path)
    before = path.stat()
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WriteError, match="not what it was"):
        seal(tmp_path, path, expected=before)
    assert names(path) == [path.name]


def test_a_file_that_grows_while_it_is_compressed_is_left_alone(tmp_path: Path) -> None:
    path = journal(tmp_path)

    def grow() -> bool:
        with path.open("ab") as file:
            file.write(b"x")
        return True

    with pytest.raises(WriteError, match="not what it was"):
        seal(tmp_path, path, expected=path.stat(), go_on=grow)
    assert names(path) == [path.name]


def test_who_is_asked_to_stop_leaves_the_original(tmp_path: Path) -> None:
    path = journal(tmp_path)
    with pytest.raises(WriteError, match="asked to stop"):
        seal(tmp_path, path, expected=path.stat(), go_on=lambda: False)
    assert names(path) == [path.name]


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_another_archive_beside_the_original_is_nobodys_to_remove(tmp_path: Path, content: bytes | None) -> None:
    path = journal(tmp_path)
    if content is None:
        seal(tmp_path, path, expected=path.stat())
        journal(tmp_path, steps=3)
    else:
        archive_of(path).write_bytes(content)
    standing, original = archive_of(path).read_bytes(), path.read_bytes()
    with pytest.raises(WriteError, match=r"archive"):
        seal(tmp_path, path, expected=path.stat())
    assert (archive_of(path).read_bytes(), path.read_bytes()) == (standing, original)
    (file,) = journal_files(tmp_path)
    assert not file.archived


def test_no_link_is_followed_and_none_replaced(tmp_path: Path) -> None:
    root = tmp_path / "root"
    path = journal(root)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    archive_of(path).symlink_to(secret)
    with pytest.raises(UnsafePath):
        seal(root, path, expected=path.stat())
    archive_of(path).unlink()
    draft = path.with_name(f"{path.name}.zst.draft")
    draft.symlink_to(secret)
    seal(root, path, expected=path.stat())
    assert secret.read_bytes() == b"secret"
    assert names(path) == [f"{path.name}.zst"]
    path = journal(root / "other")
    (root / "linked").symlink_to(root / "other")
    with pytest.raises(UnsafePath):
        seal(root, root / "linked" / "logs" / path.name, expected=path.stat())


def test_what_no_reader_would_take_is_not_sealed(tmp_path: Path) -> None:
    path = tmp_path / f"train-000001-{BEGUN}.jsonl"
    path.touch()
    os.truncate(path, 40 << 20)  # zeros: an archive of 20 kB would be taken for a bomb
    with pytest.raises(Exception, match="more than 256 times"):
        seal(tmp_path, path, expected=path.stat())
    assert names(path) == [path.name]


def test_a_new_journal_never_takes_the_name_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    now = int(time.time())
    for second in range(now, now + 3):
        begun = time.strftime("%Y%m%dT%H%M%S", time.gmtime(second))
        archive_of(tmp_path / "logs" / f"train-000001-{begun}.jsonl").touch()
    descriptor, path = create_journal(tmp_path, writer="train", attempt=1)
    os.close(descriptor)
    assert not archive_of(path).exists()
    assert len(journal_files(tmp_path)) == 4
