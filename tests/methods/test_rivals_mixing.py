"""UniMatch, BCP, MC-Net+ and ICL against values worked out by hand."""

from dataclasses import replace

import pytest
import torch

from diffrect.data.batch import Batch
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods import bcp, unimatch
from diffrect.methods.incl import soft_dice_loss, transfer_loss
from diffrect.methods.losses import confident_labels, dice_loss
from diffrect.methods.mcnet import MCNet, mutual_consistency, sharpen
from diffrect.networks.class_attention import ClassAttention, ClassHead, DropPath
from diffrect.networks.unet import Decoder, UNet
from support.stubs import TOY, TRUTH, Reads, a_batch, a_method, rows, says, the_update

SURE = [0.97, 0.04]  # what UniMatch is sure of; hard labels 1, 0


def logits(*classes: float) -> torch.Tensor:
    """Logits of one pixel, (1, K, 1, 1)."""
    return torch.tensor(classes, dtype=torch.float64).log()[None, :, None, None]


# ---- UniMatch --------------------------------------------------------------------------------


def unimatch_numbers(
    monkeypatch: pytest.MonkeyPatch, feature_view: list[float]
) -> dict[str, float]:
    """Labelled toy; weak view sure; both strong views the toy; and the feature view given."""

    def perturbed(maps: list[torch.Tensor], labelled: int, share: float) -> list[torch.Tensor]:
        assert (len(maps), labelled, share) == (1, 1, 0.5)
        return [torch.cat([maps[0], rows(feature_view)])]

    monkeypatch.setattr(unimatch, "perturb_features", perturbed)
    weak, strong = rows(TOY, SURE), rows(TOY, TOY)
    batch = Batch(weak, strong, torch.tensor([[TRUTH]]))
    return the_update(a_method("unimatch"), replace(batch, second=batch), 0)


def test_unimatch_of_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = unimatch_numbers(monkeypatch, TOY)
    assert numbers["strong_views"] == pytest.approx(0.126983, abs=1e-6)
    assert numbers["feature_view"] == pytest.approx(0.126983, abs=1e-6)
    assert numbers["loss"] == pytest.approx(0.186984, abs=1e-6)
    worse = unimatch_numbers(monkeypatch, [0.2, 0.6])
    assert worse["loss"] - numbers["loss"] == pytest.approx(
        (worse["feature_view"] - numbers["feature_view"]) / 4
    )


def test_unimatch_leaves_unsure_pixels_out() -> None:
    label = confident_labels(Reads()(rows([0.97, 0.04, 0.6])), 0.95)
    assert label.tolist() == [[[1, 0, IGNORED]]]
    loss = dice_loss(Reads()(rows([0.8, 0.4, 0.9])).softmax(dim=1), label)
    assert loss.item() == pytest.approx(0.126983, abs=1e-6)
    method = a_method("unimatch")
    assert isinstance(method, unimatch.UniMatch)
    unsure = torch.full((1, 1, 2), IGNORED)
    assert method.pseudo_label_loss(Reads()(rows(TOY)), unsure).item() == 0.0


