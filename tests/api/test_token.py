"""The token file: who may read it, what is refused, and that nothing prints the secret."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.api.token import Token, create_token, read_token, token_path
from barograph.errors import UsageError


def write(root: Path, value: str | bytes, mode: int = 0o600) -> Path:
    path = token_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else value.encode())
    path.chmod(mode)
    return path


def test_no_file_is_no_token(tmp_path: Path) -> None:
    assert read_token(tmp_path) is None
    assert read_token(tmp_path / "not there") is None


def test_a_made_token_is_read_back_and_kept(tmp_path: Path) -> None:
    made = create_token(tmp_path / "runs")
    assert read_token(tmp_path / "runs") == made
    assert create_token(tmp_path / "runs") == made
    assert len(made.value) >= 43, "32 random bytes"


def test_two_roots_have_two_tokens(tmp_path: Path) -> None:
    assert create_token(tmp_path / "a") != create_token(tmp_path / "b")


def test_replace_makes_another_one(tmp_path: Path) -> None:
    first = create_token(tmp_path)
    second = create_token(tmp_path, replace=True)
    assert first != second
    assert read_token(tmp_path) == second


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_it_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        create_token(tmp_path)
        create_token(tmp_path, replace=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(token_path(tmp_path).stat().st_mode) == 0o600
    assert [path.name for path in token_path(tmp_path).parent.iterdir()] == ["token"], "no draft is left"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666, 0o601])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, "a" * 43, mode)
    with pytest.raises(UsageError, match=rf"can be read or written by others \(mode {mode:04o}\).*--new") as refused:
        read_token(tmp_path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    "value", ["", "\n", "a" * 21, "a" * 513, "a" * 30 + "\n" + "b" * 30, "a" * 30 + " b", "é" * 30, b"\x00" * 40]
)
def test_what_is_no_secret_is_refused(tmp_path: Path, value: str | bytes) -> None:
    write(tmp_path, value)
    with pytest.raises(UsageError, match="does not hold 22 to 512"):
        read_token(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    secret = elsewhere / "token"
    secret.write_text("a" * 43)
    secret.chmod(0o600)
    by_file, by_folder = tmp_path / "by_file", tmp_path / "by_folder"
    token_path(by_file).parent.mkdir(parents=True)
    token_path(by_file).symlink_to(secret)
    by_folder.mkdir()
    (by_folder / ".barograph").symlink_to(elsewhere)
    for root in (by_file, by_folder):
        with pytest.raises(UsageError, match="is a link"):
            read_token(root)


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    token_path(tmp_path).parent.mkdir()
    os.mkfifo(token_path(tmp_path), 0o600)
    with pytest.raises(UsageError, match="no regular file"):
        read_token(tmp_path)


def test_a_file_in_the_place_of_the_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written.*--base-dir"):
        create_token(tmp_path / "runs")


def test_all_who_make_it_at_once_get_the_same_one(tmp_path: Path) -> None:
    made: list[Token] = []
    threads = [threading.Thread(target=lambda: made.append(create_token(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len({token.value for token in made}) == 1


@given(st.text(max_size=60).map(lambda text: f"s3cr3t{text}"))
def test_no_rendering_of_a_token_holds_it(value: str) -> None:
    token = Token(value)
    for rendered in (repr(token), str(token), f"{token}", repr([token]), repr({"token": token})):
        assert "Token(hidden)" in rendered
        assert "s3cr3t" not in rendered


@given(st.text(), st.text())
def test_only_the_same_text_matches(secret: str, candidate: str) -> None:
    encoded = secret.encode("utf-8", "replace"), candidate.encode("utf-8", "replace")
    assert Token(encoded[0].decode()).matches(candidate) == (encoded[0] == encoded[1])
