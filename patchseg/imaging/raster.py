"""PNG, JPEG, BMP, WebP, GIF and PNM through Pillow: read whole, upright by their EXIF orientation."""

import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import netpbm
from patchseg.imaging.reading import Reading
from patchseg.imaging.source import Array, ArraySource
from patchseg.imaging.upright import TURNS
from patchseg.progress import megabytes

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pbm")
MOST_PIXELS = (
    178_956_970  # Pillow's limit, twice the quarter of a gigabyte of RGB: more must be allowed by name
)
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")
_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_PLAIN = {"L", "RGB", "F"}
_ANIMATED = {"GIF", "WEBP", "PNG"}  # a JPEG of several pictures is a photograph with its preview
# A PNG of one colour holds the most: 8 pixels a byte, deflated to a 1032th. WebP knows no bound but its 2**28 pixels.
_PIXELS_A_BYTE = 10_000
_LIMIT = threading.Lock()


def accepts(head: bytes) -> bool:
    """Tell whether a file that starts so is one that Pillow reads for us."""
    return head.startswith(_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def open_source(path: Path, reading: Reading = Reading()) -> ArraySource:
    """Read an image whole, upright.

    Raises:
        DataError: It is truncated, damaged or an animation, or takes more memory than is allowed.
    """
    try:
        with _unlimited(), Image.open(path, formats=_FORMATS) as image:
            _require_bounded(path, image, reading.memory)
            if getattr(image, "is_animated", False) and image.format in _ANIMATED:
                raise DataError(
                    f"{path}: is an animation of several frames; expected one picture, so save the frame that counts"
                )
            return _source(path, image)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a damaged header fails in any line of Pillow that reads it
        raise DataError(f"{path}: is truncated or damaged ({error}); replace it by a whole copy") from None


def orientation(path: Path) -> int:
    """Return the EXIF orientation of a file, 1 where it has none."""
    try:
        with _unlimited(), Image.open(path, formats=(*_FORMATS, "TIFF")) as image:
            return _orientation(image)
    except Exception:  # noqa: BLE001 - those who read the pixels tell the damage
        return 1


def stored_size(path: Path) -> tuple[int, int] | None:
    """Return (H, W) as the header says it, before EXIF turns it; None where the file is not one of these."""
    try:
        with _unlimited(), Image.open(path, formats=_FORMATS) as image:
            return image.height, image.width
    except Exception:  # noqa: BLE001 - those who read the pixels tell the damage
        return None


@contextmanager
def _unlimited() -> Iterator[None]:
    """Set Pillow's limit of pixels and its warnings aside: what is too large is told in our words."""
    with _LIMIT, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _require_bounded(path: Path, image: Image.Image, memory: int | None) -> None:
    """Refuse an image that its file cannot hold, or that takes more memory than is allowed, before it is read."""
    width, height = image.size
    size = path.stat().st_size
    if width * height > _PIXELS_A_BYTE * size and image.format != "WEBP":
        raise ValueError(f"its header says {height} x {width} pixels, which no {size} bytes hold")
    deep = image.mode.startswith(("I", "F"))
    need = _decoding(image) + width * height * len(image.getbands()) * (4 if deep else 1)
    if need <= memory if memory is not None else width * height <= MOST_PIXELS:
        return
    than = f", more than the {megabytes(memory)} of --max-memory" if memory is not None else ""
    raise DataError(
        f"{path}: is {height} x {width} pixels, which take {megabytes(need)} to be read whole{than}; allow them with "
        f"--max-memory {math.ceil(need / 1e9)}GB, or store it as a tiled TIFF, which is read by window"
    )


def _decoding(image: Image.Image) -> int:
    """Return the bytes that Pillow holds an image in, a pixel in 1 byte or in 4, beside what is kept of it."""
    deep = image.mode.startswith(("I", "F"))
    return image.width * image.height * (4 if deep or len(image.getbands()) > 1 else 1)


def _source(path: Path, image: Image.Image) -> ArraySource:
    """Return the pixels upright, with the palette or with what alpha or the key colour says."""
    turn = TURNS.get(_orientation(image), np.asarray)
    with path.open("rb") as file:
        head = file.read(4096)
    if netpbm.is_deep(head):
        return ArraySource(netpbm.decode(path.read_bytes()))
    if head.startswith(_HEADS[0]) and head[24:25] == b"\x10" and head[25:26] in b"\x02\x04\x06":
        pixels, key = imagecodecs.png_decode(path.read_bytes()), image.info.get("transparency")
    else:
        image.load()
        # Not before: what follows the pixels may hold it.
        turn = TURNS.get(_orientation(image), np.asarray)
        pixels, key = _pixels(image), _key(image, head)
    if not pixels.size:
        raise ValueError("it has no pixels")
    alpha = _alpha(pixels, key)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels, alpha = pixels[:, :, :-1], pixels[:, :, -1]
    return ArraySource(
        turn(pixels), palette=_palette(image), alpha=None if alpha is None else turn(alpha), decoding=_decoding(image)
    )  # fmt: skip


def _pixels(image: Image.Image) -> Array:
    """Return the pixels as they are stored: (H, W), (H, W, 2 to 4), 16 bits where Pillow keeps them."""
    if image.mode == "P":
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
        return np.asarray(image.convert("LA" if image.mode in {"LA", "La"} else "RGBA"))
    return np.asarray(image if image.mode in _PLAIN else image.convert("RGB"))


def _palette(image: Image.Image) -> NDArray[np.uint8] | None:
    if image.mode != "P":
        return None
    return np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)


def _key(image: Image.Image, head: bytes) -> Any:
    """Return which pixels are transparent: a value, a colour, the alpha of each index (bytes), or None."""
    key = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and isinstance(key, int):
        # Pillow spreads 2 and 4 bits over 0 to 255, but not the key.
        return key * 255 // (2 ** head[24] - 1)
    if image.mode == "1" and isinstance(key, int):
        return int(key > 0)
    return key


def _alpha(pixels: Array, key: bytes | int | tuple[int, ...] | None) -> Array | None:
    """Return 0 where pixels are transparent by their value, (H, W), or None where there is no such value."""
    if isinstance(key, bytes):
        table = np.full(256, 255, np.uint8)
        table[: len(key)] = np.frombuffer(key[:256], np.uint8)
        return np.asarray(table[pixels])
    if isinstance(key, tuple):
        return np.asarray((pixels[:, :, :3] != key[:3]).any(axis=2))
    return None if key is None else np.asarray(pixels != key)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; damaged EXIF is none, as for viewers."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 - EXIF is a TIFF directory, which fails in any line that reads it
        return 1
