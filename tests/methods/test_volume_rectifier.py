"""Pseudo-labels corrected in whole volumes: their labels, examples and corrections."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffrect.config import TrainConfig, read_config
from diffrect.data.batch import Batch
from diffrect.data.packed import Packed
from diffrect.data.record import SliceIndex
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.data.volumes import TrainingVolumes
from diffrect.earlier_formats import DIFFRECT_OF_FORMAT_2, DIFFRECT_OF_FORMAT_3
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from diffrect.inference.load import load_method
from diffrect.methods.diffrect import volume_labels
from diffrect.methods.diffrect.label_errors import ErrorOptions, random_grid, spoil, warp_labels
from diffrect.methods.diffrect.largest_parts import LargestPart, LargestParts
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.parts import PseudoLabel, PseudoLabels
from diffrect.methods.diffrect.volume_labels import VolumeLabels
from diffrect.methods.diffrect.volume_transports import VolumeTransports
from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.runs import folder as folder_module
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.train import train
from support.runs import lines, same
from support.stubs import a_problem

SIZE = 32
PLACES = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]


def volumes() -> TrainingVolumes:
    """A labelled case of three slices and an unlabelled one of two."""
    images = torch.rand(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).half()
    images[3:, :, 20:23] = 0  # two bright parts, one above the other
    labels = torch.full((5, SIZE, SIZE), IGNORED, dtype=torch.uint8)
    labels[:3] = 0
    labels[:3, 8:20, 8:20] = 1
    case = torch.tensor([0, 0, 0, 1, 1])
    rows = {SliceIndex(*place): number for number, place in enumerate(PLACES)}
    return TrainingVolumes(images, labels, case == 0, case, rows)


class Bright(nn.Module):
    """A teacher that calls bright pixels class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(20.0))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([0.5 - images, images - 0.5], dim=1) * self.slope


def labelled(reach: int = 1, largest_part: LargestPart = True) -> VolumeLabels:
    found = VolumeLabels(classes=2, reach=reach, largest_part=largest_part)
    found.attach(volumes())
    found.label_all(Bright(), torch.empty(0))
    return found


def transports(labels: VolumeLabels, network: LatentRectifier | None = None) -> VolumeTransports:
    kind = "components" if network is None else "volume"
    options = DiffRectOptions(rectifier=kind)  # type: ignore[arg-type]
    return VolumeTransports(network, Bright(), labels, options, iterations=10)


def targets_of(labels: VolumeLabels) -> Tensor:
    assert labels.targets is not None
    return labels.targets.all()


def corrected_of(labels: VolumeLabels) -> Tensor:
    assert labels.corrected is not None
    return labels.corrected.all()


def reduced(labels: VolumeLabels, codes: Tensor) -> Tensor:
    return labels.reduced(Packed.of(codes)).all()


def one_hot(codes: Tensor) -> Tensor:
    return nn.functional.one_hot(codes.long(), 2).movedim(-1, -3).float()


def a_batch(*slices: tuple[str, int], known: int, **changes: Any) -> Batch:
    """Views of some slices that change nothing."""
    rows = torch.tensor([PLACES.index(place) for place in slices])
    images = volumes().images[rows].float()
    geometry = torch.eye(2).expand(len(slices), 2, 2)
    label = volumes().labels[rows[:known]].long()
    settings = {"slices": tuple(SliceIndex(*p) for p in slices), "geometry": geometry, **changes}
    return Batch(images, images, label, **settings)


def pseudo(fresh: Tensor) -> PseudoLabels:
    label = PseudoLabel(fresh, fresh)
    return PseudoLabels(label, label)


# ---- examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_examples_have_truth_in_labelled_rows_and_wide_guidance(reach: int) -> None:
    torch.manual_seed(0)
    made = transports(labelled(reach)).lessons.examples(4, 4, ViewOptions(), ErrorOptions())
    slices = 1 + 2 * reach
    assert made.images.shape == (8, slices, SIZE, SIZE)
    assert made.coarse.shape == (8, slices + 1, 2, SIZE, SIZE)
    assert torch.allclose(made.coarse.sum(2), torch.ones(8, slices + 1, SIZE, SIZE), atol=1e-3)
    assert made.target[:4].sum() > 0
    assert made.guidance.max() - made.guidance.min() > 0.1


