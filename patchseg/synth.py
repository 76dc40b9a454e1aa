"""Seed -> images of lines and ellipses on noise, with their masks: the data set of the demo and of the tests.

Lines and ellipses of one gray each, in random order, lie on truncated-Gaussian noise that is lighter than most
of them. The ranges are those measured on the images of https://github.com/France1/unet-multiclass-pytorch.
Everything is a function of (seed, index), so any image can be drawn alone; an image too large for memory is
drawn band by band, its shapes scattered over cells that have a random stream each.
"""

import itertools
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import UsageError
from patchseg.imaging.files import whole
from patchseg.imaging.picture import colorize, palette
from patchseg.imaging.write import open_writer
from patchseg.parameters import SynthParameters, effective
from patchseg.progress import Progress, megabytes

CLASSES = ("background", "line", "ellipse")
LINE, ELLIPSE = 1, 2

Pixels = NDArray[np.uint8]

_DARKEST, _LIGHTEST = 153, 255  # the noise lies in between, the lightest excluded
_SIGMA = 25.5
_MEAN = (178.5, 229.5)
_SHADES = 179  # shapes are darker than this
_LENGTH, _THICKNESS = (20.0, 200.0), (2.0, 5.5)
_SEMI_MINOR, _ASPECT = (4.0, 20.0), (1.0, 2.0)
_AREA = 400 * 200  # pixels for which the numbers of shapes hold
_LINES, _ELLIPSES = (0.5, 9.5), (0.5, 12.5)

_LARGE = 2**64 - 1  # the index of the large image, which no image of a set reaches
_LARGE_FILES = ("large.tif", "large_mask.tif")
_CELL, _BAND = 512, 256
_REACH = math.ceil(math.hypot(_LENGTH[1], _THICKNESS[1]) / 2)
_SHAPES, _NOISE = 0, 1
_NUMBERED = "[0-9][0-9][0-9][0-9]*.png"
_RECORD = "parameters.effective.json"


class Shape(NamedTuple):
    """A line (a turned rectangle) or an ellipse of one gray; sizes are halves, in pixels."""

    kind: int
    shade: int
    row: float
    column: float
    along: float
    across: float
    angle: float  # of its long axis, from the columns' axis towards the rows'


def draw(seed: int, index: int, height: int, width: int) -> tuple[Pixels, Pixels]:
    """Draw one image and its mask.

    Args:
        seed: Of the data set, taken modulo 2**64.
        index: Of the image in it.
        height: Rows.
        width: Columns.

    Returns:
        The image (H, W) uint8, and the mask (H, W) uint8 of class indices.

    >>> image, mask = draw(0, 7, 400, 200)
    >>> image.shape, image.dtype.name, np.unique(mask).tolist()
    ((400, 200), 'uint8', [0, 1, 2])
    """
    generator = np.random.Generator(_stream(seed, index, _SHAPES))
    levels = noise_levels(generator.uniform(*_MEAN))
    image = _noise(_stream(seed, index, _NOISE), levels, height, width)
    mask = np.zeros((height, width), np.uint8)
    paint(image, mask, _scatter(generator, height, width))
    return image, mask


def draw_band(seed: int, size: int, top: int, height: int) -> tuple[Pixels, Pixels]:
    """Draw rows `top` to `top + height` of the large image of `size` x `size` pixels.

    Returns:
        The rows of the image (h, W) uint8, and of its mask; the same whatever band they are drawn in.
    """
    height = min(height, size - top)
    levels = noise_levels(np.random.Generator(_stream(seed, _LARGE, _SHAPES)).uniform(*_MEAN))
    rows = [_noise(_stream(seed, _LARGE, _NOISE, row), levels, 1, size) for row in range(top, top + height)]
    image, mask = np.concatenate(rows), np.zeros((height, size), np.uint8)
    cells = range(math.ceil(size / _CELL))
    for row in cells:
        if row * _CELL - _REACH < top + height and top < (row + 1) * _CELL + _REACH:
            for column in cells:
                paint(image, mask, _cell(seed, row, column), top=top)
    return image, mask


