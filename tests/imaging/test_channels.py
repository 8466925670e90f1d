"""Which names are channels of one image, and which are cases of their own."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrect.imaging.channels import group_channels, name_constant_channels
from diffrect.imaging.volume import Volume


def grouped(
    names: Sequence[str], channels: int, cases: Sequence[str] = (), numbered: bool = False
) -> dict[str, list[int | None]]:
    """Return case -> its channel numbers."""
    groups = group_channels({name: name for name in names}, channels, cases, numbered=numbered)
    return {
        case: sorted(group, key=lambda n: -1 if n is None else n) for case, group in groups.items()
    }


TWO = ["a_0000", "a_0001"]


@pytest.mark.parametrize(
    ("names", "channels", "cases", "numbered", "expected"),
    [
        (TWO, 2, [], False, {"a": [0, 1]}),
        (TWO, 1, [], True, {"a_0000": [None], "a_0001": [None]}),
        (TWO, 2, ["a_0000"], False, {"a_0000": [None], "a_0001": [None]}),
        (TWO, 1, ["a"], False, {"a": [0, 1]}),
        ([*TWO, "a_0002"], 2, [], False, {name: [None] for name in [*TWO, "a_0002"]}),
        (["a_0000"], 1, [], True, {"a": [0]}),
        (["a_0000"], 1, [], False, {"a_0000": [None]}),
        (["a_0001"], 2, ["a"], False, {"a": [1]}),
        (["a", *TWO], 2, ["a"], False, {"a": [None], "a_0000": [None], "a_0001": [None]}),
        (["a_0000_0000", "a_0001_0000"], 1, ["a_0000"], True, {"a_0000": [0], "a_0001": [0]}),
    ],
)
def test_names_that_end_in_four_digits(
    names: list[str],
    channels: int,
    cases: list[str],
    numbered: bool,
    expected: dict[str, list[int | None]],
) -> None:
    assert grouped(names, channels, cases, numbered) == expected


NAMES = st.builds(
    lambda stem, ends: stem + "".join(ends),
    st.sampled_from("ab"),
    st.lists(st.sampled_from(["_0000", "_0001", "_0002", "_x"]), max_size=2),
)


@given(st.sets(NAMES), st.sets(NAMES), st.integers(1, 3), st.booleans())
def test_no_file_is_dropped(
    names: set[str], cases: set[str], channels: int, numbered: bool
) -> None:
    groups = group_channels({name: name for name in names}, channels, cases, numbered=numbered)
    assert sorted(file for group in groups.values() for file in group.values()) == sorted(names)
    assert all(None not in group or len(group) == 1 for group in groups.values())


def test_constant_channels_are_named() -> None:
    array = np.zeros((2, 2, 2, 3))
    array[0, 0, 0, 1] = 1
    array[..., 2] = 4
    volume = Volume(array, None, np.eye(4))
    remarks = name_constant_channels(volume).remarks
    assert [line.partition(";")[0] for line in remarks] == [
        "every voxel of channel 0 is 0",
        "every voxel of channel 2 is 4",
    ]
    assert name_constant_channels(Volume(array[..., :1], None, np.eye(4))).remarks == ()
