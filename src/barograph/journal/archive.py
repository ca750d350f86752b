"""Reads a compressed journal file at any offset of the original: the zstd seekable format.

    frame, frame, ... frame, seek table       zstd frames one after another; plain `zstd -d` reads them all

The seek table is a skippable frame at the end: for each frame its compressed and its decompressed size, then a footer
with the number of frames (facebook/zstd, contrib/seekable_format, zstd_seekable_compression_format.md, version 0.1.0).
The frames of ours hold at most 64 KiB, so that one line costs little; each carries zstd's own checksum of its content,
so the table's optional ones are neither written nor looked at.

Nothing that an archive says of itself is believed before it is bounded: the number of frames, what one frame may hold,
and what all of them may. A table that does not fit the file makes the archive unreadable. A frame that does not fit the
table, or whose checksum is wrong, is damage in one place, and reading goes on behind it.
"""

import os
import struct
import sys
from array import array
from bisect import bisect_right
from itertools import accumulate

import zstandard

from barograph.errors import DamagedArchive
from barograph.journal.content import Chunk

FRAME_BYTES = 65_536
"""Most bytes of the journal in one frame that we write."""

MOST_FRAME_BYTES = 8 << 20
"""Most bytes that are read in one frame: others cut larger ones. It bounds the memory of a reader."""

MOST_FRAMES = 2_000_000
"""128 GiB of ours; their table takes about 50 MB."""

MOST_RATIO = 256
"""How many times its own size an archive may hold, beside `FREE_BYTES`: journals reach about ten."""

FREE_BYTES = 16 << 20
"""Bytes that any archive may hold."""

SKIPPABLE = 0x184D2A5E
SEEKABLE = 0x8F92EAB1
_HEAD = struct.Struct("<II")
_FOOT = struct.Struct("<IBI")
_CHECKSUMS = 0x80
_RESERVED = 0x7C
_ADVICE = "What can be saved of it is what `zstd -d` can read"


class Archive:
    """Owns the descriptor of a compressed journal file and its seek table. A `Content`."""

    def __init__(self, descriptor: int, *, where: str) -> None:
        """Takes over `descriptor`, also if it raises `DamagedArchive` or `OSError`; `where` is for messages."""
        self._descriptor = descriptor
        self._where = where
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MOST_FRAME_BYTES)
        self._kept, self._kept_frame = b"", -1
        try:
            self._begins, self._offsets = self._table()
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size(self) -> int:
        """Bytes of the journal, as the seek table says."""
        return self._offsets[-1]

    def read(self, most: int, offset: int) -> Chunk:
        """As `Content.read`: what is damaged begins and ends with a frame."""
        parts: list[bytes] = []
        at, end = offset, min(offset + most, self.size)
        while at < end:
            # The last of those that begin there: frames without content come before it.
            number = bisect_right(self._offsets, at) - 1
            try:
                data = self._frame(number)
            except DamagedArchive:
                if not parts:
                    raise
                break
            begin = at - self._offsets[number]
            parts.append(data[begin : begin + end - at])
            at += len(parts[-1])
        return Chunk(data=b"".join(parts), more=at < self.size)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self._descriptor)

    def _frame(self, number: int) -> bytes:
        if number != self._kept_frame:
            self._kept = self._decompressed(number)
            self._kept_frame = number
        return self._kept

    def _decompressed(self, number: int) -> bytes:
        """The content of one frame; its sizes are known to be bounded."""
        begin, size = self._begins[number], self._begins[number + 1] - self._begins[number]
        expected = self._offsets[number + 1] - self._offsets[number]
        raw = os.pread(self._descriptor, size, begin)
        try:
            if len(raw) != size:
                raise self._damage(number, f"ends after {len(raw)} of {size} bytes")
            told = zstandard.get_frame_parameters(raw).content_size
            # The decompressor allocates what the frame says, so it is asked first.
            if told not in {expected, zstandard.CONTENTSIZE_UNKNOWN}:
                raise self._damage(number, f"says that it holds {told} bytes, the seek table says {expected}")
            data = self._decompressor.decompress(raw, max_output_size=expected, allow_extra_data=False)
        except (zstandard.ZstdError, MemoryError) as error:
            raise self._damage(number, str(error)) from error
        if len(data) != expected:
            raise self._damage(number, f"holds {len(data)} bytes, the seek table says {expected}")
        return data

    def _damage(self, number: int, what: str) -> DamagedArchive:
        begin = self._begins[number]
        return DamagedArchive(
            f"frame {number} {what}"[:200], where=f"{self._where}, byte {begin}", end=self._offsets[number + 1]
        )

    def _table(self) -> tuple["array[int]", "array[int]"]:
        """Where each frame begins in the file, and in the journal; both with the end of the last frame at their end."""
        size = os.fstat(self._descriptor).st_size
        foot = os.pread(self._descriptor, _FOOT.size, max(0, size - _FOOT.size))
        if len(foot) < _FOOT.size or (told := _FOOT.unpack(foot))[2] != SEEKABLE:
            raise self._unreadable("has no seek table at its end: it is cut short, or not in the seekable format")
        count, flags, _ = told
        each = 12 if flags & _CHECKSUMS else 8
        length = _HEAD.size + count * each + _FOOT.size
        if flags & _RESERVED or count > MOST_FRAMES or length > size:
            raise self._unreadable(
                f"has a seek table of {count} frames and flags {flags:#x}, in a file of {size} bytes"
            )
        table = os.pread(self._descriptor, length - _FOOT.size, size - length)
        if _HEAD.unpack_from(table) != (SKIPPABLE, length - _HEAD.size):
            raise self._unreadable("has a seek table whose beginning is not where its end says")
        entries = array("I", table[_HEAD.size :])
        if sys.byteorder == "big":
            entries.byteswap()
        width = each // 4
        compressed, content = entries[0::width], entries[1::width]
        if max(compressed, default=0) > 2 * MOST_FRAME_BYTES or max(content, default=0) > MOST_FRAME_BYTES:
            raise self._unreadable(f"has a frame of more than {MOST_FRAME_BYTES} bytes")
        begins = array("q", accumulate(compressed, initial=0))
        offsets = array("q", accumulate(content, initial=0))
        if begins[-1] != size - length:
            raise self._unreadable(f"has frames of {begins[-1]} bytes by its seek table, and {size - length} in fact")
        if offsets[-1] > size * MOST_RATIO + FREE_BYTES:
            raise self._unreadable(
                f"says that its {size} bytes hold {offsets[-1]}, more than {MOST_RATIO} times as many"
            )
        return begins, offsets

    def _unreadable(self, what: str) -> DamagedArchive:
        return DamagedArchive(f"the archive {what}", where=self._where, advice=_ADVICE)
