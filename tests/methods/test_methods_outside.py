"""Methods from outside the package: the page's example as it stands, and errors in others."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from diffrect import export
from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.inference.load import load_method
from diffrect.inference.model import Model
from diffrect.methods.registry import METHODS, find_method
from diffrect.methods.supervised import Supervised
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.train import train
from support.runs import same

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-method.md"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's own method, where Python finds it as my_methods."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    (tmp_path / "my_methods.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_methods", raising=False)
    return str(code)


def test_the_page_s_example_trains_by_its_path(
    example: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len([line for line in example.splitlines() if line.strip()]) <= 30
    (options,) = re.findall(r"STORE RUN (--plugin my_methods.py .*?)```", PAGE.read_text(), re.S)
    given = f"{options} --size 32 --iterations 2 --batch-labelled 2 --device cpu"
    command = ["train", str(store.path), str(tmp_path / "run"), *given.replace("\\\n", " ").split()]
    assert cli.main([*command, "--quiet"]) == 0, capsys.readouterr().err
    state = load_checkpoint(checkpoint_path(tmp_path / "run", "last"))
    assert state["config"]["options"]["decay"] == 0.995
    assert {name.split(".")[0] for name in state["method"]} == {"segmenter", "teacher"}
    plugin = ["--plugin", "my_methods.py"]
    assert cli.main(["evaluate", str(tmp_path / "run"), *plugin, "--quiet"]) == 0


def test_predicting_needs_no_class_of_the_method(
    example: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = tmp_path / "run", {"decay": 0.9}
    monkeypatch.syspath_prepend(tmp_path)
    config = TrainConfig(
        method="my_methods:MeanTeacher",
        size=32,
        iterations=2,
        batch_labelled=2,
        options={**options, "interpolation": "nearest"},
    )
    train(store.path, run, config, progress=False)
    images = store.image(next(iter(store.cases)))
    teacher = load_method(run, "last").method.predictor.state_dict()
    monkeypatch.undo()  # on another machine, which has the run and not the method
    monkeypatch.delitem(sys.modules, "my_methods", raising=False)
    with pytest.raises(ImportError):
        importlib.import_module("my_methods")
    file = export(run, tmp_path / "m.safetensors")
    models = [Model.load(run, "last"), Model.load(run), Model.load(file)]
    for model in models:
        assert same(model.network.state_dict(), teacher)
        assert (model.interpolation, model.config.options["decay"]) == ("nearest", 0.9)
        assert model.predict_slices(images).shape == images[:, 0].shape


def test_entry_points_name_methods(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lines,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    (quoted,) = re.findall(r"^(\w+ = .*)$", lines, re.M)
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    entries = ["[diffrect.methods]", quoted.replace('"', ""), "supervised = my_methods:MeanTeacher"]
    (info / "entry_points.txt").write_text("\n".join(entries))
    assert find_method("mean_teacher_mine").__name__ == "MeanTeacher"
    assert find_method("supervised") is Supervised  # built-in names stay what they are
    with pytest.raises(
        InputError, match=rf"{list(METHODS)[-1]}, mean_teacher_mine, or MODULE:CLASS"
    ):
        find_method("mean_teacher_yours")


BROKEN = """
from dataclasses import dataclass
from diffrect.methods.base import Method, Update
from diffrect.methods.supervised import Supervised, SupervisedOptions

class NoOptions(Method):
    def updates(self, batch, step):
        yield

class NoUpdates(Method):
    Options = SupervisedOptions

class Clash(Supervised):
    @dataclass(frozen=True)
    class Options:
        blur_sigma: float = 3.0

class OtherName(Supervised):
    def updates(self, batch, step):
        yield Update("student", self.segmenter(batch.weak).mean())
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "broken:Missing",
            "expected Missing to be defined in broken, found nothing of that name",
        ),
        ("broken:dataclass", "expected a subclass of diffrect.methods.base.Method"),
        ("broken:NoOptions", "expected Options to be a dataclass, got None"),
        ("broken:NoUpdates", "expected a method that defines updates"),
        ("broken:Clash", "expected another name for blur_sigma, an option of views"),
        ("broken:OtherName", "expected updates of segmenter, got 'student'"),
        ("raises:X", r"raises RuntimeError: not today \(.*raises.py, line 2\)"),
        ("unreadable:X", r"raises SyntaxError: .*\(unreadable.py, line 1\)"),
        ("lacking:X", "No module named 'not_installed'"),
    ],
)
def test_what_is_wrong_with_a_method_is_one_line(
    name: str,
    message: str,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "raises.py").write_text('\nraise RuntimeError("not today")\n')
    (tmp_path / "unreadable.py").write_text("def (:\n")
    (tmp_path / "lacking.py").write_text("import not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    given = ["--method", name, "--size", "32", "--iterations", "1", "--quiet"]
    assert cli.main(["train", str(store.path), str(run), *given]) == 2
    error = capsys.readouterr().err
    assert re.match(rf"diffrect: error: --method {name}: .*{message}", error), error
    assert error.count("\n") == 1
    assert not run.exists()
