"""RUN/loggers.json: which run of a service this training is, and how far the service has it.

A service keeps what it was sent. A training that was cut off writes some iterations again, which
it must not get twice, also if the training is cut off again before it has come as far.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from diffrect.data.fields import Fields
from diffrect.json_files import read_json, write_json
from diffrect.runs.log import last_steps
from diffrect.runs.names import LOG_FILE, LOGGERS_FILE


@dataclass(frozen=True)
class Remembered:
    """A run of a service.

    Attributes:
        run: its name there.
        sent: the last iteration of each kind of line that was sent.
    """

    run: str
    sent: Mapping[str, int] = field(default_factory=dict)


def remembered(run: Path) -> dict[str, Remembered]:
    """Return what is known of each service, by logger.

    Raises:
        InputError: the file is damaged.
    """
    file = run / LOGGERS_FILE
    if not file.is_file():
        return {}
    content = Fields(read_json(file, "the names of a run in its loggers"), file)
    found = {}
    for name in content.values:
        entry = content.fields(name)
        sent = entry.fields("sent")
        steps = {kind: sent.whole(kind, 0) for kind in sent.values}
        found[name] = Remembered(entry.text("run"), steps)
        if not re.fullmatch(r"[\w-]{1,128}", found[name].run):
            raise entry.refuse("run", "the name of a run")
    return found


def remember(run: Path, name: str, entry: Remembered) -> None:
    """Note what is known of a service."""
    entries = {**remembered(run), name: entry}
    write_json(run / LOGGERS_FILE, {name: asdict(entry) for name, entry in entries.items()})


def remember_sent(run: Path) -> None:
    """Note how far services have the record, before it is cut to resume."""
    steps = last_steps(run / LOG_FILE)
    for name, entry in remembered(run).items():
        sent = {kind: max(step, entry.sent.get(kind, 0)) for kind, step in steps.items()}
        remember(run, name, Remembered(entry.run, {**entry.sent, **sent}))
