"""Files below a limit: content is written one part after another, and joined with checksums."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diffrect.atomic import write_atomic
from diffrect.data.integrity import checksum, is_intact
from diffrect.errors import InputError
from diffrect.json_files import read_json

LEAST, PIECE = 2**10, 2**20  # bytes
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_size(text: str) -> int:
    """Return the bytes of a size such as 60MiB.

    Raises:
        InputError: something else, or less than 1KiB.
    """
    match = re.fullmatch(r"(\d{1,9}) *(|KiB|MiB|GiB)", text.strip())
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if size < LEAST:
        raise InputError("--part-size", "a size from 1KiB on, such as 60MiB", got=repr(text))
    return size


def write_parts(
    pieces: Iterable[bytes], folder: Path, stem: str, limit: int
) -> list[dict[str, Any]]:
    """Write content into folder/STEM.01, STEM.02 ..., and return name, bytes and sha256 of each.

    Args:
        pieces: the content, in pieces of any size.
        folder: where the parts go, which is made.
        stem: their name.
        limit: bytes of a part at most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Any]] = []
    waiting = bytearray()

    def write(content: bytes) -> None:
        name = f"{stem}.{len(parts) + 1:02d}"
        write_atomic(folder / name, content)
        sha = checksum(content)
        parts.append({"name": name, "bytes": len(content), "sha256": sha})

    for piece in pieces:
        waiting += piece
        while len(waiting) > limit:
            write(bytes(waiting[:limit]))
            del waiting[:limit]
    write(bytes(waiting))
    return parts


def joined(folder: Path, parts: Iterable[dict[str, Any]]) -> bytes:
    """Return the content that `write_parts` was given.

    Raises:
        InputError: a part is missing or has changed.
    """
    return b"".join(_intact(folder / part["name"], part) for part in parts)


def _intact(file: Path, part: dict[str, Any]) -> bytes:
    if not file.is_file():
        raise InputError(file, "a part of what was written", found="no such file")
    content = file.read_bytes()
    if checksum(content) != part["sha256"]:
        raise InputError(file, "the part as it was written, it has changed")
    return content


def pieces_of(file: Path) -> Iterator[bytes]:
    """Yield a file's content in pieces."""
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


def read_manifest(file: Path, version: int, maker: str) -> dict[str, Any]:
    """Return what a folder's sealed JSON says, which is written after everything else.

    Args:
        file: the JSON.
        version: the format that is known here.
        maker: the command that writes such folders.

    Raises:
        InputError: there is none, it has changed, or it is of another format.
    """
    if not file.is_file():
        raise InputError(file.parent, f"a folder that {maker} has written", found=f"no {file.name}")
    content = read_json(file)
    if not is_intact(content):
        raise InputError(file, f"the contents that {maker} wrote, they have changed")
    if content.get("format") != version:
        raise InputError(file, f"format {version}", got=content.get("format"))
    return content
