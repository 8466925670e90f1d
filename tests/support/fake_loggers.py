"""Stand-ins for the packages mlflow and wandb, and a user's own logger: they remember all."""

from collections import defaultdict
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

from lightning_fabric.loggers.logger import Logger


class FakeMLflow(ModuleType):
    """As much of mlflow as is used; a server that lasts for a test."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.runs: dict[str, dict[str, Any]] = {}
        self.entities = SimpleNamespace(
            Metric=lambda key, value, timestamp, step: (key, step, value),
            Param=lambda key, value: (key, value),
        )
        self.MlflowClient = lambda: self

    def get_experiment_by_name(self, name: str) -> Any:
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def create_run(self, experiment: str, run_name: str) -> Any:
        name = f"{experiment}-{len(self.runs)}"
        run = {"name": run_name, "metrics": [], "params": {}, "images": [], "status": "RUNNING"}
        self.runs[name] = run
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def update_run(self, run_id: str, status: str) -> None:
        self.runs[run_id]["status"] = status

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        self.runs[run_id]["metrics"] += metrics
        self.runs[run_id]["params"].update(params)

    def log_image(self, run_id: str, image: Any, artifact_file: str) -> None:
        assert image.shape[2] == 3
        self.runs[run_id]["images"].append(artifact_file)

    def set_terminated(self, run_id: str, status: str) -> None:
        self.runs[run_id]["status"] = status


class FakeWandb(ModuleType):
    """As much of wandb as is used; its `log` fails from call number `fails` on."""

    def __init__(self, fails: int | None = None) -> None:
        super().__init__("wandb")
        self.lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.fails, self.calls = fails, 0
        self.given: list[dict[str, Any]] = []
        self.ends: list[int] = []
        self.Image = lambda array: array.shape
        self.Settings = lambda **settings: settings
        self.config: dict[str, Any] = {}

    def init(self, **given: Any) -> Any:
        self.given.append(given)
        return SimpleNamespace(
            log=lambda line: self.log(given["id"], line),
            define_metric=lambda name, step_metric: None,
            config=SimpleNamespace(update=lambda values, **_: self.config.update(values)),
            finish=lambda exit_code: self.ends.append(exit_code),
        )

    def log(self, run: str, line: dict[str, Any]) -> None:
        self.calls += 1
        if self.fails is not None and self.calls >= self.fails:
            raise ConnectionError("the server is\naway")
        self.lines[run].append(line)


class OwnLogger(Logger):
    """A user's own, which has no pictures."""

    made: ClassVar[list["OwnLogger"]] = []

    def __init__(self, title: str, numbers: tuple[int, ...] = ()) -> None:
        self.title, self.numbers = title, numbers
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.settings: dict[str, Any] = {}
        self.status = ""
        self.made.append(self)

    name = property(lambda self: self.title)
    version = property(lambda self: 0)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.lines.append((step, metrics))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.settings = params

    def finalize(self, status: str) -> None:
        self.status = status
