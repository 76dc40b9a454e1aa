"""Which files come of which image, planned before any is read whole."""

from pathlib import Path
from typing import NamedTuple

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Reading, open_image
from patchseg.imaging.address import Address
from patchseg.imaging.reading import silent
from patchseg.imaging.source import Held
from patchseg.imaging.video import frames, is_video
from patchseg.imaging.write import PNG_PIXELS
from patchseg.inference.areas import record_file
from patchseg.inference.record import STAGES
from patchseg.inference.video import video_outputs
from patchseg.parameters import InferParameters

LARGE = PNG_PIXELS  # images of more pixels are kept row by row as they are segmented, and shared out
# Folders of what is written beside the masks, by the layer or picture that is in them.
_BESIDE = ("probabilities", "confidence", "disagreement")
_OF_IMAGES = (*_BESIDE, "polygons", "areas", "original_values", "pyramid", "verify")


class Job(NamedTuple):
    """One image and the files that come of it.

    Attributes:
        image: The file.
        name: Its path relative to where it was found, without suffix.
        folder: Where all that comes of it goes.
        shape: Its rows and columns, of a video those of a frame; 0 where it cannot be read, which is told when its turn comes.
        mask: Where its mask goes.
        layers: Where layers of numbers go, by name: probabilities, confidence, disagreement.
        overlay: Where the picture of image and mask goes, if it is wanted.
        polygons: Where the outlines go, if they are wanted.
        areas: Where the record of the areas goes, if they are wanted.
        pyramid: Whether the mask holds smaller sizes of itself.
        frames: About how many, of a video; None of an image.
        held: What the open image takes in memory.
    """

    image: Path
    name: str
    folder: Path
    shape: tuple[int, int]
    mask: Path
    layers: dict[str, Path]
    overlay: Path | None = None
    polygons: Path | None = None
    areas: Path | None = None
    pyramid: bool = False
    frames: int | None = None
    held: Held = Held()

    @property
    def outputs(self) -> list[Path]:
        """The files to write."""
        more = (self.overlay, self.polygons, self.areas)
        return [self.mask, *self.layers.values(), *(path for path in more if path)]

    @property
    def pixels(self) -> int:
        """How many the image has, or all frames of the video."""
        return self.shape[0] * self.shape[1] * (1 if self.frames is None else self.frames)

    @property
    def is_large(self) -> bool:
        """Whether it is worth going on in its middle."""
        return self.frames is None and self.pixels > LARGE

    @property
    def file(self) -> Path:
        """Where the image lies: the file of a page or of a dataset."""
        return Address.of(self.image).file

    @property
    def stage(self) -> Path:
        """The folder of what is finished of it; no image is called so."""
        return self.folder / STAGES / f"{self.name}.stage"

    def is_finished(self, since: int) -> bool:
        """Tell whether all outputs are there, none older than the image, or than `since` (ns), when the folder was begun."""
        try:
            oldest = min(path.stat().st_mtime_ns for path in self.outputs)
            return oldest >= max(since, self.file.stat().st_mtime_ns)
        except OSError:
            return False


def plan_jobs(
    found: list[tuple[Path, Path]],
    folder: Path,
    parameters: InferParameters,
    *,
    wide: bool = False,
    reading: Reading = Reading(),
) -> list[Job]:
    """Return the outputs of each image; equal ones are refused, and such that would replace an image.

    Args:
        found: (image, its path relative to the folder or glob it was found in).
        folder: Where masks go.
        parameters: Which outputs are wanted, and their format.
        wide: Whether the values of masks take 32 bits, which PNG does not hold.
        reading: How the images are read.

    Raises:
        UsageError: The values do not fit into PNG, two images would have the same mask, or an image would be replaced.
    """
    if wide and parameters.format == "png":
        raise UsageError(
            "--format png holds no values below 0 or above 65535, as --original-values asks for; use tiff"
        )
    jobs: list[Job] = []
    owner: dict[Path, Path] = {}
    for image, relative in found:
        stem = relative.with_suffix("")
        if owner.setdefault(stem, image) != image:
            raise UsageError(
                f"{image}: would have the same mask {folder / stem} as {owner[stem]}; infer them apart"
            )
        if is_video(image):
            jobs.append(_job_of_video(image, stem.as_posix(), folder, parameters))
        else:
            jobs.append(_job(image, stem.as_posix(), folder, parameters, wide=wide, reading=reading))
    images = {image.resolve() for image, _ in found}
    for path in (path for job in jobs for path in job.outputs):
        if path.resolve() in images:
            raise UsageError(
                f"{path}: is one of the images and would be replaced; choose another folder for the masks"
            )
    return jobs


def _job(
    image: Path, name: str, folder: Path, parameters: InferParameters, *, wide: bool, reading: Reading
) -> Job:
    shape, held = _size(image, reading._replace(tell=silent))
    height, width = shape
    # A PNG is held whole until it is written.
    fitting = ".tif" if height * width > PNG_PIXELS or wide or parameters.pyramid else ".png"
    suffix = {"png": ".png", "tiff": ".tif"}.get(parameters.format, fitting)
    mask = ".zarr" if parameters.format == "zarr" else suffix
    return Job(
        image, name, folder, shape, folder / f"{name}{mask}",
        {kind: folder / kind / f"{name}.tif" for kind in _BESIDE if getattr(parameters, kind)},
        folder / "overlays" / f"{name}{suffix}" if parameters.overlay else None,
        folder / "polygons" / f"{name}.geojson" if parameters.polygons else None,
        record_file(folder, name) if parameters.areas else None,
        parameters.pyramid, held=held,
    )  # fmt: skip


def _job_of_video(video: Path, name: str, folder: Path, parameters: InferParameters) -> Job:
    asked = [flag for flag in _OF_IMAGES if getattr(parameters, flag)]
    asked += ["format"] if parameters.format != "auto" else []
    if asked:
        flags = ", ".join(f"--{flag.replace('_', '-')}" for flag in asked)
        raise UsageError(
            f"{video}: is a video, whose masks and overlays become videos, and nothing else; leave out {flags}, or infer it apart"
        )
    try:
        with frames(video) as opened:
            (height, width, _), count = opened.shape, opened.count or 1
    except DataError:
        height = width = count = 0
    mask, *overlay = video_outputs(name, folder, overlay=parameters.overlay)
    return Job(video, name, folder, (height, width), mask, {}, overlay[0] if overlay else None, frames=count)


def _size(image: Path, reading: Reading) -> tuple[tuple[int, int], Held]:
    """Return rows and columns of an image, none where it cannot be read, and what it takes in memory."""
    try:
        with open_image(image, reading) as source:
            return source.shape[:2], source.held
    except DataError:
        return (0, 0), Held()
