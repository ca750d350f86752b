"""The probe set: frozen by its hash, held out, the same for the same seed."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import BarographError, UsageError
from barograph.evaluate.probe_set import STANDARD, Quota, content_hash, frozen, load, probe_set, save
from barograph.tasks import TASKS, draw, split_of
from barograph.tasks.scoring import score

FEW = (
    Quota(task="syllo", level="easy", regime="plain_sft", count=4),
    Quota(task="binary", level="1", regime="emoji_think", count=3),
    Quota(task="binary", level="1", regime="regime3", count=3),
)


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_hash_and_another_seed_another(seed: int) -> None:
    assert probe_set(FEW, seed=seed) == probe_set(FEW, seed=seed)
    assert probe_set(FEW, seed=seed).hash != probe_set(FEW, seed=seed + 1).hash


def test_the_standard_set_has_a_hundred_plain_probes_of_every_level() -> None:
    probes = probe_set(STANDARD, seed=0).probes
    for task in TASKS:
        for level in task.levels:
            plain = [p for p in probes if (p.task, p.level, p.rendered.regime) == (task.name, level, "plain_sft")]
            assert len({p.id for p in plain}) == 100
    assert {p.rendered.regime for p in probes} == {"plain_sft", "emoji_think", "regime3"}
    assert len({p.id for p in probes}) == len(probes)


def test_no_probe_can_be_drawn_for_training() -> None:
    probed = {p.id for p in probe_set(STANDARD, seed=0).probes}
    drawn = {
        draw(task, level, seed=str(seed), split="train")
        for task in TASKS
        for level in task.levels
        for seed in range(100)
    }
    assert not probed & {p.id for p in drawn}
    assert all(split_of(p.canonical) == "train" for p in drawn)


def test_the_target_of_every_probe_scores_full_marks() -> None:
    for probe in probe_set(STANDARD, seed=1).probes:
        result = score(probe.rendered.target, golden=probe.golden, rendered=probe.rendered, finished=True)
        assert result.exact_match


def test_a_set_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "probe_set.json"
    saved = probe_set(FEW, seed=0)
    save(saved, path)
    assert load(path) == saved
    assert [p.name for p in tmp_path.iterdir()] == ["probe_set.json"]


def test_a_changed_probe_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "probe_set.json"
    saved = probe_set(FEW, seed=0)
    path.write_bytes(msgspec.json.encode(saved).replace(b'"golden":"', b'"golden":"x', 1))
    with pytest.raises(BarographError, match=f"the file says {saved.hash[:16]}"):
        load(path)


def test_the_order_of_the_probes_counts() -> None:
    probes = probe_set(FEW, seed=0).probes
    assert content_hash(probes) != content_hash(reversed(probes))


def test_a_file_that_is_no_probe_set_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "probe_set.json"
    path.write_text("{}")
    with pytest.raises(BarographError, match=r"not a probe set.*probe_set\.json"):
        load(path)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no task 'chess'\. The tasks are syllo, binary"):
        probe_set([Quota(task="chess", level="1", regime="plain_sft", count=1)], seed=0)


def test_a_run_keeps_the_set_that_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "config" / "probe_set.json"
    first = frozen(path, seed=0)
    assert frozen(path, seed=1) == first
    assert load(path) == first
