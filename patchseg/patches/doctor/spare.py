"""Images without masks beside a data set: whether they are like its images, and what they show that is validated with."""

from collections.abc import Sequence
from typing import NamedTuple

from patchseg.errors import DataError
from patchseg.imaging.channels import GRAY
from patchseg.patches.check import all_gray, reading_of_unlabelled, strangers
from patchseg.patches.doctor import pictures
from patchseg.patches.doctor.doors import Doors
from patchseg.patches.doctor.examine import thumbnail, unreadable
from patchseg.patches.doctor.facts import ImageFacts, of_image
from patchseg.patches.doctor.finding import Finding
from patchseg.patches.doctor.twins import Portrait, signature
from patchseg.patches.pairs import Pair
from patchseg.patches.unlabelled import Unlabelled
from patchseg.progress import Progress


class Spare(NamedTuple):
    """What was learned of images without masks.

    Attributes:
        portraits: Of those that would be learned from, on the side of what is trained on.
        findings: What is wrong with them.
    """

    portraits: list[Portrait]
    findings: list[Finding]


def examine(
    found: Sequence[Unlabelled],
    images: Sequence[ImageFacts],
    held: set[str],
    doors: Doors,
    progress: Progress,
) -> Spare:
    """Look at one image after the other.

    Args:
        found: The images without masks.
        images: Those with masks.
        held: Groups that are validated with; `prepare` leaves their members out, and copies of labelled images.
        doors: How files are opened.
        progress: Moves once an image.
    """
    findings: list[Finding] = []
    if not found:
        return Spare([], findings)
    gray = all_gray([(image.gray, image.names) for image in images])
    names = (GRAY,) if gray else images[0].names if images else ()
    doors = Doors(reading_of_unlabelled(doors.reading, names))
    known = {image.digest for image in images}
    facts, portraits = [], []
    progress.start("checking unlabelled images", len(found))
    for _, name, path, group in found:
        pair = Pair(name, path, None)
        try:
            with doors.image(pair) as source:
                image, shown = of_image(source, path), signature(thumbnail(source))
        except DataError as error:
            findings.append(unreadable(error, path))
            continue
        finally:
            progress.step()
        facts.append(image)
        if image.digest not in known and group not in held:
            portraits.append(Portrait(pair, image.digest, shown, None, None, frozenset({"train"})))
    progress.stop()
    first = [(images[0].path, names, images[0].dtype)] if images else []
    findings += [
        Finding.told("mixed", told)
        for told in strangers([*first, *((image.path, image.names, image.dtype) for image in facts)])
    ]
    return Spare(portraits, [*findings, *pictures.ranges_beside(facts, images)])
