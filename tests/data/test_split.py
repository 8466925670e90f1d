"""Patient-level splits: official, drawn or from a file; the choice of labelled patients."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from diffrect.config import TrainConfig
from diffrect.data.choose_split import origin_of_split, patients_by_label, resolve_split
from diffrect.data.loader import training_batches
from diffrect.data.prepare import prepare
from diffrect.data.source_options import SourceOptions
from diffrect.data.split import Split, acdc_split, restrict_to
from diffrect.data.splits.drawn import HeldOut
from diffrect.data.splits.words import describe_split
from diffrect.data.store import Store
from diffrect.data.volumes import training_volumes
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from support.tiny import scan, write_nifti


def fake_store(
    patients: int = 20,
    unlabelled: int = 0,
    official: Split | None = None,
    cases: int = 2,
    layout: str = "acdc",
) -> Store:
    """A store of p00, p01, ... whose last patients have no labels."""
    records = {
        f"p{number:02d}_{case}": SimpleNamespace(
            patient=f"p{number:02d}", labelled=number < patients - unlabelled
        )
        for number in range(patients)
        for case in range(cases)
    }
    return cast(
        Store,
        SimpleNamespace(path="STORE", cases=records, official_split=official, format=layout),
    )


def ids(*numbers: int) -> tuple[str, ...]:
    return tuple(f"p{number:02d}" for number in numbers)


OFFICIAL = Split(train=ids(*range(9, -1, -1)), val=ids(10, 11), test=ids(12))


def write_split(path: Path, **parts: Any) -> Path:
    path.write_text(json.dumps(parts))
    return path


def test_acdcs_official_lists() -> None:
    split = acdc_split()
    assert [len(split.train), len(split.val), len(split.test)] == [70, 10, 20]
    assert len({*split.train, *split.val, *split.test}) == 100
    labelled = ["099", "038", "050", "100", "058", "021", "049"]
    assert split.train[:7] == tuple(f"patient{number}" for number in labelled)


def test_official_lists_equal_those_of_the_benchmark(real_data: Path) -> None:
    for part, name in (("train", "train_slices"), ("val", "val"), ("test", "test")):
        lines = (real_data / "acdc_h5" / f"{name}.list").read_text().split()
        patients = tuple(dict.fromkeys(line.split("_")[0] for line in lines))
        assert getattr(acdc_split(), part) == patients


def test_json_round_trip() -> None:
    split = Split(train=ids(1, 0), val=ids(2), test=ids(3), labelled=ids(1))
    assert Split.from_json(split.to_json()) == split
    assert split.unlabelled == ids(0)


def test_a_split_is_restricted_to_the_patients_present() -> None:
    split, missing = restrict_to(OFFICIAL, set(ids(0, 9, 10)))
    assert split == Split(train=ids(9, 0), val=ids(10))
    assert missing == list(ids(1, 2, 3, 4, 5, 6, 7, 8, 11, 12))
    assert restrict_to(OFFICIAL, {"other"}) == (None, [])
    assert restrict_to(OFFICIAL, set(ids(0, 1)))[0] is None


def test_drawn_splits_are_by_patient_and_repeatable() -> None:
    split = resolve_split(fake_store(), seed=3)
    assert [len(split.train), len(split.val), len(split.test)] == [14, 2, 4]
    assert len({*split.train, *split.val, *split.test}) == 20
    assert split.labelled == split.train
    assert resolve_split(fake_store(), seed=3) == split
    assert resolve_split(fake_store(), seed=4) != split


def test_drawn_splits_hold_out_only_patients_with_labels() -> None:
    split = resolve_split(fake_store(20, unlabelled=10), labelled="7")
    assert [len(split.train), len(split.val), len(split.test)] == [17, 1, 2]
    assert not {*split.val, *split.test} & set(ids(*range(10, 20)))
    assert split.unlabelled == ids(*range(10, 20))
    with pytest.raises(InputError, match=r"at most the 7 training patients with labels, got 8"):
        resolve_split(fake_store(20, unlabelled=10), labelled="8")


@pytest.mark.parametrize(
    ("labelled", "parts"),
    [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (2, 1, 0)), (4, (2, 1, 1)), (5, (3, 1, 1))],
)
def test_drawn_splits_of_few_labels(labelled: int, parts: tuple[int, int, int]) -> None:
    split = resolve_split(fake_store(24, unlabelled=24 - labelled, official=None))
    assert (len(split.labelled), len(split.val), len(split.test)) == parts
    assert split.unlabelled == ids(*range(labelled, 24))


def test_a_split_needs_a_label() -> None:
    with pytest.raises(InputError, match="STORE: expected at least 1 patient with labels, got 0"):
        resolve_split(fake_store(3, unlabelled=3))


def test_counts_of_patients_to_hold_out() -> None:
    few = fake_store(24, unlabelled=20)
    split = resolve_split(few, held_out=HeldOut(val=0, test=0), labelled="4")
    assert (len(split.labelled), split.val, split.test) == (4, (), ())
    assert [len(part) for part in (split.labelled, split.val, split.test)] == [4, 0, 0]
    usual = resolve_split(few)
    assert resolve_split(few, held_out=HeldOut(test=0)).val == usual.val
    message = r"--test-patients: expected a patient with labels left to train on, of 4, got 1 to va"
    with pytest.raises(InputError, match=message):
        resolve_split(few, held_out=HeldOut(test=3))
    with pytest.raises(InputError, match=r"--val-patients: expected a split that is drawn, got ST"):
        resolve_split(fake_store(official=OFFICIAL), held_out=HeldOut(val=3))


def test_own_data_train_on_all_labels_and_published_sets_on_one(tmp_path: Path) -> None:
    own = fake_store(official=OFFICIAL, layout="folder")
    assert resolve_split(own).labelled == OFFICIAL.train
    assert resolve_split(fake_store(official=OFFICIAL)).labelled == OFFICIAL.train[:1]
    file = write_split(tmp_path / "s.json", train=ids(18, 0, 1))
    few = fake_store(20, unlabelled=2)
    split = resolve_split(few, split_file=file)
    assert (split.labelled, split.unlabelled, split.val) == (ids(0, 1), ids(18), ())
    assert resolve_split(few, split_file=file, labelled="all").labelled == ids(0, 1)
    assert resolve_split(few, split_file=file, labelled="100%").labelled == ids(0, 1)
    assert resolve_split(few, split_file=file, labelled="50%").labelled == ids(0)
    unlabelled = write_split(tmp_path / "u.json", train=ids(18))
    with pytest.raises(InputError, match="--labelled: expected a training patient with labels, fo"):
        resolve_split(few, split_file=unlabelled)


def test_a_refused_count_says_where_the_other_labels_are() -> None:
    message = (
        "--labelled: expected at most the 2 training patients with labels, got 4; others are kept "
        "1 to validate and 1 to test, see --val-patients and --test-patients"
    )
    with pytest.raises(InputError) as caught:
        resolve_split(fake_store(24, unlabelled=20), labelled="4")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("labelled", "line"),
    [
        (None, "2 labelled, 20 unlabelled, 1 to validate, 1 to test (here)"),
        ("1", "1 labelled, 21 unlabelled (the labels of 1 are not read), 1 to validate, 1 to"),
    ],
)
def test_a_split_in_a_line(labelled: str | None, line: str) -> None:
    store = fake_store(24, unlabelled=20)
    split = resolve_split(store, labelled=labelled)
    assert describe_split(split, patients_by_label(store), "here").startswith(line)


def test_patients_in_no_part_are_counted() -> None:
    line = describe_split(Split(ids(0), labelled=ids(0)), {"p00": True, "p01": True}, "s.json")
    assert (
        line == "1 labelled, none unlabelled, none to validate, none to test, 1 left out (s.json)"
    )


def test_precedence_file_then_official_then_drawn(tmp_path: Path) -> None:
    store = fake_store(official=OFFICIAL)
    assert resolve_split(store).train == OFFICIAL.train
    file = write_split(tmp_path / "split.json", train=ids(3, 4), val=ids(5))
    split = resolve_split(store, split_file=file)
    assert split == Split(train=ids(3, 4), val=ids(5), labelled=ids(3))
    assert origin_of_split(store, TrainConfig(split_file=file)) == str(file)
    assert origin_of_split(store, TrainConfig()) == "official split"
    assert origin_of_split(fake_store(), TrainConfig(seed=3)) == "drawn, seed 3"


def test_labelled_of_the_file_unless_given(tmp_path: Path) -> None:
    file = write_split(tmp_path / "split.json", train=ids(0, 1, 2), val=ids(5), labelled=ids(2))
    assert resolve_split(fake_store(), split_file=file).labelled == ids(2)
    assert resolve_split(fake_store(), split_file=file, labelled="2").labelled == ids(0, 1)


@pytest.mark.parametrize(
    ("labelled", "count"), [("1", 1), ("3", 3), ("5%", 1), ("39%", 3), ("12.5 %", 1), ("100%", 10)]
)
def test_counts_and_percentages_follow_the_order(labelled: str, count: int) -> None:
    split = resolve_split(fake_store(official=OFFICIAL), labelled=labelled)
    assert split.labelled == OFFICIAL.train[:count]


def test_percentages_of_acdc_are_those_of_the_papers() -> None:
    split = acdc_split()
    patients = [*split.train, *split.val, *split.test]
    cases = {patient: SimpleNamespace(patient=patient, labelled=True) for patient in patients}
    store = cast(
        Store, SimpleNamespace(path="STORE", cases=cases, official_split=split, format="acdc")
    )
    assert len(resolve_split(store, labelled="5%").labelled) == 3
    assert len(resolve_split(store, labelled="10%").labelled) == 7


def test_labelled_from_a_text_file(tmp_path: Path) -> None:
    store = fake_store(official=OFFICIAL)
    file = tmp_path / "labelled.txt"
    file.write_bytes(b"\xef\xbb\xbfp03\r\n\r\n p01 \r\np03\r\n")
    assert resolve_split(store, labelled=str(file)).labelled == ids(3, 1)
    for text, message in {
        "p77": "expected patients of the store, got p77",
        "p10": "expected training patients, got p10",
        "": "labelled.txt: expected one patient id per line, found none",
    }.items():
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            resolve_split(store, labelled=str(file))


@pytest.mark.parametrize(
    ("labelled", "message"),
    [
        ("0", "at least 1 patient, got 0"),
        ("11", "at most the 10 training patients with labels, got 11"),
        ("-1", "all, a count, a percentage or a text file, got -1"),
        ("nonsense.txt", "all, a count, a percentage or a text file, got nonsense.txt"),
        ("0%", "a percentage above 0"),
        ("101%", "a percentage above 0, up to 100, got 101%"),
        ("x%", "a percentage above 0"),
    ],
)
def test_labelled_refused(labelled: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--labelled: expected {message}"):
        resolve_split(fake_store(official=OFFICIAL), labelled=labelled)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": ids(0), "val": ids(99)}, "expected patients of the store, got p99"),
        ({"train": ids(0, 1), "val": ids(1)}, "got p01 under 'train' and 'val'"),
        ({"train": ids(0, 0), "val": ids(1)}, "got p00 under 'train' and 'train'"),
        ({"train": ids(), "val": ids(1)}, "at least one patient under 'train'"),
        ({"val": ids(0)}, "expected the lists train, val, test and labelled, got val"),
        ({"train": ids(0), "valid": ids(1), "val": ids(2)}, "expected the lists"),
        ({"train": "p00", "val": ids(1)}, "expected a list of patient ids under 'train'"),
        ({"train": ids(0), "val": [1]}, "expected a list of patient ids under 'val'"),
        ({"train": ids(0), "val": ids(1), "labelled": ids(1)}, "expected training patients"),
        ({"train": ids(0), "val": ids(19)}, "expected labels of p19, the store has none"),
        ({"train": ids(0), "val": ids(1), "test": ids(19)}, "expected labels of p19"),
        ({"train": ids(0, 19), "val": ids(1), "labelled": ids(19)}, "expected labels of p19"),
    ],
)
def test_split_files_refused(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    file = write_split(tmp_path / "split.json", **parts)
    with pytest.raises(InputError, match=f"split.json: .*{message}"):
        resolve_split(fake_store(unlabelled=1), split_file=file)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", None])
def test_unreadable_split_files_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "split.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"split.json: expected") as caught:
        resolve_split(fake_store(), split_file=file)
    assert "\n" not in str(caught.value)


def test_prepared_stores_bring_their_split(store: Store, decathlon_store: Store) -> None:
    assert resolve_split(store).labelled == ("patient099",)
    assert resolve_split(store, labelled="3").labelled == ("patient099", "patient038", "patient050")
    drawn = resolve_split(decathlon_store)
    assert "part_007" in drawn.train  # the unlabelled case


def test_a_patient_with_one_labelled_scan_is_labelled(tmp_path: Path) -> None:
    """The other scans of a labelled patient are unlabelled slices; none of them is scored."""
    for patient in range(4):
        for scan_number in range(2):
            image, labels = scan((16, 14, 2), 2, seed=patient)
            name = f"p{patient}_{scan_number}.nii.gz"
            write_nifti(tmp_path / "own" / "images" / name, image)
            if scan_number == 0:
                write_nifti(tmp_path / "own" / "labels" / name, labels)
    options = SourceOptions(patients="^(p[0-9])")
    store = prepare(tmp_path / "own", tmp_path / "store", options=options, progress=False)
    file = write_split(tmp_path / "s.json", train=["p0", "p1"], val=["p2"], test=["p3"])
    split = resolve_split(store, split_file=file, labelled="1")
    assert split.labelled == ("p0",)
    labelled, others = store.training_slices(split)
    assert {s.case for s in labelled} == {"p0_0"}
    assert {s.case for s in others} == {"p0_1", "p1_0", "p1_1"}
    config = TrainConfig(size=16)
    volumes = training_volumes(store, split, config, "linear")
    assert volumes.labelled.sum() == len(labelled)
    assert (volumes.labels[~volumes.labelled] == IGNORED).all()
    everyone = resolve_split(store, split_file=file, labelled="2")
    assert training_batches(store, everyone, config, True, 0, 1)[0].cases
    assert len(resolve_split(store).test) == 1  # drawn


FOLDS = [
    {"train": ["p00_0", "p00_1", "p01_0"], "val": ["p02_0"]},
    {"train": ["p02"], "val": ["p00"]},
]


@pytest.mark.parametrize(("fold", "train", "val"), [(0, (0, 1), (2,)), (1, (2,), (0,))])
def test_a_fold_of_nnunet(
    tmp_path: Path, fold: int, train: tuple[int, ...], val: tuple[int, ...]
) -> None:
    (tmp_path / "splits_final.json").write_text(json.dumps(FOLDS))
    split = resolve_split(fake_store(), split_file=tmp_path / f"splits_final.json:{fold}")
    assert (split.train, split.val) == (ids(*train), ids(*val))


@pytest.mark.parametrize(
    ("folds", "name", "message"),
    [
        (FOLDS, "s.json", r"s.json: expected a fold from 0 to 1, got none; give the first as .*:0"),
        (FOLDS, "s.json:2", "s.json:2: expected a fold from 0 to 1, got 2"),
        ([{"train": ["p00_0"], "val": ["p00_1"]}], "s.json:0", "got p00 under 'train' and 'val'"),
        ([{"train": ["x"], "val": ["p00"]}], "s.json", "expected patients of the store, got x"),
        ({"train": ["p00"], "val": ["p01"]}, "s.json:1", "expected a list of folds, found none"),
        ([{"train": 1}], "s.json", "expected a list of patient ids under 'train', got 1"),
        ([{"val": []}], "s.json", "expected the lists"),
    ],
)
def test_folds_refused(tmp_path: Path, folds: Any, name: str, message: str) -> None:
    (tmp_path / "s.json").write_text(json.dumps(folds))
    with pytest.raises(InputError, match=message):
        resolve_split(fake_store(), split_file=tmp_path / name)


def test_two_spellings_of_a_letter_are_one(tmp_path: Path) -> None:
    names = ["M\u00fcller", "Jose\u0301", "c"]
    records = {name: SimpleNamespace(patient=name, labelled=True) for name in names}
    store = cast(
        Store, SimpleNamespace(path="STORE", cases=records, official_split=None, format="folder")
    )
    file = write_split(tmp_path / "s.json", train=["Mu\u0308ller", "Jos\u00e9"], val=["c"])
    assert resolve_split(store, split_file=file).train == tuple(names[:2])
    (tmp_path / "l.txt").write_text("Jos\u00e9", encoding="utf-8")
    split = resolve_split(store, split_file=file, labelled=str(tmp_path / "l.txt"))
    assert split.labelled == (names[1],)


def store_of(*cases: str) -> Store:
    records = {case: SimpleNamespace(patient=case, labelled=True) for case in cases}
    return cast(
        Store, SimpleNamespace(path="STORE", cases=records, official_split=None, format="folder")
    )


def test_scans_that_look_like_one_patient_s_on_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = store_of("p1_a", "p1_b", "p2_a", "p3_a")
    file = write_split(tmp_path / "s.json", train=["p1_a", "p2_a"], val=["p1_b"], test=["p3_a"])
    resolve_split(store, split_file=file)
    expected = "scans of p1 are in train and in val or test; if each is one patient, prepare the"
    assert expected in capsys.readouterr().err
    write_split(file, train=["p1_a", "p1_b"], val=["p2_a"], test=["p3_a"])
    resolve_split(store, split_file=file)
    resolve_split(store_of("liver_0", "liver_1", "liver_2"))
    resolve_split(store_of("Task05_0", "Task05_1", "Task05_2"))
    resolve_split(store_of("p1_a", "p2_a", "p3_a"))
    resolve_split(store_of("2019-1", "2020-1", "2021-1"))
    assert capsys.readouterr().err == ""


def test_a_split_file_that_names_a_part_twice_is_refused(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text('{"train": ["patient099"], "val": ["patient028"], "train": ["patient050"]}')
    with pytest.raises(InputError) as caught:
        resolve_split(store, split_file=file)
    assert str(caught.value) == f"{file}: expected a split as JSON: 'train' is there twice"
