"""One prepare at a time, and what a killed one leaves goes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import diffrect.data.prepare as prepare_module
from diffrect.atomic import SUFFIX
from diffrect.data.preparation.construction import check_room
from diffrect.data.preparation.write_case import write_case
from diffrect.data.prepare import prepare
from diffrect.data.record import PROGRESS_FILE, STORE_FILE
from diffrect.data.store import Store
from diffrect.distributed.locks import LOCK_FILE, LockedError, LostLockError, sole_writer
from diffrect.errors import InputError
from support.disk import contents
from support.tiny import write_decathlon


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_decathlon(tmp_path / "source")


@pytest.fixture
def made(source: Path, tmp_path: Path) -> Path:
    return prepare(source, tmp_path / "store", progress=False).path


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Have something done before the first case is written."""

    def write(*arguments: Any) -> None:
        monkeypatch.setattr(prepare_module, "write_case", write_case)
        act()
        write_case(*arguments)

    monkeypatch.setattr(prepare_module, "write_case", write)


def test_a_second_prepare_is_refused_while_the_first_works(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, refused = tmp_path / "store", []

    def others() -> None:
        for flag in ("overwrite", "resume", "repair"):
            with pytest.raises(LockedError, match="store: is being written by process") as error:
                prepare(source, path, intensity="zscore", progress=False, **{flag: True})
            refused.append(error)

    meanwhile(monkeypatch, others)
    assert prepare(source, path, progress=False).intensity == "minmax"
    assert len(refused) == 3
    Store(path).verify()
    assert sorted(entry.name for entry in path.iterdir()) == ["cases", "store.json"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["source", "store"]


def test_the_store_that_replaces_another_is_locked_too(
    source: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look() -> None:
        seen.append((made / LOCK_FILE).is_file())
        assert not (made.with_name(".store.replaced") / LOCK_FILE).exists()
        with pytest.raises(LockedError):
            prepare(source, made, resume=True, progress=False)

    meanwhile(monkeypatch, look)
    prepare(source, made, overwrite=True, progress=False)
    assert seen == [True]
    assert not made.with_name(".store.replaced").exists()


def test_a_bad_case_leaves_the_store_as_it_was(
    source: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise InputError("a bad case")

    before = contents(made)
    meanwhile(monkeypatch, fail)
    with pytest.raises(InputError, match="a bad case"):
        prepare(source, made, overwrite=True, progress=False)
    assert contents(made) == before


def test_a_store_that_another_one_begins_meanwhile_is_left_to_it(
    source: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a halt of minutes."""

    def taken() -> None:
        (made / LOCK_FILE).write_text('{"pid": 4, "host": "elsewhere"}')
        raise FileNotFoundError(2, "No such file", str(made))

    meanwhile(monkeypatch, taken)
    with pytest.raises(LostLockError, match="was taken over by process 4 on elsewhere"):
        prepare(source, made, overwrite=True, progress=False)
    assert (made / "prepare.json").is_file()
    assert (made / LOCK_FILE).is_file()


def test_a_lock_that_a_killed_prepare_left_is_taken_over(source: Path, tmp_path: Path) -> None:
    with sole_writer(tmp_path / "store") as lock:
        text = lock.path.read_text().replace('"started": "', '"started": "not ')
    (tmp_path / "store").mkdir()
    lock.path.write_text(text)
    prepare(source, tmp_path / "store", progress=False)
    assert not lock.path.exists()


@pytest.mark.parametrize("kept", ["store.json", "cases", "nothing"])
def test_what_is_left_of_a_replaced_store_blocks_nothing(
    source: Path, made: Path, kept: str
) -> None:
    replaced = made.with_name(".store.replaced")
    if kept == "nothing":
        replaced.mkdir()
    else:
        shutil.copytree(made, replaced)
        if kept == "cases":  # killed while it removed the store
            (replaced / "store.json").unlink()
    prepare(source, made, overwrite=True, progress=False)
    assert not replaced.exists()


def test_resuming_a_finished_store_removes_the_one_it_replaced(source: Path, made: Path) -> None:
    replaced = made.with_name(".store.replaced")
    (replaced / "cases").mkdir(parents=True)
    prepare(source, made, resume=True, progress=False)
    assert not replaced.exists()
    (replaced / "cases").mkdir(parents=True)
    (replaced / "thesis.tex").touch()
    prepare(source, made, resume=True, progress=False)
    assert (replaced / "thesis.tex").exists()


def test_repair_removes_what_a_killed_prepare_was_writing(source: Path, made: Path) -> None:
    before = contents(made)
    (made / "cases" / ".part_000.7.partial").mkdir()
    (made / "cases" / ".part_000.7.partial" / "image.b2nd").touch()
    (made / "cases" / "part_001" / ".case.json.00ff.partial").touch()
    (made / ".store.json.00ff.partial").touch()
    prepare(source, made, repair=True, progress=False)
    assert contents(made) == before


def test_a_begun_store_that_was_removed_half_can_be_replaced(source: Path, made: Path) -> None:
    (made / "store.json").rename(made / "prepare.json")
    for name in ("part_000", "part_001"):
        (made / "cases" / name / "case.json").unlink()
    prepare(source, made, overwrite=True, progress=False)
    Store(made).verify()


def test_what_two_killed_prepares_leave_does_not_block_the_next(tmp_path: Path) -> None:
    """One was killed while it wrote store.json, one before it wrote prepare.json anew."""
    for name in (LOCK_FILE, f".{STORE_FILE}.1{SUFFIX}", f".{PROGRESS_FILE}.2{SUFFIX}"):
        (tmp_path / name).write_text("{")
    check_room(tmp_path, overwrite=False, resume=False, repair=False)
    (tmp_path / "mine.txt").write_text("not a store's")
    with pytest.raises(InputError, match="expected a new folder or a store, found something else"):
        check_room(tmp_path, overwrite=True, resume=False, repair=False)
