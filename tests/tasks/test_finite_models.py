"""The solver against brute force over explicit models, and the laws of entailment."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import UsageError
from barograph.tasks.finite_models import (
    PREDICATES,
    Quantifier,
    Statement,
    canonical,
    decide,
    holds,
    largest_model,
    negation,
)

PREDICATE = st.sampled_from(("a", "b", "c"))
NAME = st.sampled_from(("x", "y"))
QUANTIFIED: tuple[Quantifier, ...] = ("all", "no", "some", "some_not")
QUANTIFIED_STATEMENT = st.builds(Statement, st.sampled_from(QUANTIFIED), PREDICATE, PREDICATE, st.booleans())
STATEMENT = st.one_of(QUANTIFIED_STATEMENT, st.builds(Statement, st.just("is"), NAME, PREDICATE, st.booleans()))
PREMISES = st.lists(STATEMENT, max_size=4)

Individuals = tuple[dict[str, bool], ...]


def true_of(statement: Statement, individuals: Individuals, bearer: dict[str, int]) -> bool:
    """First-order truth, written out over individuals: shares nothing with the solver."""
    has = [individual[statement.predicate] != statement.complement for individual in individuals]
    if statement.quantifier == "is":
        return has[bearer[statement.subject]]
    among = [h for h, individual in zip(has, individuals, strict=True) if individual[statement.subject]]
    return {"all": all(among), "no": not any(among), "some": any(among), "some_not": not all(among)}[
        statement.quantifier
    ]


def possible_truths(premises: list[Statement], question: Statement) -> set[bool]:
    """Truth values of the question over all models with 1 to 4 individuals, a, b, c in any pattern.

    Four suffice here: a model of at most one question and the existential statements needs one witness each, and
    every model of more individuals keeps its universal truths when the others are dropped.
    """
    names = sorted({s.subject for s in [*premises, question] if s.quantifier == "is"})
    kinds = [dict(zip("abc", bits, strict=True)) for bits in product((False, True), repeat=3)]
    found = set()
    existential = sum(s.quantifier in ("some", "some_not") for s in premises)
    for size in range(1, 1 + max(1, existential + len(names) + 1)):
        for individuals in product(kinds, repeat=size):
            for places in product(range(size), repeat=len(names)):
                bearer = dict(zip(names, places, strict=True))
                if all(true_of(p, individuals, bearer) for p in premises):
                    found.add(true_of(question, individuals, bearer))
            if len(found) == 2:
                return found
    return found


@given(st.lists(STATEMENT, max_size=2), STATEMENT)
def test_the_ruling_is_what_brute_force_over_individuals_finds(premises: list[Statement], asked: Statement) -> None:
    truths = possible_truths(premises, asked)
    if not truths:
        assert largest_model(premises) is None
        return
    expected = "cannot determine" if len(truths) == 2 else "yes" if True in truths else "no"
    assert decide(premises, asked).ruling == expected


@given(PREMISES, STATEMENT)
def test_the_models_of_a_decision_prove_it(premises: list[Statement], asked: Statement) -> None:
    if largest_model([*premises, asked]) is None and largest_model([*premises, negation(asked)]) is None:
        return
    decision = decide(premises, asked)
    for model, expected in ((decision.true_in, True), (decision.false_in, False)):
        if model is not None:
            assert model.inhabited
            assert all(holds(premise, model) for premise in premises)
            assert holds(asked, model) is expected
    assert (decision.ruling != "no") is (decision.true_in is not None)
    assert (decision.ruling != "yes") is (decision.false_in is not None)


@given(PREMISES, STATEMENT)
def test_the_negated_question_has_the_opposite_ruling(premises: list[Statement], asked: Statement) -> None:
    if largest_model(premises) is None:
        return
    opposite = {"yes": "no", "no": "yes", "cannot determine": "cannot determine"}
    assert decide(premises, negation(asked)).ruling == opposite[decide(premises, asked).ruling]


@given(STATEMENT)
def test_double_negation_gives_the_statement_back(statement: Statement) -> None:
    assert negation(negation(statement)) == statement


@given(STATEMENT, STATEMENT)
def test_statements_of_one_canonical_form_follow_from_each_other(one: Statement, other: Statement) -> None:
    if canonical(one) != canonical(other) or largest_model([one]) is None:
        return
    assert decide([one], other).ruling == "yes"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Statement("no", "a", "b"), Statement("no", "b", "a")),
        (Statement("no", "a", "b"), Statement("all", "a", "b", True)),
        (Statement("some", "b", "a"), Statement("some_not", "a", "b", True)),
    ],
)
def test_one_meaning_has_one_canonical_form(one: Statement, other: Statement) -> None:
    assert canonical(one) == canonical(other)


def test_socrates_is_mortal() -> None:
    premises = [Statement("all", "man", "mortal"), Statement("is", "Socrates", "man")]
    assert decide(premises, Statement("is", "Socrates", "mortal")).ruling == "yes"
    assert decide(premises, Statement("some", "mortal", "man")).ruling == "yes"
    assert decide(premises, Statement("is", "Plato", "mortal")).ruling == "cannot determine"


def test_all_does_not_imply_some_because_there_may_be_none() -> None:
    assert decide([Statement("all", "a", "b")], Statement("some", "a", "b")).ruling == "cannot determine"
    assert decide([Statement("all", "a", "b"), Statement("no", "a", "b")], Statement("some", "a", "a")).ruling == "no"


def test_a_contradiction_is_refused_and_names_the_premises() -> None:
    premises = [Statement("all", "a", "b"), Statement("some_not", "a", "b")]
    with pytest.raises(UsageError, match=r"contradict each other: \(all a b\) \(some a \(not b\)\)"):
        decide(premises, Statement("some", "a", "b"))


def test_too_many_predicates_are_refused() -> None:
    chain = [Statement("all", f"p{i}", f"p{i + 1}") for i in range(PREDICATES)]
    with pytest.raises(UsageError, match=r"11 predicates have 2\^11 regions"):
        largest_model(chain)
