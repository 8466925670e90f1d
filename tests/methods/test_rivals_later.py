"""AD-MT and other rivals of 2024 and later against values worked out by hand."""

from dataclasses import replace

import pytest
import torch

from diffrect.data.batch import Batch
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods import abd, ad_mt, bcp, beta_fft, crossmatch, unimatch, unimatch_v2
from diffrect.methods.consistency import with_boxes
from diffrect.methods.losses import dice_loss
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
        boxed = with_boxes(batch)
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


# ---- CrossMatch ------------------------------------------------------------------------------


def test_crossmatch_of_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, off = Reads(), [IGNORED]
    own = crossmatch.Views(*(reads(rows(p)) for p in ([0.9, 0.1], [0.9, 0.3], [0.6, 0.5])))
    second = crossmatch.Views(*(reads(rows(p)) for p in ([0.7, 0.2], [0.7, 0.2], [0.5, 0.5])))
    passes = iter([(reads(rows(TOY)), own), (reads(rows(TOY)), second)])
    labels = iter([[1, 0], [*off, 0], [1, 0]])  # of the weak view and its two feature views
    monkeypatch.setattr(
        crossmatch, "confident_labels", lambda *_: torch.tensor([[next(labels)]]).long()
    )
    method = a_method("crossmatch")
    monkeypatch.setattr(method, "forward", lambda *_: next(passes))
    numbers = the_update(method, both_views(a_batch(TOY, TOY)), 0)
    assert numbers["supervised"] / 2 == pytest.approx(0.246984, abs=1e-6)
    assert numbers["strong_views"] == pytest.approx((0.126983 + 0.080055) / 2, abs=1e-6)
    assert numbers["feature_views"] == pytest.approx(0.257317, abs=1e-6)
    assert numbers["loss"] == pytest.approx(0.213701, abs=1e-6)


def both_views(batch: Batch) -> Batch:
    """The batch with itself as the second strong view."""
    return replace(batch, second=batch)


def test_crossmatch_terms_of_the_toy() -> None:
    label = torch.tensor([[TRUTH]])
    expected = {
        (0.9, 0.3): 0.059649,
        (0.6, 0.5): 0.272717,
        (0.7, 0.2): 0.080055,
        (0.5, 0.5): 0.333331,
    }
    for p, value in expected.items():
        loss = crossmatch.pseudo_dice(Reads()(rows(list(p))), label)
        assert loss.item() == pytest.approx(value, abs=1e-6)
    unsure = torch.tensor([[[IGNORED, 0]]])
    loss = crossmatch.pseudo_dice(Reads()(rows([0.7, 0.2])), unsure)
    assert loss.item() == pytest.approx(0.512070, abs=1e-6)


def test_crossmatch_boxes_bring_labels_of_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[object]] = []
    monkeypatch.setattr(
        crossmatch, "pseudo_dice", lambda x, target: seen.append(target.tolist()) or x.sum() * 0
    )
    reads, count = Reads(), 2
    kinds = [rows([p, p], [1 - p, 1 - p]) for p in (0.97, 0.98, 0.04)]
    own = crossmatch.Views(*(reads(x) for x in kinds))
    passes = iter([(reads(rows(TOY)), own), (own.clean, own)])
    method = a_method("crossmatch")
    monkeypatch.setattr(method, "forward", lambda *_: next(passes))
    images = rows(TOY, TOY, TOY)
    pasted = torch.zeros(1 + count, 1, 2, dtype=torch.bool)
    pasted[1, 0, 0] = True
    boxed = Batch(images, images, torch.tensor([[TRUTH]]), pasted, torch.tensor([0, 2, 1]))
    (_,) = method.updates(replace(boxed, second=replace(boxed, pasted=~pasted)), 0)
    clean, second = [[[1, 1]], [[0, 0]]], [[[1, 0]], [[1, 1]]]
    assert seen[:2] == [[[[0, 1]], [[0, 0]]], second]
    assert seen[2:6] == [clean, clean, second, second]
    assert seen[6:] == [second, [[[0, 1]], [[0, 0]]]]


