"""Damaged stores: refused by name when they are read, and repaired case by case."""

import json
import shutil
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest

import diffrect.data.prepare as prepare_module
from diffrect.data.integrity import is_intact, write_sealed
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.errors import InputError
from support.disk import contents

CASE = "part_003"
REPAIR = r"the others are fine, mend this one with: diffrect prepare \S+ \S+ --repair$"


@pytest.fixture
def copy(decathlon_store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(decathlon_store.path, tmp_path / "store"))


def files(store: Path) -> list[Path]:
    return sorted((store / "cases" / CASE).iterdir())


def read_all(store: Store, case: str) -> None:
    store.image(case)
    if store.cases[case].labelled:
        store.label(case)


def check_refused(path: Path, file: Path) -> None:
    """Check that only the damaged case is refused, by its file's name, however it is read."""
    named = file.with_name("case.json") if file.name == "case.json" else file
    store = Store(path)
    read = store.label if file.name == "label.b2nd" else store.image
    with pytest.raises(InputError, match=REPAIR) as caught:
        read(CASE, 2)
    assert str(caught.value).startswith(f"{named}: expected ")
    with pytest.raises(InputError, match=rf"{CASE}/{file.name}"):
        store.verify()
    for case in store.cases.keys() - {CASE}:
        read_all(store, case)


@pytest.mark.parametrize("name", ["image.b2nd", "label.b2nd", "case.json"])
@pytest.mark.parametrize("place", [0, 0.3, 0.5, 0.999])
def test_a_flipped_bit_is_named(copy: Path, name: str, place: float) -> None:
    file = copy / "cases" / CASE / name
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)
    check_refused(copy, file)


@pytest.mark.parametrize("name", ["image.b2nd", "label.b2nd", "case.json"])
def test_a_file_cut_short_is_named(copy: Path, name: str) -> None:
    file = copy / "cases" / CASE / name
    for size in (file.stat().st_size - 1, 20, 0):
        file.write_bytes(file.read_bytes()[:size])
        check_refused(copy, file)
    file.unlink()
    check_refused(copy, file)


def test_every_bit_of_the_description_counts(copy: Path) -> None:
    file = copy / "store.json"
    content = file.read_bytes()
    refused = 0
    for place in np.random.default_rng(0).permutation(len(content))[:200]:
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        try:
            store = Store(copy)
        except InputError:
            refused += 1
        else:
            assert vars(store)["cases"] == Store(copy).cases
            assert json.loads(changed) == json.loads(content)  # white space
    assert refused > 120


