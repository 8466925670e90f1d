"""Export to ONNX: the same labels from ONNX Runtime, on shapes that were not traced."""

import sys

import numpy as np
import onnx
import pytest
import torch

import diffrect
import diffrect.inference.export as export_module
from diffrect.cli import main as cli
from diffrect.errors import InputError
from diffrect.inference.ensemble import Ensemble
from diffrect.inference.model import Model
from diffrect.inference.onnx import METADATA_KEY, OnnxNetwork
from diffrect.inference.predict import predict
from diffrect.networks.folding import fold_batch_norm
from diffrect.networks.unet import UNet


def test_predicts_the_same_labels_from_files(tiny_run, exported, acdc_folder, tmp_path):
    image = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    options = {"checkpoint": "last", "progress": False}
    (ours,) = predict(tiny_run, tmp_path / "torch", [image], **options)
    (theirs,) = predict(exported, tmp_path / "onnx", [image], **options)
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (5, 1, 40, 23), (2, 1, 96, 160)])
def test_any_shape_and_any_batch(tiny_run, exported, shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    network = Model.load(tiny_run, checkpoint="last", device="cpu").network
    with torch.inference_mode():
        expected = network(images)
    assert torch.allclose(OnnxNetwork(exported)(images), expected, rtol=1e-4, atol=1e-4)


def test_remembers_the_task(tiny_run, exported):
    ours, theirs = Model.load(tiny_run, checkpoint="last"), Model.load(exported)
    assert (theirs.task, theirs.config, theirs.step) == (ours.task, ours.config, ours.step)
    assert theirs.interpolation == ours.interpolation


def test_predicts_with_others_and_in_several_views(tiny_run, exported):
    image = np.random.default_rng(0).random((20, 18, 3))
    ours, theirs = Model.load(tiny_run, checkpoint="last", device="cpu"), Model.load(exported)
    views = ours.averaging_views("rotations").predict(image)
    assert (theirs.averaging_views("rotations").predict(image) == views).mean() > 0.999
    together = Ensemble([ours, theirs]).predict(image)
    assert (together == ours.predict(image)).mean() > 0.999
    with pytest.raises(
        InputError, match="--precision bf16: expected another model than one of ONNX"
    ):
        theirs.in_half_precision()


def test_batch_norm_is_gone(exported):
    kinds = {node.op_type for node in onnx.load(exported).graph.node}
    assert "Conv" in kinds
    assert "BatchNormalization" not in kinds


def test_folding_changes_nothing_but_rounding():
    torch.manual_seed(0)
    network = UNet(2, 3)
    for _ in range(3):
        network(torch.rand(4, 2, 32, 32) * 5)  # statistics that are not 0 and 1
    images = torch.rand(2, 2, 32, 32)
    folded = fold_batch_norm(network)(images)
    assert torch.allclose(folded, network.eval()(images), atol=1e-4)
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


def test_a_wrong_file_is_not_delivered(tiny_run, tmp_path, monkeypatch):
    module = export_module
    monkeypatch.setattr(module, "fold_batch_norm", lambda network: UNet(1, network.classes).eval())
    with pytest.raises(InputError, match=r"model\.onnx: expected logits equal to PyTorch's"):
        diffrect.export(tiny_run, tmp_path / "model.onnx", checkpoint="last")
    assert list(tmp_path.iterdir()) == []


def test_command(tiny_run, tmp_path, capsys):
    assert cli.main(["export", str(tiny_run), str(tmp_path / "m.onnx"), "--checkpoint=last"]) == 0
    assert "equal to PyTorch" in capsys.readouterr().out


def test_bad_input(tiny_run, exported, tmp_path):
    def refused(message: str, call, *arguments, **options) -> None:
        with pytest.raises(InputError, match=message):
            call(*arguments, **options)

    refused("exists already; --overwrite", diffrect.export, tiny_run, exported)
    refused(r"a file name that ends in \.safetensors or \.onnx", diffrect.export, tiny_run, "m.pt")
    refused("found no such file", Model.load, tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.read_bytes()[:1000])
    refused(r"broken\.onnx: expected a model made by export", Model.load, broken)
    other = onnx.load(exported)
    for text, message in (
        (None, "expected a model made by export"),
        ('{"format": 99}', "expected format 1, got 99"),
        ('{"format": 1}', "expected what export remembers"),
    ):
        del other.metadata_props[:]
        if text is not None:
            onnx.helper.set_model_props(other, {METADATA_KEY: text})
        onnx.save(other, broken)
        refused(message, Model.load, broken)


def test_missing_package_is_named(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"expected the package onnxruntime, it is not installed"):
        diffrect.export(tiny_run, tmp_path / "model.onnx")
