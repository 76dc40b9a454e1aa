import numpy as np
import pytest
import torch

from patchseg.imaging import ArraySource, Box
from patchseg.inference.engine import Engine
from patchseg.inference.verify import difference
from patchseg.parameters import InferParameters


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def engine(checkpoint, **values):
    usual = {"blend": "flat"} | ({"tile": 16} if values.get("blend") != "exact" else {})
    return Engine.of([checkpoint], InferParameters(threads=1, **usual | values), torch.device("cpu"))


class Reads(ArraySource):
    """Remembers the largest box that was read."""

    largest = 0

    def read(self, box: Box):
        self.largest = max(self.largest, box.height * box.width)
        return super().read(box)


def test_exact_tiles_differ_by_rounding_alone_and_averages_by_more(make):
    pixels = noise(200, 170, 1)
    assert difference(ArraySource(pixels), engine(make(), blend="exact", tile=48), 1) < 1e-5
    assert difference(ArraySource(pixels), engine(make()), 1) > 1e-3


@pytest.mark.parametrize("scale", [0.5, 1.7])
def test_it_compares_at_the_scale_at_which_networks_work(make, scale):
    pixels = noise(150, 171, 1)
    assert difference(ArraySource(pixels), engine(make(), blend="exact", tile=48), scale) < 1e-5
    assert difference(ArraySource(pixels), engine(make()), scale) > 1e-3


def test_it_is_the_difference_from_one_pass_over_the_whole_image(make):
    # All four places are the whole image, since it is no larger than a place.
    checkpoint, pixels = make(1, 3), noise(100, 90, 1)
    found = engine(checkpoint)
    averaged = torch.cat(list(found.rows(ArraySource(pixels))), dim=1)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None]
    with torch.no_grad():
        whole = checkpoint.network()(image)[0].softmax(0)
    expected = float((averaged - whole).abs().max())
    assert difference(ArraySource(pixels), found, 1) == pytest.approx(expected, abs=1e-5)


def test_it_is_the_same_every_time_and_reads_little_of_a_large_image(make):
    source = Reads(noise(900, 1000, 1))
    found = engine(make())
    once = difference(source, found, 1)
    assert once == difference(source, found, 1) > 0
    assert once != difference(source, found, 1, seed=1)
    assert source.largest < 200 * 200


@pytest.mark.parametrize("shape", [(3, 5), (1, 300), (129, 7)])
def test_images_smaller_than_a_place_are_compared_whole(make, shape):
    assert difference(ArraySource(noise(*shape, 1)), engine(make(), blend="exact", tile=48), 1) < 1e-5


def test_networks_in_one_and_the_entropy_beside_them_are_compared_alike(make):
    both = Engine.of(
        [make(), make(levels=3)], InferParameters(threads=1, tile=16, disagreement=True, symmetries="flips"), torch.device("cpu")
    )  # fmt: skip
    assert 1e-3 < difference(ArraySource(noise(160, 150, 1)), both, 1) < 1


def test_an_image_that_cannot_be_written_to_is_compared_too(make):
    pixels = noise(150, 150, 1)
    pixels.flags.writeable = False  # a warning of torch's would be an error here
    assert difference(ArraySource(pixels), engine(make(), blend="exact", tile=48), 1) < 1e-5
