"""The log of a training: what is read of it, whatever a crash has left."""

import json
from pathlib import Path

import pytest

from diffrect.runs.log import Log, has_ended, last_value, read_log
from diffrect.runs.names import LOG_FILE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The log of three iterations, of which a crash has cut the last line."""
    log = Log(tmp_path / LOG_FILE, 0)
    log.append({"kind": "train", "step": 1, "minutes": 0.5})
    log.append({"kind": "val", "step": 2, "dice": None, "minutes": 0.75})
    log.append({"kind": "train", "step": 3, "loss": 1.0})
    log.close()
    path = tmp_path / LOG_FILE
    path.write_text(path.read_text()[:-10])
    return path


def test_a_cut_line_is_not_read(file: Path) -> None:
    assert [line["kind"] for line in read_log(file)] == ["format", "train", "val"]


def test_the_last_value_is_that_of_the_last_line_with_one(file: Path) -> None:
    assert last_value(file, "minutes") == 0.75
    assert last_value(file, "dice") is None


def test_no_log_has_no_lines(tmp_path: Path) -> None:
    file = tmp_path / LOG_FILE
    assert (read_log(file), last_value(file, "minutes"), has_ended(file, 3)) == ([], None, False)


def test_a_resumed_training_continues_the_log(file: Path) -> None:
    log = Log(file, 1)
    log.append({"kind": "end", "step": 2})
    log.sync()
    log.close()
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [0, 1, 2]
    assert has_ended(file, 2)
    assert not has_ended(file, 1)
