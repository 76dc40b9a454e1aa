"""Masks in the wrong place: planted flips, turns and shifts are found, and nothing where there are none."""

import numpy as np
import pytest

import patchseg
from patchseg.patches.doctor import placement
from patchseg.synth import draw


def agreements(change=lambda number, mask: mask, *, count=10, size=(128, 96), seed=0):
    """Measure synthetic pairs whose masks went through a change."""
    pairs = []
    for number in range(count):
        image, mask = draw(seed, number, *size)
        found = placement.measure(image.astype(np.float32), change(number, mask))
        if found is not None:
            pairs.append((f"{number}.png", found))
    return pairs


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("count", [1, 2, 3, 8, 25])
def test_masks_in_their_place_are_left_alone(seed, count):
    assert list(placement.judge(agreements(count=count, seed=seed))) == []


@pytest.mark.parametrize("how", placement.TURNS)
def test_masks_that_are_all_flipped_or_turned_are_found(how):
    turn = placement.TURNS[how]
    (found,) = placement.judge(agreements(lambda _, mask: turn(mask), size=(112, 112)))
    back = {"turned by 90 degrees clockwise": "turned by 90 degrees counterclockwise"}
    undone = back | {there: here for here, there in back.items()}
    assert found.found == f"fits the edges of its image better once {undone.get(how, how)}"
    assert (found.severity, len(found.files)) == ("error", 10)


def test_the_turn_that_is_named_undoes_the_fault():
    mask = np.arange(12).reshape(3, 4)
    turns = placement.TURNS
    there, back = turns["turned by 90 degrees clockwise"], turns["turned by 90 degrees counterclockwise"]
    assert (there(mask) == np.rot90(mask, -1)).all()
    assert (back(there(mask)) == mask).all()
    for how in set(turns) - {"turned by 90 degrees clockwise", "turned by 90 degrees counterclockwise"}:
        assert (turns[how](turns[how](mask)) == mask).all()


@pytest.mark.parametrize(
    ("down", "right", "how"), [(4, -3, "4 px up and 3 px to the right"), (0, 9, "9 px to the left")]
)
def test_masks_that_are_all_shifted_are_found(down, right, how):
    (found,) = placement.judge(agreements(lambda _, mask: np.roll(mask, (down, right), (0, 1))))
    assert found.found == f"fits the edges of its image better once shifted by {how}"
    assert len(found.files) == 10


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda mask: mask[::-1], "flipped up-down"),
        (lambda mask: mask[::-1, ::-1], "turned by 180 degrees"),
        (lambda mask: np.roll(mask, 7, axis=0), "shifted by 7 px up"),
    ],
)
def test_a_single_mask_out_of_place_is_found_among_good_ones(change, how):
    pairs = agreements(lambda number, mask: change(mask) if number == 6 else mask)
    (found,) = placement.judge(pairs)
    assert (found.files, found.severity) == (("6.png",), "error")
    assert found.found.endswith(how)


def test_few_images_give_no_more_than_a_doubt():
    (found,) = placement.judge(agreements(lambda _, mask: mask[:, ::-1], count=2))
    assert found.severity == "warning"


@pytest.mark.parametrize("some", [range(20), [7], [12]])
def test_masks_drawn_too_large_are_not_shifted(some):
    def grown(number, mask):
        around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 3, mode="edge"), (7, 7))
        return around.max(axis=(2, 3)) if number in some else mask

    assert list(placement.judge(agreements(grown, count=20))) == []


@pytest.mark.parametrize(
    ("there", "here", "better"),
    [
        ([0.9] * 10, [0.1] * 10, True),
        ([0.4] * 10, [0.15] * 10, False),  # no margin
        ([0.9] * 10, [0.5] * 10, False),  # no factor of 2
        ([0.2] * 10, [-0.9] * 10, False),  # outlines that avoid the edges, and fit nowhere
        ([1.6] * 7 + [0.0] * 3, [0.1] * 10, False),  # not in three quarters of the images
        ([3.0, *[0.2] * 9], [0.1] * 10, False),  # by chance
        ([1.4] * 3, [0.1] * 3, False),  # few images
        ([1.7] * 3, [0.1] * 3, True),
        ([], [], False),
    ],
)
def test_another_place_must_be_clearly_better(there, here, better):
    assert placement.is_better(np.array(there), np.array(here)) is better


def test_a_frame_that_is_in_every_image_draws_no_mask_to_it():
    generator = np.random.default_rng(0)
    pairs = []
    for number in range(12):
        image = generator.normal(100, 3, (128, 128)).astype(np.float32)
        image[20:100, 100:104] = 255  # a ruler at the right, objects without edges at the left
        mask = np.zeros((128, 128), np.uint8)
        mask[20:100, 24:28] = 1
        pairs.append((f"{number}.png", placement.measure(image, mask)))
    assert list(placement.judge(pairs)) == []


def test_nothing_is_said_of_images_without_edges_or_masks_without_outlines():
    image, mask = draw(0, 0, 128, 96)
    assert placement.measure(np.zeros((128, 96), np.float32), mask) is None
    assert placement.measure(image.astype(np.float32), np.zeros_like(mask)) is None
    noise = np.random.default_rng(0).integers(0, 3, (128, 96))
    assert placement.measure(image.astype(np.float32), noise) is None
    assert list(placement.judge([])) == []


def test_shifts_are_those_of_a_slow_reference():
    generator = np.random.default_rng(1)
    strength, lines = generator.random((30, 40)).astype(np.float32), generator.random((30, 40)) > 0.9
    found = placement.shifted(strength, lines)
    middle = placement.REACH
    rows, columns = np.nonzero(lines)
    for down, right in [(0, 0), (3, -5), (-24, 24), (10, 0)]:
        moved = [
            strength[r + down, c + right] if 0 <= r + down < 30 and 0 <= c + right < 40 else 0
            for r, c in zip(rows, columns, strict=True)
        ]
        assert found[middle + down, middle + right] == pytest.approx(sum(moved) / len(moved), abs=1e-5)


def test_the_verb_finds_flipped_masks_of_large_images_too(tmp_path):
    patchseg.synth(tmp_path, parameters=patchseg.SynthParameters(train=5, test=0, height=700, width=600))
    from PIL import Image

    for file in (tmp_path / "train/masks").iterdir():
        mask = np.array(Image.open(file))
        Image.fromarray(np.roll(mask, 8, axis=1)).save(file)
    report = patchseg.check(tmp_path / "train/images", tmp_path / "train/masks")
    assert [finding.kind for finding in report.findings] == ["misplaced"]
    assert "px to the left" in report.findings[0].found