def test_unimatch_boxes_bring_the_labels_of_their_row(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    method = a_method("unimatch")
    monkeypatch.setattr(method, "pseudo_label_loss", lambda out, target: seen.append(target) or 0)
    weak = rows(TOY, [0.97, 0.97], [0.04, 0.5])
    pasted = torch.zeros(3, 1, 2, dtype=torch.bool)
    pasted[1, 0, 0] = pasted[2, 0, 1] = True
    partner = torch.tensor([0, 2, 1])
    batch = Batch(weak, weak, torch.tensor([[TRUTH]]), pasted, partner)
    second = replace(batch, pasted=~pasted, partner=partner)
    (_,) = method.updates(replace(batch, second=second), 0)
    one, two, feature = seen
    assert feature.tolist() == [[[1, 1]], [[0, IGNORED]]]
    assert one.tolist() == [[[0, 1]], [[0, 1]]]
    assert two.tolist() == [[[1, IGNORED]], [[1, IGNORED]]]


def test_perturbed_features_drop_whole_channels_of_unlabelled_rows() -> None:
    torch.manual_seed(0)
    maps = [torch.ones(3, 64, size, size) for size in (4, 2)]
    for x, both in zip(maps, unimatch.perturb_features(maps, 1, 0.5), strict=True):
        assert len(both) == 5  # three clean rows, then two perturbed ones
        assert torch.equal(both[:3], x)
        dropped = both[3:]
        assert set(dropped.unique().tolist()) == {0.0, 2.0}
        per_channel = dropped.flatten(2)
        assert torch.equal(per_channel.amin(dim=2), per_channel.amax(dim=2))
        assert 16 < (per_channel[0, :, 0] > 0).sum() < 48
        assert not torch.equal(dropped[0], dropped[1])


def test_unimatch_boxes_may_bring_labels_of_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    method = a_method("unimatch", preset="reference")
    assert isinstance(method, unimatch.UniMatch)
    monkeypatch.setattr(method, "pseudo_label_loss", lambda out, target: seen.append(target) or 0)
    weak = rows(TOY, [0.97, 0.97], [0.04, 0.04])
    reads = Reads(lambda p: p if method.segmenter.training else 1 - p)  # other labels in eval mode
    method.segmenter = reads.train()  # type: ignore[assignment]
    pasted = torch.zeros(3, 1, 2, dtype=torch.bool)
    pasted[1, 0, 0] = pasted[2, 0, 1] = True
    batch = Batch(weak, weak, torch.tensor([[TRUTH]]), pasted, torch.tensor([0, 2, 1]))
    (_,) = method.updates(replace(batch, second=batch), 0)
    assert reads.training
    assert seen[0].tolist() == seen[1].tolist() == [[[1, 1]], [[0, 0]]]
    assert seen[2].tolist() == [[[1, 1]], [[0, 0]]]


@pytest.mark.parametrize(("perturbed_rows", "decoded"), [("unlabelled", 5), ("all", 6)])
def test_unimatch_decodes_perturbed_labelled_rows_if_asked_to(
    perturbed_rows: str, decoded: int
) -> None:
    method = a_method("unimatch", perturbed_rows=perturbed_rows)
    assert isinstance(method, unimatch.UniMatch)
    batch = a_batch(TOY, [0.2, 0.3], [0.6, 0.7])
    clean, perturbed = method.forward_weak(batch)
    assert (len(clean), len(perturbed)) == (3, 2)
    assert len(method.segmenter.seen[0]) == decoded  # type: ignore[index]
    dropped = method.segmenter.seen[0][-2:]  # type: ignore[index]
    kept = (dropped == 2 * batch.weak[1:]).flatten(1).all(dim=1)
    assert (kept | (dropped == 0).flatten(1).all(dim=1)).all()


# ---- BCP -------------------------------------------------------------------------------------


def test_bcp_box_is_two_thirds_of_each_side() -> None:
    torch.manual_seed(0)
    masks = [bcp.random_mask(256, 256, 2 / 3) for _ in range(200)]
    corners = []
    for outside in masks:
        inside = (~outside).nonzero()
        low, high = inside.amin(dim=0), inside.amax(dim=0)
        assert len(inside) == 170 * 170
        assert (high - low + 1).tolist() == [170, 170]
        corners += low.tolist()
    assert min(corners) < 5
    assert 80 < max(corners) <= 85


def test_bcp_loss_of_the_toy() -> None:
    # pixel 0 outside, pseudo-label 1, times 1/2; pixel 1 inside, label 0
    outside = torch.tensor([[True, False]])
    out = Reads()(rows(TOY))
    pseudo = bcp.region_loss(out, torch.tensor([[[1, 1]]]), outside)
    known = bcp.region_loss(out, torch.tensor([[[0, 0]]]), ~outside)
    # the worked value has 1e-10 where our Dice has 1e-5
    assert (0.5 * pseudo + known).item() == pytest.approx(0.718659, abs=1e-4)


def test_bcp_pastes_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = torch.tensor([[True, False]])
    monkeypatch.setattr(bcp, "random_mask", lambda *_: outside)
    regions = []

    def recorded(out: torch.Tensor, target: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
        regions.append((target[:, 0].tolist(), region.tolist()))
        return torch.zeros(())

    monkeypatch.setattr(bcp, "region_loss", recorded)
    method = a_method("bcp", iterations=4)
    method.teacher = says(0.9, 0.1)
    label = torch.tensor([[[1, 0]], [[0, 0]]])
    images = rows([0.11, 0.12], [0.21, 0.22], [0.31, 0.32], [0.41, 0.42])
    batch = Batch(images, images, label)
    (_,) = method.updates(batch, 0)  # pre-training: labelled rows in each other
    seen = method.segmenter.seen  # type: ignore[union-attr]
    torch.testing.assert_close(seen[0], rows([0.11, 0.22], [0.21, 0.12]))
    assert regions == [([[1, 0], [0, 0]], [[True, False]]), ([[0, 0], [1, 0]], [[False, True]])]
    assert not method.teacher.seen
    regions.clear()
    (_,) = method.updates(batch, 1)
    torch.testing.assert_close(seen[1], rows([0.31, 0.22], [0.41, 0.12]))  # unlabelled outside
    torch.testing.assert_close(seen[2], rows([0.11, 0.32], [0.21, 0.42]))  # labelled outside
    assert regions == [
        ([[0, 0], [1, 0]], [[False, True]]),
        ([[1, 0], [0, 0]], [[True, False]]),
        ([[1, 0], [1, 0]], [[True, False]]),
        ([[1, 0], [1, 0]], [[False, True]]),
    ]


def test_bcp_teacher_starts_where_pre_training_ends() -> None:
    method = a_method("bcp", iterations=4)
    method.segmenter, method.teacher = (torch.nn.BatchNorm2d(1) for _ in range(2))  # type: ignore[assignment]
    for step, (value, expected) in enumerate([(5.0, 5.0), (6.0, 0.99 * 5 + 0.06)]):
        torch.nn.init.constant_(method.segmenter.weight, value)
        method.segmenter.running_var.fill_(value)
        method.after_step(step)
        assert method.teacher.weight.item() == pytest.approx(expected)
        assert method.teacher.running_var.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["bcp", "mcnet"])
def test_published_rate_is_constant(name: str) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    for preset, expected in {"reference": 0.01, "default": 0.01 * 0.5**0.9}.items():
        optimizer = torch.optim.SGD([parameter], lr=0.01)
        a_method(name, preset=preset, iterations=4).set_rates({"segmenter": optimizer}, 3)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_largest_component_of_each_class_and_slice() -> None:
    label = torch.tensor(
        [
            [[1, 1, 0, 1], [0, 0, 1, 0], [2, 0, 0, 0]],  # one class-1 component through corners
            [[1, 0, 2, 2], [0, 0, 0, 0], [1, 1, 0, 2]],  # two of each class
        ]
    )
    kept = bcp.largest_components(label)
    assert torch.equal(kept[0], label[0])
    assert kept[1].tolist() == [[0, 0, 2, 2], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert kept.dtype == label.dtype


# ---- MC-Net+ ---------------------------------------------------------------------------------


def test_mcnet_sharpens_each_class_on_its_own() -> None:
    sharp = sharpen(torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), 0.1)
    assert sharp.tolist() == pytest.approx([0.982954, 0.000209, 2.9e-10], abs=1e-6)
    assert sharp[2].item() == pytest.approx(2.9e-10, rel=0.02)
    ends = torch.tensor([0.0, 1.0], requires_grad=True)
    sharpen(ends, 0.1).sum().backward()
    assert ends.grad is not None
    assert torch.isfinite(ends.grad).all()


def test_mcnet_matches_every_decoder_with_the_others() -> None:
    parts = [logits(*p).exp().requires_grad_() for p in ((0.6, 0.4), (0.6, 0.4), (0.5, 0.5))]
    loss = mutual_consistency(parts, 0.1)
    assert loss.item() == pytest.approx(0.779797, abs=1e-6)
    with_gradient = torch.autograd.grad(loss, parts)
    detached = torch.autograd.grad(mutual_consistency(parts, 0.1, detach=True), parts)
    # 2 (p - s) / 2 of each pair: first decoder against the second and the third
    expected = (0.6 - 0.982954) + (0.6 - 0.5)
    assert detached[0][0, 0].item() == pytest.approx(expected, abs=1e-5)
    assert with_gradient[0][0, 0].item() != pytest.approx(expected, abs=1e-2)


def test_mcnet_of_the_toy() -> None:
    method = a_method("mcnet")
    assert isinstance(method, MCNet)
    method.transposed = method.nearest = Decodes()  # type: ignore[assignment]
    numbers = the_update(method, a_batch(TOY, TOY), 0)
    released = numbers["supervised"] / 3 / 2 + 0.5  # their Dice lacks the factor 2
    assert released == pytest.approx(0.563492, abs=1e-6)
    total = 3 * 0.126983 / 2 + 0.1 * 0.0067379 * numbers["unsupervised"]
    assert numbers["loss"] == pytest.approx(total, abs=1e-6)


class Decodes(Reads):
    """Reads the first map."""

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        return super().forward(maps[0])


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "transposed"])
def test_decoders_differ_in_their_upsampling(upsampling: str) -> None:
    torch.manual_seed(0)
    maps = UNet(1, 2).eval().encode(torch.rand(1, 1, 32, 32))
    decoder = Decoder(2, upsampling=upsampling).eval()  # type: ignore[arg-type]
    assert decoder(maps).shape == (1, 2, 32, 32)
    up = decoder.ups[-1]
    seen: list[torch.Tensor] = []
    up.block.register_forward_pre_hook(
        lambda _, inputs, named: seen.append(named["beside"]), with_kwargs=True
    )
    decoder(maps)
    assert seen[0].shape == (1, 16, 32, 32)
    blocks = seen[0].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)  # the four pixels of each 2 x 2
    assert (blocks.amax(4) == blocks.amin(4)).all() == (upsampling == "nearest")
    assert isinstance(up.reduce, torch.nn.ConvTranspose2d) == (upsampling == "transposed")


