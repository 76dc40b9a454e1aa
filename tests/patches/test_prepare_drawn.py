import json

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError
from patchseg.parameters import ClassParameters, DataParameters, PrepareParameters
from patchseg.patches.drawings import import_annotations
from patchseg.patches.prepare import prepare
from patchseg.progress import Progress

NAMES = ("a", "b", "c", "d")


class Heard(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def folder(tmp_path, write):
    """Return a folder with four images of 40 x 30 and a VIA file of random triangles in two classes."""
    write(tmp_path, dict.fromkeys(NAMES, (40, 30)))
    (tmp_path / "via.json").write_text(json.dumps(via(*NAMES)))
    return tmp_path


def via(*names, classes=("leaf", "bug")):
    draw = np.random.default_rng(5)
    return {
        f"{name}.png1": {
            "filename": f"{name}.png",
            "regions": [
                {
                    "shape_attributes": {
                        "name": "polygon",
                        "all_points_x": draw.uniform(-5, 35, 3).round(1).tolist(),
                        "all_points_y": draw.uniform(-5, 45, 3).round(1).tolist(),
                    },
                    "region_attributes": {"kind": kind} if kind else {},
                }
                for kind in classes * 2
            ],
        }
        for name in names
    }


def parameters(folder, **values):
    return PrepareParameters(
        output=str(folder / "patches.h5"), patch=16, per_image=5, validation=0.34, **values
    )


def without(made, *keys):
    return {key: value for key, value in made.items() if not key.endswith(keys)}


@pytest.mark.parametrize("unlabeled", ["background", "ignore"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_patches_of_drawings_are_those_of_the_masks_that_import_writes(folder, everything, unlabeled, scale):
    data, settings = DataParameters(unlabeled=unlabeled), parameters(folder, scale=scale)
    drawn = everything(prepare(folder / "images", folder / "via.json", parameters=settings, data=data))
    import_annotations(folder / "via.json", folder / "images", folder / "drawn", data=data)
    listed = json.loads((folder / "drawn/parameters.json").read_text())["data"]["classes"]
    classes = [ClassParameters(**item) for item in listed]
    painted = everything(
        prepare(
            folder / "images",
            folder / "drawn",
            parameters=settings,
            data=DataParameters(classes=classes),
            overwrite=True,
        )
    )
    assert {0, 1} < set(np.unique(drawn["train/masks"]))
    assert drawn.keys() == painted.keys()
    for key in without(drawn, "@parameters"):
        np.testing.assert_array_equal(drawn[key], painted[key], err_msg=key)


def test_it_is_said_which_classes_there_are_and_what_overlaps(folder):
    heard = Heard()
    prepare(folder / "images", folder / "via.json", parameters=parameters(folder), progress=heard)
    assert heard.lines[0] == "classes (of the annotations): 0 background, 1 bug, 2 leaf"
    assert heard.lines[1].startswith("shapes of different classes overlap in ")


def test_both_sides_may_be_drawn_and_share_their_classes(folder, write, everything):
    write(folder / "held", {"v": (40, 30)}, seed=9)
    (folder / "one.json").write_text(json.dumps(via(*NAMES, classes=("bug",))))
    (folder / "held/via.json").write_text(json.dumps(via("v", classes=(None,))))
    held = {"val_images": str(folder / "held/images"), "val_masks": str(folder / "held/via.json")}
    heard = Heard()
    made = everything(
        prepare(folder / "images", folder / "one.json", parameters=parameters(folder, **held), progress=heard)
    )
    assert [item["name"] for item in json.loads(made["@classes"])] == ["background", "bug"]
    assert set(np.unique(made["regions/0/mask"])) == {0, 1}
    with Image.open(folder / "held/images/v.png") as image:
        np.testing.assert_array_equal(made["regions/0/image"], np.array(image))
    assert f"{folder / 'held/via.json'}: its shapes name no class, so all are bug" in heard.lines


def test_everything_wrong_is_listed_at_once(folder):
    tree = via("a", "b")
    tree["a.png1"]["regions"][0]["region_attributes"]["kind"] = "zebra"
    (folder / "via.json").write_text(json.dumps(tree))
    data = DataParameters(classes=[ClassParameters(name=name) for name in ("ground", "leaf", "bug")])
    with pytest.raises(DataError) as caught:
        prepare(folder / "images", folder / "via.json", parameters=parameters(folder), data=data)
    *found, hint = str(caught.value).splitlines()
    assert "patchseg check" in hint
    assert [
        part in line
        for part, line in zip(
            ("c.png: is not listed", "d.png: is not listed", "class zebra"), found, strict=True
        )
    ]
    assert not (folder / "patches.h5").exists()


def test_annotations_beside_the_images_need_no_second_path(folder, everything):
    tree = {"shapes": [{"label": "bug", "points": [[1, 1], [20, 2], [9, 30]]}]}
    for name in NAMES:
        (folder / "images" / f"{name}.json").write_text(json.dumps({**tree, "imagePath": f"{name}.png"}))
    made = everything(prepare(folder / "images", parameters=parameters(folder)))
    assert [item["name"] for item in json.loads(made["@classes"])] == ["background", "bug"]
