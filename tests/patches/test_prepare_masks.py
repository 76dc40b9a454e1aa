import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import DataError
from patchseg.labels.classes import MaskReading
from patchseg.parameters import ClassParameters, DataParameters, PrepareParameters
from patchseg.patches.prepare import prepare
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress

DATA = Path(__file__).parents[3] / "shared" / "data"
SMALL = PrepareParameters(patch=16, per_image=3, validation=0.0)


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def made(tmp_path, everything):
    """Prepare masks of two gray images of 20 x 20, given as arrays or as what saves them; return all that is stored."""

    def made(masks, suffix=".png", **data):
        for name, mask in zip("ab", masks, strict=False):
            for folder in ("images", "masks"):
                (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.full((20, 20), 100, np.uint8)).save(tmp_path / "images" / f"{name}.png")
            path = tmp_path / "masks" / f"{name}{suffix}"
            if isinstance(mask, bytes):
                path.write_bytes(mask)
            elif suffix == ".tif":
                tifffile.imwrite(path, mask)
            else:
                Image.fromarray(mask).save(path)
        told = Lines()
        parameters = SMALL.model_copy(update={"output": str(tmp_path / "p.h5")})
        found = everything(
            prepare(tmp_path / "images", tmp_path / "masks", parameters=parameters, data=DataParameters(**data),
                    overwrite=True, progress=told)
        )  # fmt: skip
        mapped = [tuple(entry.values()) for entry in json.loads(found["@mapping"])]
        return found, mapped, told.lines

    return made


def half(low, high, dtype=np.uint8):
    """Return 20 x 20 pixels, the upper half low."""
    return np.repeat(np.array([low, high], dtype), 10, axis=0)[:, None].repeat(20, axis=1)


def test_what_values_were_taken_for_is_stored_with_their_pixels(made):
    found, mapped, lines = made([half(0, 1), half(1, 255)])
    assert mapped == [(0, 0, 200), (1, 1, 400), (255, 255, 200)]
    assert set(np.unique(found["train/masks"])) == {0, 1, 255}
    assert not any(line.startswith("  ") for line in lines)


@pytest.mark.parametrize(("value", "dtype"), [(-1, np.int16), (65535, np.uint16), (254, np.uint8)])
def test_an_ignored_value_is_that_everywhere(made, tmp_path, value, dtype):
    found, mapped, lines = made([half(0, 1, dtype), half(value, 1, dtype)], ".tif", ignore=value)
    assert mapped == [(0, 0, 200), (1, 1, 400), (value, 255, 200)]
    assert set(np.unique(found["train/masks"])) == {0, 1, 255}
    assert lines[1] == f"  200 pixels ignored ({value} or 255)"
    with PatchFile(tmp_path / "p.h5") as patches:
        assert patches.head.classes.reading == MaskReading(ignore=value)
        assert patches.head.mapping[2] == {"source": value, "target": 255, "pixels": 200}


def test_numbered_objects_are_one_class(made):
    found, mapped, lines = made([half(0, 300, np.uint16), half(0, 7, np.uint16)], ".tif", binary=True)
    assert mapped == [(0, 0, 400), (300, 1, 200), (7, 1, 200)]
    assert set(np.unique(found["train/masks"])) == {0, 1}
    assert lines[:2] == [
        "classes (from the masks): 0 background, 1 foreground",
        "  2 values but 0 are all class 1, foreground",
    ]


def jpeg(pixels):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def test_jpeg_masks_need_a_tolerance_and_every_pulled_pixel_is_counted(made):
    disk = (np.hypot(*np.mgrid[-10:10, -10:10]) < 7).astype(np.uint8) * 255
    files = [jpeg(disk), jpeg(255 - disk)]
    with pytest.raises(DataError, match="--mask-tolerance for soft edges"):
        made(files, ".jpg")
    found, _, lines = made(files, ".jpg", mask_tolerance=127)
    decoded = [np.asarray(Image.open(BytesIO(file))) for file in files]
    off = (
        [int(((d > 0) & (d < 128)).sum()) for d in decoded],
        [int(((d < 255) & (d > 127)).sum()) for d in decoded],
    )
    assert lines[0] == "classes (from the masks): 0 background, 255 foreground"
    total, black, white = sum(map(sum, off)), sum(off[0]), sum(off[1])
    assert total > 100
    assert lines[2] == f"  {total} pixels pulled within 127: {black} to background, {white} to foreground"
    assert set(np.unique(found["train/masks"])) == {0, 1}


def test_soft_colours_are_pulled_to_the_classes_that_are_given(made):
    red = np.zeros((20, 20, 3), np.uint8)
    red[10:, :, 0] = 255
    red[10, :, 0] = 230
    classes = [ClassParameters(name="ground", color="#000000"), ClassParameters(name="car", color="#ff0000")]
    with pytest.raises(DataError, match=r"colour #e60000 is no class .* give --mask-tolerance"):
        made([red, red], classes=classes)
    found, mapped, lines = made([red, red], classes=classes, mask_tolerance=30)
    assert lines[0] == "  40 pixels pulled within 30: 40 to car"
    assert ("#e60000", 1, 40) in mapped
    assert set(np.unique(found["train/masks"])) == {0, 1}


