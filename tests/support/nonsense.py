"""Nonsense for every option of every command, and for JSON, YAML and checkpoints; work left out.

`option_lines` draws command lines, `spoilt` draws other values for what a file holds, and
`outcome_of` runs a line in this process up to where the work would begin.
"""

import contextlib
import copy
import dataclasses
import io
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch

from diffrect.cli import main as cli
from diffrect.cli.arguments.spec import arguments_of
from diffrect.cli.commands import COMMANDS
from diffrect.data.view_options import ViewOptions
from diffrect.methods.registry import METHODS, find_method

NUMBERS = (
    *("0", "-1", "1", "2", "3", "0.5", "1e308", "-1e308", "1e-320", "1e400", "nan", "inf", "-inf"),
    *("1e99999999", "1e-99999999", "1e-99999999%", "50%", "0%", "101%", "1/0%", "1/3", "1:1:1:1"),
    *("9" * 30, "9" * 5000, "-" + "9" * 5000, "0x" + "f" * 400, "0x_", "0o9", "1_000", "٣", "²"),
    *("4294967296", "9223372036854775807", "9223372036854775808", "1000000000", "16384", "65536"),
)
TEXTS = (
    *("", " ", "-", "--", "=", "%", "%s", "{}", "{0.__class__}", "null", "true", "~", "x", "None"),
    *("[", "]", "{", "[" * 3000, "a: b", "&a [*a]", "*a", "!!python/name:os.system", "2021-99-99"),
    *(
        "a\nb",
        "a\x1b[2Jb",
        "a\0b",
        "\udcff",
        "\u202e",
        "ä" * 200,
        "x" * 300,
        "x" * 70_000,
        "'",
        '"',
    ),
    *("(", "(a", "[a-", "(?P<x>", "(a+)+$", "\\", "$HOME", "`id`", "*", "**", "a,b,,c", ",", "1,1"),
    *("os:system", "a.b:c", "a:", ":b", ".a:b", "diffrect:train", "A@", "@", "no-*", "1/2", "0/0"),
    *("cuda", "cuda:99", "cuda:-1", "hpu", "meta", "mps", "cpu:0:0", "cpu:" + "9" * 30),
)
PLACES = (
    *(".", "..", "nowhere", "nowhere/below", "file", "file/below", "folder", "empty", "loop"),
    *("dangling", "loop/below", "dangling/below", "pipe", "text.json", "deep.json", "deep.yaml"),
    *("/dev/null", "/dev/zero", "/dev/null/below", "~", "n" * 300, "n" * 5000, "a" + "/b" * 3000),
)
ANYTHING = (*NUMBERS, *TEXTS, *PLACES)


class WorkBeginsError(Exception):
    """Everything is checked; the work itself is left out."""


class Outcome(NamedTuple):
    """How a command line ended.

    Attributes:
        code: its exit code; None if the work would have begun.
        lines: what it wrote to stderr.
        error: what it raised, which is a fault of the program.
    """

    code: int | None
    lines: tuple[str, ...]
    error: BaseException | None

    @property
    def fault(self) -> str | None:
        """What is wrong with it; None if it is explained in a line or the work would begin."""
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"[:300]
        if self.code not in (None, 0, 1, 2):
            return f"exit code {self.code}"
        strange = [line for line in self.lines if len(line) > 2000 or not line.isprintable()]
        if self.code == 2 and (not self.lines or strange):
            return f"lines {[line[:300] for line in self.lines]}"
        return None


# Where the work of each command begins.
_SEAMS = (
    "diffrect.data.prepare._write_cases",
    "diffrect.training.trainer.launch",
    "diffrect.evaluation.evaluate._score",
    "diffrect.inference.predict.predict_file",
    "diffrect.inference.export._write",
    "diffrect.comparison.run.run_cells",
    "diffrect.comparison.run.estimate_cells",
    "diffrect.showcase.demo.make_data",
)


@contextlib.contextmanager
def without_work() -> Iterator[None]:
    """Let commands check everything and then raise `WorkBeginsError`."""
    with contextlib.ExitStack() as stack:
        for seam in _SEAMS:
            stack.enter_context(mock.patch(seam, side_effect=WorkBeginsError))
        yield


def outcome_of(arguments: list[str]) -> Outcome:
    """Run a command line in this process, without its work."""
    out, err = io.StringIO(), io.StringIO()
    with without_work(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code: int | None = None
        error: BaseException | None = None
        try:
            code = cli.main(arguments)
        except WorkBeginsError:
            pass
        except BaseException as raised:  # whatever it is, it is reported
            if isinstance(raised, KeyboardInterrupt):
                raise
            error = raised
    return Outcome(code, tuple(err.getvalue().splitlines()), error)


def make_places(folder: Path) -> None:
    """Make what `PLACES` name: files, folders, links and a pipe."""
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    (folder / "folder" / "thesis.tex").touch()
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere at all")
    (folder / "text.json").write_text('{"train": NaN}')
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "deep.yaml").write_text("[" * 20_000)
    with contextlib.suppress(AttributeError):
        import os

        os.mkfifo(folder / "pipe")


