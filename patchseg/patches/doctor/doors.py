"""How the files of a pair are opened: the one place that knows, for all who look at pixels here."""

from typing import NamedTuple

from patchseg.errors import DataError
from patchseg.imaging import ImageSource, Reading, open_image, raster
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

    def size(self, pair: Pair) -> tuple[int, int] | None:
        """Return (H, W) of the image, None where it cannot be read; no picture is decoded for it.

        EXIF may yet exchange rows and columns.
        """
        size = raster.stored_size(pair.image)
        if size is not None:
            return size
        try:
            with self.image(pair) as source:
                return source.shape[:2]
        except DataError:
            return None

    def mask(self, pair: Pair) -> ImageSource:
        """Open the mask as it is stored."""
        return pair.open_mask(self.reading)