def palette(mask, *colors):
    image = Image.fromarray(mask)
    image.putpalette([part for color in colors for part in color])
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_palettes_that_differ_are_read_by_their_colours(made):
    black, red, blue = (0, 0, 0), (255, 0, 0), (0, 0, 255)
    found, mapped, lines = made([palette(half(0, 1), black, red), palette(half(0, 1), blue, black)])
    assert mapped == [("#000000", 0, 400), ("#0000ff", 1, 200), ("#ff0000", 2, 200)]
    assert lines[:2] == [
        "classes (from the masks): 0 background, 1 blue, 2 red",
        "  palettes are read by their colours: #000000, #0000ff, #ff0000",
    ]
    assert set(np.unique(found["train/masks"])) == {0, 1, 2}


def test_names_alone_are_no_classes_of_palettes_that_differ(made):
    black, red, blue = (0, 0, 0), (255, 0, 0), (0, 0, 255)
    masks = [palette(half(0, 1), black, red), palette(half(0, 1), black, blue)]
    with pytest.raises(
        DataError, match=r"b\.png: its palette shows index 1 as #0000ff, .* as #ff0000; give data\.classes"
    ):
        made(masks, classes=[ClassParameters(name=name) for name in ("ground", "car")])
    found, _, _ = made(
        masks, classes=[ClassParameters(name=name, value=v) for name, v in (("ground", 0), ("car", 1))]
    )
    assert set(np.unique(found["train/masks"])) == {0, 1}


def test_a_file_an_object_gives_one_mask_an_image(tmp_path, everything):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    one, two = np.zeros((2, 20, 20), bool)
    one[:, :12], two[:, 8:] = True, True
    for name in "ab":
        Image.fromarray(np.full((20, 20), 100, np.uint8)).save(tmp_path / "images" / f"{name}.png")
    for name, pixels in {"a_pore_0": one, "a_crack_1": two, "b_pore_0": ~one}.items():
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{name}.png")
    data = DataParameters(mask_pattern=r"(?P<image>.)_(?P<class>[a-z]+)_(?P<object>\d)")
    told = Lines()
    parameters = PrepareParameters(output=str(tmp_path / "p.h5"), patch=16, per_image=3, validation=0.5)
    found = everything(
        prepare(tmp_path / "images", tmp_path / "masks", parameters=parameters, data=data, progress=told)
    )
    # In the order of the names, the crack is first and the pore takes 80 pixels from it.
    union = np.where(one, 2, np.where(two, 1, 0))
    truth = {b"images/a.png": union, b"images/b.png": np.where(one, 0, 2)}
    source = found["sources/path"][int(found["regions/0@source"])]
    assert (found["regions/0/mask"] == truth[source]).all()
    assert told.lines[0] == "classes (from the masks): 0 background, 1 crack, 2 pore"
    assert told.lines[1] == "  objects of different classes overlap in 80 pixels: the later file has them"


def layout(source, folder):
    """Lay tiles named z_x_y out in folders z/x/y."""
    for file in sorted(source.iterdir()):
        target = folder / Path(*file.stem.split("_")).with_suffix(file.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return folder


@pytest.mark.skipif(not (DATA / "robosat_parking").is_dir(), reason=f"needs robosat_parking in {DATA}")
def test_real_tiles_in_nested_folders_are_prepared(tmp_path, everything):
    source = DATA / "robosat_parking"
    images, masks = (layout(source / kind, tmp_path / kind) for kind in ("images", "masks"))
    told = Lines()
    parameters = PrepareParameters(output=str(tmp_path / "p.h5"), per_image=4, fold="2/2")
    found = everything(prepare(images, masks, parameters=parameters, progress=told))
    assert sorted(found["sources/path"].tolist()) == sorted(
        f"images/18/{x}/{y}.webp".encode()
        for x, y in ((70763, 104119), (70762, 104119), (70761, 104120), (69623, 104946))
    )
    for region in (0, 1):
        path = tmp_path / found["sources/path"][int(found[f"regions/{region}@source"])].decode()
        assert (found[f"regions/{region}/image"] == np.asarray(Image.open(path).convert("RGB"))).all()
        truth = np.asarray(Image.open(masks / path.relative_to(images).with_suffix(".png")))
        assert (found[f"regions/{region}/mask"] == truth).all()
    assert "2 images to train on, 2 to validate (fold 2 of 2)" in told.lines


@pytest.mark.skipif(not (DATA / "coco_shapes").is_dir(), reason=f"needs coco_shapes in {DATA}")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_real_objects_of_one_file_each_are_prepared(tmp_path, everything, seed):
    source = DATA / "coco_shapes"
    data = DataParameters(mask_pattern=r"(?P<image>\d+)_(?P<class>[a-z]+)_(?P<object>\d+)")
    parameters = PrepareParameters(output=str(tmp_path / "p.h5"), per_image=4, seed=seed)
    told = Lines()
    found = everything(
        prepare(
            source / "shapes_train2018",
            source / "annotations",
            parameters=parameters,
            data=data,
            progress=told,
        )
    )
    assert [c["name"] for c in json.loads(found["@classes"])] == ["background", "circle", "square"]
    name = Path(found["sources/path"][int(found["regions/0@source"])].decode()).stem
    truth = np.zeros((128, 128), np.uint8)
    for file in sorted((source / "annotations").glob(f"{name}_*.png")):
        truth[np.asarray(Image.open(file))[:, :, 0] == 255] = {"circle": 1, "square": 2}[
            file.stem.split("_")[1]
        ]
    assert (found["regions/0/mask"] == truth).all()
    # Circles are in one of the two images only, which is therefore trained on.
    assert name == "1000"
