"""Cases chosen by what a training did with them, or by their patients."""

import unicodedata
from pathlib import Path

import pytest

from diffrect.data.record import CaseRecord
from diffrect.data.split import Split
from diffrect.data.splits.chosen import choose_cases, part_of
from diffrect.errors import InputError

ANNA = "ann\u00e4"
SPLIT = Split(train=("a", ANNA, "b c"), val=("v",), test=("t",), labelled=("a",))


def case(name: str, patient: str, labelled: bool = True) -> CaseRecord:
    return CaseRecord(name, patient, labelled, 1, (4, 4), None)


CASES = {
    one.id: one
    for one in (
        case("a1", "a"),
        case("a2", "a", labelled=False),
        case("n1", ANNA),
        case("b1", "b c", labelled=False),
        case("v1", "v"),
        case("t1", "t"),
        case("x1", "x"),
    )
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("unlabelled", "a2 n1 b1"),
        ("labelled", "a1"),
        ("train", "a1 a2 n1 b1"),
        ("val", "v1"),
        ("test", "t1"),
        ("all", "a1 a2 n1 b1 v1 t1 x1"),
        ("x, b c", "b1 x1"),
        (unicodedata.normalize("NFD", ANNA), "n1"),
    ],
)
def test_words_and_patients_choose_cases(wanted: str, expected: str) -> None:
    found = choose_cases(wanted, CASES, SPLIT)
    assert " ".join(one.id for one in found) == expected


def test_a_file_lists_patients(tmp_path: Path) -> None:
    file = tmp_path / "who.txt"
    file.write_text("t\n\nb c\nt\n")
    assert [one.id for one in choose_cases(str(file), CASES, SPLIT)] == ["b1", "t1"]
    file.write_text("\n")
    with pytest.raises(InputError, match=r"who\.txt: expected one patient id per line, found none"):
        choose_cases(str(file), CASES, SPLIT)


@pytest.mark.parametrize("wanted", ["q", "a,q", "q" * 5000, "a\0"])
def test_who_is_not_there_is_refused(wanted: str) -> None:
    with pytest.raises(InputError, match=r"^--patients: expected unlabelled, .*, got "):
        choose_cases(wanted, CASES, SPLIT)


def test_a_part_without_cases_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--patients val: expected at least one case, found"):
        choose_cases("val", CASES, Split(train=("a",)))


def test_whom_the_split_does_not_name_is_in_no_part() -> None:
    assert part_of(CASES["x1"], SPLIT) == ""
