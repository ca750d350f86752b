"""The rules of the folds hold the numbers of the policy's tables, each under its own name."""

import pytest
from msgspec import Struct
from msgspec.structs import asdict, replace

from barograph.policy import Policy, load, rules

POLICIES = [load("default"), load("contract")]


def same(rule: Struct, table: Struct, *, but: set[str]) -> None:
    """Every field of the rule is the table's of that name, `but` some."""
    said, held = asdict(table), asdict(rule)
    assert set(held) - set(said) == but
    assert {name: held[name] for name in held if name not in but} == {name: said[name] for name in held if name in said}


@pytest.mark.parametrize("policy", POLICIES, ids=["default", "contract"])
def test_every_number_of_a_rule_is_that_of_its_table(policy: Policy) -> None:
    same(rules.streaming(policy), policy.streaming, but={"trend"})
    trend = rules.streaming(policy).trend
    table = asdict(policy.streaming)
    assert {f"trend_{name}": value for name, value in asdict(trend).items()} == {
        f"trend_{name}": table[f"trend_{name}"] for name in asdict(trend)
    }
    same(rules.plateau(policy), policy.alerts.plateau, but={"warm_up_steps"})
    same(rules.divergence(policy), policy.alerts.loss_diverged, but=set())
    same(rules.layer_activity(policy), policy.layer_activity, but=set())
    same(rules.throughput(policy), policy.throughput, but={"warm_up_steps", "judged_steps"})
    assert rules.throughput(policy).judged_steps == policy.alerts.throughput_degraded.steps
    for rule in (rules.plateau(policy), rules.throughput(policy)):
        assert rule.warm_up_steps == policy.streaming.warm_up_steps


def test_the_history_of_norms_ignores_the_warm_up_and_keeps_what_its_own_table_says() -> None:
    policy = replace(POLICIES[0], streaming=replace(POLICIES[0].streaming, warm_up_steps=2))
    table = replace(policy.alerts.exploding_gradients, history=3, min_history=2)
    fold = rules.norm_history(policy, table)
    for norm in (100.0, 100.0, 1.0):
        fold.update(norm)
    young = fold.usual
    assert young is None, "two are warming up, and one is too few"
    for norm in (1.0, 1.0, 5.0, 5.0):
        fold.update(norm)
    usual = fold.usual
    assert usual is not None
    assert usual.median == pytest.approx(5.0, rel=1e-12)