def paint(image: Pixels, mask: Pixels, shapes: list[Shape], *, top: int = 0) -> None:
    """Paint shapes, the later over the earlier, into both arrays (h, W), whose first row is row `top`.

    A pixel belongs to a shape when its centre does.

    >>> image, mask = np.full((3, 6), 200, np.uint8), np.zeros((3, 6), np.uint8)
    >>> paint(image, mask, [Shape(LINE, 90, row=1, column=3, along=1.5, across=0.5, angle=0)])
    >>> mask.tolist()
    [[0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
    """
    for shape in shapes:
        sine, cosine = math.sin(shape.angle), math.cos(shape.angle)
        rows = _span(shape.row, abs(sine) * shape.along + abs(cosine) * shape.across, top, top + len(image))
        columns = _span(shape.column, abs(cosine) * shape.along + abs(sine) * shape.across, 0, image.shape[1])
        if not rows or not columns:
            continue
        down = (np.array(rows) - shape.row)[:, None]
        right = np.array(columns) - shape.column
        # The pixel in the shape's own frame, where its half sizes are 1.
        along = (right * cosine + down * sine) / shape.along
        across = (down * cosine - right * sine) / shape.across
        inside = (abs(along) <= 1) & (abs(across) <= 1) if shape.kind == LINE else along**2 + across**2 <= 1
        window = slice(rows.start - top, rows.stop - top), slice(columns.start, columns.stop)
        image[window][inside] = shape.shade
        mask[window][inside] = shape.kind


def noise_levels(mean: float) -> Pixels:
    """Return 65536 equally likely gray values of a truncated Gaussian, (65536,) uint8, ascending.

    >>> levels = noise_levels(204)
    >>> int(levels[0]), int(levels[-1])
    (153, 254)
    """
    edges = np.arange(_DARKEST, _LIGHTEST + 1)
    below = np.array([math.erf((edge - mean) / (_SIGMA * math.sqrt(2))) for edge in edges])
    steps = np.rint((below - below[0]) / (below[-1] - below[0]) * 65536).astype(int)
    return np.repeat(edges[:-1], np.diff(steps)).astype(np.uint8)


