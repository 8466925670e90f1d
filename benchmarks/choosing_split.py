"""Write a split that validates on training patients, to choose settings by.

    python benchmarks/choosing_split.py STORE SPLIT.json [--labelled 1] [--every 7] [--start 0]

Every n-th unlabelled patient of the store's official training list leaves the training and
validates. The patients are those of `rectifier_probe.py` with the same --every and --start. The
official validation and test patients are in no part, so that they can report what was chosen.
"""

import argparse
from pathlib import Path

from diffrect.comparison.tuning.held_out import judged_by
from diffrect.config import TrainConfig
from diffrect.data.choose_split import split_of
from diffrect.data.store import Store


def main() -> None:
    """Read the arguments and write the split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--labelled", default="1")
    parser.add_argument("--every", type=int, default=7)
    parser.add_argument("--start", type=int, default=0)
    arguments = parser.parse_args()
    official = split_of(Store(arguments.store), TrainConfig(labelled=arguments.labelled))
    split = judged_by(official, official.unlabelled[arguments.start :: arguments.every])
    arguments.split.write_text(split.to_json(), "utf-8")
    print(f"{arguments.split}: {len(split.train)} to train, {len(split.val)} to choose by")


if __name__ == "__main__":
    main()
