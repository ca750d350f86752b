"""Singular values agree with a dense decomposition; ranks say along how many directions a change is."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.delta_spectrum import delta_spectrum, randomised_spectrum, thin_spectrum
from barograph.errors import UsageError


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.floats(0.1, 4.0), st.integers(0, 2**32))
def test_thin_factors_have_the_spectrum_of_their_product(
    rows: int, columns: int, rank: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((rows, rank)), rng.standard_normal((rank, columns))
    values = np.linalg.svd(scale * left @ right, compute_uv=False)[: min(rank, rows, columns)]
    found = thin_spectrum(left, right, scale=-scale)
    assert found.spectral_norm == pytest.approx(values[0], rel=1e-10)
    assert found.frobenius_norm == pytest.approx(math.sqrt(float(np.sum(values**2))), rel=1e-10)
    shares = values[values > 1e-12] / values.sum()
    assert found.effective_rank == pytest.approx(math.exp(-float(np.sum(shares * np.log(shares)))), rel=1e-6)
    assert found.exact


def test_one_direction_has_rank_one_and_equal_directions_count() -> None:
    one = thin_spectrum(np.ones((9, 1)), np.ones((1, 4)), scale=0.5)
    assert [one.stable_rank, one.effective_rank] == pytest.approx([1.0, 1.0])
    many = thin_spectrum(np.eye(6), np.eye(6), scale=2.0)
    assert [many.stable_rank, many.effective_rank] == pytest.approx([6.0, 6.0])


def test_no_change_and_no_numbers_have_no_rank() -> None:
    still = thin_spectrum(np.zeros((4, 2)), np.ones((2, 4)), scale=1.0)
    assert (still.frobenius_norm, still.spectral_norm) == (0.0, 0.0)
    assert math.isnan(still.stable_rank)
    bad = thin_spectrum(np.full((4, 2), math.nan), np.ones((2, 4)), scale=1.0)
    assert math.isnan(bad.spectral_norm)
    assert math.isnan(delta_spectrum(np.zeros(0), frobenius_norm=0.0, exact=True).stable_rank)
    broken = randomised_spectrum(np.full((4, 4), math.inf), rank=2, iterations=1, seed=0)
    assert math.isnan(broken.stable_rank)


def test_a_full_change_shows_its_largest_direction() -> None:
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((300, 200))
    planted = noise + np.outer(rng.standard_normal(300), rng.standard_normal(200))
    found = randomised_spectrum(planted, rank=8, iterations=4, seed=0)
    assert found.spectral_norm == pytest.approx(np.linalg.svd(planted, compute_uv=False)[0], rel=1e-6)
    assert found.frobenius_norm == pytest.approx(float(np.linalg.norm(planted)), rel=1e-9)
    assert found.stable_rank == pytest.approx(1.0, rel=1e-2)
    assert found.effective_rank is None
    assert not found.exact
    assert randomised_spectrum(planted, rank=8, iterations=4, seed=0) == found, "a seed makes it repeatable"


@pytest.mark.parametrize(("shape", "rank", "iterations"), [((4,), 2, 1), ((4, 4), 0, 1), ((4, 4), 2, 0)])
def test_what_has_no_spectrum_is_refused(shape: tuple[int, ...], rank: int, iterations: int) -> None:
    with pytest.raises(UsageError, match="no spectrum of shape"):
        randomised_spectrum(np.ones(shape), rank=rank, iterations=iterations, seed=0)
