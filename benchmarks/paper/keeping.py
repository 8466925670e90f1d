"""Keep what a machine found before it is given back, and put it back on another.

FOLDER/results.01 ...   an archive (tar.xz) of small files: of each cell its scores per case, the
                        validation curve, configuration, split, cost; and sessions.json
FOLDER/CELL.01 ...      with states, of each cell that is not finished: last.pt, from which the
                        training resumes, best.pt and the whole log, one after another
FOLDER/collected.json   written last: parts and files with their checksums
"""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diffrect.atomic import write_atomic
from diffrect.checks import folder_to_make
from diffrect.comparison.cost import training_cost
from diffrect.comparison.locks import lock_owner
from diffrect.comparison.names import MATRIX_FILE
from diffrect.data.integrity import checksum, write_sealed
from diffrect.errors import InputError
from diffrect.json_files import read_json, write_json
from diffrect.runs.checkpoint import checkpoint_path
from diffrect.runs.log import read_log
from diffrect.runs.names import (
    BEST,
    CELL_FILE,
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    LAST,
    LOG_FILE,
    OPTIONS_FILE,
    SPLIT_FILE,
    checkpoint_file,
    metrics_file,
)
from diffrect.runs.provenance import code_version
from diffrect.runs.resume import has_state
from paper.parts import joined, pieces_of, read_manifest, write_parts
from paper.sessions import SESSIONS_FILE, SPLIT, step_of

COLLECTED_FILE, COLLECTED_FORMAT, RESULTS = "collected.json", 1, "results"
COST_FILE = "cost.json"  # of a cell that is not finished; a finished one has it in cell.json
_SMALL = (metrics_file(SPLIT), CONFIG_FILE, OPTIONS_FILE, SPLIT_FILE, CELL_FILE)
_STATE = (*(f"{CHECKPOINTS_FOLDER}/{checkpoint_file(name)}" for name in (LAST, BEST)), LOG_FILE)
_KEPT_LINES = ("format", "val", "end", "remark", "skipped")


def collect(out: Path, folder: Path, limit: int, *, states: bool = False) -> dict[str, Any]:
    """Copy what is worth keeping of all cells, and return what collected.json says.

    Args:
        out: folder of the cells.
        folder: where the files go, a new one, so that nothing kept earlier can be lost.
        limit: bytes of a file at most.
        states: copy what the trainings resume from, too.

    Raises:
        InputError: no cell there, a process works on one, or the folder is taken.
    """
    runs = sorted(file.parent for file in out.glob(f"[!.]*/{CONFIG_FILE}"))
    if not runs:
        raise InputError(out, "a folder of cells that train has written", found="none")
    for run in runs:
        owner = lock_owner(out, run.name)
        if owner:
            raise InputError(run, "a cell that no process works on", found=owner)
    folder_to_make(folder)
    if (folder / COLLECTED_FILE).exists():
        raise InputError(folder, "a new folder", found=COLLECTED_FILE)
    content: dict[str, Any] = {
        "format": COLLECTED_FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **asdict(code_version()),
        "cells": {run.name: _facts_of(run) for run in runs},
        "results": write_parts([_archive(out, runs)], folder, RESULTS, limit),
    }
    for run in runs if states else []:
        if (run / CELL_FILE).is_file() or not has_state(run):
            continue
        cell = content["cells"][run.name]
        cell["parts"] = write_parts(_state(run, cell["files"]), folder, run.name, limit)
    write_sealed(folder / COLLECTED_FILE, content)
    return content


