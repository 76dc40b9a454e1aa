import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.imaging import ArraySource, Box
from patchseg.imaging.scale import reduced
from patchseg.parameters import AuditParameters
from patchseg.studies import gallery as module
from patchseg.studies.audit import audit

EVIL = "<script>alert('a')</script>&\""


def spoil(folder, names, *, images=True, shape=(60, 50), objects=1):
    """Make masks with objects that are missing in the given ones; return both folders."""
    predicted, truth, pictures = (folder / name for name in ("masks", "truth", "images"))
    (predicted / "confidence").mkdir(parents=True)
    truth.mkdir()
    pictures.mkdir()
    mask = np.zeros(shape, np.uint8)
    for number in range(objects):
        mask[10 + 30 * number : 20 + 30 * number, 10:20] = 1
    for name in names:
        Image.fromarray(mask).save(predicted / f"{name}.png")
        Image.fromarray(np.zeros_like(mask)).save(truth / f"{name}.png")
        tifffile.imwrite(predicted / f"confidence/{name}.tif", np.ones(shape, np.float16))
        if images:
            Image.fromarray(mask * 90).save(pictures / f"{name}.png")
    classes = [
        {"name": "ground", "value": 0, "color": "#000000"},
        {"name": EVIL, "value": 1, "color": "#e69f00"},
    ]
    record = {"data.classes": {"value": classes}, "infer.images": {"value": [str(pictures)]}}
    (predicted / "parameters.effective.json").write_text(json.dumps(record), encoding="utf-8")
    return predicted, truth


def drawn(folder, *masks, **values):
    path = audit(*masks, parameters=AuditParameters(output=str(folder / "audit"), **values))
    return path.with_name("gallery.html").read_text(encoding="utf-8")


def test_each_suspect_has_three_pictures_and_says_what_it_is(tmp_path):
    page = drawn(tmp_path, *spoil(tmp_path, "ab"))
    assert page.count("<article") == 2
    assert re.findall(r"<figcaption>(\w+)", page) == ["image", "given", "predicted"] * 2
    assert page.count('alt="b: given"') == 1
    assert "2 images, 2 suspects." in page
    assert "Score 0.80, certainty 1.00, 100 pixels, at row 10, column 10, 10 x 10." in page


def test_names_are_words_whatever_they_are(tmp_path):
    name = "<img onerror='a'>&"
    page = drawn(tmp_path, *spoil(tmp_path, [name]))
    assert "<script" not in page
    assert "<img onerror" not in page
    assert "1. &lt;img onerror=&#x27;a&#x27;&gt;&amp;" in page
    assert "ground given, &lt;script&gt;alert(" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page), "nothing is fetched"


def test_without_its_image_a_suspect_has_its_masks(tmp_path):
    masks = spoil(tmp_path, "a", images=False)
    page = drawn(tmp_path, *masks)
    assert re.findall(r"<figcaption>(\w+)", page) == ["given", "predicted"]


def test_an_image_that_has_become_another_is_not_shown(tmp_path):
    masks = spoil(tmp_path, "a")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "images/a.png")
    assert re.findall(r"<figcaption>(\w+)", drawn(tmp_path, *masks)) == ["given", "predicted"]


def test_a_page_stays_small_and_says_what_it_leaves_out(tmp_path, monkeypatch):
    masks = spoil(tmp_path, "a", shape=(200, 50), objects=6)
    monkeypatch.setattr(module, "MOST", 9000)
    page = drawn(tmp_path, *masks)
    count = page.count("<article")
    assert 0 < count < 6
    assert f"1 image, 6 suspects, of which the first {count} are shown." in page


@pytest.mark.parametrize("shape", [(3000, 40), (40, 3000)])
def test_a_window_of_a_large_image_is_reduced_to_what_is_shown(shape):
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint32).reshape(shape)
    window = Box(0, 0, *shape)
    small = reduced(ArraySource(pixels), 300, window=window, labels=True)
    assert max(small.shape[:2]) == 300
    assert small.shape[0] * 10 == pytest.approx(shape[0], abs=10)


def test_a_part_of_a_reduced_image_is_that_part():
    pixels = np.repeat(np.arange(8, dtype=np.uint8), 100)[:, None] + np.zeros((1, 40), np.uint8)
    part = reduced(ArraySource(pixels), 40, window=Box(200, 0, 400, 40), labels=True)
    assert part.shape == (40, 4, 1)
    assert part[:, 0, 0].tolist() == np.repeat([2, 3, 4, 5], 10).tolist()
