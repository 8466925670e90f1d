"""How often a training validates, what its bar shows meanwhile, and how that may change."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import diffrect.training.bar as bar_module
from diffrect.config import TrainConfig, read_config
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from diffrect.training.bar import Bar
from diffrect.training.interval import validation_interval, with_interval
from diffrect.training.train import _resumed, train


@pytest.mark.parametrize(
    ("iterations", "scored", "batch", "interval"),
    [
        (30000, 190, 6, 200),  # ACDC: as in the papers
        (1500, 190, 6, 160),
        (3000, 300, 6, 250),
        (3000, 0, 6, 20),
        (100, 300, 6, 100),  # one validation at the end, whatever it costs
        (10, 1, 6, 1),
    ],
)
def test_validations_take_a_tenth_of_the_work(
    iterations: int, scored: int, batch: int, interval: int
) -> None:
    assert validation_interval(iterations, scored, batch) == interval
    passes, trained = 1.5 * scored * (iterations // interval), 3 * batch * iterations
    assert interval in (iterations, 1) or passes <= 0.1 * trained


def test_the_interval_follows_from_the_split(store: Store) -> None:
    split = resolve_split(store)  # validates on 6 slices
    config = TrainConfig(iterations=1000, batch_labelled=1, batch_unlabelled=0)
    assert with_interval(config, store, split).validate_every == 30
    given = replace(config, validate_every=3)
    assert with_interval(given, store, split) == given


@pytest.fixture
def run(store: Store, tiny_run: Path, tmp_path: Path) -> Path:
    """`tiny_run` after its first iteration of two, each of which it validates."""
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    return run


def test_a_training_remembers_its_interval_and_takes_another(store: Store, run: Path) -> None:
    config = read_config(run / "config.yaml")
    last = checkpoint_path(run, "last")
    state = load_checkpoint(last)
    assert config.validate_every is None
    remembered = state["config"]["validate_every"]
    assert remembered == with_interval(config, store, resolve_split(store)).validate_every
    assert _resumed(store, run, config).config.validate_every == remembered
    other = replace(config, validate_every=77)
    assert _resumed(store, run, other).config.validate_every == 77
    state["config"]["validate_every"] = 50  # as after --resume --validate-every 50
    save_checkpoint({k: v for k, v in state.items() if k != "format"}, last)
    assert _resumed(store, run, config).config.validate_every == 50
    state["config"]["validate_every"] = None  # as versions before this wrote
    save_checkpoint({k: v for k, v in state.items() if k != "format"}, last)
    assert _resumed(store, run, config).config.validate_every == 1


def test_the_bar_shows_the_validation_and_ends_as_its_last_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(bar_module, "stderr_console", lambda quiet: console)
    with Bar(iterations=4, first=0, shown=True) as bar:
        bar.iteration(4, {"supervised": 0.5}, 0.1, 0.25)
        assert bar.progress.tasks[0].fields["status"] == (
            "supervised 0.500 · 0.10 s/it · val Dice 25.00"
        )
        bar.validating(2, 3)
        assert bar.progress.tasks[0].fields["status"] == "validating, case 2 of 3"
        bar.validation(4, {"dice": 0.5, "dice_a": 0.5}, 0.5, 1.0)
    last = [line for line in out.getvalue().splitlines() if "val Dice" in line][-1]
    assert "supervised 0.500 · 0.10 s/it · val Dice 50.00" in last
    assert "iteration 4 of 4: validation Dice 50.00 (a 50.0), best 50.00, 1.0 min" in out.getvalue()


def test_the_run_is_that_of_its_configuration(store: Store, run: Path) -> None:
    """A training of two iterations that is finished resumes with another interval."""
    other = replace(read_config(run / "config.yaml"), validate_every=5)
    train(store.path, run, other, resume=True, progress=False)
    assert read_config(run / "config.yaml").validate_every is None
