"""Ways to spoil good data, all relative to the working directory; see test_bad_input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from support.tiny import write_h5, write_nifti

IMAGE = Path("source/imagesTr/part_003.nii.gz")
LABEL = Path("source/labelsTr/part_003.nii.gz")
H5 = Path("h5/data/patient028_frame01.h5")
BEST = Path("run/checkpoints/best.pt")
LAST = Path("run/checkpoints/last.pt")
PREVIOUS = Path("run/checkpoints/previous.pt")

Spoil = Callable[[], Any]


def write(path: str | Path, content: str | bytes = b"") -> Spoil:
    """Replace the content of a file."""
    text = content.encode() if isinstance(content, str) else content
    return lambda: Path(path).write_bytes(text)


def cut(path: str | Path) -> Spoil:
    """Keep the first half of a file."""
    return lambda: Path(path).write_bytes(Path(path).read_bytes()[: Path(path).stat().st_size // 2])


def flip(path: str | Path) -> Spoil:
    """Change the lowest bit of the last digit in a file."""

    def spoil() -> None:
        content = bytearray(Path(path).read_bytes())
        place = max(i for i, byte in enumerate(content[: len(content) // 2]) if 48 <= byte < 58)
        content[place] ^= 1
        Path(path).write_bytes(content)

    return spoil


def remove(path: str | Path) -> Spoil:
    """Remove a file."""
    return lambda: Path(path).unlink()


def make_folder(path: str, *files: str) -> Spoil:
    """Make a folder with empty files, which is not a store or a run."""

    def spoil() -> None:
        Path(path).mkdir()
        for name in files:
            (Path(path) / name).touch()

    return spoil


def change(path: Path, function: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Write another array to a NIfTI file, with the same spacing."""

    def spoil() -> None:
        image = nib.load(path)
        write_nifti(path, function(np.asanyarray(image.dataobj)), image.header.get_zooms()[:3])

    return spoil


def write_header(fields: dict[str, Any]) -> Spoil:
    """Write a good image with some wrong fields in its header."""
    header = nib.Nifti1Header()
    header.set_data_shape((20, 20, 2))
    header["vox_offset"] = header.single_vox_offset
    for name, value in fields.items():
        header[name] = value
    return write("a.nii", header.binaryblock + bytes(4 + 4 * 20 * 20 * 2))


def one_voxel(value: float, kind: Any = np.float32) -> Callable[[np.ndarray], np.ndarray]:
    """Return a change of one voxel of an array to another value."""

    def function(array: np.ndarray) -> np.ndarray:
        array = array.astype(kind)
        array[0, 0, 0] = value
        return array

    return function


def rewrite_h5(slices: int = 3, code: int = 0, value: float = 1.0) -> Spoil:
    """Write a case of 3 slices, `slices` of label filled with `code`, and one voxel of `value`."""
    image = np.linspace(0, 1, 3 * 22 * 26, dtype=np.float32).reshape(3, 22, 26)
    image[0, 0, 0] = value
    return lambda: write_h5(H5, image, np.full((slices, 22, 26), code, np.uint8))


def half_prepared() -> None:
    """Leave a store as a killed prepare leaves it."""
    Path("store/store.json").rename("store/prepare.json")


def change_checkpoint(path: Path, without: str = "", **changes: Any) -> Spoil:
    """Write a checkpoint with other entries."""

    def spoil() -> None:
        state = torch.load(path, weights_only=True)
        kept = {key: value for key, value in state.items() if key != without}
        torch.save({**kept, **changes}, path)

    return spoil


def no_test_split() -> None:
    """Make a run that was trained without test patients."""
    Path("run/split.json").write_text('{"train": ["patient099"], "val": ["patient028"]}')


def nothing() -> None:
    """Spoil nothing: only the command is wrong."""
