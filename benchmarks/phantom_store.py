"""A prepared store of synthetic hearts; shared by the benchmarks."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.phantom.write import write_phantom


@contextmanager
def phantom_store(patients: int = 4) -> Iterator[Store]:
    """Prepare a store in a temporary folder, `path.parent`, that goes with the context."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(folder / "data", patients, 0)
        yield prepare(folder / "data", folder / "store", format="acdc", progress=False)
