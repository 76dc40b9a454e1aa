import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.parameters import DataParameters
from patchseg.patches.annotated import find_drawn, is_annotated
from patchseg.patches.pairs import Unpaired
from patchseg.progress import Progress


class Heard(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with images/a.png and images/b.png of 8 x 10."""
    (tmp_path / "images").mkdir()
    for name in "ab":
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(tmp_path / "images" / f"{name}.png")
    return tmp_path


def coco(folder, *names, file="coco.json", size=(8, 10)):
    """Write an annotation file that lists images, each with a square."""
    tree = {
        "images": [
            {"id": i, "file_name": name, "height": size[0], "width": size[1]} for i, name in enumerate(names)
        ],
        "annotations": [
            {"image_id": i, "category_id": 1, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]}
            for i, _ in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (folder / file).write_text(json.dumps(tree), encoding="utf-8")
    return folder / file


def labelme(folder, image, file):
    tree = {"shapes": [{"label": "cell", "points": [[1, 1], [3, 1], [3, 3]]}], "imagePath": image}
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps(tree), encoding="utf-8")


def found(folder, annotations, heard=None, **data):
    pairs = find_drawn(folder / "images", Path(annotations), DataParameters(**data), heard or Progress())
    return {pair.image.name: pair.drawn.drawing.image for pair in pairs}


def findings(folder, annotations, **data):
    with pytest.raises(Unpaired) as caught:
        found(folder, annotations, **data)
    return caught.value.findings


# Matching


@pytest.mark.parametrize(
    "names",
    [("a.png", "b.png"), ("sub/a.png", "C:\\sub\\b.png"), ("a.tif", "b"), ("../../a.png", "/etc/b.png")],
)
def test_images_are_matched_by_name_whatever_path_stands_before_it(folder, names):
    assert found(folder, coco(folder, *names)) == dict(zip(("a.png", "b.png"), names, strict=True))


def test_an_exact_name_goes_before_a_stem(folder):
    assert found(folder, coco(folder, "a.tif", "b.png", "a.png")) == {"a.png": "a.png", "b.png": "b.png"}
    assert found(folder, coco(folder, "x/a.tif", "b.png", "y/a.png")) == {
        "a.png": "y/a.png",
        "b.png": "b.png",
    }


def test_two_images_of_one_stem_are_told(folder):
    Image.fromarray(np.zeros((8, 10), np.uint8)).save(folder / "images/a.bmp")
    listed = coco(folder, "a.png", "a.bmp", "b.png")
    assert findings(folder, listed) == [
        f"{folder / 'images/a.png'}: has the same stem as {folder / 'images/a.bmp'}; rename or remove one of them"
    ]


def test_a_pair_names_image_annotation_file_and_size(folder):
    path = coco(folder, "a.png", "b.png")
    pair = find_drawn(folder / "images", path, DataParameters(), Progress())[0]
    assert (pair.name, pair.image, pair.mask) == ("a", folder / "images/a.png", path)
    assert (pair.drawn.shape, pair.drawn.file.path, len(pair.drawn.drawing.shapes)) == ((8, 10), path, 1)


def test_a_folder_of_files_is_one_set(folder):
    labelme(folder / "json", "a.png", "a.json")
    labelme(folder / "json", "..\\images\\b.png", "b.json")
    assert found(folder, folder / "json") == {"a.png": "a.png", "b.png": "b.png"}


def test_a_suffix_that_differs_is_said_and_no_suffix_is_none(folder):
    heard = Heard()
    path = coco(folder, "a.jpg", "b")
    found(folder, path, heard)
    assert heard.lines == [f"{path}: lists a.png as a.jpg; taken for the same"]
    quiet = Heard()
    find_drawn(folder / "images", path, DataParameters(), quiet, suffixes=False)
    assert quiet.lines == []


def test_what_is_not_among_the_images_is_said_and_left_out(folder):
    heard = Heard()
    path = coco(folder, "a.png", "b.png", *(f"other{n}.png" for n in range(7)))
    assert set(found(folder, path, heard)) == {"a.png", "b.png"}
    assert heard.lines == [
        f"{path}: lists other0.png, other1.png, other2.png, other3.png, other4.png and 2 more, not in {folder / 'images'}; left out"
    ]


def test_images_that_exif_turns_are_said_where_no_size_tells_how_they_were_drawn_on(folder):
    picture = Image.new("RGB", (8, 10))
    exif = picture.getexif()
    exif[0x0112] = 6
    for name in "ab":
        (folder / f"images/{name}.png").unlink()
        picture.save(folder / f"images/{name}.jpg", exif=exif if name == "a" else b"")
    labelme(folder / "json", "a.jpg", "a.json")
    labelme(folder / "json", "b.jpg", "b.json")
    heard = Heard()
    found(folder, folder / "json", heard)
    assert heard.lines == ["a.jpg: turned upright by EXIF, and so is taken what is drawn; look at the masks"]


def test_images_in_folders_are_matched_by_their_paths_and_named_by_them(folder):
    for name in "ab":
        (folder / f"images/{name}.png").unlink()
    for name in ("18/7.png", "19/7.png"):
        (folder / "images" / name).parent.mkdir()
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(folder / "images" / name)
    for names in (("18/7.png", "19/7.png"), ("18\\7.jpg", "19/7.jpg")):
        pairs = find_drawn(folder / "images", coco(folder, *names), DataParameters(), Progress())
        assert [(pair.name, pair.drawn.drawing.image) for pair in pairs] == list(
            zip(("18/7", "19/7"), names, strict=True)
        )
    assert len(findings(folder, coco(folder, "7.png"))) == 1


# What does not fit


def test_nothing_in_common_is_told(folder):
    path = coco(folder, "x.png")
    assert findings(folder, path) == [
        f"{path}: lists none of the images in {folder / 'images'}; check that both belong together"
    ]


def test_two_entries_for_one_image_are_told(folder):
    path = coco(folder, "x/a.png", "y/a.png", "b.png")
    assert findings(folder, path) == [
        f"{folder / 'images/a.png'}: may be x/a.png in {path} or y/a.png in {path}; expected one of each, so rename them"
    ]
    labelme(folder / "json", "a.png", "1.json")
    labelme(folder / "json", "a.png", "2.json")
    labelme(folder / "json", "b.png", "3.json")
    assert "a.png in " in findings(folder, folder / "json")[0]


def test_images_that_are_not_listed_are_refused_all_of_them(folder):
    (folder / "images/c.png").write_bytes((folder / "images/a.png").read_bytes())
    path = coco(folder, "a.png")
    assert findings(folder, path) == [
        f"{folder / 'images' / name}: is not listed in {path}, so whether it is empty is open; list it there, or choose "
        "--unlisted skip or empty"
        for name in ("b.png", "c.png")
    ]


def test_images_that_are_not_listed_are_skipped_or_empty_as_one_chooses(folder):
    path, heard = coco(folder, "a.png"), Heard()
    assert found(folder, path, heard, unlisted="skip") == {"a.png": "a.png"}
    assert found(folder, path, heard, unlisted="empty") == {"a.png": "a.png", "b.png": "b.png"}
    assert heard.lines == [
        f"{path}: does not list b.png; left out",
        f"{path}: does not list b.png; taken as empty (background)",
    ]


def test_sizes_that_differ_and_unreadable_images_are_all_told(folder):
    path = coco(folder, "a.png", "b.png", size=(8, 11))
    (folder / "images/b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    one, two = findings(folder, path)
    assert one.startswith(
        f"{path}: a.png is 8 x 11 pixels, {folder / 'images/a.png'} is 8 x 10; rows x columns must be equal"
    )
    assert two.startswith(f"{folder / 'images/b.png'}: is truncated or damaged")


def test_bad_files_and_missing_ones_are_errors_of_their_own(folder):
    (folder / "bad.json").write_text("{")
    with pytest.raises(DataError, match="is damaged JSON"):
        found(folder, folder / "bad.json")
    with pytest.raises(UsageError, match="is neither a file nor a folder"):
        found(folder, folder / "no.json")


# What is given for masks


def test_annotations_are_files_by_their_suffix_and_folders_without_images(folder):
    images = folder / "images"
    for name in ("a.json", "a.JSON", "a.geojson", "a.xml", "a.csv"):
        (folder / name).touch()
        assert is_annotated(images, folder / name)
    for name in ("a.png", "a.txt", "none.json", "none"):
        (folder / name).touch() if "none" not in name else None
        assert not is_annotated(images, folder / name)
    labelme(folder / "json", "a.png", "a.json")
    assert is_annotated(images, folder / "json")
    (folder / "masks").mkdir()
    assert not is_annotated(images, folder / "masks")


def test_a_folder_of_masks_with_a_record_in_it_holds_masks(folder):
    labelme(folder / "masks", "a.png", "a.json")
    Image.fromarray(np.zeros((8, 10), np.uint8)).save(folder / "masks/a.png")
    assert not is_annotated(folder / "images", folder / "masks")
    (folder / "masks/18").mkdir()
    (folder / "masks/a.png").rename(folder / "masks/18/a.png")
    assert not is_annotated(folder / "images", folder / "masks")


def test_annotations_beside_the_images_are_known_by_their_names(folder):
    images = folder / "images"
    (images / "parameters.json").touch()
    assert not is_annotated(images, images)
    (images / "parameters.json").unlink()
    labelme(images, "a.png", "a.json")
    assert is_annotated(images, images)
