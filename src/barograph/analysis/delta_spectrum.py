"""Whether a change of a matrix is along few directions or many: its singular values, and what follows from them.

    stable rank = |D|_F^2 / |D|_2^2                            (Rudelson & Vershynin 2007)
    effective rank = exp(H(p)),  p_i = s_i / sum s, H in nats  (Roy & Vetterli 2007)

A LoRA's delta L R has them exactly, from factors of size r (QR of both, then the singular values of an r x r matrix).
A full delta gives its largest ones by a randomised range finder with power iterations (Halko, Martinsson & Tropp
2011, algorithm 4.4); its effective rank needs all of them and is then not known.
"""

import math
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.errors import UsageError

Matrix = NDArray[np.floating]


class DeltaSpectrum(Struct, frozen=True, kw_only=True):
    """Shape of the change of one matrix."""

    frobenius_norm: Annotated[float, Meta(description="Root of the sum of squares.")]
    spectral_norm: Annotated[float, Meta(description="Largest singular value.")]
    stable_rank: Annotated[float, Meta(description="1 for a single direction; NaN for no change.")]
    effective_rank: Annotated[float | None, Meta(description="Null where only the largest values are known.")]
    exact: Annotated[bool, Meta(description="Whether all singular values were computed.")]


class TensorSpectrum(Struct, frozen=True, kw_only=True):
    """The spectrum of one tensor's change."""

    tensor: Annotated[str, Meta(description="Name of the tensor.")]
    spectrum: Annotated[DeltaSpectrum, Meta(description="Shape of its change.")]


def delta_spectrum(values: NDArray[np.float64], *, frobenius_norm: float, exact: bool) -> DeltaSpectrum:
    """The spectrum from singular values, largest first. NaN ranks for a delta that is zero or not finite."""
    top = float(values[0]) if len(values) else 0.0
    moved = top > 0.0 and math.isfinite(top)
    return DeltaSpectrum(
        frobenius_norm=frobenius_norm,
        spectral_norm=top,
        stable_rank=(frobenius_norm / top) ** 2 if moved else math.nan,
        effective_rank=_effective_rank(values) if exact and moved else math.nan if exact else None,
        exact=exact,
    )


def thin_spectrum(left: Matrix, right: Matrix, *, scale: float) -> DeltaSpectrum:
    """Of scale L R with `left: [rows, r]` and `right: [r, columns]`, without forming it; float64."""
    if not (np.isfinite(left).all() and np.isfinite(right).all() and math.isfinite(scale)):
        nan = math.nan
        return DeltaSpectrum(frobenius_norm=nan, spectral_norm=nan, stable_rank=nan, effective_rank=nan, exact=True)
    inner = _triangle(left) @ _triangle(right.T).T
    values = np.asarray(abs(scale) * np.linalg.svd(inner, compute_uv=False), np.float64)
    return delta_spectrum(values, frobenius_norm=float(np.sqrt(np.sum(values**2))), exact=True)


def randomised_spectrum(delta: Matrix, *, rank: int, iterations: int, seed: int) -> DeltaSpectrum:
    """Of a full `delta: [rows, columns]`, from about `rank` of its largest singular values; float32 inside.

    Power iterations sharpen the largest one; with 4 of them it is right to 1e-6 where it stands out at all, and is
    never too large. Raises `UsageError` unless rank and iterations are positive and the delta is a matrix.
    """
    if delta.ndim != 2 or rank < 1 or iterations < 1:
        raise UsageError(
            f"no spectrum of shape {delta.shape} by rank {rank} and {iterations} iterations",
            advice="Give a matrix, and at least one of each",
        )
    norm = float(np.linalg.norm(delta.astype(np.float64)))
    if not math.isfinite(norm):
        return delta_spectrum(np.array([math.nan]), frobenius_norm=norm, exact=False)
    narrow = min(rank, *delta.shape)
    working = delta.astype(np.float32)
    guess = np.random.default_rng(seed).standard_normal((delta.shape[1], narrow), dtype=np.float32)
    basis = np.linalg.qr(working @ guess)[0]
    for _ in range(iterations):
        basis = np.linalg.qr(working.T @ basis)[0]
        basis = np.linalg.qr(working @ basis)[0]
    values = np.linalg.svd((basis.T @ working).astype(np.float64), compute_uv=False)
    return delta_spectrum(np.asarray(values, np.float64), frobenius_norm=norm, exact=False)


def _triangle(matrix: Matrix) -> NDArray[np.float64]:
    """R of the QR decomposition, in float64."""
    found: NDArray[np.float64] = np.linalg.qr(matrix.astype(np.float64), mode="r")  # type: ignore[assignment]
    return found  # the stubs think that there is always a Q as well


def _effective_rank(values: NDArray[np.float64]) -> float:
    shares = values[values > 0.0] / float(np.sum(values))
    return math.exp(-float(np.sum(shares * np.log(shares))))
