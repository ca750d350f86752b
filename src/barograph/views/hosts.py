"""The two machines of the live document: the one that trains, the one that evaluates."""

from collections.abc import Sequence

from barograph.analysis.run_state import RunState
from barograph.index.query import Source
from barograph.index.source import SourceState
from barograph.records import Hardware
from barograph.views.documents import InferenceHost, TrainingHost
from barograph.views.summary import NewestAttempt

EVALUATE = "evaluate"
"""The writer that answers probes."""

UNASKED = "its machine was not asked yet: that takes a moment at the start"
_HARDWARE = "the training process records nothing about its machine"
_OTHER_HARDWARE = "the evaluating process records nothing about its machine"
_OF_HARDWARE = ("gpus", "cpu_pct", "ram_used_gb", "ram_total_gb", "disk_used_gb", "disk_total_gb")
NO_EVALUATION = "no evaluating process has written to this run"


def hardware_of(parts: Sequence[SourceState]) -> Hardware | None:
    """What a process said last of its machine; `parts` are its files, oldest first."""
    return next((part.hardware for part in reversed(parts) if part.hardware is not None), None)


def evaluation_of(sources: Sequence[Source]) -> Source | None:
    """The file of the evaluating process that grew last; None if nobody evaluated."""
    evaluations = [source for source in sources if source.state.writer == EVALUATE]
    return max(evaluations, key=lambda source: source.grown_ns, default=None)


def training_host(newest: NewestAttempt | None, state: RunState, *, now: float) -> TrainingHost:
    """The machine of the newest attempt; `online` while its writer is heard. Its numbers are the last that it gave."""
    banner = newest.banner if newest else None
    hardware = hardware_of(newest.parts if newest else []) or Hardware(time=now)
    return TrainingHost(
        name=banner.host if banner else None,
        online=state.state in {"training", "paused"} if newest else None,
        age_s=newest.silent_s(now) if newest else None,
        gpus=hardware.gpus,
        cpu_pct=hardware.cpu_pct,
        ram_used_gb=hardware.ram_used_gb,
        ram_total_gb=hardware.ram_total_gb,
        disk_used_gb=hardware.disk_used_gb,
        disk_total_gb=hardware.disk_total_gb,
    )


def inference_host(sources: Sequence[Source], *, now: float, crashed_after_s: float) -> InferenceHost:
    """The machine of the newest evaluation; `online` while it is heard and has not ended."""
    last = evaluation_of(sources)
    age_s = None if last is None else max(0.0, now - last.grown_ns / 1e9)
    newest = last.state if last else None
    hardware = hardware_of([newest] if newest else []) or Hardware(time=now)
    return InferenceHost(
        name=newest.banner.host if newest and newest.banner else None,
        online=None if newest is None or age_s is None else newest.complete is None and age_s <= crashed_after_s,
        age_s=age_s,
        gpus=hardware.gpus,
        cpu_pct=hardware.cpu_pct,
        ram_used_gb=hardware.ram_used_gb,
        ram_total_gb=hardware.ram_total_gb,
        disk_used_gb=hardware.disk_used_gb,
        disk_total_gb=hardware.disk_total_gb,
        load=hardware.load,
        power_profile=None,
    )


def host_reasons(
    training: TrainingHost,
    inference: InferenceHost,
    *,
    hardware: Hardware | None,
    watched: bool,
    evaluating: Hardware | None,
    no_attempt: str,
) -> dict[str, str]:
    """`host.field` -> why it is null, for every null field of the two."""
    unsaid = "the banner names no host"
    reasons = {}
    for field in training.__struct_fields__:
        if getattr(training, field) is None:
            heard = no_attempt if training.online is None else unsaid
            known = {} if hardware is None else hardware.why
            unknown = UNASKED if watched else _HARDWARE
            missing = unknown if hardware is None else known.get(field, "the machine did not say")
            reasons[f"training_host.{field}"] = missing if field in _OF_HARDWARE else heard
    for field in inference.__struct_fields__:
        if getattr(inference, field) is None:
            heard = NO_EVALUATION if inference.online is None else unsaid
            known = {} if evaluating is None else evaluating.why
            missing = _OTHER_HARDWARE if evaluating is None else known.get(field, "the machine did not say")
            of_machine = field in (*_OF_HARDWARE, "load", "power_profile")
            reasons[f"inference_host.{field}"] = missing if of_machine else heard
    return reasons
