"""Regimes: what is rendered is read back, and a broken contract is told apart from a wrong answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.tasks import TASKS, Problem, draw
from barograph.tasks.regimes import REGIMES, STOP_EMOJI, THINKING_EMOJI, Contract, Regime, read_answer, render
from barograph.tasks.scoring import normalize, score

PROBLEMS = [draw(task, level, seed="1", split="train") for task in TASKS for level in task.levels]
SOCRATES = Problem(
    id="syllo_0", task="syllo", level="easy", prompt="?", answer="Socrates is mortal", canonical="(socrates)"
)


@given(st.sampled_from(PROBLEMS), st.sampled_from(REGIMES), st.text(max_size=5))
def test_the_target_reads_back_as_the_answer_with_its_contract_kept(
    problem: Problem, regime: Regime, seed: str
) -> None:
    rendered = render(problem, regime, seed=seed)
    reading = read_answer(rendered.target, rendered)
    asked = True if regime == "emoji_think" else None
    assert reading.answer == problem.answer
    assert reading.contract == Contract(emoji_prefix=asked, stop_emoji=asked)
    result = score(rendered.target, golden=problem.answer, rendered=rendered, finished=True)
    assert (result.exact_match, result.normalized_match, result.failure_mode) == (True, True, None)


@given(st.sampled_from(PROBLEMS), st.sampled_from(REGIMES), st.text(max_size=5))
def test_the_same_seed_renders_the_same_text(problem: Problem, regime: Regime, seed: str) -> None:
    assert render(problem, regime, seed=seed) == render(problem, regime, seed=seed)


@given(st.text(), st.sampled_from(REGIMES), st.booleans())
def test_any_text_can_be_scored(text: str, regime: Regime, finished: bool) -> None:
    result = score(text, golden="yes", rendered=render(SOCRATES, regime, seed="0"), finished=finished)
    assert not result.exact_match or result.normalized_match
    assert (result.failure_mode is None) is result.normalized_match


def test_prefix_and_suffix_come_from_the_pools_in_the_agreed_numbers() -> None:
    for seed in range(200):
        rendered = render(SOCRATES, "emoji_think", seed=str(seed))
        assert rendered.prefix in {emoji * n for emoji in THINKING_EMOJI for n in range(2, 9)}
        assert rendered.suffix in {emoji * n for emoji in STOP_EMOJI for n in range(2, 5)}


def test_one_emoji_too_many_breaks_the_contract_but_not_the_answer() -> None:
    rendered = render(SOCRATES, "emoji_think", seed="3")
    text = f"{rendered.prefix}{rendered.prefix[0]}\nSocrates is mortal\n{rendered.suffix}"
    result = score(text, golden="Socrates is mortal", rendered=rendered, finished=True)
    assert result.contract == Contract(emoji_prefix=False, stop_emoji=True)
    assert result.exact_match


def test_a_missing_stop_emoji_is_seen() -> None:
    rendered = render(SOCRATES, "emoji_think", seed="3")
    reading = read_answer(f"{rendered.prefix}\nSocrates is mortal", rendered)
    assert reading.contract == Contract(emoji_prefix=True, stop_emoji=False)
    assert reading.answer == "Socrates is mortal"


@pytest.mark.parametrize(
    "text", ["Socrates is mortal", "<<ANS_START>> Socrates is mortal", "<<ANS_START>> <<ANS_END>>"]
)
def test_regime3_without_both_marks_and_content_is_a_format_error(text: str) -> None:
    result = score(text, golden="Socrates is mortal", rendered=render(SOCRATES, "regime3", seed="0"), finished=True)
    assert (result.exact_match, result.failure_mode) == (False, "format_error")


def test_an_answer_cut_off_by_the_limit_is_truncated_not_wrong() -> None:
    rendered = render(SOCRATES, "plain_sft", seed="0")
    cut = score("Socrates is", golden="Socrates is mortal", rendered=rendered, finished=False)
    wrong = score("Socrates is wise", golden="Socrates is mortal", rendered=rendered, finished=True)
    assert (cut.failure_mode, wrong.failure_mode) == ("truncated", "wrong_answer")


def test_case_spaces_and_final_punctuation_matter_only_for_the_exact_match() -> None:
    rendered = render(SOCRATES, "plain_sft", seed="0")
    result = score("socrates  IS mortal.", golden="Socrates is mortal", rendered=rendered, finished=True)
    assert (result.exact_match, result.normalized_match, result.failure_mode) == (False, True, None)


@given(st.text())
def test_normalisation_is_idempotent(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)
