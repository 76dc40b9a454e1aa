"""How the files of a pair are opened: the one place that knows, for all who look at pixels here."""

from typing import NamedTuple

from patchseg.imaging import ImageSource, Reading, open_image
from patchseg.patches.pairs import Pair


class Doors(NamedTuple):
    """Opens the image and the mask of a pair, as `prepare` does.

    Attributes:
        reading: How files are read.
    """

    reading: Reading = Reading()

    def image(self, pair: Pair) -> ImageSource:
        """Open the image as a viewer shows it."""
        return open_image(pair.image, self.reading)

    def mask(self, pair: Pair) -> ImageSource:
        """Open the mask as it is stored."""
        return pair.open_mask(self.reading)
