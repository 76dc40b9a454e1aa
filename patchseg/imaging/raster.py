"""PNG, JPEG, BMP, WebP, GIF and PNM through Pillow: read whole, upright by their EXIF orientation."""

from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageOps

from patchseg.errors import DataError
from patchseg.imaging.reading import Reading
from patchseg.imaging.source import ArraySource
from patchseg.imaging.upright import TURNS

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pbm")
_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_PLAIN = {"L", "RGB", "F"}


def accepts(head: bytes) -> bool:
    """Tell whether a file that starts so is one that Pillow reads for us."""
    return head.startswith(_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def open_source(path: Path, reading: Reading = Reading()) -> ArraySource:
    """Read an image whole, upright.

    Raises:
        DataError: It is truncated or damaged.
    """
    try:
        with Image.open(path) as image:
            if _is_deep_color(path):
                return _deep_color(path, image)
            image.load()
            return _source(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError:
        raise DataError(f"{path}: is too large to be read whole; store it as a tiled TIFF") from None
    except (OSError, SyntaxError, ValueError, EOFError, imagecodecs.PngError) as error:
        raise DataError(f"{path}: is truncated or damaged ({error}); replace it by a whole copy") from None


def orientation(path: Path) -> int:
    """Return the EXIF orientation of a file, 1 where it has none."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(0x0112, 1))
    except (OSError, SyntaxError, ValueError):
        return 1


def _is_deep_color(path: Path) -> bool:
    """Tell whether a file is a PNG of 16 bits with colour or alpha, of which Pillow keeps only 8 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    return head.startswith(_HEADS[0]) and head[24:25] == b"\x10" and head[25:26] in b"\x02\x04\x06"


def _deep_color(path: Path, image: Image.Image) -> ArraySource:
    turn = TURNS.get(image.getexif().get(0x0112, 1), np.asarray)
    pixels = turn(imagecodecs.png_decode(path.read_bytes()))
    if pixels.shape[2] == 3:
        return ArraySource(pixels)
    return ArraySource(pixels[:, :, :-1], alpha=pixels[:, :, -1])


def _source(image: Image.Image) -> ArraySource:
    if image.mode == "P":
        colors = image.getpalette("RGB") or []
        return ArraySource(np.asarray(image), palette=np.array(colors, np.uint8).reshape(-1, 3))
    if image.mode == "1":
        return ArraySource(np.asarray(image).astype(np.uint8))
    if image.mode.startswith("I"):
        return ArraySource(np.asarray(image).astype(np.uint16))
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
        straight = image.convert("LA" if image.mode in {"LA", "La"} else "RGBA")
        pixels = np.asarray(straight)
        return ArraySource(pixels[:, :, :-1], alpha=pixels[:, :, -1])
    return ArraySource(np.asarray(image if image.mode in _PLAIN else image.convert("RGB")))
