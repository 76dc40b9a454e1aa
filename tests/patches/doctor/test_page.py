"""The page of `check`: well formed, nothing from elsewhere, every finding and the images it is about."""

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from patchseg.page.shell import VOID
from patchseg.patches.doctor import page


class Tree(HTMLParser):
    """Checks that elements close in the order in which they open; gathers words and pictures."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.pictures = [], [], {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "img":
            assert given["src"].startswith("data:image/")
            data = base64.b64decode(given["src"].partition(",")[2])
            self.pictures[given["alt"]] = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def written(dataset, tmp_path):
    """Check the set into a page; return the report and the page's tree."""

    def written(**values):
        file = tmp_path / "check.html"
        report = dataset.check(html=file, **values)
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?:|<script|@import", text)
        return report, Tree(text)

    return written


def test_a_clean_set_has_a_page_with_classes_sizes_and_all_images(written):
    report, tree = written()
    text = " ".join(tree.words)
    assert "Nothing wrong was found." in text
    assert "128 x 96" in text
    assert "prepare would train on 8 and validate on 2." in text
    for share in report.shares:
        assert share.name in text
        assert page.percent(share.chance) in text
    assert len(tree.pictures) == 20


def test_the_mask_lies_over_its_image_in_the_colours_of_the_classes(written, dataset, files):
    _, tree = written()
    image, mask = files[0](dataset.image(3)), files[0](dataset.mask(3))
    plain, over = tree.pictures["0003: image"], tree.pictures["0003: mask over it"]
    assert plain.shape == over.shape == (128, 96, 3)
    # WebP loses a little; a class is a shift towards its colour.
    assert np.abs(plain.mean(axis=2) - image)[mask == 0].mean() < 8
    assert np.abs(over.astype(int) - plain)[mask == 0].mean() < 8
    assert np.abs(over.astype(int) - plain)[mask == 2].mean() > 20


def test_findings_stand_with_cause_cure_and_files_and_mark_their_images(written, dataset, files):
    read, save = files
    save(dataset.mask(3), read(dataset.mask(3)).T)
    save(dataset.mask(5), np.zeros((128, 96), np.uint8))
    report, tree = written()
    text = " ".join(tree.words)
    assert report.errors == 1
    assert "Training would fail or go wrong" in text
    for finding in report.findings:
        assert page.KINDS[finding.kind] in text
        assert finding.found in text
        assert finding.cure in text
    assert "transposed: rows and columns changed places" in text
    # Marked images come first, and a mask that does not fit is shown by itself.
    assert list(tree.pictures)[:4] == ["0003: image", "0003: mask", "0005: image", "0005: mask over it"]
    assert tree.pictures["0003: mask"].shape[:2] == (96, 128)


def test_files_that_cannot_be_read_do_not_stop_the_page(written, dataset):
    dataset.image(1).write_bytes(b"nothing")
    dataset.mask(2).write_bytes(b"nothing")
    _, tree = written()
    text = " ".join(tree.words)
    assert "The mask cannot be read." in text
    assert "cannot be read" in text
    assert "0001: image" not in tree.pictures
    assert "0002: image" in tree.pictures


def test_masks_without_classes_are_shown_by_their_values(written, dataset, files):
    for number in dataset.numbers:
        files[1](dataset.mask(number), files[0](dataset.mask(number)) * np.uint8(9))
    report, tree = written()
    assert report.classes is None
    assert np.ptp(tree.pictures["0003: mask over it"].astype(int), axis=2).max() > 20


def test_names_are_escaped(written, dataset):
    for folder in (dataset.images, dataset.masks):
        (folder / "0004.png").rename(folder / "<script>alert(1)<.png")
    _, tree = written()
    assert "<script>alert(1)<" in tree.words


def test_a_large_set_shows_some_and_says_so(written, monkeypatch):
    monkeypatch.setattr(page, "MOST", 4)
    _, tree = written()
    assert len(tree.pictures) == 8
    assert "6 more images not shown." in tree.words


def test_real_numbers_and_nan_are_drawn(written, dataset, files):
    for number in dataset.numbers:
        pixels = files[0](dataset.image(number)).astype(np.float32)
        pixels[0, 0] = np.nan if number == 2 else 1
        files[1](dataset.image(number).with_suffix(".tif"), pixels)
    _, tree = written()
    assert "0002: image" in tree.pictures


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_fits_the_width_of_its_window(written, tmp_path, width, dataset, files):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM HERE")
    files[1](dataset.mask(3), files[0](dataset.mask(3)).T)
    written()
    text = (tmp_path / "check.html").read_text(encoding="utf-8")
    probe = tmp_path / "probe.html"
    frame = f'<iframe id="f" style="width:{width}px;height:900px;border:0"></iframe>'
    script = (
        "<script>const f=document.getElementById('f');f.srcdoc=atob('"
        + base64.b64encode(text.encode("ascii", "xmlcharrefreplace")).decode()
        + "');f.onload=()=>{const d=f.contentDocument.documentElement;document.title='over '+(d.scrollWidth-d.clientWidth)}</script>"
    )
    probe.write_text(f"<!doctype html><title>x</title>{frame}{script}", encoding="utf-8")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom", str(probe)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "<title>over 0</title>" in done.stdout
