import re

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import UsageError
from patchseg.imaging import Box
from patchseg.labels.classes import Classes, MaskReading
from patchseg.patches.objects import find_layers, name_layers
from patchseg.patches.pairs import Pair, Unpaired

PATTERN = r"(?P<image>\d+)_(?P<class>[a-z]+)_(?P<object>\d+)"


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def layers(pairs):
    return {pair.name: [(layer.path.name, layer.name) for layer in pair.layers.files] for pair in pairs}


def test_objects_are_gathered_by_image_in_natural_order(tmp_path):
    images = touch(tmp_path / "images", "1000.jpeg", "1001.jpeg")
    masks = touch(
        tmp_path / "masks",
        "1001_circle_10.png",
        "1001_square_2.png",
        "1001_circle_9.png",
        "1000_square_0.png",
    )
    pairs = find_layers(images, masks, PATTERN)
    assert layers(pairs) == {
        "1000": [("1000_square_0.png", "square")],
        "1001": [
            ("1001_circle_9.png", "circle"), ("1001_circle_10.png", "circle"), ("1001_square_2.png", "square"),
        ],
    }  # fmt: skip
    assert pairs[1].mask == masks / "1001_circle_9.png"


@pytest.mark.parametrize(
    ("pattern", "images", "masks"),
    [
        (r"(?P<class>[^/]+)/(?P<image>.+)", ["a.png", "b.png"], ["pore/a.png", "crack/a.png", "pore/b.png"]),
        (
            r"(?P<image>.+)-(?P<class>\w+)",
            ["x/a.png", "x/b.png"],
            ["x/a-pore.png", "x/a-crack.png", "x/b-pore.png"],
        ),
    ],
)
def test_a_class_may_be_a_folder_or_a_part_of_the_name(tmp_path, pattern, images, masks):
    pairs = find_layers(touch(tmp_path / "i", *images), touch(tmp_path / "m", *masks), pattern)
    found = {pair.name: sorted(layer.name for layer in pair.layers.files) for pair in pairs}
    assert list(found.values()) == [["crack", "pore"], ["pore"]]


def test_a_folder_an_image_with_its_objects_beside_it(tmp_path):
    stage = touch(
        tmp_path,
        "n1/images/n1.png",
        "n1/masks/7f.png",
        "n1/masks/a0.png",
        "n2/images/n2.png",
        "n2/masks/3.png",
    )
    pairs = find_layers(stage, stage, r"(?P<image>[^/]+)/masks/(?P<object>.+)")
    assert layers(pairs) == {
        "n1/images/n1": [("7f.png", "foreground"), ("a0.png", "foreground")],
        "n2/images/n2": [("3.png", "foreground")],
    }


def test_everything_that_does_not_fit_is_listed(tmp_path):
    images = touch(tmp_path / "j", "x/1.png", "y/1.png", "x/2.png", "x/2.tif")
    masks = touch(tmp_path / "m", "1_pore_0.png", "2_pore_0.png", "9_pore_0.png", "notes.png", "2_pore_0.tif")
    with pytest.raises(Unpaired) as caught:
        find_layers(images, masks, PATTERN)
    told = [re.sub(r"[^ ]*/([jm])/", r"\1/", line) for line in str(caught.value).splitlines()]
    assert told == [
        "j/x/2.tif: has the same stem as j/x/2.png; rename or remove one of them",
        "m/2_pore_0.tif: has the same stem as m/2_pore_0.png; rename or remove one of them",
        f"m/notes.png: does not look like data.mask_pattern {PATTERN}; mend the pattern or remove the file",
        f"m/1_pore_0.png: fits 2 images named 1 in {images}; remove it or mend the pattern",
        f"m/9_pore_0.png: belongs to no image named 9 in {images}; remove it or mend the pattern",
        f"j/x/1.png: has no mask in {masks}; add an empty (black) one if nothing is to be seen in it, or remove the image",
        f"j/y/1.png: has no mask in {masks}; add an empty (black) one if nothing is to be seen in it, or remove the image",
    ]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(", r"'\(' is no regular expression"),
        (r"(\d+)_.*", "has the named groups none; expected image, and maybe class and object, such as"),
        ("(?P<image>.)(?P<kind>.)", "has the named groups image, kind; expected image"),
    ],
)
def test_a_pattern_that_says_nothing_of_images_is_refused(tmp_path, pattern, told):
    folder = touch(tmp_path / "i", "1.png")
    with pytest.raises(UsageError, match=rf"data\.mask_pattern: .*{told}"):
        find_layers(folder, folder, pattern)
    with pytest.raises(UsageError, match="nowhere: is no folder"):
        find_layers(folder, tmp_path / "nowhere", PATTERN)


def test_names_become_classes_and_masks_open_with_them(tmp_path):
    images, masks = touch(tmp_path / "i", "1.png"), tmp_path / "m"
    masks.mkdir()
    for name, pixels in (("1_b_0", [[9, 0]]), ("1_a_0", [[0, 9]])):
        Image.fromarray(np.array(pixels, np.uint8)).save(masks / f"{name}.png")
    (pair,), classes = name_layers(find_layers(images, masks, PATTERN), None, MaskReading())
    assert classes.names == ("background", "a", "b")
    with pair.open_mask() as mask:
        assert mask.read(Box(0, 0, 1, 2))[:, :, 0].tolist() == [[2, 1]]
    with Pair("1", masks / "1_a_0.png", masks / "1_a_0.png").open_mask() as mask:
        assert mask.read(Box(0, 0, 1, 2))[:, :, 0].tolist() == [[0, 9]]


def test_objects_without_a_class_are_the_second_of_two(tmp_path):
    pairs = find_layers(
        touch(tmp_path / "i", "1.png"), touch(tmp_path / "m", "1_0.png"), r"(?P<image>\d+)_(?P<object>\d+)"
    )
    two = Classes(("cell wall", "cell"), (0, 1), ("#000000", "#ffffff"))
    (named,), classes = name_layers(pairs, two, MaskReading())
    assert (named.layers.files[0].name, classes) == ("cell", two)
    three = Classes(("a", "b", "c"), (0, 1, 2), ("#000000", "#ffffff", "#ff0000"))
    with pytest.raises(
        UsageError, match=r"data\.mask_pattern: has no group class, but data\.classes 3 classes"
    ):
        name_layers(pairs, three, MaskReading())
    plain = [Pair("1", tmp_path / "1.png", tmp_path / "1m.png")]
    assert name_layers(plain, None, MaskReading()) == (plain, None)
