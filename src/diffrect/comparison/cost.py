"""What a cell cost, and which code computed it: the facts beside its scores in cell.json."""

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

import torch

from diffrect.inference.load import load_method
from diffrect.runs.log import read_log
from diffrect.runs.names import LOG_FILE
from diffrect.version import package_version


def training_cost(run: Path, checkpoint: Literal["best", "last"]) -> dict[str, Any]:
    """Time, memory and size of a finished training.

    Returns:
        "minutes" by the clock and "processor_minutes" (all sessions, validation included),
        "seconds_per_iteration" (without validation), "peak_memory_mib" (of the GPU, else of the
        process), "parameters" (of the network that predicts), "trained_parameters" (of all networks
        that training holds and optimises) and "machine". What the run does not tell is None.
    """
    end: dict[str, Any] = {}
    for line in read_log(run / LOG_FILE):
        if "minutes" in line or line.get("kind") == "end":
            end = {**end, **line}
    method = load_method(run, checkpoint).method
    names = ("minutes", "processor_minutes", "seconds_per_iteration", "peak_memory_mib")
    return {
        **{name: end.get(name) for name in names},
        "parameters": sum(p.numel() for p in method.predictor.parameters()),
        "trained_parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "machine": machine(),
    }


def machine() -> str:
    """The device that trains here and, of a processor, how many threads compute."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    threads = torch.get_num_threads()
    return f"{name.strip()}, {threads} thread{'' if threads == 1 else 's'}"


def code_version() -> dict[str, str | None]:
    """The package's version, and the commit of its source where that is known."""
    return {"diffrect": package_version(), "commit": _commit_of_source() or _commit_of_install()}


def _commit_of_source() -> str | None:
    """HEAD of the repository that holds this package, with "+" if the package differs from it."""
    folder = Path(__file__).parents[1]
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None  # not in a repository, or in one that is not the package's
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = commit and _git(folder, "status", "--porcelain", "--", ".")
    return f"{commit}+" if changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit_of_install() -> str | None:
    """The commit that pip installed from, where it was a repository."""
    try:
        text = distribution("diffrect").read_text("direct_url.json") or "{}"
        return str(json.loads(text)["vcs_info"]["commit_id"])[:12]
    except (PackageNotFoundError, KeyError, TypeError, ValueError):
        return None
