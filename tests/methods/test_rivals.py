"""What every method has to do: learn, resume bit for bit, take other classes and channels."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diffrect.config import TrainConfig
from diffrect.data.batch import Batch, RawBatch
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.data.views import make_batch
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from diffrect.inference.load import load_method
from diffrect.methods.base import Method, Problem
from diffrect.methods.incl import INCL
from diffrect.methods.registry import METHODS, complete, find_method, resolve
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from diffrect.runs.resume import TrainingState
from diffrect.training.checkpoints.state import restore, state_of
from diffrect.training.train import Trainer, train
from support.stubs import a_problem

RIVALS = sorted(METHODS.keys() - {"diffrect", "supervised"})
CONFIG = TrainConfig(size=32, iterations=4, batch_labelled=1, batch_unlabelled=2)
UNIMATCHES = {"unimatch", "crossmatch", "unimatch_v2"}
SEEN_WEAK_ALONE = {"supervised", "mean_teacher", "uamt", "ict", "cps", "mcnet", "incl", "bcp"}


def make(name: str, problem: Problem, **options: Any) -> Method:
    torch.manual_seed(0)
    if name == "diffrect":  # the rectifier that needs no volumes; test_volume_rectifier has that
        options = {"rectifier": "slice", "rectifier_interval": 2, **options}
    resolved = resolve(TrainConfig(method=name, options=options))
    return resolved.method(problem, resolved.method_options).train()


def tiny_batch(
    name: str, channels: int, classes: int, rows: tuple[int, int] = (2, 3), size: int = 32
) -> Batch:
    """A random batch at `size` x `size` with the views that the method reads."""
    torch.manual_seed(1)
    resolved = resolve(TrainConfig(method=name))
    labels = torch.zeros(rows[0], 32, 32, dtype=torch.uint8)
    labels[:, 8:24, 8:24] = 1
    labels[:, 12:16, 12:20] = classes - 1
    images = torch.rand(sum(rows), channels, 32, 32) / 2
    images[: rows[0]] += labels[:, None] / (2 * classes)
    raw = RawBatch(images, labels, torch.full((sum(rows), 2), 32))
    views = resolved.view_options
    return make_batch(raw, size, views, torch.float32, resolved.method.strong_views)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_ten_steps_lower_the_loss(name: str) -> None:
    # The weight of AD-MT's loss is large as soon as there are sure pixels.
    options = {"threshold": 0.0} if name == "ad_mt" else {}
    method = make(name, a_problem(1, 4, 60, rate=0.05, size=32), **options)
    batch = tiny_batch(name, 1, 4, (2, 2))
    optimizers = method.optimizers()
    losses: dict[str, list[float]] = {}
    for step in range(20, 32):  # BCP is past its pre-training then, DiffRect rectifies
        torch.manual_seed(step)
        for number, update in enumerate(method.updates(batch, step)):
            optimizers[update.name].zero_grad()
            update.loss.backward()
            optimizers[update.name].step()
            losses.setdefault(f"{number} {update.name}", []).append(update.loss.item())
            if number == 0:
                losses.setdefault("labels", []).append(float(update.logs["supervised"]))
            if name in RIVALS:
                assert set(update.logs) >= {"supervised", "unsupervised", "segmenter_total"}
        method.after_step(step)
    assert len(losses) == (3 if name == "diffrect" else 2)
    for name_of_loss, values in losses.items():
        assert len(values) == (6 if name_of_loss.endswith("rectifier") else 12)
        assert values[-1] < 0.97 * values[0], name_of_loss


@pytest.mark.parametrize("name", RIVALS)
def test_resumed_equals_uninterrupted(name: str, store: Store, tmp_path: Path) -> None:
    config = complete(replace(CONFIG, method=name))
    split, path = resolve_split(store), checkpoint_path(tmp_path, "best")

    def trainer() -> Trainer:
        return Trainer(store, tmp_path, config, split)

    whole = trainer()
    start = {key: value.clone() for key, value in whole.method.state_dict().items()}
    for step in range(3):
        whole.iteration(whole.batches[step])
        if step == 1:
            save_checkpoint(state_of(whole).to_dict(), path)
    halves = trainer()
    restore(halves, TrainingState.from_dict(load_checkpoint(path)))
    assert halves.step == 2
    predictor = halves.method.predictor.state_dict()
    loaded = load_method(tmp_path).method.predictor.state_dict()
    assert all(torch.equal(loaded[key], predictor[key]) for key in predictor)
    halves.iteration(halves.batches[2])
    expected, got = whole.method.state_dict(), halves.method.state_dict()
    assert expected.keys() == got.keys()
    assert [k for k in expected if not torch.equal(expected[k], got[k])] == []
    trained = {name for name, p in whole.method.named_parameters() if p.requires_grad}
    assert [k for k in trained if torch.equal(expected[k], start[k])] == []  # each learns


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize(("rows", "size"), [((2, 3), 32), ((1, 1), 32), ((5, 2), 40)])
def test_two_classes_two_channels_any_rows_and_size_mixed_precision(
    name: str, rows: tuple[int, int], size: int
) -> None:
    method = make(name, a_problem(2, 2, 4, size=size))
    batch = tiny_batch(name, 2, 2, rows, size)
    for step, mixed in ((0, False), (3, True)):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            updates = list(method.updates(batch, step))
        for update in updates:
            update.loss.backward()
            assert torch.isfinite(update.loss)
        method.after_step(step)
    with torch.no_grad():
        assert method.predictor(batch.weak).shape == (sum(rows), 2, size, size)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_open_pixels_count_in_no_loss_of_labels(name: str) -> None:
    """Of labels that nobody has drawn there is nothing to learn."""
    method, batch = make(name, a_problem(1, 3, 4, size=32)), tiny_batch(name, 1, 3, (2, 2))
    open_batch = replace(batch, label=torch.full_like(batch.label, IGNORED))
    if batch.second is not None:
        open_batch = replace(open_batch, second=replace(batch.second, label=open_batch.label))
    for step in (0, 3):  # BCP is past its pre-training then, DiffRect rectifies
        for update in method.updates(open_batch, step):
            for loss in ("supervised", "labelled_maps", "rectifier_supervised"):
                assert float(update.logs.get(loss, 0)) == 0, loss
            update.loss.backward()
        gradients = [p.grad for p in method.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", ["mean_teacher", "bcp"])
def test_a_single_pixel_without_statistics_is_explained(
    name: str, store: Store, tmp_path: Path
) -> None:
    config = replace(CONFIG, method=name, size=16, batch_unlabelled=1)
    message = rf"^--size 16 .*: expected at least 2 slices of 16 x 16 .* pass of method {name}"
    with pytest.raises(InputError, match=message):
        train(store.path, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", RIVALS)
def test_nothing_is_learned_through_targets_or_a_teacher(name: str) -> None:
    method = make(name, a_problem(1, 2, 4, size=32))
    for teacher in (getattr(method, name, None) for name in ("teacher", "second_teacher")):
        assert teacher is None or not any(p.requires_grad for p in teacher.parameters())
    assert method.predictor is method.segmenter


@pytest.mark.parametrize("name", ["supervised", *RIVALS])
def test_views_are_those_of_the_publication(name: str) -> None:
    method, views = find_method(name), resolve(TrainConfig(method=name)).view_options
    batch = tiny_batch(name, 1, 2)
    if name in SEEN_WEAK_ALONE:
        assert method.strong_views == 0
        assert batch.strong is batch.weak
        assert batch.pasted is None
    else:
        assert not torch.equal(batch.strong, batch.weak)
        assert (views.cutmix_probability > 0) == (name in UNIMATCHES)
    changed = resolve(TrainConfig(method=name, options={"rotation_degrees": 5}))
    assert changed.view_options.rotation_degrees == 5
    reference = resolve(TrainConfig(method=name, preset="reference")).view_options
    assert reference.interpolation == "nearest"
    if name == "supervised":  # seen as the method is to which it is compared
        assert reference.geometry == "authors"
    else:
        older = name in {"mcnet", "incl", "bcp", "ad_mt", "abd", "beta_fft", *UNIMATCHES}
        assert reference.rotation_probability == (0.5 if older else 1)
        assert reference.turn_probability == (1 if name == "fixmatch" else 0.5)
        assert reference.geometry == "single"
        assert reference.eight_bit == (name in {"fixmatch", *UNIMATCHES})


def test_unimatch_sees_two_views_with_boxes_of_unlabelled_rows() -> None:
    batch = tiny_batch("unimatch", 1, 2, (3, 3))
    assert batch.second is not None
    assert torch.equal(batch.second.weak, batch.weak)
    assert not torch.equal(batch.second.strong, batch.strong)
    assert batch.partner is not None
    assert batch.second.partner is not None
    for partner in (batch.partner[3:], batch.second.partner[3:]):
        assert (partner >= 3).all()
        assert (partner != torch.arange(3, 6)).all()
    plain = make_batch(
        RawBatch(torch.rand(2, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8),
                 torch.full((2, 2), 8)), 8, ViewOptions(), torch.float32
    )  # fmt: skip
    assert plain.second is None


def test_all_labels_train_supervised_and_nothing_else(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, iterations=1, labelled="100%", method="supervised")
    train(store.path, tmp_path / "run", config, progress=False)
    state = load_checkpoint(checkpoint_path(tmp_path / "run", "last"))
    assert set(state["split"]["labelled"]) == set(state["split"]["train"])
    message = r"--method cps: expected unlabelled training patients, found labels of all 3; train"
    with pytest.raises(InputError, match=message) as caught:
        train(store.path, tmp_path / "no", replace(config, method="cps"), progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("mean_teacher", "consistency_from", 1.1),
        ("mean_teacher", "teacher_decay", -0.1),
        ("uamt", "passes", 3),
        ("uamt", "passes", 0),
        ("fixmatch", "threshold", 2.0),
        ("fixmatch", "consistency_weight", -1.0),
        ("ict", "mixing", 0.0),
        ("ict", "ramp_stairs", 0),
        ("cps", "cross_rows", "labelled"),
        ("mcnet", "temperature", 0.0),
        ("incl", "token_grid", 0),
        ("incl", "drop_path", 1.0),
        ("unimatch", "feature_dropout", 1.0),
        ("unimatch", "strong_weight", -1.0),
        ("bcp", "box_share", 1.5),
        ("bcp", "unlabelled_weight", float("nan")),
        ("ad_mt", "longest_turn", 0),
        ("ad_mt", "copy_share", 1.1),
        ("crossmatch", "strong_dropout", 1.0),
        ("crossmatch", "crossed_share", -0.1),
        ("unimatch_v2", "labelled_loss", "dice"),
        ("abd", "grid", 0),
        ("beta_fft", "mixing", 0.0),
        ("beta_fft", "ramp_share", 1.5),
        ("beta_fft", "cross_weight", -1.0),
        ("abd", "box_share", 1.5),
    ],
)
def test_options_out_of_range_are_named(name: str, option: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"--option .*{option}: expected"):
        resolve(TrainConfig(method=name, options={option: value}))


def test_a_smaller_token_grid_makes_a_smaller_head() -> None:
    full = make("incl", a_problem(1, 3, 4, size=64))
    small = make("incl", a_problem(1, 3, 4, size=64), token_grid=8)
    assert isinstance(full, INCL)
    tokens = {64 // part: 2 * ((64 // part) ** 4 + (64 // part) ** 2) for part in (8, 4, 2)}
    norms = {side: 2 * side**2 for side in tokens}
    counted = [
        sum(p.numel() for p in scale.map_mlp.parameters()) for scale in full.labelled_head.scales
    ]
    assert counted == [tokens[side] + norms[side] for side in (8, 16, 32)]
    assert (
        sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in full.parameters()) / 2
    )


def test_the_table_of_methods_names_all_options() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "methods.md").read_text("utf-8")
    table = {
        re.findall(r"`(\w+)`", line)[0]: re.findall(r"`(\w+)` ([\w./]+)", line.split("|")[4])
        for line in page.splitlines()
        if re.match(r"\| `\w+`.* \|.*\d{4} \|", line)
    }
    assert set(table) == {*RIVALS, "diffrect"}
    for name in RIVALS:
        options = vars(find_method(name).Options())
        written = {
            "2/3": 2 / 3,
            "1/300": 1 / 300,
            "15/64": 15 / 64,
            "null": None,
            "true": True,
            "false": False,
        }
        for option, value in table[name]:
            text = written.get(value, value)
            assert options[option] == text or str(options[option]) in (text, f"{text}.0"), option
        shared = {"supervised_weight", "consistency_weight", "ramp_stairs", "ramp_share"}
        assert options.keys() - dict(table[name]).keys() <= shared, name


AS_DIFFRECT = {
    "cutmix_probability": 1.0,
    "threshold": 0.0,
    "teacher_decay": 0.99,
    "forward": "joint",
    "labelled_views": "both",
    "ramp_share": 1.0,  # `ramp_least` of 450 iterations is all of a short training
}


@pytest.mark.parametrize("statistics", ["own", "student"])
def test_fixmatch_with_the_frame_of_diffrect_is_diffrect_without_rectification(
    statistics: str, store: Store, tmp_path: Path
) -> None:
    """Update by update, to the last bit: what is compared to it is worth what it rectifies."""
    shared = {"teacher_statistics": statistics}
    options = {"fixmatch": AS_DIFFRECT | shared, "diffrect": {"rectification": False} | shared}
    configs = [
        complete(replace(CONFIG, method=name, options=given)) for name, given in options.items()
    ]
    split = resolve_split(store)
    rival, ours = (Trainer(store, tmp_path, config, split) for config in configs)
    assert rival.views == ours.views
    for step in range(3):
        logs = [trainer.iteration(trainer.batches[step]) for trainer in (rival, ours)]
        for name in ("supervised", "unsupervised", "consistency_weight", "segmenter_total"):
            assert float(logs[0][name]) == float(logs[1][name])
        expected, got = ours.method.state_dict(), rival.method.state_dict()
        assert {name.split(".")[0] for name in got} == {"segmenter", "teacher"}
        assert [name for name in got if not torch.equal(got[name], expected[name])] == []
    for one, two in zip(
        rival.predictor.state_dict().values(), ours.predictor.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
    assert rival.predictor is not rival.method.segmenter
    assert not rival.predictor.training
