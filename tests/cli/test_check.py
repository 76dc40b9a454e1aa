import json
import shutil

import numpy as np
import pytest
from PIL import Image

CHECK = ["check", "images", "masks", "--patch", 16]


@pytest.fixture
def spoiled(folder):
    """Return the folder with a transposed mask and an empty one."""
    file = folder / "masks/0001.png"
    Image.fromarray(np.array(Image.open(file)).T).save(file)
    file = folder / "masks/0002.png"
    Image.fromarray(np.zeros((40, 32), np.uint8)).save(file)
    return folder


def test_a_good_set_ends_with_0_and_says_so(folder, run):
    ended = run(*CHECK)
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "4 pairs checked: nothing wrong was found"
    assert "a random patch of 16 holds it" in ended.out


def test_warnings_alone_end_with_0(folder, run):
    Image.fromarray(np.zeros((40, 32), np.uint8)).save(folder / "masks/0002.png")
    ended = run(*CHECK)
    assert ended.code == 0
    assert ended.out.startswith("warning  masks/0002.png: holds nothing but background; ")
    assert ended.out.splitlines()[-1] == "4 pairs checked: 0 errors, 1 warning"


def test_errors_end_with_3_and_stand_first_on_stdout(spoiled, run):
    ended = run(*CHECK)
    assert ended.code == 3
    first, second, *_ = ended.out.splitlines()
    assert first.startswith(
        "error    masks/0001.png: is 32 x 40 pixels, its image images/0001.png is 40 x 32 (likely transposed"
    )
    assert second.startswith("warning  masks/0002.png: holds nothing but background")
    assert "Error" not in ended.err


def test_json_is_one_document_and_keeps_the_code(spoiled, run):
    ended = run(*CHECK, "--json")
    assert ended.code == 3
    document = json.loads(ended.out)
    assert [finding["kind"] for finding in document["findings"]] == ["size", "empty"]


def test_the_page_is_written_and_not_overwritten_unasked(spoiled, run):
    assert run(*CHECK, "--html", "pages/check.html").code == 3
    page = (spoiled / "pages/check.html").read_text(encoding="utf-8")
    assert "Image and mask of different sizes" in page
    ended = run(*CHECK, "--html", "pages/check.html")
    assert ended.code == 2
    assert ended.error == "pages/check.html: exists already; choose another output or give --overwrite"
    assert run(*CHECK, "--html", "pages/check.html", "--overwrite").code == 3


def test_paths_and_classes_may_stand_in_the_parameters(folder, run, write_parameters):
    classes = [{"name": "ground"}, {"name": "line"}, {"name": "ellipse"}, {"name": "dragon"}]
    write_parameters(data={"images": "images", "masks": "masks", "classes": classes}, prepare={"patch": 16})
    ended = run("check")
    assert ended.code == 0
    assert "class dragon is in none of the 4 masks" in ended.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["check"], "IMAGES missing"),
        (["check", "nowhere", "masks"], "nowhere: is no folder; expected one with images"),
        (["check", "images", "masks", "more"], "more: is one path too many"),
        (["check", "images", "masks", "--group", "("], "is no regular expression"),
    ],
)
def test_what_cannot_be_followed_is_a_usage_error(words, told, folder, run):
    ended = run(*words)
    assert ended.code == 2
    assert told in ended.error


def test_flags_that_say_nothing_of_the_data_are_not_offered(run):
    help = run("check", "-h").out
    assert "--per-image" not in help
    assert "--output" not in help
    assert "--group" in help


def test_a_pair_of_each_kind_of_file_is_checked_without_a_traceback(folder, run):
    shutil.copy(folder / "best.pt", folder / "images/0009.tif")
    (folder / "masks/0009.png").write_bytes(b"")
    ended = run(*CHECK)
    assert ended.code == 3
    assert "images/0009.tif (and 1 more): is no image of a known format" in ended.out
