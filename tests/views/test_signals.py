"""What a training derived of itself is served as it is, and what it does not know has a reason."""

import time
from pathlib import Path

from barograph.index import Index, Indexer
from barograph.records import Banner, Record, Signals, Step
from barograph.records.codec import encode_line
from barograph.views import signals
from barograph.views.monitor_documents import SignalsNow

NOW = time.time()


def log(root: Path, *records: Record) -> Index:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "train-000001-20260101T000000.jsonl").open("ab") as file:
        begins = Banner(run="r", attempt=1, writer="train", time=NOW)
        file.write(b"".join(encode_line(record) for record in (begins, *records)))
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def unexplained(document: SignalsNow) -> list[str]:
    values = {name: getattr(document, name) for name in document.__struct_fields__}
    empty = {name for name, value in values.items() if value is None or value == "unknown"} - {"run", "attempt"}
    return sorted(empty ^ document.why.keys())


def test_every_null_has_a_reason_and_nothing_else_has(tmp_path: Path) -> None:
    nothing = signals(Index(tmp_path), now=NOW)
    assert unexplained(nothing) == []
    assert set(nothing.why.values()) == {"there is no run"}
    silent = signals(log(tmp_path, Step(step=1, loss=1.0, time=NOW)), "r", now=NOW)
    assert unexplained(silent) == []
    assert (silent.loss_change, silent.loss_change_steps) == (None, None)
    assert silent.spikes is None, "none were looked for, which is not none"
    said = Signals(
        step=7,
        time=NOW,
        streaming_ce=2.5,
        loss_trend="improving",
        gradient_norm=float("inf"),
        data_wait_share=0.25,
        why={"mfu": "the device is not known"},
    )
    document = signals(log(tmp_path, said), "r", now=NOW)
    assert unexplained(document) == []
    assert (document.step, document.streaming_ce, document.loss_trend) == (7, 2.5, "improving")
    assert (document.data_wait_share, document.spikes) == (0.25, 0)
    assert document.why["mfu"] == "the device is not known"
    assert document.why["gradient_norm"] == "it is Infinity"


def test_the_newest_line_replaces_the_one_before(tmp_path: Path) -> None:
    index = log(tmp_path, *(Signals(step=step, time=NOW + step, streaming_ce=float(step)) for step in (1, 2, 3)))
    assert signals(index, "r", now=NOW).streaming_ce == 3.0
