"""Alerts and their lives, what was said about them, and the advice that follows from them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from barograph.records import quantities
from barograph.records.quantities import AlertLevel, Count, Seconds

AlertCategory = Literal[
    "", "loss", "gradients", "learning_rate", "calibration", "evaluation", "throughput", "hardware", "run", "user"
]
AlertStateWord = Literal["pending", "firing", "recovering", "resolved"]
AdviceAction = Literal["continue", "stop", "lower_learning_rate", "inspect_layers", "use_checkpoint"]
Confidence = Literal["low", "medium", "high"]


class Alert(Struct, frozen=True, kw_only=True, tag_field="type", tag="alert", omit_defaults=True):
    """Something worth a person's attention, as it stands now.

    An alert that a policy raises has a life: each line with its `id` replaces the one before. A line without an `id` is
    an alert of its own.
    """

    time: Annotated[Seconds, Meta(description="When this was said of it; for the first line, when it was raised.")]
    title: Annotated[str, Meta(description="One line.")]
    text: Annotated[str, Meta(description="Details, with the numbers.")] = ""
    level: Annotated[AlertLevel, Meta(description="Severity.")] = "warning"
    step: Annotated[quantities.Step | None, Meta(description="Newest step when this was said.")] = None
    id: Annotated[str, Meta(description="Its identity over its life; empty for a line of its own.")] = ""
    condition: Annotated[
        str, Meta(description="Table of the policy, `[alerts.<condition>]`; empty for an alert of the user's.")
    ] = ""
    category: Annotated[AlertCategory, Meta(description="What it is about; empty where nothing says it.")] = ""
    state: Annotated[
        AlertStateWord,
        Meta(
            description="`pending`: seen, not often enough yet; `firing`; `recovering`: not seen any more, not for long"
            " enough yet; `resolved`."
        ),
    ] = "firing"
    recommendation: Annotated[str, Meta(description="What to do; empty for an alert of the user's.")] = ""
    evidence: Annotated[dict[str, float], Meta(description="The numbers that it rests on, thresholds included.")] = (
        field(default_factory=dict)
    )
    subjects: Annotated[list[str], Meta(description="What it is about, such as layers; at most 20.")] = field(
        default_factory=list
    )
    count: Annotated[Count, Meta(description="How often the condition was seen.")] = 1
    first_step: Annotated[
        quantities.Step | None, Meta(description="Step at which it was first seen; null if it has none.")
    ] = None
    policy: Annotated[str, Meta(description="Policy that raised it; empty for an alert of the user's.")] = ""


class Acknowledgement(Struct, frozen=True, kw_only=True, tag_field="type", tag="acknowledgement", omit_defaults=True):
    """A person has seen an alert."""

    time: Annotated[Seconds, Meta(description="When.")]
    alert: Annotated[str, Meta(description="The alert's id, as the API has it.")]
    note: Annotated[str, Meta(description="What the person wrote; may be empty.")] = ""


class Notification(Struct, frozen=True, kw_only=True, tag_field="type", tag="notification", omit_defaults=True):
    """An alert was sent to somewhere, or could not be."""

    time: Annotated[Seconds, Meta(description="When the last try ended.")]
    alert: Annotated[str, Meta(description="The alert's id.")]
    channel: Annotated[str, Meta(description="Where to: scheme and host, never the whole address.")]
    delivered: Annotated[bool, Meta(description="Whether it arrived.")]
    detail: Annotated[str, Meta(description="What the other side said, or why it did not arrive.")] = ""
    tries: Annotated[Count, Meta(description="How often it was tried.")] = 1


class AdviceItem(Struct, frozen=True, kw_only=True):
    """One thing to do."""

    action: Annotated[AdviceAction, Meta(description="What.")]
    text: Annotated[str, Meta(description="One sentence with its numbers.")]
    confidence: Annotated[Confidence, Meta(description="How sure it is.")]
    because: Annotated[list[str], Meta(description="The records that it rests on, a phrase each, with their steps.")]
    subjects: Annotated[list[str], Meta(description="Layers or checkpoints that it names.")] = field(
        default_factory=list
    )


class Advice(Struct, frozen=True, kw_only=True, tag_field="type", tag="advice", omit_defaults=True):
    """What to do now, the most important first; a line replaces the one before."""

    time: Annotated[Seconds, Meta(description="When it was derived.")]
    step: Annotated[quantities.Step | None, Meta(description="Newest step then.")] = None
    items: Annotated[list[AdviceItem], Meta(description="At least one: to go on is advice too.")]
    policy: Annotated[str, Meta(description="Name of the policy.")]


class Example(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One example of a batch."""

    micro_batch: Annotated[Count, Meta(description="Which micro-batch of the step, from 0.")]
    row: Annotated[Count, Meta(description="Which row of it, from 0.")]
    hash: Annotated[str, Meta(description="First 16 hex digits of the SHA-256 of its token ids, as int64.")]
    tokens: Annotated[Count, Meta(description="Its tokens, padding left out.")]
    index: Annotated[int | None, Meta(description="Its place in the dataset, where the batch says it.")] = None
    text: Annotated[str | None, Meta(description="Its first 200 characters; null without a tokenizer.")] = None


class Batch(Struct, frozen=True, kw_only=True, tag_field="type", tag="batch", omit_defaults=True):
    """The examples that one step was trained on, recorded because an alert asked which they were."""

    step: Annotated[quantities.Step, Meta(description="The step.")]
    time: Annotated[Seconds, Meta(description="When it was recorded.")]
    examples: Annotated[list[Example], Meta(description="At most 64; the first of every micro-batch are kept.")]
    left_out: Annotated[Count, Meta(description="Examples beyond that.")] = 0
    why: Annotated[str, Meta(description="Why there are no examples; empty if there are.")] = ""
