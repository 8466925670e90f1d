"""The cells of a comparison, from the arguments that describe them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

from diffrect.checks import one_of
from diffrect.comparison.matrix import Cell, MatrixArguments, build_matrix
from diffrect.comparison.variants import (
    PRESETS,
    Variants,
    check_variants,
    choose_variants,
    preset_variants,
    read_variants,
)
from diffrect.config import TrainConfig
from diffrect.errors import InputError
from diffrect.methods.registry import check_name, check_network_name, resolve
from diffrect.plugins.settings import check_settings, trust_settings
from diffrect.plugins.trust import trust_names


def make_cells(**matrix: Unpack[MatrixArguments]) -> list[Cell]:
    """Return the matrix that the arguments of `compare` describe; check every method and option.

    Args:
        **matrix: see `MatrixArguments`.

    Raises:
        InputError: one of them is wrong.
    """
    cells = plan_cells(**matrix)
    for cell in {cell.name: cell for cell in cells}.values():
        with _naming(cell):
            resolve(cell.config)
    return cells


def plan_cells(
    methods: Sequence[str] = (),
    labelled: Sequence[str | int] = (),
    seeds: Sequence[int] = (1337,),
    config: TrainConfig | None = None,
    variants: Path | str | Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> list[Cell]:
    """Return the matrix that the arguments of `compare` describe.

    Names of methods are checked, but no method is imported, which takes seconds.

    Args:
        methods: names of methods or variants, see `choose_variants`.
        labelled: numbers of labelled patients, as `TrainConfig.labelled`.
        seeds: seeds of the trainings.
        config: what all cells have in common.
        variants: named variants, or the YAML file that holds them.
        preset: one of `PRESETS`, for variants that the package ships.

    Raises:
        InputError: one of them is wrong.
    """
    if preset is not None:
        one_of("--preset", preset, PRESETS)
    config = config or TrainConfig()
    known: Variants = preset_variants(preset) if preset else {}
    trust_settings(config)
    trust_names(methods)
    if isinstance(variants, Mapping):
        given = check_variants(variants, "variants")
        trust_names(text for one in given.values() for text in one.named_code)
        known = {**known, **given}
    elif variants is not None:
        known = {**known, **read_variants(Path(variants))}
    chosen = choose_variants(methods, known)
    cells = build_matrix(chosen, [str(count) for count in labelled], seeds, config)
    for cell in {cell.name: cell for cell in cells}.values():
        check_settings(cell.config, variants)
        with _naming(cell):
            check_name(cell.config.method)
            if cell.config.validate_slices is not None:
                got = f"{cell.config.validate_slices:g} of each scan"
                raise InputError("--validate-slices", "none in a comparison", got=got)
            check_network_name(cell.config)
    return cells


@contextmanager
def _naming(cell: Cell) -> Iterator[None]:
    """Make an error name the cell as --methods calls it."""
    try:
        yield
    except InputError as error:
        raise error.about(f"--methods {cell.name}: {error.subject}") from None
