"""The page in a browser: what it shows, what keys change, and that nothing leaves the machine."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from diffrect.viewing.gallery import Gallery, Layer, ShownCase
from diffrect.viewing.page import served_page, write_page
from diffrect.viewing.parts import Parts
from diffrect.viewing.server import ViewServer
from support.browsers import Visit, chromium, colourful
from support.pages import HOSTILE
from support.viewers import gallery, labels, volume


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture
def server() -> Iterator[ViewServer]:
    shown = gallery()
    with ViewServer(*served_page(shown), Parts(shown)) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def test_a_served_page_shows_cases_and_layers(browser, server):
    visit = Visit(browser, server.url)
    visit.shows(0)
    assert visit.page.inner_text("#name") == "a"
    truth = visit.picture()
    assert len(np.unique(truth.reshape(-1, 3), axis=0)) > 50  # not blank
    assert colourful(truth) > 0.05
    assert "truth: " in visit.page.inner_text("#place")

    visit.press("1")  # off
    scan = visit.picture()
    assert colourful(scan) < 0.02 < colourful(truth)
    assert len(np.unique(scan)) > 20
    visit.press("1")
    assert np.array_equal(visit.picture(), truth)
    visit.press("o")
    assert 0.005 < colourful(visit.picture()) < 0.8 * colourful(truth)
    visit.press("o")

    visit.page.click("#classes button >> nth=0")
    assert colourful(visit.picture()) < 0.95 * colourful(truth)

    visit.press("n")
    visit.shows(1)
    assert visit.page.inner_text("#name") == "b"
    layers = visit.page.locator("#layers label").all_inner_texts()
    assert [text.split()[0] for text in layers] == ["prediction", "entropy"]  # no truth
    assert not np.array_equal(visit.picture(), truth)

    own = [
        f"{server.url}data/{part}"
        for part in ("0/scan", "0/0", "0/1", "0/2", "1/scan", "1/0", "1/1")
    ]
    assert sorted(u for u in visit.requests if not u.startswith("data:")) == sorted(
        [server.url, *own]
    )
    assert visit.complaints == []

    visit.page.route("**/data/**", lambda route: route.abort())  # as if the server had ended
    visit.page.keyboard.press("p")
    visit.wait_for("#status.bad, html[data-shown='0']")
    if visit.page.locator("#status.bad").count() == 0:  # it had asked before the end
        visit.page.keyboard.press("n")
    visit.wait_for("#status.bad")
    assert visit.page.inner_text("#status") == "diffrect view does not run any more"
    visit.page.close()


def test_a_browser_without_webgl_says_so(browser, tmp_path):
    write_page(tmp_path / "a.html", gallery())
    without = "HTMLCanvasElement.prototype.getContext = () => null"
    visit = Visit(browser, (tmp_path / "a.html").as_uri(), without)
    visit.wait_for("#status.bad")
    words = "This browser draws no WebGL2, which NiiVue needs."
    assert visit.page.inner_text("#status") == words
    visit.page.close()


def test_a_written_page_compares_layers_side_by_side(browser, tmp_path):
    write_page(tmp_path / "a.html", gallery())
    url = (tmp_path / "a.html").as_uri()
    visit = Visit(browser, url)
    visit.shows(0)
    for key in "2ds":
        visit.press(key)
    captions = visit.page.locator("#panels figcaption").all_inner_texts()
    assert captions == ["truth", "prediction", "difference"]
    pictures = [visit.picture(number) for number in range(3)]
    assert not np.array_equal(pictures[0], pictures[1])
    assert 0 < colourful(pictures[2]) < colourful(pictures[0])
    one, other = labels(0), np.roll(labels(0), 2, axis=0)
    rows = visit.page.locator("#classes tr").all_inner_texts()[1:]
    dice = [float(row.split()[-1]) for row in rows]
    for code, value in enumerate(dice, start=1):
        both = np.count_nonzero((one == code) & (other == code))
        either = np.count_nonzero(one == code) + np.count_nonzero(other == code)
        assert value == pytest.approx(200 * both / either, abs=0.051)
    volumes = [float(row.split()[-3]) for row in rows]
    voxel = 1.5 * 1.25 * 8 / 1000
    wanted = [voxel * np.count_nonzero(one == code) for code in range(1, 4)]
    assert volumes == pytest.approx(wanted, abs=0.051)
    assert [u for u in visit.requests if not u.startswith(("data:", url))] == []
    assert visit.complaints == []
    visit.page.close()


def test_one_slice_twenty_classes_and_hostile_names(browser, tmp_path):
    shape = (30, 24, 1)
    codes = (np.arange(30) % 21).astype(np.uint8)
    flat = np.broadcast_to(codes[:, np.newaxis, np.newaxis], shape)

    names = tuple(HOSTILE[:6])
    layers = tuple(Layer(name, "label", lambda _: flat) for name in names[:2])
    cases = tuple(ShownCase(name, lambda: volume(0, shape, 3), layers) for name in names)
    classes = (*names, *(f"class {n}" for n in range(14)))
    write_page(tmp_path / "a.html", Gallery(names[0], cases, classes))
    visit = Visit(browser, (tmp_path / "a.html").as_uri(), color_scheme="dark")
    visit.shows(0)
    assert visit.page.input_value("#planes") == "0"  # axial: one slice needs no three planes
    assert visit.page.locator("#classes tr").count() == 21
    assert visit.page.inner_text("h1") == names[0]
    assert visit.page.inner_text("#name") == names[0]
    shown = visit.page.locator("#classes button").all_inner_texts()
    assert [text.strip() for text in shown[:2]] == list(names[:2])
    picture = visit.picture()
    middle = picture[picture.shape[0] // 2]
    assert len(np.unique(middle[::2], axis=0)) > 15  # as many colours
    assert visit.page.locator("img").count() == 0
    assert visit.complaints == []
    visit.page.close()


def test_a_layer_that_cannot_be_read_says_so_and_the_rest_is_shown(browser):
    def bad(image):
        raise ValueError("<b>not</b> readable")

    good = Layer("good", "label", lambda _: labels(0))
    shown = Gallery("x", (ShownCase("a", lambda: volume(0), (Layer("bad", "label", bad), good)),))
    with ViewServer(*served_page(shown), Parts(shown)) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        visit = Visit(browser, one.url, viewport={"width": 390, "height": 800})
        visit.shows(0)
        assert colourful(visit.picture()) > 0.05
        words = visit.page.inner_text("#layers .bad")
        assert words == "bad: a fault of diffrect; its terminal says more"
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390  # of a phone
        visit.page.close()
        one.shutdown()
        thread.join()
