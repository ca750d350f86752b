"""Writes the generated pages of `docs/reference` from the code that they describe: `python docs/generate.py`.

`PAGES` maps each page to the function that makes its text; `tests/architecture/test_docs.py` holds the files against
these functions, so a page that is out of date fails the build. Nothing on these pages is written by hand.
"""

from collections.abc import Callable, Iterable
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
from barograph.analysis.loss_curve import LossCurve
from barograph.analysis.spikes import Spike
from barograph.analysis.tensor_drift import TensorDrift
from barograph.analysis.trend import Trend
from barograph.analysis.weight_stability import StabilityLayer
from barograph.api.app import create_app
from barograph.policy.judgement import Figure, Judged
from barograph.policy.weight_stability import ParameterStability, StabilitySummary, WeightAlert
from barograph.records import KINDS
from barograph.records.weights import Finding
from barograph.views import documents, verdict_documents, weight_documents

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

HELP_WIDTH = 100

ANALYSED: tuple[type[msgspec.Struct], ...] = (
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
    for module in (documents, weight_documents, verdict_documents):
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


PAGES: dict[str, Callable[[], str]] = {"api.md": api_page, "cli.md": cli_page, "records.md": records_page}


if __name__ == "__main__":
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make(), encoding="utf-8")
