"""The page in a headless chromium, which is steered through its debugging pipe: what it shows, asks for and complains of."""

import base64
import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium on the PATH"),
]
EVIL = "<script>alert(1)</script>\"'&"


class Browser:
    """One page of a chromium; `call` sends a command of the DevTools protocol, whose events are gathered."""

    def __init__(self, folder: Path) -> None:
        (hear, said), (told, tell) = os.pipe(), os.pipe()
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--remote-debugging-pipe", f"--user-data-dir={folder}/profile",
        ]  # fmt: skip
        command = ["bash", "-c", f'exec chromium "$@" 3<&{told} 4>&{said}', "chromium", *flags]
        self._process = subprocess.Popen(
            command, pass_fds=(told, said), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(said)
        os.close(told)
        self._out, self._in = os.fdopen(tell, "wb", buffering=0), os.fdopen(hear, "rb")
        self._number, self._rest, self._session = 0, b"", None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._out.write(
            json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + 30
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def open(self, url: str, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)
        self.wait(
            "typeof viewer !== 'undefined' && viewer && [...shown.values()].every((s) => !s.on || (s.item && s.item.getFullyLoaded()))"
        )

    def screenshot(self, save: Path | None = None) -> np.ndarray:
        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        if save:
            save.write_bytes(data)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def complaints(self) -> list[str]:
        """Return what was logged, thrown or refused."""
        found = [event for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        for event in self.events:
            entry = event["params"].get("entry", {})
            if entry.get("level") == "error" or event["params"].get("type") == "error":
                found.append(event)
        return [json.dumps(event) for event in found]

    def requests(self) -> list[str]:
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._in.close()

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._in.fileno(), 2**16)
            assert chunk, "chromium has ended"
            self._rest += chunk
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


@pytest.fixture
def browser(tmp_path) -> Iterator[Browser]:
    opened = Browser(tmp_path)
    yield opened
    opened.close()


def has(picture: np.ndarray, color: tuple[int, int, int], *, within: int = 3) -> int:
    """Return how many pixels have a colour."""
    return int((np.abs(picture.astype(int) - color).max(axis=2) <= within).sum())


def test_the_page_draws_image_and_mask_and_asks_nobody_else(job, serve, browser, tmp_path):
    Image.new("RGB", (400, 300), (40, 80, 120)).save(tmp_path / "flat.png")
    server = serve(tmp_path / "flat.png", job.mask)
    browser.open(server.url, 1100, 700)
    time.sleep(0.6)  # layers fade in
    picture = browser.screenshot()
    assert has(picture, (40, 80, 120)) > 20_000  # the image where the mask is background
    blended = (0.4 * 40 + 0.6 * 230, 0.4 * 80 + 0.6 * 159, 0.4 * 120)
    assert has(picture, blended) > 5_000
    assert browser.complaints() == []
    asked = browser.requests()
    assert [url for url in asked if not url.startswith(server.url)] == []
    assert [url for url in asked if "/tiles/mask/" in url]
    assert not [url for url in asked if "/tiles/confidence/" in url]  # nobody has looked at it


def test_layers_are_switched_and_faded(job, serve, browser, tmp_path):
    Image.new("RGB", (400, 300), (40, 80, 120)).save(tmp_path / "flat.png")
    browser.open(serve(tmp_path / "flat.png", job.mask).url, 1100, 700)
    lines = browser.run("[...document.querySelectorAll('#layers li')].map((line) => line.innerText.trim())")
    assert lines[-2:] == ["Mask", "Image"]
    assert lines[0] == "Probability of ellipse"
    slider = "document.querySelectorAll('#layers li')[5].querySelector('input[type=range]')"
    browser.run(f"{slider}.value = 1; {slider}.dispatchEvent(new Event('input')); 1")
    time.sleep(0.6)
    assert has(browser.screenshot(), (230, 159, 0)) > 5_000
    browser.run("document.querySelectorAll('#layers li')[5].querySelector('input').click()")
    time.sleep(0.6)
    picture = browser.screenshot()
    assert has(picture, (230, 159, 0)) < 500  # the legend's square
    assert has(picture, (40, 80, 120)) > 50_000
    browser.run("document.querySelectorAll('#layers li')[0].querySelector('input').click()")
    browser.wait("shown.get('probability-2').item && shown.get('probability-2').item.getFullyLoaded()")
    assert browser.complaints() == []


def test_the_pixel_under_the_pointer_is_told(job, serve, browser):
    browser.open(serve(job.image, job.mask).url, 1100, 700)
    place = "viewer.world.getItemAt(0).imageToViewerElementCoordinates(new OpenSeadragon.Point(120.5, 220.5))"
    x, y = browser.run(f"(({{x, y}}) => [x, y])({place})")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 30, y=y - 30)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.wait("document.getElementById('pixel').innerText.includes('220, 120')")
    told = browser.run("document.getElementById('pixel').innerText").split("\n")
    words = [word for word in told if word]
    assert words[words.index("class") + 1] == "ellipse"
    assert words[words.index("confidence") + 1] == "0.750"
    assert words[words.index("red") + 1] == str(job.pixels[220, 120, 0])
    asked = [url for url in browser.requests() if "pixel.json" in url]
    assert len(asked) == 1  # the first place was left before the pointer had rested
    assert browser.run("document.querySelector('#classes .here').innerText") == "ellipse"


def test_names_are_words_and_never_markup(job, serve, browser):
    image = job.image.with_name(EVIL.replace("/", "") + ".tif")
    job.image.rename(image)
    browser.open(serve(image, job.mask).url, 1100, 700)
    assert browser.run("document.getElementById('name').innerText") == image.name
    assert EVIL in browser.run("document.getElementById('classes').innerText")
    assert browser.run("document.scripts.length") == 2
    assert browser.complaints() == []


def test_a_scale_bar_is_as_long_as_it_says(job, serve, browser):
    browser.open(serve(job.image, job.mask).url, 1100, 700)
    text, width, pixel = browser.run(
        "[document.getElementById('scale-text').innerText, document.getElementById('scale-bar').offsetWidth,"
        " viewer.world.getItemAt(0).viewportToImageZoom(viewer.viewport.getZoom(true))]"
    )
    assert text.split()[1] == "µm"
    assert float(text.split()[0]) == pytest.approx(width / pixel * 0.5, rel=0.03)  # half a micrometre a pixel


@pytest.mark.parametrize("width", [390, 1100])
def test_no_window_has_to_scroll_sideways(job, serve, browser, width):
    browser.open(serve(job.image, job.mask).url, width, 800)
    assert browser.run(
        "[document.documentElement.scrollWidth, document.querySelector('aside').scrollWidth <= document.querySelector('aside').clientWidth]"
    ) == [width, True]
    assert browser.run("document.getElementById('stage').clientHeight") > 300


def test_the_keyboard_moves_and_zooms(job, serve, browser):
    browser.open(serve(job.image, job.mask).url, 1100, 700)
    before = browser.run("viewer.viewport.getZoom(false)")
    browser.run("viewer.canvas.focus()")
    # Where the plus is another key than on American keyboards.
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="+", code="BracketRight", windowsVirtualKeyCode=187
        )
    browser.wait(f"viewer.viewport.getZoom(false) > {before}")


