"""`diffrect --help` and `import diffrect` take a fraction of a second and do not load torch.

    python benchmarks/start_speed.py [--rounds 7]

Prints the seconds of each, of an empty interpreter beside them, and whether torch is loaded.

Each call is a process of its own. They take turns; the times are medians.
"""

import argparse
import subprocess
import sys

from side_by_side import machine, take_turns

COMMANDS = {
    "python": "pass",
    "import diffrect": "import diffrect",
    "diffrect --help": "import sys; from diffrect.cli.main import main; main(['--help'])",
}
LOADED = "import sys; print('torch' in sys.modules, file=sys.stderr)"


def call(code: str) -> str:
    """Return what a new interpreter writes to stderr."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    runs = {what: lambda code=code: call(code) for what, code in COMMANDS.items()}
    times = take_turns(runs, arguments.rounds)
    print(machine())
    for what, taken in times.items():
        loaded = call(f"{COMMANDS[what]}\n{LOADED}").split()[-1]
        print(f"{what:16} {taken:6.3f} s, torch loaded: {loaded}")


if __name__ == "__main__":
    main()
