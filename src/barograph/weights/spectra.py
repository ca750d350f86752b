"""The spectrum of what changed in each matrix of the blocks, read one matrix at a time."""

import numpy as np

from barograph.analysis.delta_spectrum import TensorSpectrum, randomised_spectrum, thin_spectrum
from barograph.weights.checkpoint import Checkpoint
from barograph.weights.drift_pass import Match, matched
from barograph.weights.fused_pass import Progress
from barograph.weights.thin_delta import matrix

RANK, ITERATIONS, SEED = 8, 4, 0
LARGEST = 2**26
"""Elements of the largest matrix that is taken; embeddings of large vocabularies are left out."""


def spectra(current: Checkpoint, reference: Checkpoint, *, progress: Progress | None = None) -> list[TensorSpectrum]:
    """One spectrum per matrix that both sides have: exact for an adapter's, by random projection for a full delta."""
    found = []
    for match in matched(current, reference=reference):
        spectrum = _spectrum(match)
        if spectrum is not None:
            found.append(spectrum)
        pair = match.pair
        if progress is not None and pair is not None:
            progress(pair.bytes_to_read)
    return found


def _spectrum(match: Match) -> TensorSpectrum | None:
    if match.state == "adapted" and match.delta is not None:
        delta = match.delta
        return TensorSpectrum(tensor=match.name, spectrum=thin_spectrum(delta.left, delta.right, scale=delta.scale))
    here, there = match.current, match.reference
    if match.state != "compared" or here is None or there is None or here is there or len(here.shape) < 2:
        return None
    if not 0 < here.elements <= LARGEST:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        change = matrix(here, first=0, count=here.elements) - matrix(there, first=0, count=there.elements)
    shaped = change.reshape(here.shape[0], -1)
    found = randomised_spectrum(shaped, rank=RANK, iterations=ITERATIONS, seed=SEED)
    return TensorSpectrum(tensor=match.name, spectrum=found)
