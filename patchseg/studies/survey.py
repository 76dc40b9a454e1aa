"""Images -> what each of their crops is worth to a network that has seen others: its disagreement, and how it looks."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg import device as devices
from patchseg.errors import DataError
from patchseg.imaging import Box, ImageSource, Reading, open_image
from patchseg.imaging.reading import silent
from patchseg.imaging.source import Array
from patchseg.inference import memory
from patchseg.inference.engine import Engine
from patchseg.inference.kinship import Watched, require_kin
from patchseg.inference.layers import disagreement
from patchseg.parameters import SuggestParameters
from patchseg.progress import Progress, counted
from patchseg.studies.cells import Candidates, Cells
from patchseg.studies.labelled import Labelled
from patchseg.studies.proposals import Proposal, propose
from patchseg.studies.spreading import overlap

Found = list[tuple[Path, Path]]  # image, its path relative to where it was found


class Surveyed(NamedTuple):
    """All crops of all images.

    Attributes:
        scores: (n,) their mean disagreement, in nats a pixel.
        looks: (n, F) mean and spread of each channel, in standard deviations of the training images, and the share of each
            class that is predicted.
        images: (n,) the place of the image that each is cut out of.
        boxes: Where each lies.
        failures: {image: why it could not be used}.
    """

    scores: NDArray[np.float64]
    looks: NDArray[np.float64]
    images: NDArray[np.int64]
    boxes: list[Box]
    failures: dict[str, str]


class Surveyor:
    """Predicts images row by row, and holds of each what its crops come to.

    Args:
        engine: With entropy, so that it knows where opinions differ.
        reading: How images are read.
        parameters: The side of the crops, what is sure, and what memory may be taken; all of them known.

    Attributes:
        model: What the networks have learned.
    """

    def __init__(self, engine: Engine, reading: Reading, parameters: SuggestParameters) -> None:
        assert parameters.crop is not None
        self._engine, self._reading, self._crop = engine, reading, parameters.crop
        self._base, self._sure = memory.measured(engine, parameters.max_memory), parameters.sure
        self.model = engine.checkpoint

    def told(self, found: Found) -> str:
        """Say what there is to do, and what it takes.

        Raises:
            PatchsegError: An image does not fit into the memory, not even in the narrowest columns.
        """
        needs, pixels = [], 0
        for image, _ in found:
            with suppress(DataError), open_image(image, self._reading._replace(tell=silent)) as source:
                pixels += source.shape[0] * source.shape[1]
                about = self._about(source)
                needs.append(
                    memory.need(self._engine, max(part.width for part in self._columns(source)), about)
                )
        words = f"{counted(len(found), 'image')} ({pixels / 1e6:,.1f} megapixels) on "
        words += devices.describe(self._engine.predictor.device)
        return f"{words}; at most {memory.told(self._base, max(needs, key=sum))}" if needs else words

    def survey(self, found: Found, labelled: Labelled, progress: Progress) -> Surveyed:
        """Go through images; those that cannot be used are told and left out.

        Raises:
            DataError: None can be used.
            PatchsegError: An image does not fit into the memory.
        """
        parts: list[tuple[int, Candidates]] = []
        failures: dict[str, str] = {}
        for number, (image, _) in enumerate(found):
            try:
                label = f"{number + 1}/{len(found)} {image.name}"
                whole = self._candidates(image, progress, label)
            except DataError as error:
                failures[str(image)] = str(error)
                progress.say(str(error))
                continue
            edges, free = np.array(whole.boxes, np.int64), np.ones(len(whole.boxes), np.bool_)
            for other in labelled.boxes.get(image.resolve(), []):
                free &= ~overlap(edges, np.array(other, np.int64))
            kept = np.flatnonzero(free)
            parts.append((number, Candidates([whole.boxes[place] for place in kept], whole.means[kept])))
        progress.stop()
        if not parts:
            raise DataError(
                f"none of {counted(len(found), 'image')} can be used; {next(iter(failures.values()))}"
            )
        means = np.concatenate([part.means for _, part in parts])
        return Surveyed(
            means[:, 0], self._looks(means),
            np.repeat([number for number, _ in parts], [len(part.boxes) for _, part in parts]),
            [box for _, part in parts for box in part.boxes], failures,
        )  # fmt: skip

    def propose(self, image: Path, box: Box) -> Proposal:
        """Predict one crop again, with the same bytes as in the whole, and return what is proposed for it."""
        with Watched(open_image(image, self._reading), image) as source:
            rows = torch.cat([band.cpu() for band in self._engine.rows(source, part=box)], dim=1)
            return propose(rows, self.model.classes.names, self._sure, source.valid(box))

    def pixels(self, image: Path, box: Box) -> Array:
        """Return the pixels of a crop with all channels of its file, (h, w, C)."""
        with open_image(image, self._reading._replace(channels=None)) as source:
            return source.read(box)

    def _candidates(self, image: Path, progress: Progress, label: str) -> Candidates:
        model = self.model
        with Watched(open_image(image, self._reading), image) as source:
            require_kin(image, source, model)
            height, width, channels = source.shape
            cells = Cells((height, width), self._crop, 1 + len(model.classes) + 2 * channels)
            columns = self._columns(source)
            progress.start(label, height * len(columns))
            for column in columns:
                top = 0
                for rows in self._engine.rows(source, part=column):
                    numbers = rows.cpu()
                    box = Box(top, column.left, numbers.shape[1], column.width)
                    self._add(cells, numbers, source, box)
                    top = box.bottom
                    progress.step(box.height)
            doubt = source.doubt(model)
        if doubt:
            progress.say(doubt)
        return cells.candidates()

    def _about(self, source: ImageSource) -> memory.Image:
        return memory.Image(self.model.scale, source.held)

    def _columns(self, source: ImageSource) -> list[Box]:
        """Return the parts of an image that are predicted one after the other."""
        return memory.columns(self._engine, self._base, Box(0, 0, *source.shape[:2]), self._about(source))

    def _add(self, cells: Cells, rows: Tensor, source: Watched, box: Box) -> None:
        """Add rows of predictions, (K + 1, h, w), and those of the image that they belong to; of what is no data nothing."""
        classes, valid = self._engine.classes, source.valid(box)
        pixels = source.read(box)
        planes = [disagreement(rows, classes).numpy(), *rows[:classes].numpy()]
        for place, plane in enumerate(planes):
            cells.add(place, box.left, plane if valid is None else plane * valid, top=box.top)
        for place, channel in enumerate(self.model.channels):
            plane = (pixels[:, :, place].astype(np.float32) - channel["mean"]) / (channel["std"] or 1.0)
            plane = plane if valid is None else plane * valid
            first = len(planes) + 2 * place
            cells.add(first, box.left, plane, top=box.top)
            cells.add(first + 1, box.left, plane * plane, top=box.top)

    def _looks(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what crops look like, (n, K + 2 C), out of the means of all planes."""
        first = 1 + self._engine.classes
        mean, square = means[:, first::2], means[:, first + 1 :: 2]
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        return np.concatenate([mean, deviation, means[:, 1:first]], axis=1)
