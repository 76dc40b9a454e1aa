"""Tiles of a file against numpy's slices of the array, with and without an overview."""

import threading

import numpy as np
import pytest
import tifffile

from patchseg.imaging.pyramid import open_sizes
from patchseg.view import scene as scenes
from patchseg.view.levels import TILE
from patchseg.view.scene import Scene


@pytest.fixture
def small(monkeypatch):
    """Have small images treated as large ones."""
    monkeypatch.setattr(scenes, "_NEAR", 2)
    monkeypatch.setattr(scenes, "_OVERVIEW", 300)
    monkeypatch.setattr(scenes, "_AT_ONCE", 1000)
    monkeypatch.setattr(scenes, "_PLACE", 64)


@pytest.fixture
def opened(tmp_path):
    """Write an image as TIFF and open it as a scene."""
    made = []

    def open_(image: np.ndarray, **options) -> Scene:
        tifffile.imwrite(
            tmp_path / f"{len(made)}.tif",
            image,
            photometric="rgb" if image.ndim == 3 else "minisblack",
            **options,
        )
        made.append(Scene(open_sizes(tmp_path / f"{len(made)}.tif"), lambda pixels: pixels.astype(np.uint8)))
        return made[-1]

    yield open_
    for scene in made:
        scene.close()


def put_together(scene: Scene, level: int) -> np.ndarray:
    rows, columns = scene.levels.size(level)
    return np.concatenate([
        np.concatenate([scene.tile(level, x, y)[0] for x in range(-(-columns // TILE))], axis=1)
        for y in range(-(-rows // TILE))
    ])  # fmt: skip


KINDS = {
    "tiles": {"tile": (64, 64), "compression": "deflate"},
    "strips": {"rowsperstrip": 7, "compression": "deflate"},
    "one strip": {},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_every_level_is_every_so_many_th_pixel(opened, small, kind, channels):
    image = np.random.default_rng(1).integers(0, 256, (1130, 700, *channels)).astype(np.uint8)
    scene = opened(image, **KINDS[kind])
    assert not scene.finished
    scene.complete(threading.Event())
    assert scene.finished
    for level in range(scene.levels.first, scene.levels.last + 1):
        step = scene.levels.step(level)
        expected = image.reshape(1130, 700, -1)[::step, ::step]
        np.testing.assert_array_equal(put_together(scene, level), expected)


def test_a_glimpse_is_of_the_image_and_does_not_last(opened, small, monkeypatch):
    monkeypatch.setattr(scenes, "_PLACE", 32)  # of 64 pixels that each stands for
    image = np.zeros((1024, 1024), np.uint8)
    image[:, 512:] = 9
    scene = opened(image, **KINDS["tiles"])
    tile, final = scene.tile(scene.levels.first, 0, 0)
    assert not final
    np.testing.assert_array_equal(tile[:, :, 0], image[::4, ::4])  # halves that no place lies across
    image_like_noise = np.random.default_rng(0).integers(10, 20, (1024, 1024)).astype(np.uint8)
    tile, _ = opened(image_like_noise, **KINDS["tiles"]).tile(8, 0, 0)
    assert {*np.unique(tile)} == set(range(10, 20))
    assert (tile[:, :, 0] != image_like_noise[::4, ::4]).any()


def test_levels_near_the_image_never_wait_for_an_overview(opened, small):
    scene = opened(np.full((1024, 1024), 7, np.uint8), **KINDS["tiles"])
    tile, final = scene.tile(10, 3, 3)
    assert final
    assert (tile.shape, tile.min()) == ((256, 256, 1), 7)
    assert scene._overview is None


def test_a_file_with_all_sizes_needs_no_overview(opened, small, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        for step in (1, 2, 4):
            file.write(image[::step, ::step], tile=(64, 64), subfiletype=int(step > 1), metadata=None)
    scene = Scene(open_sizes(tmp_path / "p.tif"), lambda pixels: pixels)
    try:
        assert scene.finished
        tile, final = scene.tile(8, 0, 0)
        assert final
        np.testing.assert_array_equal(tile[:, :, 0], image[::4, ::4])
    finally:
        scene.close()


def test_a_scene_that_is_stopped_is_not_finished(opened, small):
    scene, stop = opened(np.zeros((1024, 1024), np.uint8), **KINDS["tiles"]), threading.Event()
    stop.set()
    scene.complete(stop)
    assert not scene.finished


def test_boxes_of_the_overview_cover_it_once_and_stay_small(opened, small, monkeypatch):
    monkeypatch.setattr(scenes, "_SWEEP", 20_000)
    scene = opened(np.zeros((1130, 700, 3), np.uint8), **KINDS["tiles"])
    boxes = list(scene._boxes(283, 175))
    covered = np.zeros((283, 175), int)
    for box in boxes:
        covered[box.slices] += 1
    assert (covered == 1).all()
    assert max(box.height * box.width * 16 * 3 for box in boxes) <= 20_000


def test_a_pixel_has_the_values_that_are_stored(opened):
    image = np.arange(60, dtype=np.uint16).reshape(4, 5, 3) * 1000
    assert opened(image).pixel(2, 3) == [39000, 40000, 41000]
