"""The examples of the guides for networks and views train as they stand on the page."""

import re
import shlex
from pathlib import Path

import pytest

from diffrect.cli import main as cli
from diffrect.comparison.cells import plan_cells
from diffrect.data.store import Store
from diffrect.networks.spec import NetworkSpec
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
TINY = "--size 32 --iterations 2 --batch-labelled 2 --quiet"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of a page, in a language or in none."""
    text = (HOW_TO / page).read_text("utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [block for kind, block in found if kind == language]


@pytest.mark.parametrize(
    ("page", "held"),
    [
        ("add-a-network.md", {"network": "my_networks:TwoScales(width=8)"}),
        (
            "add-a-view.md",
            {"strong_view": "my_views:bias_field", "weak_view": "my_views:flip_up_down"},
        ),
    ],
)
def test_the_example_trains_as_the_page_says(
    page: str,
    held: dict[str, str],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = blocks(page, "python")
    name = code.splitlines()[0].removeprefix("# ")
    (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    command = next(b for b in blocks(page, "") if b.startswith("diffrect train STORE RUN --plugin"))
    words = shlex.split(command.replace("\\\n", " ").replace("STORE", str(store.path)))
    assert cli.main([*words[1:], *TINY.split()]) == 0, capsys.readouterr().err
    config = load_checkpoint(checkpoint_path(Path("RUN"), "last"))["config"]
    assert {**config, **config["options"]}.items() >= held.items()


def test_the_variants_and_the_networks_of_monai_can_be_read(tmp_path: Path) -> None:
    page = "add-a-network.md"
    (variants,) = blocks(page, "yaml")
    file = tmp_path / "variants.yaml"
    file.write_text(variants)
    cells = plan_cells(variants=file, methods=["unet"])
    assert [cell.config.network for cell in cells] == ["unet"]
    (commands,) = [block for block in blocks(page, "") if "monai" in block]
    specs = [
        shlex.split(command.replace("\\\n", ""))[-1]
        for command in re.split(r"^(?=diffrect )", commands, flags=re.M)
        if command
    ]
    assert [NetworkSpec.parse(spec).name for spec in specs] == [
        "monai.networks.nets:UNet",
        "monai.networks.nets:DynUNet",
    ]
