"""Statements of syllogisms in English: one plain sentence each, and the turns of phrase of the `edge` level."""

from random import Random

from barograph.tasks.finite_models import Quantifier, Statement
from barograph.tasks.vocabulary import WORD_OF

PLAIN: dict[Quantifier, str] = {
    "all": "all {subjects} are {predicates}",
    "no": "no {subjects} are {predicates}",
    "some": "some {subjects} are {predicates}",
    "some_not": "some {subjects} are not {predicates}",
}

TURNED: dict[Quantifier, tuple[str, ...]] = {
    "all": (
        "every {subject} is {predicate}",
        "no {subjects} are non-{predicates}",
        "it is not true that some {subjects} are not {predicates}",
    ),
    "no": (
        "there is no {subject} that is {predicate}",
        "all {subjects} are non-{predicates}",
        "it is not true that some {subjects} are {predicates}",
    ),
    "some": (
        "at least one {subject} is {predicate}",
        "not all {subjects} are non-{predicates}",
        "it is not true that no {subjects} are {predicates}",
    ),
    "some_not": (
        "at least one {subject} is not {predicate}",
        "not all {subjects} are {predicates}",
        "it is not true that all {subjects} are {predicates}",
    ),
}
"""Negations, double negations and other quantifiers that mean the same as the plain sentence."""

ONLY = "only {predicates} are {subjects}"
"""A turn of "all" for two kinds; with a property it would read "only mortal are men"."""


def plain(statement: Statement) -> str:
    """The statement in the plainest words, without capital and full stop."""
    if statement.quantifier == "is":
        return _of_a_name(statement)
    return _filled(PLAIN[_without_complement(statement)], statement)


def turned(statement: Statement, random: Random) -> str:
    """The statement in one of the turns of phrase of the `edge` level."""
    if statement.quantifier == "is":
        opposite = Statement("is", statement.subject, statement.predicate, not statement.complement)
        return random.choice((_of_a_name(statement), f"it is not true that {_of_a_name(opposite)}"))
    quantifier = _without_complement(statement)
    kinds = not (WORD_OF[statement.subject].is_property or WORD_OF[statement.predicate].is_property)
    templates = (*TURNED[quantifier], ONLY) if quantifier == "all" and kinds else TURNED[quantifier]
    return _filled(random.choice(templates), statement)


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


def _of_a_name(statement: Statement) -> str:
    said = WORD_OF[statement.predicate].said_of_one
    return f"{statement.subject} is {'not ' if statement.complement else ''}{said}"


def _without_complement(statement: Statement) -> Quantifier:
    """The quantifier that says the same of the predicate itself: `all A non-B` is `no A B`."""
    swapped: dict[Quantifier, Quantifier] = {"all": "no", "no": "all", "some": "some_not", "some_not": "some"}
    return swapped[statement.quantifier] if statement.complement else statement.quantifier


def _filled(template: str, statement: Statement) -> str:
    subject, predicate = WORD_OF[statement.subject], WORD_OF[statement.predicate]
    only = template == ONLY
    return template.format(
        subject=subject.as_single_subject,
        subjects=subject.plural if only else subject.as_subject,
        predicate=predicate.said_of_one,
        predicates=predicate.plural,
    )
