"""How the files of a pair are opened: the one place that knows, for all who look at pixels here."""

from collections.abc import Callable
from typing import NamedTuple

from patchseg.imaging import ImageSource, open_image, open_raw
from patchseg.patches.pairs import Pair


def _image(pair: Pair) -> ImageSource:
    return open_image(pair.image)


def _mask(pair: Pair) -> ImageSource:
    assert pair.mask is not None
    return open_raw(pair.mask)


class Doors(NamedTuple):
    """The two functions that open the image and the mask of a pair, as `prepare` does.

    Attributes:
        image: Opens the image as a viewer shows it.
        mask: Opens the mask as it is stored.
    """

    image: Callable[[Pair], ImageSource] = _image
    mask: Callable[[Pair], ImageSource] = _mask
