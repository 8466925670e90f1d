"""Variants: methods with settings, each under a name of its own, from YAML or from a caller."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

from diffrect.checks import update_dataclass
from diffrect.config import Preset
from diffrect.errors import InputError
from diffrect.text_files import parse_yaml, read_yaml

PRESETS = ("ablation",)


@dataclass(frozen=True)
class Variant:
    """A method with settings, under a name that the variants' file or the method itself gives."""

    method: str = "diffrect"
    """As `--method` of train."""
    preset: Preset | None = None
    """Preset of the settings; None takes that of the whole comparison."""
    labelled: str | None = None
    """Labelled patients, as `--labelled` of train; None takes all values of the comparison."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the preset."""
    network: str | None = None
    """As `--network` of train; None takes that of the whole comparison."""
    learning_rate: float | None = None
    """As `--learning-rate` of train; None takes that of the whole comparison."""

    @property
    def named_code(self) -> tuple[str, ...]:
        """What may be code of the user's own, as MODULE:NAME among other texts."""
        return (self.method, self.network or "", *map(str, self.options.values()))


Variants = Mapping[str, Variant]


def choose_variants(names: Sequence[str], known: Variants) -> Variants:
    """Return the variants that names choose: known ones, also by wildcard, or plain methods.

    NAME@LABELLED trains a variant only with that many labelled patients, whatever the matrix says.
    Without any name, all `known` are chosen.

    Raises:
        InputError: no name and nothing known, or a wildcard that fits none.
    """
    if not names and not known:
        raise InputError(
            "--methods", "names such as supervised,diffrect", got="none", setting="methods"
        )
    chosen: dict[str, Variant] = {} if names else dict(known)
    for entry in names:
        name, at, labelled = entry.partition("@")
        found = {key: known[key] for key in known if fnmatchcase(key, name)}
        if not found and re.search(r"[*?[]", name):
            listed = ", ".join(known) or "none"
            expected = f"to fit a variant, there are {listed}"
            raise InputError(f"--methods {name}", expected, setting="methods")
        for key, variant in (found or {name: Variant(method=name)}).items():
            if at:
                chosen[f"{key}@{labelled}"] = replace(variant, labelled=labelled)
            else:
                chosen[key] = variant
    return chosen


def read_variants(path: Path) -> Variants:
    """Return the variants of a YAML file: name -> the fields of `Variant`.

    Raises:
        InputError: no such file, not YAML, or fields that do not exist or have the wrong type.
    """
    return check_variants(read_yaml(path), str(path))


def check_variants(content: Any, where: str) -> Variants:
    """Check variants that YAML or a caller gives, and return them.

    Args:
        content: name -> a `Variant`, or its fields by name.
        where: what messages call the place that they come from, such as the file.

    Raises:
        InputError: not a mapping, or fields that do not exist or have the wrong type.
    """
    if not isinstance(content, Mapping) or not content:
        raise InputError(where, "variants by name", got=type(content).__name__)
    variants = {}
    for name, values in content.items():
        if isinstance(values, Variant):
            variants[str(name)] = values
            continue
        if not isinstance(values or {}, Mapping):
            raise InputError(f"{where}: {name}", "method and options", got=repr(values))
        variants[str(name)] = update_dataclass(Variant(), values or {}, f"{where}: {name}")
    return variants


def preset_variants(name: str) -> Variants:
    """Return the variants that the package ships under a name of `PRESETS`."""
    file = resources.files("diffrect.comparison") / f"{name}.yaml"
    return check_variants(parse_yaml(file.read_text("utf-8")), name)
