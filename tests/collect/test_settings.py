"""Arguments win over the environment, the environment over defaults; and what cannot be is refused with advice."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.collect.launch import Launch
from barograph.collect.settings import resolve, slug
from barograph.errors import RunConflict, UsageError
from barograph.journal import layout

RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
ALONE = Launch(rank=0, world_size=1, one_host=True, identified=True, id="a", run_key="0123456789abcdef", begun=0.0)
SECOND = Launch(rank=1, world_size=2, one_host=True, identified=True, id="b", run_key="0123456789abcdef", begun=0.0)
FAR = Launch(rank=1, world_size=2, one_host=False, identified=False, id="c", run_key="0123456789abcdef", begun=0.0)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PROJECT", "NAME", "RUN_ID", "GROUP", "RESUME", "MODE"):
        monkeypatch.delenv(f"BAROGRAPH_{name}", raising=False)
    monkeypatch.setenv("BAROGRAPH_DIR", str(tmp_path / "from-environment"))


def existing(root: Path, run_id: str) -> None:
    (root / run_id / "logs").mkdir(parents=True)
    (root / run_id / "logs" / "train-000001-20260101T000000.jsonl").touch()


def test_defaults_make_a_new_run_that_is_written() -> None:
    settings = resolve(launch=ALONE)
    assert settings.enabled
    assert (settings.project, settings.name, settings.group) == (None, None, None)
    assert re.fullmatch(r"run-\d{8}-\d{6}-[0-9a-f]{4}", settings.run_id)
    assert settings.root == layout.default_root()


def test_the_environment_answers_what_no_argument_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"PROJECT": "p", "NAME": "n", "GROUP": "g", "RUN_ID": "r", "MODE": "disabled"}.items():
        monkeypatch.setenv(f"BAROGRAPH_{name}", value)
    settings = resolve(launch=ALONE)
    assert (settings.project, settings.name, settings.group, settings.run_id) == ("p", "n", "g", "r")
    assert not settings.enabled
    assert settings.root == tmp_path / "from-environment"
    given = resolve(
        launch=ALONE, project="P", name="N", group="G", run_id="R", mode="offline", directory=tmp_path / "argument"
    )
    assert (given.project, given.name, given.group, given.run_id) == ("P", "N", "G", "R")
    assert given.enabled
    assert given.root == tmp_path / "argument"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT", "NAME", "GROUP", "RUN_ID", "MODE", "RESUME"):
        monkeypatch.setenv(f"BAROGRAPH_{name}", "")
    settings = resolve(launch=ALONE)
    assert (settings.project, settings.name, settings.group) == (None, None, None)
    assert settings.enabled


@pytest.mark.parametrize(
    ("variable", "arguments", "said"),
    [
        ({}, {"mode": "of"}, "mode='of' is not known. Use one of online, offline, disabled"),
        ({}, {"resume": "auto"}, "resume='auto' is not known. Use one of never, allow, must"),
        ({"BAROGRAPH_MODE": "dryrun"}, {}, "mode='dryrun' is not known"),
        ({"BAROGRAPH_RESUME": "yes"}, {}, "resume='yes' is not known"),
    ],
)
def test_an_unknown_word_is_refused_with_the_words_that_are_known(
    variable: dict[str, str], arguments: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=re.escape(said)):
        resolve(launch=ALONE, **arguments)


@pytest.mark.parametrize(
    "run_id", ["..", ".", "../x", "a/b", "/etc", ".hidden", "-rf", "a b", "a\n", "ä", "a\0b", "x" * 129, "logs"]
)
def test_a_run_id_that_cannot_name_a_folder_is_refused(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a folder") as refused:
        resolve(launch=ALONE, run_id=run_id, directory=tmp_path)
    assert repr(run_id) in str(refused.value)


@settings(deadline=None)
@given(st.text())
def test_a_slug_is_a_run_id_and_its_own_slug(text: str) -> None:
    word = slug(text)
    assert RUN_ID.fullmatch(word)
    assert word != layout.LOGS
    assert slug(word) == word


@settings(deadline=None)
@given(st.from_regex(RUN_ID, fullmatch=True).filter(lambda word: len(word) <= 100 and word[-1] not in "-."))
def test_what_is_a_run_id_already_is_kept(word: str) -> None:
    assert slug(word) == (f"run-{word}" if word == layout.LOGS else word)


@pytest.mark.parametrize(
    ("resume", "run_id", "refused"),
    [
        (None, None, None),
        (None, "old", "resume='never', but the run 'old' exists"),
        (None, "new", None),
        ("never", "old", "resume='never', but the run 'old' exists"),
        ("never", "new", None),
        ("never", None, None),
        ("allow", "old", None),
        ("allow", "new", None),
        ("allow", None, None),
        ("must", "old", None),
        ("must", "new", "resume='must', but there is no run 'new'"),
        ("must", None, "resume='must' does not say which run"),
    ],
)
def test_resume_says_whether_a_run_must_may_or_must_not_exist(
    resume: str | None, run_id: str | None, refused: str | None, tmp_path: Path
) -> None:
    existing(tmp_path, "old")
    if refused is None:
        settings = resolve(launch=ALONE, run_id=run_id, resume=resume, directory=tmp_path)
        assert run_id in {None, settings.run_id}
        return
    with pytest.raises(RunConflict, match=re.escape(refused)) as conflict:
        resolve(launch=ALONE, run_id=run_id, resume=resume, directory=tmp_path)
    assert conflict.value.advice
    resolve(launch=ALONE, run_id=run_id, resume=resume, directory=tmp_path, mode="disabled")


def test_only_rank_0_is_held_to_resume_because_the_others_come_after_it(tmp_path: Path) -> None:
    existing(tmp_path, "old")
    assert resolve(launch=SECOND, run_id="old", resume="never", directory=tmp_path).run_id == "old"


def test_a_folder_without_a_journal_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "begun" / "logs").mkdir(parents=True)
    (tmp_path / "begun" / "logs" / ".attempt-000001").touch()
    assert resolve(launch=ALONE, run_id="begun", resume="never", directory=tmp_path).run_id == "begun"


def test_ranks_of_an_identified_launch_work_out_the_same_id(tmp_path: Path) -> None:
    assert resolve(launch=SECOND, project="SFT run", directory=tmp_path).run_id == "SFT-run-0123456789"
    assert resolve(launch=SECOND, directory=tmp_path).run_id == "run-0123456789"
    assert resolve(launch=FAR, run_id="given", directory=tmp_path).run_id == "given"


def test_where_the_hosts_cannot_agree_rank_0_records_and_the_others_say_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = resolve(launch=msgspec.structs.replace(FAR, rank=0), project="p", directory=tmp_path)
    assert first.enabled
    assert re.fullmatch(r"p-\d{8}-\d{6}-[0-9a-f]{4}", first.run_id)
    assert caplog.messages == []
    assert not resolve(launch=FAR, directory=tmp_path).enabled
    assert "rank 1 of 2 cannot know" in caplog.text
    assert "Set BAROGRAPH_RUN_ID to the same new id" in caplog.text
    assert resolve(launch=FAR, run_id="given", directory=tmp_path).enabled


def test_a_run_folder_that_is_a_link_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "real")
    assert resolve(launch=ALONE, run_id="mine", directory=tmp_path).enabled
    (message,) = caplog.messages
    assert str(tmp_path / "mine") in message
    assert "is a link; barograph serve does not follow links" in message


def test_the_folder_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve(launch=ALONE, directory="~/runs").root == tmp_path / "runs"
