"""Arrays of one shape, held compressed: class maps take about a hundredth of their bytes."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

KEPT_BYTES = 2**26  # of arrays that stay unpacked, of those that were read last
LEVEL = 1  # zlib's quickest
NOTHING = torch.empty(0, dtype=torch.uint8)


class Packed:
    """Arrays of one shape, each compressed; those that were read last stay unpacked too.

    Args:
        rows: the arrays as `pack` makes them.
        shape: shape of each.
        dtype: number type of each.
    """

    def __init__(self, rows: Iterable[bytes], shape: Iterable[int], dtype: torch.dtype) -> None:
        self.rows, self.dtype = tuple(rows), dtype
        self.shape = torch.Size((len(self.rows), *shape))
        size = self.shape[1:].numel() * dtype.itemsize
        unpack = partial(_unpack, self.rows, self.shape[1:], dtype)
        self._unpacked = lru_cache(maxsize=max(1, KEPT_BYTES // max(1, size)))(unpack)

    @classmethod
    def of(cls, values: Tensor) -> "Packed":
        """Return the arrays of a tensor (N, ...)."""
        return cls(pack(values), values.shape[1:], values.dtype)

    def __len__(self) -> int:
        """Return the number of arrays, N."""
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the arrays (*rows.shape, ...) of some rows, in memory of their own."""
        return stacked(rows, self._unpacked, self.shape[1:], self.dtype)

    def all(self) -> Tensor:
        """Return all arrays, (N, ...)."""
        return self[torch.arange(len(self))]

    def replaced(self, rows: Tensor, new: Iterable[bytes]) -> "Packed":
        """Return the arrays with those of some rows replaced by packed ones."""
        whole = dict(enumerate(self.rows)) | dict(zip(rows.tolist(), new, strict=True))
        return Packed(whole.values(), self.shape[1:], self.dtype)

    def state(self) -> dict[str, Tensor]:
        """Return the arrays for a checkpoint, as compressed as they are here."""
        whole = bytearray(b"".join(self.rows))
        return {
            "packed": torch.frombuffer(whole, dtype=torch.uint8) if whole else NOTHING,
            "lengths": torch.tensor([len(row) for row in self.rows]),
            "shape": torch.tensor(self.shape[1:]),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any] | Tensor, dtype: torch.dtype) -> "Packed":
        """Return the arrays of a checkpoint, of which earlier ones hold a plain tensor.

        Raises:
            ValueError: they are not whole.
        """
        if isinstance(state, Tensor):
            return cls.of(state.cpu())
        whole, rows, start = state["packed"].cpu().numpy().tobytes(), [], 0
        for length in state["lengths"].tolist():
            rows.append(whole[start : start + length])
            start += length
        if start != len(whole):
            raise ValueError(f"expected {start} bytes of packed arrays, got {len(whole)}")
        return cls(rows, state["shape"].tolist(), dtype)


def pack(values: Tensor) -> list[bytes]:
    """Return the arrays of a tensor (N, ...), each compressed."""
    return [zlib.compress(row.tobytes(), LEVEL) for row in values.contiguous().numpy()]


def stacked(
    rows: Tensor, read: Callable[[int], Tensor], shape: torch.Size, dtype: torch.dtype
) -> Tensor:
    """Return the arrays (*rows.shape, *shape) that are read for some rows.

    A mask (N,) stands for the rows where it is true. Under autocast `torch.stack` takes no float16.
    """
    if rows.dtype == torch.bool:
        rows = rows.nonzero()[:, 0]
    whole = torch.empty(rows.numel(), *shape, dtype=dtype)
    for place, row in enumerate(rows.flatten().tolist()):
        whole[place] = read(row)
    return whole.view(*rows.shape, *shape)


def _unpack(rows: tuple[bytes, ...], shape: torch.Size, dtype: torch.dtype, row: int) -> Tensor:
    size = shape.numel() * dtype.itemsize
    content = zlib.decompressobj().decompress(rows[row], size)  # never more than that
    if len(content) != size:
        raise ValueError(f"expected {size} bytes in packed array {row}, got {len(content)}")
    return torch.frombuffer(bytearray(content), dtype=dtype).view(shape)