def test_the_targets_of_pixels_that_nobody_annotated_are_the_teacher_s() -> None:
    found = labelled()
    known = volumes().labels[torch.arange(5)]
    known[0, :16] = IGNORED
    found.attach(replace(volumes(), labels=known))
    found.remember(found.history[-1])
    targets, teacher_s = targets_of(found), found.parts.reduce(found.history[-1].all()[:3])
    assert targets.max() == 1
    assert torch.equal(targets[0, 16:], known[0, 16:])
    assert torch.equal(targets[0, :16], teacher_s[0, :16])


def test_spoilt_labels_are_shares_still_and_differ() -> None:
    torch.manual_seed(0)
    labels = one_hot(volumes().labels[torch.arange(3)]).unsqueeze(1)
    spoilt = spoil(labels, ErrorOptions())
    assert torch.allclose(spoilt.sum(2), torch.ones(3, 1, SIZE, SIZE), atol=1e-5)
    assert (spoilt.argmax(2) != labels.argmax(2)).any()
    assert torch.equal(labels, one_hot(volumes().labels[torch.arange(3)]).unsqueeze(1))


@pytest.mark.parametrize("size", [2, 3, 9])
def test_labels_of_any_size_can_be_spoilt(size: int) -> None:
    torch.manual_seed(0)
    for _ in range(20):
        labels = one_hot(torch.randint(2, (2, 1, size, size)))
        assert spoil(labels, ErrorOptions(paste=1.0)).shape == (2, 1, 2, size, size)


def test_beyond_the_edges_is_background() -> None:
    labels = one_hot(torch.ones(1, SIZE, SIZE))
    grid = random_grid(1, SIZE, ErrorOptions(elastic=0.0)) + 3
    assert torch.equal(warp_labels(labels, grid).argmax(1), torch.zeros(1, SIZE, SIZE).long())


# ---- corrections ------------------------------------------------------------------------------


def test_corrections_hold_where_the_teacher_still_says_what_was_corrected() -> None:
    found = labelled()
    before = found.history[-1].all()
    found.correct(Packed.of(1 - before))
    fresh = before[[0, 4]].long().clone()
    fresh[1, :16] = 1 - fresh[1, :16]
    batch = a_batch(("a", 0), ("b", 1), known=1)
    rectified = transports(found).rectify(batch, pseudo(fresh))
    assert torch.equal(rectified[0], batch.label[0])
    assert torch.equal(rectified[1], 1 - before[4].long())
    assert found.notes["rectifier_changed"] == 1


def test_corrections_are_seen_through_the_geometry_of_the_view() -> None:
    found = labelled()
    before = torch.zeros(5, SIZE, SIZE, dtype=torch.uint8)
    after = before.clone()
    after[4, 2:5, 3:9] = 1
    found.remember(Packed.of(before))
    found.correct(Packed.of(after))
    flipped = torch.diag(torch.tensor([-1.0, 1.0])).expand(2, 2, 2)
    batch = a_batch(("a", 0), ("b", 1), known=1, geometry=flipped)
    shown = found.shown(batch, torch.zeros(1, SIZE, SIZE).long())
    assert torch.equal(shown[0], after[4].flip(1).long())
    # Enlarged twice about the centre, and shrunk to a half.
    corner = torch.zeros(5, SIZE, SIZE, dtype=torch.uint8)
    corner[4, 8:12, 8:12] = 1
    found.correct(Packed.of(corner))
    for scale, rows in ((0.5, (0, 7)), (2.0, (12, 13))):
        batch = a_batch(("a", 0), ("b", 1), known=1, geometry=torch.eye(2).repeat(2, 1, 1) * scale)
        (seen,) = found.shown(batch, torch.zeros(1, SIZE, SIZE).long())
        where = seen.nonzero()
        assert where.min().item() == rows[0], scale
        assert where.max().item() == rows[1], scale


def test_largest_parts_are_of_a_volume() -> None:
    found = labelled()
    codes = torch.zeros(5, SIZE, SIZE, dtype=torch.uint8)
    codes[0, :3, :3] = codes[1, :3, :3] = 1  # eighteen voxels in two slices
    codes[2, 20:24, 20:24] = 1  # apart from them, and fewer
    codes[3, :3, :3] = codes[4, 20:24, 20:24] = 1  # another volume's, the second is larger
    parts = [found.parts.reduce(volume).sum((1, 2)).tolist() for volume in codes.split([3, 2])]
    assert parts == [[9, 9, 0], [0, 16]]
    assert reduced(found, codes).sum((1, 2)).tolist() == [9, 9, 16, 0, 16]  # labelled ones stay


