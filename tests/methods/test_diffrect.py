"""Parts of DiffRect left out: each option removes its part, and all the rest stays."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrect.config import TrainConfig
from diffrect.data.batch import Batch
from diffrect.data.store import Store
from diffrect.earlier_formats import DIFFRECT_OF_FORMAT_2
from diffrect.errors import InputError
from diffrect.inference.load import load_method
from diffrect.methods.base import Update
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.parts import PseudoLabels
from diffrect.methods.diffrect.transports import Transports
from diffrect.methods.registry import resolve
from diffrect.networks.calibration import SemanticColouring
from diffrect.training.train import train
from support.stubs import a_problem

SEPARATE = {"rectification_update": "separate", "rectifier_interval": 1}
PROBLEM = a_problem(channels=1, classes=3, iterations=10)


def of_slices(**options: Any) -> DiffRectOptions:
    """The options of a rectifier of single slices, as they were by default."""
    return DiffRectOptions(**{**DIFFRECT_OF_FORMAT_2, **options})


def batch() -> Batch:
    """Two labelled and two unlabelled slices of 64 x 64."""
    generator = torch.Generator().manual_seed(0)
    weak, strong = (torch.rand(4, 1, 64, 64, generator=generator) for _ in range(2))
    return Batch(weak, strong, torch.randint(3, (2, 64, 64), generator=generator))


def updates(step: int = 5, **options: Any) -> tuple[DiffRect, list[Update]]:
    """All updates of an iteration without optimiser steps, from the same weights and draws."""
    torch.manual_seed(0)
    options = {**SEPARATE, "rectify_from": 0, **options}
    method = DiffRect(PROBLEM, of_slices(**options)).train()
    torch.manual_seed(1)
    return method, list(method.updates(batch(), step))


def names(found: list[Update]) -> list[str]:
    return [update.name for update in found]


def test_without_rectification_the_first_update_is_all_there_is() -> None:
    _, whole = updates()
    _, bare = updates(rectification=False)
    assert names(whole) == ["segmenter", "rectifier", "segmenter"]
    assert names(bare) == ["segmenter"]
    assert torch.equal(whole[0].loss, bare[0].loss)


def test_the_rectified_loss_joins_the_first_update() -> None:
    def loss(**options: Any) -> float:
        return updates(**options)[1][0].loss.item()

    joint: dict[str, Any] = {"rectification_update": "joint"}
    _, found = updates(**joint)
    assert names(found) == ["segmenter", "rectifier"]
    rectified = float(found[0].logs["rectification"])
    alone = loss(**joint, rectification_labelled=False)
    assert alone - loss() == pytest.approx(rectified, rel=1e-4)
    heavier = loss(**joint, rectification_labelled=False, rectification_weight=3.0)
    assert heavier - alone == pytest.approx(2 * rectified, rel=1e-4)
    # the labels of the strong view once more: twice their share in the mean of both views
    both, weak = (
        float(updates(labelled_views=views)[1][0].logs["supervised"]) for views in ("both", "weak")
    )
    assert found[0].loss.item() - alone == pytest.approx(2 * both - weak, rel=1e-4)


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_joined_rectification_starts_when_the_separate_one_does(view: Any) -> None:
    options = {"rectification_update": "joint", "rectification_view": view, "rectify_from": 6}
    assert "rectification" not in updates(step=5, **options)[1][0].logs
    assert "rectification" in updates(step=6, **options)[1][0].logs


def test_the_rectifier_rests_between_its_updates() -> None:
    found = {step: names(updates(step, rectifier_interval=2)[1]) for step in (4, 5)}
    assert found == {4: ["segmenter", "rectifier", "segmenter"], 5: ["segmenter", "segmenter"]}


@pytest.mark.parametrize("transports", ["joint", "separate"])
@pytest.mark.parametrize(
    ("left_out", "learned", "absent"),
    [
        ("coarse_to_fine", "rectifier_supervised", "rectifier_unsupervised"),
        ("fine_to_precise", "rectifier_unsupervised", "rectifier_supervised"),
    ],
)
def test_one_transport_trains_on_its_own_rows(
    transports: Any, left_out: str, learned: str, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    transport = Transports.transport

    def spy(self: Transports, name: str, images: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((images, rest[0], rest[1]))
        return transport(self, name, images, *rest)

    monkeypatch.setattr(Transports, "transport", spy)
    _, found = updates(transports=transports, **{left_out: False})
    assert names(found) == ["segmenter", "rectifier", "segmenter"]
    logs = found[1].logs
    assert learned in logs
    assert absent not in logs
    assert float(logs["rectifier_total"]) == pytest.approx(
        float(logs[learned]) + float(logs["latent"])
    )
    (images, _, target), one = seen[0], batch()
    assert len(seen) == 1
    if left_out == "coarse_to_fine":
        assert torch.equal(images, one.weak[:2])
        assert torch.equal(target, one.label)
    else:
        assert torch.equal(images, one.strong[2:])


def test_something_has_to_be_learned() -> None:
    with pytest.raises(InputError, match="fine_to_precise: expected true where coarse_to_fine is"):
        of_slices(coarse_to_fine=False, fine_to_precise=False)
    config = TrainConfig(options={"coarse_to_fine": False, "fine_to_precise": False})
    with pytest.raises(InputError, match="--option fine_to_precise: "):
        resolve(config)


def test_a_single_small_slice_is_too_little_for_one_transport() -> None:
    small = a_problem(1, 3, 10, size=64)
    method = DiffRect(small, of_slices(coarse_to_fine=False))
    with pytest.raises(InputError, match="--batch-labelled: expected at least 2 slices of 64 x 64"):
        method.check_batch(1, 2)
    method.check_batch(2, 1)
    method = DiffRect(small, of_slices(fine_to_precise=False))
    with pytest.raises(InputError, match="--batch-unlabelled: expected at least 2 slices of 64 x"):
        method.check_batch(2, 1)
    DiffRect(small, of_slices()).check_batch(1, 1)
    DiffRect(PROBLEM, of_slices(coarse_to_fine=False)).check_batch(1, 1)


def test_training_checks_the_batch_first(store: Store, tmp_path: Path) -> None:
    options = {"rectifier": "slice", "coarse_to_fine": False}
    config = TrainConfig(size=32, iterations=1, batch_labelled=1, options=options)
    with pytest.raises(
        InputError, match=r"^--batch-labelled: .* to train one transport alone, got"
    ):
        train(store.path, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


def rectified(method: DiffRect, images: Tensor) -> Tensor:
    rectifier = method.rectifier.eval()
    noise = torch.zeros(rectifier.latent_shape(images))
    label = torch.ones(len(images), 64, 64, dtype=torch.int64)
    return rectifier.rectify(images, label, torch.zeros(1), noise)


@pytest.mark.parametrize("seen", [True, False])
def test_the_rectifier_sees_the_image_or_black(seen: bool) -> None:
    method, _ = updates(rectifier_image=seen)
    one, other = torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64)
    assert torch.equal(rectified(method, one), rectified(method, other)) is not seen


def test_guidance_can_be_silent() -> None:
    method, found = updates(guidance="none")
    assert found[1].logs["guidance_weak_to_label"] == 0
    assert names(found) == ["segmenter", "rectifier", "segmenter"]
    one, other = torch.zeros(2, 4, 4).long(), torch.ones(2, 4, 4).long()
    assert method.transports.calibrate(one, other, slice(None)).tolist() == [0.0]


def test_label_maps_without_colours_are_grey_levels() -> None:
    assert not updates(colouring=False)[0].rectifier.colouring.colours.std(dim=1).any()
    assert updates()[0].rectifier.colouring.colours.std(dim=1).any()
    grey = SemanticColouring(3, coloured=False)(torch.tensor([[[0, 1, 2]]]))
    assert grey[0, :, 0].tolist() == [[0.0, 0.5, 1.0]] * 3


@pytest.mark.parametrize(
    ("share", "least", "iterations", "rise"),
    [(0.3, 450, 30_000, 9000), (0.3, 450, 600, 450), (0.3, 450, 10, 10), (1.0, 0, 600, 600)],
)
def test_pseudo_labels_of_short_trainings_weigh_little_for_longer(
    share: float, least: int, iterations: int, rise: int
) -> None:
    assert of_slices(ramp_share=share, ramp_least=least).rise(iterations) == rise


def test_the_weight_on_pseudo_labels_rises_as_long_as_it_says() -> None:
    problem = a_problem(channels=1, classes=3, iterations=20)
    weights = []
    for step in (0, 9, 10, 19):
        method = DiffRect(problem, of_slices(ramp_share=0.0, ramp_least=10)).train()
        weights.append(next(iter(method.updates(batch(), step))).logs["consistency_weight"])
    assert weights[0] < weights[1] < weights[2] == weights[3] == 1.0


def test_the_identity_control_learns_the_same_losses_from_the_teacher_s_own_labels() -> None:
    joint: dict[str, Any] = {"rectification_update": "joint"}
    method, control = updates(rectifier="identity", **joint)
    assert names(control) == ["segmenter"]
    assert control[0].logs.keys() == updates(**joint)[1][0].logs.keys()
    weak = method.weak_pseudo_label(batch(), torch.empty(0))
    rectified = method.transports.rectify(batch(), PseudoLabels(weak, weak))
    assert torch.equal(rectified[:2], batch().label)
    assert torch.equal(rectified[2:], weak.target[2:])
    assert names(updates(rectifier="identity")[1]) == ["segmenter", "segmenter"]


def test_rectification_rises_and_begins_when_the_options_say() -> None:
    joint: dict[str, Any] = {"rectification_update": "joint", "rectification_labelled": False}

    def weight(step: int, **options: Any) -> float:
        _, found = updates(step, **joint, **options)
        without = updates(step, rectification=False)[1][0].loss.item()
        if "rectification" not in found[0].logs:
            return 0.0
        return float((found[0].loss.item() - without) / found[0].logs["rectification"])

    assert weight(3) == pytest.approx(1, rel=1e-3)
    assert weight(3, rectification_ramp=True) == pytest.approx(math.exp(-5 * 0.7**2), rel=1e-3)
    assert weight(3, rectify_from=3) > 0
    assert weight(3, rectify_from=3, rectify_after=True) == 0
    assert weight(4, rectify_from=3, rectify_after=True) > 0


def test_the_reference_begins_to_rectify_in_iteration_1001() -> None:
    resolved = resolve(TrainConfig(preset="reference"))
    problem = a_problem(channels=1, classes=2, iterations=30_000)
    assert DiffRect(problem, resolved.method_options).rectify_from == 1001
    assert DiffRect(problem, of_slices()).rectify_from == 1000


def test_the_rectifier_s_losses_are_logged_in_iterations_in_which_it_rests() -> None:
    method, before = updates(4, rectifier_interval=2)
    found = list(method.updates(batch(), 5))
    assert names(found) == ["segmenter", "segmenter"]
    for name, value in before[1].logs.items():
        assert found[0].logs[name] == value
    assert "rectifier_total" not in next(iter(method.updates(batch(), 6))).logs


def test_a_teacher_with_statistics_of_its_own_follows_the_unlabelled_weak_rows() -> None:
    method, _ = updates(teacher_statistics="own")
    assert method.teacher is not None
    norm, conv, before, rows = *first_norm(method), batch()
    kept = before.clone()
    taught = method.teach(method.teacher, rows)
    assert not norm.training
    mean = conv(rows.weak[2:]).mean((0, 2, 3))
    assert torch.allclose(norm.running_mean, torch.lerp(kept, mean, 0.1), atol=1e-6)
    assert torch.equal(taught[:2], method.teacher(rows.weak[:2]))
    shown = norm.running_mean.clone()
    method.segmenter.encoder.blocks[0].first.norm.running_mean += 1
    method.after_step(5)
    assert torch.equal(norm.running_mean, shown)


def test_a_teacher_otherwise_has_the_student_s_statistics() -> None:
    method, _ = updates()
    assert method.teacher is not None
    norm, _, before = first_norm(method)
    kept = before.clone()
    method.teach(method.teacher, batch())
    assert torch.equal(norm.running_mean, kept)
    method.segmenter.encoder.blocks[0].first.norm.running_mean += 1
    method.after_step(5)
    assert not torch.equal(norm.running_mean, kept)


def first_norm(method: DiffRect) -> tuple[Any, Any, Tensor]:
    """The teacher's first batch norm, the convolution before it, and its running mean."""
    assert method.teacher is not None
    first: Any = method.teacher.encoder.blocks[0].first  # type: ignore[union-attr,index]
    return first.norm, first.conv, first.norm.running_mean


