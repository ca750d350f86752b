"""What was seen of one optimizer step in the training thread, some of it still on its way from a device."""

import math
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from barograph.collect.device_values import DeviceValue
from barograph.collect.logged_values import NO_NUMBER, Refused, number

if TYPE_CHECKING:  # a run that nobody watches needs no analysis, and so no numpy
    from barograph.analysis.throughput import StepTiming

GRADIENT_NORM = "train/gradient_norm"
CLIP_FACTOR = "train/clip_factor"
TOKEN_ENTROPY = "train/token_entropy"  # noqa: S105 - a token of a language, not a secret
TOP1_PROBABILITY = "train/top1_probability"
TOKENS = "throughput/tokens"
STEP_SECONDS = "throughput/step_seconds"
DATA_WAIT = "throughput/data_wait_seconds"
FORWARD_BACKWARD = "throughput/forward_backward_seconds"
OPTIMIZER = "throughput/optimizer_seconds"
BATCH_SIZE = "throughput/batch_size"
SEQUENCE_LENGTH = "throughput/sequence_length"
"""Both are recorded where they change."""

EPSILON = 1e-6
"""What torch adds to the norm before it divides by it."""

Held = float | DeviceValue | Refused


class Labels(Struct, frozen=True, kw_only=True, gc=False):
    """The label tokens of a step whose loss several ranks share, see `label_share.py`."""

    own: Held
    """Those of this rank."""
    of_all: Held
    """Those of all ranks."""
    ranks: int
    """How many ranks there are."""


class Observed(Struct, frozen=True, kw_only=True, gc=False):
    """One step as the training thread left it; `None` is not measured."""

    losses: tuple[Held, ...] = ()
    """One per micro-batch; the loss of the step is their sum."""
    labels: Labels | None = None
    """What that sum is divided by, where it is more than this rank's own tokens; None where it is not."""
    gradient_norm: Held | None = None
    """Norm of all gradients before clipping."""
    max_norm: float | None = None
    """What they are clipped to; None without clipping."""
    scaled: bool = False
    """Whether a loss scaler is at work: then a norm that is no number means a step that is left out, and no more."""
    tokens: Held | None = None
    """Tokens of all its micro-batches."""
    timing: "StepTiming | None" = None
    """Its times, still without its tokens."""
    token_entropy: Held | None = None
    """Mean entropy of the predictions at a few positions, nats."""
    top1_probability: Held | None = None
    """Mean of the greatest probability there."""


class Read(Struct, frozen=True, kw_only=True, gc=False):
    """The same once every value has arrived."""

    loss: float | None
    """None if there was none, as on a rank that had no label in this step, or if it could not be read."""
    unreadable: str | None
    """What the loss was instead of a number."""
    gradient_norm: float | None
    """For the alerts; None where a scaler makes it meaningless."""
    max_norm: float | None
    token_entropy: float | None
    top1_probability: float | None
    timing: "StepTiming | None"
    metrics: dict[str, float]
    """All of it but the loss, as it is recorded."""


def read(seen: Observed) -> Read:
    """`seen` with its values read. Raises `NotYet` while one is on its way; asked again, it begins anew."""
    loss: float | None = None
    unreadable = None
    if seen.losses:
        try:
            loss = sum((number(part) for part in seen.losses), start=0.0)
            if seen.labels is not None:
                own, of_all = number(seen.labels.own), number(seen.labels.of_all)
                loss = own_mean(loss, own=own, of_all=of_all, ranks=seen.labels.ranks)
        except NO_NUMBER:
            loss = None
            refused = [part.kind for part in seen.losses if isinstance(part, Refused)]
            unreadable = (refused or ["unreadable"])[0]
    norm = _number(seen.gradient_norm)
    metrics: dict[str, float] = {}
    _put(metrics, GRADIENT_NORM, norm)
    if norm is not None and seen.max_norm is not None:
        metrics[CLIP_FACTOR] = clip_factor(norm, seen.max_norm)
    entropy, top1 = _number(seen.token_entropy), _number(seen.top1_probability)
    _put(metrics, TOKEN_ENTROPY, entropy)
    _put(metrics, TOP1_PROBABILITY, top1)
    timing = seen.timing
    if timing is not None:
        timing = replace(timing, tokens=_number(seen.tokens))
        _put(metrics, TOKENS, timing.tokens)
        metrics[STEP_SECONDS] = timing.seconds
        _put(metrics, DATA_WAIT, timing.data_wait_s)
        _put(metrics, FORWARD_BACKWARD, timing.forward_backward_s)
        _put(metrics, OPTIMIZER, timing.optimizer_s)
    judged = None if norm is None or (seen.scaled and not math.isfinite(norm)) else norm
    return Read(
        loss=loss,
        unreadable=unreadable,
        gradient_norm=judged,
        max_norm=seen.max_norm,
        token_entropy=entropy,
        top1_probability=top1,
        timing=timing,
        metrics=metrics,
    )


def own_mean(loss: float, *, own: float, of_all: float, ranks: int) -> float | None:
    """The mean loss of a rank's own label tokens, nats, of the loss that it returned (`label_share.py`).

    None for a rank that had no label: it has no loss, though others have. With as many tokens on every rank it is
    `loss`, bit for bit.
    """
    if own == 0.0:
        return None if math.isfinite(loss) else loss
    return loss * (of_all / (ranks * own))


def clip_factor(norm: float, max_norm: float) -> float:
    """What clipping multiplies the gradients with: min(1, max_norm / (norm + 1e-6)), as torch has it; NaN for NaN."""
    if math.isnan(norm):
        return norm
    return min(1.0, max_norm / (norm + EPSILON))


def _number(held: Held | None) -> float | None:
    """The number, or None for what is none. Raises `NotYet`."""
    if held is None:
        return None
    try:
        return number(held)
    except NO_NUMBER:
        return None


def _put(metrics: dict[str, float], name: str, value: float | None) -> None:
    if value is not None:
        metrics[name] = value