def test_components_are_the_teacher_s_label_without_its_smaller_parts() -> None:
    found = labelled()
    made = transports(found)
    assert made.prepare(0, rectifying=True) is False  # before the volumes are labelled
    assert made.prepare(2, rectifying=False) is False
    assert made.prepare(3, rectifying=True) is True
    assert torch.equal(corrected_of(found)[3:], reduced(found, found.history[-1].all())[3:])
    assert found.notes["rectifier_changed"] == found.notes["parts_changed"] > 0
    assert 0 < found.notes["parts_agreement"] < 1
    assert not found.notes.keys() & {"diffusion_changed", "latent_sampled"}


def test_parts_nearly_as_large_as_the_largest_may_stay() -> None:
    volume = torch.zeros(1, 1, 12, dtype=torch.uint8)
    volume[0, 0, 0:4], volume[0, 0, 5:7], volume[0, 0, 8:9] = 1, 1, 1  # parts of 4, 2 and 1
    kept = {
        least: LargestParts(True, 2, (), least).reduce(volume).sum().item()
        for least in (0.0, 0.2, 0.5, 0.6, 1.0)
    }
    assert kept == {0.0: 7, 0.2: 7, 0.5: 6, 0.6: 4, 1.0: 4}


def test_auto_reduces_the_classes_that_are_one_part_in_every_labelled_volume() -> None:
    known = torch.zeros(6, 8, 8, dtype=torch.uint8)
    known[:3, :4, :4] = 1  # one part, in both volumes
    known[3:, :5, :4] = 1
    known[0, 6, 6] = 1  # but for a speck: 48 of 49 pixels
    known[0, 6, :2] = known[2, 6, :2] = 2  # two parts
    known[5, 7] = 3  # one part, where it is at all
    parts = LargestParts("auto", 5, known.split(3))
    assert parts.reduced == {1, 3}
    assert parts.shares == {1: pytest.approx(48 / 49), 2: 0.5, 3: 1.0}
    assert parts.explained(("background", "heart", "lungs", "spleen", "liver")) == (
        "corrected pseudo-labels keep only the largest connected part of heart (98.0 %), spleen "
        "(100.0 %) and keep all parts of lungs (50.0 %), liver (not in the labels); per cent of a "
        "class that are one part, 95% at least to be reduced"
    )
    assert torch.equal(parts.reduce(known[:3])[0, 6], torch.tensor([2, 2, 0, 0, 0, 0, 0, 0]).byte())
    assert LargestParts(True, 3, ()).reduced == {1, 2}
    assert LargestParts(False, 3, ()).explained(("background", "a", "b")) == (
        "corrected pseudo-labels keep all parts of a, b"
    )


def a_heart() -> Tensor:
    """Two touching classes of 12 and 4 voxels in a volume (2, 8, 12)."""
    volume = torch.zeros(2, 8, 12, dtype=torch.uint8)
    volume[:, :3, :2] = 1
    volume[:, :2, 2] = 2
    return volume


def test_only_the_part_of_the_foreground_that_holds_most_classes_may_stay() -> None:
    volume = a_heart()
    volume[:, 5:, 3:] = 1  # 54 voxels far away: the largest part of its class by far
    parts = LargestParts("auto", 3, [a_heart()], 0.5, joined="auto")
    assert parts.joined
    assert torch.equal(parts.reduce(volume), a_heart())
    apart = LargestParts("auto", 3, [a_heart()], 0.5)
    assert not apart.joined
    assert apart.reduce(volume)[:, 5:, 3:].all()  # and the class itself is gone
    assert parts.explained(("background", "cavity", "wall")).startswith(
        "corrected pseudo-labels keep only the largest connected parts of cavity (100.0 %), wall "
        "(100.0 %) and keep only one connected part of them all (100.0 %)"
    )


def test_classes_that_lie_apart_in_a_labelled_volume_are_not_joined() -> None:
    apart = a_heart()
    apart[:, :2, 2], apart[:, :2, 9] = 0, 2
    for known, joined in (([a_heart()], True), ([a_heart(), apart], False), ([], False)):
        assert LargestParts(False, 3, known, joined="auto").joined == joined
    one_class = (a_heart() == 1).byte()
    assert not LargestParts("auto", 2, [one_class], joined="auto").joined  # its parts say it all
    assert LargestParts(False, 3, (), joined=True).removes


