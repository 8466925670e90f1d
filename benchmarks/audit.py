"""The pinned packages have no known vulnerability, by the OSV database.

    python benchmarks/audit.py constraints.txt

Prints every advisory, or the number of packages that have none. Exits with 1 if there is an
advisory, and with 0, saying so, if the database cannot be reached.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

SERVICE = "https://api.osv.dev/v1/querybatch"


def pinned(file: Path) -> list[tuple[str, str]]:
    """Return names and versions in a file of lines NAME==VERSION."""
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    pairs = (line.partition("==") for line in lines if "==" in line)
    return [(name.strip(), version.strip()) for name, _, version in pairs]


def known(packages: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the ids of the advisories for each package."""
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in packages
    ]
    body = json.dumps({"queries": queries}).encode()
    request = Request(SERVICE, body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        results = json.load(answer)["results"]
    return [[entry["id"] for entry in result.get("vulns") or []] for result in results]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the advisories of all files; return the exit code."""
    files = sys.argv[1:] if arguments is None else arguments
    packages = [pair for file in files for pair in pinned(Path(file))]
    try:
        found = known(packages)
    except (URLError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        print(f"NOT AUDITED: the advisories cannot be reached ({SERVICE}: {reason})")
        return 0
    affected = [(pair, ids) for pair, ids in zip(packages, found, strict=True) if ids]
    for (name, version), ids in affected:
        print(f"{name} {version}: {', '.join(ids)}, see https://osv.dev/{ids[0]}")
    if not affected:
        print(f"{len(packages)} packages, no known vulnerability")
    return int(bool(affected))


if __name__ == "__main__":
    sys.exit(main())
