"""The layers of a run: the fold of the training process, replayed on what its journal holds."""

import math
import time
from pathlib import Path

import pytest

from barograph.index import Index, Indexer
from barograph.policy import load
from barograph.records import Banner, Collector, Record, Step
from barograph.records.codec import encode_line
from barograph.views import layers

NOW = time.time()
NAN = math.nan


def log(root: Path, *records: Record, attempt: int = 1) -> Index:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"train-{attempt:06d}-20260101T000000.jsonl"
    with path.open("ab") as file:
        begins = Banner(run="r", attempt=attempt, writer="train", time=NOW + attempt)
        file.write(b"".join(encode_line(record) for record in (begins, *records)))
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def adapters(step: int, **gradients: float) -> Step:
    """Norms of adapters called `layer<name>`: A has 3 of 5 of it, B the rest; weights of 10, updates of 0.1."""
    metrics: dict[str, float] = {}
    for name, gradient in gradients.items():
        for part, share in (("A", 0.6), ("B", 0.8)):
            begin = f"layers/model.layers.{name.removeprefix('l')}.q_proj/{part}"
            norms = {"gradient_norm": share * gradient, "weight_norm": share * 10.0, "update_norm": share * 0.1}
            metrics |= {f"{begin}/{quantity}": norm for quantity, norm in norms.items()}
    return Step(step=step, loss=1.0, time=NOW + step, metrics=metrics)


def test_parts_are_joined_and_modules_stand_in_the_order_of_the_blocks(tmp_path: Path) -> None:
    index = log(tmp_path, *(adapters(10 * n, l10=2.0, l2=1.0) for n in range(1, 31)))
    document = layers(index, "r", policy=load(), now=NOW)
    assert [row.block for row in document.rows] == [2, 10]
    assert [row.current_grad_norm for row in document.rows] == pytest.approx([1.0, 2.0])
    assert [row.update_ratio for row in document.rows] == pytest.approx([0.01, 0.01])
    assert document.rows[0].a_grad_norm == pytest.approx(0.6)
    assert document.rows[0].kind == "lora"
    assert document.summary is not None
    assert (document.summary.total_layers, document.summary.active_layers) == (2, 2)
    assert document.why == {}


def test_the_heatmap_holds_every_collection_once(tmp_path: Path) -> None:
    index = log(tmp_path, *(adapters(n, l0=float(n)) for n in range(1, 41)))
    fine = layers(index, "r", columns=400, now=NOW).heatmap
    assert fine is not None
    assert fine.first == list(range(1, 41))
    assert fine.cells[0] == pytest.approx([float(n) for n in range(1, 41)], rel=1e-3)
    coarse = layers(index, "r", columns=4, now=NOW).heatmap
    assert coarse is not None
    assert len(coarse.first) <= 4
    assert (coarse.first[0], coarse.last[-1]) == (1, 40)
    ratio = layers(index, "r", quantity="update_ratio", now=NOW).heatmap
    assert ratio is not None
    assert set(ratio.cells[0]) == {0.01}


def test_what_is_no_number_and_what_was_not_taken_are_told_apart(tmp_path: Path) -> None:
    index = log(tmp_path, adapters(1, l0=1.0, l1=1.0), adapters(2, l0=NAN, l1=1.0), adapters(3, l0=1.0))
    heatmap = layers(index, "r", now=NOW).heatmap
    assert heatmap is not None
    first, second = heatmap.cells
    assert (first[0], first[2], second[:2]) == (1.0, 1.0, [1.0, 1.0])
    assert math.isnan(float(first[1] or 0.0)), "a NaN is no hole"
    assert second[2] is None


def test_a_gradient_that_is_no_number_is_never_healthy(tmp_path: Path) -> None:
    index = log(tmp_path, *(adapters(n, l0=1.0) for n in range(1, 31)), adapters(31, l0=NAN))
    (row,) = layers(index, "r", now=NOW).rows
    assert row.status == "non_finite"


def test_the_policy_of_whoever_asks_judges_the_same_numbers(tmp_path: Path) -> None:
    index = log(tmp_path, *(adapters(n, l0=200.0) for n in range(1, 31)))
    assert layers(index, "r", policy=load("contract"), now=NOW).rows[0].status == "exploding"
    assert layers(index, "r", policy=load("default"), now=NOW).rows[0].status == "active"


def test_without_layers_the_document_says_why(tmp_path: Path) -> None:
    assert layers(Index(tmp_path), now=NOW).why["summary"] == "there is no run"
    index = log(tmp_path, Step(step=1, loss=1.0, time=NOW))
    assert "no gradients of layers yet" in layers(index, "r", now=NOW).why["heatmap"]
    index = log(tmp_path, Collector(time=NOW, name="layers", running=False, detail="parameters are sharded"))
    assert layers(index, "r", now=NOW).why == {
        "summary": "parameters are sharded",
        "heatmap": "parameters are sharded",
    }


def test_rows_are_of_the_newest_attempt_and_the_heatmap_of_all_that_is_shown(tmp_path: Path) -> None:
    log(tmp_path, *(adapters(n, l0=1.0) for n in range(1, 11)))
    index = log(tmp_path, *(adapters(n, l0=3.0) for n in range(6, 8)), attempt=2)
    document = layers(index, "r", columns=400, now=NOW)
    assert document.rows[0].num_updates == 2
    assert document.heatmap is not None
    assert document.heatmap.cells == [[1.0] * 5 + [3.0] * 2]
