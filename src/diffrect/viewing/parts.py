"""The bytes of scans and layers, by their numbers, for a server and for a page in one file."""

from threading import Lock

from diffrect.errors import InputError
from diffrect.imaging.volume import Volume
from diffrect.viewing.encode import encode_labels, encode_map, encode_scan
from diffrect.viewing.gallery import Gallery


class Parts:
    """Reads what a page asks for; the last scan is kept, on whose grid its layers are read."""

    def __init__(self, gallery: Gallery, level: int = 1) -> None:
        """Take what is shown.

        Args:
            gallery: the cases.
            level: of the compression, 1 to 9.
        """
        self._gallery, self._level = gallery, level
        self._lock = Lock()
        self._last: tuple[int, Volume] | None = None

    def part(self, case: int, layer: int | None) -> bytes:
        """Return a scan, or a layer of it, as NIfTI compressed with gzip.

        Args:
            case: its number from 0.
            layer: its number from 0; None for the scan.

        Raises:
            IndexError: there is no such case or layer.
            InputError: it cannot be read.
        """
        shown = self._gallery.cases[case]
        wanted = None if layer is None else shown.layers[layer]
        with self._lock:
            try:
                image = self._scan(case)
                if wanted is None:
                    return encode_scan(image, self._level)
                values = wanted.read(image)
                encode = encode_map if wanted.kind == "map" else encode_labels
                return encode(values, image, self._level)
            except MemoryError:
                raise InputError(shown.name, problem="needs more memory than there is") from None

    def _scan(self, case: int) -> Volume:
        if self._last is None or self._last[0] != case:
            self._last = None  # so that two scans are never held at once
            self._last = case, self._gallery.cases[case].scan()
        return self._last[1]
