"""The matrix of a comparison: cells, names, parts, variants, and the command line."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from diffrect.cli import main as cli
from diffrect.cli.compare import Compare
from diffrect.comparison.cells import make_cells
from diffrect.comparison.matrix import build_matrix, parse_shard, running_order, take_shard
from diffrect.comparison.variants import (
    Variant,
    choose_variants,
    preset_variants,
    read_variants,
)
from diffrect.config import TrainConfig
from diffrect.errors import InputError
from diffrect.methods.registry import resolve


def folders(**matrix: Any) -> list[str]:
    return [cell.folder for cell in make_cells(**matrix)]


def test_every_combination_once_under_a_readable_name() -> None:
    found = folders(methods=["supervised", "diffrect"], labelled=[1, "5%"], seeds=[0, 7])
    assert found == [
        "supervised-labelled1-seed0",
        "supervised-labelled1-seed7",
        "supervised-labelled5pct-seed0",
        "supervised-labelled5pct-seed7",
        "diffrect-labelled1-seed0",
        "diffrect-labelled1-seed7",
        "diffrect-labelled5pct-seed0",
        "diffrect-labelled5pct-seed7",
    ]


def test_names_of_cells_are_names_of_folders() -> None:
    outside = {"mine": Variant(method="tests.module:Method", labelled="lists/some ids.txt")}
    cells = build_matrix(outside, ["1", "3"], [0], TrainConfig())
    assert [cell.folder for cell in cells] == ["mine-labelledsome_ids-seed0"]
    path = {"my.methods:Mine": Variant(method="my.methods:Mine")}
    assert build_matrix(path, [], [0], TrainConfig())[0].folder == "my.methods_Mine-seed0"
    assert folders(methods=["supervised"], config=TrainConfig(labelled="2")) == [
        "supervised-labelled2-seed1337"
    ]


def test_what_cells_have_in_common_and_what_not() -> None:
    base = TrainConfig(size=32, iterations=5, options={"cutmix_area": 0.3, "blur_sigma": 1.0})
    variants = {"mild": {"options": {"blur_sigma": 0.5}}, "old": {"preset": "reference"}}
    mild, old = make_cells(labelled=[3], seeds=[9], config=base, variants=variants)
    assert mild.config == TrainConfig(
        size=32, iterations=5, labelled="3", seed=9, options={"cutmix_area": 0.3, "blur_sigma": 0.5}
    )
    assert (old.name, old.config.preset, old.config.method) == ("old", "reference", "diffrect")


def test_a_variant_with_its_own_number_of_labels_is_there_once_per_seed() -> None:
    found = folders(methods=["diffrect", "supervised@100%"], labelled=[1, 3], seeds=[0])
    assert found == [
        "diffrect-labelled1-seed0",
        "diffrect-labelled3-seed0",
        "supervised-labelled100pct-seed0",
    ]


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 40])
def test_parts_share_the_matrix_out(parts: int) -> None:
    cells = make_cells(methods=["supervised", "diffrect"], labelled=[1, 3, 7], seeds=[0, 1, 2])
    taken = [take_shard(cells, (number, parts)) for number in range(1, parts + 1)]
    assert Counter(cell.folder for part in taken for cell in part) == Counter(
        cell.folder for cell in cells
    )
    sizes = [len(part) for part in taken]
    assert max(sizes) - min(sizes) <= 1
    slow = [sum(cell.name == "diffrect" for cell in part) for part in taken]
    assert max(slow) - min(slow) <= 1


def test_the_first_seed_comes_first() -> None:
    cells = make_cells(methods=["supervised", "diffrect"], labelled=[1, 3], seeds=[5, 0])
    assert [cell.config.seed for cell in running_order(cells)] == [5] * 4 + [0] * 4


def test_variants_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "weak: {method: diffrect, options: {consistency_weight: 0.1}}\n"
        "upper: {method: supervised, labelled: 100%}\nplain:\n"
    )
    known = read_variants(file)
    assert known == {
        "weak": Variant(options={"consistency_weight": 0.1}),
        "upper": Variant(method="supervised", labelled="100%"),
        "plain": Variant(),
    }
    assert choose_variants([], known) == known
    assert list(choose_variants(["*p*"], known)) == ["upper", "plain"]
    assert choose_variants(["weak@2", "supervised"], known) == {
        "weak@2": Variant(labelled="2", options={"consistency_weight": 0.1}),
        "supervised": Variant(method="supervised"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "mine.yaml: expected variants by name, got list"),
        ("", "mine.yaml: expected variants by name, got NoneType"),
        ("a: 3", "mine.yaml: a: expected method and options, got 3"),
        (
            "a: {option: {}}",
            "mine.yaml: a: unknown option option; expected one of labelled, learning_rate",
        ),
        ("a: {preset: best}", "mine.yaml: a: preset: expected default or reference or null"),
        ("a: [", "mine.yaml: expected a readable YAML file"),
        ("a: {options: {sise: 3}}", "--methods a: --option sise: expected one of blur_"),
        ("a: {method: nobody}", "--methods a: --method nobody: expected one of supervised"),
        ("a b: {}\na_b: {}", "a_b-seed1337: expected every cell of the matrix once, got two"),
    ],
)
def test_wrong_variants_are_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        make_cells(variants=file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_wrong_parts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--shard: expected PART/PARTS such as 2/8, got"):
        parse_shard(text)
    assert parse_shard("2/8") == (2, 8)


# ---- the ablation that is shipped ----------------------------------------------------------------


def settings(variant: Variant) -> dict[str, Any]:
    config = TrainConfig(preset=variant.preset or "default", options=variant.options)
    resolved = resolve(config)
    return vars(resolved.method_options) | vars(resolved.view_options)


def test_ablation_switches_every_quirk_on_and_off() -> None:
    variants = preset_variants("ablation")
    default, reference = (settings(Variant(preset=p)) for p in ("default", "reference"))
    quirks = {name for name in default if default[name] != reference[name]}
    assert len(quirks) > 20
    switched_on, switched_off = set(), set()
    for name, variant in variants.items():
        if name.startswith("with-"):
            assert {k: reference[k] for k in variant.options} == dict(variant.options), name
            switched_on |= set(variant.options)
        if name.startswith("reference-"):
            assert {k: default[k] for k in variant.options} == dict(variant.options), name
            switched_off |= set(variant.options)
    assert switched_on == switched_off == quirks


def test_ablation_leaves_every_part_out() -> None:
    variants = preset_variants("ablation")
    full = settings(variants["full"])
    assert full == settings(Variant())
    left_out = {name for name in variants if name.startswith("no-")}
    assert len(left_out) == 6
    changed = [settings(variant) for name, variant in variants.items() if name != "full"]
    assert full not in changed
    assert len({str(values) for values in changed}) == len(changed)  # no two are the same
    assert {v["diffusion_steps"] for v in changed} == {5, 10, 20, 100}
    assert {v["sample_steps"] for v in changed} == {1, 2, 5, 10}


# ---- the command line ----------------------------------------------------------------------------


def parsed(text: str) -> Compare:
    command = cli.parse(["compare", *text.split()])
    assert isinstance(command, Compare)
    return command


def test_command_as_documented(tmp_path: Path) -> None:
    file = tmp_path / "h.yaml"
    file.write_text("size: 64\niterations: 4000\noptions: {blur_sigma: 1.0}\n")
    command = parsed(
        f"STORE FOLDER --methods supervised,diffrect --labelled 1,3,7 --seeds 0,1,2 --shard 2/8 "
        f"--config {file} --iterations 10 --option cutmix_area=0.3 --preset reference"
    )
    matrix = command._matrix()
    assert (matrix["methods"], matrix["labelled"]) == (["supervised", "diffrect"], ["1", "3", "7"])
    assert (matrix["seeds"], matrix["preset"]) == ([0, 1, 2], None)
    assert matrix["config"] == TrainConfig(
        size=64,
        iterations=10,
        preset="reference",
        options={"blur_sigma": 1.0, "cutmix_area": 0.3},
    )
    assert command._task() == {"shard": (2, 8), "split": "val", "checkpoint": "best"}
    assert parsed("STORE FOLDER --preset ablation")._matrix()["preset"] == "ablation"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "compare: expected STORE and FOLDER, got nothing"),
        ("A", "compare: expected STORE and FOLDER, got A"),
        ("A B --table", "compare: expected FOLDER, got A B"),
        ("A B --seeds 1,x", "--seeds: expected whole numbers such as 0,1,2, got 'x'"),
        ("A B --methods supervised --seeds ,", "--seeds: expected at least one seed, got none"),
        ("A B --shard 9/8 --methods supervised", "--shard: expected PART/PARTS such as 2/8"),
        ("A B", "--methods: expected names such as supervised,diffrect, got none"),
        ("A B --methods nobody", "--methods nobody: --method nobody: expected one of supervised"),
        ("A B --preset ablation --methods x*", "--methods x*: expected to fit a variant, there a"),
        ("A B --preset best", "--preset: expected one of default, reference, ablation"),
        ("A B --methods supervised --size 1", "--size: expected at least 2, got 1"),
        ("A B --method supervised", "--method: diffrect compare has no such option; did you"),
        ("A B --variants no.yaml", "no.yaml: expected a readable YAML file"),
        ("A B --methods supervised", "A: expected a store made by prepare, found no store.json"),
        ("A B --methods supervised --export C", "--export: expected with --table"),
        ("A --table --dry-run", "--dry-run: expected without --table"),
        ("A --table", "A: expected finished cells of a comparison, found no such folder"),
    ],
)
def test_errors_are_one_line(
    arguments: str, message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("diffrect: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())
