"""The page: what it may load and run, what it holds, and that names of files stay text in it."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.viewing import page as module
from diffrect.viewing.gallery import Gallery, Layer, ShownCase
from diffrect.viewing.niivue import niivue
from diffrect.viewing.page import served_page, write_page
from diffrect.viewing.view import write_viewer
from support.pages import HOSTILE, Page
from support.viewers import gallery, labels, volume


def scripts(text: str) -> list[tuple[dict[str, str | None], str]]:
    """The attributes and the content of each script of a page, as a browser reads them."""
    found: list[tuple[dict[str, str | None], str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            self.inside = tag == "script"
            if self.inside:
                found.append((dict(attributes), ""))

        def handle_endtag(self, tag):
            self.inside = False

        def handle_data(self, data):
            if getattr(self, "inside", False):
                found[-1] = found[-1][0], found[-1][1] + data

    reader = Reader()
    reader.feed(text)
    reader.close()
    return found


def checksum(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def check_policy(text: str, data: str) -> None:
    """Assert that only the page's own script and NiiVue may run, and nothing be loaded."""
    page = Page(text)
    (policy,) = [m["content"] for m in page.of("meta") if "Content-Security-Policy" in m.values()]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["connect-src"] == data
    assert "unsafe" not in policy
    assert "http" not in policy
    run = [content for attributes, content in scripts(text) if "type" not in attributes]
    assert len(run) == 1
    assert set(rules["script-src"].split()) == {checksum(run[0]), checksum(niivue().script)}
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert rules["style-src"] == checksum(style)
    kinds = {a.get("type") for a, _ in scripts(text)}
    assert kinds <= {None, "application/json", "text/plain"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert not {"src", "srcset", "action", "data"} & attributes.keys(), tag
        assert attributes.get("href") in (None, "data:,"), tag
        assert tag not in ("iframe", "object", "embed", "base", "form", "foreignobject")
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_served_page_takes_data_from_its_server_only():
    shown = served_page(gallery())
    check_policy(shown.html, "'self'")
    assert "data/0/scan" not in shown.html
    assert len(shown.html) < 3_000_000


def test_the_written_page_holds_all_data_and_takes_none(tmp_path):
    shown = gallery()
    size = write_page(tmp_path / "a.html", shown)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert size == len(text.encode())
    check_policy(text, "'none'")
    parts = {
        a["id"]: content for a, content in scripts(text) if a.get("id", "").startswith("data/")
    }
    assert list(parts) == [
        *("data/0/scan", "data/0/0", "data/0/1", "data/0/2"),
        *("data/1/scan", "data/1/0", "data/1/1"),
    ]
    for name, wanted in (("data/0/scan", volume(0).array), ("data/0/0", labels(0))):
        content = gzip.decompress(base64.b64decode(parts[name]))
        assert np.array_equal(nib.Nifti1Image.from_bytes(content).get_fdata(), wanted)


def test_the_page_carries_niivue_and_its_licence():
    text = served_page(gallery()).html
    (packed,) = [content for a, content in scripts(text) if a.get("id") == "niivue"]
    assert gzip.decompress(base64.b64decode(packed)).decode() == niivue().script
    assert "Redistribution and use in source and binary forms" in Page(text).words


def test_the_list_has_scores_and_entropy_as_far_as_they_are_known():
    text = served_page(gallery()).html
    rows = re.findall(r"<tr data-case=.*?</tr>", text, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    assert [row[1:] for row in cells] == [["val", "71.2", "0.125"], ["val", "–", "0.125"]]
    bare = Gallery("x", (ShownCase("only", lambda: volume(0)),))
    heads = re.findall(r"<thead>(.*?)</thead>", served_page(bare).html, re.DOTALL)
    assert len(re.findall("<th ", heads[0])) == 1
    assert "<summary>1 case</summary>" in served_page(bare).html


def test_the_colours_of_classes_are_those_of_the_reports():
    text = served_page(gallery()).html
    (content,) = [content for a, content in scripts(text) if a.get("id") == "view"]
    description = json.loads(content)
    assert description["colours"] == [f"c{code}" for code in range(1, 20)]
    for style in description["colours"]:
        assert f".{style} {{ --c: " in text


def test_names_with_markup_stay_text(tmp_path):
    layers = tuple(Layer(name, "label", lambda _: labels(0)) for name in HOSTILE)
    cases = tuple(ShownCase(name, lambda: volume(0), layers, part=name) for name in HOSTILE)
    shown = Gallery(HOSTILE[0], cases, HOSTILE, HOSTILE)
    for text, data in (
        (served_page(shown).html, "'self'"),
        ((tmp_path / "a.html", write_page(tmp_path / "a.html", shown))[0].read_text(), "'none'"),
    ):
        check_policy(text, data)
        page = Page(text)
        assert not page.of("img")
        assert "<script>alert(1)</script>" in page.words
        assert r"\u202eevil\u202c" in page.words
        assert "\u202e" not in text
        assert "{{ 7 * 7 }}" in page.words
        (content,) = [content for a, content in scripts(text) if a.get("id") == "view"]
        assert json.loads(content)["classes"][0] == HOSTILE[0]
        assert "<" not in content


def test_nothing_is_written_if_a_layer_cannot_be_read(tmp_path):
    def bad(image):
        raise InputError("b.nii", "a readable file")

    shown = Gallery("x", (ShownCase("a", lambda: volume(0), (Layer("l", "label", bad),)),))
    with pytest.raises(InputError, match=r"b\.nii: expected a readable file"):
        write_viewer(tmp_path / "a.html", shown)
    assert list(tmp_path.iterdir()) == []


def test_a_page_too_large_for_a_browser_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 2**20)
    wanted = r"a\.html: expected a page of at most 1 MiB; show fewer cases"
    with pytest.raises(InputError, match=wanted):
        write_viewer(tmp_path / "a.html", gallery())
    assert list(tmp_path.iterdir()) == []


def test_files_are_replaced_only_where_the_user_says_so(tmp_path):
    file = tmp_path / "a.html"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"a\.html: exists already; --overwrite replaces it"):
        write_viewer(file, gallery())
    assert file.read_text() == "mine"
    write_viewer(file, gallery(), overwrite=True)
    assert file.read_text("utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(InputError, match="expected a folder to write the page into, found nothing"):
        write_viewer(tmp_path / "none" / "a.html", gallery())
    with pytest.raises(InputError, match="expected a file to write, found a folder"):
        write_viewer(tmp_path, gallery())
