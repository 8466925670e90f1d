"""Options that describe the layout of a data set to `prepare`; light, for the command line."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from diffrect.config import Shown
from diffrect.errors import InputError

Layout = Literal["decathlon", "acdc", "ssl4mis", "mscmr19", "folder"]
"""The layouts of data sets, each the module of its name in `diffrect.data.sources`.

They are tried in this order: the more a layout asks for, the earlier.
"""
Format = Literal["auto", Layout]
"""The values of --format."""


@dataclass(frozen=True)
class SourceOptions:
    """Each layout takes some of them; every layout takes `trust_image_geometry`.

    Example:
        >>> import diffrect
        >>> options = diffrect.SourceOptions(trust_image_geometry=True)
        >>> diffrect.inspect("ACDC", options=options, progress=False).format
        'acdc'
    """

    modality: Annotated[str | None, Shown("NAME")] = None
    """Read only this channel, named as in dataset.json; by default all are read."""
    patients: Annotated[str | None, Shown("REGEX")] = None
    """The regex's first group, found in a case's id, names the patient; by default the id does."""
    table: Annotated[Path | None, Shown("FILE.csv")] = None
    """List of the cases: columns image and, as needed, id, patient, label, split."""
    classes: Annotated[Path | None, Shown("FILE")] = None
    """Names of the label codes: YAML, CSV (code,name) or ITK-SNAP's; by default the codes found."""
    trust_image_geometry: bool = False
    """Take labels to lie on their images' grids where the affines differ."""

    def given(self) -> list[str]:
        """Return the names of the options that are not at their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def check(self, format: str, accepted: frozenset[str]) -> None:
        """Refuse options that a layout does not take.

        Raises:
            InputError: naming the option and the layout.
        """
        for name in self.given():
            if name not in accepted | {"trust_image_geometry"}:
                option = f"--{name.replace('_', '-')}"
                expected = f"another layout than {format}, it takes none"
                raise InputError(option, expected, setting=name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them; paths are absolute."""
        values = asdict(self)
        return {
            name: str(value.resolve()) if isinstance(value, Path) else value
            for name, value in values.items()
        }
