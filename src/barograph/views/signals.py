"""The document of `GET /api/signals`: what the training process derived of itself, whole."""

import math
import time
from typing import Any

from barograph.index import Index, query
from barograph.records import Signals
from barograph.records.quantities import spelled
from barograph.views.monitor_documents import SignalsNow
from barograph.views.summary import newest_attempt, run_that_moved_last
from barograph.views.times import document_time, iso

_OWN = ("run", "attempt", "time", "timestamp", "why")
"""Fields of the document that are not those of the record."""


def signals(index: Index, run: str | None = None, *, now: float | None = None) -> SignalsNow:
    """The newest signals of `run`, by default of the one that moved last. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        newest = newest_attempt([] if run is None else query.sources(snapshot, run))
    said = None
    reason = "there is no run" if run is None else "the run has no training attempt"
    if newest is not None:
        reason = "the training process records no signals"
        said = next((part.signals for part in reversed(newest.parts) if part.signals is not None), None)
    names = [name for name in SignalsNow.__struct_fields__ if name not in _OWN]
    values, why = _values(said, names, reason)
    return SignalsNow(
        run=run,
        attempt=newest.attempt if newest else None,
        time=None if said is None else iso(said.time),
        timestamp=document_time(now),
        why=why if said is not None else why | {"time": reason},
        **values,
    )


def _values(said: Signals | None, names: list[str], reason: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Field -> value, and field -> why it is null or unknown."""
    values: dict[str, Any] = {}
    why: dict[str, str] = {}
    for name in names:
        value = None if said is None else getattr(said, name)
        if isinstance(value, float) and not math.isfinite(value):
            why[name] = f"it is {spelled(value)}"
            value = None
        if value is None and name.endswith("_trend"):
            value = "unknown"
        if value is None or value == "unknown":
            why.setdefault(name, reason if said is None else said.why.get(name, f"not known yet at step {said.step}"))
        values[name] = value
    return values, why