def test_nothing_is_left_of_no_foreground() -> None:
    nothing = torch.zeros(2, 8, 12, dtype=torch.uint8)
    assert torch.equal(LargestParts(True, 3, (), joined=True).reduce(nothing), nothing)
    unknown = torch.full((2, 8, 12), IGNORED, dtype=torch.uint8)
    assert LargestParts("auto", 3, [nothing, unknown], joined="auto").joined_share is None


def test_pseudo_labels_of_unlabelled_volumes_are_joined() -> None:
    found = VolumeLabels(3, 1, False, joined=True)
    found.attach(volumes())
    codes = torch.zeros(5, SIZE, SIZE, dtype=torch.uint8)
    codes[3, :3, :3], codes[3, 3, :3] = 1, 2
    codes[4, 20:30, 20:30] = 1
    assert reduced(found, codes)[3:].flatten(1).count_nonzero(dim=1).tolist() == [12, 0]


def test_slices_that_nobody_annotated_divide_a_volume_and_join_no_parts() -> None:
    known = torch.full((7, 8, 8), IGNORED, dtype=torch.uint8)
    known[[0, 3, 6]] = 0  # each annotated slice is judged apart
    known[[0, 3, 6], :3, :3] = 1  # a heart in each
    known[[0, 3, 6], 5:, :2] = known[[0, 3, 6], 5:, 6:] = 2  # lungs in each
    known[3, 5:, 2:6] = IGNORED  # what lies between them is not known
    assert LargestParts("auto", 3, [known]).reduced == {1}


def test_auto_holds_for_targets_and_for_what_is_corrected() -> None:
    known = volumes().labels[torch.arange(5)]
    known[:3, 24:, 24:] = 1  # a second part
    found = VolumeLabels(classes=2, reach=1, largest_part="auto")
    found.attach(replace(volumes(), labels=known))
    found.label_all(Bright(), torch.empty(0))
    made = transports(found)
    made.correct_all(made.rectifier)
    assert found.parts.reduced == set()
    assert torch.equal(targets_of(found)[3:], found.history[-1].all()[3:])
    assert torch.equal(corrected_of(found)[3:], found.history[-1].all()[3:])
    assert found.notes["parts_changed"] == 0


@pytest.mark.parametrize("largest_part", [True, False])
def test_a_rectifier_that_changes_nothing_leaves_the_teacher_s_label(largest_part: bool) -> None:
    found = labelled(largest_part=largest_part)
    network = LatentRectifier(1, 2)
    for parameter in network.denoiser.correction.parameters():
        nn.init.zeros_(parameter)
    changes = DIFFRECT_OF_FORMAT_3 | {"largest_part": largest_part}  # the difference, not the label
    options = DiffRectOptions(rectifier="volume", **changes)
    made = VolumeTransports(network, Bright(), found, options, iterations=10)
    before = torch.get_rng_state()
    made.correct_all(made.rectifier)
    assert not torch.equal(torch.get_rng_state(), before)  # the noise it starts from
    expected = found.history[-1].all()
    if largest_part:
        expected = reduced(found, expected)
    assert torch.equal(corrected_of(found)[3:], expected[3:])
    assert network.training
    assert found.notes["diffusion_changed"] == 0
    assert found.notes["diffusion_agreement"] == 1
    assert (found.notes["parts_changed"] > 0) == largest_part
    assert found.notes["latent_sampled"] == pytest.approx(found.notes["latent_coarse"])


def test_a_training_resumes_with_the_labels_it_had() -> None:
    found = labelled()
    found.label_all(lambda images: -Bright()(images), torch.empty(0))
    found.correct(Packed.of(targets_of(found)))
    other = VolumeLabels(classes=2, reach=1)
    other.set_extra_state(found.get_extra_state())  # without slices there is no use for them
    assert not other.history
    other.attach(volumes())
    other.set_extra_state(found.get_extra_state())
    assert same(other.get_extra_state(), found.get_extra_state())
    assert same([m.all() for m in other.means], [m.all() for m in found.means])
    assert torch.equal(targets_of(other), targets_of(found))
    earlier = {  # checkpoints held plain tensors
        "history": [codes.all() for codes in found.history],
        "corrected": corrected_of(found),
        "notes": found.notes,
    }
    other.set_extra_state(earlier)
    assert same(other.get_extra_state(), found.get_extra_state())


# ---- the method -------------------------------------------------------------------------------


def method(iterations: int = 10, channels: int = 1, **options: Any) -> DiffRect:
    torch.manual_seed(0)
    problem = a_problem(channels, classes=2, iterations=iterations, size=SIZE)
    earlier = {**DIFFRECT_OF_FORMAT_2, "rectifier": "volume", "rectify_share": 1 / 3}
    made = DiffRect(problem, DiffRectOptions(**{**earlier, **options}))
    made.attach(volumes())
    return made.train()


