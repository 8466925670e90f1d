"""Files of the user's own code: found where he says, run once, and explained if they fail."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffrect.errors import InputError
from diffrect.plugins import files, trust
from diffrect.plugins.files import load_plugin, load_plugins, loaded_plugins
from diffrect.plugins.names import find_object


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plug-ins of a test are gone after it."""
    monkeypatch.setattr(files, "_LOADED", {})
    monkeypatch.setattr(trust, "_TRUSTED", set())
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


def test_a_file_becomes_a_module(tmp_path: Path) -> None:
    file = tmp_path / "plug_one.py"
    file.write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A:\n    b: 'int' = 1\n"
    )
    load_plugin(file)
    found = find_object("plug_one:A", "--method plug_one:A", "method")
    assert found().b == 1
    load_plugin(str(file))  # as it is: not run again
    assert find_object("plug_one:A", "", "") is found
    assert not (tmp_path / "__pycache__").exists()
    file.write_text("A = 2\n")  # changed: run again, although its size may be the same
    load_plugin(file)
    assert find_object("plug_one:A", "", "") == 2
    assert [plugin.file for plugin in loaded_plugins()] == [file]


def test_a_file_of_another_folder_takes_its_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plug_two.py").write_text(f"where = '{folder}'\n")
        load_plugin(tmp_path / folder / "plug_two.py")
        assert find_object("plug_two:where", "", "") == folder
    both = [tmp_path / folder / "plug_two.py" for folder in ("a", "b")]
    with pytest.raises(InputError, match=r"b/plug_two.py: expected another name than that of, fou"):
        load_plugins(both)


def test_plugins_may_import_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "plug_first.py").write_text("A = 1\n")
    (tmp_path / "plug_second.py").write_text("from plug_first import A\nB = A + 1\n")
    load_plugins([tmp_path / "plug_first.py", tmp_path / "plug_second.py"])
    assert find_object("plug_second:B", "", "") == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "plug_raises.py",
            "\nraise RuntimeError('not today')\n",
            r"RuntimeError: not today \(.*2\)",
        ),
        ("plug_typo.py", "def (:\n", r"SyntaxError: invalid syntax \(plug_typo.py, line 1\)"),
        ("plug_zero.py", "a\0b", "found some that raises (SyntaxError|ValueError): source code"),
        ("plug_lacks.py", "import not_installed\n", "No module named 'not_installed'"),
        ("torch.py", "", "expected another file name, a module torch is installed"),
        ("__main__.py", "", "expected another file name, a module __main__ is installed"),
        ("my-code.py", "", "expected a file name of letters, digits and underscores"),
        ("class.py", "", "expected a file name of letters, digits and underscores"),
        ("nothing.py", None, "expected a file of Python, found no such file"),
        ("folder.txt", "", "expected FILE.py, or the name of a module that is installed"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    before = dict(sys.modules)
    with pytest.raises(InputError, match=message) as caught:
        load_plugin(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert loaded_plugins() == ()
    assert Path(name).stem not in sys.modules.keys() - before.keys()
    assert sys.modules.get(Path(name).stem) is before.get(Path(name).stem)


def test_the_name_of_a_module_only_allows_it(tmp_path: Path) -> None:
    load_plugin("json.decoder")
    assert trust.is_named("json.decoder:JSONDecoder")
    assert not trust.is_named("json.encoder:JSONEncoder")
    for name in ("not_installed", "json.nothing", "../x", ""):
        with pytest.raises(InputError, match=r"expected FILE.py, or the name of a module"):
            load_plugin(name)


def test_the_current_folder_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "plug_near.py").write_text("open('written', 'w')\n")
    code = "from diffrect.plugins.names import find_object; find_object('plug_near:A', 'x', 'y')"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not (tmp_path / "written").exists()
    line = (
        "x: expected a module on PYTHONPATH, or --plugin FILE.py: No module named 'plug_near'; "
        "--plugin plug_near.py reads the file of this folder"
    )
    assert done.stderr.strip().endswith(line)
