"""The two machines of the live document: the one that trains, the one that evaluates."""

from collections.abc import Sequence

from barograph.analysis.run_state import RunState
from barograph.index.query import Source
from barograph.views.documents import InferenceHost, TrainingHost
from barograph.views.summary import NewestAttempt

EVALUATE = "evaluate"
"""The writer that answers probes."""

_HARDWARE = "the hardware is not recorded"
_NO_EVALUATION = "no evaluating process has written to this run"


def training_host(newest: NewestAttempt | None, state: RunState, *, now: float) -> TrainingHost:
    """The machine of the newest attempt; `online` while its writer is heard."""
    banner = newest.banner if newest else None
    return TrainingHost(
        name=banner.host if banner else None,
        online=state.state in {"training", "paused"} if newest else None,
        age_s=newest.silent_s(now) if newest else None,
        gpus=None,
        cpu_pct=None,
        ram_used_gb=None,
        ram_total_gb=None,
        disk_used_gb=None,
        disk_total_gb=None,
    )


def inference_host(sources: Sequence[Source], *, now: float, crashed_after_s: float) -> InferenceHost:
    """The machine of the newest evaluation; `online` while it is heard and has not ended."""
    evaluations = [source for source in sources if source.state.writer == EVALUATE]
    last = max(evaluations, key=lambda source: source.grown_ns, default=None)
    age_s = None if last is None else max(0.0, now - last.grown_ns / 1e9)
    newest = last.state if last else None
    return InferenceHost(
        name=newest.banner.host if newest and newest.banner else None,
        online=None if newest is None or age_s is None else newest.complete is None and age_s <= crashed_after_s,
        age_s=age_s,
        gpus=None,
        cpu_pct=None,
        ram_used_gb=None,
        ram_total_gb=None,
        disk_used_gb=None,
        disk_total_gb=None,
        load=None,
        power_profile=None,
    )


def host_reasons(training: TrainingHost, inference: InferenceHost, *, no_attempt: str) -> dict[str, str]:
    """`host.field` -> why it is null, for every null field of the two."""
    unsaid = "the banner names no host"
    reasons = {}
    for field in training.__struct_fields__:
        if getattr(training, field) is None:
            heard = no_attempt if training.online is None else unsaid
            reasons[f"training_host.{field}"] = heard if field in {"name", "online", "age_s"} else _HARDWARE
    for field in inference.__struct_fields__:
        if getattr(inference, field) is None:
            heard = _NO_EVALUATION if inference.online is None else unsaid
            reasons[f"inference_host.{field}"] = heard if field in {"name", "online", "age_s"} else _HARDWARE
    return reasons
