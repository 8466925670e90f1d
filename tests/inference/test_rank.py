"""The order in which unlabelled patients are worth annotating: measures, orders, mistakes."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import diffrect
from diffrect.cli.main import main
from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.inference.load import load_method
from diffrect.inference.ranking.deepest import distances, watching
from diffrect.inference.ranking.doubt import (
    AUGMENTATION,
    DISAGREEMENT,
    ENTROPY,
    CaseDoubt,
    Doubt,
    difference_of,
    entropy_of,
    pooled_share,
    spread_of,
)
from diffrect.inference.ranking.opinions import opinions_of, other_network
from diffrect.inference.ranking.order import by_value, cover, k_centre, percentiles
from diffrect.inference.ranking.rank import rank
from diffrect.inference.ranking.result import explain
from diffrect.networks.unet import UNet
from diffrect.training.train import train
from support.pages import check_is_alone
from support.runs import train_rectifier
from support.tiny import scan, write_nifti

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_rectifier(store, tmp_path_factory.mktemp("runs") / "volume")


# ---- measures ---------------------------------------------------------------------------------


def shares(*pixels: tuple[float, ...]) -> torch.Tensor:
    """Probabilities (1, classes, 1, pixels)."""
    return torch.tensor(pixels).T[None, :, None]


def test_entropy_is_weighed_against_the_foreground():
    sure = shares((1.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    amount, size = entropy_of(sure)
    assert (amount[0], size[0]) == (0, 1)
    half = shares((0.5, 0.5), (0.0, 1.0), (1.0, 0.0))
    amount, size = entropy_of(half)
    assert (amount[0], size[0]) == pytest.approx((1, 2.5))
    even = shares((1 / 3, 1 / 3, 1 / 3))
    amount, size = entropy_of(even)
    assert (amount[0], size[0]) == pytest.approx((1, 5 / 3))


def test_doubt_about_what_may_be_missed_counts():
    found = [(0.0, 1.0)] * 50
    (low, one), (high, two) = (
        entropy_of(shares(*found, *[(background, 1 - background)] * 50))
        for background in (0.999, 0.7)
    )
    assert low / one < 0.02
    assert high / two > 0.3


def test_disagreement_is_one_less_dice_of_soft_labels():
    one, other = shares((0.0, 1.0), (0.0, 1.0), (1.0, 0.0)), shares((0.0, 1.0), (1.0, 0.0), (1, 0))
    amount, size = difference_of(one, other)
    assert amount[0] / size[0] == pytest.approx(1 - 2 / 3)
    amount, size = difference_of(one, one)
    assert amount[0] == 0
    amount, _ = difference_of(shares((0, 1.0, 0)), shares((0, 0, 1.0)))
    assert amount[0] == 2  # another class, not only foreground or none


def test_views_are_compared_with_their_mean():
    amount, size = spread_of([shares((0.0, 1.0)), shares((1.0, 0.0))])
    assert (amount[0], size[0]) == pytest.approx((0.5, 1))
    amount, _ = spread_of([shares((0.3, 0.7))] * 3)
    assert amount[0] == pytest.approx(0)


def case(name: str, patient: str, amount: list[float], size: list[float]) -> CaseDoubt:
    doubt = Doubt(np.array(amount), np.array(size))
    return CaseDoubt(name, patient, {ENTROPY: doubt}, np.zeros((len(amount), 2)))


def test_slices_contribute_to_their_case_and_cases_to_their_patient():
    one, two = case("a1", "a", [1, 3], [4, 4]), case("a2", "a", [0], [8])
    assert one.of_slices(ENTROPY).tolist() == [0.25, 0.75]
    assert one.of_slices(ENTROPY).mean() == pooled_share([one], ENTROPY) == 0.5
    assert pooled_share([one, two], ENTROPY) == 0.25


def test_the_deepest_map_is_the_bottleneck_of_a_u_net():
    network = UNet(2, 3, (4, 6, 8, 10, 12)).eval()
    images = torch.rand(2, 2, 48, 48)
    with watching(network) as deepest:
        network(images)
        pooled = deepest.pooled()
    expected = network.encode(images)[-1].mean(dim=(2, 3))
    assert pooled == pytest.approx(expected.detach().numpy(), abs=1e-6)
    assert pooled.shape == (2, 12)
    assert not network.encoder.blocks[0]._forward_hooks


def test_a_map_of_one_pixel_counts_only_if_there_is_no_other():
    squeeze = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.AdaptiveAvgPool2d(1))
    with watching(squeeze) as deepest:
        squeeze(torch.rand(1, 1, 9, 9))
        assert deepest.pooled().shape == (1, 3)
        deepest.forget()
        squeeze[1](torch.rand(1, 5, 9, 9))
        assert deepest.pooled().shape == (1, 5)
    with watching(nn.Identity()) as deepest:
        assert deepest.pooled().shape == (1, 0)


# ---- orders -----------------------------------------------------------------------------------

# Two groups on a line, and a lonely one; the labelled one is at 0.
PLACES = np.array([[1.0], [1.1], [1.2], [5.0], [5.1], [9.0]])
BETWEEN, NEAREST = distances(PLACES, PLACES), distances(PLACES, np.zeros((1, 1)))[:, 0]


def test_percentiles_share_equal_places():
    assert percentiles(np.array([3.0, 1.0, 1.0, 9.0])).tolist() == [0.75, 0.375, 0.375, 1.0]


def test_k_centre_takes_the_farthest_from_all_earlier_ones():
    choices = k_centre(BETWEEN, NEAREST)
    assert [c.who for c in choices[:3]] == [5, 3, 2]
    assert [c.score for c in choices[:3]] == pytest.approx([1, 4 / 9, 1.2 / 9])
    assert sorted(c.who for c in choices) == list(range(6))
    assert k_centre(BETWEEN, None)[0].who in (2, 3)  # nobody is labelled: the most central


def test_cover_takes_one_of_a_kind():
    even = cover(np.ones(6), BETWEEN, NEAREST)
    assert [c.who for c in even[:2]] == [4, 5]  # then the lonely one, for 3 is like 4
    assert even[0].nearer == 2
    total = NEAREST.sum()
    left = np.minimum(NEAREST, BETWEEN[4])
    assert even[0].score == pytest.approx((total - left.sum()) / total)
    scores = [c.score for c in even]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)
    doubt = np.array([1.0, 1.0, 1.0, 0.01, 0.01, 0.01])
    assert cover(doubt, BETWEEN, NEAREST)[0].who in (0, 1, 2)


def test_cover_is_greedy_in_every_choice():
    random = np.random.default_rng(3)
    points, weights = random.normal(size=(40, 3)), random.random(40)
    between, left = distances(points, points), np.abs(random.normal(size=40)) + 1
    open_ = set(range(40))
    for choice in cover(weights, between, left):
        gains = {i: weights @ np.maximum(0, left - between[i]) for i in open_}
        assert gains[choice.who] == pytest.approx(max(gains.values()))
        left = np.minimum(left, between[choice.who])
        open_.remove(choice.who)
    assert not open_


def test_who_are_all_alike_are_ordered_by_their_doubt():
    nowhere = np.zeros((3, 3))
    choices = cover(np.array([0.2, 0.9, 0.5]), nowhere, None)
    assert [c.who for c in choices] == [1, 2, 0]
    assert {c.score for c in choices} == {0.0}


def test_values_order_and_equal_ones_keep_their_places():
    values = np.array([0.1, 0.7, 0.7, 0.2, 0.9, 0.0])
    assert [c.who for c in by_value(values, BETWEEN, NEAREST)] == [4, 1, 2, 3, 0, 5]


def test_a_reason_has_places_and_others():
    measures, places = {ENTROPY: 0.5, DISAGREEMENT: 0.25}, {ENTROPY: 1, DISAGREEMENT: 3}
    assert explain(measures, places, 7, 2, "teacher and student") == (
        "entropy 0.50 (1 of 7), disagreement of teacher and student 0.25 (3 of 7); "
        "2 others are more like this patient than like any labelled or earlier one"
    )
    assert explain(measures, places, 7, 0, None).endswith("nobody else is most like this patient")


# ---- who disagrees ----------------------------------------------------------------------------


def test_teacher_and_rectifier_disagree_once_it_has_learned(run, store):
    opinions = opinions_of(run, "best", CPU, store)
    assert opinions.whose == "teacher and rectifier"
    name = next(iter(store.cases))
    ((_, one, other),) = opinions.pairs(store.image(name), None)
    assert one.shape == other.shape == (3, 4, 32, 32)
    assert not torch.equal(one, other)
    assert torch.allclose(other.sum(dim=1), torch.ones(3, 32, 32), atol=1e-5)


def test_without_a_rectifier_teacher_and_student_disagree(store, tmp_path):
    config = TrainConfig(method="mean_teacher", size=32, iterations=2, batch_labelled=2)
    made = train(store.path, tmp_path / "run", config, progress=False)
    opinions = opinions_of(made, "best", CPU, store)
    assert opinions.whose == "teacher and student"
    name = next(iter(store.cases))
    ((_, one, other),) = opinions.pairs(store.image(name), None)
    assert not torch.allclose(one, other)
    ranking = rank(made, store.path, by="disagreement", progress=False)
    assert set(ranking.measures) >= {ENTROPY, DISAGREEMENT}
    (made / "checkpoints" / "last.pt").unlink()
    assert opinions_of(made, "best", CPU, store) is None


def test_a_method_of_one_network_has_no_second_opinion(tiny_run, store):
    assert other_network(load_method(tiny_run).method) is None
    assert opinions_of(tiny_run, "best", CPU, store) is None


# ---- the whole --------------------------------------------------------------------------------


def test_unlabelled_patients_are_ranked_by_all_measures(run, store):
    ranking = rank(run, store.path, progress=False)
    split = store.official_split
    assert sorted(p.patient for p in ranking.patients) == sorted(
        p for p in store.patients if p not in {"patient099", *split.val, *split.test}
    )
    assert ranking.labelled == 1
    assert set(ranking.measures) == {ENTROPY, DISAGREEMENT, AUGMENTATION}
    first = ranking.patients[0]
    assert first.rank == 1
    assert first.cases == tuple(c.id for c in store.cases.values() if c.patient == first.patient)
    assert first.slices == 6
    assert all(0 <= value <= 1 for p in ranking.patients for value in p.measures.values())
    assert first.picture.labels.shape == first.picture.entropy.shape
    assert first.picture.labels.shape == store.cases[first.picture.case].shape
    assert [s.rank for s in ranking.slices] == list(range(1, len(ranking.slices) + 1))
    assert len(ranking.slices) == 6 * len(ranking.patients)
    worst = next(s for s in ranking.slices if s.patient == first.patient)
    assert (first.picture.case, first.picture.index + 1) == (worst.case, worst.slice)


@pytest.mark.parametrize("by", ["entropy", "disagreement", "augmentation", "diversity"])
def test_one_measure_orders(by, run, store):
    ranking = rank(run, store.path, by=by, progress=False)
    scores = [p.score for p in ranking.patients]
    assert scores == sorted(scores, reverse=True)
    if by != "diversity":
        assert scores == [p.measures[by] for p in ranking.patients]
        assert [p.places[by] for p in ranking.patients] == list(range(1, len(scores) + 1))
        slices = [s.score for s in ranking.slices]
        assert slices == [s.measures[by] for s in ranking.slices] == sorted(slices, reverse=True)


def ranks(run: Path, store: Path, **options) -> list[tuple]:
    ranking = rank(run, store, progress=False, **options)
    patients = [(p.patient, p.score, p.reason) for p in ranking.patients]
    return [*patients, *((s.case, s.slice, s.score) for s in ranking.slices)]


def test_hidden_labels_are_never_read(run, store, tmp_path):
    expected = ranks(run, store.path)
    run = shutil.copytree(run, tmp_path / "run")  # which then knows no other store
    hidden = [c.id for c in store.cases.values() if c.patient != "patient099"]
    garbled = shutil.copytree(store.path, tmp_path / "garbled")
    for name in hidden:
        file = garbled / "cases" / name / "label.b2nd"
        file.write_bytes(bytes(reversed(file.read_bytes())))
    with pytest.raises(InputError):
        Store(garbled).label(hidden[0])
    (run / "store.txt").write_text(str(garbled))
    assert ranks(run, garbled) == expected
    removed = shutil.copytree(store.path, tmp_path / "removed")
    for name in hidden:
        (removed / "cases" / name / "label.b2nd").unlink()
    (run / "store.txt").write_text(str(removed))
    assert ranks(run, removed) == expected


def test_top_is_the_beginning(run, store):
    whole, first = (rank(run, store.path, top=top, progress=False) for top in (None, 1))
    assert first.patients == whole.patients[:1]
    assert first.candidates == whole.candidates == len(whole.patients)
    assert {s.patient for s in first.slices} == {first.patients[0].patient}


def test_the_command_writes_tables_and_a_page(run, store, tmp_path, capsys):
    out = tmp_path / "next"
    assert main(["rank", str(run), str(store.path), str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    rows = list(csv.DictReader((out / "ranking.csv").read_text().splitlines()))
    assert said[0] == f"1. {rows[0]['patient']}: {rows[0]['reason']}"
    assert said[-2] == f"{out}: ranking.csv, slices.csv"
    heading = "rank,patient,score,entropy,disagreement,augmentation,uncertainty,diversity,nearer"
    assert (out / "ranking.csv").read_text().startswith(f"{heading},scans,slices,reason\n")
    slices = list(csv.DictReader((out / "slices.csv").read_text().splitlines()))
    assert len(slices) == 6 * len(rows)
    page = check_is_alone((out / "index.html").read_text("utf-8"))
    labels = [s["aria-label"] for s in page.of("svg") if s.get("class") == "slice"]
    assert [label.rsplit(": ")[-1] for label in labels[:3]] == ["image", "prediction", "entropy"]
    assert rows[0]["reason"] in page.words
    assert main(["rank", str(run), str(store.path), str(out)]) == 2
    assert "ranking.csv: exists already; --overwrite replaces it" in capsys.readouterr().err
    given = ["--overwrite", "--top", "1", "--by", "entropy", "--quiet"]
    assert main(["rank", str(run), str(store.path), str(out), *given]) == 0
    assert len((out / "ranking.csv").read_text().splitlines()) == 2
    assert capsys.readouterr().out == ""


def test_the_ranking_lies_in_the_run_unless_told_otherwise(tiny_run, store, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    assert main(["rank", str(run), str(store.path), "--quiet"]) == 0
    assert sorted(path.name for path in (run / "ranking").iterdir()) == [
        "index.html",
        "ranking.csv",
        "slices.csv",
    ]


def own_store(folder: Path, channels: int, classes: int, depth: int, patients: int = 4) -> Path:
    """A store of scans of several channels, of a few slices, with hostile names of patients."""
    for number in range(patients):
        image, labels = scan((20, 18, depth), classes, seed=number)
        name = f"=p{number}<b>"
        whole = np.stack([image + 9 * k for k in range(channels)], axis=-1)
        whole = whole if channels > 1 else image
        write_nifti(folder / "in" / "images" / f"{name}.nii.gz", whole)
        if number < 2:
            write_nifti(folder / "in" / "labels" / f"{name}.nii.gz", labels)
    return prepare(folder / "in", folder / "store", progress=False).path


@pytest.mark.parametrize(("channels", "classes", "depth"), [(1, 2, 1), (2, 3, 1), (1, 12, 2)])
def test_any_shape_of_data(channels, classes, depth, tmp_path):
    store = own_store(tmp_path, channels, classes, depth)
    config = TrainConfig(method="supervised", size=16, iterations=1, batch_labelled=2)
    run = train(store, tmp_path / "run", config, progress=False)
    out = tmp_path / "out"
    assert main(["rank", str(run), str(store), str(out), "--quiet"]) == 0
    rows = list(csv.DictReader((out / "ranking.csv").read_text().splitlines()))
    assert sorted(row["patient"] for row in rows) == ["'=p2<b>", "'=p3<b>"]
    page = check_is_alone((out / "index.html").read_text("utf-8"))
    assert "=p2<b>" in page.words


def test_one_patient_is_first(store, tmp_path, tiny_run):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    split = json.loads((run / "split.json").read_text())
    split["labelled"] = split["train"][1:]
    (run / "split.json").write_text(json.dumps(split))
    ranking = rank(run, store.path, progress=False)
    assert [(p.rank, p.patient, p.nearer) for p in ranking.patients] == [(1, split["train"][0], 0)]


def test_a_store_of_others_is_ranked_without_labelled_ones(store, tmp_path, tiny_run, acdc_folder):
    source = tmp_path / "in"
    for name in ("patient038", "patient050"):
        shutil.copytree(acdc_folder / name, source / name.replace("0", "8", 1))
    for file in source.rglob("*.nii.gz"):
        file.rename(file.with_name(file.name.replace("patient0", "patient8")))
    other = prepare(source, tmp_path / "store", progress=False)
    ranking = rank(tiny_run, other.path, progress=False)
    assert ranking.labelled == 0
    assert len(ranking.patients) == 2


# ---- mistakes ---------------------------------------------------------------------------------


def refused(capsys, *arguments: object) -> str:
    assert main(["rank", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_store_of_another_task_is_refused(run, decathlon_store, tmp_path, capsys):
    error = refused(capsys, run, decathlon_store.path, tmp_path / "out")
    assert f"{decathlon_store.path}: expected the classes of {run}" in error
    assert not (tmp_path / "out").exists()


def test_a_store_without_unlabelled_patients_is_refused(tiny_run, store, tmp_path, capsys):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    split = json.loads((run / "split.json").read_text())
    split["labelled"] = split["train"]
    (run / "split.json").write_text(json.dumps(split))
    error = refused(capsys, run, store.path, tmp_path / "out")
    assert f"expected patients whose labels {run} did not use, found 5 patients, who" in error
    assert not (tmp_path / "out").exists()


def test_what_the_run_has_not_cannot_order(tiny_run, store, tmp_path, capsys):
    error = refused(capsys, tiny_run, store.path, tmp_path / "out", "--by", "disagreement")
    assert f"--by disagreement: expected one that {tiny_run} has, of combined, diversity" in error


def test_runs_and_stores_in_the_wrong_place(tiny_run, store, exported, tmp_path, capsys):
    out = tmp_path / "out"
    assert "expected a run made by train" in refused(capsys, store.path, tiny_run, out)
    assert "found a model made by export" in refused(capsys, exported, store.path, out)
    assert "expected a store made by prepare" in refused(capsys, tiny_run, tmp_path / "no", out)
    assert "--top: expected at least 1" in refused(capsys, tiny_run, store.path, "--top", 0)
    out.write_text("in the way")
    assert "a folder for the ranking" in refused(capsys, tiny_run, store.path, out)


def test_a_cross_validation_is_refused(tiny_run, store, tmp_path, capsys):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "folds.json").write_text('{"format": 1, "folds": [["a"]], "finished": true}')
    assert "found a cross-validation; each of its folds is one" in refused(capsys, run, store.path)


def test_numbers_that_are_not_finite_are_refused(tiny_run, store, monkeypatch):
    model = diffrect.Model.load(tiny_run)
    model.segmenter = replace(model.segmenter, network=_Broken())
    monkeypatch.setattr(diffrect.Model, "load", lambda *_: model)
    with pytest.raises(InputError, match="expected numbers from the model, got NaN or infinity"):
        rank(tiny_run, store.path, progress=False)


class _Broken(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.new_full((len(images), 4, 32, 32), float("nan"))
