"""What is stored around the patches: true pixels of the image, and outside it pixels that are ignored."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchseg.progress import Progress

SHAPES = {"a": (40, 56), "b": (12, 33), "c": (64, 20), "d": (16, 16), "e": (1, 30)}
PATCH = 16


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def data(tmp_path_factory, write):
    """Five images, three of them shorter than the patch or just as long along an axis."""
    folder = tmp_path_factory.mktemp("margin")
    write(folder, SHAPES, ignored=0.1)
    return folder


def mirrored(at, length):
    """Step back at each end, a pixel at a time."""
    steps = [*range(length), *range(length - 2, 0, -1)]
    return steps[at % len(steps)]


@pytest.mark.parametrize("margin", [3, 40])
def test_every_window_is_its_box_of_the_source_reflected_outside_and_flipped_by_its_code(
    data, run, everything, margin
):
    made = everything(run(data, margin=margin, output=str(data / f"{margin}.h5")))
    assert (made["@patch"], made["@margin"]) == (PATCH, margin)
    side = PATCH + 2 * margin
    for group in ("train", "val"):
        parts = (made[f"{group}/{name}"] for name in ("images", "masks", "source", "box", "flip"))
        for image, mask, source, (top, left, height, width), flip in zip(*parts, strict=True):
            path = data / made["sources/path"][source].decode()
            assert (height, width) == (side, side)
            truth, labels = pixels(path), pixels(data / "masks" / path.name)
            rows = [mirrored(int(top) + i, len(truth)) for i in range(side)]
            columns = [mirrored(int(left) + i, truth.shape[1]) for i in range(side)]
            outside = np.ones((side, side), bool)
            outside[max(0, -top) : len(truth) - top, max(0, -left) : truth.shape[1] - left] = False
            expected = np.where(outside, 255, labels[np.ix_(rows, columns)])
            axes = {0: (), 1: 1, 2: 0, 3: (0, 1)}[int(flip)]
            assert (image == np.flip(truth[np.ix_(rows, columns)], axes)).all()
            assert (mask == np.flip(expected, axes)).all()


shapes = st.lists(st.tuples(st.integers(9, 40), st.integers(9, 70)), min_size=1, max_size=3).filter(
    lambda drawn: max(max(shape) for shape in drawn) >= 11
)


@given(
    shapes=shapes, patch=st.sampled_from([8, 11]), margin=st.integers(1, 30), flips=st.booleans(), seed=st.integers(0, 9)
)  # fmt: skip
@settings(max_examples=25)
def test_whatever_the_margin_the_middle_is_the_patch_without_one(
    write, run, everything, *, shapes, patch, margin, flips, seed
):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), {f"i{number}": shape for number, shape in enumerate(shapes)}, ignored=0.3)
        how = {"patch": patch, "flips": flips, "seed": seed, "overwrite": True}
        plain, around = (everything(run(Path(folder), margin=size, **how)) for size in (0, margin))
    middle = np.s_[:, margin : margin + patch, margin : margin + patch]
    for side in ("train", "val"):
        for name in ("images", "masks"):
            assert (around[f"{side}/{name}"][middle] == plain[f"{side}/{name}"]).all()
        grown = plain[f"{side}/box"] + [-margin, -margin, 2 * margin, 2 * margin]
        assert (around[f"{side}/box"] == grown).all()
    assert plain.keys() == around.keys()
    differing = {name for name in plain if not np.array_equal(plain[name], around[name])}
    stored = {f"{side}/{name}" for side in ("train", "val") for name in ("images", "masks", "box")}
    assert differing <= stored | {"@margin", "@parameters", "@sha256"}


def test_beside_a_guard_band_the_margin_is_reflected_and_ignored(tmp_path, write, run, everything):
    images, _ = write(tmp_path, {"long": (20, 100)})
    columns = np.broadcast_to(np.arange(100), (20, 100))
    Image.fromarray(np.stack([columns, columns * 0, columns * 2], axis=2).astype(np.uint8)).save(
        images / "long.png"
    )
    made = everything(run(tmp_path, validation=0.4, margin=70, flips=False, per_image=9))
    _, first, _, width = made["regions/0@box"].tolist()
    held = set(range(first, first + width))
    guard = set(range(first - 16, first + width + 16)) - held
    train, val = (made[f"{side}/images"][..., 0] for side in ("train", "val"))
    assert set(np.unique(train)) == set(range(100)) - held - guard
    assert set(np.unique(val)) == held
    # In the middle row, so that nothing lies above or below: what is labelled is where the box says it is.
    for column, mask, box in zip(train[:, 78], made["train/masks"][:, 78], made["train/box"], strict=True):
        places = np.arange(156) + box[1]
        assert (mask != 255).tolist() == [
            0 <= place < 100 and place not in held | guard for place in places.tolist()
        ]
        assert (column == places)[mask != 255].all()


def test_what_the_file_takes_is_told_with_the_margin(tmp_path, write, run):
    write(tmp_path, dict.fromkeys("ab", (64, 64)))
    told = Lines()
    made = run(tmp_path, margin=100, per_image=20, validation=0.5, progress=told)
    # 80 + 20 windows of 216 x 216 and a region of 64 x 64, each of 3 + 1 bytes a pixel: 18.7 MB.
    assert told.lines[-1] == f"80 training patches of 16 x 16 and 100 px around each; {made} takes 19 MB"
    assert made.stat().st_size == pytest.approx(18.7e6, rel=0.02)


def test_the_margin_is_recorded(tmp_path, write, run, everything):
    write(tmp_path, dict.fromkeys("ab", (20, 20)))
    parameters = json.loads(everything(run(tmp_path, margin=5))["@parameters"])
    assert parameters["prepare.margin"] == {"value": 5, "source": "call"}
