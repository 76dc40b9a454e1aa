"""The scores of a network on whole validation regions, tiled as `infer` tiles: scores of patches mislead."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg import device as devices
from patchseg.evaluation.metrics import Confusion
from patchseg.imaging import ArraySource, picture
from patchseg.inference.engine import tile_for
from patchseg.inference.predictor import Predictor, most_probable
from patchseg.inference.stream import stream
from patchseg.inference.tiling import Grid
from patchseg.labels.classes import IGNORE
from patchseg.parameters import InferParameters
from patchseg.patches.store import PatchFile

_PANELS = 4
_PANEL = 256  # pixels of a side; event files have no limit, so the pictures have


class Validation(NamedTuple):
    """What a validation found.

    Attributes:
        confusion: Over the pixels of all regions.
        loss: Mean of -log p(truth) over them; None where none is labelled.
        panels: Image, truth and prediction side by side, (h, 3 w, 3) uint8, of the first few regions.
    """

    confusion: Confusion
    loss: float | None
    panels: list[NDArray[np.uint8]]

    def scores(self, names: tuple[str, ...]) -> dict[str, float | None]:
        """Return the scores under the names that metrics.jsonl and TensorBoard have for them."""
        each = {f"iou/{name}": iou for name, iou in zip(names, self.confusion.iou, strict=True)}
        return {"loss/val": self.loss, "mean_iou": self.confusion.mean_iou, **each}


def validate(file: PatchFile, predictor: Predictor) -> Validation | None:
    """Predict every validation region and hold it against its mask; None where there is no region.

    Several processes share the regions, and all of them return what was found in all; panels are of their own.

    Args:
        file: The open patches file.
        predictor: The network, in evaluation mode.
    """
    names = file.region_names()
    classes = len(file.head.classes)
    confusion, loss, panels = Confusion.empty(classes), 0.0, []
    for number, name in enumerate(names[devices.rank() :: devices.ranks()]):
        image, truth = file.region(name)
        source = ArraySource(image)
        grid = Grid(source.shape[:2], tile_for(file.head.patch))
        prediction, top = [], 0
        for rows in stream(
            source, predictor, grid, classes=classes, window=InferParameters().blend, device=predictor.device,
            batch=devices.tile_batch(predictor.device, grid.tile),
        ):  # fmt: skip
            expected = truth[top : top + rows.shape[1]]
            indices = most_probable(rows).cpu().numpy()
            confusion += Confusion.of(expected, indices, classes)
            loss += _negative_log(rows, expected)
            top += rows.shape[1]
            if number < _PANELS and top - rows.shape[1] < _PANEL:
                prediction.append(indices[:, :_PANEL])
        if number < _PANELS:
            panels.append(
                _panel(image, truth, np.concatenate(prediction)[:_PANEL], file.head.classes.palette)
            )
    if devices.ranks() > 1:
        counts = torch.tensor(confusion.counts, device=predictor.device)
        confusion = Confusion(devices.summed(counts).cpu().numpy())
        loss = float(devices.summed(torch.tensor(loss, device=predictor.device)))
    labelled = int(confusion.counts.sum())
    return Validation(confusion, loss / labelled if labelled else None, panels) if names else None


def _negative_log(rows: Tensor, truth: NDArray[np.uint8]) -> float:
    """Return the sum of -log p(truth) over the labelled pixels of probabilities (K, h, W)."""
    index = torch.from_numpy(truth).to(rows.device).long()
    labelled = index != IGNORE
    likelihood = rows.gather(0, index.masked_fill(~labelled, 0)[None])[0][labelled]
    return float(-likelihood.clamp_min(1e-12).log().sum())  # float32: MPS has no float64


def _panel(
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    palette: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    shown = picture.to_rgb8(image[:_PANEL, :_PANEL])
    masks = [picture.colorize(mask, palette) for mask in (truth[:_PANEL, :_PANEL], prediction)]
    return np.concatenate([shown, *masks], axis=1)
