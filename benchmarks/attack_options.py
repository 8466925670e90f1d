"""Command lines without sense: every option of every command with values that nobody means."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attack_fixtures import OPTIONS, Fixtures, copy_tree
from attack_inputs import Attempt, arguments
from attack_mutations import NUMBERS, WORDS
from diffrect.cli import commands
from diffrect.cli import main as cli
from diffrect.cli.arguments.spec import arguments_of
from diffrect.cli.compare import Compare
from support.nonsense import WorkBeginsError, make_places, option_lines, without_work

VALUES = tuple(
    value
    for value in (
        *NUMBERS,
        *WORDS,
        *(
            "auto",
            "cpu",
            "cuda",
            "cuda:99",
            "hpu",
            "mps",
            "meta",
            "all",
            "true",
            "false",
            "--",
            "-",
            "=",
            "-h",
        ),
        *(
            "1,2,,3",
            ",",
            "1/0",
            "0/0",
            "3/2",
            "-1/2",
            "1e3",
            "0.5",
            "99999999",
            "100%",
            "1e-9%",
            "(",
            "(?P<a",
            "(a+)+$",
        ),
        *(
            "a=1",
            "blur_sigma=x",
            "blur_sigma=",
            "blur_sigma=nan",
            "=",
            "rectify_from=-1",
            "a=[1,",
            "a=!!x 1",
        ),
        *(
            "os:system",
            "diffrect.data.split:Split",
            "nowhere:Method",
            "../x:Y",
            "sys:exit",
            ":",
            "a:b:c",
        ),
        *(
            "in",
            "in/a.nii",
            "in/noise",
            "/dev/null",
            "/dev/zero",
            "/proc/self/mem",
            "/",
            "in/pipe",
            "in/deep",
        ),
    )
    if "\0" not in value  # no command line can hold it
)
FLAGS: dict[type, tuple[str, ...]] = {}


def options_of(kind: type) -> tuple[str, ...]:
    """Return the options of a command, those of its groups included."""
    return tuple(each.label for each in arguments_of(kind) if not each.place)


COMMANDS: dict[str, tuple[type, Callable[[Fixtures], list[str]]]] = {
    "prepare": (commands.Prepare, lambda f: [str(f.decathlon), "out", "--workers", "1"]),
    "inspect": (commands.Inspect, lambda f: [str(f.decathlon)]),
    "train": (commands.Train, lambda f: [str(f.store), "out", *OPTIONS]),
    "options": (commands.Options, lambda f: ["uamt"]),
    "evaluate": (commands.Evaluate, lambda f: ["out"]),
    "predict": (commands.Predict, lambda f: [str(f.run), "out", str(f.scan), "--device", "cpu"]),
    "export": (commands.Export, lambda f: ["in", "out"]),
    "compare": (
        Compare,
        lambda f: [str(f.store), "out", *OPTIONS[2:], "--methods", "supervised", "--dry-run"],
    ),
    "demo": (commands.Demo, lambda f: ["out", "--iterations", "2"]),
}
_TURNS = (
    ("train",) * 4
    + ("compare",) * 3
    + ("prepare", "predict") * 2
    + ("inspect", "options", "evaluate", "export", "demo")
)


def options(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Give one to three senseless options, or a senseless argument, to a command."""
    verb = draw.choice(_TURNS)
    kind, good = COMMANDS[verb]
    given = good(fixtures)
    (place / "in").mkdir()
    (place / "in" / "noise").write_bytes(random.Random(0).randbytes(5000))
    (place / "in" / "deep").write_text("[" * 20_000)
    (place / "in" / "a.nii").write_bytes(fixtures.scans["a.nii"]["a.nii"])
    if verb == "evaluate":
        copy_tree(fixtures.run, place / "out")
    if draw.random() < 0.1:
        given[draw.randrange(len(given))] = draw.choice(VALUES)
    names = [*options_of(kind), "--nonsense", "--Size", "-x"]
    for _ in range(draw.choice((1, 1, 2, 3))):
        name = draw.choice(names)
        value = draw.choice(VALUES)
        at = len(given) if draw.random() < 0.8 else 0
        given[at:at] = [f"{name}={value}"] if draw.random() < 0.3 else [name, value]
    kept = ("out",) if verb in ("evaluate", "prepare", "train") else ()
    shown = " ".join(value if len(value) < 60 else f"{value[:20]}..." for value in given)
    return Attempt(f"{verb} {shown!r}", arguments(verb, *given), ("out",), kept=kept)


@functools.cache
def _lines(seed: int) -> list[list[str]]:
    return list(option_lines(seed, 20_000))


def checked_options(fixtures: Fixtures, place: Path, draw: Any) -> Attempt:
    """Take a line of `option_lines`, and let the command check it without doing its work."""
    for name, folder in (("source", "acdc"), ("store", "store"), ("run", "run")):
        (place / name).symlink_to(getattr(fixtures, folder))
    (place / "scan.nii.gz").symlink_to(fixtures.scan)
    make_places(place)
    line = _lines(draw.seed_given)[draw.number % 20_000]

    def work() -> int:
        with without_work():
            try:
                return cli.main(line)
            except WorkBeginsError:
                return 0

    shown = " ".join(value if len(value) < 60 else f"{value[:20]}..." for value in line)
    named = tuple(part.split("/")[0] for part in line)  # a drawn word may be what is made
    return Attempt(repr(shown), work, outputs=(*NEW, *named))


NEW = ("new-store", "new-run", "out", "model.onnx", "cells", "demo")
"""What the lines of `option_lines` make, if they make sense."""
OPTIONS_KIND: dict[str, tuple[Any, int]] = {
    "options, checked": (checked_options, 10),
    "options, with work": (options, 4),
}
"""The kinds, with how often each has its turn."""