def _archive(out: Path, runs: list[Path]) -> bytes:
    """Return the small files of all cells as tar.xz."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        for file in (out / MATRIX_FILE, out / SESSIONS_FILE):
            if file.is_file():
                archive.add(file, file.name)
        for run in runs:
            for name in filter(lambda name: (run / name).is_file(), _SMALL):
                archive.add(run / name, f"{run.name}/{name}")
            _add(archive, f"{run.name}/{LOG_FILE}", _curve(run))
            if not (run / CELL_FILE).is_file() and checkpoint_path(run, BEST).is_file():
                cost = training_cost(run, "best").to_dict()
                _add(archive, f"{run.name}/{COST_FILE}", json.dumps(cost, indent=1))
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    member, content = tarfile.TarInfo(name), text.encode()
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _facts_of(run: Path) -> dict[str, Any]:
    finished = (run / CELL_FILE).is_file()
    return {"step": step_of(run), "finished": finished, "files": [], "parts": []}


def _curve(run: Path) -> str:
    """Return the log of a run without its iterations: what validation and the end say."""
    lines = [line for line in read_log(run / LOG_FILE) if line["kind"] in _KEPT_LINES]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def _state(run: Path, files: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the content of the files that a training resumes from, and note them in `files`."""
    for name in _STATE:
        if not (run / name).is_file():
            continue
        seen, size = hashlib.sha256(), 0
        for piece in pieces_of(run / name):
            seen.update(piece)
            size += len(piece)
            yield piece
        files.append({"name": name, "bytes": size, "sha256": seen.hexdigest()})


def restore(folder: Path, out: Path) -> Iterator[str]:
    """Put what `collect` kept back as a folder of cells, and yield a line per cell.

    A cell that is as far there already is left alone; another is replaced in one step.

    Raises:
        InputError: the folder is not whole.
    """
    manifest = read_manifest(folder / COLLECTED_FILE, COLLECTED_FORMAT, "collect")
    small = _small_files(joined(folder, manifest["results"]), folder)
    folder_to_make(out)
    out.mkdir(parents=True, exist_ok=True)
    for name, cell in manifest["cells"].items():
        run = out / name
        reason = _reason_to_keep(run, cell)
        if reason:
            yield f"{name}: {reason}, left as it is"
            continue
        content = {**small.get(name, {}), **_state_files(folder, cell)}
        _put(run, content)
        kept = "finished" if cell["finished"] else f"iteration {cell['step']}"
        yield f"{name}: {kept}{'' if cell['files'] or cell['finished'] else ', scores only'}"
    _put_lists(out, small.get("", {}))


def _small_files(content: bytes, folder: Path) -> dict[str, dict[str, bytes]]:
    """Return the files of the archive by cell and name; "" has those of the whole folder."""
    found: dict[str, dict[str, bytes]] = {}
    known = {*_SMALL, LOG_FILE, COST_FILE, MATRIX_FILE, SESSIONS_FILE}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:xz") as archive:
        for member in archive:
            cell, _, name = member.name.rpartition("/")
            stream = archive.extractfile(member)
            if name not in known or "/" in cell or cell.startswith(".") or stream is None:
                raise InputError(folder, "nothing but files of cells", found=member.name)
            found.setdefault(cell, {})[name] = stream.read()
    return found


def _state_files(folder: Path, cell: dict[str, Any]) -> dict[str, bytes]:
    content, start, found = joined(folder, cell["parts"]), 0, {}
    for file in cell["files"]:
        found[file["name"]] = content[start : start + file["bytes"]]
        start += file["bytes"]
        if checksum(found[file["name"]]) != file["sha256"]:
            raise InputError(folder, f"{file['name']} as it was collected, it has changed")
    return found


def _reason_to_keep(run: Path, cell: dict[str, Any]) -> str | None:
    if (run / CELL_FILE).is_file():
        return "is finished here"
    if has_state(run) and not cell["finished"]:
        if not cell["files"]:
            return "has a state here, and none was collected"
        if step_of(run) >= cell["step"]:
            return "is as far here"
    return None


def _put(run: Path, files: dict[str, bytes]) -> None:
    """Make a RUN folder beside its place, then move it there."""
    fresh, before = (run.with_name(f".{run.name}.{what}") for what in ("fresh", "before"))
    for folder in (fresh, before):
        shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(fresh / name, content)
    if run.exists():
        run.replace(before)
    fresh.replace(run)
    shutil.rmtree(before, ignore_errors=True)


def _put_lists(out: Path, files: dict[str, bytes]) -> None:
    """Add the sessions and the planned cells to those that the folder knows."""
    for name, key in ((SESSIONS_FILE, "sessions"), (MATRIX_FILE, "cells")):
        if name not in files:
            continue
        new, file = json.loads(files[name]), out / name
        if file.is_file():
            here = read_json(file)[key]
            if isinstance(here, dict):
                new[key] = {**new[key], **here}
            else:
                new[key] = [*(one for one in new[key] if one not in here), *here]
        write_json(file, new)
