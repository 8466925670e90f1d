"""Stand-ins for the interfaces of MONAI Label 0.8, which needs more than tests should install.

Signatures and the order of calls are those of `monailabel.interfaces`; what the app does not use is
left out. `benchmarks/monai_label_client.py` runs the app in MONAI Label itself.
"""

import sys
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

APP = Path(__file__).parents[2] / "integrations" / "monai_label"


class Error(StrEnum):
    APP_INIT_ERROR = "APP_INIT_ERROR"
    INFERENCE_ERROR = "INFERENCE_ERROR"
    INVALID_INPUT = "INVALID_INPUT"
    APP_ERROR = "APP_ERROR"


class RefusedByServer(Exception):  # noqa: N818  it stands for MONAILabelException
    def __init__(self, error: Error, msg: str) -> None:
        super().__init__(error, msg)
        self.error, self.msg = error, msg


class InferType(StrEnum):
    SEGMENTATION = "segmentation"


class InferTask(metaclass=ABCMeta):
    def __init__(
        self,
        type: InferType,
        labels: Any,
        dimension: int,
        description: str,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.type, self.labels, self.dimension = type, labels, dimension
        self.description, self._config = description, dict(config or {})

    def info(self) -> dict[str, Any]:
        names = ("type", "labels", "dimension", "description")
        return {name: getattr(self, name) for name in names} | {"config": self._config}

    @abstractmethod
    def is_valid(self) -> bool: ...

    @abstractmethod
    def __call__(self, request: Any) -> tuple[str | None, dict[str, Any]]: ...


class Strategy(metaclass=ABCMeta):
    def __init__(self, description: str) -> None:
        self.description = description

    @abstractmethod
    def __call__(self, request: Any, datastore: Any) -> Any: ...


class Scans:
    """Scans directly in a folder, some with labels, as `LocalDatastore` has them."""

    def __init__(self, folder: Path, labelled: set[str] | None = None) -> None:
        self.files = {file.name.removesuffix(".nii.gz"): file for file in folder.iterdir()}
        self.labelled = labelled or set()
        self.infos: dict[str, dict[str, Any]] = {}

    def get_unlabeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        return [name for name in self.files if name not in self.labelled]

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        return self.infos.get(image_id, {})

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.infos[image_id] = info

    def get_image_uri(self, image_id: str) -> str:
        return str(self.files[image_id])


class App:
    def __init__(
        self,
        app_dir: str,
        studies: str,
        conf: Mapping[str, str],
        name: str = "",
        description: str = "",
        version: str = "2.0",
        labels: Any = None,
    ) -> None:
        self.name, self.version = name, version
        self.scans = Scans(Path(studies))
        self.infers, self.strategies = self.init_infers(), self.init_strategies()

    def init_infers(self) -> dict[str, Any]:
        return {}

    def init_strategies(self) -> dict[str, Any]:
        return {"random": None}

    def infer(self, request: dict[str, Any]) -> dict[str, Any]:
        image = self.scans.get_image_uri(request["image"])
        file, told = self.infers[request["model"]]({**request, "image": image})
        return {"file": file, "params": told}

    def next_sample(self, request: dict[str, Any], now: float) -> dict[str, Any]:
        """Return the scan to annotate next, and note when it was handed out."""
        found = self.strategies[request["strategy"]](request, self.scans)
        if not found:
            return {}
        handed = {"strategy": {request["strategy"]: {"ts": now}}}
        self.scans.update_image_info(found["id"], handed)
        return found | {"path": self.scans.get_image_uri(found["id"])}


_MODULES = {
    "interfaces.app": {"MONAILabelApp": App},
    "interfaces.datastore": {"Datastore": Scans},
    "interfaces.exception": {"MONAILabelError": Error, "MONAILabelException": RefusedByServer},
    "interfaces.tasks.infer_v2": {"InferTask": InferTask, "InferType": InferType},
    "interfaces.tasks.strategy": {"Strategy": Strategy},
}


@contextmanager
def app_class() -> Iterator[type[App]]:
    """Lend the class of the app, loaded as MONAI Label loads it, with stand-ins for itself."""
    before = set(sys.modules)
    for name, values in _MODULES.items():
        parts = f"monailabel.{name}".split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            sys.modules.setdefault(path, ModuleType(path))
        vars(sys.modules[f"monailabel.{name}"]).update(values)
    sys.path.insert(0, str(APP))
    try:
        spec = util.spec_from_file_location("main", APP / "main.py")
        assert spec is not None
        assert spec.loader is not None
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module.DiffRectApp
    finally:
        sys.path.remove(str(APP))
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("monailabel", "lib"):
                del sys.modules[name]
