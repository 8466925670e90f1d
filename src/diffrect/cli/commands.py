"""The commands of the command line: each is a small dataclass whose fields are its options.

The work of a command is imported once its arguments are read, so that help and bad arguments take
no time.
"""

from collections.abc import Mapping

from diffrect.cli.compare import Compare
from diffrect.cli.demo import Demo
from diffrect.cli.evaluate import Evaluate
from diffrect.cli.export import Export
from diffrect.cli.inspect import Inspect
from diffrect.cli.options import Options
from diffrect.cli.predict import Predict
from diffrect.cli.prepare import Prepare
from diffrect.cli.rank import Rank
from diffrect.cli.rectify import Rectify
from diffrect.cli.train import Train
from diffrect.cli.tune import Tune
from diffrect.cli.view import View

Command = (
    Prepare
    | Inspect
    | Train
    | Options
    | Evaluate
    | Predict
    | Rectify
    | Rank
    | View
    | Export
    | Compare
    | Tune
    | Demo
)
COMMANDS: Mapping[str, type[Command]] = {
    "prepare": Prepare,
    "inspect": Inspect,
    "train": Train,
    "options": Options,
    "evaluate": Evaluate,
    "predict": Predict,
    "rectify": Rectify,
    "rank": Rank,
    "view": View,
    "export": Export,
    "compare": Compare,
    "tune": Tune,
    "demo": Demo,
}
WORK: Mapping[type[Command], str] = {
    Prepare: "diffrect.data.prepare",
    Inspect: "diffrect.data.inspection",
    Train: "diffrect.training.train",
    Evaluate: "diffrect.evaluation.evaluate",
    Predict: "diffrect.inference.predict",
    Rectify: "diffrect.inference.rectifying.rectify",
    Rank: "diffrect.inference.ranking.rank",
    Export: "diffrect.evaluation.export",
    Demo: "diffrect.showcase.demo",
}
"""The module that does the work of a command and takes the time to import; `compare` looks at its
arguments before."""
