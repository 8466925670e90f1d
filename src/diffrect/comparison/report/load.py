"""The finished cells of a folder, checked to be comparable: each once, all of one protocol."""

from collections.abc import Sequence
from pathlib import Path

from diffrect.comparison.matrix_file import planned_cells
from diffrect.comparison.report.results import CellResult, read_result
from diffrect.errors import InputError
from diffrect.runs.names import metrics_file


def load_results(folder: Path, split: str) -> list[CellResult]:
    """Return the finished cells of a folder, in the order of the matrix if that is known.

    Raises:
        InputError: none is there, one cannot be read, two are the same cell, or they follow
            different protocols.
    """
    files = sorted(folder.glob(f"*/{metrics_file(split)}"))
    if not files:
        found = "no such folder" if not folder.is_dir() else f"no CELL/{metrics_file(split)}"
        raise InputError(folder, "finished cells of a comparison", found=found)
    order = planned_cells(folder)
    results = [read_result(file) for file in files]
    results.sort(key=lambda r: order.index(r.folder.name) if r.folder.name in order else len(order))
    check_once(results)
    check_same_training(results)
    check_protocol(results)
    return results


def check_same_training(results: Sequence[CellResult]) -> None:
    """Check that the cells of a name, whose scores are averaged, have one network and one rate.

    Raises:
        InputError: naming two folders with different ones.
    """
    first: dict[str, CellResult] = {}
    for result in results:
        other = first.setdefault(result.name, result)
        for what, one, two in (
            ("network", other.network, result.network),
            ("learning rate", other.learning_rate, result.learning_rate),
        ):
            if one != two:
                both = f"{other.folder} and {result.folder}"
                raise InputError(both, f"one {what} in {result.name}", got=f"{one} and {two}")


def check_once(results: Sequence[CellResult]) -> None:
    """Check that each cell is there once.

    Raises:
        InputError: naming two folders of the same cell.
    """
    seen: dict[tuple[str, frozenset[str], int], Path] = {}
    for result in results:
        key = (result.name, frozenset(result.labelled), result.seed)
        if key in seen:
            which = f"{result.name} with {result.count} labelled and seed {result.seed}"
            both = f"{seen[key]} and {result.folder}"
            raise InputError(both, f"one cell of {which}", got="two")
        seen[key] = result.folder


def check_protocol(results: Sequence[CellResult]) -> None:
    """Check that all cells follow one protocol, and those of a seed are scored on the same cases.

    Raises:
        InputError: naming every setting that differs, and two cells.
    """
    first = results[0]
    for other in results[1:]:
        differing = [
            f"{name} {first.protocol[name]} against {other.protocol[name]}"
            for name in first.protocol
            if first.protocol[name] != other.protocol[name]
        ]
        if differing:
            raise _mixed(first, other, "; ".join(differing))
    check_patients(results)


def check_patients(results: Sequence[CellResult]) -> None:
    """Check that cells share their cases and, if as many are labelled, their training patients.

    Without a split file they may differ from seed to seed, because the patients of a data set that
    has no split of its own are drawn by the seed.

    Raises:
        InputError: naming two cells and a case or patient.
    """
    by_seed: dict[int | None, CellResult] = {}
    by_count: dict[tuple[int | None, int], CellResult] = {}
    for result in results:
        seed = None if result.split_file else result.seed
        first = by_seed.setdefault(seed, result)
        case = min(first.cases.keys() ^ result.cases.keys(), default=None)
        if case is not None:
            raise _mixed(first, result, f"split: case {case} is in only one")
        alike = by_count.setdefault((seed, result.count), result)
        patient = min({*alike.labelled} ^ {*result.labelled}, default=None)
        if patient is not None:
            raise _mixed(alike, result, f"split: patient {patient} is labelled in only one")
        if alike.unlabelled != result.unlabelled:
            counts = f"{alike.unlabelled} against {result.unlabelled}"
            raise _mixed(alike, result, f"split: unlabelled patients {counts}")


def _mixed(one: CellResult, other: CellResult, what: str) -> InputError:
    subject = f"{one.folder} and {other.folder}"
    return InputError(subject, "cells of one protocol in a table", got=what)
