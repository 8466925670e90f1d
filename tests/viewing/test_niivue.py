"""NiiVue as `ipyniivue` brings it, and what is said where it is not there."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from diffrect.errors import InputError
from diffrect.viewing import niivue as module
from diffrect.viewing.niivue import check_niivue, niivue


class FakePackage:
    """An installed package of which only one file and the version are known."""

    version = "9.9"

    def __init__(self, folder: Path, script: str) -> None:
        self.file = folder / "widget.js"
        self.file.write_text(script)

    def locate_file(self, name: str) -> Path:
        return self.file

    def read_text(self, name: str) -> str | None:
        return None


@pytest.fixture(autouse=True)
def _read_again():
    niivue.cache_clear()
    yield
    niivue.cache_clear()


def test_niivue_is_there_whole_and_sets_one_name():
    found = niivue()
    assert len(found.script) > 1_000_000
    assert found.script.startswith('(()=>{"use strict";')
    end = found.script[-40:]
    assert "globalThis.Niivue=" in end
    assert "export{" not in end
    assert "Redistribution and use in source and binary forms" in found.licence
    assert "</script" not in found.script.lower()


def test_what_is_made_is_what_is_named(tmp_path, monkeypatch):
    made = 'class a${};x={f(){console.log("Creating new Niivue instance");b=new a$(1)}};'
    script = f"{made}export{{x as default}};"
    monkeypatch.setattr(module, "distribution", lambda name: FakePackage(tmp_path, script))
    found = niivue()
    assert found.script.endswith("globalThis.Niivue=a$;})();\n")
    assert "export" not in found.script
    assert found.licence == "BSD-2-Clause"


@pytest.mark.parametrize(
    "script",
    [
        "",
        'console.log("Creating new Niivue instance");export{x as default};',
        'console.log("Creating new Niivue instance");b=new a(1);',
    ],
)
def test_another_form_of_it_is_named(script, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "distribution", lambda name: FakePackage(tmp_path, script))
    with pytest.raises(
        InputError, match=r"ipyniivue: expected ipyniivue>=2.* found 9\.9; install the extra"
    ):
        niivue()


def test_what_is_missing_is_named_with_the_extra(monkeypatch):
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "distribution", missing)
    wanted = r"view: expected the package ipyniivue, found none; install the extra viewer"
    with pytest.raises(InputError, match=wanted):
        check_niivue()
