"""Append-only files: where they lie, how they are written, how they are followed."""

from barograph.journal.reader import BadLine, Batch, Entry, Position, TailReader
from barograph.journal.wide_rows import metrics_of
from barograph.journal.writer import JournalWriter, NotYet

__all__ = ["BadLine", "Batch", "Entry", "JournalWriter", "NotYet", "Position", "TailReader", "metrics_of"]
