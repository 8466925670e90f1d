"""The probe of a rectifier: what it prints for each kind, and that it scores by hand."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import rectifier_probe
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.methods.diffrect.method import DiffRect
from diffrect.training.train import train


def probed(store: Store, run: Path, capsys: pytest.CaptureFixture[str], **options: object) -> str:
    """What the probe prints of a training of two iterations."""
    settings = {"rectify_from": 1, "relabel_from": 0.0, **options}
    config = TrainConfig(size=32, iterations=2, validate_every=2, options=settings)
    train(store.path, run, config, progress=False)
    capsys.readouterr()
    for line in rectifier_probe.probe(run, store.path, "last", 1, 0, [0.2], [0.5]):
        print(line)
    return capsys.readouterr().out


@pytest.mark.parametrize("rectifier", ["slice", "volume", "components"])
def test_a_training_of_each_kind_is_probed(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], rectifier: str
) -> None:
    printed = probed(store, tmp_path / "run", capsys, rectifier=rectifier)
    assert re.match(rf".*rectifier={rectifier}; 2 unlabelled patients, 12 slices; ", printed)
    names = {
        "slice": "rectified",
        "volume": "rectified, guidance 0.7, decoded 0.25, parts removed",
        "components": "pseudo-label, parts removed",
    }
    number = r"[+-][\d.]+ \[[+-][\d.]+, [+-][\d.]+\]"
    changed = rf"D {number}   changed: [\d,]+ right, [\d,]+ wrong"
    assert re.search(rf"^{names[rectifier]} +[\d. ]+ {changed}$", printed, re.M)
    assert re.search(rf"^D of this training \({names[rectifier]}\): {number}$", printed, re.M)
    assert bool(re.search(rf"^O: {number}$", printed, re.M)) == (rectifier != "components")
    for tried in (
        "guidance 0.2, decoded 0.25 ",
        "guidance 0.2, decoded 0.5 ",
        "guidance 0.7, decoded 0.5 ",
    ):
        assert (f"rectified, {tried}" in printed) == (rectifier == "volume")


def test_scores_and_changes_by_hand() -> None:
    truth = torch.tensor([[[1, 1, 0, 255]], [[0, 0, 2, 2]]]).byte()
    subject = rectifier_probe.Subject(
        method=DiffRect.__new__(DiffRect),
        config=TrainConfig(),
        step=0,
        classes=("background", "one", "two"),
        volumes=None,  # type: ignore[arg-type]  # not read here
        rows=torch.arange(2),
        patients=np.array(["a", "b"]),
        truth=truth,
    )
    labels = torch.tensor([[[1, 0, 0, 1]], [[0, 2, 2, 2]]]).byte()
    expected = [[200 / 3, 100], [100, 80]]  # pixels that nobody annotated count nowhere
    np.testing.assert_allclose(subject.scores(labels), expected)
    assert subject.changes(torch.zeros_like(labels), labels) == (3, 1)
    assert subject.truth_of(torch.tensor([0])).tolist() == [[[1, 1, 0, 0]]]


def test_another_method_is_refused_in_one_line(
    store: Store,
    tiny_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["probe", str(tiny_run), str(store.path)])
    with pytest.raises(SystemExit):
        rectifier_probe.main()
    assert "expected a training of diffrect, got supervised" in capsys.readouterr().err
