"""A Chromium without a window, and what its pages ask for and say."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # no GPU needed
)
_PATIENCE = 120_000  # milliseconds: software draws slowly on a busy machine


@contextmanager
def chromium() -> Iterator[Any]:
    """Lend a browser; the test is skipped where there is none."""
    reason = "needs playwright and a Chromium"
    library = pytest.importorskip("playwright.sync_api", reason=reason)
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(reason)
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS])
        yield browser
        browser.close()


class Visit:
    """A page in a browser.

    Attributes:
        page: of playwright.
        requests: every address that the page asked for, of whatever kind.
        complaints: errors and what the policy (CSP) refused.
    """

    def __init__(self, browser: Any, url: str, before: str = "", **options: Any) -> None:
        """Go to an address; `before` is a script that runs before those of the page."""
        size = {"width": 480, "height": 420}
        self.page = browser.new_page(**{"viewport": size, **options})
        self.page.set_default_timeout(_PATIENCE)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self._complain(dialog))
        self.page.on("console", self._listen)
        if before:
            self.page.add_init_script(before)
        self.page.goto(url)

    def _complain(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def wait_for(self, selector: str) -> None:
        self.page.wait_for_selector(selector, state="attached")

    def shows(self, case: int) -> None:
        """Wait until a case is shown."""
        self.wait_for(f"html[data-shown='{case}']")

    def press(self, key: str) -> None:
        """Press a key, and wait until what it changes is drawn."""
        self.page.keyboard.press(key)
        self.wait_for("html:not([data-drawing])")

    def picture(self, number: int = 0) -> np.ndarray:
        """What a panel shows, (H, W, 3) uint8, once it is drawn."""
        self.wait_for("html:not([data-drawing])")
        content = self.page.locator("#panels canvas").nth(number).screenshot()
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def colourful(picture: np.ndarray) -> float:
    """The share of pixels that are no grey, as labels are and scans are not."""
    values = picture.astype(int)
    return float((values.max(axis=2) - values.min(axis=2) > 60).mean())
