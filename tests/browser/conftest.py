"""Pages in a real, headless Chromium, and what they ask for and complain about.

Every test here has the marker `browser`: `pytestmark = pytest.mark.browser`.
"""

import dataclasses
import pathlib
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LOCAL_SCHEMES = ("file", "data", "blob", "about")
_LOCAL_HOSTS = ("127.0.0.1", "localhost")
_TIMEOUT_MS = 60_000

OpenPage = Callable[..., "Visit"]


@dataclasses.dataclass(frozen=True)
class Visit:
    """An open page, and what it did since it was opened.

    Attributes:
        page: Playwright's page.
        errors: errors of the console and uncaught exceptions, as text.
        requests: URLs that the page asked for, sockets among them.
    """

    page: Any
    errors: list[str] = dataclasses.field(default_factory=list)
    requests: list[str] = dataclasses.field(default_factory=list)

    @property
    def foreign_requests(self) -> list[str]:
        """URLs that are neither part of the page nor of this machine."""
        return [url for url in self.requests if not _is_local(url)]

    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than its window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth > window.innerWidth"
        )

    def check_report(self, width_px: int) -> None:
        """Asserts that a report, read to its end, is whole and fits the window."""
        self.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        self.page.wait_for_timeout(200)
        assert self.errors == [] and self.foreign_requests == []
        assert not self.scrolls_sideways()
        # A phone zooms out of a page that is too wide: its window grows with it.
        width = self.page.evaluate("document.documentElement.scrollWidth")
        assert width == width_px
        images = self.page.eval_on_selector_all(
            "main img", "all => all.map((i) => i.complete && i.naturalWidth > 0)"
        )
        assert images and all(images)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium, or Chrome, as Playwright's browser."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail(
            f"No browser: none of {', '.join(_NAMES)} is on the PATH. Install one: "
            "`apt-get install chromium` on Debian and Ubuntu."
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """Opens a page: `open_page(url, width=1280, height=900, scheme="light")`.

    `url` may be a path. The page is loaded when the `Visit` is returned; phones'
    widths get a phone's touch screen and pixel density.
    """
    contexts = []

    def open_url(
        url: str | pathlib.Path,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
    ) -> Visit:
        is_phone = width < 600
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            device_scale_factor=2 if is_phone else 1,
            is_mobile=is_phone,
            has_touch=is_phone,
        )
        contexts.append(context)
        context.set_default_timeout(_TIMEOUT_MS)
        page = context.new_page()
        visit = Visit(page)
        page.on("console", lambda message: _note_error(visit, message))
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on("websocket", lambda socket: visit.requests.append(socket.url))
        page.goto(url.resolve().as_uri() if isinstance(url, pathlib.Path) else url)
        return visit

    yield open_url
    for context in contexts:
        context.close()


def _note_error(visit: Visit, message: Any) -> None:
    if message.type == "error":
        place = message.location.get("url", "")
        visit.errors.append(f"{message.text} ({place})")


def _is_local(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme in _LOCAL_SCHEMES or parts.hostname in _LOCAL_HOSTS