@pytest.mark.parametrize(
    ("target", "update", "dtype"),
    [
        ("teacher", "joint", torch.float32),
        ("rectified", "joint", torch.float64),
        ("rectified", "separate", torch.float32),
    ],
)
def test_an_iteration_of_each_phase(target: str, update: str, dtype: torch.dtype) -> None:
    made = method(
        relabel_from=0.2,
        relabel_share=0.3,
        rectify_from=4,
        consistency_target=target,
        rectification_update=update,
    )
    made.to(dtype)
    batch = a_batch(("a", 0), ("a", 1), ("b", 0), ("b", 1), known=2)
    batch = replace(batch, weak=batch.weak.to(dtype), strong=batch.strong.to(dtype))
    found = {step: list(made.updates(batch, step)) for step in (0, 2, 3, 4)}
    third = ["segmenter"] * (update == "separate")
    assert {step: [u.name for u in updates] for step, updates in found.items()} == {
        0: ["segmenter"],
        2: ["segmenter", "rectifier"],
        3: ["segmenter"],
        4: ["segmenter", "rectifier", *third],
    }
    assert "rectifier_changed" in found[4][0].logs
    assert found[2][1].loss.isfinite()


@pytest.mark.parametrize(
    ("left_out", "learned"),
    [
        ({"coarse_to_fine": False}, {"rectifier_supervised"}),
        ({"fine_to_precise": False}, {"rectifier_unsupervised"}),
        ({"guidance": "none"}, {"rectifier_supervised", "rectifier_unsupervised"}),
    ],
)
def test_parts_of_what_the_rectifier_learns_can_be_left_out(
    left_out: dict[str, Any], learned: set[str]
) -> None:
    made = method(relabel_from=0.0, **left_out)
    batch = a_batch(("a", 0), ("a", 1), ("b", 0), ("b", 1), known=2)
    logs = list(made.updates(batch, 0))[1].logs
    losses = {"rectifier_supervised", "rectifier_unsupervised"}
    assert logs.keys() & losses == learned
    assert torch.as_tensor(logs["rectifier_total"]).isfinite()
    if "guidance" in left_out:
        assert logs["guidance_weak_to_label"] == logs["guidance_strong_to_weak"] == 0
        assert isinstance(made.transports, VolumeTransports)
        assert made.transports.given.tolist() == [0.0]


@pytest.mark.parametrize("seen", [True, False])
def test_the_rectifier_of_volumes_sees_images_or_black(seen: bool) -> None:
    rectifier = method(rectifier_image=seen).rectifier.eval()
    assert isinstance(rectifier, LatentRectifier)
    one, other = (rectifier.encode_images(torch.rand(1, 3, SIZE, SIZE))[0] for _ in range(2))
    assert torch.equal(one, other) is not seen


