"""Several models, several views and half precision: what they label, and what is refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffrect.config import TrainConfig
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.inference.ensemble import Ensemble
from diffrect.inference.model import Model
from diffrect.inference.predict_file import predict_file
from diffrect.inference.views import angle_of, choose_views, describe_untrained
from diffrect.networks.folding import for_prediction
from diffrect.networks.half import HalfPrecision
from diffrect.networks.mean import MeanOfViews
from diffrect.networks.quick import max_pool
from diffrect.networks.unet import UNet
from support.tiny import write_nifti

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).random((14, 11, 9)).astype(np.float32)


class Soft(nn.Module):
    """Class 1 is as probable as the pixel is bright; `weight` says how sure it is."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: Tensor) -> Tensor:
        above = (images[:, :1] - 0.5) * self.weight
        return torch.cat([-above, above], dim=1)


def soft(weight: float, size: int = 16, axis: str = "2", intensity: str = "minmax") -> Model:
    task = Task(1, ("background", "bright"), intensity, axis)
    return Model(Soft(weight), task, TrainConfig(size=size), 0, "linear")


def shares_of(model: Model | Ensemble, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities and the labels that `predict_file` writes of IMAGE."""
    from diffrect.inference.outputs import Output

    scan = write_nifti(folder / "scan.nii.gz", IMAGE)
    output = Output(folder / "out" / "a.nii.gz", folder / "out" / "a_probabilities.nii.gz")
    predict_file(model, scan, output)
    labels, shares = (np.asarray(nib.load(file).dataobj) for file in output.files)
    return labels, shares


@pytest.mark.parametrize(
    "others",
    [
        [{}],
        [{"size": 24}, {"size": 7, "intensity": "zscore"}],
        [{"axis": "0", "size": 20}, {"axis": "1"}],
    ],
)
def test_probabilities_are_averaged_on_the_scan_s_own_grid(
    tmp_path: Path, others: list[dict[str, object]]
) -> None:
    models = [soft(8.0), *(soft(-3.0 - number, **how) for number, how in enumerate(others))]
    singles = [shares_of(model, tmp_path / str(id(model)))[1] for model in models]
    labels, shares = shares_of(Ensemble(models), tmp_path / "all")
    np.testing.assert_allclose(shares, np.mean(singles, axis=0), atol=1e-6)
    np.testing.assert_array_equal(labels, shares.argmax(axis=-1))
    assert not np.array_equal(labels, singles[0].argmax(axis=-1))
    np.testing.assert_array_equal(Ensemble(models).predict(IMAGE), labels)
    scan = tmp_path / "all" / "scan.nii.gz"
    predict_file(Ensemble(models), scan, tmp_path / "labels.nii.gz")  # no room for probabilities
    np.testing.assert_array_equal(nib.load(tmp_path / "labels.nii.gz").dataobj, labels)
    assert {file.name for file in tmp_path.glob("*.gz")} == {"labels.nii.gz"}


def test_members_segment_the_same() -> None:
    other = soft(1.0)
    other.task = Task(1, ("background", "dark"), "minmax", "2")
    message = "^b: expected the classes of a, background, bright, got background, dark$"
    with pytest.raises(InputError, match=message):
        Ensemble([soft(1.0), other], ["a", "b"])
    other.task = Task(3, ("background", "bright"), "minmax", "2")
    with pytest.raises(InputError, match=r"^model 2: expected the channels of model 1, 1, got 3$"):
        Ensemble([soft(1.0), other])
    with pytest.raises(InputError, match="at least one model"):
        Ensemble([])


class Somewhere(nn.Module):
    """Answers by the pixel and by where it lies, so that any wrong turn is seen."""

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = images.shape[-2:]
        where = torch.arange(rows)[:, None] * 0.3 + torch.arange(columns) * 0.7
        first = images[:, :1] * 3 + where.sin()
        return torch.cat([first, first.roll(1, 3), -first], dim=1)


@pytest.mark.parametrize(("views", "turns"), [("flips", (0, 2)), ("turns", (0, 1, 2, 3))])
def test_views_are_moved_back(views, turns: tuple[int, ...]) -> None:
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    seen = [np.rot90(images.numpy(), turn, (2, 3)) for turn in turns]
    seen += [np.flip(image, 2) for image in seen]
    found = [Somewhere()(torch.from_numpy(image.copy())).softmax(1).numpy() for image in seen]
    for number in range(len(turns), len(found)):
        found[number] = np.flip(found[number], 2)
    back = [np.rot90(share, -turn, (2, 3)) for share, turn in zip(found, turns * 2, strict=True)]
    mean = MeanOfViews(Somewhere(), views)(images).softmax(1)
    np.testing.assert_allclose(mean.numpy(), np.mean(back, axis=0), atol=1e-6)
    assert np.abs(back[0] - mean.numpy()).max() > 0.1


def test_rotated_views_are_rotated_back_and_zeros_surround_them() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 41), indexing="ij")
    blob = torch.exp(-30 * ((x - 0.5) ** 2 + (y + 0.2) ** 2))[None, None]
    network = Soft(6.0)
    alone = network(blob).softmax(1)
    turned = MeanOfViews(network, "rotations", 15.0)(blob).softmax(1)
    assert turned.isfinite().all()
    torch.testing.assert_close(turned, alone, atol=0.06, rtol=0)
    sees: list[Tensor] = []
    MeanOfViews(lambda images: sees.append(images) or network(images), "rotations", 15.0)(blob)
    assert len(sees) == 3
    assert torch.equal(sees[0], blob)
    peaks = [divmod(int(image.argmax()), 41) for image in sees]
    assert len(set(peaks)) == 3


def trained(**options: object) -> TrainConfig:
    return TrainConfig(method="supervised", options=options)


TURNED, PLAIN = trained(turn_probability=0.5), trained()


@pytest.mark.parametrize(
    ("tta", "symmetries", "config", "views"),
    [
        ("off", "turns", TURNED, None),
        ("auto", "turns", PLAIN, "rotations"),
        ("auto", None, PLAIN, "rotations"),
        ("auto", None, TURNED, "turns"),
        ("auto", "flips", TURNED, "flips"),
        ("auto", "none", TURNED, "rotations"),
        ("auto", None, TrainConfig(preset="reference"), "turns"),
        ("rotations", "turns", TURNED, "rotations"),
        ("flips", "none", PLAIN, "flips"),
    ],
)
def test_auto_takes_views_that_were_learned_and_that_the_task_allows(
    tta, symmetries, config: TrainConfig, views: str | None
) -> None:
    task = Task(1, ("background", "bright"), "minmax", "2", symmetries)
    assert choose_views(tta, task, config, "run") == views


def test_views_that_do_not_suit_a_model() -> None:
    task = Task(1, ("background", "bright"), "minmax", "2", "none")
    still = trained(rotation_degrees=0)
    with pytest.raises(InputError, match="--tta auto: expected a model that was trained on such "):
        choose_views("auto", task, still, "run")
    with pytest.raises(InputError, match="--tta: expected one of off, auto, "):
        choose_views("mirror", task, still, "run")  # type: ignore[arg-type]
    assert describe_untrained("rotations", task, PLAIN) is None
    assert "not trained on mirrored slices" in str(describe_untrained("flips", task, PLAIN))
    assert "keeps labels right: none" in str(describe_untrained("flips", task, TURNED))
    assert angle_of(PLAIN) == 15.0
    assert angle_of(trained(rotation_degrees=8)) == 6.0


@pytest.mark.parametrize("quick", [True, False])
def test_half_precision_inside_float32_outside(monkeypatch, quick: bool) -> None:
    import diffrect.networks.half as module

    if not quick:
        monkeypatch.setattr(module, "has_quick_bf16", lambda device: False)
    torch.manual_seed(0)
    network = UNet(2, 3)
    network(torch.rand(4, 2, 32, 32))  # statistics other than 0 and 1
    folded = for_prediction(network)
    images = torch.rand(3, 2, 40, 23)
    expected = folded(images)
    half = HalfPrecision(folded, CPU)
    with torch.inference_mode():
        found = half(images)
    assert found.dtype == torch.float32
    assert torch.equal(folded(images), expected)  # it works on a copy
    difference = (found - expected).abs().max() / expected.abs().max()
    assert 0 < difference < 0.05
    assert (found.argmax(1) == expected.argmax(1)).float().mean() > 0.97
    assert {p.dtype for p in half.parameters()} == {torch.float32}


def test_half_precision_of_a_model(tiny_run: Path, acdc_folder: Path) -> None:
    model = Model.load(tiny_run, checkpoint="last", device="cpu")
    half = model.in_half_precision()
    scan = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    plain = model.predict(scan)
    assert half.segmenter.dtype == torch.float32  # probabilities are interpolated so
    assert half.segmenter.at_once == 2 * model.segmenter.at_once
    assert not model.segmenter.half
    assert (half.predict(scan) == plain).mean() > 0.95  # a network of two iterations is unsure
    both = half.averaging_views("rotations").predict(scan)
    again = model.averaging_views("rotations").in_half_precision().predict(scan)
    assert (both == again).mean() > 0.95


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (1, 1, 4, 4)])
def test_pooling_without_a_backward_pass(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    x[0, 0, 1, 1] = torch.nan
    expected = nn.functional.max_pool2d(x, 2)
    with torch.no_grad():
        found = max_pool(x)
    assert torch.equal(found.nan_to_num(9), expected.nan_to_num(9))
    assert found.is_contiguous(memory_format=torch.channels_last)
    leaf = torch.zeros(1, 2, 4, 4, requires_grad=True)
    max_pool(leaf.contiguous(memory_format=torch.channels_last)).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.sum() == 8  # one of four equal elements, as before
    assert set(leaf.grad.unique().tolist()) == {0.0, 1.0}
