"""Arrays held compressed: they come back as they were, whole or not at all."""

import io
import zlib

import pytest
import torch
from torch import Tensor

from diffrect.data import packed
from diffrect.data.packed import Packed, pack
from support.runs import same

MAPS = torch.randint(5, (6, 7, 9), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("values", [MAPS, MAPS[:, None].half() / 3, MAPS[:0]])
def test_arrays_come_back_as_they_were(values: Tensor) -> None:
    found = Packed.of(values)
    assert found.shape == values.shape
    assert torch.equal(found.all(), values)
    assert found.all().dtype == values.dtype
    file = io.BytesIO()
    torch.save(found.state(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert torch.equal(Packed.from_state(state, values.dtype).all(), values)


def test_rows_of_any_shape_are_read_in_memory_of_their_own() -> None:
    found = Packed.of(MAPS)
    rows = torch.tensor([[0, 5, 0], [2, 1, 3]])
    assert torch.equal(found[rows], MAPS[rows])
    found[rows].zero_()
    assert torch.equal(found[rows], MAPS[rows])
    other = found.replaced(torch.tensor([4, 1]), pack(MAPS[:2]))
    assert torch.equal(other.all(), MAPS[[0, 1, 2, 3, 0, 5]])
    assert torch.equal(found.all(), MAPS)


def test_few_arrays_stay_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "KEPT_BYTES", 2 * MAPS[0].numel())
    found = Packed.of(MAPS)
    assert torch.equal(found.all(), MAPS)
    assert found._unpacked.cache_info().currsize == 2


def test_class_maps_take_little() -> None:
    maps = torch.zeros(10, 128, 128, dtype=torch.uint8)
    maps[:, 40:80, 30:90] = 1
    assert sum(map(len, pack(maps))) < maps.numel() / 50


def test_what_is_not_whole_is_no_array() -> None:
    state = Packed.of(MAPS).state()
    with pytest.raises(ValueError, match="bytes of packed arrays"):
        Packed.from_state({**state, "packed": state["packed"][:-1]}, torch.uint8)
    with pytest.raises(ValueError, match="expected 63 bytes in packed array 0, got 62"):
        Packed([zlib.compress(bytes(62))], (7, 9), torch.uint8).all()
    bomb = Packed([zlib.compress(bytes(10**6))], (7, 9), torch.uint8)
    assert same(bomb.all(), torch.zeros(1, 7, 9).byte())  # no more is unfolded than there is place
