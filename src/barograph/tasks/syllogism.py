"""SYLLO: syllogisms in words, each answer proved by finite models.

Levels: `easy` is one rule and one fact about a name, asked either as a yes-no question or as "What follows?";
`medium` two quantified premises; `hard` a chain of three rules and a fact, shuffled; `edge` medium and easy shapes
worded with negations, double negations and other quantifiers.

The answer is drawn first, each equally likely, and shapes are drawn until the solver gives that answer: otherwise
"cannot determine" would be right nine times in ten. `easy` has six answers by kind, so a constant answer scores 1 in
6; the other levels have three, 1 in 3. "Some" and "all" are read in the modern way (`finite_models.py`).
"""

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Annotated

from msgspec import Meta, Struct

from barograph.tasks.finite_models import Quantifier, Ruling, Statement, canonical, decide, largest_model
from barograph.tasks.problem import Problem, Task, problem
from barograph.tasks.vocabulary import NAMES, WORDS
from barograph.tasks.wording import plain, sentence, turned

QUANTIFIERS: tuple[Quantifier, ...] = ("all", "no", "some", "some_not")
RULES: tuple[Quantifier, ...] = ("all", "all", "no")
"""Quantifiers of the rules in a chain; "all" twice, or hardly any chain would reach its end."""

RULINGS: tuple[Ruling, ...] = ("yes", "no", "cannot determine")
NOTHING_FOLLOWS = "nothing follows"


class Shape(Struct, frozen=True, kw_only=True):
    """The logic of a syllogism before it is put into words."""

    premises: Annotated[tuple[Statement, ...], Meta(description="What is given, in the order in which it is said.")]
    question: Annotated[Statement, Meta(description="What is asked; its negation may be what follows.")]


def draw_syllogism(level: str, random: Random) -> Problem:
    """One problem of the level."""
    wanted = random.choice(RULINGS)
    open_question = level == "easy" and random.random() < 0.5
    shape = SHAPES[level](random)
    while ruling(shape) != wanted:
        shape = SHAPES[level](random)
    worded = [turned(premise, random) if level == "edge" else plain(premise) for premise in shape.premises]
    given = " ".join(map(sentence, worded))
    asked = f"What follows about {shape.question.subject}?" if open_question else _asked(shape.question)
    premises = " ".join(sorted(map(canonical, shape.premises)))
    return problem(
        task="syllo",
        level=level,
        prompt=f"{given} {asked}",
        answer=_conclusion(shape.question, wanted) if open_question else wanted,
        canonical=f"({'conclude' if open_question else 'decide'} ({premises}) {canonical(shape.question)})",
    )


def ruling(shape: Shape) -> Ruling | None:
    """What the solver says; None when the premises contradict each other and the shape must not be used."""
    return decide(shape.premises, shape.question).ruling if largest_model(shape.premises) else None


def easy(random: Random) -> Shape:
    """One rule, then one fact about a name; asked is the name's other predicate."""
    kind, other = _two_kinds(random)
    name = random.choice(NAMES)
    known, unknown = random.sample((kind, other), 2)
    rule = Statement(random.choice(("all", "no")), kind, other)
    fact = Statement("is", name, known, random.random() < 0.5)
    return Shape(premises=(rule, fact), question=Statement("is", name, unknown))


def medium(random: Random) -> Shape:
    """Two quantified premises with one term in common; asked is how the other two stand to each other."""
    first, middle, last = _terms(random, 3)
    premises = (_pair(QUANTIFIERS, first, middle, random), _pair(QUANTIFIERS, middle, last, random))
    return Shape(
        premises=_shuffled(premises, random),
        question=_pair(QUANTIFIERS, first, last, random),
    )


def hard(random: Random) -> Shape:
    """A chain of three rules over four terms and a fact about a name; asked is another predicate of the name."""
    terms = _terms(random, 4)
    name = random.choice(NAMES)
    known, unknown = random.sample(terms, 2)
    rules = (_pair(RULES, a, b, random) for a, b in pairwise(terms))
    fact = Statement("is", name, known, random.random() < 0.3)
    return Shape(premises=_shuffled((*rules, fact), random), question=Statement("is", name, unknown))


def edge(random: Random) -> Shape:
    """An easy or a medium shape, some of its statements about complements; wording adds the negations."""
    shape = random.choice((easy, medium))(random)
    asked = shape.question
    if asked.quantifier == "is" and random.random() < 0.5:
        asked = Statement("is", asked.subject, asked.predicate, True)
    return Shape(premises=_shuffled(shape.premises, random), question=asked)


SHAPES: dict[str, Callable[[Random], Shape]] = {"easy": easy, "medium": medium, "hard": hard, "edge": edge}
"""Level -> how its shapes are drawn."""


def _asked(question: Statement) -> str:
    """As a question: "Is Socrates mortal?", "Is it true that all men are mortal?"."""
    if question.quantifier != "is" or question.complement:
        return f"Is it true that {plain(question)}?"
    return f"Is {plain(question).replace(' is ', ' ', 1)}?"


def _conclusion(question: Statement, wanted: Ruling) -> str:
    """What follows about the name, as a clause."""
    if wanted == "cannot determine":
        return NOTHING_FOLLOWS
    return plain(Statement("is", question.subject, question.predicate, wanted == "no"))


def _pair(quantifiers: tuple[Quantifier, ...], one: str, other: str, random: Random) -> Statement:
    """A statement about two terms, either of which may be its subject."""
    subject, predicate = random.sample((one, other), 2)
    return Statement(random.choice(quantifiers), subject, predicate)


def _two_kinds(random: Random) -> tuple[str, str]:
    kind, other = _terms(random, 2)
    return kind, other


def _terms(random: Random, count: int) -> list[str]:
    return [word.singular for word in random.sample(WORDS, count)]


def _shuffled(premises: tuple[Statement, ...], random: Random) -> tuple[Statement, ...]:
    return tuple(random.sample(premises, len(premises)))


SYLLO = Task(
    name="syllo",
    levels=tuple(SHAPES),
    draw=draw_syllogism,
    base_rates={"easy": 0.2, "medium": 0.37, "hard": 0.37, "edge": 0.37},
)
"""Syllogisms: easy, medium, hard, edge."""
