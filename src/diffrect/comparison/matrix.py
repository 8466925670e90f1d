"""The matrix of a comparison: variants of methods x labelled patients x seeds, as named cells.

Nothing here trains or reads a store, or imports torch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from diffrect.comparison.variants import Variants
from diffrect.config import TrainConfig
from diffrect.errors import InputError


class MatrixArguments(TypedDict, total=False):
    """The arguments of `compare` that describe its matrix; all of them have defaults.

    Attributes:
        methods: names of methods or variants, see `choose_variants`.
        labelled: numbers of labelled patients, as `TrainConfig.labelled`.
        seeds: seeds of the trainings.
        config: what all cells have in common.
        variants: named variants, or the YAML file that holds them.
        preset: name of variants that the package ships.
    """

    methods: Sequence[str]
    labelled: Sequence[str | int]
    seeds: Sequence[int]
    config: TrainConfig | None
    variants: Path | str | Mapping[str, Any] | None
    preset: str | None


@dataclass(frozen=True)
class Cell:
    """One training of the matrix.

    Attributes:
        name: name of its variant.
        config: what to train.
    """

    name: str
    config: TrainConfig

    @property
    def folder(self) -> str:
        """Name of the cell's RUN folder, such as diffrect-labelled1-seed0."""
        labelled = self.config.labelled
        parts = [self.name]
        if labelled is not None:
            count = re.fullmatch(r"\s*([\d./]+)\s*(%?)\s*", labelled)
            text = Path(labelled).stem if count is None else count[1] + ("pct" if count[2] else "")
            parts.append(f"labelled{text}")
        parts.append(f"seed{self.config.seed}")
        return re.sub(r"[^\w.-]+", "_", "-".join(parts))


def build_matrix(
    variants: Variants, labelled: Sequence[str], seeds: Sequence[int], base: TrainConfig
) -> list[Cell]:
    """Return all cells; the variant changes slowest and the seed fastest.

    Args:
        variants: see `choose_variants`.
        labelled: as `--labelled` of train; an empty list means what train does without it.
        seeds: seeds of the trainings.
        base: what all cells have in common.

    Raises:
        InputError: no seed, or two cells whose folders would have the same name.
    """
    if not seeds:
        raise InputError("--seeds", "at least one seed", got="none", setting="seeds")
    cells: dict[str, Cell] = {}
    for name, variant in variants.items():
        counts: list[str | None] = [variant.labelled or base.labelled]
        if variant.labelled is None and labelled:
            counts = list(labelled)
        for count in counts:
            for seed in seeds:
                config = replace(
                    base,
                    method=variant.method,
                    preset=variant.preset or base.preset,
                    network=variant.network or base.network,
                    labelled=count,
                    seed=seed,
                    learning_rate=variant.learning_rate or base.learning_rate,
                    options={**base.options, **variant.options},
                )
                cell = Cell(name.partition("@")[0], config)
                if cell.folder in cells:
                    raise InputError(
                        cell.folder,
                        "every cell of the matrix once",
                        got="two",
                        hint="give variants, numbers of labelled patients and seeds that differ",
                    )
                cells[cell.folder] = cell
    return list(cells.values())


def running_order(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells seed by seed, so that the first results are a whole table of one seed."""
    seeds = list(dict.fromkeys(cell.config.seed for cell in cells))
    return sorted(cells, key=lambda cell: seeds.index(cell.config.seed))


def take_shard(cells: Sequence[Cell], shard: tuple[int, int] | None) -> list[Cell]:
    """Return part k of n of a matrix: every n-th cell from the k-th on, so each in one part.

    In the order of `build_matrix` the cells of a method follow each other, so that every part gets
    its share of slow methods.
    """
    number, count = shard or (1, 1)
    return list(cells[number - 1 :: count])


def parse_shard(text: str) -> tuple[int, int]:
    """Return (2, 8) for "2/8".

    Raises:
        InputError: something else, or a number outside 1 to count.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError("--shard", "PART/PARTS such as 2/8", got=repr(text), setting="shard")
    return int(match[1]), int(match[2])


def split_list(text: str) -> list[str]:
    """Return the entries of a list with commas, each once, in order."""
    return list(dict.fromkeys(entry.strip() for entry in text.split(",") if entry.strip()))


def parse_seeds(text: str) -> list[int]:
    """Return [0, 1, 2] for "0,1,2".

    Raises:
        InputError: an entry that is not a whole number from 0 on.
    """
    entries = split_list(text)
    for entry in entries:
        if not re.fullmatch(r"\d{1,19}", entry):
            expected = "whole numbers such as 0,1,2"
            raise InputError("--seeds", expected, got=repr(entry), setting="seeds")
    return [int(entry) for entry in entries]
