"""DiffRect: semi-supervised medical image segmentation with latent diffusion label rectification.

The public names below are loaded when first used, so that `import diffrect` costs nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffrect.compare.report import compare_table
    from diffrect.compare.run import compare
    from diffrect.config import TrainConfig
    from diffrect.data.prepare import prepare
    from diffrect.data.source_options import SourceOptions
    from diffrect.data.splits import Split
    from diffrect.data.store import Store
    from diffrect.demo import demo
    from diffrect.errors import InputError
    from diffrect.evaluate import evaluate
    from diffrect.export import export
    from diffrect.inspect import inspect
    from diffrect.model import Model, load_reference_checkpoint
    from diffrect.predict import predict
    from diffrect.train import train

    __version__: str

__all__ = [
    "InputError",
    "Model",
    "SourceOptions",
    "Split",
    "Store",
    "TrainConfig",
    "compare",
    "compare_table",
    "demo",
    "evaluate",
    "export",
    "inspect",
    "load_reference_checkpoint",
    "predict",
    "prepare",
    "train",
]

_MODULES = {
    "InputError": "diffrect.errors",
    "Model": "diffrect.model",
    "SourceOptions": "diffrect.data.source_options",
    "Split": "diffrect.data.splits",
    "Store": "diffrect.data.store",
    "TrainConfig": "diffrect.config",
    "compare": "diffrect.compare.run",
    "compare_table": "diffrect.compare.report",
    "demo": "diffrect.demo",
    "evaluate": "diffrect.evaluate",
    "export": "diffrect.export",
    "inspect": "diffrect.inspect",
    "load_reference_checkpoint": "diffrect.model",
    "predict": "diffrect.predict",
    "prepare": "diffrect.data.prepare",
    "train": "diffrect.train",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("diffrect")
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'diffrect' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])


class _Package(ModuleType):
    """Keeps functions in front of modules: `diffrect.train` is the function, always.

    Importing the submodule of the same name would otherwise put the module in its place, and
    whether `diffrect.train(...)` works would depend on what had been imported before.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _MODULES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
