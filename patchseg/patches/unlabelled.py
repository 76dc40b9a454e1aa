"""Images without masks: found in a folder of their own, held apart from what is validated with, and cut.

A folder and what is known of the labelled images flow in; patches come out. Whatever is a copy of a labelled image, or
belongs to the group of one that is validated with, is left out, and that is said.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from patchseg.parameters import DataParameters, PrepareParameters
from patchseg.patches.cutter import Cutter
from patchseg.patches.pairs import image_files, name_of
from patchseg.patches.stacks import STACK, unstacked_images
from patchseg.progress import Progress


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
    """Return the images of the folder that parameters name; none where they name none.

    Raises:
        UsageError: There is no such folder, or no image in it.
    """
    if parameters.unlabelled is None:
        return []
    folder = Path(parameters.unlabelled)
    files = image_files(folder)
    found = [(file, name_of(file, folder)) for file in files]
    if data.pages == STACK:
        pages = unstacked_images([(file, file.relative_to(folder)) for file in files])
        found = [(page, relative.with_suffix("").as_posix()) for page, relative in pages]
    return [Unlabelled(number, name, image, name) for number, (image, name) in enumerate(found)]


def cut_unlabelled(cutter: Cutter, images: Sequence[Unlabelled], progress: Progress) -> None:
    """Cut every image."""
    progress.start("cutting unlabelled images", len(images))
    for image in images:
        cutter.cut_unlabelled(image.image, image.group, image.number)
        progress.step()
    progress.stop()
