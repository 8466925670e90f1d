"""Configuration: presets, options, YAML, and what is said about wrong ones."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffrect.config import (
    CONFIG_FORMAT,
    Role,
    TrainConfig,
    config_from_dict,
    config_to_dict,
    names_with,
    parse_options,
    read_config,
    write_config,
)
from diffrect.earlier_formats import (
    DIFFRECT_OF_FORMAT_2,
    DIFFRECT_OF_FORMAT_3,
    DIFFRECT_OF_FORMAT_4,
    VIEWS_OF_FORMAT_4,
)
from diffrect.errors import InputError
from diffrect.methods.diffrect.options import REFERENCE, DiffRectOptions
from diffrect.methods.registry import METHODS, complete, find_method, remembered, resolve
from diffrect.methods.supervised import Supervised
from diffrect.runs.folder import check_same_config


def test_yaml_and_back(tmp_path: Path) -> None:
    config = TrainConfig(
        labelled="5%", split_file=tmp_path / "split.json", options={"confidence": 0.9}
    )
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
    assert config_from_dict(config_to_dict(config)) == config


def test_numbers_and_text_are_taken_from_python() -> None:
    config = TrainConfig(labelled=3, split_file="split.json")  # type: ignore[arg-type]
    assert config == TrainConfig(labelled="3", split_file=Path("split.json"))


def test_every_field_has_a_role() -> None:
    fields = dataclasses.fields(TrainConfig)
    assert all(isinstance(field.metadata.get("role"), Role) for field in fields)
    assert names_with(*Role) == tuple(field.name for field in fields)


def test_roles_say_what_may_differ_in_a_resumed_run(tmp_path: Path) -> None:
    config = TrainConfig()
    free = {"devices", "nodes", "device", "workers", "nonfinite", "split_file", "labelled"}
    free |= {"val_patients", "test_patients", "threads", "validate_slices", "logger", "log_images"}
    assert names_with(Role.CHOICE) == ("validate_every",)
    assert set(names_with(Role.MACHINE, Role.PATIENTS)) == free
    check_same_config(config, replace(config, workers=3, labelled="2"), tmp_path)
    check_same_config(config, replace(config, validate_every=3), tmp_path)
    with pytest.raises(InputError, match=r"--resume expected size 256 as .*, got 32"):
        check_same_config(config, replace(config, size=32), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iterations: many", "iterations: expected a whole number, got 'many'"),
        ("iteration: 3", "unknown option iteration"),
        ("preset: best", "preset: expected default or reference, got 'best'"),
        ("learning_rate: true", "learning_rate: expected a number, got True"),
        ("- 1", "expected a mapping of options, got list"),
        ("a: [", "expected a readable YAML file"),
        ("size: 1", "size: expected at least 2, got 1"),
        ("learning_rate: 0", "learning_rate: expected a positive number"),
        ("rectify_from: -1", "rectify_from: expected at least 0"),
        ("validate_every: 0", r"config\.yaml: validate_every: expected at least 1"),
        ("seed: 9223372036854775808", "seed: expected a number from 0 to 9.2"),
    ],
)
def test_wrong_yaml_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_config(file)
    assert "\n" not in str(caught.value)


def test_missing_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_config(tmp_path / "none.yaml")


def test_presets_differ_where_they_say() -> None:
    default = resolve(TrainConfig())
    reference = resolve(TrainConfig(preset="reference"))
    assert default.method_options == DiffRectOptions()
    for name, value in REFERENCE.items():
        assert getattr(reference.method_options, name) == value
        assert getattr(default.method_options, name) != value
    assert reference.view_options.interpolation == "nearest"
    assert reference.view_options.eight_bit


def test_every_departure_is_an_option_of_its_own() -> None:
    for name, value in REFERENCE.items():
        resolved = resolve(TrainConfig(options={"rectifier": "slice", name: value}))
        assert getattr(resolved.method_options, name) == value
    viewed = resolve(TrainConfig(preset="reference", options={"interpolation": "linear"}))
    assert viewed.view_options.interpolation == "linear"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TrainConfig(method="best"), "--method best: expected one of supervised"),
        (TrainConfig(method="diffrect.methods.losses:dice_loss"), "expected a subclass"),
        (TrainConfig(method="no.such:Method"), "--method no.such:Method"),
        (TrainConfig(method=":"), "--method :: expected MODULE:NAME such as"),
        (TrainConfig(options={"confidense": 1}), "--option confidense: expected one of"),
        (
            TrainConfig(options={"confidence": "high"}),
            "--option confidence: expected a number, got 'high'",
        ),
        (TrainConfig(options={"guidance": "pixel"}), "guidance: expected row or batch"),
        (TrainConfig(options={"blur_sigma": -1}), "--option blur_sigma: expected a number from 0"),
        (TrainConfig(options={"jitter_low": 2}), "jitter_low: expected a number from 0 to 1.5"),
    ],
)
def test_wrong_methods_and_options_are_named(config: TrainConfig, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(config)


def test_methods_by_name_and_by_path() -> None:
    assert find_method("supervised") is Supervised
    assert find_method("diffrect.methods.supervised:Supervised") is Supervised
    assert all(find_method(name) for name in METHODS)


def test_rectify_from_reaches_methods_that_know_it() -> None:
    config = TrainConfig(options={"rectify_from": 7})
    assert resolve(config).method_options.rectify_from == 7
    assert "rectify_from" not in complete(replace(config, method="supervised")).options


def test_rectify_from_of_older_files_is_an_option(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("rectify_from: 7\n")
    base = TrainConfig(options={"confidence": 0.5})
    assert read_config(file, base).options == {"confidence": 0.5, "rectify_from": 7}
    file.write_text("options: {confidence: 0.7, rectify_from: 3}\nrectify_from: 7\n")
    assert read_config(file, base).options == {"confidence": 0.7, "rectify_from": 7}
    file.write_text("options: {rectify_from: 3}\nrectify_from: null\n")
    assert read_config(file, base).options == {"rectify_from": 3}
    older = {**config_to_dict(base), "rectify_from": 7}
    assert config_from_dict(older).options == {"confidence": 0.5, "rectify_from": 7}


def test_options_are_read_as_yaml() -> None:
    pairs = ["teacher-decay=0", "clamp_latent=true", "rectify_from=null", "guidance=row"]
    assert parse_options(pairs) == {
        "teacher_decay": 0,
        "clamp_latent": True,
        "rectify_from": None,
        "guidance": "row",
    }
    for wrong in ("guidance", "a=["):
        with pytest.raises(InputError, match=r"--option"):
            parse_options([wrong])


def test_intervals_scale() -> None:
    assert TrainConfig().validation_interval == 200
    assert TrainConfig(iterations=10).validation_interval == 1
    assert TrainConfig(validate_every=7).validation_interval == 7


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("sample_steps", 0),
        ("sample_steps", 11),
        ("diffusion_steps", 0),
        ("ramp_stairs", 0),
        ("confidence", 1.5),
        ("confidence", float("nan")),
        ("teacher_decay", -0.1),
        ("consistency_weight", -1.0),
    ],
)
def test_options_out_of_range_are_named(option: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{option}: expected"):
        resolve(TrainConfig(options={option: value}))


@pytest.mark.parametrize(
    ("version", "then", "rectifier", "weight"),
    [
        (2, DIFFRECT_OF_FORMAT_2, "slice", 1.0),
        (3, DIFFRECT_OF_FORMAT_3, "volume", 1.0),
        (4, DIFFRECT_OF_FORMAT_4, "volume", 0.0),
    ],
)
def test_a_default_that_an_earlier_version_wrote_stays_what_it_was(
    tmp_path: Path, version: int, then: Mapping[str, Any], rectifier: str, weight: float
) -> None:
    file = tmp_path / "config.yaml"
    now, before = f"format: {CONFIG_FORMAT}", f"format: {version}"
    write_config(TrainConfig(options={"rectifier_interval": 3}), file)
    written = file.read_text()
    assert read_config(file).options == {"rectifier_interval": 3}
    file.write_text(written.replace(now, before))
    earlier = read_config(file)
    assert earlier.options == {**then, **VIEWS_OF_FORMAT_4, "rectifier_interval": 3}
    found = resolve(earlier).method_options
    assert (found.rectifier, found.correction_weight) == (rectifier, weight)
    assert not found.joined_foreground
    assert resolve(earlier).view_options.scale_range == 0
    assert read_config(file, as_written=True).options == {"rectifier_interval": 3}
    file.write_text("method: diffrect\n")  # by hand
    assert read_config(file).options == {}
    supervised = TrainConfig(method="supervised")
    write_config(supervised, file)
    file.write_text(file.read_text().replace(now, before))
    assert read_config(file) == replace(supervised, options={"scale_range": 0.0})


def test_rivals_that_an_earlier_version_wrote_keep_their_views(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    for method in ("mean_teacher", "bcp", "unimatch"):
        now = TrainConfig(method=method, preset="reference")
        assert resolve(now).view_options.geometry == "single"
        write_config(now, file)
        assert read_config(file) == now
        file.write_text(file.read_text().replace(f"format: {CONFIG_FORMAT}", "format: 3"))
        views = resolve(read_config(file)).view_options
        assert views.geometry == "authors"
        assert views.eight_bit
    before = resolve(read_config(file)).method_options
    assert (before.perturbed_rows, before.box_labels) == ("unlabelled", "training")
    written = complete(TrainConfig(method="incl")).options
    assert written["second_norm"]
    old = {name: value for name, value in written.items() if name != "second_norm"}
    assert not resolve(
        remembered(TrainConfig(method="incl", options=old))
    ).method_options.second_norm


def test_a_checkpoint_of_an_earlier_version_has_its_options() -> None:
    known = {n: v for n, v in vars(DiffRectOptions()).items() if n not in DIFFRECT_OF_FORMAT_2}
    assert resolve(remembered(TrainConfig(options=known))).method_options.rectifier == "slice"
    complete_now = complete(TrainConfig())
    assert remembered(complete_now) == complete_now
    reference = remembered(TrainConfig(preset="reference"))
    assert resolve(reference).method_options.teacher_statistics == "student"
