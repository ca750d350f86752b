"""What the names mean that trainers and users log: learning rate, norm of the gradients, losses and scores of
evaluations, calibration. `train/x` is read as `x`; transformers' own names, and ours, are known."""

import math
import re
from collections.abc import Mapping

from msgspec import Struct, field

LEARNING_RATE = ("learning_rate", "lr")
GRADIENT_NORM = ("grad_norm", "gradient_norm")
ENTROPY = ("token_entropy", "entropy")
TOP1 = ("top1_probability",)
TOKENS_SEEN = ("num_input_tokens_seen", "num_tokens")
VALIDATION_LOSS = frozenset(
    f"{split}{sign}loss" for split in ("eval", "val", "valid", "validation") for sign in ("/", "_")
)

EQUAL_REWARDS = ("frac_reward_zero_std",)
"""What TRL calls the share of groups of completions whose rewards are all equal."""

_TRAIN = "train/"
_SPLIT = re.compile(r"(?:(?:eval|val|valid|validation|test)[/_]|(?:.*/)?fixed_eval_).+")
_NO_SCORE = re.compile(
    r".*(?:time|_per_second|epoch|tokens|samples|examples|count|size|steps?|seconds|learning_rate|[_/]n|_s|ece)"
    r"|.*(?:^|[_/])num_.*"
)
_LOSS = re.compile(r".*[/_]loss")
_ECE = re.compile(r"(?P<prefix>(?:.*[_/])?)ece")
_REWARD = re.compile(r"rewards?(?:[/_].*)?|objective/(?:kl|rlhf_reward|entropy)")

LONGEST = 200
"""Longest name that is looked at; no name of a meaning is longer."""


class Calibration(Struct, frozen=True):
    """One expected calibration error."""

    error: float
    """The error; may be non-finite."""
    answers: int | None
    """Answers that it was taken of; None if nobody said."""


class Logged(Struct, frozen=True, kw_only=True):
    """What one logged mapping says of a training; None is what it does not say."""

    learning_rate: float | None = None
    """Learning rate."""
    gradient_norm: float | None = None
    """Norm of the gradients before clipping."""
    token_entropy: float | None = None
    """Mean entropy of predicted tokens, nats."""
    top1_probability: float | None = None
    """Mean of the greatest probability of a token."""
    tokens_seen: float | None = None
    """Tokens since training began."""
    validation_loss: float | None = None
    """Evaluation loss, nats."""
    evaluation_losses: dict[str, float] = field(default_factory=dict)
    """The same and those of every named evaluation set, such as `eval/medical_loss`, under their own names."""
    calibration: Calibration | None = None
    """Expected calibration error of a fixed evaluation."""
    scores: dict[str, float] = field(default_factory=dict)
    """Scores of evaluations, their losses included, under their own names."""
    equal_rewards: float | None = None
    """Share of the groups of completions whose rewards are all equal."""
    rewards: bool = False
    """Whether rewards are among it: training is reinforcement learning or learns preferences."""


def logged(values: Mapping[str, float]) -> Logged:
    """What a mapping of names to numbers says; whatever is no number is passed over."""
    named = {
        key.removeprefix(_TRAIN): float(value)
        for key, value in values.items()
        if len(key) <= LONGEST and _is_number(value)
    }
    return Logged(
        learning_rate=_first(named, LEARNING_RATE),
        gradient_norm=_first(named, GRADIENT_NORM),
        token_entropy=_first(named, ENTROPY),
        top1_probability=_first(named, TOP1),
        tokens_seen=_first(named, TOKENS_SEEN),
        validation_loss=next((value for name, value in named.items() if name in VALIDATION_LOSS), None),
        evaluation_losses={name: value for name, value in named.items() if is_evaluation_loss(name)},
        calibration=_calibration(named),
        scores={name: value for name, value in named.items() if is_score(name)},
        equal_rewards=_first(named, EQUAL_REWARDS),
        rewards=any(_REWARD.fullmatch(name) for name in named),
    )


def is_score(name: str) -> bool:
    """Whether a name is that of a score of an evaluation, and not of its duration or its size."""
    return bool(_SPLIT.fullmatch(name)) and not _NO_SCORE.fullmatch(name)


def is_evaluation_loss(name: str) -> bool:
    """Whether a name is that of the loss of an evaluation, of all of it or of one named set."""
    return bool(_SPLIT.fullmatch(name)) and bool(_LOSS.fullmatch(name))


def _calibration(named: Mapping[str, float]) -> Calibration | None:
    for name, value in named.items():
        found = _ECE.fullmatch(name)
        if found:
            answers = named.get(found["prefix"] + "n", math.nan)
            return Calibration(value, int(answers) if math.isfinite(answers) else None)
    return None


def _first(named: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    return next((named[name] for name in names if name in named), None)


def _is_number(value: object) -> bool:
    """Whether it is a number that fits into a float: an int may be too large for one."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 1000)
