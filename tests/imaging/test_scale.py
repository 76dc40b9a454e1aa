import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.imaging import ArraySource, Box
from patchseg.imaging import scale as scale_module
from patchseg.imaging.scale import ScaledSource, nearest, reduced, scaled_length, support, weights

lengths = st.integers(1, 60)
scales = st.floats(0.1, 8)


def scaled(pixels, scale, *, labels=False, box=None, alpha=None):
    with ScaledSource(ArraySource(pixels, alpha=alpha), scale, labels=labels) as source:
        return source.read(box or Box(0, 0, *source.shape[:2]))


def slow_axis(values, target):
    """Resample one axis pixel by pixel: the mean under a triangle around each target pixel's centre."""
    length = len(values)
    step = length / target
    radius = max(1.0, step)
    result = []
    for pixel in range(target):
        centre = (pixel + 0.5) * step
        weighed = [(max(0.0, 1 - abs(k + 0.5 - centre) / radius), value) for k, value in enumerate(values)]
        result.append(sum(w * v for w, v in weighed) / sum(w for w, _ in weighed))
    return result


def test_four_pixels_become_two_as_worked_by_hand():
    # Centres at 1 and 3, a triangle 2 wide to each side: 0.75, 0.75, 0.25 over the first three pixels.
    image = np.array([[0], [7], [14], [70]], np.float32)
    first, second = (0.75 * 7 + 0.25 * 14) / 1.75, (0.25 * 7 + 0.75 * 14 + 0.75 * 70) / 1.75
    # One column stays one column: half of one is rounded up to it.
    np.testing.assert_allclose(scaled(image, 0.5)[:, 0, 0], [first, second], rtol=1e-6)
    assert scaled(image.astype(np.uint8), 0.5).ravel().tolist() == [round(first), round(second)]


def test_two_pixels_become_four_as_worked_by_hand():
    # Centres at 0.25, 0.75, 1.25, 1.75 of a line from 0 (at 0.5) to 80 (at 1.5), flat beyond its ends.
    image = np.array([[0, 80]], np.uint8)
    assert scaled(image, 2)[:, :, 0].tolist() == [[0, 20, 60, 80]] * 2


@given(lengths, st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_an_axis_equals_its_slow_definition(length, target, seed):
    values = np.random.default_rng(seed).uniform(-1, 1, length)
    first, last = support(0, target, length, target)
    fast = weights(0, target, length, target) @ values[first:last]
    np.testing.assert_allclose(fast, slow_axis(values, target), atol=1e-5)


@given(lengths, scales)
def test_a_length_is_never_zero_and_near_the_multiple(length, scale):
    target = scaled_length(length, scale)
    assert target >= 1
    assert abs(target - length * scale) <= 0.5 or target == 1


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=20)
def test_a_scale_of_1_changes_nothing(labels, dtype, height, width, channels):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, channels)).astype(dtype)
    result = scaled(pixels, 1.0, labels=labels)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, pixels)


@given(lengths, lengths, scales, st.sampled_from([0, 1, 200, 255]))
@settings(max_examples=30)
def test_a_constant_stays_constant(height, width, scale, value):
    result = scaled(np.full((height, width), value, np.uint8), scale)
    assert np.unique(result).tolist() == [value]
    assert result.shape == (scaled_length(height, scale), scaled_length(width, scale), 1)


@given(st.integers(0, 2**32 - 1), st.integers(4, 20), st.integers(4, 20))
@settings(max_examples=30)
def test_halving_keeps_the_mean(seed, rows, columns):
    # Away from the border every pixel has the same share; a border three pixels wide of zeros takes no part.
    pixels = np.zeros((2 * rows, 2 * columns), np.float32)
    pixels[3:-3, 3:-3] = np.random.default_rng(seed).uniform(0, 255, (2 * rows - 6, 2 * columns - 6))
    np.testing.assert_allclose(scaled(pixels, 0.5).mean(), pixels.mean(), rtol=1e-4)


