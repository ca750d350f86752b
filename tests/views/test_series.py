"""Laws of a series in buckets: what is no number is counted, and never smoothed over."""

import math
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.index import Index, Indexer
from barograph.records import Step
from barograph.records.codec import encode_line
from barograph.views import series
from barograph.views.documents import Series

VALUES = st.one_of(st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf]))


def of_values(values: list[float], *, buckets: int, smoothing: float) -> Series:
    with tempfile.TemporaryDirectory(prefix="barograph-test-") as folder:
        logs = Path(folder) / "r" / "logs"
        logs.mkdir(parents=True)
        lines = [encode_line(Step(step=step, loss=value, time=1.0)) for step, value in enumerate(values)]
        (logs / "train-000001-20260101T000000.jsonl").write_bytes(b"".join(lines))
        with Indexer(Path(folder)) as indexer:
            indexer.scan()
        return series(Index(Path(folder)), "r", "loss", buckets=buckets, smoothing=smoothing)


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(1, 20), st.sampled_from([0.0, 0.9]))
def test_a_bucket_without_a_finite_value_has_no_average(values: list[float], buckets: int, smoothing: float) -> None:
    found = of_values(values, buckets=buckets, smoothing=smoothing)
    assert [one is None for one in found.smoothed] == [one is None for one in found.mean]


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(1, 20))
def test_the_buckets_together_count_every_non_finite_point(values: list[float], buckets: int) -> None:
    found = of_values(values, buckets=buckets, smoothing=0.0)
    assert sum(found.non_finite_in_bucket) == found.non_finite_count == sum(not math.isfinite(one) for one in values)
    for first, step, said in zip(found.first, found.step, found.non_finite_in_bucket, strict=True):
        assert said == sum(not math.isfinite(one) for one in values[first : step + 1])


def test_beyond_the_points_that_are_listed_the_buckets_still_count() -> None:
    found = of_values([math.nan] * 3_000 + [1.0], buckets=1_000, smoothing=0.9)
    assert (len(found.non_finite), found.non_finite_count) == (1_000, 3_000)
    assert sum(found.non_finite_in_bucket) == 3_000
    assert found.smoothed[:-1] == [None] * (len(found.step) - 1)
