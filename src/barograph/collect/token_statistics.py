"""How sure the model is of its next tokens: entropy and greatest probability at a few positions of a batch.

    H = -sum_v p_v ln p_v   (nats),   p = softmax(logits),   averaged over the sampled positions

Sixteen positions are drawn on the device, among those that have a label, with a generator of our own: the global one
would change the training. They are taken from the output of one forward pass, by a hook that is there for that one call
of the training step and then gone. A trainer that makes no logits (a fused loss) has none; the reason is said.
"""

import time
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from msgspec import Struct

from barograph.journal.writer import described

POSITIONS = 16
"""Positions that are looked at: at 49,152 words, 64 of them would cost seventeen times as much on a processor."""

_SEED = 7_000_003


class TokenStatistics(Struct, frozen=True):
    """Means over the sampled positions, as tensors of one element; NaN if none of them has a label."""

    entropy: torch.Tensor
    """Nats."""
    top1_probability: torch.Tensor
    """Ratio."""


class TokenSampler:
    """Owns the hook on a model, from `arm` to `disarm`, and a generator per device."""

    def __init__(self) -> None:
        self._generators: dict[torch.device, torch.Generator] = {}
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        self._found: TokenStatistics | None = None
        self.seconds = 0.0
        """What the newest look took in this thread."""
        self.why: str | None = None
        """Why the newest pass gave nothing; None if it gave something, or was not looked at."""

    def arm(self, model: object) -> bool:
        """Look at the next forward pass of `model`; False, with the reason in `why`, if that cannot be."""
        if not isinstance(model, torch.nn.Module):
            self.why = f"The training step was given a {type(model).__name__}, not a model."
            return False
        if getattr(model, "_compiled_call_impl", None) is not None:
            self.why = "The model was compiled in place (model.compile()): a hook would make it compile again."
            return False
        self.disarm()
        sampler = weakref.ref(self)

        def hook(module: object, arguments: object, named: Mapping[str, object], output: object) -> None:
            mine = sampler()
            if mine is not None:
                mine._look(named, output)

        self._hook = model.register_forward_hook(hook, with_kwargs=True)
        return True

    def disarm(self) -> None:
        """Take the hook away."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def take(self) -> TokenStatistics | None:
        """What the last pass gave; None if it gave nothing."""
        found, self._found = self._found, None
        return found

    def _look(self, named: Mapping[str, object], output: object) -> None:
        if self._found is not None:
            return
        began = time.perf_counter()
        try:
            logits = getattr(output, "logits", None)
            if not isinstance(logits, torch.Tensor) or logits.dim() != 3 or not logits.numel():
                kind = type(output).__name__
                raise LookupError(f"the model's output ({kind}) has no logits: its loss is computed without them")
            labels = named.get("labels")
            mask = named.get("attention_mask")
            valid = _valid(logits, labels if isinstance(labels, torch.Tensor) else None, mask)
            self._found = token_statistics(logits, valid, generator=self._generator(logits.device))
            self.why = None
        except Exception as error:  # noqa: BLE001 - inside the model's forward pass nothing of ours may raise
            self.why = described(error)
        self.seconds = time.perf_counter() - began

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            generator = torch.Generator(device=device)
            generator.manual_seed(_SEED)
            self._generators[device] = generator
        return self._generators[device]


@torch.no_grad()
def token_statistics(
    logits: torch.Tensor, valid: torch.Tensor | None, *, generator: torch.Generator, positions: int = POSITIONS
) -> TokenStatistics:
    """Of `logits: [batch, position, vocab]` at sampled positions, of those where `valid: [batch, position]` is true.

    Drawn without replacement: a random key for each position, and the greatest of those that count (Efraimidis and
    Spirakis 2006, with equal weights), which asks nothing back from the device.
    """
    rows = logits.detach().reshape(-1, logits.shape[-1])
    keys = torch.rand(rows.shape[0], generator=generator, device=rows.device)
    if valid is not None:
        keys = torch.where(valid.reshape(-1), keys, keys - 2.0)
    chosen = keys.topk(min(positions, rows.shape[0]))
    counts = (chosen.values >= 0.0).to(torch.float32)
    probabilities = rows[chosen.indices].float().softmax(-1)
    number = counts.sum()
    entropy = torch.special.entr(probabilities).sum(-1)
    greatest = probabilities.amax(-1)
    nothing = torch.zeros_like(entropy)
    return TokenStatistics(
        entropy=torch.where(counts > 0.0, entropy, nothing).sum() / number,
        top1_probability=torch.where(counts > 0.0, greatest, nothing).sum() / number,
    )


def _valid(logits: torch.Tensor, labels: torch.Tensor | None, mask: Any) -> torch.Tensor | None:
    """Where the prediction counts: position t predicts label t + 1. Without labels, where the mask is."""
    shape = logits.shape[:2]
    if labels is not None and labels.shape == shape:
        valid = torch.zeros_like(labels, dtype=torch.bool)
        valid[:, :-1] = labels[:, 1:] != -100
        return valid.to(logits.device)
    if isinstance(mask, torch.Tensor) and mask.shape == shape:
        return mask.to(device=logits.device, dtype=torch.bool)
    return None
