"""What `evaluate` measures besides pixels, on request: outlines, objects, probabilities; all of it inside of a region.

truth, mask ──bands──> Measured ──as_dict()──> the entry of an image in scores.json
                          └──> Measures ──as_dict()──> what holds for all images
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.evaluation.certainty import FOLDER, Certainty, Probabilities, find_probabilities
from patchseg.evaluation.field import Fields
from patchseg.evaluation.metrics import mean
from patchseg.evaluation.objects import ObjectCounts, Objects
from patchseg.evaluation.surface import Apart, Boundaries, apart
from patchseg.imaging import Box
from patchseg.imaging.beside import Beside
from patchseg.imaging.picture import IGNORE
from patchseg.inference.areas import pixel_sides
from patchseg.parameters import EvaluateParameters
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress

PIXELS = "pixels"
DISTANCES = ("hausdorff_95", "mean_distance", "hausdorff_95_in_units", "mean_distance_in_units")


class Tolerance(NamedTuple):
    """How far an outline may be off, as `evaluate.boundary` says it."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Tolerance":
        """Take it from the parameter.

        >>> Tolerance.parse("1.5 µm")
        Tolerance(value=1.5, unit='µm')
        """
        value, _, unit = text.partition(" ")
        return cls(float(value), unit)


class Measures:
    """What is asked for, and what is found over all images.

    Args:
        parameters: What is asked for.
        names: Of the classes.
        masks: The folder of the masks.
        pairs: The masks, and the truth.
        images: The images by the name of the pair, as far as they are known; they tell the size of a pixel.

    Raises:
        UsageError: The region, or the folder of the probabilities, is none.
        DataError: Masks have no region or no probabilities; all is listed.
    """

    def __init__(
        self,
        parameters: EvaluateParameters,
        names: Sequence[str],
        *,
        masks: Path,
        pairs: Sequence[Pair],
        images: dict[str, Path],
    ) -> None:
        self.names, self.images = names, images
        self.tolerance = Tolerance.parse(parameters.boundary) if parameters.boundary else None
        self.fields = Fields(parameters.region, masks, pairs) if parameters.region else None
        self.files: dict[Path, Path] = {}
        if parameters.certainty or parameters.probabilities:
            folder = Path(parameters.probabilities or masks / FOLDER)
            self.files = find_probabilities(folder, masks, pairs)
        self.objects = ObjectCounts.empty(len(names)) if parameters.objects else None
        self.certainty: Certainty | None = None
        self._dtype: str | None = None  # of probabilities, the first that were opened
        self._surfaces: list[dict[str, Any]] = []

    def of(self, pair: Pair, shape: tuple[int, int]) -> "Measured":
        """Begin with an image; its bands are to follow.

        Raises:
            UsageError: The region lies outside of it.
            DataError: Its region or probabilities do not fit.
        """
        return Measured(self, pair, shape)

    def open_probabilities(self, mask: Path, shape: tuple[int, int]) -> Probabilities | None:
        """Open what a mask was made of, where it is asked for."""
        if mask not in self.files:
            return None
        opened = Probabilities(self.files[mask], mask, shape, len(self.names))
        self._dtype = self._dtype or opened.dtype
        if opened.dtype != self._dtype:
            opened.close()
            raise DataError(
                f"{opened.path}: holds {opened.dtype}, those before it {self._dtype}; infer all of them alike"
            )
        return opened

    def add(self, entry: dict[str, Any], objects: ObjectCounts | None, certainty: Certainty | None) -> None:
        """Take what was found of an image."""
        if "surface" in entry:
            self._surfaces.append(entry["surface"])
        if self.objects is not None and objects is not None:
            self.objects += objects
        if certainty is not None:
            self.certainty = certainty if self.certainty is None else self.certainty + certainty

    def as_dict(self) -> dict[str, Any]:
        """Return what holds for all images: means of distances, sums of objects, all pixels of probabilities."""
        found: dict[str, Any] = {}
        if self.tolerance is not None:
            found["surface"] = self._surface(self.tolerance)
        if self.objects is not None:
            found["objects"] = {"classes": self.objects.as_dict(self.names)}
        if self.certainty is not None:
            found["certainty"] = self.certainty.as_dict(self.names) | {
                "reliability": self.certainty.reliability.as_dict()
            }
        return found

    def tell(self, progress: Progress) -> None:
        """Say where probabilities and masks do not seem to belong together."""
        if self.certainty is not None and self.certainty.others:
            share = 100 * self.certainty.others / self.certainty.pixels
            progress.say(
                f"in {share:.2g} % of the pixels the mask is not of the most probable class; unless thresholds or another "
                "program have changed the masks, the probabilities are of other ones"
            )

    def _surface(self, tolerance: Tolerance) -> dict[str, Any]:
        units = {entry["unit"] for entry in self._surfaces}
        unit = units.pop() if len(units) == 1 else None
        classes = []
        for index, name in enumerate(self.names):
            entries = [entry["classes"][index] for entry in self._surfaces]
            means = {key: mean([entry[key] for entry in entries]) for key in ("boundary_f1", *DISTANCES)}
            if unit is None:  # lengths in different units have no mean
                means |= dict.fromkeys(DISTANCES[2:])
            scored, measured = (
                sum(entry[key] is not None for entry in entries) for key in ("boundary_f1", DISTANCES[0])
            )
            classes.append({"name": name, **means, "images": scored, "images_with_both": measured})
        return {"tolerance": tolerance._asdict(), "unit": unit, "classes": classes}


