"""Regimes: the answer formats that a model is asked for, written and read back.

`plain_sft` asks for the bare answer. `emoji_think` asks for a first line of one emoji repeated, then the answer,
then a last line of a stop emoji repeated. `regime3` asks for the answer between two marks.

The contract (which emoji, how often) is what the prompt asked for, to the letter. The answer itself is read
leniently: a wrong number of emoji breaks the contract, not the answer.
"""

from random import Random
from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.tasks.problem import Problem

Regime = Literal["plain_sft", "emoji_think", "regime3"]

REGIMES: tuple[Regime, ...] = ("plain_sft", "emoji_think", "regime3")
"""Every regime that exists, in the order in which it is shown."""

THINKING_EMOJI = ("🤔", "💭", "🧠", "💡", "🎯", "🔍", "🤨", "🧐", "⚡", "✨")
STOP_EMOJI = ("🛑", "⛔", "🚫", "❌", "🔴", "⏹️", "🔚", "✋", "🚦", "🛡️")
TIMES = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
"""A prefix has 2 to 8 emoji, a suffix 2 to 4."""

ANSWER_START = "<<ANS_START>>"
ANSWER_END = "<<ANS_END>>"


class Rendered(Struct, frozen=True, kw_only=True):
    """A problem as a model sees it under one regime."""

    prompt: Annotated[str, Meta(description="Question and instruction; ends with a newline, the answer follows.")]
    target: Annotated[str, Meta(description="The text that a perfect model writes.")]
    regime: Annotated[Regime, Meta(description="The answer format.")]
    prefix: Annotated[str, Meta(description="Emoji that must stand on the first line; empty if none.")] = ""
    suffix: Annotated[str, Meta(description="Emoji that must stand on the last line; empty if none.")] = ""


class Contract(Struct, frozen=True, kw_only=True):
    """Whether the format that the prompt asked for was kept; null where the regime asks for no such thing."""

    emoji_prefix: Annotated[bool | None, Meta(description="First line is exactly the emoji that were asked for.")]
    stop_emoji: Annotated[bool | None, Meta(description="Last line is exactly the emoji that were asked for.")]


class Reading(Struct, frozen=True, kw_only=True):
    """What was read from a model's text."""

    answer: Annotated[str | None, Meta(description="The answer without its format; null if none could be found.")]
    contract: Annotated[Contract, Meta(description="Whether the format was kept.")]


def render(problem: Problem, regime: Regime, *, seed: str) -> Rendered:
    """The problem as prompt and target under a regime; `seed` chooses the emoji and how often they stand."""
    if regime == "plain_sft":
        return Rendered(prompt=f"{problem.prompt}\n", target=problem.answer, regime=regime)
    if regime == "regime3":
        return Rendered(
            prompt=f"{problem.prompt} Answer between {ANSWER_START} and {ANSWER_END}.\n",
            target=f"{ANSWER_START} {problem.answer} {ANSWER_END}",
            regime=regime,
        )
    random = Random(f"{regime}/{problem.id}/{seed}")
    think, stop = random.choice(THINKING_EMOJI), random.choice(STOP_EMOJI)
    before, after = random.randint(2, 8), random.randint(2, 4)
    return Rendered(
        prompt=f"{problem.prompt} Begin with {think} {TIMES[before]} times, end with {stop} {TIMES[after]} times.\n",
        target=f"{think * before}\n{problem.answer}\n{stop * after}",
        regime=regime,
        prefix=think * before,
        suffix=stop * after,
    )


def read_answer(text: str, rendered: Rendered) -> Reading:
    """The answer in a model's text and whether the contract of the prompt was kept."""
    if rendered.regime == "plain_sft":
        return Reading(answer=text.strip() or None, contract=Contract(emoji_prefix=None, stop_emoji=None))
    if rendered.regime == "regime3":
        return Reading(answer=_between_marks(text), contract=Contract(emoji_prefix=None, stop_emoji=None))
    lines = text.strip().split("\n")
    kept = Contract(emoji_prefix=lines[0] == rendered.prefix, stop_emoji=lines[-1] == rendered.suffix)
    inner = [line for line in lines if not (_only(THINKING_EMOJI, line) or _only(STOP_EMOJI, line))]
    return Reading(answer="\n".join(inner).strip() or None, contract=kept)


def _between_marks(text: str) -> str | None:
    """What stands between the first start mark and the next end mark."""
    _, start, rest = text.partition(ANSWER_START)
    inside, end, _ = rest.partition(ANSWER_END)
    return inside.strip() or None if start and end else None


def _only(emoji: tuple[str, ...], line: str) -> bool:
    """Whether a line holds nothing but emoji of the list."""
    for one in emoji:
        line = line.replace(one, "")
    return not line.strip()