# ---- ICL -------------------------------------------------------------------------------------


def test_icl_transfers_class_maps_of_the_toy() -> None:
    own, drawn, target = logits(0.8, 0.2), logits(0.6, 0.4), logits(0.7, 0.3)
    for part in (own, drawn, target):
        part.requires_grad_()
    dice = soft_dice_loss(drawn.softmax(dim=1), own.softmax(dim=1))
    assert dice.item() == pytest.approx(0.523802, abs=1e-5)
    loss = transfer_loss([drawn, drawn], [target, target], own, 50)
    assert loss.item() == pytest.approx(1.023802, abs=1e-5)
    loss.backward()
    assert drawn.grad is not None
    assert own.grad is None
    assert target.grad is None


@pytest.mark.parametrize("raw_reshape", [False, True])
def test_icl_classes_do_not_mix_unless_asked_to(raw_reshape: bool) -> None:
    torch.manual_seed(0)
    attention = ClassAttention(
        32, 2, 4, drop_path=0.0, answers=True, raw_reshape=raw_reshape, second_norm=True
    )
    features, query = torch.rand(2, 32, 8, 8), torch.rand(2, 3, 32)
    order = torch.tensor([2, 0, 1])
    maps, answer = attention(features, query)
    turned_maps, turned = attention(features, query[:, order])
    assert maps.shape == (2, 3, 4, 4)
    same = torch.allclose(turned, answer[:, order], atol=1e-6)
    assert same == torch.allclose(turned_maps, maps[:, order], atol=1e-6)
    assert same == (not raw_reshape)


