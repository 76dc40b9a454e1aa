"""Files of probabilities held against the truth: what they are of is checked, then they are counted band by band.

The files are those of `infer --probabilities`: a channel a class, as float16, or as uint8 in 255ths.

    file ──Probabilities.add(box, truth, mask)──> Ranking (ROC-AUC, average precision), Reliability (calibration)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError, listing
from patchseg.evaluation.ranking import Ranking
from patchseg.evaluation.reliability import Reliability
from patchseg.imaging import Box, Reading, open_raw
from patchseg.imaging.picture import IGNORE
from patchseg.patches.pairs import Pair, name_of, walk

FOLDER = "probabilities"  # among the masks of `infer`
_BAND = 2**22  # probabilities read at a time
_DTYPES = ("float16", "uint8")


@dataclass(frozen=True, eq=False)
class Certainty:
    """What is known of probabilities and their truth; adds up.

    Attributes:
        ranking: Of each class against the rest.
        reliability: Of the most probable class.
        pixels: How many were counted.
        others: In how many of them the mask is not of the most probable class.
    """

    ranking: Ranking
    reliability: Reliability
    pixels: int
    others: int

    def __add__(self, other: "Certainty") -> "Certainty":
        return Certainty(
            self.ranking + other.ranking,
            self.reliability + other.reliability,
            self.pixels + other.pixels,
            self.others + other.others,
        )

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return {classes: [{name, roc_auc, average_precision}], ece} as plain values; what is undefined is None."""
        scores = zip(names, self.ranking.roc_auc, self.ranking.average_precision, strict=True)
        return {
            "classes": [
                {"name": name, "roc_auc": area, "average_precision": precision}
                for name, area, precision in scores
            ],
            "ece": self.reliability.ece if self.pixels else None,
        }


def find_probabilities(folder: Path, masks: Path, pairs: Sequence[Pair]) -> dict[Path, Path]:
    """Return the file of probabilities of each mask: of the same path in another folder, but for the suffix.

    Args:
        folder: Of the probabilities.
        masks: That of the masks.
        pairs: The masks, and the truth.

    Raises:
        UsageError: There is no such folder.
        DataError: Masks have no probabilities; all are listed.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: is no folder; expected the probabilities of the masks, so infer with --probabilities, or name "
            "their folder with --probabilities"
        )
    files = {name_of(file, folder): file for file in walk(folder)}
    found = {pair.image: files.get(name_of(pair.image, masks)) for pair in pairs}
    missing = [
        f"{mask}: has no probabilities in {folder}; expected {name_of(mask, masks)}.tif, so infer with --probabilities"
        for mask, file in found.items()
        if file is None
    ]
    if missing:
        raise DataError(listing(missing))
    return {mask: file for mask, file in found.items() if file is not None}


class Probabilities:
    """An open file of probabilities, and what is counted of it; a context manager.

    Args:
        path: The file.
        mask: The mask that is of it.
        shape: (H, W) of the mask.
        classes: How many there are, K.

    Raises:
        DataError: The file is damaged, or does not fit the mask.

    Attributes:
        path: The file.
        dtype: How it holds probabilities.
        counted: What is known so far.
    """

    def __init__(self, path: Path, mask: Path, shape: tuple[int, int], classes: int) -> None:
        self.path, self._classes = path, classes
        self._source = open_raw(path, Reading(downwards=True))
        found, dtype = self._source.shape, self._source.dtype.name
        if found != (*shape, classes) or dtype not in _DTYPES:
            self._source.close()
            raise DataError(
                f"{path}: holds {found[0]} x {found[1]} pixels of {found[2]} channels as {dtype}; expected {shape[0]} x "
                f"{shape[1]} of {classes}, the classes of {mask}, as {' or '.join(_DTYPES)}, so infer with --probabilities"
            )
        self.dtype = dtype
        self.counted = Certainty(Ranking.empty(classes, dtype), Reliability.empty(), 0, 0)

    def add(self, box: Box, truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Count the pixels of a box, each below the one before.

        Args:
            box: As wide as the image.
            truth: Class indices, (h, w) uint8; 255 is left out.
            mask: Likewise: `infer` writes no probabilities where it predicts no class.

        Raises:
            DataError: The file is damaged, or what it holds is no probability.
        """
        step = max(1, _BAND // (box.width * self._classes))
        for top in range(0, box.height, step):
            rows = slice(top, min(top + step, box.height))
            part = Box(box.top + top, box.left, rows.stop - top, box.width)
            try:
                self.counted += self._count(self._source.read(part), truth[rows], mask[rows])
            except DataError as error:
                raise DataError(f"{self.path}: {error}") from None

    def _count(self, pixels: NDArray[Any], truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Certainty:
        known = (truth != IGNORE) & (mask != IGNORE)
        columns, true, predicted = np.ascontiguousarray(pixels[known].T), truth[known], mask[known]
        shares = columns / 255 if columns.dtype == np.uint8 else columns
        # What is rounded keeps its order, so the most probable class has the highest number, if not alone.
        chosen = np.take_along_axis(columns, predicted[None].astype(np.intp), axis=0)[0]
        others = int(np.count_nonzero(chosen < columns.max(axis=0, initial=0)))
        return Certainty(Ranking.of(columns, true), Reliability.of(shares, true), len(true), others)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