def test_reducing_averages_stripes_finer_than_its_pixels_instead_of_choosing_some():
    stripes = np.tile(np.array([0, 200], np.uint8), (60, 30))
    reduced = scaled(stripes, 0.2)[2:-2, 2:-2]
    assert abs(reduced.astype(int) - 100).max() <= 8


@pytest.mark.parametrize("labels", [False, True])
@given(data=st.data(), height=lengths, width=lengths, scale=scales)
@settings(max_examples=40)
def test_any_box_is_that_box_of_the_whole(labels, data, height, width, scale):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 2)).astype(np.uint8)
    everything = scaled(pixels, scale, labels=labels)
    rows, columns = everything.shape[:2]
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    box = Box(top, left, data.draw(st.integers(1, rows - top)), data.draw(st.integers(1, columns - left)))
    part = scaled(pixels, scale, labels=labels, box=box)
    difference = np.abs(part.astype(int) - everything[box.slices].astype(int))
    assert difference.max() <= (0 if labels else 1)  # sums of another length may round otherwise


@given(lengths, scales)
def test_labels_take_the_pixel_whose_area_holds_the_centre(length, scale):
    target = scaled_length(length, scale)
    chosen = nearest(0, target, length, target)
    assert chosen.tolist() == [min(int((k + 0.5) * length / target), length - 1) for k in range(target)]


def test_labels_are_never_mixed():
    labels = np.random.default_rng(0).choice([0, 7, 255], (50, 40)).astype(np.uint8)
    for scale in (0.3, 0.77, 2.5):
        assert set(np.unique(scaled(labels, scale, labels=True))) <= {0, 7, 255}
    assert scaled(labels, 2, labels=True)[:, :, 0].tolist() == np.kron(labels, np.ones((2, 2))).tolist()


def test_validity_is_scaled_with_the_labels():
    alpha = np.ones((4, 4), np.uint8)
    alpha[:2, :2] = 0
    with ScaledSource(ArraySource(np.zeros((4, 4), np.uint8), alpha=alpha), 0.5) as source:
        assert source.valid(Box(0, 0, 2, 2)).tolist() == [[False, True], [True, True]]
        assert source.valid(Box(1, 0, 1, 2)).tolist() == [[True, True]]
    with ScaledSource(ArraySource(np.zeros((4, 4), np.uint8)), 0.5) as source:
        assert source.valid(Box(0, 0, 2, 2)) is None


class WatchedSource(ArraySource):
    """Remembers the largest box that was read."""

    most = 0

    def read(self, box):
        self.most = max(self.most, box.height * box.width)
        return super().read(box)


def test_a_large_image_is_resampled_band_by_band():
    source = WatchedSource(np.zeros((4000, 20), np.uint8))
    with ScaledSource(source, 0.5) as half:
        half.read(Box(0, 0, *half.shape[:2]))
    assert source.most <= (2 * 256 + 4) * 20


def test_the_palette_comes_along_and_the_source_is_closed():
    source = ArraySource(np.zeros((4, 4), np.uint8), palette=np.zeros((2, 3), np.uint8))
    with ScaledSource(source, 2, labels=True) as twice:
        assert twice.palette is source.palette
        assert twice.dtype == np.uint8
    assert source.read(Box(0, 0, 4, 4)).size == 0


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("samples", [1, 500, 2**24])
def test_a_reduced_image_is_the_scaled_one_whatever_its_bands(monkeypatch, labels, samples):
    monkeypatch.setattr(scale_module, "_SAMPLES", samples)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 61, 2), dtype=np.uint8)
    found = reduced(ArraySource(pixels), 30, labels=labels)
    assert found.shape == (30, 20, 2)
    assert (found == scaled(pixels, 30 / 90, labels=labels)).all()
    assert (reduced(ArraySource(pixels), 90, labels=labels) == pixels).all()