def test_a_teacher_with_statistics_of_its_own_needs_more_than_one_pixel() -> None:
    small = a_problem(1, 3, 10, size=16)
    method = DiffRect(small, of_slices(teacher_statistics="own"))
    with pytest.raises(InputError, match="--batch-unlabelled: expected at least 2 slices of 16"):
        method.check_batch(2, 1)
    method.check_batch(2, 2)
    without = of_slices(teacher_statistics="own", teacher_decay=0.0)
    DiffRect(small, without).check_batch(2, 1)


@pytest.mark.parametrize("forward", ["joint", "separate"])
def test_the_losses_of_two_strong_views_are_averaged(forward: Any) -> None:
    """Boxes included: each view has its own."""
    one = batch()
    generator = torch.Generator().manual_seed(1)
    pasted = torch.zeros(4, 64, 64, dtype=torch.bool)
    pasted[2:, 10:40, 10:40] = True
    boxed = replace(
        one,
        strong=torch.rand(4, 1, 64, 64, generator=generator),
        pasted=pasted,
        partner=torch.tensor([0, 1, 3, 2]),
    )

    def losses(shown: Batch, **options: Any) -> dict[str, float]:
        options = {"forward": forward, "rectifier": "identity", "rectify_from": 0, **options}
        torch.manual_seed(0)
        method = DiffRect(PROBLEM, of_slices(rectification_update="joint", **options)).eval()
        assert method.strong_views == (2 if options.get("second_view") else 1)
        (update,) = method.updates(shown, 5)
        return {name: float(update.logs[name]) for name in ("unsupervised", "rectification")}

    first, second = losses(one), losses(boxed)
    both = losses(replace(one, second=boxed), second_view=True)
    assert first["unsupervised"] != pytest.approx(second["unsupervised"])
    for name, value in both.items():
        assert value == pytest.approx((first[name] + second[name]) / 2, rel=1e-5)


def test_a_training_with_a_second_strong_view_learns_from_it(store: Store, tmp_path: Path) -> None:
    config = TrainConfig(size=32, iterations=2, options={"second_view": True})
    run = train(store.path, tmp_path / "run", config, progress=False)
    assert load_method(run).method.strong_views == 2
