import json

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import UsageError
from patchseg.parameters import PrepareParameters
from patchseg.patches.doctor.checkup import check
from patchseg.patches.pairs import Pair
from patchseg.patches.plan import patch_for, with_patch
from patchseg.patches.prepare import prepare
from patchseg.progress import Progress

sides = st.integers(1, 400)
sizes = st.lists(st.tuples(sides, sides), min_size=1, max_size=9)


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.mark.parametrize(
    ("shorter", "patch"),
    [(1, 32), (31, 32), (32, 32), (47, 32), (48, 48), (79, 64), (80, 80), (95, 80), (96, 96), (5000, 96)],
)
def test_the_patch_is_96_or_the_largest_multiple_of_16_that_fits_but_32_at_least(shorter, patch):
    assert patch_for([(shorter, 6000)]).value == patch_for([(6000, shorter)]).value == patch


@given(sizes)
def test_the_patch_fits_into_half_of_the_images_or_is_the_least(sizes):
    patch = patch_for(sizes).value
    assert patch in (32, 48, 64, 80, 96)
    holding = sum(min(size) >= patch for size in sizes)
    assert 2 * holding >= len(sizes) or patch == 32
    # And a larger one would not.
    assert patch == 96 or 2 * sum(min(size) >= patch + 16 for size in sizes) <= len(sizes)


def test_what_counts_is_the_size_that_is_cut():
    assert patch_for([(150, 200)], 0.5).value == 64
    assert patch_for([(50, 60)], 2).value == 96


def test_the_reason_says_what_was_found():
    assert patch_for([(200, 400)]).reason == (
        "patch 96: fits into the images (their shorter sides: 200 px in the median)"
    )
    assert patch_for([(75, 90), (300, 300), (70, 80)]).reason == (
        "patch 64: the largest multiple of 16 that fits into the images (their shorter sides: 75 px in the median)"
    )
    assert patch_for([(20, 500)], 0.5).reason == (
        "patch 32: the least, so the images are padded (their shorter sides: 10 px in the median at scale 0.5)"
    )
    assert patch_for([]) == (96, "patch 96: no image tells another")


def pair(side=None):
    return Pair("a", "a.png", "m.png", side=side)


def test_a_patch_that_is_given_is_kept_and_no_size_asked_for():
    given = PrepareParameters(patch=40)
    assert with_patch(given, [pair()], (1 / 0 for _ in "a")) == (given, None)


def test_images_for_validation_and_those_that_cannot_be_read_do_not_count():
    pairs = [pair(), pair("val"), pair("val"), pair("train"), pair()]
    sizes = [None, (40, 40), (41, 41), (70, 80), (66, 66), (33, 33)]
    known, reason = with_patch(PrepareParameters(), pairs, sizes)
    assert (known.patch, known.source("patch")) == (64, "plan")
    assert ": 66 px in" in reason


def parameters(folder, **values):
    return PrepareParameters(output=str(folder / "p.h5"), per_image=2, **values)


def planned(folder, **values):
    """Prepare and check without a patch; return what prepare recorded and said, and what check took."""
    told = Lines()
    path = prepare(
        folder / "images", folder / "masks", parameters=parameters(folder, **values), progress=told
    )
    report = check(folder / "images", folder / "masks", parameters=parameters(folder, **values))
    with h5py.File(path) as file:
        assert file["train/images"].shape[1:3] == (file.attrs["patch"], file.attrs["patch"])
        record = json.loads(file.attrs["parameters"])["prepare.patch"]
    assert record["source"] == "plan"
    assert report.patch == record["value"]
    return record["value"], told.lines, report


@pytest.mark.parametrize(("shape", "patch"), [((100, 120), 96), ((70, 120), 64), ((36, 40), 32)])
def test_prepare_and_check_plan_the_same_patch_and_prepare_says_why(tmp_path, write, shape, patch):
    write(tmp_path, dict.fromkeys("abc", shape))
    value, lines, report = planned(tmp_path)
    assert value == patch
    assert lines[1].startswith(f"patch {patch}: ")
    assert lines[1].endswith(f"(their shorter sides: {shape[0]} px in the median)")
    assert not [finding for finding in report.findings if finding.kind in ("small", "split")]


def test_prepare_and_check_plan_at_the_scale_that_is_cut(tmp_path, write):
    write(tmp_path, dict.fromkeys("abc", (150, 160)))
    value, lines, _ = planned(tmp_path, scale=0.5)
    assert value == 64
    assert lines[1].endswith("(their shorter sides: 75 px in the median at scale 0.5)")


def test_a_patch_that_is_given_is_not_explained(tmp_path, write):
    write(tmp_path, dict.fromkeys("ab", (40, 40)))
    told = Lines()
    prepare(tmp_path / "images", tmp_path / "masks", parameters=parameters(tmp_path, patch=24), progress=told)
    assert not [line for line in told.lines if line.startswith("patch ")]


def test_images_that_are_all_smaller_than_the_least_patch_are_padded_unless_it_is_asked_for(tmp_path, write):
    write(tmp_path, dict.fromkeys("abc", (20, 24)))
    value, lines, report = planned(tmp_path)
    assert value == 32
    assert lines[1] == (
        "patch 32: the least, so the images are padded (their shorter sides: 20 px in the median)"
    )
    assert [finding.kind for finding in report.findings if finding.kind in ("small", "split")] == ["small"]
    with pytest.raises(UsageError, match=r"prepare\.patch: 32 is larger than every image"):
        prepare(
            tmp_path / "images", tmp_path / "masks", overwrite=True, parameters=parameters(tmp_path, patch=32)
        )


def test_the_blocks_of_one_image_are_those_of_the_planned_patch(tmp_path, write):
    write(tmp_path, {"only": (50, 150)})
    value, lines, report = planned(tmp_path)
    assert value == 48
    assert lines[2] == "1 block to train on, 1 to validate (of the same images, a guard band between)"
    assert report.sides == {"train": 1, "val": 1}


def test_given_validation_images_do_not_make_the_patch_smaller(tmp_path, write):
    write(tmp_path, dict.fromkeys("ab", (80, 80)))
    images, masks = write(tmp_path / "held", dict.fromkeys("xyz", (33, 40)))
    assert planned(tmp_path, val_images=str(images), val_masks=str(masks))[0] == 80
