"""What a store says of its cases is checked where it is read, also in stores without checksums."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrect.data.inspection import inspect
from diffrect.data.record import CaseRecord
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.json_files import read_json, write_json

ENTRY = {
    **{"id": "a", "patient": "p", "labelled": True, "slices": 2, "shape": [3, 4]},
    **{"spacing": [2.0, 1, 1.5], "axis": 0, "orientation": "SAR", "remarks": ["odd"]},
}


def test_a_record_is_read() -> None:
    record = CaseRecord.from_dict(ENTRY)
    assert (record.spacing, record.axis, record.remarks) == ((2.0, 1, 1.5), 0, ("odd",))
    assert CaseRecord.from_dict({**ENTRY, "spacing": None, "orientation": None}).spacing is None


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"spacing": value}
            for value in ("abc", [1, 2], [1, 2, "3"], [1, 2, 0], [1, 2, True], {})
        ),
        *({"spacing": [1, 2, value]} for value in (float("nan"), float("inf"), -1, None, [1])),
        *({"axis": value} for value in (3, -1, "0", None, [2])),
        *({"orientation": 5}, {"remarks": [5]}, {"remarks": 5}),
    ],
)
def test_records_of_other_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        CaseRecord.from_dict({**ENTRY, **change})


@pytest.fixture
def old_store(tmp_path: Path) -> Path:
    examples = Path(__file__).parents[1] / "runs" / "examples"
    return Path(shutil.copytree(examples / "store_1", tmp_path / "store"))


@pytest.mark.parametrize("affine", [None, "a", [[1, 2], [3]], [[1.0]], np.eye(4).tolist()[:3]])
def test_a_damaged_affine_is_a_problem_of_its_case(old_store: Path, affine: Any) -> None:
    file = old_store / "cases" / "part_001" / "case.json"
    write_json(file, {**read_json(file), "affine": affine})
    store = Store(old_store)
    with pytest.raises(InputError, match=r"part_001/case\.json: .* its affine is damaged"):
        store.affine("part_001")
    (problem,) = inspect(old_store, progress=False).problems
    assert "its affine is damaged" in problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "expected text of at most 4096 characters under 'format', got 3"),
        ({"missing_patients": [1]}, "expected a list of texts under 'missing_patients', got [1]"),
        ({"format": None}, "expected text of at most 4096 characters under 'format', got None"),
    ],
)
def test_a_damaged_description_is_refused(
    old_store: Path, change: dict[str, Any], message: str
) -> None:
    file = old_store / "store.json"
    write_json(file, {**read_json(file), **change})
    with pytest.raises(InputError) as error:
        Store(old_store)
    assert str(error.value) == f"{file}: {message}"
