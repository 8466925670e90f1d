"""What `--conf` gives."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from diffrect.errors import InputError

_NAMES = ("run", "store", "checkpoint", "device", "tta", "by")


@dataclass(frozen=True)
class Settings:
    """What `--conf NAME VALUE` gives; names that are not ours are MONAI Label's.

    Attributes:
        run: folder made by `diffrect train`, or file made by `diffrect export`.
        store: folder made by `diffrect prepare`, of the scans that are to be annotated; without
            one, scans are not ranked.
        checkpoint: `best` or `last`.
        device: such as `cpu` or `cuda:1`.
        tta: views of a slice to average, see `diffrect predict --tta`.
        by: what ranks scans, see `diffrect rank --by`.
    """

    run: Path
    store: Path | None = None
    checkpoint: str = "best"
    device: str = "auto"
    tta: str = "off"
    by: str = "combined"

    @classmethod
    def from_conf(cls, conf: Mapping[str, str]) -> "Settings":
        """Return the settings.

        Raises:
            InputError: there is no run.
        """
        ours = {name: conf[name] for name in _NAMES if conf.get(name)}
        if "run" not in ours:
            raise InputError("--conf run", "a folder made by diffrect train", got="none")
        store = ours.pop("store", None)
        return cls(Path(ours.pop("run")), None if store is None else Path(store), **ours)


@contextlib.contextmanager
def refusing(error: MONAILabelError) -> Iterator[None]:
    """Turn what is wrong with an input into MONAI Label's own exception, with our one line.

    Args:
        error: what MONAI Label calls it.
    """
    try:
        yield
    except InputError as fault:
        raise MONAILabelException(error, str(fault)) from None
