"""The commands of the command line: each is a small dataclass whose fields are its options.

The work of a command is imported once its arguments are read, so that help and bad arguments take
no time.
"""

from collections.abc import Mapping
from typing import Annotated

from tyro.conf import subcommand

from diffrect.cli.compare import Compare
from diffrect.cli.demo import Demo
from diffrect.cli.evaluate import Evaluate
from diffrect.cli.export import Export
from diffrect.cli.inspect import Inspect
from diffrect.cli.predict import Predict
from diffrect.cli.prepare import Prepare
from diffrect.cli.train import Train

COMMANDS = (
    Annotated[Prepare, subcommand("prepare")]
    | Annotated[Inspect, subcommand("inspect")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Predict, subcommand("predict")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Demo, subcommand("demo")]
)
Command = Prepare | Inspect | Train | Evaluate | Predict | Export | Compare | Demo
WORK: Mapping[type[Command], str] = {
    Prepare: "diffrect.data.prepare",
    Inspect: "diffrect.data.inspection",
    Train: "diffrect.training.train",
    Evaluate: "diffrect.evaluation.evaluate",
    Predict: "diffrect.inference.predict",
    Export: "diffrect.evaluation.export",
    Demo: "diffrect.showcase.demo",
}
"""The module that does the work of a command and takes the time to import; `compare` looks at its
arguments before."""
