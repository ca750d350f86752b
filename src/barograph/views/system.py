"""The document of `GET /api/status/system`: the machines that train and evaluate, and what waits for them."""

import time
from collections.abc import Sequence

from barograph.index import Index, query
from barograph.index.query import Source
from barograph.policy import Policy, load
from barograph.records import Hardware
from barograph.views.hosts import NO_EVALUATION, UNASKED, evaluation_of, hardware_of
from barograph.views.monitor_documents import Queues, SystemHost, SystemHosts, SystemStatus
from barograph.views.summary import newest_attempt, run_that_moved_last, state_of
from barograph.views.times import document_time, iso

_NO_ATTEMPT = "the run has no training attempt"
_NO_RUN = "there is no run"
_NO_HARDWARE = "this process records nothing about its machine"
_NO_QUEUE = "there is no such queue: nothing feeds this run with jobs"


def system_status(
    index: Index, run: str | None = None, *, policy: Policy | None = None, now: float | None = None
) -> SystemStatus:
    """The machines of `run`, by default of the one that moved last. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    crashed_after_s = (policy or load()).run_state.crashed_after_s
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        sources = [] if run is None else query.sources(snapshot, run)
    newest = newest_attempt(sources)
    state = state_of(newest, now=now, crashed_after_s=crashed_after_s)
    banner = newest.banner if newest else None
    training = _host(
        hardware_of(newest.parts if newest else []),
        name=banner.host if banner else None,
        online=state.state in {"training", "paused"} if newest else None,
        age_s=newest.silent_s(now) if newest else None,
    )
    inference = _inference(sources, now=now, crashed_after_s=crashed_after_s)
    silent = _NO_RUN if run is None else _NO_ATTEMPT
    evaluated = evaluation_of(sources)
    queues = Queues(**dict.fromkeys(Queues.__struct_fields__))
    watched = newest is not None and any(part.signals is not None for part in newest.parts)
    said = hardware_of(newest.parts if newest else [])
    why = _reasons("hosts.training_host", training, said, unheard=silent, unasked=UNASKED if watched else _NO_HARDWARE)
    of_evaluation = hardware_of([evaluated.state] if evaluated else [])
    why |= _reasons("hosts.inference_host", inference, of_evaluation, unheard=NO_EVALUATION, unasked=_NO_HARDWARE)
    why |= {f"queues.{name}": _NO_QUEUE for name in queues.__struct_fields__}
    return SystemStatus(
        run=run,
        hosts=SystemHosts(training_host=training, inference_host=inference),
        queues=queues,
        timestamp=document_time(now),
        why=why,
    )


def _inference(sources: Sequence[Source], *, now: float, crashed_after_s: float) -> SystemHost:
    last = evaluation_of(sources)
    if last is None:
        return _host(None, name=None, online=None, age_s=None)
    age_s = max(0.0, now - last.grown_ns / 1e9)
    return _host(
        hardware_of([last.state]),
        name=last.state.banner.host if last.state.banner else None,
        online=last.state.complete is None and age_s <= crashed_after_s,
        age_s=age_s,
    )


def _host(said: Hardware | None, *, name: str | None, online: bool | None, age_s: float | None) -> SystemHost:
    known = said or Hardware(time=0.0)
    used, total = known.disk_used_gb, known.disk_total_gb
    return SystemHost(
        name=name,
        online=online,
        age_s=age_s,
        measured=None if said is None else iso(said.time),
        cpu_pct=known.cpu_pct,
        load=known.load,
        process_cpu_pct=known.process_cpu_pct,
        process_ram_gb=known.process_ram_gb,
        ram_gb=known.ram_used_gb,
        ram_total_gb=known.ram_total_gb,
        disk_used_gb=used,
        disk_total_gb=total,
        disk_free_gb=known.disk_free_gb,
        disk_pct=None if used is None or not total else 100.0 * used / total,
        swap_used_gb=known.swap_used_gb,
        swap_total_gb=known.swap_total_gb,
        gpus=known.gpus,
    )


_SAID_AS = {"ram_gb": "ram_used_gb", "disk_pct": "disk_used_gb"}
"""Fields under whose other name the record of a machine gives its reason."""


def _reasons(host: str, shown: SystemHost, said: Hardware | None, *, unheard: str, unasked: str) -> dict[str, str]:
    """`host.field` -> why it is null, for every null field."""
    found = {}
    for field in shown.__struct_fields__:
        if getattr(shown, field) is not None:
            continue
        if shown.online is None:
            found[f"{host}.{field}"] = unheard
        elif field in ("name", "age_s", "online"):
            found[f"{host}.{field}"] = "its banner names no host"
        elif said is None:
            found[f"{host}.{field}"] = unasked
        else:
            found[f"{host}.{field}"] = said.why.get(_SAID_AS.get(field, field), "the machine did not say")
    return found
