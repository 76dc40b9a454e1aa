"""The report in a real browser: it draws, its buttons work by mouse and by keyboard, and no request leaves it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchseg.evaluation.panels import ERRORS
from patchseg.imaging.picture import palette, rgb

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
]

VIEWS = ["image", "truth", "prediction", "errors", "confidence"]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()


class Visit:
    """A page that was opened, and all that it asked for and complained of."""

    def __init__(self, page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.told: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.told.append(message.text))
        page.on("pageerror", lambda error: self.told.append(str(error)))

    def shown(self, viewer: int = 0) -> list[str]:
        """Return which pictures of a viewer can be seen."""
        stage = self.page.locator(".viewer").nth(viewer).locator(".stage")
        return [view for view in VIEWS if stage.locator(f"figure.{view} img").is_visible()]

    def captions(self, viewer: int = 0) -> list[str]:
        captions = self.page.locator(".viewer").nth(viewer).locator("figcaption")
        return [caption.inner_text() for caption in captions.all() if caption.is_visible()]

    def choose(self, view: str, viewer: int = 0) -> None:
        self.page.locator(f"label[for=view-{viewer}-{view}]").click()

    def style(self, selector: str, name: str) -> str:
        return str(self.page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}"))

    def pixels(self, selector: str, path: Path) -> np.ndarray:
        """Take a picture of an element."""
        self.page.locator(selector).first.screenshot(path=path)
        return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture
def visit(browser, whole_report) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    visited = Visit(context.new_page())
    visited.page.goto(whole_report.as_uri())
    yield visited
    context.close()


def test_the_page_draws_and_asks_for_nothing(visit, whole_report):
    assert visit.page.locator("h1").inner_text() == "Report: lines & <b>"
    pictures = visit.page.locator("img")
    assert pictures.count() > 20
    assert all(picture.evaluate("element => element.naturalWidth") > 0 for picture in pictures.all())
    assert [url for url in visit.requests if not url.startswith("data:")] == [whole_report.as_uri()]
    assert visit.told == []


def test_what_would_ask_for_something_is_stopped(visit):
    visit.page.evaluate("""() => {
        for (const [tag, text] of [["script", "document.title = 'ran'"], ["img", ""]]) {
            const element = document.createElement(tag);
            if (text) element.textContent = text; else element.src = "http://127.0.0.1:9/picture.png";
            document.body.append(element);
        }
    }""")
    visit.page.wait_for_timeout(100)
    assert visit.page.title() != "ran"
    assert len(visit.told) == 2
    assert all("Content Security Policy" in told for told in visit.told)


def test_a_click_shows_a_view_and_hides_the_one_before(visit):
    assert visit.shown(1) == ["image", "errors"]  # the image lies below
    for view in ["truth", "prediction", "confidence", "errors"]:
        visit.choose(view, 1)
        assert visit.shown(1) == ["image", view]
        assert len(visit.captions(1)) == 1
    visit.choose("image", 1)
    assert visit.shown(1) == ["image"]
    assert visit.captions(1) == ["image"]
    assert visit.shown(0) == ["image", "errors"]  # each viewer has its own


def test_arrow_keys_move_through_the_views(visit):
    visit.page.locator("#view-0-errors").focus()
    visit.page.keyboard.press("ArrowRight")
    assert visit.shown() == ["image", "confidence"]
    for _ in range(3):
        visit.page.keyboard.press("ArrowLeft")
    assert visit.shown() == ["image", "truth"]
    assert visit.style("#view-0-truth + label", "outlineStyle") == "solid"
    assert visit.style("#view-0-image + label", "outlineStyle") == "none"


def test_tab_goes_from_the_views_to_the_opacity_and_to_the_next_picture(visit):
    visit.page.locator("#view-0-errors").focus()
    visited = []
    for _ in range(3):
        visit.page.keyboard.press("Tab")
        visited.append(visit.page.evaluate("document.activeElement.id"))
    assert visited == ["opacity-0-solid", "view-1-errors", "opacity-1-solid"]


def test_the_overlay_is_seen_through_when_asked(visit):
    picture = ".viewer .errors img"
    assert visit.style(picture, "opacity") == "1"
    visit.page.locator("#opacity-0-solid").focus()
    visit.page.keyboard.press("ArrowRight")
    assert visit.style(picture, "opacity") == "0.5"


def test_a_view_has_the_colours_of_its_legend(visit, tmp_path):
    worst = ".example:last-child .base img"  # and what lies over it, but not the caption, which has the colours too
    visit.page.set_viewport_size({"width": 1200, "height": 1200})
    seen = visit.pixels(worst, tmp_path / "errors.png").reshape(-1, 3)
    for color, _ in ERRORS.values():
        assert (seen == rgb(color)).all(axis=1).sum() > 50, color
    visit.choose("truth", 2)
    seen = visit.pixels(worst, tmp_path / "truth.png").reshape(-1, 3)
    for color in palette(3):
        assert (seen == color).all(axis=1).sum() > 50, color
    assert not (seen == rgb(ERRORS["missed"][0])).all(axis=1).any()


def test_paper_has_every_picture_whatever_was_chosen(visit):
    visit.choose("image")
    visit.page.emulate_media(media="print")
    assert visit.shown(0) == visit.shown(2) == VIEWS
    assert len(visit.captions(0)) == 5
    assert not visit.page.locator(".viewer label").first.is_visible()
    boxes = [
        visit.page.locator(f".viewer figure.{view}").first.bounding_box() for view in ("image", "errors")
    ]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]  # side by side, none over the other


def luminance(color: str) -> float:
    """Return the relative luminance of "rgb(r, g, b)". Source: WCAG 2.2."""
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_day_and_by_night(visit, scheme):
    visit.page.emulate_media(color_scheme=scheme)
    ground = luminance(visit.style("body", "backgroundColor"))
    assert (ground < 0.1) == (scheme == "dark")
    for selector in ("body", ".note", ".viewer .errors figcaption"):
        light, dark = sorted((luminance(visit.style(selector, "color")), ground), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, selector


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_no_window_has_to_scroll_sideways(visit, width):
    visit.page.set_viewport_size({"width": width, "height": 800})
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    stage = visit.page.locator(".stage").first.bounding_box()
    assert stage["x"] >= 0
    assert stage["x"] + stage["width"] <= width
    assert stage["width"] >= min(width - 40, 300)
