"""Values on the command line that no program could use are refused in a line before any work."""

import re
from pathlib import Path

import pytest

from diffrect.cli import main as cli
from diffrect.comparison.request import make_job
from diffrect.data.choose_split import resolve_split
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.distributed.devices import find_device
from diffrect.errors import InputError
from diffrect.inference.outputs import name_outputs
from diffrect.runs.folder import check_start
from diffrect.showcase.demo import demo

LONG = "9" * 5000
NO_MEMORY = "more fits into no memory"
OPTIONS = {
    "--size 1000000000": f"--size: expected at most 16384, got 1000000000; {NO_MEMORY}",
    "--spacing 1 --crop 1000000000": f"--crop: .* at most 16384, got 1000000000; {NO_MEMORY}",
    "--spacing 1e-300 --crop 9": "--spacing: expected a number from 1e-06 to 1e.06, got 1e-300",
    "--batch-labelled 99999999": f"--batch-labelled: .* 65536, got 99999999; {NO_MEMORY}",
    "--iterations 9999999999": "--iterations: expected at most 1000000000, got 9999999999",
    "--workers 100000": "--workers: expected at most 512, got 100000; no machine has as many",
    "--devices 100000000000000000000": "--devices: expected at most 4096, got 1000.*",
    "--learning-rate 1e308": r"--learning-rate: .* up to 1e\+06, got 1e\+308",
    "--learning-rate nan": r"--learning-rate: .* up to 1e\+06, got nan",
    f"--seed {LONG}": "--seed: expected a whole number, got one of 5000 digits.*",
    f"--seed {LONG[:4000]}": "--seed: expected a number from 0 to 9.22337e.18, got 999.* ... 999.*",
    f"--seed {'x' * 5000}": "--seed: expected a whole number, got 'x+ ... x+'; see .*",
    "--option blur_sigma=2021-99-99": "--option blur_sigma: expected a number, got '2021-99-99'",
    "--option blur_sigma=.inf": "--option blur_sigma: expected a number from -1e.*, got inf",
    f"--preset {LONG}": r"--preset: expected one of .*, got \S+ \.\.\. \S+; see .*",
    "--option diffusion_steps=10001": "--option diffusion_steps: expected at most 10000, got 10001",
    "--labelled 1e-99999999%": "--labelled: expected a percentage above 0, up to 100, got 1e-.*%",
    f"--labelled {LONG}": "--labelled: expected at most the 3 training patients .*, got 9.*",
    f"--labelled {LONG}%": "--labelled: expected a percentage above 0, up to 100, got 9.*",
    "--labelled 1/0%": "--labelled: expected a percentage above 0, up to 100, got 1/0%",
    "--split-file a\0b": "command line: expected text without zero bytes, got .*",
}


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options[:30].replace("\0", "0"))
def test_a_nasty_option_of_train_is_refused(
    options: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(store.path), str(tmp_path / "run"), *options.split(" ")]
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(f"diffrect: error: {OPTIONS[options]}\n", err), err
    assert len(err) < 1200
    assert not (tmp_path / "run").exists()


def test_shares_that_people_write_are_read(store: Store) -> None:
    for share in ("50%", "50.5 %", "5e1%", "100/3%"):
        assert len(resolve_split(store, labelled=share).labelled) == 1


@pytest.mark.parametrize("shard", [f"1/{LONG}", "0/2", "3/2"])
def test_a_nasty_shard_is_refused(shard: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "a", "b", "--methods", "supervised", "--shard", shard]) == 2
    assert "--shard: expected PART/PARTS such as 2/8" in capsys.readouterr().err


def test_nasty_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "a", "b", "--methods", "supervised", "--seeds", LONG]) == 2
    assert "--seeds: expected whole numbers such as 0,1,2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["hpu", "xpu", "meta", "privateuseone", "cuda:-1", "cpu:" + LONG, "cuda:01", "CUDA", ""]
)
def test_no_device_of_another_name_is_taken(name: str) -> None:
    with pytest.raises(InputError, match=r"^--device: expected auto, cpu, cuda, cuda:1 .* or mps"):
        find_device(name)


@pytest.mark.parametrize("name", ["loop", "dangling", "loop/below", "dangling/below/it"])
def test_no_folder_is_made_behind_a_link_that_leads_nowhere(
    name: str, store: Store, acdc_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    place = Path(name)
    for make in (
        lambda: check_start(place, resume=False, overwrite=True),
        lambda: prepare(acdc_folder, place, overwrite=True),
        lambda: name_outputs(place, {}, "nifti", probabilities=False, overwrite=False),
        lambda: make_job(store.path, place, "val", "best", progress=False),
        lambda: demo(place, overwrite=True),
    ):
        with pytest.raises(InputError, match=r"^(loop|dangling): .* a symbolic link that leads "):
            make()
    assert not Path("nowhere").exists()


def test_a_name_that_is_too_long_is_refused(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / ("a" * 256)
    assert cli.main(["train", str(store.path), str(run), "--method", "supervised"]) == 2
    assert capsys.readouterr().err == f"diffrect: error: {run}: File name too long\n"