def synth(
    directory: Path | str,
    *,
    parameters: SynthParameters = SynthParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a data set of lines and ellipses, or with `parameters.large` one large image and its mask.

    The set is DIR/train/{images,masks} and DIR/test/{images,masks}, gray PNG with a mask of the same name in the
    other folder; the large image is DIR/large.tif with DIR/large_mask.tif, square, and never held in memory.

    Args:
        directory: Where to write; new or empty.
        parameters: Numbers, sizes, seed and style.
        overwrite: Replace what an earlier call wrote there.
        progress: Told of every image or band.

    Returns:
        The directory.

    Raises:
        UsageError: The directory is not empty, or cannot be written to.
        PatchsegError: The disk is full.
    """
    progress, directory = progress or Progress(), Path(directory)
    if directory.is_dir() and any(directory.iterdir()):
        if not overwrite:
            raise UsageError(f"{directory}: is not empty; choose another directory or give --overwrite")
        _remove_earlier(directory)
    # First of all, so that a set that was interrupted is known as ours too.
    with whole(directory / _RECORD) as part:
        part.write_text(json.dumps(effective(parameters), indent=2) + "\n", encoding="utf-8")
    if parameters.large:
        _write_large(directory, parameters.large, parameters, progress)
    else:
        _write_set(directory, parameters, progress)
    return directory


def _write_set(directory: Path, parameters: SynthParameters, progress: Progress) -> None:
    total = parameters.train + parameters.test
    progress.start("synth", total)
    for index in range(total):
        # Test images go on counting, so that none repeats a training image.
        folder = directory / ("train" if index < parameters.train else "test")
        name = f"{index:0{max(4, len(str(total - 1)))}d}.png"
        image, mask = draw(parameters.seed, index, parameters.height, parameters.width)
        pixels, colors = _styled(mask, parameters)
        with open_writer(folder / "images" / name, image.shape) as writer:
            writer.write(image)
        with open_writer(folder / "masks" / name, pixels.shape, palette=colors) as writer:
            writer.write(pixels)
        progress.step()
    progress.stop()


def _write_large(directory: Path, size: int, parameters: SynthParameters, progress: Progress) -> None:
    progress.say(f"{directory}: {size} x {size} pixels need about {megabytes(0.85 * size**2)} of disk")
    progress.start("synth", math.ceil(size / _BAND))
    image_path, mask_path = (directory / name for name in _LARGE_FILES)
    sample, colors = _styled(np.zeros((1, 1), np.uint8), parameters)
    mask_file = open_writer(mask_path, (size, size, *sample.shape[2:]), palette=colors)
    with open_writer(image_path, (size, size)) as image_file, mask_file:
        for top in range(0, size, _BAND):
            image, mask = draw_band(parameters.seed, size, top, _BAND)
            image_file.write(image)
            mask_file.write(_styled(mask, parameters)[0])
            progress.step()
    progress.stop()


def _styled(mask: Pixels, parameters: SynthParameters) -> tuple[Pixels, Pixels | None]:
    """Return a mask's pixels as they are stored, and the palette that goes with indices."""
    colors = palette(len(CLASSES))
    return (colorize(mask, colors), None) if parameters.mask_style == "rgb" else (mask, colors)


def _remove_earlier(directory: Path) -> None:
    """Remove the files of an earlier call, lest a smaller set mix with them; others' files stay."""
    record = directory / _RECORD
    if not record.is_file() or '"synth.seed"' not in record.read_text(encoding="utf-8"):
        return
    for side, what in itertools.product(("train", "test"), ("images", "masks")):
        for file in (directory / side / what).glob(_NUMBERED):
            file.unlink()
    for name in _LARGE_FILES:
        (directory / name).unlink(missing_ok=True)


def _stream(seed: int, index: int, purpose: int, row: int = 0, column: int = 0) -> np.random.Philox:
    """Return the random stream of a purpose; row and column tell the cells of one image apart."""
    key = np.array([seed % 2**64, index], np.uint64)
    # The generator itself counts in the first word only.
    return np.random.Philox(key=key, counter=np.array([0, purpose, row, column], np.uint64))


def _cell(seed: int, row: int, column: int) -> list[Shape]:
    """Scatter the shapes of one cell of the large image."""
    # Row 0, column 0 belongs to the level of the noise.
    generator = np.random.Generator(_stream(seed, _LARGE, _SHAPES, row + 1, column + 1))
    top, left = row * _CELL, column * _CELL
    shapes = _scatter(generator, _CELL, _CELL)
    return [shape._replace(row=shape.row + top, column=shape.column + left) for shape in shapes]


def _scatter(generator: np.random.Generator, height: int, width: int) -> list[Shape]:
    """Draw the shapes of an area: at least a line and an ellipse, in random order, centres inside."""
    share = height * width / _AREA
    numbers = [max(1, round(generator.uniform(*per_area) * share)) for per_area in (_LINES, _ELLIPSES)]
    kinds = generator.permutation(np.repeat([LINE, ELLIPSE], numbers))
    return [_shape(generator, int(kind), height, width) for kind in kinds]


def _shape(generator: np.random.Generator, kind: int, height: int, width: int) -> Shape:
    shade = int(generator.integers(_SHADES))
    row, column = generator.uniform(-0.5, [height - 0.5, width - 0.5])
    angle = generator.uniform(0, math.pi)
    if kind == LINE:
        along, across = generator.uniform(*_LENGTH) / 2, generator.uniform(*_THICKNESS) / 2
    else:
        # Small ones are the more frequent, evenly so per doubling.
        across = math.exp(generator.uniform(*np.log(_SEMI_MINOR)))
        along = across * generator.uniform(*_ASPECT)
    return Shape(kind, shade, float(row), float(column), along, across, angle)


def _noise(stream: np.random.Philox, levels: Pixels, height: int, width: int) -> Pixels:
    """Return noise (h, w) uint8; a random 64-bit word serves four pixels."""
    words = stream.random_raw(math.ceil(height * width / 4))
    return np.asarray(levels[words.view(np.uint16)[: height * width]].reshape(height, width))


def _span(centre: float, half: float, start: int, stop: int) -> range:
    """Return the pixels of one axis within `half` of the centre, clipped."""
    return range(max(start, math.ceil(centre - half)), min(stop, math.floor(centre + half) + 1))
