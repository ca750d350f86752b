"""Writes the generated pages of `docs/reference` from the code that they describe: `python docs/generate.py`.

`PAGES` maps each page to the function that makes its text; `tests/architecture/test_docs.py` holds the files against
these functions, so a page that is out of date fails the build. Nothing on these pages is written by hand.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from pathlib import Path

import msgspec
from litestar.testing import TestClient
from msgspec import inspect
from typer.main import get_command
from typer.testing import CliRunner

from barograph import cli
from barograph.analysis.delta_spectrum import DeltaSpectrum, TensorSpectrum
from barograph.analysis.finite_losses import FiniteLosses
from barograph.analysis.layer_drift import DriftLayer, DriftSummary, LayerDrift
from barograph.analysis.layer_rows import LayerRow, LayerSummary
from barograph.analysis.loss_curve import LossCurve
from barograph.analysis.spikes import Spike
from barograph.analysis.tensor_drift import TensorDrift
from barograph.analysis.training_status import (
    StatusAlert,
    StatusAlertSummary,
    StatusExample,
    StatusHeatmap,
    StatusHeatmapCell,
    StatusLayer,
    StatusSample,
    TrainingStatus,
)
from barograph.analysis.trend import Trend
from barograph.analysis.weight_stability import StabilityLayer
from barograph.api.app import create_app
from barograph.policy import Policy, load
from barograph.policy.judgement import Figure, Judged
from barograph.policy.load import SHIPPED
from barograph.policy.weight_stability import ParameterStability, StabilitySummary, WeightAlert
from barograph.records import KINDS
from barograph.records.alerts import AdviceItem, Example
from barograph.records.signals import Gpu
from barograph.records.weights import Finding
from barograph.views import documents, monitor_documents, verdict_documents, weight_documents

REFERENCE = Path(__file__).resolve().parent / "reference"

SAYS_GENERATED = "<!-- Made by docs/generate.py. Change the code that it describes, and run it again. -->"

RECORDS_INTRODUCTION = f"""{SAYS_GENERATED}
# Records

Every line of a journal is one record: a JSON object whose `type` says which of these kinds it is. A field
whose value is its default is left out of the line. Steps are optimizer steps and are never reset; times are
seconds since 1970-01-01T00:00:00 UTC by the writer's clock; a number may be the text "NaN", "Infinity" or
"-Infinity". A line ends in `"_c"`, its checksum. How lines are written and read is told in
[the journal](../explanation/journal.md)."""

API_INTRODUCTION = f"""{SAYS_GENERATED}
# The API

`barograph serve` answers these requests, and describes itself as OpenAPI 3.1 at `GET /api/openapi.json`. Times are
ISO 8601 with offset, UTC. `null` means not measured. A number that is not finite is the text "NaN", "Infinity" or
"-Infinity" in the documents of ours, and `null` with its reason under `why` in those of the seeds: `LiveStatus`,
`LayerDrift`, `ParameterStability`. A GET answers 304 to an
`If-None-Match` that names the newest document. Where the server asks for its token, send
`Authorization: Bearer TOKEN`; see [how to watch a remote machine](../how-to/remote-server.md)."""

CLI_INTRODUCTION = f"""{SAYS_GENERATED}
# The commands

What each says of itself under `--help`. Exit codes: 0 fine, 1 failed, 2 asked for what cannot be."""

THRESHOLDS_INTRODUCTION = f"""{SAYS_GENERATED}
# Thresholds

Every number that decides something stands in a policy, and none in the code. Two policies come with barograph:
`default` is ours, and `contract` holds the values of the documents that users asked for, word for word. Where the two
differ, the remarks say why.

A policy of your own is a TOML file that names its `base` and the keys that differ:

```toml
base = "default"

[alerts.loss_spike]
min_ratio = 1.5
life = {{ severity = "critical", fire_after = 2 }}
```

`TrainerCallback(policy="mine.toml")` and `barograph.init(policy="mine.toml")` raise alerts by it while a model
trains; `barograph serve --policy`, `barograph watch --policy` and `barograph check --policy` judge by it afterwards:
the records stay what they are, so that another policy judges the same numbers. A key that nobody knows, or a value out
of range, is an error that names it and says what may stand there.

`enabled = false` in an alert's table switches it off: its condition is not looked for, and its state is `no_data` with
the reason "switched off by the policy".

```toml
base = "default"

[alerts.throughput_degraded]
enabled = false
```

