"""The bytes of a journal file by their offsets, the same ones whether it lies there as it was written or compressed."""

import os
from typing import Protocol

import msgspec


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """What one read found."""

    data: bytes
    """Bytes from the offset on."""
    more: bool
    """Whether the file may hold more after them."""


class Content(Protocol):
    """One open journal file."""

    @property
    def size(self) -> int:
        """Bytes of the journal, uncompressed; a file that is written to grows."""

    def read(self, most: int, offset: int) -> Chunk:
        """Up to `most` bytes from `offset` on; fewer at the end, or before a part that is damaged.

        Raises `DamagedArchive` if the damage is at `offset`, `OSError` if the disk fails.
        """

    def close(self) -> None:
        """Closes the file."""


class PlainContent:
    """Owns the descriptor of a journal file as it was written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """Bytes, now."""
        return os.fstat(self._descriptor).st_size

    def read(self, most: int, offset: int) -> Chunk:
        """As `Content.read`; nothing of it is damaged."""
        data = os.pread(self._descriptor, most, offset)
        return Chunk(data=data, more=len(data) == most)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self._descriptor)
