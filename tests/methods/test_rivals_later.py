"""AD-MT and other rivals of 2024 and later against values worked out by hand."""

from dataclasses import replace

import pytest
import torch

from diffrect.data.batch import Batch
from diffrect.labels import IGNORED
from diffrect.methods import ad_mt
from support.stubs import TOY, TRUTH, Reads, a_batch, a_method, rows, says, the_update


def probabilities(*of_class_1: float) -> torch.Tensor:
    """Probabilities of two classes in one row of pixels, (1, 2, 1, W)."""
    p = rows(list(of_class_1))
    return torch.cat([1 - p, p], dim=1)


# ---- AD-MT -----------------------------------------------------------------------------------


def test_ad_mt_teachers_vote_by_entropy() -> None:
    first, second = probabilities(0.1, 0.6), probabilities(0.7, 0.98)
    label, confidence, quarrel = ad_mt.vote(first, second)
    assert label.tolist() == [[[0, 1]]]
    assert confidence.flatten().tolist() == pytest.approx([0.660983, 0.864576], abs=1e-6)
    assert quarrel.tolist() == [[[True, False]]]
    own, sure = torch.tensor([[[1, 0]]]), rows([0.97, 0.99])[:, 0]
    label, confidence = ad_mt.overrule(label, confidence, quarrel, own, sure)
    assert label.tolist() == [[[1, 1]]]  # the teachers agree in the second pixel
    assert confidence.flatten().tolist() == pytest.approx([0.97, 0.864576], abs=1e-6)


@pytest.mark.parametrize(("step", "total"), [(0, 0.248695), (3750, 0.319747), (7500, 0.500950)])
def test_ad_mt_of_the_toy(step: int, total: float) -> None:
    method = a_method("ad_mt")
    assert isinstance(method, ad_mt.ADMT)
    method.turns.fill_(False)
    method.teacher = method.second_teacher = says(0.97, 0.04, 0.6)
    batch = a_batch([*TOY, 0.5], [0.97, 0.04, 0.6], label=[*TRUTH, IGNORED])
    strong = rows([*TOY, 0.5], [0.8, 0.4, 0.9])
    numbers = the_update(method, Batch(batch.weak, strong, batch.label), step)
    assert numbers["unsupervised"] == pytest.approx(0.126983, abs=1e-6)
    assert numbers["loss"] == pytest.approx(total, abs=1e-6)


def test_ad_mt_moves_the_teacher_in_turn_alone_by_the_published_decay() -> None:
    method = a_method("ad_mt")
    assert isinstance(method, ad_mt.ADMT)
    for second in (False, True):
        method.turns.fill_(second)
        for step, expected in ((99, 0), (102, 0.5), (110, 5 / 6), (298, 0.99)):
            method.segmenter, method.teacher, method.second_teacher = (  # type: ignore[assignment]
                torch.nn.BatchNorm2d(1) for _ in range(3)
            )
            for value, network in ((1.0, method.teacher), (2.0, method.second_teacher)):
                torch.nn.init.constant_(network.weight, value)
                network.running_mean.fill_(value)
            torch.nn.init.zeros_(method.segmenter.weight)
            method.after_step(step)
            moved = [(t.weight.item(), t.running_mean.item())
                     for t in (method.teacher, method.second_teacher)]  # fmt: skip
            decays = [1, 2 * expected] if second else [expected, 2]
            for (weight, mean), decay in zip(moved, decays, strict=True):
                assert weight == mean == pytest.approx(decay, abs=1e-6)


def test_ad_mt_turns_last_up_to_fifty_iterations_and_alternate() -> None:
    torch.manual_seed(0)
    turns = ad_mt.draw_turns(30000, 50)
    switches = (turns[1:] != turns[:-1]).nonzero()[:, 0] + 1
    lengths = switches.diff()
    assert not turns[0]
    assert (lengths.min(), lengths.max()) == (1, 50)
    assert lengths.float().mean() == pytest.approx(25.5, abs=1.5)
    assert ad_mt.draw_turns(5, 1).tolist() == [False, True, False, True, False]


def test_ad_mt_teacher_in_turn_sees_its_own_statistics() -> None:
    method = a_method("ad_mt")
    assert isinstance(method, ad_mt.ADMT)
    method.teacher, method.second_teacher = (torch.nn.BatchNorm2d(1) for _ in range(2))
    for second in (False, True):
        first, other = method.teach(torch.rand(2, 1, 4, 4) + 3, second)
        assert first.requires_grad is other.requires_grad is False
        assert method.teacher.training is not second
        assert method.second_teacher.training is second


def test_ad_mt_boxes_have_one_size_and_bring_the_labels_of_their_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    images = torch.rand(5, 1, 64, 64)
    batch = Batch(images, images, torch.zeros(2, 64, 64, dtype=torch.long))
    largest = []
    for _ in range(50):
        boxed = ad_mt.with_boxes(batch)
        assert boxed.pasted is not None
        assert boxed.partner is not None
        assert not boxed.pasted[:2].any()
        assert sorted(boxed.partner.tolist()) == list(range(5))
        assert boxed.partner[:2].tolist() == [0, 1]
        assert torch.equal(boxed.strong[2:], boxed.as_strong(images)[2:])
        largest.append(boxed.pasted.flatten(1).sum(dim=1).max().item() / 64**2)
    assert 0.2 < sum(largest) / 50 < 0.5  # 1 - l has the mean 1/2; edges cut boxes
    assert max(largest) < 0.95

    inside = torch.tensor([[[False, False]], [[True, False]], [[True, False]]])
    partner = torch.tensor([0, 2, 1])

    def with_a_box(given: Batch) -> Batch:
        boxed = replace(given, pasted=inside, partner=partner)
        return replace(boxed, strong=boxed.as_strong(given.weak))

    monkeypatch.setattr(ad_mt, "with_boxes", with_a_box)
    # The teachers quarrel in all pixels; the student is surer than their vote, which is 0.
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(ad_mt, "dice_loss", lambda p, target: seen.append(target) or p.sum() * 0)
    for moves in (True, False):
        method = a_method("ad_mt", student_moves=moves)
        assert isinstance(method, ad_mt.ADMT)
        method.turns.fill_(True)
        method.teacher, method.second_teacher = says(0.1, 0.1), says(0.8, 0.8)
        method.segmenter = Reads()  # type: ignore[assignment]
        (_,) = method.updates(a_batch(TOY, [0.02, 0.02], [0.98, 0.98]), 7500)
    assert seen[0].tolist() == [[[1, IGNORED]], [[IGNORED, 1]]]
    assert seen[1].tolist() == [[[IGNORED, IGNORED]], [[1, 1]]]
