"""`barograph drift`: how far a checkpoint moved from its reference, layer by layer."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.weights_report import (
    AsJson,
    EveryLayer,
    FailOn,
    PolicyName,
    bar,
    checked_severity,
    columns,
    exit_code,
    judging,
    layer_name,
    number,
    percent,
    printable,
)

if TYPE_CHECKING:
    from barograph.analysis.layer_drift import LayerDrift
    from barograph.policy import Policy

MOST_MOVED = 5


def drift(
    reference: Annotated[Path, typer.Argument(help="Model that training began from: a folder or a .safetensors file.")],
    current: Annotated[Path, typer.Argument(help="Checkpoint: a whole model, or a LoRA adapter on the reference.")],
    as_json: AsJson = False,
    layers: EveryLayer = False,
    policy: PolicyName = "default",
    fail_on: FailOn = None,
    spectrum: Annotated[
        bool, typer.Option("--spectrum", help="Also the spectral norm and rank of each matrix's change; slower.")
    ] = False,
) -> None:
    """Show how far each layer of a checkpoint moved from its reference.

    Each side is read once, in pieces; nothing is unpickled. The relative change is a ratio of norms, and may exceed
    100 %. Exit codes: 0 judged, 1 a finding was as grave as --fail-on says, 2 it could not be judged.

    \b
    Examples:
      barograph drift base/ checkpoint-400/
      barograph drift base/ adapter/ --layers
      barograph drift base/ checkpoint-400/ --json > layer_drift.json
      barograph drift base/ checkpoint-400/ --policy contract --fail-on warning
    """
    from barograph.policy import load

    judge, grave = load(policy), checked_severity(fail_on)
    with judging():
        document = _document(reference, current, judge, spectrum=spectrum)
    if as_json:
        _print_json(document)
    else:
        _print_table(document, judge, every=layers)
    judged = math.isfinite(document.total_relative_change)
    severities = [one.severity for one in document.findings]
    raise typer.Exit(exit_code(severities, fail_on=grave, judged=judged))


def _document(reference: Path, current: Path, policy: "Policy", *, spectrum: bool) -> "LayerDrift":
    """Read both sides, and judge."""
    import msgspec

    from barograph.analysis.layer_drift import layer_drift
    from barograph.policy import interpreted
    from barograph.weights import drift_pass, open_checkpoint
    from barograph.weights.drift_pass import bytes_to_read
    from barograph.weights.spectra import spectra

    with open_checkpoint(reference) as before, open_checkpoint(current) as after:
        total = bytes_to_read(after, before)
        with bar("Reading weights", total=total) as advance:
            done = drift_pass(after, reference=before, progress=advance)
        found = layer_drift(done.rows, pattern_ratio=policy.layer_drift.pattern_ratio)
        if spectrum:
            with bar("Spectra", total=total) as advance:
                found = msgspec.structs.replace(found, spectra=spectra(after, before, progress=advance))
    return interpreted(found, policy=policy)


def _print_json(document: "LayerDrift") -> None:
    import msgspec

    typer.echo(msgspec.json.encode(document).decode())


def _print_table(document: "LayerDrift", policy: "Policy", *, every: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from barograph.policy import drift_colour

    console = Console(soft_wrap=True)
    console.print(Text(f"{printable(document.current_checkpoint)} against {printable(document.reference_checkpoint)}"))
    changed = (
        f", {percent(document.fraction_changed)} of the weights" if math.isfinite(document.fraction_changed) else ""
    )
    console.print(
        f"total change {percent(document.total_relative_change)}{changed}, cosine {document.cosine:.9g},"
        f" {document.total_params:,} parameters, pattern {document.summary.pattern or 'unknown'}",
        highlight=False,
    )
    shown = document.layers
    if not every:
        shown = sorted(shown, key=lambda layer: -layer.relative_change if layer.relative_change >= 0 else -math.inf)
        shown = shown[:MOST_MOVED]
    title = "Every layer" if every else f"The {len(shown)} layers that moved most (--layers shows all)"
    table = columns(title, "layer", "change", "delta norm", "reference", "current", "cosine", "changed")
    for layer in shown:
        colour = drift_colour(layer.relative_change, policy=policy) or "red"
        table.add_row(
            layer_name(layer.layer_idx),
            Text(percent(layer.relative_change), style=colour),
            number(layer.delta_norm),
            number(layer.reference_norm),
            number(layer.current_norm),
            f"{layer.cosine:.6f}",
            percent(layer.fraction_changed),
        )
    console.print(table)
    _print_spectra(document)
    for one in document.findings:
        console.print(Text(printable(f"{one.severity}: {one.message}. {one.cause}. {one.action}.")))


def _print_spectra(document: "LayerDrift") -> None:
    from rich.console import Console
    from rich.text import Text

    if not document.spectra:
        return
    table = columns("Changes of matrices", "tensor", "norm", "spectral norm", "stable rank", "effective rank")
    for one in document.spectra:
        found = one.spectrum
        values = (found.frobenius_norm, found.spectral_norm, found.stable_rank, found.effective_rank)
        table.add_row(Text(printable(one.tensor)), *map(number, values))
    Console(soft_wrap=True).print(table)
