"""Run the protocol of the paper on a machine that is lent for some minutes at a time.

    python benchmarks/paper_run.py pack STORE FOLDER [--labelled 7] [--part-size 60MiB]
    python benchmarks/paper_run.py unpack FOLDER STORE
    python benchmarks/paper_run.py train STORE OUT [--methods default,reference,unimatch,supervised]
        [--labelled 1,3,7] [--seeds 1337] [--minutes 14] [--dry-run]
    python benchmarks/paper_run.py collect OUT FOLDER [--states] [--part-size 60MiB]
    python benchmarks/paper_run.py restore FOLDER OUT

Protocol P: ACDC's official lists, 256 x 256, 3 + 3 slices per batch, 30,000 iterations, validation
every 200, and 1, 3 or 7 labelled patients; rectification of the preset `reference` begins at 1,000.
`pack` writes the slices that it needs into files small enough to carry, and `unpack` makes the
store again, bit for bit. `train` says how long everything takes, trains cell by cell, and stops
before its minutes are over with the scores of the best checkpoint so far; repeated, it resumes.
`collect` keeps scores and curves and, with --states, what the next machine resumes from, which
`restore` puts there. docs/reports/paper.md has the commands one after another.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from diffrect.comparison.estimate import estimate_cells, print_estimates
from diffrect.comparison.matrix import parse_seeds, split_list
from diffrect.comparison.matrix_file import remember_cells
from diffrect.comparison.request import check_before, make_job
from diffrect.errors import InputError
from paper.keeping import collect, restore
from paper.packing import PACK_FILE, pack, unpack
from paper.parts import parse_size
from paper.sessions import (
    ITERATIONS,
    SPLIT,
    Clock,
    paper_cells,
    plan_lines,
    train_session,
)

METHODS = "default,reference,unimatch,supervised"
PART_SIZE = "60MiB"


def main() -> int:
    """Do what the arguments say and return the exit code: 0, 2 for bad input, 130 if stopped."""
    given = vars(_parser().parse_args())
    command = given.pop("command")
    try:
        for line in COMMANDS[command](**given):
            print(line, flush=True)
    except InputError as error:
        print(f"paper_run: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"paper_run: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"paper_run: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, first, second in (
        ("pack", "store", "folder"),
        ("unpack", "folder", "store"),
        ("train", "store", "out"),
        ("collect", "out", "folder"),
        ("restore", "folder", "out"),
    ):
        one = commands.add_parser(name)
        one.add_argument(first, type=Path)
        one.add_argument(second, type=Path)
        if name in ("pack", "collect"):
            one.add_argument("--part-size", default=PART_SIZE, help="bytes of a file at most")
        if name == "pack":
            one.add_argument("--labelled", type=int, default=7, help="patients with their labels")
        if name == "collect":
            one.add_argument("--states", action="store_true", help="what trainings resume from")
        if name == "train":
            _add_training(one)
    return parser


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", default=METHODS, help="presets of DiffRect, or other methods")
    parser.add_argument("--labelled", default="1,3,7")
    parser.add_argument("--seeds", default="1337")
    parser.add_argument("--minutes", type=float, default=14.0, help="length of the session")
    parser.add_argument("--reserve", type=float, default=60.0, help="its last seconds, for scoring")
    parser.add_argument("--dry-run", action="store_true", help="only say how long it will take")
    parser.add_argument("--size", type=int, default=256, help="another one for a rehearsal")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="likewise")
    parser.add_argument("--validate-every", type=int, help="likewise; 1/150 of all")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--device", default="auto")


def _pack(store: Path, folder: Path, part_size: str, labelled: int) -> Iterator[str]:
    made = pack(store, folder, parse_size(part_size), labelled)
    whole = [one["image"] for one in made["cases"]]
    exact = sum("steps" in facts for facts in whole)
    pixels = sum(math.prod(facts["shape"]) for facts in whole)
    size = sum(part["bytes"] for part in made["parts"])
    yield f"{len(whole)} cases, {sum('label' in one for one in made['cases'])} with labels"
    yield f"{pixels:,} pixels, {8 * size / pixels:.2f} bits each with labels; all as whole numbers"
    yield f"by one constant per volume: {exact}, by a table of levels: {len(whole) - exact}"
    for part in made["parts"]:
        yield f"{folder / part['name']}: {part['bytes']:,} bytes"
    yield f"{folder / PACK_FILE}: {(folder / PACK_FILE).stat().st_size:,} bytes"


def _unpack(folder: Path, store: Path) -> Iterator[str]:
    made = unpack(folder, store)
    yield f"{made}: all arrays are those that were packed, bit for bit"


def _train(
    store: Path,
    out: Path,
    methods: str,
    labelled: str,
    seeds: str,
    minutes: float,
    reserve: float,
    dry_run: bool,
    **settings: Any,
) -> Iterator[str]:
    if not minutes > 0 or not reserve >= 0:
        got = f"{minutes:g} minutes and {reserve:g} seconds"
        raise InputError("--minutes and --reserve", "a time above 0 and seconds of it", got=got)
    clock = Clock(minutes, reserve)
    cells = paper_cells(split_list(methods), split_list(labelled), parse_seeds(seeds), **settings)
    job = make_job(store, out, SPLIT, "best", progress=False)
    check_before(cells, job)
    estimates = estimate_cells(cells, job)
    print_estimates(estimates)
    yield from plan_lines(estimates, minutes, reserve)
    if not dry_run:
        remember_cells(cells, out)
        yield from train_session(cells, job, clock)


def _collect(out: Path, folder: Path, states: bool, part_size: str) -> Iterator[str]:
    kept = collect(out, folder, parse_size(part_size), states=states)
    for name, cell in kept["cells"].items():
        state = "finished" if cell["finished"] else f"iteration {cell['step']}"
        sizes = ", ".join(f"{file['name']} {file['bytes']:,} bytes" for file in cell["files"])
        yield f"{name}: {state}" + (f"; {sizes} in {len(cell['parts'])} parts" if sizes else "")
    yield f"results: {sum(part['bytes'] for part in kept['results']):,} bytes"


COMMANDS: dict[str, Callable[..., Iterator[str]]] = {
    "pack": _pack,
    "unpack": _unpack,
    "train": _train,
    "collect": _collect,
    "restore": restore,
}


if __name__ == "__main__":
    sys.exit(main())
