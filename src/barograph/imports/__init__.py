"""Logs of other tools, read as what they are: `FORMATS` lists every format, in the order in which they are tried.

A format is told by what is in a file, never by its name; a folder is looked into. A format of one tool comes before the
table that any log can be, and LLaMA-Factory's before the state that its trainer writes beside it, which is older.
"""

from collections.abc import Mapping
from pathlib import Path

from barograph.errors import ImportFailed
from barograph.imports import dlm, hugging_face, llama_factory, table, training_status
from barograph.imports.imported_log import ImportedLog, Located, Row, SavedCheckpoint, curve_parts
from barograph.imports.log_format import LogFormat, Wanted, sample_of
from barograph.imports.source_file import Progress

FORMATS: tuple[LogFormat, ...] = (
    llama_factory.FORMAT,
    hugging_face.FORMAT,
    dlm.FORMAT,
    training_status.FORMAT,
    table.FORMAT,
)

__all__ = ["FORMATS", "ImportedLog", "Located", "Row", "SavedCheckpoint", "curve_parts", "read_log"]


def read_log(path: Path, *, mapping: Mapping[str, str] | None = None, progress: Progress | None = None) -> ImportedLog:
    """The log at `path`, a file or a folder, of whichever format it is.

    `mapping` says which column is the `step`, the `loss` or the `time`; then only formats with columns are tried.
    `progress` is told of bytes read. Raises `NothingYet` for a log without a point, `ImportFailed` for what is no log
    or must not be opened, `UsageError` for a mapping of something else.
    """
    source = path.expanduser().absolute()
    tried = [one for one in FORMATS if one.mapped or not mapping]
    found, files = _in_folder(source, tried) if _is_folder(source) else _of_file(source, tried)
    return found.read(Wanted(source=source, files=tuple(files), mapping=dict(mapping or {}), progress=progress))


def _is_folder(source: Path) -> bool:
    """Whether it is a folder, and no link to one. Raises `ImportFailed` for such a link."""
    try:
        if not source.is_dir():
            return False
        linked = source.is_symlink()
    except (OSError, ValueError) as error:
        raise ImportFailed(f"it cannot be read: {error}"[:300], where=str(source)[:300]) from error
    if linked:
        raise ImportFailed(
            "this is a link, and links are not followed",
            where=str(source),
            advice=f"Name what it leads to: {source.readlink()}",
        )
    return True


def _of_file(source: Path, tried: list[LogFormat]) -> tuple[LogFormat, list[Path]]:
    sample = sample_of(source)
    for one in tried:
        if one.recognises(sample):
            return one, [source]
    raise ImportFailed("it is no log of a known format", where=str(source), advice=_advice(tried))


def _in_folder(source: Path, tried: list[LogFormat]) -> tuple[LogFormat, list[Path]]:
    failure: ImportFailed | None = None
    for one in tried:
        files = list(one.files_in(source))
        try:
            if files and one.recognises(sample_of(files[0])):
                return one, files
        except ImportFailed as error:
            failure = failure or error
    raise failure or ImportFailed(
        "there is no log of a known format in the folder", where=str(source), advice=_advice(tried)
    )


def _advice(tried: list[LogFormat]) -> str:
    return f"Known are: {', '.join(one.name for one in tried)}"
