"""What is said before a training and after its first iterations."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import diffrect.training.forecast as forecast_module
from diffrect.config import TrainConfig
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.methods.registry import complete
from diffrect.networks.half import has_quick_bf16
from diffrect.training.forecast import Forecast, duration, ways_out
from diffrect.training.header import header
from diffrect.training.trainer import Trainer

CPU = torch.device("cpu")
CONFIG = TrainConfig(iterations=30000)


def test_what_is_said_before_a_training(store: Store) -> None:
    config = replace(complete(TrainConfig(method="supervised", size=32)), validate_every=200)
    trainer = Trainer(store, Path("run"), config, resolve_split(store))
    lines = header(trainer, "official split")
    assert lines[0] == (
        "patients: 1 labelled, 2 unlabelled (the labels of 2 are not read), 1 to validate, 1 to "
        "test (official split)"
    )
    classes = ", ".join(store.classes)
    assert lines[1] == (
        f"slices: 6 labelled, 12 unlabelled, 6 to validate; 1 channel; classes {classes}"
    )
    assert lines[2].startswith("method: supervised, preset default; 1.8")
    assert lines[2].endswith(" million parameters predict")
    assert lines[3].startswith(f"device: cpu, {torch.get_num_threads()} thread")
    assert lines[3].endswith(", precision 32-true")
    assert lines[4] == (
        "training: 30000 iterations of 3 + 3 slices at 32 x 32; validates every 200 "
        "(--validate-every)"
    )
    assert lines[5].startswith("run: takes everything that is written; Ctrl-C saves and stops")
    assert lines[5].endswith(f"diffrect train {store.path} run --resume")
    trainer.step = 7
    assert "at 32 x 32, 7 of them done; validates" in header(trainer, "run/split.json")[4]


def test_the_time_is_said_once_when_it_is_known() -> None:
    forecast = Forecast(CONFIG, first=5, device=CPU)
    assert forecast.lines(14, 0.1) == []
    (line,) = forecast.lines(15, 0.1)
    assert line.startswith("about 50 min to go at the speed of the first iterations, 0.10 s each")
    assert forecast.lines(25, 0.1) == []
    assert Forecast(replace(CONFIG, iterations=10), 0, CPU).lines(10, 9.0) == []
    assert Forecast(replace(CONFIG, iterations=20), 0, CPU).lines(10, 5.9) == []  # a minute


def test_a_training_of_days_says_what_makes_it_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "has_quick_bf16", lambda device: False)
    said = Forecast(CONFIG, first=0, device=CPU).lines(10, 10.0)
    assert said[0].startswith("about 3.5 days to go")
    assert said[1] == (
        "diffrect: this takes days; in a new run (--overwrite), --size 128 takes about a quarter "
        "of the time; --iterations 3000 a tenth"
    )


@pytest.mark.parametrize(
    ("changes", "quick", "ways"),
    [
        ({"spacing": 1.5, "crop": 160, "iterations": 9000}, False, ["--spacing 3 --crop 80 takes"]),
        ({"size": 64, "iterations": 100}, True, ["--precision bf16-mixed is faster"]),
        ({"size": 64, "iterations": 100, "precision": "bf16-mixed"}, True, ["fewer --iterations"]),
    ],
)
def test_ways_out(changes: dict[str, object], quick: bool, ways: list[str]) -> None:
    found = ways_out(replace(CONFIG, **changes), quick)  # type: ignore[arg-type]
    assert [way.startswith(start) for way, start in zip(found, ways, strict=True)] == [True]


def test_bfloat16_is_proposed_where_the_processor_computes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text, quick in (("flags : avx2 amx_bf16 amx_tile", True), ("flags : avx2", False)):
        monkeypatch.setattr(Path, "read_text", lambda *_, text=text: text)
        assert has_quick_bf16(CPU) is quick
    assert not has_quick_bf16(torch.device("mps"))


def test_durations() -> None:
    said = [duration(s) for s in (5, 89 * 60, 2 * 3600, 35 * 3600, 40 * 3600)]
    assert said == ["1 min", "89 min", "2.0 hours", "35.0 hours", "1.7 days"]
