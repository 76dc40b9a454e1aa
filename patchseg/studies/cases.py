"""Folders of predicted and given masks -> cases: the files of each image, opened together."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from patchseg.errors import DataError, UsageError, listing
from patchseg.evaluation.predicted import Predicted, pairs_of, predicted_in
from patchseg.imaging import ImageSource, Reading, open_image, open_raw
from patchseg.labels.classes import Classes
from patchseg.parameters import DataParameters
from patchseg.patches.pairs import RECORD, Pair
from patchseg.progress import Progress
from patchseg.studies.disagreement import Trio
from patchseg.studies.shift import Read

_OPINIONS = ("probabilities", "confidence")  # beside the masks; the first says more


@dataclass(frozen=True)
class Case:
    """One image to be audited: its files and what their values mean.

    Attributes:
        pair: The predicted mask, as the image, with the given one.
        opinion: Probabilities or leads of the prediction.
        picture: The image itself, where it is still there.
        known: How masks are read.
        reading: How the image is read.
    """

    pair: Pair
    opinion: Path
    picture: Path | None
    known: Predicted
    reading: Reading

    @contextmanager
    def open(self) -> Iterator[Trio]:
        """Open the layers.

        Raises:
            DataError: A file is missing or damaged, or the sizes differ.
        """
        given_file, predicted_file, known = self.pair.mask, self.pair.image, self.known
        assert given_file is not None
        with (
            open_raw(given_file, known.reading) as given,
            open_raw(predicted_file, known.reading) as predicted,
            open_raw(self.opinion) as opinion,
        ):
            shape, channels = given.shape[:2], opinion.shape[2]
            if predicted.shape[:2] != shape or opinion.shape[:2] != shape:
                found = " and ".join(
                    "{} ({} x {})".format(file, *source.shape)
                    for file, source in ((predicted_file, predicted), (self.opinion, opinion))
                )
                raise DataError(
                    f"{given_file}: is {shape[0]} x {shape[1]} pixels, {found} should be so too; infer its image again"
                )
            if channels not in (1, len(known.truth)):
                raise DataError(
                    f"{self.opinion}: has {channels} channels; expected one, or one of each of {len(known.truth)} classes"
                )
            yield Trio(
                shape,
                _reader(given, known.truth, given_file),
                _reader(predicted, known.masks, predicted_file),
                opinion,
                len(known.truth),
            )

    def open_masks(self) -> tuple[ImageSource, ImageSource]:
        """Open the given and the predicted mask as they are stored."""
        assert self.pair.mask is not None
        given = open_raw(self.pair.mask, self.known.reading)
        try:
            return given, open_raw(self.pair.image, self.known.reading)
        except DataError:
            given.close()
            raise

    def open_picture(self) -> ImageSource | None:
        """Open the image, or None where it is no longer there or has become another one."""
        if self.picture is None:
            return None
        with open_raw(self.pair.image, self.known.reading) as mask:
            shape = mask.shape[:2]
        try:
            source = open_image(self.picture, self.reading)
        except DataError:
            return None
        if source.shape[:2] == shape:
            return source
        source.close()
        return None


def masks_of(predicted: Path) -> Path:
    """Return the folder of the masks: that of a cross-validation lies inside."""
    inside = predicted / "masks"
    return inside if (inside / RECORD).exists() else predicted


def truth_of(predicted: Path, truth: Path | str | None) -> Path:
    """Return the given masks: those named, else those that a cross-validation has painted or copied, or that its record names.

    Raises:
        UsageError: Nothing names them.
    """
    if truth is not None:
        return Path(truth)
    if (painted := predicted / "truth").is_dir():
        return painted
    for record in (predicted / RECORD, predicted / "masks" / RECORD):
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            named = content["data.masks"]["value"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if named is not None:
            return Path(named)
    raise UsageError(f"{predicted}: does not say which masks were given; name them as TRUTH after it")


def find_cases(
    masks: Path, truth: Path, data: DataParameters, painted: Path, progress: Progress, *, overwrite: bool
) -> list[Case]:
    """Return each predicted mask with the given one and with how sure it is.

    Args:
        masks: Folder of predicted masks.
        truth: Of given ones, or annotations.
        data: As `evaluate` takes it.
        painted: Where annotations are painted.
        progress: Told what was left out.
        overwrite: Whether painted masks may be replaced.

    Raises:
        UsageError: Folders do not work, or the classes, or how sure the masks are, is not known.
        DataError: Files are damaged, missing or do not fit each other; all are listed.
    """
    known = predicted_in(masks, truth, data)
    pairs = pairs_of(masks, truth, known, data=data, painted=painted, overwrite=overwrite, progress=progress)
    kind = next((name for name in _OPINIONS if (masks / name).is_dir()), None)
    if kind is None:
        raise UsageError(
            f"{masks}: holds neither probabilities nor confidence, so nobody knows how sure the masks are; "
            "infer again with --confidence"
        )
    reading = _reading(masks / RECORD)
    cases = [
        Case(pair, masks / kind / f"{pair.name}.tif", known.images.get(pair.name), known, reading)
        for pair in pairs
    ]
    missing = [
        f"{case.opinion}: is missing; expected how sure {case.pair.image} is, so infer again with --{kind}"
        for case in cases
        if not case.opinion.exists()
    ]
    if missing:
        raise DataError(listing(missing))
    return cases


def _reading(record: Path) -> Reading:
    """Return how `infer` has read the images, where it has made the masks."""
    return Reading.of(json.loads(record.read_text(encoding="utf-8"))) if record.exists() else Reading()


def _reader(source: ImageSource, classes: Classes, file: Path) -> Read:
    return lambda box: classes.encode(source.read(box), file, source.palette)
