"""A finished demo -> the pictures of the README: `python docs/pictures.py demo` writes docs/pictures/*.png.

Pixels of images and masks are shown one to one, never interpolated. The report is shot by a headless chromium.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from patchseg import AugmentParameters, augment
from patchseg.imaging import Box, open_image, picture
from patchseg.patches.store import PatchFile

Pixels = NDArray[np.uint8]  # (H, W, 3)

PICTURES = Path(__file__).resolve().parent / "pictures"
FLIPS = ("as cut", "left-right", "up-down", "both ways")
_THIN, _WIDE, _CAPTION = 4, 24, 22  # gaps inside a group and between groups; height of a line of text
_SHEET_GAP = 2  # of `patchseg augment`
_SHEET_SEED = 160  # whose first patches of the demo hold lines and ellipses
_WHITE, _INK = 255, (70, 70, 70)
_SCREEN = (1200, 1500)  # columns x rows, as browsers count


def patches(demo: Path, *, count: int = 3) -> Pixels:
    """Show training patches that hold every class, a row each: four flips, the mask right of the image."""
    with PatchFile(demo / "patches.h5") as file:
        images, masks = file.read("train")
        colors, classes = file.head.classes.palette, len(file.head.classes)
    # Out of each part of the file, so of different images, the patch whose rarest class has the most pixels.
    rarest = [min(np.bincount(mask.ravel(), minlength=classes)[:classes]) for mask in masks[::4]]
    parts = np.array_split(np.arange(len(rarest)), count)
    chosen = [4 * int(max(part, key=rarest.__getitem__)) for part in parts]
    rows = []
    for number in chosen:
        pairs = [
            _beside([picture.to_rgb8(images[flip]), picture.colorize(masks[flip], colors)], _THIN)
            for flip in range(number, number + 4)
        ]
        titled = zip(FLIPS, pairs, strict=True)
        rows.append(
            _beside([_titled(*pair) for pair in titled] if number == chosen[0] else pairs, _WIDE // 2)
        )
    return _below(rows, _WIDE // 2)


def augmented(demo: Path, *, count: int = 3) -> Pixels:
    """Show patches as they are stored and as training varies them, each above its mask."""
    with tempfile.TemporaryDirectory() as folder:
        varied, output = AugmentParameters(strength="standard"), Path(folder) / "sheet.png"
        sheet = _read(augment(demo / "patches.h5", parameters=varied, output=output, seed=_SHEET_SEED))
    with PatchFile(demo / "patches.h5") as file:
        cell = file.head.patch + _SHEET_GAP
    return sheet[_SHEET_GAP : 2 * count * cell]


def result(demo: Path, *, count: int = 3) -> Pixels:
    """Show test images whole, side by side: image, truth, prediction."""
    files = sorted((demo / "masks").glob("*.png"))
    groups = []
    for mask in files[:count]:
        paths = [demo / "data/test/images" / mask.name, demo / "data/test/masks" / mask.name, mask]
        titles = ("image", "truth", "prediction")
        panels = [_titled(title, _read(path)) for title, path in zip(titles, paths, strict=True)]
        groups.append(_beside(panels, _THIN))
    return _beside(groups, _WIDE)


def report(demo: Path) -> Pixels:
    """Show the first screens of the report, as chromium draws them."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
            "--window-size={},{}".format(*_SCREEN), f"--user-data-dir={folder}/profile",
        ]  # fmt: skip
        subprocess.run(
            ["chromium", *flags, f"--screenshot={shot}", (demo / "report.html").resolve().as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        with Image.open(shot) as image:
            return np.asarray(image.convert("RGB"))


def save(pixels: Pixels, path: Path) -> None:
    """Write a PNG, by a palette where the colours are few; of the grays one level in two.

    Nobody sees that one level, and the noise takes a fifth less.
    """
    gray = (pixels == pixels[:, :, :1]).all(axis=2)
    colors, places = np.unique(pixels[~gray], axis=0, return_inverse=True)
    grays = np.repeat(np.append(np.arange(0, 254, 2, np.uint8), np.uint8(255))[:, None], 3, axis=1)
    if len(grays) + len(colors) > 256:
        image = Image.fromarray(np.where(gray[:, :, None], grays[pixels[:, :, 0] // 2], pixels))
    else:
        indices = pixels[:, :, 0] // 2
        indices[~gray] = len(grays) + places.ravel()
        image = Image.fromarray(indices)
        image.putpalette(np.concatenate([grays, colors]).astype(np.uint8).tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def _read(path: Path) -> Pixels:
    with open_image(path) as source:
        return picture.to_rgb8(source.read(Box(0, 0, *source.shape[:2])))


def _titled(text: str, panel: Pixels) -> Pixels:
    """Put a line of text above a panel."""
    strip = Image.new("RGB", (panel.shape[1], _CAPTION), "white")
    font = ImageFont.load_default(15)
    ImageDraw.Draw(strip).text((panel.shape[1] / 2, _CAPTION / 2 - 1), text, _INK, font, anchor="mm")
    return np.concatenate([np.asarray(strip), panel])


def _beside(panels: list[Pixels], gap: int) -> Pixels:
    """Set panels side by side, their lower edges level."""
    height = max(len(panel) for panel in panels)
    parts = []
    for panel in panels:
        above = ((height - len(panel), 0), (0, gap if panel is not panels[-1] else 0), (0, 0))
        parts.append(np.pad(panel, above, constant_values=_WHITE))
    return np.concatenate(parts, axis=1)


def _below(rows: list[Pixels], gap: int) -> Pixels:
    """Set rows of equal width one below the other."""
    between = np.full((gap, rows[0].shape[1], 3), _WHITE, np.uint8)
    parts = [part for row in rows for part in (between, row)]
    return np.concatenate(parts[1:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the pictures of the README from a finished demo.")
    parser.add_argument("demo", type=Path, help="folder of the demo")
    folder = parser.parse_args().demo
    for draw in (patches, augmented, result, report):
        save(draw(folder), PICTURES / f"{draw.__name__}.png")
