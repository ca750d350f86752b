"""`barograph stability`: how large the weights of a checkpoint are, and whether they are still numbers."""

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
    from barograph.policy import ParameterStability, Policy


def stability(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a model or an adapter, or a .safetensors file.")],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="REFERENCE", help="Model that training began from, to judge growth by."),
    ] = None,
    as_json: AsJson = False,
    layers: EveryLayer = False,
    policy: PolicyName = "default",
    fail_on: FailOn = None,
) -> None:
    """Show how large the weights of each layer are, and what is wrong with them.

    Weights that are NaN or infinite are critical under every policy. The default policy judges growth beside a
    reference; without one it finds what is wrong with the checkpoint by itself. Exit codes: 0 judged, 1 an alert was as
    grave as --fail-on says, 2 it could not be judged.

    \b
    Examples:
      barograph stability checkpoint-400/
      barograph stability checkpoint-400/ --reference base/ --layers
      barograph stability checkpoint-400/ --policy contract --json > parameter_stability.json
      barograph stability checkpoint-400/ --fail-on critical
    """
    from barograph.policy import load

    judge, grave = load(policy), checked_severity(fail_on)
    with judging():
        document = _document(checkpoint, reference, judge)
    if as_json:
        _print_json(document)
    else:
        _print_table(document, every=layers)
    severities = [alert.severity for alert in document.alerts]
    raise typer.Exit(exit_code(severities, fail_on=grave, judged=True))


def _document(checkpoint: Path, reference: Path | None, policy: "Policy") -> "ParameterStability":
    """Read the checkpoint, beside its reference if there is one, and judge."""
    from contextlib import ExitStack

    from barograph.analysis.weight_stability import weight_stability
    from barograph.policy import parameter_stability
    from barograph.weights import drift_pass, open_checkpoint
    from barograph.weights.drift_pass import bytes_to_read

    with ExitStack() as stack:
        after = stack.enter_context(open_checkpoint(checkpoint))
        before = None if reference is None else stack.enter_context(open_checkpoint(reference))
        with bar("Reading weights", total=bytes_to_read(after, before)) as advance:
            done = drift_pass(after, reference=before, progress=advance)
    return parameter_stability(weight_stability(done.rows), policy=policy)


def _print_json(document: "ParameterStability") -> None:
    import msgspec

    typer.echo(msgspec.json.encode(document).decode())


def _print_table(document: "ParameterStability", *, every: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console, summary = Console(soft_wrap=True), document.summary
    beside = "" if document.reference is None else f" beside {printable(document.reference)}"
    console.print(Text(f"{printable(document.checkpoint)}{beside}: {summary.health_status}"))
    console.print(
        f"{summary.num_layers} layers, weight norm {number(summary.avg_weight_norm)} on average"
        f" ({number(summary.min_weight_norm)} to {number(summary.max_weight_norm)}), {summary.total_alerts} alerts",
        highlight=False,
    )
    alerted = {alert.layer: alert.severity for alert in reversed(document.alerts)}
    shown = [layer for layer in document.layers if every or layer.layer_idx in alerted]
    if shown:
        title = "Every layer" if every else "Layers with alerts (--layers shows all)"
        table = columns(title, "layer", "norm", "largest", "smallest", "not finite", "zeros", "zero rows", "growth")
        for layer in shown:
            style = {"critical": "red", "warning": "yellow"}.get(alerted.get(layer.layer_idx, ""), "")
            table.add_row(
                Text(layer_name(layer.layer_idx), style=style),
                number(layer.weight_norm),
                number(layer.max_abs_weight),
                number(layer.min_abs_weight),
                str(layer.non_finite),
                percent(layer.zero_fraction),
                str(layer.zero_rows),
                "-" if layer.norm_growth is None or math.isnan(layer.norm_growth) else f"{layer.norm_growth:.4f}",
            )
        console.print(table)
    for alert in document.alerts:
        text = f"{alert.severity}: {alert.message} ({number(alert.value)}, limit {number(alert.threshold)})."
        console.print(Text(printable(f"{text} {alert.cause}. {alert.action}.")))
