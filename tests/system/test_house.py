"""The plan of the package: imports lead downwards and never in a circle, and folders stay small."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import diffrect

SOURCE = Path(__file__).parents[2] / "src" / "diffrect"
FACE = {"diffrect", "diffrect.__main__"}  # they may import anything

# The rooms from top to bottom. A room imports from itself and from those below it; rooms of one
# line do not import each other. The ground is the modules at the top of the package, which import
# each other only.
GROUND = (
    *("atomic", "checks", "config", "console", "earlier_formats", "errors"),
    *("json_files", "processes", "text_files", "version"),
)
ORDER = (
    ("cli",),
    ("comparison", "showcase"),
    ("training", "viewing"),
    ("reporting",),
    ("evaluation",),
    ("inference",),
    ("runs", "methods"),
    ("data",),
    ("imaging", "networks", "distributed", "phantom"),
    ("plugins",),
    GROUND,
)
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}

Imports = dict[str, set[str]]


def read_imports(source: Path) -> Imports:
    """Return what each module imports from the package, also in functions and for type checkers."""
    files = {module_of(file, source): file for file in source.rglob("*.py")}
    return {name: imports_of(file, set(files)) - {name} for name, file in files.items()}


def module_of(file: Path, source: Path) -> str:
    parts = file.relative_to(source.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, modules: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}, line {node.lineno}: expected an absolute import"
            # What `from diffrect.data import store` imports is a module, if there is one.
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in modules else str(node.module) for name in names}
    return found & modules


def cycle_of(imports: Imports) -> list[str]:
    """Return modules of which each imports the next, and the first again at the end; or nothing."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def upward_imports(imports: Imports) -> list[str]:
    return [
        f"{importer} -> {imported}"
        for importer in sorted(imports.keys() - FACE)
        for imported in sorted(imports[importer])
        if not leads_down(room_of(importer), room_of(imported))
    ]


def room_of(module: str) -> str:
    return module.removeprefix("diffrect.").split(".")[0]


def leads_down(room: str, other: str) -> bool:
    if room == other or (room in GROUND and other in GROUND):
        return True
    return other in LEVELS and LEVELS[room] < LEVELS[other]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert cycle_of(read_imports(SOURCE)) == []


def test_imports_lead_downwards() -> None:
    assert upward_imports(read_imports(SOURCE)) == []


def test_every_room_has_its_place_in_the_order() -> None:
    folders = {path.name for path in SOURCE.iterdir() if any(path.glob("*.py"))}
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert modules == set(GROUND)
    assert folders | modules == LEVELS.keys()


def test_folders_are_small() -> None:
    assert len(GROUND) <= 10
    for folder in (path for path in SOURCE.rglob("*") if path.is_dir()):
        assert len(list(folder.glob("*.py"))) <= 20, folder


def test_no_module_at_the_top_bears_a_public_name() -> None:
    """`import diffrect.train` would otherwise replace the function `diffrect.train`."""
    assert not {path.stem for path in SOURCE.iterdir()} & set(diffrect.__all__)


def write_package(folder: Path, **modules: str) -> Path:
    source = folder / "diffrect"
    for name, text in modules.items():
        file = source / Path(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    (source / "__init__.py").touch()
    return source


def test_a_circle_is_found_wherever_its_imports_are(tmp_path: Path) -> None:
    source = write_package(
        tmp_path,
        data__store="from diffrect.data import split",
        data__split="from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from diffrect.data.task import Task",
        data__task="def read():\n    import diffrect.data.store",
    )
    cycle = cycle_of(read_imports(source))
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {f"diffrect.data.{name}" for name in ("store", "split", "task")}
    (source / "data" / "task.py").write_text("")
    assert cycle_of(read_imports(source)) == []


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    source = write_package(
        tmp_path,
        cli__main="from diffrect.data.store import Store",
        data__store="from diffrect.imaging.volume import Volume\nfrom diffrect.errors import Error",
        imaging__volume="def read():\n    from diffrect.data.store import Store",
        imaging__slicing="from diffrect.networks import unet",
        networks__unet="",
        errors="from diffrect import Store",
    )
    assert upward_imports(read_imports(source)) == [
        "diffrect.errors -> diffrect",
        "diffrect.imaging.slicing -> diffrect.networks.unet",
        "diffrect.imaging.volume -> diffrect.data.store",
    ]
