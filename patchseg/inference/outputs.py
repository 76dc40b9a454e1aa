"""What `infer` writes for an image: mask, and on request probabilities and overlay, all row by row."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box, ImageSource, Reading, open_image, picture
from patchseg.imaging.beside import Beside
from patchseg.imaging.reading import silent
from patchseg.imaging.source import Array
from patchseg.imaging.write import PNG_PIXELS, RowWriter, open_writer
from patchseg.inference.predictor import most_probable
from patchseg.labels.classes import IGNORE, Originals
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import InferParameters


class Job(NamedTuple):
    """One image and the files that come of it.

    Attributes:
        image: The file.
        width: Its columns; 0 where it cannot be read, which is told when its turn comes.
        mask: Where its mask goes.
        probabilities: Where its probabilities go, if they are wanted.
        overlay: Where the picture of both goes, if it is wanted.
        pyramid: Whether the mask holds smaller sizes of itself.
    """

    image: Path
    width: int
    mask: Path
    probabilities: Path | None
    overlay: Path | None
    pyramid: bool = False

    @property
    def outputs(self) -> list[Path]:
        """The files to write."""
        return [path for path in (self.mask, self.probabilities, self.overlay) if path]


def plan_jobs(
    found: list[tuple[Path, Path]],
    folder: Path,
    parameters: InferParameters,
    *,
    wide: bool = False,
    reading: Reading = Reading(),
) -> list[Job]:
    """Return the outputs of each image; equal ones are refused, and such that would replace an image.

    Args:
        found: (image, its path relative to the folder or glob it was found in).
        folder: Where masks go.
        parameters: Which outputs are wanted, and their format.
        wide: Whether the values of masks take 32 bits, which PNG does not hold.
        reading: How the images are read.

    Raises:
        UsageError: The values do not fit into PNG, two images would have the same mask, or an image would be replaced.
    """
    if wide and parameters.format == "png":
        raise UsageError(
            "--format png holds no values below 0 or above 65535, as --original-values asks for; use tiff"
        )
    jobs: list[Job] = []
    owner: dict[Path, Path] = {}
    for image, relative in found:
        stem = relative.with_suffix("")
        if owner.setdefault(stem, image) != image:
            raise UsageError(
                f"{image}: would have the same mask {folder / stem} as {owner[stem]}; infer them apart"
            )
        height, width = _size(image, reading._replace(tell=silent))
        # A PNG is held whole until it is written.
        fitting = ".tif" if height * width > PNG_PIXELS or wide or parameters.pyramid else ".png"
        suffix = {"png": ".png", "tiff": ".tif"}.get(parameters.format, fitting)
        mask = ".zarr" if parameters.format == "zarr" else suffix
        jobs.append(
            Job(
                image,
                width,
                folder / f"{stem}{mask}",
                folder / "probabilities" / f"{stem}.tif" if parameters.probabilities else None,
                folder / "overlays" / f"{stem}{suffix}" if parameters.overlay else None,
                parameters.pyramid,
            )
        )
    images = {image.resolve() for image, _ in found}
    for path in (path for job in jobs for path in job.outputs):
        if path.resolve() in images:
            raise UsageError(
                f"{path}: is one of the images and would be replaced; choose another folder for the masks"
            )
    return jobs


class Outputs:
    """The open files of one image; they appear whole, or not at all after an error.

    Args:
        job: Which files.
        source: The image.
        checkpoint: For the classes and the kind of the images.
        originals: What stands in the mask for each class index; None for the indices themselves.
    """

    def __init__(
        self, job: Job, source: ImageSource, checkpoint: Checkpoint, originals: Originals | None = None
    ) -> None:
        self._source, self._top = source, 0
        self._palette, self._contrast = checkpoint.classes.palette, _contrast(checkpoint)
        shape = source.shape[:2]
        self._table = None if originals is None else originals.table
        beside = Beside.of_image(job.image)
        written = range(len(checkpoint.classes)) if originals is None else originals.table.tolist()
        # Colours of the user's own are no values.
        values = [
            item | {"value": value if isinstance(value, int) else None}
            for item, value in zip(checkpoint.classes.to_json(), written, strict=False)
        ]
        told = beside.describing(values)._replace(pyramid=job.pyramid)
        if self._table is None:
            self._mask = open_writer(job.mask, shape, palette=self._palette, beside=told)
        else:
            colors = _spread(self._table, self._palette)
            self._mask = open_writer(
                job.mask,
                (*shape, *self._table.shape[1:]),
                self._table.dtype,
                palette=colors,
                beside=told,
            )
        kinds = (job.probabilities, (len(checkpoint.classes),), np.float16), (job.overlay, (3,), np.uint8)
        self._probabilities, self._overlay = (
            None if path is None else open_writer(path, (*shape, *channels), dtype, beside=beside)
            for path, channels, dtype in kinds
        )

    def write(self, rows: Tensor) -> None:
        """Append rows of probabilities, (K, h, W) float32."""
        box = Box(self._top, 0, rows.shape[1], rows.shape[2])
        indices = most_probable(rows).cpu().numpy()
        valid = self._source.valid(box)
        if valid is not None:
            indices[~valid] = IGNORE
        self._mask.write(indices if self._table is None else self._table[indices])
        if self._probabilities:
            self._probabilities.write(rows.permute(1, 2, 0).half().cpu().numpy())
        if self._overlay:
            shown = picture.to_rgb8(self._source.read(box), *self._contrast)
            self._overlay.write(picture.overlay(shown, indices, self._palette))
        self._top = box.bottom

    def __enter__(self) -> Self:
        writers: list[RowWriter | None] = [self._mask, self._probabilities, self._overlay]
        with ExitStack() as opened:  # where one cannot be opened, those before it are given up
            for writer in writers:
                if writer:
                    opened.enter_context(writer)
            self._files = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)


def _size(image: Path, reading: Reading) -> tuple[int, int]:
    """Return rows and columns of an image, none where it cannot be read."""
    try:
        with open_image(image, reading) as source:
            return source.shape[:2]
    except DataError:
        return 0, 0


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
