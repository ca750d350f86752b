"""Opens a journal file by its logical path, whichever way it lies there."""

from pathlib import Path

from barograph.journal.content import Content, PlainContent
from barograph.journal.layout import archive_of, open_regular


def open_content(root: Path, path: Path) -> Content:
    """The journal file of the logical path `path` inside `root`, from its archive if there is no original.

    Raises as `layout.open_regular`, and `DamagedArchive`.
    """
    try:
        return PlainContent(open_regular(root, path))
    except FileNotFoundError:
        descriptor = open_regular(root, archive_of(path))
    # Loaded only where there is an archive: a training process imports this module and never meets one.
    from barograph.journal.archive import Archive

    return Archive(descriptor, where=str(archive_of(path).relative_to(root)))
