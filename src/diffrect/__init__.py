"""DiffRect: semi-supervised medical image segmentation with latent diffusion label rectification.

Each public name below is loaded when it is first used, so that `import diffrect` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffrect.comparison.report.report import compare_table
    from diffrect.comparison.run import compare
    from diffrect.comparison.tuning.tune import tune
    from diffrect.config import TrainConfig
    from diffrect.data.inspection import inspect
    from diffrect.data.prepare import prepare
    from diffrect.data.source_options import SourceOptions
    from diffrect.data.split import Split
    from diffrect.data.store import Store
    from diffrect.errors import InputError
    from diffrect.evaluation.evaluate import evaluate
    from diffrect.evaluation.export import export
    from diffrect.evaluation.scores_frame import scores
    from diffrect.inference.ensemble import Ensemble
    from diffrect.inference.model import Model
    from diffrect.inference.predict import predict
    from diffrect.inference.pseudo_labels.predict_store import pseudo_labels
    from diffrect.inference.ranking.rank import rank
    from diffrect.inference.rectifying.rectify import rectify
    from diffrect.inference.reference import load_reference_checkpoint
    from diffrect.plugins.files import load_plugin
    from diffrect.reporting.rank_report import write_ranking
    from diffrect.reporting.run_report import write_report
    from diffrect.reporting.show import show
    from diffrect.showcase.demo import demo
    from diffrect.training.train import train

    __version__: str

__all__ = [
    "Ensemble",
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
    "load_plugin",
    "load_reference_checkpoint",
    "predict",
    "prepare",
    "pseudo_labels",
    "rank",
    "rectify",
    "scores",
    "show",
    "train",
    "tune",
    "write_ranking",
    "write_report",
]

_MODULES = {
    "Ensemble": "diffrect.inference.ensemble",
    "InputError": "diffrect.errors",
    "Model": "diffrect.inference.model",
    "SourceOptions": "diffrect.data.source_options",
    "Split": "diffrect.data.split",
    "Store": "diffrect.data.store",
    "TrainConfig": "diffrect.config",
    "compare": "diffrect.comparison.run",
    "compare_table": "diffrect.comparison.report.report",
    "demo": "diffrect.showcase.demo",
    "evaluate": "diffrect.evaluation.evaluate",
    "export": "diffrect.evaluation.export",
    "inspect": "diffrect.data.inspection",
    "load_plugin": "diffrect.plugins.files",
    "load_reference_checkpoint": "diffrect.inference.reference",
    "predict": "diffrect.inference.predict",
    "prepare": "diffrect.data.prepare",
    "pseudo_labels": "diffrect.inference.pseudo_labels.predict_store",
    "rank": "diffrect.inference.ranking.rank",
    "rectify": "diffrect.inference.rectifying.rectify",
    "scores": "diffrect.evaluation.scores_frame",
    "show": "diffrect.reporting.show",
    "train": "diffrect.training.train",
    "tune": "diffrect.comparison.tuning.tune",
    "write_ranking": "diffrect.reporting.rank_report",
    "write_report": "diffrect.reporting.run_report",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from diffrect.version import package_version

        value: Any = package_version()
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'diffrect' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
