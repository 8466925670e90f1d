"""The owner of a lock: how a process describes itself in the file, and whether it still lives."""

import os
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from diffrect.console import one_line
from diffrect.json_files import parse_json

STALE_SECONDS = 120.0
# What a lock calls the process that the first of these files started.
_COMMANDS = {"__main__.py": "diffrect", "cell_process.py": "diffrect compare"}
_LONGEST_COMMAND = 160


def is_here(text: str) -> bool:
    """Return whether the owner of a lock can be looked for, because it is on this machine."""
    owner, here = _owner(text), describe_process(os.getpid())
    return owner.get("host") == here["host"] and here["started"] is not None


def is_stale(text: str, age: float) -> bool:
    """Return whether a lock of `age` seconds that says `text` is left over from a dead process."""
    owner = _owner(text)
    if is_here(text):
        return bool(owner.get("started") != describe_process(owner["pid"])["started"])
    job, start = _job()
    requeued = job is not None and owner.get("job") == job and owner.get("start") != start
    return requeued or age > STALE_SECONDS


def describe_process(pid: int) -> dict[str, object]:
    """Return machine, id and start of a process; "started" is None if it is dead or not known.

    The start distinguishes a process from a later one with the same id. The machine's name includes
    the process namespace, because ids mean nothing between containers.
    """
    host = socket.gethostname()
    try:
        host += f" {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (not a path to anything)
    except OSError:
        return {"host": host, "pid": pid, "started": "running" if _is_running(pid) else None}
    try:
        # After the name in brackets come the state, then 18 fields, then the start in ticks since
        # boot.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return {"host": host, "pid": pid, "started": None}
    started = None if fields[0] in "ZX" else f"{boot} {fields[19]}"
    return {"host": host, "pid": pid, "started": started}


def _is_running(pid: int) -> bool:
    """Return whether a process runs, on systems without /proc; False on Windows, as not known."""
    if os.name == "nt":  # os.kill would end the process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def describe_work() -> dict[str, object]:
    """Return what this process does, since when, and in which job of SLURM."""
    name = Path(sys.argv[0] if sys.argv else "").name
    command = _COMMANDS.get(name, name) or "python"
    if command == "diffrect":
        command = shlex.join([command, *sys.argv[1:]])
    job, start = _job()
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"command": command[:_LONGEST_COMMAND], "since": since, "job": job, "start": start}


def _job() -> tuple[str | None, str]:
    """Return the SLURM job of this process and which of its starts this is, counted by SLURM."""
    return os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "0")


def _owner(text: str) -> dict[str, Any]:
    """Return what a lock says; an empty dict if it is being written just now, or damaged."""
    try:
        owner = parse_json(text)
    except ValueError:
        return {}
    whole = isinstance(owner, dict) and type(owner.get("pid")) is int and 0 < owner["pid"] < 2**31
    return owner if whole else {}


def describe_owner(text: str) -> str:
    """Return in words which process a lock names."""
    owner = _owner(text)
    if not owner:
        return "another process"
    host = (str(owner.get("host")).split() or ["?"])[0]
    words = f"process {owner['pid']} on {host}"
    if "since" in owner:
        words += f" since {owner['since']}"
    return one_line(words + (f": {owner['command']}" if "command" in owner else ""))