An alert is raised once its condition was seen `life.fire_after` times in a row, and is over once it was looked for
`life.resolve_after` times in a row and not seen. Seen again within `life.cooldown_s` seconds of that, it is the same
alert: its count goes on, and nobody is told a second time."""

FOLDS = ("streaming", "layer_activity", "throughput", "advice")
"""Tables of what is derived while a model trains."""

HELP_WIDTH = 100

ANALYSED: tuple[type[msgspec.Struct], ...] = (
    Gpu,
    AdviceItem,
    Example,
    LayerRow,
    LayerSummary,
    TrainingStatus,
    StatusAlert,
    StatusAlertSummary,
    StatusLayer,
    StatusSample,
    StatusExample,
    StatusHeatmap,
    StatusHeatmapCell,
    LayerDrift,
    DriftSummary,
    DriftLayer,
    TensorSpectrum,
    DeltaSpectrum,
    Finding,
    ParameterStability,
    StabilitySummary,
    WeightAlert,
    StabilityLayer,
    TensorDrift,
    Judged,
    Figure,
    LossCurve,
    Spike,
    Trend,
    FiniteLosses,
)
"""What documents of the API are made of that is defined where it is computed."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a JSON schema allows."""

    ref: str = msgspec.field(name="$ref", default="")
    """Where the schema stands, if it stands elsewhere."""
    minimum: float | None = None
    """Least number."""
    maximum: float | None = None
    """Greatest number."""
    longest: int | None = msgspec.field(name="maxLength", default=None)
    """Most characters."""


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a JSON schema that the page needs."""

    default: msgspec.Raw = msgspec.Raw(b"null")
    """What is used if nothing is sent, as JSON."""
    ref: str = msgspec.field(name="$ref", default="")
    """Where the schema stands, if it stands elsewhere."""
    minimum: float | None = None
    maximum: float | None = None
    longest: int | None = msgspec.field(name="maxLength", default=None)
    choices: list[Limits] = msgspec.field(name="oneOf", default_factory=list)
    """The schemas of which one applies."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter in the path or in the query."""

    name: str
    schema: Schema
    description: str = ""
    required: bool = False


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """What the body of an answer is."""

    schema: Schema = Schema()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One possible answer of a route."""

    content: dict[str, Media] = {}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of a path."""

    summary: str
    description: str = ""
    parameters: list[Parameter] = []
    responses: dict[str, Answer] = {}


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /api/openapi.json` answers: path to method to operation."""

    paths: dict[str, dict[str, Operation]]


def sentence(struct: type[msgspec.Struct]) -> str:
    """The documentation of a Struct, with every paragraph on one line."""
    paragraphs = (struct.__doc__ or "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def bounds(low: float | None, high: float | None) -> str:
    """A range in words; the bound of a 64-bit integer says nothing and is left out."""
    if high is not None and high >= 2**63 - 1:
        high = None
    if low is not None and high is not None:
        return f" ({low:,g} to {high:,g})"
    if low is not None:
        return f" ({low:,g} or more)"
    return "" if high is None else f" (at most {high:,g})"


def simple_type(wanted: inspect.Type) -> str | None:
    """A type without parts, in words; None if it has parts."""
    match wanted:
        case inspect.IntType():
            return "integer" + bounds(wanted.ge, wanted.le)
        case inspect.FloatType():
            return "number" + bounds(wanted.ge, wanted.le)
        case inspect.StrType():
            return "text"
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
        case inspect.LiteralType():
            return ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in wanted.values)
        case _:
            return None


def type_in_words(wanted: inspect.Type) -> str:
    """What JSON value a field holds."""
    simple = simple_type(wanted)
    if simple is not None:
        return simple
    match wanted:
        case inspect.Metadata():
            return type_in_words(wanted.type)
        case inspect.ListType() | inspect.VarTupleType():
            return f"list of {type_in_words(wanted.item_type)}"
        case inspect.TupleType():
            return f"list of {' and '.join(type_in_words(one) for one in wanted.item_types)}"
        case inspect.DictType():
            return f"object, name to {type_in_words(wanted.value_type)}"
        case inspect.StructType():
            page = "records.md" if wanted.cls in KINDS else ""
            return f"[{wanted.cls.__name__}]({page}#{wanted.cls.__name__.lower()})"
        case inspect.UnionType():
            kinds = [type_in_words(kind) for kind in wanted.types]
            return " or ".join([*(kind for kind in kinds if kind != "null"), *(["null"] if "null" in kinds else [])])
        case _:
            raise TypeError(f"no words for {wanted!r}: add them to docs/generate.py")


def description(field: inspect.Field) -> str:
    """The sentence of a field; empty if it has none."""
    schema = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
    return str((schema or {}).get("description", ""))


def default(field: inspect.Field) -> str:
    """What a missing field means, as JSON; empty for a field that is never left out."""
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    if field.default is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default).decode()}`"
    return ""


