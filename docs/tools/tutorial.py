"""Read a tutorial's page as steps, for its test and for the notebook with the same content.

    python docs/tools/tutorial.py FOLDER [PAGE]

runs all steps in a new folder and writes what they print into the page. A block marked `console`
holds one command behind `$ ` and what it prints; a block marked `python` is code, and one marked
`output` behind it is what the code prints. If the last line of code is a picture, as
`diffrect.show` returns it, the file of an image behind that holds it. All else is text.
"""

import ast
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from diffrect.cli.main import main

PAGE = Path(__file__).resolve().parents[1] / "start" / "first-model.md"
IN_PYTHON = PAGE.with_name("in-python.md")
_BLOCK = re.compile(
    r"^```(console|python)\n(.*?)^```\n(?:\n```output\n(.*?)^```\n)?"
    r"(?:\n!\[([^\]\n]*)\]\(([\w-]+\.svg)\)\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """A piece of the page: text, a command with its output, or Python."""

    kind: Literal["text", "console", "python"]
    written: str
    """The text, the command or the code as the page has it."""
    output: str = ""
    """What the command or the code prints, as the page shows it."""
    picture: str = ""
    """Name of the file of the picture that the code ends with."""
    alt: str = ""
    """What the picture shows, in words."""

    @property
    def source(self) -> str:
        """The command in one line; text and code as they are."""
        joined = " ".join(self.written.replace("\\\n", " ").split())
        return joined if self.kind == "console" else self.written

    def markdown(self) -> str:
        """Return the step as the page has it."""
        output = f"{self.output}\n" if self.output else ""
        if self.kind == "console":
            return f"```console\n$ {self.written}\n{output}```\n"
        shown = f"\n```output\n{output}```\n" if output else ""
        shown += f"\n![{self.alt}]({self.picture})\n" if self.picture else ""
        return f"```python\n{self.written}\n```\n{shown}" if self.kind == "python" else self.written


def read_steps(page: Path = PAGE) -> list[Step]:
    """Return the steps of a page in their order."""
    text, steps, end = page.read_text("utf-8"), [], 0
    for block in _BLOCK.finditer(text):
        steps.append(Step("text", text[end : block.start()]))
        step = _step(block[1], block[2], block[3] or "")
        steps.append(replace(step, alt=block[4] or "", picture=block[5] or ""))
        end = block.end()
    return [*steps, Step("text", text[end:])]


def _step(language: str, block: str, output: str) -> Step:
    if language == "python":
        return Step("python", block.rstrip("\n"), output.rstrip("\n"))
    lines = block.removeprefix("$ ").splitlines()
    last = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
    return Step("console", "\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :]))


def run(step: Step, variables: dict[str, Any]) -> str:
    """Run a step in the current folder and process, and return what it prints on stdout.

    Args:
        step: a command or Python.
        variables: what the Python of earlier steps has defined.

    Raises:
        RuntimeError: the command failed.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        program, *arguments = shlex.split(step.source) if step.kind == "console" else [""]
        if program == "diffrect":
            if code := main(arguments):
                raise RuntimeError(f"{step.source}: exit code {code}")
        elif program:  # the one command that is `python -c CODE`
            exec(arguments[1], variables)
        else:
            _run_code(step, variables)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def _run_code(step: Step, variables: dict[str, Any]) -> None:
    """Run the code of a step; the picture that it ends with goes to the step's file."""
    code = ast.parse(step.source)
    last = code.body.pop() if step.picture else None
    exec(compile(code, "<step>", "exec"), variables)
    if last is not None:
        assert isinstance(last, ast.Expr), step.source
        shown = eval(compile(ast.Expression(last.value), "<step>", "eval"), variables)
        shown.save(step.picture)


def notebook(page: Path = PAGE) -> str:
    """Return the page as a Jupyter notebook, with the outputs that the page shows."""
    steps = [step for step in read_steps(page) if step.written.strip()]
    content = {
        "cells": [_cell(step, number, page.parent) for number, step in enumerate(steps)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(step: Step, number: int, folder: Path) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"step-{number}", "metadata": {}}
    if step.kind == "text":
        return {"cell_type": "markdown", **cell, "source": _lines(step.written.strip())}
    source = f"!{step.source}" if step.kind == "console" else step.source
    outputs: list[dict[str, Any]] = []
    if step.output:
        outputs.append({"name": "stdout", "output_type": "stream", "text": _lines(step.output)})
    if step.picture:
        svg = (folder / step.picture).read_text("utf-8").rstrip("\n")
        data = {"image/svg+xml": [svg]}
        shown = {"data": data, "execution_count": None, "metadata": {}}
        outputs.append({**shown, "output_type": "execute_result"})
    code = {"execution_count": None, "outputs": outputs, "source": _lines(source)}
    return {"cell_type": "code", **cell, **code}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    written = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else PAGE
    folder.mkdir()
    os.chdir(folder)
    os.environ["COLUMNS"] = "80"
    known: dict[str, Any] = {}
    done = [
        step if step.kind == "text" else replace(step, output=run(step, known))
        for step in read_steps(written)
    ]
    for step in done:
        if step.picture:
            shutil.copy(step.picture, written.parent)
    written.write_text("".join(step.markdown() for step in done), encoding="utf-8")
