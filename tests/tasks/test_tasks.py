"""The laws that every task keeps: seeded, proved, balanced, held-out problems never in training."""

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import BarographError, UsageError
from barograph.tasks import HELD_OUT_ONE_IN, TASKS, Problem, Split, Task, distinct, draw, split_of
from barograph.tasks.problem import problem

LEVELS = [(task, level) for task in TASKS for level in task.levels]
EVERY_LEVEL = pytest.mark.parametrize(("task", "level"), LEVELS, ids=[f"{task.name}_{level}" for task, level in LEVELS])


@EVERY_LEVEL
@settings(max_examples=20)
@given(seed=st.text(max_size=8), split=st.sampled_from(("train", "held_out")))
def test_the_same_seed_draws_the_same_problem(task: Task, level: str, seed: str, split: Split) -> None:
    assert draw(task, level, seed=seed, split=split) == draw(task, level, seed=seed, split=split)


@EVERY_LEVEL
@settings(max_examples=20)
@given(seed=st.text(max_size=8), split=st.sampled_from(("train", "held_out")))
def test_a_problem_is_drawn_only_on_its_own_side_of_the_fence(task: Task, level: str, seed: str, split: Split) -> None:
    assert split_of(draw(task, level, seed=seed, split=split).canonical) == split


def test_no_held_out_problem_of_any_level_is_drawn_for_training() -> None:
    def canonical_forms(split: Split, seeds: range) -> set[str]:
        return {draw(task, level, seed=str(s), split=split).canonical for task, level in LEVELS for s in seeds}

    assert not canonical_forms("held_out", range(100)) & canonical_forms("train", range(1000, 1400))


def test_one_problem_in_five_is_held_out() -> None:
    held = sum(split_of(f"(increment {number:016b})") == "held_out" for number in range(5000))
    assert abs(held / 5000 - 1 / HELD_OUT_ONE_IN) < 0.02


@EVERY_LEVEL
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_no_constant_answer_scores_above_the_stated_base_rate(task: Task, level: str, split: Split) -> None:
    answers = Counter(draw(task, level, seed=str(s), split=split).answer for s in range(800))
    noise = 0.05
    assert max(answers.values()) / 800 <= task.base_rates[level] + noise
    assert task.base_rates[level] < 0.4


@EVERY_LEVEL
def test_a_hundred_different_problems_can_be_held_out(task: Task, level: str) -> None:
    found = distinct(task, level, seed="probe", split="held_out", count=100)
    assert len({p.canonical for p in found}) == 100
    assert len({p.id for p in found}) == 100


@EVERY_LEVEL
@pytest.mark.parametrize("count", [5, 20, 100])
def test_a_set_of_any_size_keeps_to_the_base_rate(task: Task, level: str, count: int) -> None:
    found = distinct(task, level, seed="balance", split="held_out", count=count)
    most_common = Counter(p.answer for p in found).most_common(1)[0][1]
    assert most_common <= math.ceil(task.base_rates[level] * count)


def test_the_id_changes_with_any_part_of_the_content() -> None:
    parts = {"task": "t", "level": "1", "prompt": "p", "answer": "a", "canonical": "c"}
    ids = {problem(**{**parts, key: "other"}).id.split("_")[1] for key in parts}
    assert len(ids | {problem(**parts).id.split("_")[1]}) == len(parts) + 1


def test_an_unknown_level_is_refused_with_the_levels_that_exist() -> None:
    with pytest.raises(UsageError, match=r"task 'syllo' has no level '9'\. Its levels are easy, medium, hard, edge"):
        draw(TASKS[0], "9", seed="0", split="train")


def test_a_level_without_problems_on_one_side_is_called_broken() -> None:
    def always_the_same(level: str, random: Random) -> Problem:
        return problem(task="one", level=level, prompt="?", answer="!", canonical="(one)")

    one = Task(name="one", levels=("1",), draw=always_the_same, base_rates={"1": 1.0})
    other: Split = "train" if split_of("(one)") == "held_out" else "held_out"
    with pytest.raises(BarographError, match=f"no {other} problem"):
        draw(one, "1", seed="0", split=other)
    with pytest.raises(UsageError, match=f"gave 1 different {split_of('(one)')} problems, 2 were asked for"):
        distinct(one, "1", seed="0", split=split_of("(one)"), count=2)
