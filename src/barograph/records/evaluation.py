"""What a model answered, and what follows from it."""

from typing import Annotated

from msgspec import Meta, Struct, field

from barograph.records.quantities import Count, Seconds, Step, VerdictWord

Ratio = Annotated[float, Meta(ge=0.0, le=1.0)]


class Answer(Struct, frozen=True, kw_only=True, tag_field="type", tag="answer", omit_defaults=True):
    """One model's answer to one probe: an observation that cannot be had again once the checkpoint is gone."""

    step: Annotated[Step, Meta(description="Step of the checkpoint that answered.")]
    time: Annotated[Seconds, Meta(description="When it answered.")]
    checkpoint: Annotated[str, Meta(description="Name of the checkpoint folder.")]
    probe_set: Annotated[str, Meta(description="Content hash of the frozen probe set.")]
    probe: Annotated[str, Meta(description="Id of the probe in the set.")]
    task: Annotated[str, Meta(description="Task of the probe, such as `syllo`.")]
    level: Annotated[str, Meta(description="Difficulty level of the probe.")]
    regime: Annotated[str, Meta(description="Answer format that was asked for.")]
    answer: Annotated[str, Meta(description="The model's text, as generated, without special tokens.")]
    golden: Annotated[str, Meta(description="The right answer, proved by the task's solver.")]
    correct: Annotated[bool, Meta(description="Exact match of the answer's content with `golden`.")]
    normalized_match: Annotated[
        bool | None, Meta(description="Match after folding case, spaces and final punctuation; null if not looked at.")
    ] = None
    failure_mode: Annotated[
        str | None, Meta(description="`truncated`, `format_error` or `wrong_answer`; null for a match.")
    ] = None
    emoji_prefix: Annotated[
        bool | None, Meta(description="First line as the prompt asked for; null where it asked for none.")
    ] = None
    stop_emoji: Annotated[
        bool | None, Meta(description="Last line as the prompt asked for; null where it asked for none.")
    ] = None
    tokens: Annotated[Count, Meta(description="Tokens generated.")]
    generation_ms: Annotated[float, Meta(description="Share of the batch's generation time, in milliseconds.")]


class ExactMatch(Struct, frozen=True, kw_only=True, tag_field="type", tag="exact_match", omit_defaults=True):
    """Share of exactly right answers of one checkpoint on one level of one task under one regime, with its interval."""

    step: Annotated[Step, Meta(description="Step of the checkpoint.")]
    time: Annotated[Seconds, Meta(description="When it was derived.")]
    checkpoint: Annotated[str, Meta(description="Name of the checkpoint folder.")]
    probe_set: Annotated[str, Meta(description="Content hash of the probe set.")]
    task: Annotated[str, Meta(description="Task name.")]
    level: Annotated[str, Meta(description="Level name.")]
    regime: Annotated[str, Meta(description="Answer format that was asked for.")]
    correct: Annotated[Count, Meta(description="Right answers.")]
    n: Annotated[int, Meta(ge=1, description="Probes asked.")]
    exact_match: Annotated[Ratio, Meta(description="correct / n.")]
    low: Annotated[Ratio, Meta(description="Lower end of the Wilson interval.")]
    high: Annotated[Ratio, Meta(description="Upper end of the Wilson interval.")]
    confidence: Annotated[float, Meta(description="Confidence level of the interval.")]
    base_rate: Annotated[Ratio, Meta(description="What the best constant answer would score on the same probes.")]


class Verdict(Struct, frozen=True, kw_only=True, tag_field="type", tag="verdict", omit_defaults=True):
    """What a policy says of one quantity, with the numbers and the thresholds that it used."""

    name: Annotated[str, Meta(description="Table of the policy that judged, such as `loss_finite`.")]
    subject: Annotated[str, Meta(description="What was judged where there are several, such as `syllo easy`.")] = ""
    verdict: Annotated[VerdictWord, Meta(description="FAIL is the model, ERROR is us, SKIP is no data.")]
    message: Annotated[str, Meta(description="One sentence with its numbers.")]
    numbers: Annotated[dict[str, float], Meta(description="The quantities that were judged.")]
    thresholds: Annotated[dict[str, float], Meta(description="What they were compared with.")]
    policy: Annotated[str, Meta(description="Name of the policy.")]
    time: Annotated[Seconds, Meta(description="When it was judged.")]
    advice: Annotated[str, Meta(description="What to do first; empty if nothing.")] = ""
    steps: Annotated[list[Step], Meta(description="Steps that it rests on, at most 100.")] = field(default_factory=list)
