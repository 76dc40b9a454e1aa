"""What `infer` writes for an image: mask, layers of numbers, overlay, outlines and areas, all row by row.

Each is a context manager that takes a box as wide as the image and the rows of the layers in it, top to bottom.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box, ImageSource, picture
from patchseg.imaging.beside import Beside
from patchseg.imaging.resolution import pixel_size
from patchseg.imaging.source import Array
from patchseg.imaging.write import RowWriter, open_writer
from patchseg.imaging.write import buffered as buffered_by
from patchseg.inference.areas import Areas, keep
from patchseg.inference.jobs import Job
from patchseg.inference.layers import LAYERS, Rows
from patchseg.labels.classes import IGNORE, Originals
from patchseg.labels.outlines import Outliner
from patchseg.labels.region import Region
from patchseg.labels.selection import Selection
from patchseg.labels.write_geojson import GeoJsonWriter
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import InferParameters

_Error = type[BaseException] | None
_PAINTED = 64  # bytes a pixel of an overlay takes while it is painted


class Output(Protocol):
    """A file that rows become; a context manager that leaves no half file behind."""

    def write(self, box: Box, rows: Rows) -> None:
        """Append the rows of a box, each layer (h, W) or (h, W, K)."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: _Error, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


class Outputs:
    """All files of one image; they appear whole, or not at all after an error.

    Args:
        job: Which files.
        source: The image.
        checkpoint: For the classes and the kind of the images.
        parameters: How probabilities are stored, and which outlines are written.
        originals: What stands in the mask for each class index; None for the indices themselves.
        region: Where the mask has classes; None for everywhere.
    """

    def __init__(
        self,
        job: Job,
        source: ImageSource,
        checkpoint: Checkpoint,
        *,
        parameters: InferParameters = InferParameters(),
        originals: Originals | None = None,
        region: Region | None = None,
    ) -> None:
        self._source, self._region, self._top = source, region, 0
        shape, beside = source.shape[:2], Beside.of_image(job.image)
        self._outputs: list[Output] = [MaskFile(job, shape, checkpoint, originals, beside)]
        for kind, path in job.layers.items():
            name = parameters.probability_type if kind == "probabilities" else kind
            layer = LAYERS[name]
            writer = open_writer(
                path, layer.shape(*shape, len(checkpoint.classes)), layer.dtype, beside=beside
            )
            self._outputs.append(LayerFile(name, writer))
        if job.overlay:
            writer = open_writer(job.overlay, (*shape, 3), beside=beside)
            self._outputs.append(Overlay(writer, source, checkpoint))
        if job.polygons:
            self._outputs.append(Outlines(job, shape[1], checkpoint, parameters))
        if job.areas:
            self._outputs.append(AreaCount(job, checkpoint, beside))

    def write(self, rows: Rows) -> None:
        """Append rows; outside of the region, and where the image holds no data, they have no class."""
        indices = rows["mask"]
        box = Box(self._top, 0, *indices.shape)
        wanted = self._region.mask(box) if self._region else None
        if wanted is not None:  # beside it lie sums of some tiles only
            for layer in rows.values():
                layer[~wanted] = 0
        for inside in (self._source.valid(box), wanted):
            if inside is not None:
                indices[~inside] = IGNORE
        for output in self._outputs:
            output.write(box, rows)
        self._top = box.bottom

    def __enter__(self) -> Self:
        with ExitStack() as opened:  # where one cannot be opened, those before it are given up
            for output in self._outputs:
                opened.enter_context(output)
            self._files = opened.pop_all()
        return self

    def __exit__(self, kind: _Error, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.__exit__(kind, error, trace)


def buffered(
    job: Job, checkpoint: Checkpoint, parameters: InferParameters, originals: Originals | None, rows: int
) -> int:
    """Return the bytes that the files of an image hold until they are written, at most, but for outlines.

    Those are held as long as their regions go on, which depends on what is seen.

    Args:
        job: Which files.
        checkpoint: For the classes and the kind of the images.
        parameters: How probabilities are stored.
        originals: See `Outputs`.
        rows: How many are written at a time.
    """
    table = np.zeros(1, np.uint8) if originals is None else originals.table
    total = buffered_by(job.mask, (*job.shape, *table.shape[1:]), table.dtype, rows)
    for kind, path in job.layers.items():
        layer = LAYERS[parameters.probability_type if kind == "probabilities" else kind]
        total += buffered_by(path, layer.shape(*job.shape, len(checkpoint.classes)), layer.dtype, rows)
    if job.overlay:
        pixel = len(checkpoint.channels) * np.dtype(checkpoint.dtype).itemsize
        total += buffered_by(job.overlay, (*job.shape, 3), np.uint8, rows)
        total += int(((pixel + _PAINTED) * rows + job.held.column) * job.shape[1])
    return total


class LayerFile:
    """A layer as it is."""

    def __init__(self, name: str, writer: RowWriter) -> None:
        self._name, self._writer = name, writer

    def write(self, box: Box, rows: Rows) -> None:
        """Append the rows of the layer."""
        self._writer.write(rows[self._name])

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, kind: _Error, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.__exit__(kind, error, trace)


class MaskFile(LayerFile):
    """The mask, in class indices or in the values and colours of the training masks, with its classes inside."""

    def __init__(
        self,
        job: Job,
        shape: tuple[int, int],
        checkpoint: Checkpoint,
        originals: Originals | None,
        beside: Beside,
    ) -> None:
        classes, table = checkpoint.classes, None if originals is None else originals.table
        written: Iterable[object] = range(len(classes)) if table is None else table.tolist()
        # Colours of the user's own are no values.
        values = [
            item | {"value": value if isinstance(value, int) else None}
            for item, value in zip(classes.to_json(), written, strict=False)
        ]
        told = beside.describing(values)._replace(pyramid=job.pyramid)
        if table is None:
            writer = open_writer(job.mask, shape, palette=classes.palette, beside=told)
        else:
            colors = _spread(table, classes.palette)
            writer = open_writer(
                job.mask, (*shape, *table.shape[1:]), table.dtype, palette=colors, beside=told
            )
        super().__init__("mask", writer)
        self._table = table

    def write(self, box: Box, rows: Rows) -> None:
        """Append class indices."""
        indices = rows["mask"]
        self._writer.write(indices if self._table is None else self._table[indices])


class Overlay(LayerFile):
    """The image with the mask over it."""

    def __init__(self, writer: RowWriter, source: ImageSource, checkpoint: Checkpoint) -> None:
        super().__init__("mask", writer)
        self._source, self._contrast = source, _contrast(checkpoint)
        self._palette = checkpoint.classes.palette

    def write(self, box: Box, rows: Rows) -> None:
        """Append the picture of the rows."""
        shown = picture.to_rgb8(self._source.read(box), *self._contrast)
        self._writer.write(picture.overlay(shown, rows["mask"], self._palette))


class Outlines:
    """The outlines of all regions but the background's, as GeoJSON."""

    def __init__(self, job: Job, width: int, checkpoint: Checkpoint, parameters: InferParameters) -> None:
        assert job.polygons is not None
        self._outliner = Outliner(width, range(1, len(checkpoint.classes)))
        self._selection = Selection(
            smallest=parameters.smallest, holes=parameters.holes, largest=parameters.largest
        )
        self._file = GeoJsonWriter(job.polygons, checkpoint.classes, pixel_size(job.image))

    def write(self, box: Box, rows: Rows) -> None:
        """Write the regions that end in these rows."""
        self._file.write(self._selection.push(self._outliner.push(rows["mask"])))

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, kind: _Error, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._file.write(self._selection.push(self._outliner.finish()))
            self._file.write(self._selection.finish())
        self._file.__exit__(kind, error, trace)


class AreaCount:
    """The pixels of each class, kept for the table of all images."""

    def __init__(self, job: Job, checkpoint: Checkpoint, beside: Beside) -> None:
        assert job.areas is not None
        self._job, self._beside, self._areas = job, beside, Areas(checkpoint.classes)

    def write(self, box: Box, rows: Rows) -> None:
        """Count the rows."""
        self._areas.add(rows["mask"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: _Error, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            keep(self._job.folder, self._areas.record(self._job.name, self._beside))


def _spread(table: Array, palette: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return the colours of all 256 values where the values of classes are such, else None."""
    if table.ndim > 1 or table.dtype != np.uint8:
        return None
    colors = np.full((256, 3), picture.IGNORE_COLOR, np.uint8)
    colors[table[: len(palette)]] = palette
    return colors


def _contrast(checkpoint: Checkpoint) -> tuple[float | None, float | None]:
    """Return what overlays show black and white: all of 8 bits, else two standard deviations around the mean."""
    if checkpoint.dtype == "uint8":
        return None, None
    shown = checkpoint.channels[:3]
    return min(c["mean"] - 2 * c["std"] for c in shown), max(c["mean"] + 2 * c["std"] for c in shown)
