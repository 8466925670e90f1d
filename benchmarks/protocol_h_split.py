"""Write the split of protocol H: first 3 cases labelled, last 25 validation, the rest unlabelled.

    python benchmarks/protocol_h_split.py HIPPOCAMPUS SPLIT.json

Prints how many cases train and validate. HIPPOCAMPUS is the Decathlon folder Task04_Hippocampus;
its cases are sorted by name.
"""

import argparse
from pathlib import Path

from diffrect.data.split import Split


def main() -> None:
    """Read the file names of imagesTr and write the split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("split", type=Path)
    arguments = parser.parse_args()
    images = (arguments.source / "imagesTr").glob("[!.]*.nii.gz")
    cases = tuple(sorted(path.name.removesuffix(".nii.gz") for path in images))
    split = Split(train=cases[:-25], val=cases[-25:], labelled=cases[:3])
    arguments.split.write_text(split.to_json(), "utf-8")
    print(f"{arguments.split}: {len(split.train)} to train, {len(split.val)} to validate")


if __name__ == "__main__":
    main()
