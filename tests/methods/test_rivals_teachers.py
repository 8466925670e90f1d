"""Mean Teacher, UA-MT, ICT, CPS and FixMatch against values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from diffrect.data.batch import Batch
from diffrect.methods import ict, mean_teacher, uamt
from diffrect.methods.base import make_teacher, move_average
from diffrect.methods.consistency import ConsistencyOptions, squared_difference, with_noise
from diffrect.methods.cps import cross_pseudo_supervision
from diffrect.methods.losses import complementary_loss, cross_entropy_dice, pseudo_label
from support.stubs import (
    HALF_LOSS,
    TOY,
    TRUTH,
    Reads,
    a_batch,
    a_method,
    a_problem,
    rows,
    says,
    the_update,
)

CLASSES = (0.9, 0.05, 0.03, 0.02), (0.7, 0.1, 0.1, 0.1)


def pixels(*values: tuple[float, ...]) -> torch.Tensor:
    """Probabilities of some pixels, (1, K, 1, pixels)."""
    return torch.tensor(values, dtype=torch.float64).T[None, :, None, :]


def test_weight_rises_to_its_largest_value_or_is_constant() -> None:
    options = ConsistencyOptions()
    assert options.weight(0, 30000) == pytest.approx(0.000674, abs=1e-6)
    assert options.weight(15000, 30000) == pytest.approx(0.0286505, abs=1e-7)
    assert options.weight(30000, 30000) == 0.1
    assert options.weight(2000, 4000) == options.weight(15000, 30000)
    assert ConsistencyOptions(ramp_share=0).weight(0, 100) == 0.1
    assert ConsistencyOptions(ramp_share=0.5).weight(50, 100) == 0.1


def test_noise_is_small_cut_and_fresh() -> None:
    torch.manual_seed(0)
    images = torch.zeros(4, 1, 50, 50)
    noise = with_noise(images)
    assert noise.abs().max() == pytest.approx(0.2)
    assert noise.std() == pytest.approx(0.0958, abs=2e-3)  # of a normal cut at two sigma
    assert not torch.equal(noise, with_noise(images))
    assert not images.any()


def test_mean_teacher_of_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mean_teacher, "with_noise", lambda images: images)
    method = a_method("mean_teacher")
    method.teacher = says(0.4, 0.4)  # student .2 against .4 in both pixels: a square of .04
    numbers = the_update(method, a_batch(TOY, [0.2, 0.2]), 15000)
    assert numbers["unsupervised"] == pytest.approx(0.04)
    assert numbers["loss"] == pytest.approx(HALF_LOSS + 0.00114602, abs=1e-6)


def test_mean_teacher_hears_noise_and_may_set_in_late() -> None:
    method = a_method("mean_teacher", preset="reference")
    method.teacher = Reads()
    batch = a_batch(TOY, [0.5, 0.5])
    assert the_update(method, batch, 999)["consistency_weight"] == 0
    assert the_update(method, batch, 1000)["consistency_weight"] > 0
    assert not torch.equal(method.teacher.seen[0], batch.weak[1:])
    assert torch.equal(method.segmenter.seen[0], batch.weak)  # type: ignore[arg-type]


def test_teacher_averages_parameters_and_keeps_its_own_statistics() -> None:
    student = nn.BatchNorm2d(1)
    teacher = make_teacher(student)
    nn.init.constant_(student.weight, 6.0)
    student.running_mean.fill_(5.0)  # type: ignore[union-attr]
    move_average(teacher, student, 0.99, step=4, buffers=False)  # a = 1 - 1 / 5
    assert teacher.weight.item() == pytest.approx(0.8 * 1 + 0.2 * 6)
    assert teacher.running_mean.item() == 0.0
    move_average(teacher, student, 0.99, step=None)  # BCP: no early limit, statistics too
    assert teacher.weight.item() == pytest.approx(0.99 * 2 + 0.01 * 6)
    assert teacher.running_mean.item() == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["mean_teacher", "uamt", "ict"])
def test_teacher_follows_after_each_step_in_training_mode(name: str) -> None:
    method = a_method(name)
    method.segmenter, method.teacher = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)  # type: ignore[assignment]
    nn.init.constant_(method.segmenter.weight, 1.0)
    nn.init.constant_(method.teacher.weight, 0.0)
    method.after_step(4)
    assert method.teacher.weight.item() == pytest.approx(0.2)
    method.after_step(500)
    assert method.teacher.weight.item() == pytest.approx(0.99 * 0.2 + 0.01)
    assert method.train().teacher.training


def test_uamt_threshold_rises() -> None:
    method = a_method("uamt")
    assert isinstance(method, uamt.UAMT)
    assert method.threshold(0) == pytest.approx(0.521028, abs=1e-6)
    assert method.threshold(15000) == pytest.approx(0.569508, abs=1e-6)
    assert method.threshold(30000) == pytest.approx(math.log(2))
    wider = uamt.UAMT(a_problem(1, 4, 100), uamt.UAMTOptions(highest_entropy="classes"))
    assert wider.threshold(100) == pytest.approx(math.log(4))


def test_uamt_learns_from_certain_pixels_only() -> None:
    teacher = pixels(*CLASSES)
    entropy = uamt.entropy(teacher)[0, 0]
    assert entropy.tolist() == pytest.approx([0.428044, 0.940444], abs=1e-6)
    certain = uamt.entropy(teacher) < 0.569508
    student = pixels((0.8, 0.1, 0.05, 0.05), (0.1, 0.7, 0.1, 0.1))
    loss = uamt.masked_difference(student, teacher, certain, 2)
    assert loss.item() == pytest.approx(0.0069)
    assert uamt.masked_difference(student, teacher, certain, 4).item() == pytest.approx(0.00345)
    assert uamt.masked_difference(student, teacher, ~certain & certain, 2).item() == 0.0


def test_uamt_averages_eight_passes_before_the_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uamt, "with_noise", lambda images: images)
    method = a_method("uamt")
    assert isinstance(method, uamt.UAMT)
    passes = iter([0.9, 0.1, 0.9, 0.1])  # sure each time, of other classes
    method.teacher = Reads(lambda p: torch.full_like(p, next(passes)))
    assert method.uncertainty(rows([0.5], [0.5])).flatten().tolist() == pytest.approx(
        [math.log(2)] * 2, abs=1e-5
    )
    assert [len(seen) for seen in method.teacher.seen] == [4] * 4  # 8 passes, two at a time
    method.teacher = says(0.9, 0.5)
    numbers = the_update(method, a_batch(TOY, [0.7, 0.9]), 15000)
    assert numbers["certain_share"] == 0.5  # entropies .325 and .693
    assert numbers["unsupervised"] == pytest.approx(0.04)
    assert numbers["loss"] == pytest.approx(HALF_LOSS + 0.0286505 * 0.04, abs=1e-6)


def test_ict_mixes_images_and_predictions_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    quarter = torch.tensor([0.25, 0.25], dtype=torch.float64)
    first, second = (pixels(p)[0][None, :, 0] for p in ((0.8, 0.2), (0.4, 0.6)))
    target = ict.mix(first, second, quarter[:1])
    assert target.flatten().tolist() == pytest.approx([0.7, 0.3])
    student = pixels((0.6, 0.4))[0][None, :, 0]
    assert squared_difference(student, target).item() == pytest.approx(0.01)

    monkeypatch.setattr(ict, "draw_mixture", lambda n, a: (quarter, torch.tensor([1, 0])))
    method = a_method("ict")
    method.teacher = Reads()
    batch = a_batch(TOY, [0.2, 0.2], [0.6, 0.6])
    assert the_update(method, batch, 15000)["unsupervised"] == pytest.approx(0.0)
    mixed = method.segmenter.seen[0]  # type: ignore[index]
    assert mixed[:, 0, 0, 0].tolist() == pytest.approx([0.8, 0.3, 0.5])
    method.segmenter = Reads(lambda p: torch.where((p - 0.3).abs() < 1e-9, 0.4, p))  # type: ignore[assignment]
    numbers = the_update(method, batch, 15000)
    assert numbers["unsupervised"] == pytest.approx(0.005)  # .01 in one row of two
    assert numbers["loss"] == pytest.approx(HALF_LOSS + 0.5 * 0.000286505, abs=1e-6)


def test_ict_draws_nearly_pure_mixtures_with_another_row() -> None:
    torch.manual_seed(0)
    for count in (1, 2, 3):
        _, partner = ict.draw_mixture(count, 0.2)
        assert sorted(partner.tolist()) == list(range(count))
        assert count == 1 or (partner != torch.arange(count)).all()
    share, _ = ict.draw_mixture(4000, 0.2)
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(0.25 / 1.4, abs=0.01)  # of Beta(.2, .2)


def test_cps_of_the_toy_and_without_gradient_of_the_labels() -> None:
    one = pixels((0.7, 0.3)).log().requires_grad_()
    two = pixels((0.2, 0.8)).log().requires_grad_()
    loss = cross_pseudo_supervision(one, two)
    assert loss.item() == pytest.approx(2.813411, abs=1e-6)
    loss.backward()
    # softmax minus the other's hard label, and nothing else
    assert one.grad is not None
    assert two.grad is not None
    assert one.grad.flatten().tolist() == pytest.approx([0.7, 0.3 - 1])
    assert two.grad.flatten().tolist() == pytest.approx([0.2 - 1, 0.8])


def test_cps_teaches_on_unlabelled_rows_or_on_all() -> None:
    batch = a_batch(TOY, [0.3, 0.3])
    expected = {"unlabelled": 2.813411, "all": 2.813411 / 2}
    for cross_rows, value in expected.items():
        method = a_method("cps", cross_rows=cross_rows)
        method.segmenter = Reads(lambda p: p)  # type: ignore[assignment]
        method.other = Reads(lambda p: torch.where(p == 0.3, 0.8, p))
        numbers = the_update(method, batch, 15000)
        crossed = numbers["unsupervised"]
        if cross_rows == "all":  # labelled row: both networks agree on 1, 0 with .8 and .6
            crossed -= -(math.log(0.8) + math.log(0.6)) / 2
        assert crossed == pytest.approx(value, abs=1e-6), cross_rows
        if cross_rows == "unlabelled":
            assert numbers["loss"] == pytest.approx(2 * HALF_LOSS + 0.0806056, abs=2e-6)


def test_cps_networks_start_differently() -> None:
    torch.manual_seed(0)
    fresh = a_method("cps")
    assert fresh.other is not fresh.segmenter
    torch.manual_seed(0)
    full = type(fresh)(fresh.problem, fresh.options)
    pairs = zip(full.segmenter.parameters(), full.other.parameters(), strict=True)
    assert any(not torch.equal(one, two) for one, two in pairs)
    trained = {id(p) for g in full.optimizers()["segmenter"].param_groups for p in g["params"]}
    assert trained == {id(p) for p in full.parameters()}


def test_fixmatch_learns_the_sure_pixels_and_counts_all() -> None:
    method = a_method("fixmatch")
    weak, strong = rows(TOY, [0.97, 0.9]), rows(TOY, [0.8, 0.8])
    batch = a_batch(TOY, TOY)
    batch = type(batch)(weak, strong, batch.label)
    numbers = the_update(method, batch, 0)
    assert numbers["unsupervised"] == pytest.approx(-math.log(0.8) / 2)
    assert numbers["loss"] == pytest.approx(2 * HALF_LOSS + 0.111572, abs=1e-6)
    assert the_update(method, type(batch)(weak, weak, batch.label), 0)["unsupervised"] < 0.02


def test_fixmatch_as_the_benchmark_has_it() -> None:
    method = a_method("fixmatch", preset="reference")
    weak, strong = rows(TOY, [0.97, 0.7]), rows([0.6, 0.3], [0.8, 0.4])
    batch = type(a_batch(TOY))(weak, strong, a_batch(TOY).label)
    reads = Reads()
    label = pseudo_label(reads(weak), 0.8, unsure=0)[1:]
    assert label.tolist() == [[[1, 0]]]  # .7 is not .833: background
    complementary, confidence = complementary_loss(reads(weak), reads(strong))
    expected = cross_entropy_dice(reads(strong[1:]), label) + confidence * complementary
    numbers = the_update(method, batch, 15000)
    assert numbers["unsupervised"] == pytest.approx(expected.item())
    assert numbers["loss"] == pytest.approx(2 * HALF_LOSS + 0.0286505 * expected.item(), abs=1e-6)


def test_fixmatch_s_complementary_loss_looks_into_the_boxes() -> None:
    """Where the strong view shows the other row, that row's least class is what it must not be."""
    method, reads = a_method("fixmatch", preset="reference"), Reads()
    weak, strong = rows([0.8, 0.9], [0.97, 0.1]), rows([0.8, 0.9], [0.8, 0.4])
    pasted = torch.tensor([[[False, False]], [[False, True]]])
    batch = Batch(weak, strong, torch.tensor([[TRUTH]]), pasted, torch.tensor([1, 0]))
    shown = reads(rows([0.8, 0.9], [0.97, 0.9]))  # the weak view as the strong one shows it
    complementary, confidence = complementary_loss(shown, reads(strong))
    assert complementary != complementary_loss(reads(weak), reads(strong))[0]
    expected = cross_entropy_dice(reads(strong[1:]), torch.tensor([[TRUTH]]))
    expected = expected + confidence * complementary
    assert the_update(method, batch, 0)["unsupervised"] == pytest.approx(expected.item())


def test_supervised_of_the_toy() -> None:
    for preset, expected in {"reference": 0.246984, "default": 2 * 0.246984}.items():
        method = a_method("supervised", preset=preset)
        numbers = the_update(method, a_batch(TOY), 0)
        assert numbers["loss"] == pytest.approx(expected, abs=2e-6), preset
        assert numbers["supervised"] == pytest.approx(2 * HALF_LOSS, abs=2e-6)
