"""Images without masks: found in a folder of their own, held apart from what is validated with, and cut.

A folder and what is known of the labelled images flow in; patches come out. Whatever is a copy of a labelled image, or
belongs to the group of one that is validated with, is left out, and that is said.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from patchseg.errors import DataError, UsageError
from patchseg.parameters import DataParameters, PrepareParameters
from patchseg.patches.check import Inspection, Seen, seen
from patchseg.patches.cutter import Cutter
from patchseg.patches.doctor.finding import gathered
from patchseg.patches.doctor.pictures import out_of_range
from patchseg.patches.pairs import Pair, image_files
from patchseg.patches.split import Region, groups
from patchseg.patches.stacks import STACK, unstacked_images
from patchseg.progress import Progress, counted


class Unlabelled(NamedTuple):
    """An image without a mask.

    Attributes:
        number: Its place in the folder, which its random draws go by, whatever is left out.
        name: Its path relative to the folder, without suffix.
        image: The file.
        group: What it belongs to.
    """

    number: int
    name: str
    image: Path
    group: str


def find_unlabelled(parameters: PrepareParameters, data: DataParameters) -> list[Unlabelled]:
    """Return the images of the folder that parameters name, with their groups; none where they name none.

    Raises:
        UsageError: There is no such folder, no image in it, or one whose name the pattern of groups does not match.
    """
    if parameters.unlabelled is None:
        return []
    folder = Path(parameters.unlabelled)
    if (
        parameters.unlabelled in get_args(DataParameters.model_fields["unlabeled"].annotation)
        and not folder.exists()
    ):
        raise UsageError(
            f"--unlabelled {folder}: expected a folder of images without masks; what annotations leave blank is "
            f"--unlabeled {folder}"
        )
    found = [(file, file.relative_to(folder)) for file in image_files(folder)]
    found = unstacked_images(found) if data.pages == STACK else found
    names = [relative.with_suffix("").as_posix() for _, relative in found]
    try:
        group = groups(names, parameters.group)
    except UsageError as error:
        raise UsageError(f"{folder}: {error}") from None
    images = zip(names, [image for image, _ in found], group, strict=True)
    return [Unlabelled(number, *image) for number, image in enumerate(images)]


class Labelled(NamedTuple):
    """What unlabelled images are held apart from.

    Attributes:
        pairs: All; those beyond the groups are given for validation.
        group: The group of each of the first.
        regions: What is trained on and validated with.
        test: The pairs that a list keeps for a test.
        inspection: Of all pairs but those, and of the unlabelled images.
    """

    pairs: list[Pair]
    group: list[str]
    regions: list[Region]
    test: list[Pair]
    inspection: Inspection

    def digests(self) -> set[bytes]:
        """Return the digests of the pixels of all images."""
        known = {image.digest for image in self.inspection.images}
        for pair in self.test:
            with suppress(DataError):  # of what cannot be read there is no readable copy
                known.add(seen(pair.image, self.inspection.reading, compared=True).digest)
        return known

    def held_out(self, pattern: str | None) -> set[str]:
        """Return the groups of the images that are validated or tested with, as far as a pattern tells them."""
        mine = len(self.group)
        held = {self.group[r.image] for r in self.regions if r.side == "val" and r.image < mine}
        for pair in [*self.pairs[mine:], *self.test]:
            with suppress(UsageError):  # these need be in no group
                held.update(groups([pair.name], pattern))
        return held


def held_apart(
    images: list[Unlabelled], labelled: Labelled, parameters: PrepareParameters, progress: Progress
) -> list[Unlabelled]:
    """Leave out copies of labelled images and members of groups that are held out, and say so, and what is doubtful.

    Copies are told by their pixels, so a link, another name and another format make no difference. What the test and the
    validation images are known by must not be learned from, and what has a mask is learned from with it.

    Raises:
        DataError: All are copies.
    """
    if not images:
        return []
    folder, looks = parameters.unlabelled, labelled.inspection.unlabelled
    known = labelled.digests()
    pairs = [(image, look) for image, look in zip(images, looks, strict=True) if look.digest not in known]
    if not pairs:
        raise DataError(
            f"{folder}: holds no image but labelled ones ({len(images)}, by their pixels); expected images without masks "
            "(--unlabelled)"
        )
    if len(pairs) < len(images):
        progress.say(
            f"{len(images) - len(pairs)} of {len(images)} unlabelled images left out: their pixels are those of labelled images"
        )
    for told in _another_scale([look for _, look in pairs], labelled.inspection.images):
        progress.say(told)
    if parameters.group is None:
        if any(pair.group is not None for pair in labelled.pairs):
            progress.say(
                "unlabelled images have no group without --group, so relatives of validation images may be among them"
            )
        return [image for image, _ in pairs]
    held = labelled.held_out(parameters.group)
    kept = [image for image, _ in pairs if image.group not in held]
    if len(kept) < len(pairs):
        names = ", ".join(sorted({image.group for image, _ in pairs} & held))
        progress.say(
            f"{counted(len(pairs) - len(kept), 'unlabelled image')} left out: of groups that are held out ({names})"
        )
    return kept


def _another_scale(images: Sequence[Seen], labelled: Sequence[Seen]) -> Iterator[str]:
    """Yield a sentence where values of some images are on another scale than those of the labelled ones."""
    usual = float(np.median([image.top for image in labelled]))
    odd = [f for i in images if i.top for f in out_of_range(i.path, i.top, usual, i.dtype)]
    yield from map(str, gathered(odd))


def cut_unlabelled(cutter: Cutter, images: Sequence[Unlabelled], progress: Progress) -> None:
    """Cut every image."""
    progress.start("cutting unlabelled images", len(images))
    for image in images:
        cutter.cut_unlabelled(image.image, image.group, image.number)
        progress.step()
    progress.stop()