# What makes sense as the places of each command, so that its options are looked at too.
_POSITIONALS = {
    "prepare": ["source", "new-store"],
    "inspect": ["source"],
    "train": ["store", "new-run"],
    "options": ["uamt"],
    "evaluate": ["run"],
    "predict": ["run", "out", "scan.nii.gz"],
    "export": ["run", "model.onnx"],
    "compare": ["store", "cells"],
    "demo": ["demo"],
}


def flags_of(command: str) -> dict[str, bool]:
    """Return the options of a command; whether each takes a value."""
    arguments = arguments_of(COMMANDS[command])
    return {each.label: each.number != 0 for each in arguments if not each.place}


def option_names() -> list[str]:
    """Return the names of all options of methods and views."""
    owners = [ViewOptions, *(find_method(name).Options for name in METHODS)]
    return sorted({field.name for owner in owners for field in dataclasses.fields(owner)})


def option_lines(seed: int, number: int) -> Iterator[list[str]]:
    """Draw command lines: every option of every command in turn, with any value, maybe more.

    They name `source`, `store`, `run` and `scan.nii.gz` in the working folder, which have to be
    there, and what `make_places` makes.

    Args:
        seed: draws the values.
        number: how many lines.
    """
    draw = random.Random(seed)
    names = option_names()
    turns = [(c, flag) for c in _POSITIONALS for flag in (*flags_of(c), None, None)]
    for index in range(number):
        command, flag = turns[index % len(turns)]
        places = list(_POSITIONALS[command])
        if flag is None:  # the turn of the places
            places[draw.randrange(len(places))] = draw.choice(ANYTHING)
        flags = flags_of(command)
        chosen = ([flag] if flag else []) + draw.sample(
            sorted(flags), min(len(flags), draw.choice((0, 0, 1, 2)))
        )
        line = [command, *places]
        for one in chosen:
            value = draw.choice(ANYTHING)
            if one == "--option":
                value = f"{draw.choice(names)}={value}"
            line += [one, value] if flags[one] else [one]
        yield line


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 10**9, 2**63, -(2**70), 0.5, -0.5, 1e308, float("nan")),
    *(float("inf"), "", "x", "1", "../..", "a/b", "x" * 300, "\u202e", "a\nb", "\0", [], [[]], {}),
    *([1], ["x"], ["x", "x"], [None], {"x": 1}, {"": None}, [0] * 1000, [[0] * 3] * 3, ["x"] * 300),
)


def spoilt(content: Any, draw: random.Random, values: tuple[Any, ...] = VALUES) -> Any:
    """Return a copy of nested plain values in which one, drawn anywhere, is another or is gone."""
    changed = copy.deepcopy(content)
    places: list[tuple[Any, Any]] = []
    open_ones = [changed]
    while open_ones:
        one = open_ones.pop()
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            places.append((one, key))
            if isinstance(one[key], dict | list):
                open_ones.append(one[key])
    if not places:
        return draw.choice(values)
    owner, key = draw.choice(places)
    what = draw.randrange(8)
    if what == 0:
        del owner[key]
    elif what == 1 and isinstance(owner, list):
        owner.append(owner[key])
    elif what == 1:
        owner["another"] = owner[key]
    else:
        owner[key] = draw.choice(values)
    return changed


TENSORS: tuple[Callable[[torch.Tensor], Any], ...] = (
    lambda tensor: tensor[..., None],
    lambda tensor: tensor.flatten()[:0],
    lambda tensor: tensor.to(torch.complex64),
    lambda tensor: tensor.to(torch.int64) if tensor.is_floating_point() else tensor.float(),
    lambda tensor: tensor * float("nan"),
    lambda tensor: tensor.tolist(),
    lambda tensor: None,
    lambda tensor: torch.zeros(1).expand(2**40),
)


def spoilt_state(state: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return the content of a checkpoint in which one value or one tensor is another."""
    changed: dict[str, Any] = spoilt(dict(state), draw)
    if draw.random() < 0.5:
        changed = copy.deepcopy(dict(state))
        tensors = [(owner, key) for owner, key in _tensors(changed)]
        owner, key = draw.choice(tensors)
        owner[key] = draw.choice(TENSORS)(owner[key])
    return changed


def _tensors(content: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(content.items()) if isinstance(content, dict) else []:
        if isinstance(value, torch.Tensor):
            yield content, key
        yield from _tensors(value)
