"""Images without masks, or the patches of a file -> a patches file whose masks are regions of like pixels (`regions.py`).

It is what `pretrain` learns from. Its patches are all of the side train, and its two classes stand for nothing.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.errors import DataError, listing
from patchseg.imaging import Box, Reading
from patchseg.imaging.channels import GRAY
from patchseg.imaging.files import whole
from patchseg.imaging.reading import silent
from patchseg.imaging.source import Array
from patchseg.labels.classes import Classes
from patchseg.parameters import DataParameters, PrepareParameters, effective
from patchseg.patches.check import Inspection, Seen, all_gray, seen, strangers
from patchseg.patches.cutter import Cutter, sha256_of
from patchseg.patches.layout import UNLABELLED, Part
from patchseg.patches.plan import patch_for
from patchseg.patches.regions import regions_of
from patchseg.patches.store import Head, PatchFile, PatchWriter
from patchseg.patches.unlabelled import cut_unlabelled, find_unlabelled
from patchseg.progress import Progress, counted

REGIONS = Classes(("a region", "another region"), (0, 1), ("#000000", "#ffffff"))
_AT_ONCE = 64  # patches read


class RegionWriter(PatchWriter):
    """Gives patches without labels their regions for masks, and lets them be trained on."""

    def add_unlabelled(self, images: Array, *, source: int, boxes: list[Box]) -> None:
        """Append a block: images (n, S+2M, S+2M, C) and their boxes."""
        masks = np.stack([regions_of(image) for image in images])
        self.add_patches("train", images, masks, source=source, boxes=boxes, flips=[0] * len(images))


def is_of_regions(head: Head) -> bool:
    """Tell whether the masks of a file are regions, and no classes."""
    return head.classes == REGIONS


def cut_regions(
    images: Path,
    output: Path,
    *,
    prepare: PrepareParameters,
    data: DataParameters,
    progress: Progress,
) -> Path:
    """Write patches with their regions; a file that has them already stays as it is.

    Args:
        images: Folder of images; or what `prepare` wrote, of which the patches with and without labels are taken, those that are
            a flip of another left out, and nothing that is for validation.
        output: The file.
        prepare: How patches are cut out of images: `patch`, `margin`, `per_image`, `scale` and `seed`.
        data: How images are read.
        progress: Told what happens.

    Raises:
        UsageError: There is no such folder or file, or no image in it.
        DataError: Something is wrong with images; everything that is, is listed.
    """
    prepare = prepare.replaced({"unlabelled": str(images), "group": None, "output": str(output)}, "pretrain")
    record = effective(prepare, data)
    if output.exists():
        with PatchFile(output) as file:
            if file.head.parameters == record and is_of_regions(file.head):
                return output
    if images.is_file():
        _from_patches(images, output, record, progress)
    else:
        _from_images(output, prepare, data, record, progress)
    return output


def _from_images(
    output: Path, prepare: PrepareParameters, data: DataParameters, record: dict[str, Any], progress: Progress
) -> None:
    spare = find_unlabelled(prepare, data)
    reading = Reading.of(record, progress.say)
    found = _inspected([image.image for image in spare], reading, progress)
    first, shapes = found[0], [image.shape[:2] for image in found]
    if prepare.patch is None:
        patch, reason = patch_for(shapes, prepare.scale)
        prepare = prepare.planned(patch=patch)
        progress.say(reason)
    assert prepare.patch is not None
    inspection = Inspection(
        REGIONS,
        shapes,
        len(first.names),
        first.dtype,
        [],
        names=first.names,
        reading=reading._replace(tell=silent),
    )
    with (
        whole(output) as part,
        RegionWriter(
            part, patch=prepare.patch, channels=len(first.names), dtype=first.dtype, margin=prepare.margin
        ) as writer,
    ):
        cutter = Cutter(writer, output, prepare, inspection)
        cut_unlabelled(cutter, spare, progress)
        if not cutter.statistics.count:
            raise DataError(
                f"{found[0].path}: is transparent everywhere, as are all other images; expected pixels"
            )
        channels = cutter.statistics.channels()
        writer.finish(
            Head(prepare.patch, prepare.scale, prepare.seed, REGIONS, channels, record, margin=prepare.margin)
        )


def _inspected(files: Sequence[Path], reading: Reading, progress: Progress) -> list[Seen]:
    """Read all images once; return what they are, gray that is stored as RGB as one channel."""
    found, wrong = [], []
    progress.start("checking", len(files))
    for path in files:
        try:
            found.append(seen(path, reading, compared=False))
        except DataError as error:
            wrong.append(str(error))
        progress.step()
    progress.stop()
    if reading.channels is None and all_gray([(image.gray, image.names) for image in found]):
        found = [image._replace(names=(GRAY,)) for image in found]
    wrong += strangers([(image.path, image.names, image.dtype) for image in found])
    if wrong:
        raise DataError(listing(wrong))
    return found


def _from_patches(images: Path, output: Path, record: dict[str, Any], progress: Progress) -> None:
    parts: tuple[Part, Part] = ("train", UNLABELLED)
    with PatchFile(images) as file:
        head = file.head
        with (
            whole(output) as part,
            RegionWriter(
                part, patch=head.patch, channels=len(head.channels), dtype=file.dtype, margin=head.margin
            ) as writer,
        ):
            path = Path(os.path.relpath(images.resolve(), output.resolve().parent)).as_posix()
            source = writer.add_source(path, sha256_of(images), "", UNLABELLED)
            numbers = {name: file.unflipped(name) for name in parts if file.counts[name]}
            count = sum(map(len, numbers.values()))
            progress.say(
                f"{counted(count, 'patch')} of {images}, those with labels too; nothing for validation is among them"
            )
            progress.start("finding regions", count)
            for name, mine in numbers.items():
                for start in range(0, len(mine), _AT_ONCE):
                    taken = mine[start : start + _AT_ONCE]
                    boxes = [Box(0, 0, head.patch + 2 * head.margin, head.patch + 2 * head.margin)] * len(
                        taken
                    )
                    writer.add_unlabelled(file.read(name, taken)[0], source=source, boxes=boxes)
                    progress.step(len(taken))
            progress.stop()
            writer.finish(
                Head(head.patch, head.scale, head.seed, REGIONS, head.channels, record, margin=head.margin)
            )
