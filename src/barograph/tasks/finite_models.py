"""The solver of syllogisms: what follows from statements about unary predicates, proved by finite models.

For the predicates P1..Pn there are 2^n regions of the Venn diagram, numbered by the bits of which predicates hold.
Statements of this fragment cannot count and have no relations, so a model matters only through the set of inhabited
regions and the region of each name (Boolos, Burgess and Jeffrey, Computability and Logic, ch. 21: monadic logic has
the finite model property, with at most 2^n individuals). Sets of regions are bit masks held in an `int`.

A universal statement says that some regions are empty, an existential one that some mask is inhabited, a statement
about a name where that name lies. If any model satisfies a list of such statements, then so does the one that
inhabits every region which the universal statements leave open: more individuals cannot break an existential
statement. So one model per list decides it, exactly.

Existential import is the modern one: "All A are B" and "No A are B" are true when there is no A. Hence "All A are B"
does not entail "Some A are B", and "All A are B" with "No A are B" is no contradiction; it says that there is no A.
The domain itself is never empty.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.errors import UsageError

Quantifier = Literal["all", "no", "some", "some_not", "is"]
Ruling = Literal["yes", "no", "cannot determine"]

PREDICATES = 10
"""More predicates than this (1,024 regions) are refused: no question that people can read needs them."""


class Statement(Struct, frozen=True, order=True):
    """One statement: a quantifier with two predicates, or `is` with a name and a predicate."""

    quantifier: Annotated[Quantifier, Meta(description="`is` speaks of a name, the others of a predicate.")]
    subject: Annotated[str, Meta(description="Name for `is`, otherwise predicate.")]
    predicate: Annotated[str, Meta(description="Predicate.")]
    complement: Annotated[bool, Meta(description="Whether the predicate is negated: `is not`, `non-`.")] = False


class Model(Struct, frozen=True, kw_only=True):
    """A finite model: which regions are inhabited and where the names are."""

    predicates: Annotated[tuple[str, ...], Meta(description="Bit i of a region says that predicate i holds.")]
    inhabited: Annotated[frozenset[int], Meta(description="Numbers of the regions that have an individual.")]
    names: Annotated[dict[str, int], Meta(description="Name -> the region of its bearer.")]


class Decision(Struct, frozen=True, kw_only=True):
    """What the premises say about a question, with the models that prove it."""

    ruling: Annotated[Ruling, Meta(description="`yes` in all models, `no` in none, else `cannot determine`.")]
    true_in: Annotated[Model | None, Meta(description="A model of premises and question; null for `no`.")]
    false_in: Annotated[Model | None, Meta(description="A model of the premises without it; null for `yes`.")]


def negation(statement: Statement) -> Statement:
    """The statement that is true exactly when this one is not."""
    if statement.quantifier == "is":
        return Statement("is", statement.subject, statement.predicate, not statement.complement)
    opposite: dict[Quantifier, Quantifier] = {"all": "some_not", "some_not": "all", "no": "some", "some": "no"}
    return Statement(opposite[statement.quantifier], statement.subject, statement.predicate, statement.complement)


def canonical(statement: Statement) -> str:
    """An S-expression that is the same for statements which differ only in wording.

    `no A B` becomes `all A (not B)`, `some_not A B` becomes `some A (not B)`; where subject and predicate may change
    places (some A are B, no A are B) they stand in alphabetical order.
    """
    quantifier, subject, predicate, outside = (
        statement.quantifier,
        statement.subject,
        statement.predicate,
        statement.complement,
    )
    if quantifier in ("no", "some_not"):
        quantifier = "all" if quantifier == "no" else "some"
        outside = not outside
    if (quantifier == "all" and outside) or (quantifier == "some" and not outside):
        subject, predicate = sorted((subject, predicate))
    return f"({quantifier} {subject} {f'(not {predicate})' if outside else predicate})"


def holds(statement: Statement, model: Model) -> bool:
    """Whether the statement is true in the model."""
    inside = {
        region
        for region in range(2 ** len(model.predicates))
        if _has(region, statement.predicate, model.predicates) != statement.complement
    }
    if statement.quantifier == "is":
        return model.names[statement.subject] in inside
    subjects = {r for r in model.inhabited if _has(r, statement.subject, model.predicates)}
    if statement.quantifier == "all":
        return subjects <= inside
    if statement.quantifier == "no":
        return not subjects & inside
    return bool(subjects & inside) if statement.quantifier == "some" else bool(subjects - inside)


def largest_model(statements: Sequence[Statement]) -> Model | None:
    """The model that inhabits every region the statements leave open, or None when they contradict each other.

    Raises `UsageError` for more than `PREDICATES` predicates.
    """
    predicates = _predicates(statements)
    extent = _extents(predicates)
    everything = (1 << 2 ** len(predicates)) - 1
    open_regions, witnesses, places = everything, [], dict[str, int]()
    for statement in statements:
        inside = extent[statement.predicate] ^ (everything if statement.complement else 0)
        if statement.quantifier == "is":
            places[statement.subject] = places.get(statement.subject, everything) & inside
        elif statement.quantifier == "all":
            open_regions &= ~(extent[statement.subject] & ~inside)
        elif statement.quantifier == "no":
            open_regions &= ~(extent[statement.subject] & inside)
        else:
            wanted = inside if statement.quantifier == "some" else ~inside
            witnesses.append(extent[statement.subject] & wanted)
    needed = [open_regions, *(open_regions & w for w in witnesses), *(open_regions & p for p in places.values())]
    if not all(needed):
        return None
    return Model(
        predicates=predicates,
        inhabited=frozenset(region for region in range(2 ** len(predicates)) if open_regions >> region & 1),
        names={name: _lowest(open_regions & place) for name, place in places.items()},
    )


def decide(premises: Sequence[Statement], question: Statement) -> Decision:
    """Whether the question is true in all models of the premises, in none, or in some only.

    Raises `UsageError` when the premises contradict each other: then everything would follow.
    """
    true_in = largest_model([*premises, question])
    false_in = largest_model([*premises, negation(question)])
    if true_in is None and false_in is None:
        raise UsageError(
            f"the premises contradict each other: {' '.join(map(canonical, premises))}",
            advice="Take one of them back: everything follows from a contradiction",
        )
    ruling: Ruling = "cannot determine" if true_in and false_in else "yes" if true_in else "no"
    return Decision(ruling=ruling, true_in=true_in, false_in=false_in)


def _predicates(statements: Sequence[Statement]) -> tuple[str, ...]:
    found = {s.predicate for s in statements} | {s.subject for s in statements if s.quantifier != "is"}
    if len(found) > PREDICATES:
        raise UsageError(
            f"{len(found)} predicates have 2^{len(found)} regions, too many to enumerate",
            advice=f"Use at most {PREDICATES}",
        )
    return tuple(sorted(found))


def _extents(predicates: tuple[str, ...]) -> dict[str, int]:
    """Predicate -> mask of the regions in which it holds."""
    return {
        predicate: sum(1 << region for region in range(2 ** len(predicates)) if region >> bit & 1)
        for bit, predicate in enumerate(predicates)
    }


def _has(region: int, predicate: str, predicates: tuple[str, ...]) -> bool:
    return bool(region >> predicates.index(predicate) & 1)


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
