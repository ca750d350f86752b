"""Where a model lies on this machine: a folder, or the hub's cache; never somewhere else."""

from pathlib import Path

import pytest

from barograph.weights import local_model
from barograph.weights.local_model import hub_cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def repository(cache: Path, name: str, revision: str = "abc123") -> Path:
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    (place / "snapshots" / "abc123").mkdir(parents=True)
    return place / "snapshots" / "abc123"


def test_a_name_of_the_hub_is_its_newest_snapshot_in_the_cache(cache: Path) -> None:
    assert local_model("Qwen/Qwen3-0.6B") is None
    folder = repository(cache, "Qwen/Qwen3-0.6B")
    assert local_model("Qwen/Qwen3-0.6B") == folder
    assert local_model("gpt2") is None
    repository(cache, "gpt2")
    assert local_model("gpt2") is not None


def test_an_absolute_folder_is_itself_and_a_relative_one_is_not_followed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert local_model(str(tmp_path / "model")) == tmp_path / "model"
    assert local_model(str(tmp_path / "nothing")) is None
    assert local_model("model") is None
    assert local_model("./model") is None


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../b", "a/b/c", "a b", "a\0b", "a\nb", "--x/y", "/", "\ud800"])
def test_what_is_no_name_finds_nothing(name: str, cache: Path) -> None:
    cache.mkdir()
    found = local_model(name)
    assert found is None or found == Path("/")


def test_a_revision_that_leads_elsewhere_is_not_followed(cache: Path) -> None:
    for number, revision in enumerate(("../../..", "a/../../..", "", "x\ny", "é")):
        repository(cache, f"evil{number}", revision)
        assert local_model(f"evil{number}") is None


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hub_cache() == tmp_path / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert hub_cache() == tmp_path / "x" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "y"))
    assert hub_cache() == tmp_path / "y" / "hub"
