"""The verdict on the optimizer's second moments: uneven, dead and broken blocks are named, by name."""

import math

import pytest
from msgspec.structs import replace

from barograph.policy import GradientGhost, gradient_ghost, load
from barograph.policy.gradient_ghost import block_means
from barograph.records import OptimizerMoments


def save(
    means: dict[int, float], *, step: int = 200, bad: tuple[int, ...] = (), shuffled: bool = False
) -> OptimizerMoments:
    """Blocks of 10 weights each, whose second moments have these means."""
    order = sorted(means, reverse=shuffled)
    names = {
        block: f"model.layers.{block}.mlp.weight" if block >= 0 else "model.embed_tokens.weight" for block in order
    }
    return OptimizerMoments(
        step=step,
        time=1.0,
        optimizer="AdamW",
        sums={names[block]: 10.0 * means[block] for block in order},
        elements=dict.fromkeys(names.values(), 10),
        non_finite={names[block]: 1 for block in bad},
    )


def judged(*saves: OptimizerMoments, policy: str = "default") -> GradientGhost:
    return gradient_ghost(saves, policy=load(policy), now=0.0)


def word(*saves: OptimizerMoments, policy: str = "default") -> str:
    return judged(*saves, policy=policy).verdict.verdict


EVEN = dict.fromkeys(range(10), 1e-6)


def test_alike_blocks_pass() -> None:
    found = judged(save(EVEN))
    assert (found.verdict.verdict, found.findings) == ("PASS", [])
    assert found.verdict.numbers["median"] == pytest.approx(1e-6)


def test_one_calm_block_does_not_mark_the_others() -> None:
    for policy in ("default", "contract"):
        assert word(save({**EVEN, 3: 1e-9}), policy=policy) == "PASS"


def test_a_few_uneven_blocks_warn_and_many_fail() -> None:
    few, many = {**EVEN, 9: 1e-4}, {**EVEN, 6: 1e-4, 7: 1e-4, 8: 1e-4, 9: 1e-4}
    found = judged(save(few))
    assert found.verdict.verdict == "WARN"
    assert "1 of 10 blocks" in found.verdict.message
    assert "block 9 with 100 times" in found.verdict.message
    assert word(save(many)) == "FAIL"


def test_the_contract_is_stricter() -> None:
    uneven = {**EVEN, 9: 3e-6}
    assert (word(save(uneven)), word(save(uneven), policy="contract")) == ("PASS", "WARN")


def test_zeros_are_no_sign_of_convergence() -> None:
    assert word(save(dict.fromkeys(range(10), 0.0))) == "FAIL"
    found = judged(save({**EVEN, 4: 0.0}))
    assert (found.verdict.verdict, found.findings[0].layer) == ("WARN", 4)
    assert "no gradient ever reached" in found.verdict.message


def test_a_single_number_that_is_none_fails() -> None:
    found = judged(save(EVEN, bad=(2,)))
    assert (found.verdict.verdict, found.findings[0].layer) == ("FAIL", 2)
    assert word(save({**EVEN, 5: math.nan})) == "FAIL"


def test_a_save_before_step_50_is_too_early_to_judge_and_fails_under_the_contract() -> None:
    assert (word(save(EVEN, step=49)), word(save(EVEN, step=49), policy="contract")) == ("SKIP", "FAIL")
    assert (word(save(EVEN, step=50)), word(save(EVEN, step=50), policy="contract")) == ("PASS", "PASS")


def test_the_save_that_was_written_last_counts_whatever_an_older_attempt_reached() -> None:
    assert word(save({**EVEN, 9: 1.0}, step=300), save(EVEN, step=100)) == "PASS"
    assert word(save(EVEN, step=300), save(EVEN, step=100, bad=(1,))) == "FAIL"


def test_moments_of_a_few_parameters_speak_for_none_of_the_others() -> None:
    found = judged(replace(save(EVEN), without=30))
    assert found.verdict.verdict == "SKIP"
    assert "and not of 30" in found.verdict.message


def test_nothing_recorded_is_skipped() -> None:
    assert word() == "SKIP"
    assert "no save recorded" in judged().verdict.message
    empty = OptimizerMoments(step=100, time=1.0, optimizer="SGD", sums={}, elements={})
    assert (word(empty), judged(empty).verdict.message) == ("SKIP", "SGD keeps no second moments")


def test_blocks_go_by_name_and_not_by_order() -> None:
    means = {block: 1e-6 * (block + 2) for block in range(-1, 12)}
    assert block_means(save(means)) == block_means(save(means, shuffled=True)) == pytest.approx(means)