class Measured:
    """What is found of one image while its bands pass by; a context manager that closes its files."""

    def __init__(self, asked: Measures, pair: Pair, shape: tuple[int, int]) -> None:
        self._asked, self._pair, self._shape = asked, pair, shape
        classes = len(asked.names)
        self._boundaries = None if asked.tolerance is None else Boundaries(classes)
        self._objects = None if asked.objects is None else Objects(classes)
        self._files = ExitStack()

    def __enter__(self) -> Self:
        fields, mask = self._asked.fields, self._pair.image
        with ExitStack() as opened:  # where one cannot be opened, the one before it is closed
            self._field = opened.enter_context(fields.on(mask, self._shape)) if fields else None
            self._probabilities = self._asked.open_probabilities(mask, self._shape)
            if self._probabilities is not None:
                opened.enter_context(self._probabilities)
            self._files = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def add(self, box: Box, truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take a band of class indices, (h, W) uint8, and return the truth with 255 outside of the region."""
        if self._field is not None:
            truth = np.where(self._field.inside(box), truth, np.uint8(IGNORE))
        if self._boundaries is not None:
            self._boundaries.add(truth, mask)
        if self._objects is not None:
            self._objects.add(truth, mask)
        if self._probabilities is not None:
            self._probabilities.add(box, truth, mask)
        return truth

    def finish(self) -> dict[str, Any]:
        """Return what scores.json says of the image, and count it in; no band may follow.

        Raises:
            DataError: The region is empty, or the tolerance is in a unit that the image does not tell.
        """
        names = self._asked.names
        entry: dict[str, Any] = {}
        if self._field is not None:
            entry["region"] = self._field.as_dict()
        if self._boundaries is not None and self._asked.tolerance is not None:
            entry["surface"] = self._surface(self._boundaries, self._asked.tolerance)
        objects = None if self._objects is None else self._objects.counts()
        if objects is not None:
            entry["objects"] = {"classes": objects.as_dict(names)}
        certainty = None if self._probabilities is None else self._probabilities.counted
        if certainty is not None:
            entry["certainty"] = certainty.as_dict(names)
        self._asked.add(entry, objects, certainty)
        return entry

    def _surface(self, boundaries: Boundaries, tolerance: Tolerance) -> dict[str, Any]:
        image = self._asked.images.get(self._pair.name)
        sides, unit = _pixel([image, self._pair.image, self._pair.mask])
        if tolerance.unit not in (PIXELS, unit):
            raise DataError(
                f"{self._pair.image}: does not tell the size of its pixels in {tolerance.unit}, which --boundary is in; "
                "give a number of pixels"
            )
        classes = []
        for index, name in enumerate(self._asked.names):
            places = boundaries.of(index)
            pixels = apart(*places)
            lengths = None if sides is None else _lengths(pixels, places, sides)
            near = pixels if tolerance.unit == PIXELS or lengths is None else lengths
            found = [pixels.hausdorff_95, pixels.mean]
            found += [None, None] if lengths is None else [lengths.hausdorff_95, lengths.mean]
            classes.append(
                {"name": name, "boundary_f1": near.f1(tolerance.value)}
                | dict(zip(DISTANCES, found, strict=True))
            )
        return {"pixel": sides, "unit": unit or None, "classes": classes}


def _pixel(files: Sequence[Path | None]) -> tuple[tuple[float, float] | None, str]:
    """Return height, width and unit of a pixel, of the first file that tells them."""
    for file in files:
        if file is not None:
            sides, unit = pixel_sides(Beside.of_image(file))
            if sides is not None:
                return sides, unit
    return None, ""


def _lengths(pixels: Apart, places: tuple[Any, Any], sides: tuple[float, float]) -> Apart:
    """Return distances in the unit of the sides of a pixel; those that are no squares are measured afresh."""
    return pixels.times(sides[0]) if sides[0] == sides[1] else apart(*places, sides)


def columns(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what scores.csv says of an image besides its pixels, by the head of the column.

    >>> columns({"name": "a", "objects": {"classes": [{"name": "cell", "tp": 3}]}})
    {'objects tp cell': 3}
    >>> columns({"name": "a", "certainty": {"ece": 0.25, "classes": [{"name": "cell", "roc_auc": 1.0}]}})
    {'roc_auc cell': 1.0, 'ece': 0.25}
    """
    table: dict[str, Any] = {}
    for kind, prefix in (("surface", ""), ("objects", "objects "), ("certainty", "")):
        classes = entry.get(kind, {}).get("classes", [])
        keys = [key for key in classes[0] if key != "name"] if classes else []
        table |= {f"{prefix}{key} {item['name']}": item[key] for key in keys for item in classes}
    if "surface" in entry:
        table["unit"] = entry["surface"]["unit"]
    if "certainty" in entry:
        table["ece"] = entry["certainty"]["ece"]
    if "region" in entry:
        table["region pixels"] = entry["region"]["pixels"]
    return table
