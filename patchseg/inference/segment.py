"""One image -> its files: rows straight into them, or, of a large image, by way of a stage on the disk."""

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from patchseg.errors import DataError
from patchseg.imaging import ArraySource, Box, ImageSource, Reading, open_image
from patchseg.imaging.beside import Beside
from patchseg.imaging.channels import choose
from patchseg.imaging.source import Array
from patchseg.inference import memory
from patchseg.inference.coverage import uncovered
from patchseg.inference.engine import Engine
from patchseg.inference.jobs import Job
from patchseg.inference.kinship import Watched, require_kin
from patchseg.inference.known import known_of
from patchseg.inference.layers import LAYERS, Rows, layers, widened
from patchseg.inference.locks import lock
from patchseg.inference.outputs import Outputs, buffered
from patchseg.inference.shares import Share
from patchseg.inference.stage import Stage
from patchseg.inference.verify import difference
from patchseg.inference.video import segment_video
from patchseg.labels.classes import IGNORE, Originals
from patchseg.labels.region import Region, Regions
from patchseg.parameters import InferParameters
from patchseg.progress import Progress

_ROWS = 256  # empty ones, at a time
_READ = 2**20  # bytes of a stage at a time: some lie in the queues of the writers


@dataclass(frozen=True)
class Segmenter:
    """What it takes to segment images.

    Attributes:
        engine: What predicts.
        parameters: Which outputs are wanted.
        reading: How images are read.
        base: The memory that is taken whatever the image.
        originals: What stands in masks for each class; None for class indices.
        regions: Where images are segmented; None for everywhere.
        share: Which rows of large images fall to this process.
    """

    engine: Engine
    parameters: InferParameters
    reading: Reading
    base: memory.Base
    originals: Originals | None = None
    regions: Regions | None = None
    share: Share = field(default_factory=Share)

    def segment(self, job: Job, progress: Progress, label: str) -> None:
        """Segment one image.

        Raises:
            DataError: It cannot be read, or is of another kind than the networks have learned.
            UsageError: The region lies outside of it.
            PatchsegError: The disk is full.
        """
        if job.frames is not None:
            self._video(job, progress, label)
            return
        with open_image(job.image, self.reading) as source:
            require_kin(job.image, source, self.engine.checkpoint)
            watched = Watched(source, job.image)
            _require_planned(job, source)
            region = self.regions.on(job.image, source.shape[:2]) if self.regions else None
            if job.is_large or len(self.columns(job, region)) > 1:
                self._by_stage(job, watched, region, progress, label)
            else:
                self._straight(job, watched, region, progress, label)
            if self.parameters.verify:
                found = difference(watched, self.engine, self.scale(job))
                progress.say(f"{job.image}: differs from one big forward pass by {found:.1e} at most")
        if doubt := watched.doubt(self.engine.checkpoint):
            progress.say(doubt)

    def scale(self, job: Job) -> float:
        """Return the multiple of an image's size at which the networks work."""
        scale, wanted = self.engine.checkpoint.scale, self.parameters.pixel_size
        if wanted is None:
            return scale
        density = Beside.of_image(job.image).density
        if density is None:
            raise DataError(
                f"{job.image}: does not say how large its pixels are, which --pixel-size asks for; expected a resolution in "
                "the file, so resample it yourself or leave --pixel-size out"
            )
        across, down = density
        return scale * 10_000 / math.sqrt(across * down) / wanted

    def columns(self, job: Job, region: Region | None = None) -> list[Box]:
        """Return the parts of an image that are segmented one after the other, side by side."""
        area = region.bounds if region else Box(0, 0, *job.shape)
        return memory.columns(self.engine, self.base, area, self._image(job)) if area.width else [area]

    def need(self, job: Job, width: int) -> memory.Need:
        """Return what so many columns of an image take."""
        return memory.need(self.engine, width, self._image(job))

    def _image(self, job: Job) -> memory.Image:
        """Return what of an image decides what it takes."""
        scale = self.scale(job)
        if job.is_large:
            pixel = sum(LAYERS[name].bytes(self.engine.classes) for name in self._names())
            rows = max(1, _READ // (job.shape[1] * pixel))
        else:
            rows = math.ceil(self.engine.tile / scale)
        rows = min(rows, job.shape[0])
        written = buffered(job, self.engine.checkpoint, self.parameters, self.originals, rows)
        return memory.Image(scale, job.held, written if job.frames is None else 0)

    def _video(self, job: Job, progress: Progress, label: str) -> None:
        """Segment frame by frame; each is an image of its own."""
        region = self.regions.on(job.image, job.shape) if self.regions and job.pixels else None
        area = region.bounds if region else Box(0, 0, *job.shape)
        inside = None if region is None else region.mask(Box(0, 0, *job.shape))

        def mask(frame: Array) -> Array:
            source: ImageSource = ArraySource(frame)
            if self.reading.channels is not None:
                source = choose(source, self.reading.channels, job.image)
            require_kin(job.image, source, self.engine.checkpoint)
            bands = self._padded(self._rows(job, source, area, region), area, job.shape)
            indices = np.concatenate([rows["mask"] for rows in bands])
            if inside is not None:
                indices[~inside] = IGNORE
            return indices

        colors = self.engine.checkpoint.classes.palette if job.overlay else None
        segment_video(
            job.image, mask, job.folder, name=job.name, colors=colors, progress=progress, label=label
        )

    def _straight(
        self, job: Job, source: ImageSource, region: Region | None, progress: Progress, label: str
    ) -> None:
        """Write rows into the files as they are finished."""
        height, width, _ = source.shape
        area = region.bounds if region else Box(0, 0, height, width)
        progress.start(label, height)
        with self._outputs(job, source, region) as outputs:
            for rows in self._padded(self._rows(job, source, area, region), area, source.shape[:2]):
                outputs.write(rows)
                progress.step(len(rows["mask"]))

    def _by_stage(
        self, job: Job, source: ImageSource, region: Region | None, progress: Progress, label: str
    ) -> None:
        """Keep rows on the disk as they are finished; who finishes the last of them writes the files."""
        columns = self.columns(job, region)
        area = columns[0]._replace(width=columns[-1].right - columns[0].left)
        share = self.share if job.is_large else Share()  # others fall to one process whole
        with Stage(job.stage, _known_by(job), self._names(), self.engine.classes) as stage:
            done = stage.done()
            left = [box for part in columns for box in uncovered(share.rows(part), done, whole_rows=True)]
            progress.start(label, sum(box.height for box in left))
            for box in left:
                with closing(self._rows(job, source, box, region)) as bands:
                    for top, rows in _placed(bands, box.top):
                        count = len(rows["mask"])
                        stage.write(Box(top, box.left, count, box.width), rows)
                        progress.step(count)
            stage.commit()
            if not stage.is_complete(area):
                return
            with lock(job.stage / "lock", wait=False) as is_alone:
                if is_alone:
                    with self._outputs(job, source, region) as outputs:
                        for rows in stage.rows(_READ):
                            outputs.write(rows)
                    stage.remove()

    def _outputs(self, job: Job, source: ImageSource, region: Region | None) -> Outputs:
        return Outputs(
            job, source, self.engine.checkpoint, parameters=self.parameters, originals=self.originals, region=region
        )  # fmt: skip

    def _names(self) -> list[str]:
        """Return the names of the layers that are kept."""
        settings = self.parameters
        wanted = {"mask": True, settings.probability_type: settings.probabilities}
        wanted |= {name: getattr(settings, name) for name in ("confidence", "disagreement")}
        return [name for name, is_wanted in wanted.items() if is_wanted]

    def _rows(
        self, job: Job, source: ImageSource, part: Box, region: Region | None
    ) -> Generator[Rows, None, None]:
        """Yield the layers of a part of an image, from top to bottom."""
        scale = self.scale(job)
        planes = torch.zeros(self.engine.planes, 1, 1, device=self.engine.predictor.device)
        known = known_of(
            planes, source.shape[:2], scale, region=region, skip_blank=self.parameters.skip_blank
        )
        for rows in self.engine.rows(source, scale=scale, part=part, known=known):
            yield layers(rows, self.engine.classes, self._names(), self.engine.calibration)

    def _padded(self, bands: Iterator[Rows], area: Box, shape: tuple[int, int]) -> Iterator[Rows]:
        """Yield rows of an area as rows of the whole image, which has 0 around it."""
        height, width = shape
        yield from self._empty(0, area.top, width)
        for rows in bands:
            yield widened(rows, area.left, width) if area.width < width else rows
        yield from self._empty(area.bottom, height, width)

    def _empty(self, start: int, stop: int, width: int) -> Iterator[Rows]:
        for top in range(start, stop, _ROWS):
            none = torch.zeros(self.engine.planes, min(_ROWS, stop - top), width)
            yield layers(none, self.engine.classes, self._names())


def _placed(bands: Iterator[Rows], top: int) -> Iterator[tuple[int, Rows]]:
    """Yield rows with the row of the image at which they begin."""
    for rows in bands:
        yield top, rows
        top += len(rows["mask"])


def _known_by(job: Job) -> dict[str, Any]:
    """Return what the state of an image is known by."""
    status = job.file.stat()
    return {
        "path": str(job.image.resolve()),
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
        "shape": list(job.shape),
    }


def _require_planned(job: Job, source: ImageSource) -> None:
    """Refuse an image that another has replaced, or that has been finished, since the work was planned."""
    height, width, _ = source.shape
    if (height, width) != job.shape:
        raise DataError(
            f"{job.image}: is {height} x {width} pixels and was another image when the work was planned; let it be finished, "
            "and give the same command once more"
        )