def test_a_pixel_of_the_image_becomes_one_of_the_screen(job, serve, browser):
    browser.open(serve(job.image).url, 1100, 700)
    browser.run("document.getElementById('exact').click()")
    browser.wait(
        "Math.abs(viewer.world.getItemAt(0).viewportToImageZoom(viewer.viewport.getZoom(true)) - 1) < 1e-6"
    )
    time.sleep(0.3)
    corner = browser.run(
        "(({x, y}) => [x, y])(viewer.world.getItemAt(0).imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0)))"
    )
    left, top = (
        int(place) for place in corner
    )  # amid a pixel of the screen, where the browser decides which it is
    picture, part = browser.screenshot(), job.pixels[100:150, 100:150]
    found = [picture[top + 100 + y :, left + 100 + x :][:50, :50] for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert [np.array_equal(shown, part) for shown in found].count(True) == 1
    assert browser.complaints() == []


def test_an_overview_that_becomes_true_is_loaded_again(serve, browser, tmp_path, monkeypatch):
    from patchseg.view import scene

    for name, value in {"_NEAR": 1, "_OVERVIEW": 300, "_AT_ONCE": 1000, "_PLACE": 64}.items():
        monkeypatch.setattr(scene, name, value)
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (1024, 1024)).astype(np.uint8))
    server = serve(tmp_path / "a.npy")
    browser.open(server.url, 600, 500)
    browser.wait("shown.get('image').version > 0 && shown.get('image').item.getFullyLoaded()")
    browser.wait("viewer.world.getItemCount() === 1")
    browser.wait("document.getElementById('preview').hidden")
    assert [url for url in browser.requests() if url.endswith(".png?1")]
    assert browser.complaints() == []