def test_damage_while_a_store_is_open_is_seen_by_the_next_reader(copy: Path) -> None:
    store = Store(copy)
    store.image(CASE, 0)
    files(copy)[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"image\.b2nd: expected a readable array"):
        store.image(CASE, 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_repair_reads_only_the_damaged_cases(
    decathlon_folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    before = contents(copy)
    for file, spoilt in zip(files(copy), (b"", b"x", None), strict=True):
        file.unlink() if spoilt is None else file.write_bytes(spoilt)
    shutil.rmtree(copy / "cases" / "part_005")
    (copy / ".store.json.0.partial").touch()  # of a prepare that was killed
    healthy = copy / "cases" / "part_000" / "image.b2nd"
    written = healthy.stat().st_mtime_ns
    read = []
    if workers == 1:
        module = prepare_module
        write = module.write_case
        monkeypatch.setattr(module, "write_case", lambda *a: (read.append(a[1].id), write(*a))[0])
    prepare(decathlon_folder, copy, repair=True, workers=workers, progress=False)
    assert contents(copy) == before
    assert healthy.stat().st_mtime_ns == written
    assert read == ([CASE, "part_005"] if workers == 1 else [])


def test_repair_writes_a_damaged_description_again(decathlon_folder: Path, copy: Path) -> None:
    before = contents(copy)
    (copy / "store.json").write_text("{")
    prepare(decathlon_folder, copy, repair=True, progress=False)
    assert contents(copy) == before


def test_a_repair_that_fails_can_be_repeated(
    decathlon_folder: Path, copy: Path, tmp_path: Path
) -> None:
    before = contents(copy)
    source = Path(shutil.copytree(decathlon_folder, tmp_path / "moved"))
    image = source / "imagesTr" / f"{CASE}.nii.gz"
    scan = image.read_bytes()
    files(copy)[1].write_bytes(b"")
    image.write_bytes(b"")
    with pytest.raises(InputError, match="found an empty file"):
        prepare(source, copy, repair=True, progress=False)
    assert len(Store(copy).cases) == 8
    image.write_bytes(scan)
    after = prepare(source, copy, repair=True, progress=False)
    after.verify()
    assert after.source == str(source)
    assert {n: c for n, c in contents(copy).items() if n.endswith(".b2nd")} == {
        n: c for n, c in before.items() if n.endswith(".b2nd")
    }


def test_repair_needs_the_same_cases(decathlon_folder: Path, copy: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(decathlon_folder, tmp_path / "moved"))
    settings = json.loads((source / "dataset.json").read_text())
    del settings["training"][0]
    (source / "dataset.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="--repair expected a source of the same cases, it lacks"):
        prepare(source, copy, repair=True, progress=False)


def reseal(file: Path, **changes: object) -> None:
    settings = {**json.loads(file.read_text()), **changes}
    settings.pop("checksum")
    write_sealed(file, settings)
    assert is_intact(json.loads(file.read_text()))


def test_names_that_lead_out_of_a_store_are_refused(copy: Path) -> None:
    cases = json.loads((copy / "store.json").read_text())["cases"]
    for name in ("../../etc", "/etc", "a/b", "", ".hidden", "a\x1b[2J", 7):
        reseal(copy / "store.json", cases=[{**cases[0], "id": name}])
        with pytest.raises(
            InputError, match=r"store\.json: expected a name of a case under 'cases\[0"
        ):
            Store(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"slices": 10**12},
        {"slices": -1},
        {"slices": "4"},
        {"shape": [10**9, 10**9]},
        {"patient": None},
        {"labelled": "no"},
    ],
)
def test_cases_that_would_fill_the_memory_are_refused(copy: Path, change: dict[str, Any]) -> None:
    cases = json.loads((copy / "store.json").read_text())["cases"]
    reseal(copy / "store.json", cases=[{**cases[0], **change}])
    (name,) = change
    with pytest.raises(
        InputError, match=rf"store\.json: expected .* under 'cases\[0\]\.{name}', got"
    ):
        Store(copy)


def test_arrays_that_are_programs_are_refused(copy: Path, tmp_path: Path) -> None:
    """Blosc2 files can hold expressions and functions, which opening them would run."""
    folder = copy / "cases" / CASE
    operand = blosc2.asarray(np.zeros((4, 1, 18, 21), np.float32), urlpath=str(tmp_path / "o.b2nd"))
    (operand + 1).save(urlpath=str(folder / "image.b2nd"), mode="w")
    import hashlib

    digest = hashlib.sha256((folder / "image.b2nd").read_bytes()).hexdigest()
    checksums = json.loads((folder / "case.json").read_text())["checksums"]
    reseal(folder / "case.json", checksums={**checksums, "image.b2nd": digest})
    with pytest.raises(InputError, match=r"image\.b2nd: expected a readable array of the store"):
        Store(copy).image(CASE)


def test_arrays_of_another_shape_are_refused(copy: Path) -> None:
    cases = json.loads((copy / "store.json").read_text())["cases"]
    cases[3]["shape"] = [5, 5]
    reseal(copy / "store.json", cases=cases)
    with pytest.raises(InputError, match=r"image\.b2nd: .* expected float32 of shape \(4, 1, 5, 5"):
        Store(copy).image(CASE)
