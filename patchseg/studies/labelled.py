"""Which of the images are labelled already: names in a folder, boxes of earlier suggestions, and what a network has learned from."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.models.checkpoint import load
from patchseg.patches.pairs import image_files
from patchseg.patches.store import PatchFile

SUGGESTIONS = "suggestions.json"

Boxes = dict[Path, list[Box]]


@dataclass(frozen=True)
class Labelled:
    """What shall not be suggested.

    Attributes:
        names: Of images, relative paths without suffix, and their last parts.
        boxes: Crops by image, whose paths are absolute.
    """

    names: frozenset[str] = frozenset()
    boxes: Boxes = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "Labelled":
        """Look into a folder of images, masks or annotations, or into one of earlier suggestions.

        Raises:
            UsageError: There is no such folder, or nothing in it.
            DataError: Its suggestions are damaged.
        """
        if not folder.is_dir():
            raise UsageError(
                f"{folder}: is no folder; expected one of images, masks or annotations (--labelled)"
            )
        if (folder / SUGGESTIONS).is_file():
            return cls(boxes=_earlier(folder / SUGGESTIONS))
        files = [file.relative_to(folder).with_suffix("") for file in folder.rglob("[!.]*") if file.is_file()]
        if not files:
            raise UsageError(f"{folder}: is empty; expected images, masks or annotations (--labelled)")
        return cls(frozenset(name for file in files for name in (file.as_posix(), file.name)))

    def has(self, relative: Path) -> bool:
        """Tell whether an image is labelled, by its path relative to where it was found."""
        plain = relative.with_suffix("")
        return not self.names.isdisjoint((plain.as_posix(), plain.name))

    def to_json(self) -> list[dict[str, Any]]:
        """Return [{image, box}] of the crops."""
        return [
            {"image": str(image), "box": list(box)} for image, boxes in self.boxes.items() for box in boxes
        ]


def learned_from(file: Path) -> frozenset[Path]:
    """Return the images that a network has learned from, absolute, as far as what it was trained on is still there.

    That is its file of patches, NAME.h5 beside checkpoints/NAME/best.pt, or else the folder of images that it was made of.

    Args:
        file: The checkpoint.
    """
    learned = load(file).parameters
    place = file.resolve().parent
    with suppress(UsageError, DataError), PatchFile(place.parents[1] / f"{place.name}.h5") as patches:
        if patches.head.parameters.items() <= learned.items():  # not another file of that name
            return frozenset(path.resolve() for path in patches.sources)
    images, unlisted = (learned.get(f"data.{name}", {}).get("value") for name in ("images", "unlisted"))
    if images and unlisted == "refuse":  # otherwise some of them may have no mask
        with suppress(UsageError):
            return frozenset(path.resolve() for path in image_files(Path(images)))
    return frozenset()


def _earlier(file: Path) -> Boxes:
    """Return the crops that were suggested, and those that had been before."""
    boxes: Boxes = {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        for item in [*document["earlier"], *document["suggestions"]]:
            boxes.setdefault(Path(item["image"]).resolve(), []).append(Box(*map(int, item["box"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}: is damaged ({type(error).__name__}: {error}); expected what patchseg suggest has written"
        ) from None
    return boxes
