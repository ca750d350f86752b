"""The commit of a run is read without waiting, and whether the work tree differs is said when git has told it."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from barograph.collect import work_tree


def git(folder: Path, *words: str) -> str:
    line = ["git", "-C", os.fspath(folder), "-c", "user.name=n", "-c", "user.email=e@example.org", *words]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_head_and_says_whether_tracked_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert work_tree.commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert work_tree.commit(tmp_path) is None, "no commit yet"
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("1")
    assert work_tree.commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert work_tree.commit(tmp_path) == f"{head}-dirty"
    monkeypatch.chdir(tmp_path)
    assert work_tree.commit() == f"{head}-dirty"
    assert work_tree.commit(tmp_path / "missing") is None


def test_head_is_what_git_says_wherever_it_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, linked = tmp_path / "tree", tmp_path / "linked"
    tree.mkdir()
    assert work_tree.head(tree) is None
    git(tree, "init", "-q", "-b", "some/branch")
    assert work_tree.head(tree) is None, "no commit yet"
    (tree / "a").write_text("1")
    git(tree, "add", "a")
    git(tree, "commit", "-q", "-m", "one")
    one = git(tree, "rev-parse", "HEAD")
    assert work_tree.head(tree) == one
    git(tree, "pack-refs", "--all")
    assert work_tree.head(tree) == one
    git(tree, "worktree", "add", "-q", "-b", "other", str(linked))
    git(linked, "commit", "-q", "--allow-empty", "-m", "two")
    assert work_tree.head(linked) == git(linked, "rev-parse", "HEAD") != one
    git(tree, "checkout", "-q", "--detach")
    (tree / "deep" / "er").mkdir(parents=True)
    assert work_tree.head(tree / "deep" / "er") == one
    monkeypatch.chdir(tree / "deep")
    assert work_tree.head() == one
    (tree / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert work_tree.head() is None
    assert work_tree.head(tmp_path / "missing") is None


def test_a_git_that_answers_soon_is_heard_and_a_slow_one_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    later: list[str] = []
    arrived = threading.Event()

    def learn(commit: str) -> None:
        later.append(commit)
        arrived.set()

    monkeypatch.chdir(tree)
    assert work_tree.commit_soon(learn) is None, "outside of a work tree nobody is asked"
    git(tree, "init", "-q")
    git(tree, "commit", "-q", "--allow-empty", "-m", "one")
    one = git(tree, "rev-parse", "HEAD")
    assert work_tree.commit_soon(learn, patience=30.0) == one
    assert later == []
    slow = tmp_path / "git"
    slow.write_text(f'#!/bin/sh\nsleep 0.3\ncase "$*" in *rev-parse*) echo {one};; *) echo " M a";; esac\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    assert work_tree.commit_soon(learn) == f"{one}-unknown"
    assert time.monotonic() - began < 0.3
    assert arrived.wait(10.0)
    assert later == [f"{one}-dirty"]


def test_a_slow_git_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text('#!/bin/sh\ncase "$*" in *rev-parse*) echo abc;; *) exec sleep 30;; esac\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert work_tree.commit(tmp_path, timeout=0.3) == "abc-unknown"
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert work_tree.commit(tmp_path) is None