@pytest.mark.parametrize(
    ("size", "classes", "channels", "piece"), [(8, 2, 1, 2**26), (9, 254, 3, 1), (40, 5, 2, 2**14)]
)
def test_single_pictures_of_any_size_classes_and_channels(
    size: int, classes: int, channels: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases of one slice have no neighbours; shares of many classes are made piece by piece."""
    monkeypatch.setattr(volume_labels, "PIECE", piece)
    torch.manual_seed(0)
    images, labels = torch.rand(4, channels, size, size), torch.randint(classes, (4, size, size))
    labels[2:] = IGNORED
    rows = {SliceIndex(str(number), 0): number for number in range(4)}
    known = torch.arange(4) < 2
    options = DiffRectOptions(rectifier="volume", relabel_from=0.0, rectify_from=0)
    made = DiffRect(a_problem(channels, classes, iterations=4, size=size), options)
    made.attach(TrainingVolumes(images.half(), labels.byte(), known, torch.arange(4), rows))
    geometry = torch.eye(2).expand(4, 2, 2)
    batch = Batch(images, images, labels[:2], slices=tuple(rows), geometry=geometry)
    updates = list(made.train().updates(batch, 0))
    assert [update.name for update in updates] == ["segmenter", "rectifier"]
    for update in updates:
        update.loss.backward()
        assert update.loss.isfinite()


def test_the_diffusion_corrects_from_its_share_of_the_training_on() -> None:
    made = method(relabel_from=0.2, relabel_share=0.2, rectify_from=2, diffusion_from=0.6)
    batch = a_batch(("a", 0), ("b", 0), known=1)
    found = {step: next(iter(made.updates(batch, step))).logs for step in (2, 4, 6)}
    assert all("rectifier_changed" in logs for logs in found.values())
    assert ["diffusion_changed" in logs for logs in found.values()] == [False, False, True]


def test_the_first_update_may_learn_rectified_labels() -> None:
    batch = a_batch(("a", 0), ("b", 0), known=1)
    losses = []
    for target in ("teacher", "rectified"):
        made = method(rectifier="components", relabel_share=1.0, consistency_target=target)
        assert made.volumes is not None
        made.volumes.label_all(made.segmenter.eval(), torch.empty(0))
        made.volumes.correct(Packed.of(1 - made.volumes.history[-1].all()))
        made.train()
        torch.manual_seed(1)
        losses.append(next(iter(made.updates(batch, 4))).loss)
    assert not torch.equal(*losses)


def test_the_control_has_no_second_update_and_rectification_begins_later_in_volumes() -> None:
    made = method(rectifier="components")
    batch = a_batch(("a", 0), ("b", 0), known=1)
    names = {step: [u.name for u in made.updates(batch, step)] for step in (2, 3, 4)}
    assert names == {step: ["segmenter"] for step in (2, 3, 4)}
    assert made.volumes is not None
    assert made.volumes.corrected is not None
    assert made.rectify_from == 3
    assert DiffRectOptions().start(30000) == 10_000


def test_the_rectifier_s_rate_rises_then_decays() -> None:
    made = method(iterations=1000, relabel_from=0.1)
    optimizers = made.optimizers()
    rates = []
    for step in (0, 100, 130, 160, 900):
        made.set_rates(optimizers, step)
        rates.append(optimizers["rectifier"].param_groups[0]["lr"])
    assert rates[0] == 0
    assert 0 < rates[1] < rates[2] < rates[3] < 1e-3
    assert rates[4] < rates[3]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"teacher_decay": 0.0}, "teacher_decay: expected above 0 with rectifier=volume"),
        ({"least_part": 1.5}, "least_part: expected a number from 0 to 1"),
        ({"given_guidance": 2.0}, "given_guidance: expected a number from 0 to 1"),
        ({"decoded_share": -0.5}, "decoded_share: expected a number from 0 to 1"),
        ({"relabel_from": -0.1}, "relabel_from: expected a number from 0 to 1"),
        ({"neighbours": -1}, "neighbours: expected at least 0"),
        (
            {"rectifier": "components", "largest_part": False, "joined_foreground": False},
            "largest_part: expected auto or true with rectifier=components",
        ),
    ],
)
def test_contradictions_are_one_line(options: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        DiffRectOptions(**{"rectifier": "volume", **options})


# ---- the training loop ------------------------------------------------------------------------

OPTIONS = {
    "relabel_from": 0.25,
    "relabel_share": 1.0,
    "rectify_from": 1,
    "diffusion_from": 0.25,
    "rectifier_interval": 1,
}


def config(precision: str, **options: Any) -> TrainConfig:
    settings = dict(size=32, iterations=4, validate_every=2, batch_labelled=2, precision=precision)
    return TrainConfig(**settings, options={**OPTIONS, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rectifier", "precision"), [("volume", "bf16-mixed"), ("components", "32-true")]
)
def test_a_stopped_training_resumes_to_the_same_weights(
    store: Store,
    tmp_path: Path,
    rectifier: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder_module, "ROOM", 10**9)  # or there would be no previous.pt
    asked = config(precision, rectifier=rectifier)
    whole = train(store.path, tmp_path / "whole", asked, progress=False)
    half = Path(shutil.copytree(whole, tmp_path / "half"))
    checkpoint_path(half, "previous").replace(checkpoint_path(half, "last"))
    train(store.path, half, read_config(half / "config.yaml"), resume=True, progress=False)
    mine, theirs = (load_checkpoint(checkpoint_path(run, "last")) for run in (half, whole))
    assert same(mine, theirs)
    assert lines(half) == lines(whole)
    assert mine["method"]["volumes._extra_state"]["corrected"] is not None
    assert load_method(whole, "last").step == 4
    (remark,) = [line for line in lines(half) if line["kind"] == "remark"]
    assert remark["text"].startswith("corrected pseudo-labels keep only the largest connected part")
    noted = next(line for line in lines(whole) if "parts_changed" in line)
    assert ("latent_sampled" in noted) == (rectifier == "volume")