def test_crossmatch_perturbs_the_unlabelled_rows_and_the_second_strong_view() -> None:
    method = a_method("crossmatch")
    assert isinstance(method, crossmatch.CrossMatch)
    torch.manual_seed(0)
    plain, views = method.forward(rows(TOY, [0.2, 0.3], [0.4, 0.5]), 1)
    reads = Reads()
    assert torch.equal(plain, reads(rows(TOY)))
    assert torch.equal(views.clean, reads(rows([0.2, 0.3], [0.4, 0.5])))
    assert views.weak.shape == views.strong.shape == views.clean.shape
    shares = (method.options.weak_dropout, method.options.strong_dropout)
    both = unimatch.perturb_features([torch.ones(2, 400, 2, 2)], 1, *shares)[0]
    for row, share in enumerate(shares, start=2):
        dropped = both[row].amax(dim=(1, 2))
        assert sorted(set(dropped.tolist())) == pytest.approx([0, 1 / (1 - share)])
        assert (dropped == 0).float().mean() == pytest.approx(share, abs=0.08)


def test_crossmatch_momentum_is_nesterov_s_in_the_released_code() -> None:
    for preset, expected in {"default": False, "reference": True}.items():
        method = a_method("crossmatch", preset=preset)
        method.segmenter = torch.nn.Conv2d(1, 2, 1)  # type: ignore[assignment]
        assert method.optimizers()["segmenter"].param_groups[0]["nesterov"] is expected


# ---- UniMatch V2 -----------------------------------------------------------------------------


def test_unimatch_v2_of_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unimatch_v2, "complementary_dropout", lambda maps: maps)
    method = a_method("unimatch_v2", preset="reference")
    method.teacher = says(0.97, 0.04, 0.6)
    batch = a_batch([*TOY, 0.5], [*TOY, 0.5], label=[*TRUTH, IGNORED])
    views = (rows([*TOY, 0.5], p) for p in ([0.8, 0.4, 0.9], [0.7, 0.2, 0.9]))
    one, two = (replace(batch, strong=view) for view in views)
    numbers = the_update(method, replace(one, second=two), 0)
    assert numbers["supervised"] == pytest.approx(0.366985, abs=1e-6)
    assert numbers["strong_views"] == pytest.approx((0.244656 + 0.193273) / 2, abs=1e-6)
    assert numbers["loss"] == pytest.approx(0.292975, abs=1e-6)
    medical = a_method("unimatch_v2")
    medical.teacher = method.teacher
    total = 0.246984 / 2 + (0.244656 + 0.193273) / 4
    assert the_update(medical, replace(one, second=two), 0)["loss"] == pytest.approx(
        total, abs=1e-6
    )


def test_unimatch_v2_teacher_moves_by_the_published_decay_and_is_in_eval_mode() -> None:
    method = a_method("unimatch_v2").train()
    assert isinstance(method, unimatch_v2.UniMatchV2)
    for step, decay in ((0, 0.0), (9, 0.9), (249, 0.996), (1000, 0.996)):
        method.segmenter, method.teacher = (torch.nn.BatchNorm2d(1) for _ in range(2))  # type: ignore[assignment]
        torch.nn.init.zeros_(method.segmenter.weight)
        method.segmenter.running_var.fill_(0)
        method.after_step(step)
        assert method.teacher.weight.item() == pytest.approx(decay)
        assert method.teacher.running_var.item() == pytest.approx(decay)
    method.teach(torch.rand(2, 1, 4, 4))
    assert not method.teacher.training


def test_unimatch_v2_views_drop_opposite_channels_of_half_of_the_rows() -> None:
    torch.manual_seed(0)
    maps = [torch.ones(10, width, 2, 2) for width in (64, 32)]
    kept = []
    for x in unimatch_v2.complementary_dropout(maps):
        channels = x.amax(dim=(2, 3))
        assert torch.equal(channels, x.amin(dim=(2, 3)))
        one, two = channels.chunk(2)
        assert torch.equal(one + two, torch.full_like(one, 2.0))
        whole = (one == 1).all(dim=1)
        assert set(one[~whole].unique().tolist()) == {0.0, 2.0}
        assert one[~whole].mean() == pytest.approx(1, abs=0.2)
        kept.append(whole.nonzero()[:, 0].tolist())
    assert kept[0] == kept[1]  # of the same rows in all maps
    assert len(kept[0]) == 2