def fields(struct: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    """The fields of a Struct, in order."""
    found = inspect.type_info(struct)
    assert isinstance(found, inspect.StructType)
    return found.fields


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown; bars inside a cell are escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def record_section(kind: type[msgspec.Struct]) -> str:
    """One kind of record: its tag, its sentence, its fields."""
    rows = [
        (f"`{field.encode_name}`", type_in_words(field.type), default(field), description(field))
        for field in fields(kind)
    ]
    head = ("field", "holds", "if left out", "what it is")
    tag = f'`"type": "{kind.__struct_config__.tag}"`'
    return "\n\n".join([f"## {kind.__name__}", tag, sentence(kind), table(head, rows)])


def records_page() -> str:
    """The reference of every record kind, in the order of `KINDS`."""
    return "\n\n".join([RECORDS_INTRODUCTION, *(record_section(kind) for kind in KINDS)]) + "\n"


def document_section(document: type[msgspec.Struct]) -> str:
    """One document of the API: its sentence, its fields."""
    rows = [(f"`{field.encode_name}`", type_in_words(field.type), description(field)) for field in fields(document)]
    return "\n\n".join([f"### {document.__name__}", sentence(document), table(("field", "holds", "what it is"), rows)])


def parameter_bounds(schema: Schema) -> str:
    """What a parameter may be, in words; empty if anything."""
    for one in (schema, *schema.choices):
        if one.longest is not None:
            return f"at most {one.longest} characters"
        if one.minimum is not None or one.maximum is not None:
            return bounds(one.minimum, one.maximum).strip()
    return ""


def parameter_row(parameter: Parameter) -> tuple[str, str, str, str]:
    """One parameter of a route: its name, what it may be, what is sent if it is left out, its sentence."""
    missing = bytes(parameter.schema.default).decode()
    said = "must be given" if parameter.required else "" if missing == "null" else f"`{missing}`"
    return f"`{parameter.name}`", parameter_bounds(parameter.schema), said, parameter.description


def document_of(operation: Operation) -> str:
    """A link to the document, or to each of them, that a route answers with; empty if it answers with none."""
    answer = operation.responses.get("200", Answer())
    schemas = [one for media in answer.content.values() for one in (media.schema, *media.schema.choices)]
    names = [one.ref.rpartition("/")[2] for one in schemas if one.ref]
    links = " or ".join(f"[{name}](#{name.lower()})" for name in names)
    return f" It answers with {links}." if links else ""


def route_section(method: str, path: str, operation: Operation) -> str:
    """One route: its address, its sentence, its parameters."""
    said = " ".join(f"{operation.summary}. {operation.description}".split())
    parts = [f"### {method.upper()} {path}", f"{said}{document_of(operation)}"]
    rows = [parameter_row(parameter) for parameter in operation.parameters]
    if rows:
        parts.append(table(("parameter", "may be", "if left out", "what it is"), rows))
    return "\n\n".join(parts)


def described() -> Description:
    """The API's description of itself, asked for as any client would; it needs no runs."""
    with TestClient(create_app(Path("no-runs")), base_url="http://127.0.0.1") as client:
        return msgspec.json.decode(client.get("/api/openapi.json").raise_for_status().content, type=Description)


def api_documents() -> list[type[msgspec.Struct]]:
    """Every Struct of the modules of documents, in the order of the files, and those of analyses inside them."""
    found: list[type[msgspec.Struct]] = []
    for module in (documents, monitor_documents, weight_documents, verdict_documents):
        types = [value for value in vars(module).values() if isinstance(value, type)]
        found += [kind for kind in types if issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__]
    return [*found, *ANALYSED]


def api_page() -> str:
    """The reference of every route and every document."""
    routes = [
        route_section(method, path, operation)
        for path, operations in described().paths.items()
        for method, operation in operations.items()
    ]
    sections = [document_section(document) for document in api_documents()]
    return "\n\n".join([API_INTRODUCTION, "## Requests", *routes, "## Documents", *sections]) + "\n"


def command_section(name: str) -> str:
    """One command, as its `--help` shows it; the program's own for an empty name."""
    asked = [*name.split(), "--help"]
    shown = CliRunner().invoke(cli.app, asked, prog_name="barograph", terminal_width=HELP_WIDTH)
    assert shown.exit_code == 0, shown.output
    text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
    return f"## barograph {name}".rstrip() + f"\n\n```\n{text}\n```"


def cli_page() -> str:
    """The reference of every command."""
    names = ["", *getattr(get_command(cli.app), "commands")]  # noqa: B009 - typer's group is not typed as one
    return "\n\n".join([CLI_INTRODUCTION, *(command_section(name) for name in names)]) + "\n"


def table_of(field: inspect.Field) -> type[msgspec.Struct] | None:
    """The Struct that a field of a policy holds; None if it is a key."""
    wanted = field.type.type if isinstance(field.type, inspect.Metadata) else field.type
    return wanted.cls if isinstance(wanted, inspect.StructType) else None


def policy_tables(kind: type[msgspec.Struct], path: str = "") -> Iterable[tuple[str, type[msgspec.Struct]]]:
    """Every table of a policy: its name in the file, and the Struct of its keys."""
    for field in fields(kind):
        inner, name = table_of(field), f"{path}{field.encode_name}"
        if inner is not None and all(table_of(one) for one in fields(inner)):
            yield from policy_tables(inner, f"{name}.")
        elif inner is not None:
            yield name, inner


def remarks(policy: str) -> dict[str, str]:
    """Table, or table and key, to what a policy file says above it."""
    found: dict[str, str] = {}
    name, said = "", []
    for line in resources.files("barograph.policy").joinpath(f"{policy}.toml").read_text("utf-8").splitlines():
        if line.startswith("#"):
            said.append(line.removeprefix("#").strip())
            continue
        if line.startswith("["):
            name = line.strip("[]")
        key = name if line.startswith("[") else f"{name}.{line.partition('=')[0].strip()}"
        if said and line:
            found[key] = " ".join(said)
        said = []
    return found


def toml_value(value: object) -> str:
    """A value as a policy file spells it."""
    if isinstance(value, msgspec.Struct):
        keys = msgspec.structs.asdict(value).items()
        return "{ " + ", ".join(f"{key} = {toml_value(one)}" for key, one in keys) + " }"
    if isinstance(value, bool | str):
        return msgspec.json.encode(value).decode()
    return f"{value:g}" if isinstance(value, float) else str(value)


def key_rows(kind: type[msgspec.Struct], values: Sequence[msgspec.Struct]) -> list[tuple[str, ...]]:
    """One row per key: its name, its value in each policy, what it may be, and what it means."""
    rows: list[tuple[str, ...]] = []
    for field in fields(kind):
        inner = table_of(field)
        if not field.encode_name.startswith("recommendation"):
            shown = [f"`{toml_value(getattr(value, field.encode_name))}`" for value in values]
            may_be = "" if inner else type_in_words(field.type)
            rows.append((f"`{field.encode_name}`", *shown, may_be, sentence(inner) if inner else description(field)))
    return rows


def threshold_section(name: str, kind: type[msgspec.Struct]) -> str:
    """One table of the policies: what it is for, what to do, its keys, and why they are what they are."""
    values = []
    for policy in SHIPPED:
        found: object = load(policy)
        for part in name.split("."):
            found = getattr(found, part)
        assert isinstance(found, msgspec.Struct)
        values.append(found)
    parts = [f"### {name}", sentence(kind)]
    for field in fields(kind):
        if field.encode_name.startswith("recommendation"):
            where = description(field).removeprefix("The same").rstrip(".")
            where = where if where.startswith(" where ") else ""
            parts += [f"What to do{where}: {said}" for said in sorted({getattr(one, field.name) for one in values})]
    parts.append(
        table(("key", *(f"`{policy}`" for policy in SHIPPED), "may be", "what it means"), key_rows(kind, values))
    )
    for policy in SHIPPED:
        said = [text for key, text in remarks(policy).items() if key == name or key.startswith(f"{name}.")]
        if said:
            parts.append("\n".join([f"From `{policy}.toml`:", "", *(f"- {text}" for text in said)]))
    return "\n\n".join(parts)


def thresholds_page() -> str:
    """The reference of every threshold."""
    tables = [one for one in policy_tables(Policy) if not one[0].startswith("interpretation")]
    alerts = [threshold_section(*one) for one in tables if one[0].startswith("alerts.")]
    folds = [threshold_section(*one) for one in tables if one[0] in FOLDS]
    others = [threshold_section(*one) for one in tables if one[0] not in FOLDS and not one[0].startswith("alerts.")]
    return (
        "\n\n".join(
            [
                THRESHOLDS_INTRODUCTION,
                "## Alerts while a model trains",
                *alerts,
                "## What these rest on",
                *folds,
                "## Verdicts",
                *others,
            ]
        )
        + "\n"
    )


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api_page,
    "cli.md": cli_page,
    "records.md": records_page,
    "thresholds.md": thresholds_page,
}


if __name__ == "__main__":
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make(), encoding="utf-8")
