"""One checkpoint's answers to the probe set, as records."""

import time
from pathlib import Path

from barograph.evaluate.generate import generate, load_checkpoint, token_limit
from barograph.evaluate.probe_set import Probe, ProbeSet
from barograph.records import Answer
from barograph.records.quantities import Step
from barograph.tasks.scoring import score


def answers(path: Path, probes: ProbeSet, *, step: Step, device: str = "cpu") -> list[Answer]:
    """Greedy answers of the checkpoint in folder `path` to every probe, scored, in the order of the set.

    Probes of one level and regime are asked together, with room for the longest right answer and a little more, so
    that a model that never stops costs no more than one that does. Raises `CheckpointError`.
    """
    loaded = load_checkpoint(path, device=device)
    groups: dict[tuple[str, str, str], list[Probe]] = {}
    for probe in probes.probes:
        groups.setdefault((probe.task, probe.level, probe.rendered.regime), []).append(probe)
    found = []
    for group in groups.values():
        limit = token_limit(loaded, [probe.rendered.target for probe in group])
        generated = generate(loaded, [probe.rendered.prompt for probe in group], max_new_tokens=limit)
        for probe, text in zip(group, generated, strict=True):
            scored = score(text.text, golden=probe.golden, rendered=probe.rendered, finished=text.finished)
            found.append(
                Answer(
                    step=step,
                    time=time.time(),
                    checkpoint=path.name,
                    probe_set=probes.hash,
                    probe=probe.id,
                    task=probe.task,
                    level=probe.level,
                    regime=probe.rendered.regime,
                    answer=text.text,
                    golden=probe.golden,
                    correct=scored.exact_match,
                    normalized_match=scored.normalized_match,
                    failure_mode=scored.failure_mode,
                    emoji_prefix=scored.contract.emoji_prefix,
                    stop_emoji=scored.contract.stop_emoji,
                    tokens=text.tokens,
                    generation_ms=text.generation_ms,
                )
            )
    return found
