"""One suggested crop -> its files: image, mask to correct, polygons for LabelMe and QuPath, and a picture of all."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box, picture
from patchseg.imaging.beside import Beside
from patchseg.imaging.files import whole
from patchseg.imaging.resolution import pixel_size
from patchseg.imaging.source import Array
from patchseg.imaging.write import open_writer
from patchseg.inference.jobs import Job
from patchseg.inference.outputs import MaskFile
from patchseg.labels.classes import IGNORE, Classes, Originals
from patchseg.labels.outlines import Outliner
from patchseg.labels.write_geojson import GeoJsonWriter
from patchseg.labels.write_labelme import labelme_tree
from patchseg.models.checkpoint import Checkpoint
from patchseg.studies.proposals import Proposal

_LONGEST = 60  # letters of the name of an image in that of a crop
_GAP = 6  # pixels between pictures
_HOT = (255, 128, 0)
_OPEN_IN_QUPATH = "Ignore*"


class Crop(NamedTuple):
    """A crop that was chosen.

    Attributes:
        rank: From 1 on.
        image: The file.
        name: Its path relative to where it was found, without suffix.
        box: Where the crop lies in it.
        score: The mean disagreement of its pixels, in nats.
    """

    rank: int
    image: Path
    name: str
    box: Box
    score: float

    def stem(self, count: int) -> str:
        """Return the name of its files among so many: rank, image, and place.

        >>> Crop(3, Path("b/c.png"), "b/c", Box(64, 0, 32, 32), 0.1).stem(10)
        '03_b_c_r64_c0'
        """
        plain = self.name.replace("/", "_").replace("\\", "_")[-_LONGEST:]
        return f"{self.rank:0{len(str(count))}}_{plain}_r{self.box.top}_c{self.box.left}"


def panels(pixels: Array, proposal: Proposal, classes: Classes) -> dict[str, NDArray[np.uint8]]:
    """Return what is shown of a crop, each (h, w, 3) uint8: the image, the prediction over it, and the disagreement.

    Orange is full where opinions are split in half (0.69 nats); its strength goes with the root, so that little is seen too.
    """
    shown = picture.to_rgb8(np.nan_to_num(pixels) if pixels.dtype.kind == "f" else pixels)
    strength = np.sqrt(np.clip(proposal.disagreement / math.log(2), 0, 1))[:, :, None]
    dark = shown.mean(axis=2, keepdims=True) * 0.4
    heat = np.rint(dark + (np.array(_HOT) - dark) * strength).astype(np.uint8)
    return {
        "image": shown,
        "prediction": picture.overlay(shown, proposal.predicted, classes.palette),
        "disagreement": heat,
    }


def write_crop(
    folder: Path, stem: str, crop: Crop, *, pixels: Array, proposal: Proposal, checkpoint: Checkpoint
) -> dict[str, Any]:
    """Write all files of a crop.

    Args:
        folder: Of the suggestions.
        stem: The name of the files.
        crop: The crop.
        pixels: (h, w, C) as the file of the image stores them.
        proposal: What is proposed for it.
        checkpoint: For the classes.

    Returns:
        Their paths relative to the folder: crop, mask, annotation, polygons, picture.
    """
    # The place on earth is that of the whole image; the size of a pixel holds for the crop too.
    beside = Beside.of_image(crop.image)._replace(tags=())
    image = folder / "images" / f"{stem}{_suffix(pixels)}"
    plain = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    with open_writer(image, plain.shape, plain.dtype, beside=beside) as writer:
        writer.write(plain)
    mask = _write_mask(folder / "masks", stem, proposal.mask, checkpoint, beside)
    annotation = folder / "annotations" / f"{stem}.json"
    tree = labelme_tree(proposal.mask, checkpoint.classes, f"../images/{image.name}")
    with whole(annotation) as part:
        part.write_text(json.dumps(tree, indent=1, ensure_ascii=False), encoding="utf-8")
    polygons = folder / "polygons" / f"{stem}.geojson"
    _write_polygons(polygons, proposal.mask, checkpoint.classes, pixel_size(crop.image))
    shown = folder / "pictures" / f"{stem}.png"
    side_by_side = _side_by_side(list(panels(pixels, proposal, checkpoint.classes).values()))
    with open_writer(shown, side_by_side.shape) as writer:
        writer.write(side_by_side)
    files = {"crop": image, "mask": mask, "annotation": annotation, "polygons": polygons, "picture": shown}
    return {kind: path.relative_to(folder).as_posix() for kind, path in files.items()}


def originals_of(classes: Classes) -> Originals | None:
    """Return what stands in the masks that were learned from for each class, None where it is its place, and 255 is ignored."""
    originals = classes.originals()
    return None if np.array_equal(originals.table[: len(classes)], range(len(classes))) else originals


def _suffix(pixels: Array) -> str:
    """Return the suffix of the format that holds pixels as they are: PNG where every program reads it.

    >>> _suffix(np.zeros((2, 2, 3), np.uint8)), _suffix(np.zeros((2, 2, 3), np.uint16))
    ('.png', '.tif')
    """
    kind = (pixels.dtype.name, pixels.shape[2])
    return ".png" if kind in (("uint8", 1), ("uint8", 3), ("uint16", 1)) else ".tif"


def _write_mask(
    folder: Path, stem: str, mask: NDArray[np.uint8], checkpoint: Checkpoint, beside: Beside
) -> Path:
    """Write the mask in the values, or colours, of the masks that were learned from, so that it goes in among them."""
    originals = originals_of(checkpoint.classes)
    wide = originals is not None and originals.table.dtype != np.uint8
    path = folder / f"{stem}{'.tif' if wide else '.png'}"
    height, width = mask.shape
    job = Job(path, stem, folder, (height, width), path, {})
    with MaskFile(job, job.shape, checkpoint, originals, beside) as file:
        file.write(Box(0, 0, height, width), {"mask": mask})
    return path


def _write_polygons(
    path: Path, mask: NDArray[np.uint8], classes: Classes, size: tuple[float, float] | None
) -> None:
    """Write the outlines of all that is sure, but for the background, and of what is left open."""
    count = len(classes)
    named = replace(
        classes,
        names=(*classes.names, _OPEN_IN_QUPATH),
        values=(*classes.values, None),
        colors=(*classes.colors, picture.hexadecimal(picture.IGNORE_COLOR)),
    )
    outliner = Outliner(mask.shape[1], range(1, count + 1))
    with GeoJsonWriter(path, named, size) as file:
        file.write(outliner.push(np.where(mask == IGNORE, np.uint8(count), mask)))
        file.write(outliner.finish())


def _side_by_side(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((len(pictures[0]), _GAP, 3), 255, np.uint8)
    parts = [part for shown in pictures for part in (gap, shown)][1:]
    return np.concatenate(parts, axis=1)
