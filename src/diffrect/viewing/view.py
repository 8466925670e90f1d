"""Show scans with labels over them: serve a page on this machine, or write it as one file."""

from collections.abc import Callable
from pathlib import Path

from diffrect.atomic import remove_unfinished
from diffrect.errors import InputError
from diffrect.viewing.gallery import Gallery
from diffrect.viewing.niivue import niivue
from diffrect.viewing.page import served_page, write_page
from diffrect.viewing.parts import Parts
from diffrect.viewing.server import ViewServer


def serve(gallery: Gallery, ready: Callable[[str], None], port: int = 0) -> None:
    """Serve a viewer to browsers of this machine until somebody interrupts.

    Args:
        gallery: what is shown.
        ready: called with the address once the page is there.
        port: to listen on; 0 for one that is free.

    Raises:
        InputError: NiiVue is not installed, the only case cannot be read, or the port is not free.
        KeyboardInterrupt: somebody interrupted.
    """
    parts = Parts(gallery)
    if len(gallery.cases) == 1:  # nothing else could be looked at
        for layer in (None, *range(len(gallery.cases[0].layers))):
            parts.part(0, layer)
    with ViewServer(*served_page(gallery), parts, port) as server:
        ready(server.url)
        server.serve_forever()


def write_viewer(path: Path, gallery: Gallery, *, overwrite: bool = False) -> int:
    """Write a viewer as one file that needs no other and no network; return its bytes.

    Args:
        path: the HTML file to write.
        gallery: what is shown.
        overwrite: replace the file if it is there.

    Raises:
        InputError: NiiVue is not installed, a scan or a label cannot be read, the page would be too
            large, or the file exists already; nothing is written.
    """
    check_output(path, overwrite=overwrite)
    niivue()
    remove_unfinished(path.parent, path.name)
    return write_page(path, gallery)


def check_output(path: Path, *, overwrite: bool) -> None:
    """Check that a page may be written.

    Raises:
        InputError: the folder is not there, or the file is.
    """
    if path.is_dir():
        raise InputError(path, "a file to write", found="a folder")
    if not path.parent.is_dir():
        raise InputError(path.parent, "a folder to write the page into", found="nothing")
    if path.exists() and not overwrite:
        raise InputError(path, problem="exists already", hint="--overwrite replaces it")
