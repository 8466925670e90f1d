"""Compressed data, read once and checked to its end: lengths and checksums are there for this."""

import bz2
import io
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

from diffrect.console import count
from diffrect.errors import InputError
from diffrect.imaging.decode import TRUNCATED

Compression = Literal["gzip", "zlib", "bzip2"]
"""How a file is compressed; zlib is what MetaImage calls compressed, which may be gzip as well."""

DAMAGED = "one that is damaged"
"""What was found in place of a readable file whose checksum does not hold."""
_BEGINNINGS = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "zlib": b""}
ENDLESS = 2**26
"""The most bytes before or after voxels for which anybody waits."""
_PIECE = 2**18
_BITE = 2**15  # of compressed bytes; what a part leaves of one is copied


class Inflated(io.RawIOBase):
    """Compressed data as a stream that can be read forwards only.

    As in gzip, data compressed in several parts is read as one, and what follows the last part and
    is not compressed is left out.

    Attributes:
        trailing: bytes that follow the compressed data, known after `finish`. Zeros only are none:
            tapes and block devices leave them.

    Args:
        file: the compressed file, at the beginning of the data.
        compression: how it is compressed.
        path: its name, for messages.
        expected: what it should be, for messages.

    Raises:
        InputError: the data does not begin as such data does.
    """

    def __init__(self, file: BinaryIO, compression: Compression, path: Path, expected: str) -> None:
        super().__init__()
        self.trailing = 0
        self._file, self._compression = file, compression
        self._path, self._expected = path, expected
        self._place = 0
        self._over = self._dry = False
        self._begin(file.read(_BITE))
        if not self._left.startswith(_BEGINNINGS[compression]):
            raise InputError(path, expected, found=f"no {compression} file")

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go forwards to a byte.

        Raises:
            ValueError: it lies behind.
        """
        if whence != os.SEEK_SET or offset < self._place:
            raise ValueError("compressed data is read forwards only")
        while self._place < offset:
            part = self._part(min(offset - self._place, _PIECE))
            if not part:
                break
            self._place += len(part)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return how many bytes it got, fewer only at the end of the data."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            part = self._part(min(len(view) - done, _PIECE))
            if not part:
                break
            view[done : done + len(part)] = part
            done += len(part)
        self._place += done
        return done

    def finish(self) -> int:
        """Read to the end, which checks it; return the bytes that were left.

        Raises:
            InputError: the data is damaged or cut short, or there is no end to it.
        """
        left, most = 0, self._place + ENDLESS
        while part := self._part(_PIECE):
            left += len(part)
            if left > most:
                raise InputError(
                    self._path, self._expected, found=f"more than {left} bytes after its voxels"
                )
        return left

    def _begin(self, data: bytes) -> None:
        """Begin to decompress one part; `data` are its first bytes."""
        self._left = data
        if self._compression == "bzip2":
            self._inflate: Any = bz2.BZ2Decompressor()
        else:
            self._inflate = zlib.decompressobj(31 if self._compression == "gzip" else 47)

    def _part(self, most: int) -> bytes:
        """Return up to `most` bytes; none only at the end."""
        while not self._over:
            if self._inflate.eof:
                self._over = not self._next()
                continue
            try:
                part: bytes = self._inflate.decompress(self._feed(), most)
            except (zlib.error, OSError) as error:
                reason = str(error).rpartition("data: ")[2]
                raise InputError(self._path, self._expected, found=DAMAGED, reason=reason) from None
            if part:
                return part
            if self._dry and not self._inflate.eof:
                why = "Compressed file ended before the end-of-stream marker was reached"
                raise InputError(self._path, self._expected, found=TRUNCATED, reason=why)
        return b""

    def _feed(self) -> bytes:
        """Return the next bytes to decompress; none where some are still at work."""
        if self._left:
            data, self._left = self._left, b""
            return data
        if self._compression == "bzip2":
            if not self._inflate.needs_input:
                return b""
        elif self._inflate.unconsumed_tail:
            return bytes(self._inflate.unconsumed_tail)
        data = self._file.read(_BITE)
        self._dry = not data
        return data

    def _next(self) -> bool:
        """Begin the next part and return True, or count what follows the last one."""
        beginning = _BEGINNINGS[self._compression]
        rest = bytes(self._inflate.unused_data) or self._file.read(_BITE)
        while len(rest) < len(beginning) and (more := self._file.read(_BITE)):
            rest += more
        if beginning and rest.startswith(beginning):
            self._begin(rest)
            return True
        zeros = True
        while rest:
            self.trailing += len(rest)
            zeros = zeros and not rest.strip(b"\0")
            rest = self._file.read(_BITE)
        if zeros:
            self.trailing = 0
        return False


def remarks_on(surplus: int, trailing: int = 0) -> tuple[str, ...]:
    """Return what is to be said about bytes that a file has too many.

    Args:
        surplus: bytes after the voxels, decompressed.
        trailing: bytes after the compressed data.
    """
    remarks = []
    if surplus:
        remarks.append(
            f"{count(surplus, 'byte')} after its voxels, of which its header says nothing"
        )
    if trailing:
        remarks.append(f"{count(trailing, 'byte')} after its compressed data, which are left out")
    return tuple(remarks)
