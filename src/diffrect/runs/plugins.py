"""RUN/plugins.json: which of the user's own files a training was made with, and their checksums.

It is a note for the user. The files are never run because of it.
"""

from dataclasses import dataclass
from pathlib import Path

from diffrect.config import TrainConfig
from diffrect.console import warn
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.json_files import read_json, write_json
from diffrect.plugins.files import loaded_plugins
from diffrect.plugins.settings import check_settings, named_code
from diffrect.runs.names import PLUGINS_FILE, PLUGINS_FORMAT


@dataclass(frozen=True)
class RememberedPlugin:
    """A file that a training was made with.

    Attributes:
        module: name of the module that it became.
        file: where it lay then.
        sha256: its checksum then.
    """

    module: str
    file: Path
    sha256: str


def remember_plugins(run: Path, config: TrainConfig) -> None:
    """Note the plug-ins that define what the settings name, if there are any."""
    modules = {name.partition(":")[0] for _, name in named_code(config)}
    used = [plugin for plugin in loaded_plugins() if plugin.module in modules]
    if used:
        notes = [{"module": p.module, "file": str(p.file), "sha256": p.sha256} for p in used]
        write_json(run / PLUGINS_FILE, {"format": PLUGINS_FORMAT, "plugins": notes})


def remembered_plugins(run: Path) -> list[RememberedPlugin]:
    """Return the files that a training was made with.

    Raises:
        InputError: the note is not readable.
    """
    file = run / PLUGINS_FILE
    if not file.is_file():
        return []
    content = Fields(read_json(file), file)
    content.whole("format", 1, PLUGINS_FORMAT)
    return [
        RememberedPlugin(one.text("module"), Path(one.text("file")), one.text("sha256"))
        for one in content.each("plugins")
    ]


def check_named_by_run(
    run: Path, config: TrainConfig, where: object, *, predicts: bool = False
) -> None:
    """Check that the code which a run's settings name may be imported; say how to name it.

    Args:
        run: the RUN folder.
        config: the settings.
        where: the file of the run that holds them.
        predicts: whether they only predict.

    Raises:
        InputError: the user has not named it, see `check_settings`.
    """
    try:
        check_settings(config, where, predicts=predicts)
    except InputError as error:
        for plugin in _readable_notes(run):
            if any(name.partition(":")[0] == plugin.module for _, name in named_code(config)):
                error.parts["hint"] = f"it was trained with --plugin {plugin.file}"
        raise


def warn_of_changes(run: Path) -> None:
    """Say which plug-ins are not what they were when the training began."""
    loaded = {plugin.module: plugin for plugin in loaded_plugins()}
    for before in _readable_notes(run):
        now = loaded.get(before.module)
        if now is not None and now.sha256 != before.sha256:
            warn(
                f"{now.file}: has changed since {run} was trained with it, so that results may "
                "differ from those of one training"
            )


def _readable_notes(run: Path) -> list[RememberedPlugin]:
    try:
        return remembered_plugins(run)
    except InputError:  # a note that is damaged helps nobody, and stops nothing
        return []
