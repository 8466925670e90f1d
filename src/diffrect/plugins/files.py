"""Plug-ins: files of Python that the user names, each of which becomes a module of its stem."""

import hashlib
import keyword
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from diffrect.checks import regular_file
from diffrect.errors import InputError
from diffrect.plugins.names import describe_fault
from diffrect.plugins.trust import trust_module


@dataclass(frozen=True)
class Plugin:
    """A file of the user's own code.

    Attributes:
        module: name of the module that it became.
        file: where it lies, in full.
        sha256: checksum of its bytes as they were run.
    """

    module: str
    file: Path
    sha256: str


_LOADED: dict[str, Plugin] = {}


def load_plugin(file: Path | str) -> None:
    """Run a file of Python as a module of its name, so that MODULE:NAME finds what it defines.

    `load_plugin("my_code.py")` makes `my_code:Mine` a method, network or view that options and the
    files of a training may name. The folder of the file is not searched for other modules. The
    dotted name of an installed module in place of a file only allows files to name it.

    Example:
        >>> import diffrect
        >>> diffrect.load_plugin("my_methods.py")
        >>> diffrect.TrainConfig(method="my_methods:MeanTeacher").method
        'my_methods:MeanTeacher'

    Args:
        file: the file, or the name of a module.

    Raises:
        InputError: no such file, a name that is taken by another module, or code that raises.
    """
    subject = f"--plugin {file}"
    path = Path(file)
    if path.suffix != ".py":
        _trust_installed(str(file), subject)
        return
    regular_file(path, "a file of Python")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(path, "a file of Python", reason=error.strerror or error) from None
    plugin = Plugin(path.stem, path.resolve(), hashlib.sha256(content).hexdigest())
    if _LOADED.get(plugin.module) == plugin and plugin.module in sys.modules:
        return
    _check_name(plugin, subject)
    _run(plugin, content, subject)
    _LOADED[plugin.module] = plugin
    trust_module(plugin.module)


def load_plugins(files: Sequence[Path | str]) -> None:
    """Load the plug-ins that a command names.

    Raises:
        InputError: see `load_plugin`; or two files that would be one module.
    """
    seen: dict[str, Path] = {}
    for file in map(Path, files):
        other = seen.setdefault(file.stem, file) if file.suffix == ".py" else file
        if other.resolve() != file.resolve():
            raise InputError(f"--plugin {file}", "another name than that of", found=other)
        load_plugin(file)


def loaded_plugins() -> tuple[Plugin, ...]:
    """Return the files that were loaded, in their order."""
    return tuple(_LOADED.values())


def _trust_installed(name: str, subject: str) -> None:
    """Allow files to name an installed module.

    Raises:
        InputError: there is none of that name.
    """
    try:
        found = all(part.isidentifier() for part in name.split(".")) and find_spec(name)
    except (ImportError, ValueError):
        found = False
    if not found:
        raise InputError(subject, "FILE.py, or the name of a module that is installed")
    trust_module(name)


def _check_name(plugin: Plugin, subject: str) -> None:
    """Check that the name of a file can be that of a module, and is not that of another one.

    Raises:
        InputError: it cannot, or is.
    """
    name = plugin.module
    if not name.isidentifier() or keyword.iskeyword(name):
        expected = "a file name of letters, digits and underscores, as Python names modules"
        raise InputError(subject, expected, got=name)
    try:
        spec = None if name in _LOADED else find_spec(name)
    except (ImportError, ValueError):  # a module that has no place, such as __main__
        spec = spec_from_file_location(name, __file__)
    if spec is not None and (spec.origin is None or Path(spec.origin).resolve() != plugin.file):
        raise InputError(subject, f"another file name, a module {name} is installed")


def _run(plugin: Plugin, content: bytes, subject: str) -> None:
    """Run the bytes whose checksum is remembered, rather than what Python has compiled earlier.

    Raises:
        InputError: the code raises something.
    """
    spec = spec_from_file_location(plugin.module, plugin.file)
    assert spec is not None
    module, before = module_from_spec(spec), sys.modules.get(plugin.module)
    sys.modules[plugin.module] = module  # dataclasses look for their module there
    try:
        exec(compile(content, plugin.file, "exec"), vars(module))
    except Exception as error:  # a user's code may raise anything
        del sys.modules[plugin.module]
        if before is not None:
            sys.modules[plugin.module] = before
        expected = "code that can be run"
        raise InputError(subject, expected, found=f"some that {describe_fault(error)}") from error
