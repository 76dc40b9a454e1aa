"""Files -> what the viewer shows of them: the image, its mask, and the layers that `infer` has laid beside the mask."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.errors import DataError
from patchseg.imaging import Reading
from patchseg.imaging.address import Address, is_there
from patchseg.imaging.beside import Beside
from patchseg.imaging.channels import channel_names
from patchseg.imaging.pyramid import open_sizes
from patchseg.inference.areas import pixel_sides
from patchseg.parameters import DataParameters
from patchseg.progress import Progress
from patchseg.view.layers import (
    CONFLICT,
    DOUBT,
    RISING,
    Layer,
    contrast,
    of_contrast,
    of_nats,
    of_share,
    one_color,
)
from patchseg.view.legend import Legend, find_classes, of_classes, of_values, read_record, record_folder
from patchseg.view.scene import Scene

_SUFFIXES = (".tif", ".tiff", ".zarr", ".png", ".npy")


@dataclass(frozen=True)
class Shown:
    """All that one viewer shows, open.

    Args:
        name: Of the image.
        layers: From the bottom to the top.
        legend: Of the mask, if there is one.
        about: What the page is told besides: sizes, channels, contrast.
        files: To be closed.
    """

    name: str
    layers: tuple[Layer, ...]
    legend: Legend | None
    about: dict[str, Any]
    files: ExitStack

    @property
    def scenes(self) -> dict[str, Scene]:
        """The scene of each kind of layer."""
        return {layer.kind: layer.scene for layer in self.layers}

    def describe(self) -> dict[str, Any]:
        """Return what the page must know, as JSON takes it."""
        entries = self.legend.entries if self.legend else ()
        return {
            "name": self.name, **self.about, "layers": [layer.describe() for layer in self.layers],
            "classes": [entry._asdict() for entry in entries],
        }  # fmt: skip

    def pixel(self, row: int, column: int) -> dict[str, Any] | None:
        """Return the values of a pixel in all layers, as JSON takes it; None where there is no such pixel."""
        scenes, levels = self.scenes, self.layers[0].scene.levels
        if not (0 <= row < levels.height and 0 <= column < levels.width):
            return None
        found: dict[str, Any] = {"row": row, "column": column, "image": scenes["image"].pixel(row, column)}
        if self.legend:
            values = scenes["mask"].pixel(row, column)
            dtype = scenes["mask"].full.dtype
            index = int(self.legend.indices(np.array(values, dtype).reshape(1, 1, -1))[0, 0])
            found["mask"] = {
                "value": values[0] if len(values) == 1 else values,
                "index": index,
                "name": self.legend.name(index),
            }
        if "probability" in scenes:
            most = 255.0 if scenes["probability"].full.dtype == np.uint8 else 1.0
            found["probabilities"] = shares = [
                value / most for value in scenes["probability"].pixel(row, column)
            ]
            first, second = sorted([0.0, *shares])[-2:][::-1]
            found["confidence"] = first - second
        for kind in {"confidence", "disagreement"} & set(scenes):
            found[kind] = scenes[kind].pixel(row, column)[0]
        return found

    def close(self) -> None:
        """Let go of the files."""
        self.files.close()


def open_shown(image: Path, mask: Path | None, data: DataParameters, progress: Progress) -> Shown:
    """Open an image, its mask, and the layers beside that.

    Raises:
        DataError: A file is missing, damaged, or not of the image's size.
    """
    record = read_record(mask) if mask else None
    reading = Reading.of(record or {}, progress.say)
    given = {name: getattr(data, name) for name in ("pages", "channels") if getattr(data, name) is not None}
    if "channels" in given:
        given["channels"] = tuple(given["channels"])
    reading = reading._replace(**given, memory=data.max_memory or reading.memory)
    with ExitStack() as files:
        layers, about = _image(image, reading, files)
        about["pixel_size"] = _pixel_size(image)
        legend = None
        if mask is not None:
            shape = layers[0].scene.full.shape[:2]
            legend, above = _mask(mask, reading.of_masks, data, files)
            layers += [above, *_beside(mask, legend, reading.of_masks, files)]
            about["pixel_size"] = about["pixel_size"] or _pixel_size(mask)
            for layer in layers[1:]:
                _require_shape(layer, shape, image, mask)
        return Shown(image.name, tuple(layers), legend, about, files.pop_all())


def _scene(
    path: Path,
    reading: Reading,
    files: ExitStack,
    shown: Callable[[Any], Any] = of_share,
    *,
    raw: bool = True,
) -> Scene:
    scene = Scene(open_sizes(path, reading, raw=raw), shown)
    files.callback(scene.close)
    return scene


def _image(path: Path, reading: Reading, files: ExitStack) -> tuple[list[Layer], dict[str, Any]]:
    scene = _scene(path, reading, files, raw=False)
    low, high = contrast(scene.sample()) if scene.full.dtype != np.uint8 else (0.0, 255.0)
    scene.show(lambda pixels: of_contrast(pixels, low, high))
    height, width, _ = scene.full.shape
    about = {
        "height": height, "width": width, "dtype": str(scene.full.dtype), "channels": channel_names(scene.full),
        "contrast": [low, high], "first": scene.levels.first, "last": scene.levels.last,
    }  # fmt: skip
    return [Layer("image", "Image", "image", scene, on=True, opacity=1.0)], about


def _mask(path: Path, reading: Reading, data: DataParameters, files: ExitStack) -> tuple[Legend, Layer]:
    scene = _scene(path, reading, files)
    palette, classes = scene.full.palette, find_classes(path, data)
    legend = of_classes(classes, path, palette) if classes else of_values(scene.sample(), path, palette)
    scene.show(lambda pixels: legend.indices(pixels)[:, :, None])
    alpha = np.full(256, 255, np.uint8)
    alpha[0] = 0  # the background shows the image
    return legend, Layer("mask", "Mask", "mask", scene, colors=legend.colors, alpha=alpha, on=True)


def _beside(mask: Path, legend: Legend, reading: Reading, files: ExitStack) -> list[Layer]:
    """Return the layers of numbers that lie beside a mask, as `infer` lays them."""
    layers: list[Layer] = []
    if (path := _layer_file(mask, "confidence")) is not None:
        scene = _scene(path, reading, files)
        layers.append(
            Layer(
                "confidence",
                "Low confidence",
                "confidence",
                scene,
                colors=one_color(DOUBT),
                alpha=RISING[::-1],
            )
        )
    if (path := _layer_file(mask, "disagreement")) is not None:
        classes = len(legend.entries)
        scene = _scene(path, reading, files, lambda pixels: of_nats(pixels, classes))
        layers.append(
            Layer(
                "disagreement",
                "Disagreement",
                "disagreement",
                scene,
                colors=one_color(CONFLICT),
                alpha=RISING,
            )
        )
    if (path := _layer_file(mask, "probabilities")) is not None:
        scene = _scene(path, reading, files)
        for place in range(scene.channels):
            title = f"Probability of {legend.name(place) or f'class {place}'}"
            colors = one_color(legend.colors[place])
            layers.append(
                Layer(f"probability-{place}", title, "probability", scene, place, colors=colors, alpha=RISING)
            )
    return layers


def _layer_file(mask: Path, kind: str) -> Path | None:
    """Return where a layer of a mask lies: in a folder of its name beside the record of `infer`, or beside the mask."""
    file = Address.of(mask).file.absolute()
    for folder in (record_folder(mask), file.parent):
        if folder is None:
            continue
        stem = folder / kind / file.relative_to(folder).with_suffix("")
        for suffix in _SUFFIXES:
            if is_there(path := stem.with_name(stem.name + suffix)):
                return path
    return None


def _pixel_size(path: Path) -> tuple[float, float] | None:
    """Return height and width of a pixel in micrometres, or None where the file does not tell."""
    sides, unit = pixel_sides(Beside.of_image(path))
    return sides if unit == "µm" else None


def _require_shape(layer: Layer, shape: tuple[int, ...], image: Path, mask: Path) -> None:
    own = layer.scene.full.shape[:2]
    if own != shape:
        raise DataError(
            f"{mask}: its {layer.kind} is {own[0]} x {own[1]} pixels, the image {image} is {shape[0]} x {shape[1]}; "
            "rows x columns must be equal, so give the mask of this image"
        )