def test_icl_normalises_tokens_twice_unless_asked_not_to() -> None:
    for second in (True, False):
        torch.manual_seed(0)
        attention = ClassAttention(
            32, 2, 4, drop_path=0.0, answers=True, raw_reshape=False, second_norm=second
        ).eval()
        features, query = torch.rand(2, 32, 4, 4), torch.rand(2, 3, 32)
        _, answer = attention(features, query)
        norms = [m for m in attention.modules() if isinstance(m, torch.nn.LayerNorm)]
        of_tokens = [norm for norm in norms if norm.weight.shape == (32,)]
        assert len(of_tokens) == 3 + second  # tokens, queries, answers and tokens again
        if second:
            assert isinstance(attention.second_norm, torch.nn.LayerNorm)
            torch.nn.init.zeros_(attention.second_norm.weight)
            _, blind = attention(features, query)
            _, other = attention(1 - features, query)
            assert torch.equal(blind, other)  # values without tokens
            assert not torch.equal(answer, blind)


def test_icl_heads_learn_queries_or_are_given_them() -> None:
    torch.manual_seed(0)
    features = [torch.rand(2, width, side, side) for width, side in ((128, 2), (64, 4), (32, 8))]
    proxy = ClassHead(3, (2, 4, 8), learns_queries=True)
    assert proxy.start is not None
    assert not proxy.start.any()
    _, queries = proxy(features)
    assert [q.shape for q in queries] == [(2, 3, 128), (2, 3, 64), (2, 3, 32)]
    learner = ClassHead(3, (2, 4, 8), learns_queries=False)
    maps, none = learner(features, [q.mean(dim=0, keepdim=True) for q in queries])
    assert [m.shape for m in maps] == [(2, 3, 2, 2), (2, 3, 4, 4), (2, 3, 8, 8)]
    assert none == []


def test_drop_path_drops_rows_in_training() -> None:
    torch.manual_seed(0)
    drop, x = DropPath(0.5), torch.ones(200, 3)
    kept = drop(x)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(kept.amin(dim=1), kept.amax(dim=1))
    assert torch.equal(drop.eval()(x), x)
