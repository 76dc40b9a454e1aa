"""Errors planted into the given masks of a synthetic set, with the places where they are; and how many an audit has found."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops

import patchseg
from patchseg.imaging import Box
from patchseg.imaging.picture import hexadecimal, palette
from patchseg.synth import ELLIPSE, LINE, Shape, paint

KINDS = ("shifted mask", "missing object", "extra object", "swapped class")
_SMALLEST, _LARGEST = 60, 1200  # pixels of an object that is taken out, put in or swapped
_SHIFTS = (3, 9)  # pixels, down and to the right


class Planted(NamedTuple):
    """One error: its kind, the image, and the box around it."""

    kind: str
    image: str
    box: Box


def plant(masks: Path, seed: int, *, each: int = 3) -> list[Planted]:
    """Spoil masks of a set of `synth`, `each` with one error of every kind, and return where they are.

    Args:
        masks: The folder; files are replaced.
        seed: What is done to which of them.
        each: Errors of each kind.
    """
    generator = np.random.default_rng(seed)
    files = sorted(masks.glob("*.png"))
    chosen = iter(generator.permutation(len(files)))
    planted = []
    for kind in np.repeat(KINDS, each):
        while True:  # some masks hold no object of a fitting size
            file = files[next(chosen)]
            with Image.open(file) as picture:
                mask, colors = np.array(picture), picture.getpalette()
            box = _spoil(mask, str(kind), generator)
            if box is not None:
                break
        spoiled = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
        spoiled.putpalette(colors)
        spoiled.save(file)
        planted.append(Planted(str(kind), file.stem, box))
    return planted


def _spoil(mask: np.ndarray, kind: str, generator: np.random.Generator) -> Box | None:
    """Put an error into a mask, in place; return where, or None where it cannot be done."""
    if kind == "shifted mask":
        down, right = generator.integers(*_SHIFTS, size=2, endpoint=True) * generator.choice([-1, 1], 2)
        moved = np.zeros_like(mask)
        height, width = mask.shape
        there = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
        here = np.s_[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
        moved[there] = mask[here]
        mask[:] = moved
        return Box(0, 0, height, width)
    if kind == "extra object":
        return _add(mask, generator)
    objects = [
        (k, found)
        for k in (LINE, ELLIPSE)
        for found in regionprops(label(mask == k))
        if _SMALLEST <= found.area <= _LARGEST
    ]
    if not objects:
        return None
    k, found = objects[generator.integers(len(objects))]
    top, left, bottom, right = found.bbox
    window = mask[top:bottom, left:right]
    window[found.image] = 0 if kind == "missing object" else LINE + ELLIPSE - k
    return Box(top, left, bottom - top, right - left)


def _add(mask: np.ndarray, generator: np.random.Generator) -> Box | None:
    """Draw a line or an ellipse on background alone."""
    height, width = mask.shape
    for _ in range(1000):
        row, column = generator.uniform(15, [height - 15, width - 15])
        angle = generator.uniform(0, np.pi)
        kind = int(generator.choice([LINE, ELLIPSE]))
        along, across = (
            (generator.uniform(12, 40), generator.uniform(1.2, 2.7))
            if kind == LINE
            else (generator.uniform(7, 14), generator.uniform(5, 10))
        )
        drawn = np.zeros_like(mask)
        paint(drawn.copy(), drawn, [Shape(kind, 0, row, column, along, across, angle)])
        grown = np.zeros_like(mask)
        paint(grown.copy(), grown, [Shape(kind, 0, row, column, along + 3, across + 3, angle)])
        if not mask[grown > 0].any():
            mask[drawn > 0] = kind
            rows, columns = np.nonzero(drawn)
            return Box(int(rows.min()), int(columns.min()), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
    return None


def recalled(planted: list[Planted], suspects: list[dict]) -> dict[str, tuple[int, int]]:
    """Return for each kind how many errors are among the first 2 n suspects, of how many; n are planted in all.

    A shifted mask is found as such; another error by a suspect of the same kind whose box covers half of its own.
    """
    top = suspects[: 2 * len(planted)]
    return {
        kind: (
            sum(any(_is_found(error, suspect) for suspect in top) for error in planted if error.kind == kind),
            sum(error.kind == kind for error in planted),
        )
        for kind in KINDS
    }


def _is_found(error: Planted, suspect: dict) -> bool:
    if suspect["image"] != error.image:
        return False
    if "shifted mask" in (error.kind, suspect["kind"]):
        return error.kind == suspect["kind"]
    box = Box(*suspect["box"])
    height = min(error.box.bottom, box.bottom) - max(error.box.top, box.top)
    width = min(error.box.right, box.right) - max(error.box.left, box.left)
    return min(height, width) > 0 and 2 * height * width >= error.box.height * error.box.width


def simulate(clean: Path, folder: Path, names: tuple[str, ...], seed: int) -> Path:
    """Write predictions as a network might make them that has learned from others: of the clean truth, with faults of its own.

    Outlines wobble by a pixel or so; in every image one object is overlooked or taken for another class with some doubt, and
    another is doubted only. Written as `infer --confidence --probabilities` does.

    Args:
        clean: Folder of masks without errors.
        folder: Where to write.
        names: Of the classes.
        seed: Of the faults.
    """
    generator = np.random.default_rng(seed)
    for kind in ("confidence", "probabilities"):
        (folder / kind).mkdir(parents=True)
    for file in sorted(clean.glob("*.png")):
        with Image.open(file) as picture:
            mask = np.array(picture)
        shares = np.stack([(mask == k).astype(float) for k in range(len(names))])
        _doubt(shares, mask, generator)
        noise = gaussian_filter(generator.normal(size=shares.shape), (0, 2, 2)) * 7
        logits = 9 * gaussian_filter(shares, (0, 0.7, 0.7)) + noise
        chances = np.exp(logits) / np.exp(logits).sum(axis=0)
        first, second = np.sort(chances, axis=0)[[-1, -2]]
        Image.fromarray(chances.argmax(axis=0).astype(np.uint8)).save(folder / f"{file.stem}.png")
        tifffile.imwrite(folder / f"confidence/{file.stem}.tif", (first - second).astype(np.float16))
        whole = np.moveaxis(np.rint(chances * 255), 0, -1).astype(np.uint8)
        tifffile.imwrite(folder / f"probabilities/{file.stem}.tif", whole, planarconfig="contig")
    colors = [hexadecimal(color) for color in palette(len(names))]
    classes = [
        {"name": name, "value": k, "color": color}
        for k, (name, color) in enumerate(zip(names, colors, strict=True))
    ]
    record = {
        "data.classes": {"value": classes, "source": "file"},
        "infer.images": {"value": [str(clean.parent / "images")], "source": "argument"},
    }
    (folder / "parameters.effective.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def _doubt(shares: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> None:
    """Let one object be mistaken with some doubt, and another be doubted."""
    numbers = label(mask, connectivity=1)
    objects = [found for found in regionprops(numbers) if found.area >= 20]
    for place, wrong in zip(generator.permutation(len(objects))[:2], (True, False), strict=False):
        inside = numbers == objects[place].label
        k = int(mask[inside][0])
        other = int(generator.choice([c for c in range(len(shares)) if c != k]))
        share = generator.uniform(0.52, 0.7) if wrong else generator.uniform(0.2, 0.48)
        shares[k][inside] -= share
        shares[other][inside] += share


def predict(images: Path, masks: Path, folder: Path, *, steps: int, seed: int) -> Path:
    """Predict each image by a network that has learned from the other half of them, planted errors and all.

    Args:
        images: Folder of images.
        masks: Of their masks.
        folder: Where to work; what `infer` writes is in `folder`/masks.
        steps: Of each of the two trainings.
        seed: Of the halves, the patches and the networks.
    """
    for fold in ("1", "2"):
        own = folder / f"fold-{fold}-of-2"
        prepare = patchseg.PrepareParameters(
            output=str(own / "patches.h5"), fold=f"{fold}/2", per_image=60, seed=seed
        )
        patches = patchseg.prepare(images, masks, parameters=prepare)
        train = patchseg.TrainParameters(steps=steps, batch=4, threads=1, device="cpu", seed=seed)
        best = patchseg.train(patches, parameters=train, folder=own)
        infer = patchseg.InferParameters(
            output=str(own / "masks"), confidence=True, probabilities=True,
            probability_type="uint8", threads=1, device="cpu",
        )  # fmt: skip
        patchseg.infer(_kept_aside(patches), checkpoint=best, parameters=infer)
        shutil.copytree(own / "masks", folder / "masks", dirs_exist_ok=True)
    record = folder / "masks/parameters.effective.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    content["infer.images"]["value"] = [str(images)]
    record.write_text(json.dumps(content), encoding="utf-8")
    return folder / "masks"


def _kept_aside(patches: Path) -> list[Path | str]:
    """Return the images of a file of patches that the network does not learn from."""
    with h5py.File(patches) as file:
        sources = zip(file["sources/path"].asstr(), file["sources/side"].asstr(), strict=True)
        return [(patches.parent / path).resolve() for path, side in sources if side == "val"]
