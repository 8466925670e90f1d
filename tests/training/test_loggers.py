"""Loggers: what each of them gets, once, whatever happens; and that none of them can do harm."""

import csv
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.loggers.memory import remember_sent, remembered
from diffrect.training.loggers.names import Wanted, check_packages, parse_loggers
from diffrect.training.loggers.opening import check_loggers
from diffrect.training.loop import Loop
from diffrect.training.train import train
from diffrect.training.trainer import Trainer
from support.fake_loggers import FakeMLflow, FakeWandb, OwnLogger
from support.runs import lines, same

OWN = "support.fake_loggers:OwnLogger"
CONFIG = TrainConfig(method="supervised", size=32, iterations=6, validate_every=2)
VALIDATIONS = [2, 4, 6]


def weights(run: Path) -> Any:
    return load_checkpoint(checkpoint_path(run, "last"))["method"]


def table(run: Path) -> list[dict[str, str]]:
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def validations(rows: list[dict[str, str]]) -> list[int]:
    return [int(row["step"]) for row in rows if row["val/dice"]]


@pytest.fixture(scope="module")
def plain(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training without any logger and any picture."""
    config = replace(CONFIG, logger="none", log_images=0)
    return train(store.path, tmp_path_factory.mktemp("plain") / "run", config, progress=False)


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMLflow:
    monkeypatch.setitem(sys.modules, "mlflow", FakeMLflow())
    return sys.modules["mlflow"]  # type: ignore[return-value]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    return sys.modules["wandb"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("none", ()),
        ("tensorboard", (Wanted("tensorboard"),)),
        (" csv , png", (Wanted("csv"), Wanted("png"))),
        ("a.b:C", (Wanted("a.b:C"),)),
        ("csv,m:C('x,y', (1, 2), z={'k': \"a:b)\"})", None),
    ],
)
def test_loggers_are_read(text: str, wanted: Any) -> None:
    call = Wanted("m:C", ("x,y", (1, 2)), {"z": {"k": "a:b)"}})
    assert parse_loggers(text) == (wanted if wanted is not None else (Wanted("csv"), call))


@pytest.mark.parametrize(
    "text",
    [
        *("", "tensorbord", "csv,", "none,csv", "csv\n", "csv,csv", "m:", ":C", "m m:C", "m:C 1"),
        *("m:C(", "m:C(open('x'))", "m:C.d()", "m:C(**x)", "m:C(**{'a': 1})", "m:C()()"),
        *("m:C(1,csv", "m:C(" + "[" * 9999),
    ],
)
def test_what_is_no_logger_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^--logger .*: expected ") as caught:
        parse_loggers(text)
    assert caught.value.setting == "logger"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_is_named_before_anything_is_written(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    there = f"{check_packages.__module__}.find_spec"
    monkeypatch.setattr(there, lambda p: None if p == name else find_spec(p))
    run = tmp_path / "run"
    assert cli.main(["train", str(store.path), str(run), "--logger", f"csv,{name}"]) == 2
    message = f"--logger {name}: expected the package {name}, found that it is not installed"
    assert capsys.readouterr().err == f"diffrect: error: {message}; pip install {name}\n"
    assert not run.exists()


def test_a_logger_of_ones_own_is_checked() -> None:
    check_loggers(f"csv,{OWN}('a')")
    for text, message in (
        ("support.nowhere:C", "ModuleNotFoundError"),
        ("support.fake_loggers:Nothing", "AttributeError"),
        ("support.fake_loggers:FakeMLflow", "a subclass of lightning_fabric.loggers.Logger"),
    ):
        with pytest.raises(InputError, match=f"^--logger {text}: expected .*{message}"):
            check_loggers(text)


def test_a_logger_that_cannot_be_opened_leaves_nothing(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, logger=f"tensorboard,{OWN}(1, 2, 3)")
    with pytest.raises(InputError, match=rf"^--logger {OWN}: .*TypeError.*; leave it out of"):
        train(store.path, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


def test_every_logger_gets_everything_and_changes_nothing(
    store: Store, tmp_path: Path, plain: Path, mlflow: FakeMLflow, wandb: FakeWandb
) -> None:
    OwnLogger.made.clear()
    config = replace(CONFIG, logger=f"tensorboard,csv,png,mlflow,wandb,{OWN}('mine', numbers=(1,))")
    run = train(store.path, tmp_path / "run", config, progress=False)
    assert same(weights(run), weights(plain))
    assert lines(run) == lines(plain)
    assert not {"tensorboard", "csv", "pictures", "loggers.json"} & {
        p.name for p in plain.iterdir()
    }

    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    board.Reload()
    assert [e.step for e in board.Scalars("val/dice")] == VALIDATIONS
    assert [e.step for e in board.Images("pictures/validation")] == VALIDATIONS
    assert validations(table(run)) == VALIDATIONS
    record = [line for line in lines(run) if line["kind"] == "val"]
    assert [float(row["val/dice"]) for row in table(run) if row["val/dice"]] == [
        line["dice"] for line in record
    ]
    files = sorted(file.name for file in (run / "pictures").iterdir())
    assert files == [f"validation_{step:06d}.png" for step in VALIDATIONS]

    (there,) = mlflow.runs.values()
    assert there["name"] == "run"
    assert (there["status"], there["params"]["iterations"]) == ("FINISHED", "6")
    assert [s for key, s, _ in there["metrics"] if key == "val/dice"] == VALIDATIONS
    assert len(there["images"]) == len(set(there["images"])) == 3
    ((name, sent),) = wandb.lines.items()
    assert [line["iteration"] for line in sent if "val/dice" in line] == VALIDATIONS
    assert [line["iteration"] for line in sent if "pictures/validation" in line] == VALIDATIONS
    assert (wandb.given[0]["mode"], wandb.given[0]["id"], wandb.ends) == ("offline", name, [0])
    (own,) = OwnLogger.made
    assert (own.title, own.numbers, own.status) == ("mine", (1,), "success")
    assert [step for step, values in own.lines if "val/dice" in values] == VALIDATIONS
    assert own.settings["iterations"] == 6


def died_after_report(validate: Any, step: int) -> Any:
    """A validation after which the power fails, once it is reported and before it is saved."""

    def once(loop: Loop) -> None:
        if loop.trainer.step == step:

            def save(*_: Any) -> None:
                raise ZeroDivisionError("the power went")

            loop.trainer.saver.save = save  # type: ignore[method-assign]
        validate(loop)

    return once


def test_a_resumed_training_continues_its_loggers(
    store: Store,
    tmp_path: Path,
    plain: Path,
    mlflow: FakeMLflow,
    wandb: FakeWandb,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(CONFIG, logger="mlflow,wandb,csv,png")
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        # Dice may rise or not; `last` of the first validation is saved, nothing of the second.
        patch.setattr(Loop, "validate", died_after_report(Loop.validate, step=4))
        with pytest.raises(ZeroDivisionError):
            train(store.path, run, config, progress=False)
    (there,) = mlflow.runs.values()
    assert there["status"] == "FAILED"
    assert [s for key, s, _ in there["metrics"] if key == "val/dice"] == [2, 4]
    train(store.path, run, config, resume=True, progress=False)
    assert same(weights(run), weights(plain))
    assert len(mlflow.runs) == len(wandb.lines) == 1
    assert there["status"] == "FINISHED"
    for key in ("val/dice", "val/best_dice"):
        assert [s for k, s, _ in there["metrics"] if k == key] == VALIDATIONS
    (sent,) = wandb.lines.values()
    assert [line["iteration"] for line in sent if "val/dice" in line] == VALIDATIONS
    assert [line["iteration"] for line in sent if "pictures/validation" in line] == VALIDATIONS
    assert len(there["images"]) == len(set(there["images"])) == 3
    assert validations(table(run)) == VALIDATIONS
    assert len(list((run / "pictures").iterdir())) == 3


def test_nothing_is_sent_twice_after_two_cuts(
    store: Store, tmp_path: Path, mlflow: FakeMLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes before the training is as far as it was at the first."""
    config = replace(CONFIG, logger="mlflow", log_images=0, validate_every=1)
    run, iteration = tmp_path / "run", Trainer.iteration
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "validate", died_after_report(Loop.validate, step=3))
        with pytest.raises(ZeroDivisionError):
            train(store.path, run, config, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "iteration", lambda trainer, raw: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            train(store.path, run, config, resume=True, progress=False)
    assert Trainer.iteration is iteration
    train(store.path, run, config, resume=True, progress=False)
    (there,) = mlflow.runs.values()
    assert [s for key, s, _ in there["metrics"] if key == "val/dice"] == [1, 2, 3, 4, 5, 6]


def test_a_logger_that_joins_later_gets_what_was_before(
    store: Store, tmp_path: Path, mlflow: FakeMLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = tmp_path / "run", replace(CONFIG, logger="none")
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "validate", died_after_report(Loop.validate, step=4))
        with pytest.raises(ZeroDivisionError):
            train(store.path, run, config, progress=False)
    later = replace(config, logger="csv,mlflow,tensorboard")
    train(store.path, run, later, resume=True, progress=False)
    (there,) = mlflow.runs.values()
    assert [s for key, s, _ in there["metrics"] if key == "val/dice"] == VALIDATIONS
    assert validations(table(run)) == VALIDATIONS
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    assert [e.step for e in board.Scalars("val/dice")] == VALIDATIONS


def test_a_logger_that_fails_is_left_out(
    store: Store,
    tmp_path: Path,
    plain: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = FakeWandb(fails=3)
    monkeypatch.setitem(sys.modules, "wandb", broken)
    config = replace(CONFIG, logger="wandb,csv")
    run = train(store.path, tmp_path / "run", config, progress=False)
    warned = capsys.readouterr().err.splitlines()
    assert warned == [
        "diffrect: --logger wandb: ConnectionError: the server is away; the training continues "
        "without it, and metrics.jsonl has all numbers"
    ]
    assert broken.calls == 3
    assert broken.ends == [1]
    assert same(weights(run), weights(plain))
    assert lines(run) == lines(plain)
    assert validations(table(run)) == VALIDATIONS


def test_a_damaged_memory_of_runs_is_named(tmp_path: Path) -> None:
    (tmp_path / "loggers.json").write_text('{"mlflow": {"run": "../../x", "sent": {}}}')
    with pytest.raises(InputError, match=r"loggers\.json: expected the name of a run under 'ml.*x"):
        remember_sent(tmp_path)


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_the_real_packages_take_everything(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Only where they are installed; nothing leaves the machine."""
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # without a database
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    config = replace(CONFIG, logger=name)
    run = train(store.path, tmp_path / "run", config, progress=False)
    assert (run / "loggers.json").is_file()
    if name == "mlflow":
        import mlflow

        client = mlflow.MlflowClient()
        identity = remembered(run)["mlflow"].run
        history = client.get_metric_history(identity, "val/dice")
        assert [metric.step for metric in history] == VALIDATIONS
        assert len(client.list_artifacts(identity, "pictures")) == 3
    else:
        assert list((run / "wandb").glob("offline-run-*/*.wandb"))
        assert list((run / "wandb").glob("offline-run-*/files/media/images/pictures/*.png"))
