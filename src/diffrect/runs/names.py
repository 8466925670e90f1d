"""Names of everything in a RUN folder; what the files hold is described in `runs.folder`."""

from typing import Literal

CONFIG_FILE = "config.yaml"
OPTIONS_FILE = "options.yaml"
SPLIT_FILE = "split.json"
STORE_LINK_FILE = "store.txt"
LOG_FILE = "metrics.jsonl"
CELL_FILE = "cell.json"
PLUGINS_FILE = "plugins.json"
TENSORBOARD_FOLDER = "tensorboard"
CSV_FOLDER = "csv"
PICTURES_FOLDER = "pictures"
WANDB_FOLDER = "wandb"  # the name is theirs
LOGGERS_FILE = "loggers.json"
PROFILE_FOLDER = "profile"
RANKING_FOLDER = "ranking"
CHECKPOINTS_FOLDER = "checkpoints"
LAST, PREVIOUS, BEST = "last", "previous", "best"  # checkpoints, see `checkpoint_file`
STUDENT, AVERAGE = "student", "average"  # best by validation of what `--average` compares
Checkpoint = Literal["best", "last", "student", "average"]  # what can be scored
SPLITS = ("val", "test", "all")  # what `evaluate` can score
METRICS_FORMAT = 1  # version of metrics_SPLIT.json
PLUGINS_FORMAT = 1  # version of plugins.json
MODEL_FILE_FORMAT = 1  # version of what a file of `export` says of its model
REPLACED = ".replaced"
MOVING = ".replaced.moving"


def metrics_file(split: str) -> str:
    """Return the name of the file with the scores of a split, one of `SPLITS`."""
    return f"metrics_{split}.json"


def report_folder(split: str) -> str:
    """Return the name of the folder with the report of a split."""
    return f"report_{split}"


def checkpoint_file(name: str) -> str:
    """Return the name of the file of a checkpoint in CHECKPOINTS_FOLDER."""
    return f"{name}.pt"


# All that is ever removed from a RUN folder; CONFIG_FILE and SPLIT_FILE, which mark it, come last.
ENTRIES = (
    CHECKPOINTS_FOLDER,
    TENSORBOARD_FOLDER,
    CSV_FOLDER,
    PICTURES_FOLDER,
    WANDB_FOLDER,
    LOGGERS_FILE,
    PROFILE_FOLDER,
    LOG_FILE,
    *map(metrics_file, SPLITS),
    *map(report_folder, SPLITS),
    RANKING_FOLDER,
    CELL_FILE,
    PLUGINS_FILE,
    STORE_LINK_FILE,
    OPTIONS_FILE,
    SPLIT_FILE,
    CONFIG_FILE,
)
