"""The matrix of a comparison: variants of methods x labelled patients x seeds, as named cells.

A variant is a method with settings under a name of its own. Nothing here trains or reads a store.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from diffrect.checks import update_dataclass
from diffrect.config import Preset, TrainConfig
from diffrect.errors import InputError

PRESETS = ("ablation",)


@dataclass(frozen=True)
class Variant:
    """A method with settings, under a name that the variants' file or the method itself gives."""

    method: str = "diffrect"
    """As `--method` of train."""
    preset: Preset | None = None
    """Preset of the settings; None = that of the whole comparison."""
    labelled: str | None = None
    """Labelled patients, as `--labelled` of train; None = all values of the comparison."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the preset."""


Variants = Mapping[str, Variant]


@dataclass(frozen=True)
class Cell:
    """One training of the matrix.

    Attributes:
        name: the variant's.
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
    """All cells, the variant changing slowest and the seed fastest.

    Args:
        variants: see `choose_variants`.
        labelled: as `--labelled` of train; none given = as train does without it.
        seeds: seeds of the trainings.
        base: what all cells have in common.

    Raises:
        InputError: no seed, or two cells whose folders would have the same name.
    """
    if not seeds:
        raise InputError("--seeds: expected at least one seed, got none")
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
                    labelled=count,
                    seed=seed,
                    options={**base.options, **variant.options},
                )
                cell = Cell(name.partition("@")[0], config)
                if cell.folder in cells:
                    raise InputError(
                        f"{cell.folder}: expected every cell of the matrix once, got two; give "
                        "variants, numbers of labelled patients and seeds that differ"
                    )
                cells[cell.folder] = cell
    return list(cells.values())


def running_order(cells: Sequence[Cell]) -> list[Cell]:
    """Seed by seed, so that the first results are a whole table of one seed."""
    seeds = list(dict.fromkeys(cell.config.seed for cell in cells))
    return sorted(cells, key=lambda cell: seeds.index(cell.config.seed))


def take_shard(cells: Sequence[Cell], shard: tuple[int, int] | None) -> list[Cell]:
    """Part k of n of a matrix: every n-th cell from the k-th on, so each in exactly one part.

    In the order of `build_matrix` the cells of a method follow each other, so that every part gets
    its share of slow methods.
    """
    number, count = shard or (1, 1)
    return list(cells[number - 1 :: count])


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/8" -> (2, 8).

    Raises:
        InputError: something else, or a number outside 1 to count.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--shard: expected PART/PARTS such as 2/8, got {text!r}")
    return int(match[1]), int(match[2])


def split_list(text: str) -> list[str]:
    """A list with commas -> its entries, each once, in order."""
    return list(dict.fromkeys(entry.strip() for entry in text.split(",") if entry.strip()))


def parse_seeds(text: str) -> list[int]:
    """ "0,1,2" -> [0, 1, 2].

    Raises:
        InputError: an entry that is no whole number from 0 on.
    """
    entries = split_list(text)
    for entry in entries:
        if not entry.isdecimal():
            raise InputError(f"--seeds: expected whole numbers such as 0,1,2, got {entry!r}")
    return [int(entry) for entry in entries]


def choose_variants(names: Sequence[str], known: Variants) -> Variants:
    """The variants that names stand for: of `known`, with wildcards, or methods by themselves.

    NAME@LABELLED trains a variant with that many labelled patients alone, whatever the matrix says.
    No name at all stands for all `known`.

    Raises:
        InputError: no name and nothing known, or a wildcard that fits none.
    """
    if not names and not known:
        raise InputError("--methods: expected names such as supervised,diffrect, got none")
    chosen: dict[str, Variant] = {} if names else dict(known)
    for entry in names:
        name, at, labelled = entry.partition("@")
        found = {key: known[key] for key in known if fnmatchcase(key, name)}
        if not found and re.search(r"[*?[]", name):
            listed = ", ".join(known) or "none"
            raise InputError(f"--methods {name}: expected to fit a variant, there are {listed}")
        for key, variant in (found or {name: Variant(method=name)}).items():
            if at:
                chosen[f"{key}@{labelled}"] = replace(variant, labelled=labelled)
            else:
                chosen[key] = variant
    return chosen


def read_variants(path: Path) -> Variants:
    """The variants of a YAML file: name -> method, preset, labelled, options.

    Raises:
        InputError: no such file, not YAML, or fields that do not exist or have the wrong type.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a readable YAML file: {reason}") from None
    return check_variants(content, str(path))


def check_variants(content: Any, where: str) -> Variants:
    """Variants as YAML or a caller gives them; `where` says whose they are.

    Raises:
        InputError: not a mapping, or fields that do not exist or have the wrong type.
    """
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{where}: expected variants by name, got {type(content).__name__}")
    variants = {}
    for name, values in content.items():
        if isinstance(values, Variant):
            variants[str(name)] = values
            continue
        if not isinstance(values or {}, Mapping):
            raise InputError(f"{where}: {name}: expected method and options, got {values!r}")
        variants[str(name)] = update_dataclass(Variant(), values or {}, f"{where}: {name}")
    return variants


def preset_variants(name: str) -> Variants:
    """The variants that the package ships under a name of `PRESETS`."""
    file = resources.files("diffrect.comparison") / f"{name}.yaml"
    return check_variants(yaml.safe_load(file.read_text("utf-8")), name)
