import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.parameters import ClassParameters, DataParameters


def test_an_image_given_to_both_sides_is_refused(tmp_path, write, run):
    images, masks = write(tmp_path, {"a": (30, 30), "b": (30, 30)})
    with pytest.raises(
        DataError, match=r"a\.png: is to be trained on and validated with.*\n.*b\.png: is to be"
    ):
        run(tmp_path, val_images=str(images), val_masks=str(masks))


def test_missing_masks_and_bad_files_are_listed_together(tmp_path, write, run):
    images, masks = write(tmp_path, dict.fromkeys("abcdef", (30, 30)))
    write(tmp_path / "held", {"v": (30, 30)})
    (masks / "a.png").unlink()
    Image.fromarray(np.zeros((9, 30), np.uint8)).save(masks / "b.png")
    Image.fromarray(np.full((30, 30), 7, np.uint8)).save(masks / "c.png")
    (images / "d.png").write_bytes((images / "d.png").read_bytes()[:900])
    (tmp_path / "held" / "masks" / "v.png").rename(tmp_path / "held" / "masks" / "w.png")
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(images / "f.png")
    classes = DataParameters(classes=[ClassParameters(name=name) for name in ("background", "x", "y")])
    held = {"val_images": str(tmp_path / "held" / "images"), "val_masks": str(tmp_path / "held" / "masks")}
    with pytest.raises(DataError) as caught:
        run(tmp_path, data=classes, **held)
    found = str(caught.value).splitlines()
    expected = [
        "a.png: has no mask", "v.png: has no mask", "w.png: belongs to no image", "b.png: is 9 x 30 pixels",
        "d.png: is truncated", "f.png: has 1 channels", "c.png: value 7 is no class",
    ]  # fmt: skip
    assert found.pop() == f"likely causes, and doubts besides: patchseg check {images} {masks}"
    assert len(found) == len(expected)
    for part, line in zip(expected, found, strict=True):
        assert part in line
    assert not list(tmp_path.glob("*.h5"))


def test_a_patch_larger_than_every_image_is_refused_and_a_smaller_side_is_named(
    tmp_path, write, run, everything
):
    write(tmp_path, {"a": (30, 45), "b": (20, 20)})
    with pytest.raises(UsageError) as caught:
        run(tmp_path, patch=46)
    assert str(caught.value) == (
        "prepare.patch: 46 is larger than every image (the largest is 30 x 45); choose 40 or less"
    )
    with pytest.raises(UsageError, match=r"24 is larger than every image \(the largest is 15 x 22"):
        run(tmp_path, patch=24, scale=0.5)
    assert everything(run(tmp_path, patch=45))["train/images"].shape[1:] == (45, 45, 3)


def test_masks_that_ignore_everything_are_refused_and_nothing_is_left_behind(tmp_path, write, run):
    _, masks = write(tmp_path, {"a": (30, 30), "b": (30, 30)})
    run(tmp_path)
    before = (tmp_path / "patches.h5").read_bytes()
    for name in "ab":
        Image.fromarray(np.full((30, 30), 255, np.uint8)).save(masks / f"{name}.png")
    classes = DataParameters(classes=[ClassParameters(name="x"), ClassParameters(name="y")])
    with pytest.raises(DataError, match=r"a\.png: every training pixel is ignored, as in all other masks"):
        run(tmp_path, data=classes, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks", "patches.h5"]
    assert (tmp_path / "patches.h5").read_bytes() == before


def test_an_output_that_exists_is_kept_unless_it_may_be_overwritten(tmp_path, write, run, everything):
    write(tmp_path, {"a": (30, 30), "b": (30, 30)})
    (tmp_path / "patches.h5").write_text("precious")
    with pytest.raises(UsageError, match=r"patches\.h5: exists already; .* --overwrite"):
        run(tmp_path)
    assert (tmp_path / "patches.h5").read_text() == "precious"
    assert run(tmp_path, overwrite=True) == tmp_path / "patches.h5"
    assert len(everything(tmp_path / "patches.h5")["train/images"]) == 20


def test_an_empty_folder_is_refused(tmp_path, write, run):
    write(tmp_path, {})
    with pytest.raises(UsageError, match="images: holds no image"):
        run(tmp_path)
