"""SYLLO: what the words say is what the solver proved, checked by a reader that shares nothing with the generator."""

import re
from random import Random

import pytest

from barograph.tasks.finite_models import Statement, decide
from barograph.tasks.problem import draw
from barograph.tasks.syllogism import QUANTIFIERS, SYLLO
from barograph.tasks.vocabulary import NAMES, WORDS
from barograph.tasks.wording import plain, turned

FORMS = (
    (r"It is not true that (.+)", "not"),
    (r"There is no (.+) that is (.+)", "no"),
    (r"At least one (.+) is not (.+)", "some_not"),
    (r"At least one (.+) is (.+)", "some"),
    (r"Every (.+) is (.+)", "all"),
    (r"Only (.+) are (.+)", "only"),
    (r"Not all (.+) are (.+)", "not all"),
    (r"All (.+) are (.+)", "all"),
    (r"No (.+) are (.+)", "no"),
    (r"Some (.+) are not (.+)", "some_not"),
    (r"Some (.+) are (.+)", "some"),
    (r"(\S+) is not (.+)", "is not"),
    (r"(\S+) is (.+)", "is"),
)
FORM_OF_WORD = {form: word.singular for word in WORDS for form in (word.singular, word.plural)}
OPPOSITE = {"all": "some_not", "some_not": "all", "no": "some", "some": "no"}


def term(words: str) -> tuple[str, bool]:
    """Predicate and whether it is negated, from `a man`, `non-men`, `mortal things`."""
    bare = re.sub(r"^(an? |non-)|\s+things?$", "", words)
    return FORM_OF_WORD[bare], words.startswith("non-")


def understood(sentence: str) -> Statement:
    """The statement that an English sentence makes."""
    for pattern, kind in FORMS:
        match = re.fullmatch(pattern, sentence)
        if match is None:
            continue
        if kind == "not":
            inner = match[1][0].upper() + match[1][1:]
            return negated(understood(inner))
        predicate, complement = term(match[2])
        if kind in ("is", "is not"):
            return Statement("is", match[1], predicate, complement != (kind == "is not"))
        if kind == "only":
            return Statement("all", predicate, term(match[1])[0])
        if kind == "not all":
            return Statement("some_not", term(match[1])[0], predicate, complement)
        return Statement(kind, term(match[1])[0], predicate, complement)  # type: ignore[arg-type]  # from FORMS
    raise AssertionError(f"not understood: {sentence}")


def negated(statement: Statement) -> Statement:
    if statement.quantifier == "is":
        return Statement("is", statement.subject, statement.predicate, not statement.complement)
    return Statement(OPPOSITE[statement.quantifier], *statement_tail(statement))  # type: ignore[arg-type]  # from the table


def statement_tail(statement: Statement) -> tuple[str, str, bool]:
    return statement.subject, statement.predicate, statement.complement


def question(asked: str) -> Statement:
    """The statement that a yes-no question asks about."""
    if match := re.fullmatch(r"Is it true that (.+)\?", asked):
        return understood(match[1][0].upper() + match[1][1:])
    match = re.fullmatch(r"Is (\S+) (.+)\?", asked)
    assert match, asked
    return understood(f"{match[1]} is {match[2]}")


@pytest.mark.parametrize("level", SYLLO.levels)
def test_the_words_of_every_problem_prove_its_answer(level: str) -> None:
    for seed in range(150):
        problem = draw(SYLLO, level, seed=str(seed), split="train")
        *given, asked = re.split(r"(?<=\.) ", problem.prompt)
        premises = [understood(sentence.rstrip(".")) for sentence in given]
        if asked.startswith("What follows about"):
            assert the_conclusion(premises, asked) == problem.answer, problem.prompt
        else:
            assert decide(premises, question(asked)).ruling == problem.answer, problem.prompt


def the_conclusion(premises: list[Statement], asked: str) -> str:
    """The one new statement about the name that follows, among all predicates of the premises."""
    name = asked.removeprefix("What follows about ").rstrip("?")
    predicates = {p.predicate for p in premises} | {p.subject for p in premises if p.quantifier != "is"}
    candidates = [Statement("is", name, predicate, no) for predicate in sorted(predicates) for no in (False, True)]
    follow = [c for c in candidates if c not in premises and decide(premises, c).ruling == "yes"]
    assert len(follow) <= 1, "a question with two right answers"
    return plain(follow[0]) if follow else "nothing follows"


def test_every_turn_of_phrase_means_the_plain_sentence() -> None:
    random = Random(0)
    for statement in every_statement():
        for _ in range(12):
            said = turned(statement, random)
            meant = understood(said[0].upper() + said[1:])
            assert decide([meant], statement).ruling == "yes", said
            assert decide([statement], meant).ruling == "yes", said


def every_statement() -> list[Statement]:
    pairs = [("man", "owl"), ("man", "mortal"), ("wise", "fox")]
    about_kinds = [Statement(q, s, p, no) for q in QUANTIFIERS for s, p in pairs for no in (False, True)]
    return [*about_kinds, *(Statement("is", "Zeno", p, no) for p in ("ant", "tall") for no in (False, True))]


def test_names_and_words_are_distinct() -> None:
    forms = [form for word in WORDS for form in {word.singular, word.plural}]
    assert len(set(forms)) == len(forms)
    assert len(set(NAMES)) == len(NAMES)


def test_the_edge_level_has_negation_double_negation_and_quantifiers() -> None:
    prompts = " ".join(draw(SYLLO, "edge", seed=str(seed), split="train").prompt for seed in range(300))
    for turn in ("It is not true that", "non-", "Only", "Not all", "At least one", "Every", "There is no"):
        assert turn in prompts
    assert re.search(r"It is not true that \S+ is not ", prompts)
