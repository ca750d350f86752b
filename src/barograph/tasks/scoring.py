"""Scores of one answer: exact match, match after normalisation, and how it failed."""

import re
import unicodedata
from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.tasks.regimes import Contract, Rendered, read_answer

FailureMode = Literal["truncated", "format_error", "wrong_answer"]


class Score(Struct, frozen=True, kw_only=True):
    """How a model's text compares with the golden answer."""

    exact_match: Annotated[bool, Meta(description="The answer that was read is the golden answer, letter for letter.")]
    normalized_match: Annotated[
        bool, Meta(description="The same after Unicode NFKC, lower case, single spaces and no final punctuation.")
    ]
    failure_mode: Annotated[
        FailureMode | None,
        Meta(
            description="Null for a normalised match; `truncated` when generation hit its limit, `format_error` when"
            " no answer could be read, else `wrong_answer`."
        ),
    ]
    contract: Annotated[Contract, Meta(description="Whether the format that the prompt asked for was kept.")]


def score(text: str, *, golden: str, rendered: Rendered, finished: bool) -> Score:
    """The score of a model's text.

    `finished` says that the model ended by itself. The format is judged apart from the answer: a right answer with a
    broken contract is an exact match.
    """
    reading = read_answer(text, rendered)
    exact = reading.answer == golden
    normalized = reading.answer is not None and normalize(reading.answer) == normalize(golden)
    failure: FailureMode | None = None
    if not normalized:
        failure = "truncated" if not finished else "format_error" if reading.answer is None else "wrong_answer"
    return Score(exact_match=exact, normalized_match=normalized, failure_mode=failure, contract=reading.contract)


def normalize(answer: str) -> str:
    """NFKC, lower case, single spaces, without punctuation at the end."""
    folded = unicodedata.normalize("NFKC", answer).casefold()
    return re.sub(r"[\s.!?,;:]+$", "", re.sub(r"\s+", " ", folded)).strip()
