"""What is known of a model besides its checkpoint: its name, and the images and scores that are told of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.errors import DataError
from patchseg.evaluation.documents import read_scores
from patchseg.imaging.source import Array
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import ExportParameters
from patchseg.patches.store import PatchFile

_LARGEST = 1024  # pixels of a side of what is shown


@dataclass(frozen=True)
class Told:
    """What goes with a model.

    Attributes:
        title: Its name.
        images: Images by the side of the split, {"train": 5, "val": 1}; None where that is unknown.
        patches: Patches that it has learned from, None where that is unknown.
        sample: (h, w, C) of the first validation image, or None.
        scores: What `evaluate` has found, or None.
    """

    title: str
    images: dict[str, int] | None = None
    patches: int | None = None
    sample: Array | None = None
    scores: dict[str, Any] | None = None

    @classmethod
    def of(cls, path: Path, checkpoint: Checkpoint, parameters: ExportParameters) -> "Told":
        """Gather it from the files that parameters name.

        Raises:
            UsageError: A file is not there.
            DataError: It is of something else than the checkpoint.
        """
        scores = None if parameters.scores is None else read_scores(Path(parameters.scores))
        if scores and [item["name"] for item in scores["classes"]] != list(checkpoint.classes.names):
            raise DataError(
                f"{parameters.scores}: scores the classes {', '.join(item['name'] for item in scores['classes'])}, {path} has "
                f"{', '.join(checkpoint.classes.names)}; give the scores of its own masks"
            )
        title = parameters.title or f"patchseg {_name_of(path)}"
        if parameters.patches is None:
            return cls(title, scores=scores)
        with PatchFile(Path(parameters.patches)) as file:
            mine = (checkpoint.classes.names, checkpoint.channels, checkpoint.dtype)
            if (file.head.classes.names, file.head.channels, file.dtype.name) != mine:
                raise DataError(
                    f"{parameters.patches}: is not what {path} has learned from (other classes, channels or values); give the "
                    "patches.h5 of its training"
                )
            sides, regions = file.sides(), file.region_names()
            sample = file.region(regions[0])[0][:_LARGEST, :_LARGEST] if regions else None
            count = {side: sides.count(side) for side in sorted(set(sides))}
            return cls(title, count, file.counts["train"], sample, scores)


def shares(checkpoint: Checkpoint) -> tuple[list[float], float] | None:
    """Return the share of each class among the labelled pixels, and that of ignored among all; None where it is unknown.

    Of all masks that were prepared, those of the validation included.
    """
    counts = np.zeros(256, np.int64)
    for entry in checkpoint.mapping:
        counts[entry["target"]] += entry["pixels"]
    classes = counts[: len(checkpoint.classes)]
    if not classes.sum():
        return None
    return (classes / classes.sum()).tolist(), float(counts[255] / counts.sum())


def _name_of(path: Path) -> str:
    """Return the name of the run of checkpoints/NAME/best.pt, else that of the file.

    >>> _name_of(Path("checkpoints/cells/best.pt")), _name_of(Path("nuclei v2.pt"))
    ('cells', 'nuclei v2')
    """
    run = path.resolve().parent.name if path.stem in ("best", "last") else ""
    return run or path.stem
