"""Writes the documents about weights into a run's `status/` folder.

They are for other programs. Nothing of ours reads them.
"""

from collections.abc import Mapping
from pathlib import Path

from barograph.journal.status_document import replace_status_document
from barograph.views.unified import WeightsDocument


def write_documents(root: Path, run: Path, documents: Mapping[WeightsDocument, bytes]) -> None:
    """Write each as `<run>/status/<name>.json`; one that says the same already is left alone.

    Raises `UnsafePath` if the way there leads over a link, and `OSError` if it cannot be written.
    """
    for name, content in documents.items():
        replace_status_document(run, f"{name}.json", content + b"\n", root=root)