# ---- ABD -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alike", "weak", "strong"),
    [(False, [1, 20, 3, 4], [1, 20, 30, 40]), (True, [1, 30, 3, 4], [3, 20, 30, 40])],
)
def test_abd_displaces_the_least_sure_patches(
    alike: bool, weak: list[int], strong: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = [torch.tensor([[0.9, 0.6, 0.8, 0.7]]), torch.tensor([[0.5, 0.95, 0.85, 0.75]])]
    logits = []
    for of_class_1 in ((2.2, 0.4, 1.4, 0.85), (0.0, 2.9, 1.7, 1.1)):
        z = torch.tensor(of_class_1).view(1, 1, 2, 2)
        logits.append(torch.cat([torch.zeros_like(z), z], dim=1))
    chosen, drawn = abd.chosen_patches, torch.rand
    monkeypatch.setattr(abd, "chosen_patches", lambda _, *rest: chosen(sure, *rest))
    monkeypatch.setattr(torch, "rand", lambda *shape: drawn(*shape) / 2 + alike / 2)
    method = a_method("abd", grid=2, surest=2)
    assert isinstance(method, abd.ABD)
    images = [torch.tensor([[[[1.0, 2], [3, 4]]]]) * factor for factor in (1, 10)]
    changed = method.exchange(images, logits).flatten(1)
    assert changed.tolist() == [weak, strong]
    assert images[0].flatten().tolist() == [1, 2, 3, 4]  # the mixtures stay as they are


def test_abd_patches_have_the_published_divergence_and_leave_a_rest() -> None:
    first, second = torch.tensor([[[0.0, 0.4]]]), torch.tensor([[[0.0, 2.9], [0.0, 1.7]]])
    sought, found = first.log_softmax(2), second.log_softmax(2)
    divergence = (sought.exp() * (sought - found)).sum(2)
    assert divergence[0].tolist() == pytest.approx([0.543828, 0.176477], abs=1e-6)
    method = a_method("abd")
    assert isinstance(method, abd.ABD)
    images = [torch.zeros(3, 1, 9, 9), torch.ones(3, 1, 9, 9)]
    logits = [torch.randn(3, 2, 9, 9) for _ in range(2)]
    one, two = method.exchange(images, logits).chunk(2)
    assert not one[..., 8].any()
    assert not one[..., 8, :].any()
    assert (one.flatten(1).sum(1) == 4).all()  # a patch of 2 x 2
    assert ((two.flatten(1) == 0).sum(1) % 4 == 0).all()


def test_abd_students_teach_each_other() -> None:
    reads, label = Reads(), torch.tensor([[TRUTH]])
    one, two = reads(rows([0.8, 0.4])), reads(rows([0.3, 0.9]))
    crossed = abd.cross_teaching(one, two)
    assert crossed.item() == pytest.approx(0.634917 + 0.775434, abs=2e-6)
    assert dice_loss(one.softmax(1), 1 - label).item() == pytest.approx(0.634917, abs=1e-6)
    assert dice_loss(two.softmax(1), label).item() == pytest.approx(0.775434, abs=1e-6)


def test_abd_adds_both_students_losses_and_what_they_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = torch.tensor([[True, False]])
    monkeypatch.setattr(abd, "random_mask", lambda *_: outside)
    monkeypatch.setattr(abd, "with_noise_boxes", lambda images, label: (images, label))
    method = a_method("abd")
    assert isinstance(method, abd.ABD)
    method.teacher = says(0.9, 0.9)
    method.segmenter, method.other = says(*TOY), says(*TOY)  # type: ignore[assignment]
    monkeypatch.setattr(method, "exchange", lambda images, _: torch.cat(images))
    numbers = the_update(method, a_batch(TOY, TOY, label=[0, 0]), 20000)
    out = Reads()(rows(TOY))
    ones, zeros = torch.tensor([[[1, 1]]]), torch.tensor([[[0, 0]]])
    known = bcp.region_loss(out, zeros, ~outside) + bcp.region_loss(out, zeros, outside)
    guess = bcp.region_loss(out, ones, outside) + bcp.region_loss(out, ones, ~outside)
    assert numbers["supervised"] == pytest.approx(2 * known.item())
    assert numbers["unsupervised"] == pytest.approx(2 * guess.item())
    crossed = 2 * abd.cross_teaching(out, out).item()
    assert numbers["crossed"] == pytest.approx(crossed, abs=1e-5)  # e in twice the pixels
    assert numbers["loss"] == pytest.approx(2 * known.item() + guess.item() + crossed, abs=1e-5)
    seen = method.other.seen  # type: ignore[union-attr]
    assert [len(images) for images in seen] == [1, 1, 4]


def test_abd_second_student_starts_as_the_first_and_follows_no_more() -> None:
    method = a_method("abd", iterations=4)
    method.segmenter, method.other, method.teacher = (torch.nn.BatchNorm2d(1) for _ in range(3))  # type: ignore[assignment]
    for step, (value, expected) in enumerate([(5.0, 5.0), (6.0, 5.0)]):
        torch.nn.init.constant_(method.segmenter.weight, value)
        method.segmenter.running_var.fill_(value)
        method.after_step(step)
        assert method.other.weight.item() == method.other.running_var.item() == expected
    assert method.teacher.weight.item() == pytest.approx(0.99 * 5 + 0.06)


def test_abd_noise_is_background_where_the_label_is_known() -> None:
    torch.manual_seed(0)
    images = torch.full((200, 1, 32, 32), 0.5)
    label = torch.ones(100, 32, 32, dtype=torch.long)
    label[:, 0] = IGNORED
    noisy, hidden = abd.with_noise_boxes(images, label)
    changed = (noisy != 0.5)[:, 0]
    assert set(noisy[:, 0][changed].tolist()) == {0.0, 1.0}
    assert (hidden[:, 0] == IGNORED).all()
    assert torch.equal(hidden[:, 1:] == 0, changed[:100, 1:])
    shares = changed.flatten(1).float().mean(1)
    assert (shares > 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert shares.max() < 0.42


# ---- beta-FFT --------------------------------------------------------------------------------


def test_beta_fft_exchanges_low_frequencies() -> None:
    method = a_method("beta_fft")
    assert isinstance(method, beta_fft.BetaFFT)
    checker = torch.arange(16)[:, None].add(torch.arange(16)).remainder(2) * 0.2 + 0.1
    even = torch.full((1, 1, 16, 16), 0.6)
    changed, plain = method.exchange([checker[None, None], even], []).split(1)
    assert changed.flatten().tolist() == pytest.approx((checker + 0.4).flatten().tolist())
    assert sorted({round(x, 5) for x in changed.flatten().tolist()}) == [0.5, 0.7]
    assert plain.flatten().tolist() == pytest.approx([0.2] * 256)


@pytest.mark.parametrize("magnitude", [False, True])
def test_beta_fft_keeps_the_sign_of_low_frequencies_unless_asked_to(magnitude: bool) -> None:
    images = torch.full((1, 1, 8, 8), -0.3)
    expected = 0.3 if magnitude else -0.3
    found = beta_fft.low_frequencies(images, 15 / 64, magnitude)
    assert found.flatten().tolist() == pytest.approx([expected] * 64)


def test_beta_fft_keeps_60_of_256_frequencies() -> None:
    x = torch.arange(256) * (2 * torch.pi / 256)
    waves = [(k * x).cos().expand(1, 1, 256, 256) for k in (29, 30, 31)]
    found = [beta_fft.low_frequencies(wave, 15 / 64, magnitude=False) for wave in waves]
    kept = [low.abs().max().item() for low in found]
    assert kept == pytest.approx([1, 0.5, 0], abs=1e-5)  # of 30, only one sign is among them


def test_beta_fft_weight_rises_over_the_second_stage() -> None:
    method = a_method("beta_fft", iterations=40000)
    assert isinstance(method, beta_fft.BetaFFT)
    method.teacher = says(0.9, 0.1)
    views = method.views(a_batch(TOY, [0.2, 0.3]))
    weights = [method.further(views, 10000 + step)[1]["consistency_weight"]
               for step in (0, 15000, 30000)]  # fmt: skip
    assert weights == pytest.approx([0.003369, 0.143252, 0.5], abs=1e-6)


def test_beta_fft_first_student_learns_labels_and_mixtures_of_both_views(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    share = torch.tensor([0.25, 0.25], dtype=torch.float64)
    monkeypatch.setattr(beta_fft, "draw_mixture", lambda *_: (share, torch.tensor([1, 0])))
    method = a_method("beta_fft", iterations=40000)
    assert isinstance(method, beta_fft.BetaFFT)
    images = rows(TOY, [0.2, 0.2], [0.6, 0.6])
    view = abd.View(images, torch.tensor([[TRUTH]]), Reads()(images[1:]))
    loss, logs = method.further([view, view], 40000)
    assert float(logs["labels"]) / 4 == pytest.approx(0.246984, abs=1e-6)
    assert float(logs["mixed"]) == pytest.approx(0, abs=1e-9)  # Reads is linear in the image
    worse = view._replace(taught=Reads()(images[1:] + 0.1))
    further, logs = method.further([view, worse], 40000)
    assert float(logs["mixed"]) == pytest.approx(0.01)
    assert (further - loss).item() == pytest.approx(0.5 * 0.01)
    assert loss.item() == pytest.approx(2 * 0.246984, abs=1e-6)
    mixed = method.segmenter.seen[0]  # type: ignore[index]
    assert mixed[:, 0, 0, 0].tolist() == pytest.approx([0.8, 0.3, 0.5])
