"""What Prometheus reads: held against the official client's own parser."""

import math
import time
from pathlib import Path
from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from barograph.index import Index, Indexer
from barograph.records import Alert, Banner, Heartbeat, Record, RunComplete, Step, codec
from barograph.records.alerts import AlertStateWord
from barograph.records.signals import Gpu
from barograph.views.documents import TrainingHost
from barograph.views.metrics import Family, Sample, exposition, gpu_families, metrics

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def parsed(text: bytes) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Name to labels to value, as the official parser reads it."""
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in found.setdefault(sample.name, {}), "no sample comes twice"
            found[sample.name][labels] = sample.value
    return found


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@given(st.dictionaries(ANY_TEXT, st.floats(), max_size=5))
def test_every_text_and_every_number_survives_the_format(values: dict[str, float]) -> None:
    samples = [Sample(value, {"run": text}) for text, value in values.items()]
    text = exposition([Family(name="barograph_x", said="One sentence.", samples=samples)])
    found = parsed(text).get("barograph_x", {})
    assert set(found) == {frozenset({("run", text)}) for text in values}
    assert all(same(found[frozenset({("run", text)})], value) for text, value in values.items())


def test_a_lone_surrogate_breaks_nothing() -> None:
    text = exposition([Family(name="barograph_x", said="So.", samples=[Sample(1, {"run": "a\ud800"})])])
    assert parsed(text) == {"barograph_x": {frozenset({("run", "a?")}): 1.0}}


def write(root: Path, run: str, records: list[Record]) -> None:
    logs = root / run / "logs"
    logs.mkdir(parents=True)
    lines = b"".join(codec.encode_line(record) for record in records)
    (logs / "train-000001-20260101T000000.jsonl").write_bytes(lines)


def indexed(root: Path) -> Index:
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def of(run: str, **labels: str) -> frozenset[tuple[str, str]]:
    return frozenset({"run": run, **labels}.items())


def test_a_run_is_told_as_it_was_recorded_and_what_was_not_is_left_out(tmp_path: Path) -> None:
    now = time.time()
    hostile = 'a"b\\c\nd} 1\n# HELP <script>'
    banner = Banner(run="live", attempt=1, writer="train", time=now, model_name=hostile, total_steps=100)
    metrics_of = {"train/learning_rate": 1e-4, "tokens_per_sec": 512.0}
    alert = Alert(time=now, level="critical", title="loss is NaN", text="at step 7", step=7)
    write(tmp_path, "live", [banner, Step(step=7, loss=math.nan, time=now, metrics=metrics_of), alert])
    done: list[Record] = [
        Banner(run="done", attempt=1, writer="train", time=now),
        Step(step=3, loss=0.5, time=now, metrics=metrics_of),
    ]
    write(tmp_path, "done", [*done, Heartbeat(time=now, step=3), RunComplete(time=now, step=3, exit_code=0)])
    write(tmp_path, "empty", [])
    found = parsed(exposition(metrics(indexed(tmp_path), now=now + 5)))
    assert found["barograph_runs"] == {frozenset(): 3.0}
    assert found["barograph_index_ready"] == {frozenset(): 1.0}
    assert found["barograph_run_info"][of("live", model=hostile)] == 1.0
    assert math.isnan(found["barograph_run_loss"][of("live")])
    assert found["barograph_run_loss"][of("done")] == 0.5
    assert found["barograph_run_step"] == {of("live"): 7.0, of("done"): 3.0}
    assert found["barograph_run_planned_steps"] == {of("live"): 100.0}
    assert found["barograph_run_learning_rate"] == {of("live"): 1e-4}, "a run that ended has none"
    assert found["barograph_run_tokens_per_second"] == {of("live"): 512.0}
    assert 0 < found["barograph_run_heartbeat_age_seconds"][of("live")] < 60
    states = {
        run: [state for state in ("idle", "training", "completed") if one(found, run, state)]
        for run in ("live", "done")
    }
    assert states == {"live": ["training"], "done": ["completed"]}
    assert found["barograph_run_alerts"] == {
        of("live", level="critical"): 1.0,
        of("live", level="warning"): 0.0,
        of("live", level="info"): 0.0,
    }


def one(found: dict[str, dict[frozenset[tuple[str, str]], float]], run: str, state: str) -> bool:
    return found["barograph_run_state"][of(run, state=state)] == 1.0


def test_without_alerts_and_gpus_their_families_are_not_there(tmp_path: Path) -> None:
    now = time.time()
    write(tmp_path, "r", [Banner(run="r", attempt=1, writer="train", time=now), Step(step=1, loss=1.0, time=now)])
    names = {family.name for family in metrics(indexed(tmp_path), now=now)}
    assert not {name for name in names if "alert" in name or "gpu" in name}
    assert all(family.samples for family in metrics(indexed(tmp_path), now=now))


def test_each_alert_counts_once_however_many_lines_its_life_has(tmp_path: Path) -> None:
    now = time.time()
    alerts: list[Record] = [Alert(time=now, level="info", title=f"t{n}", text="t") for n in range(1_005)]
    lives: list[Record] = [
        Alert(time=now + n, level="info", title="it comes and goes", id="a", condition="loss_spike", state=state)
        for n, state in enumerate(get_args(AlertStateWord))
    ]
    write(tmp_path, "r", [Banner(run="r", attempt=1, writer="train", time=now), *alerts, *lives])
    found = parsed(exposition(metrics(indexed(tmp_path), now=now)))
    assert found["barograph_run_alerts"][of("r", level="info")] == 1_006
    assert found["barograph_run_alerts_firing"][of("r", level="info")] == 1_005


def test_a_root_without_runs_still_says_so(tmp_path: Path) -> None:
    assert parsed(exposition(metrics(indexed(tmp_path))))["barograph_runs"] == {frozenset(): 0.0}


def gpu(index: int, **measured: float | None) -> Gpu:
    unknown: dict[str, float | None] = dict.fromkeys(Gpu.__struct_fields__[2:])
    return msgspec.convert({"index": index, "name": 'H"200', **unknown, **measured}, Gpu)


def test_gpus_are_told_in_base_units_where_they_were_measured() -> None:
    unknown: dict[str, None] = dict.fromkeys(TrainingHost.__struct_fields__)
    nothing = msgspec.convert(unknown, TrainingHost)
    measured = [gpu(0, temp_c=61.0, util_pct=50.0, vram_used_gb=1.5, vram_total_gb=141.0, power_w=350.0), gpu(1)]
    host = msgspec.structs.replace(nothing, name="box", gpus=measured)
    found = parsed(exposition(gpu_families({"r": host, "none": nothing})))
    labels = of("r", host="box", gpu="0", name='H"200')
    assert found == {
        "barograph_gpu_temperature_celsius": {labels: 61.0},
        "barograph_gpu_utilization_ratio": {labels: 0.5},
        "barograph_gpu_memory_used_bytes": {labels: 1.5e9},
        "barograph_gpu_memory_bytes": {labels: 141e9},
        "barograph_gpu_power_watts": {labels: 350.0},
    }
