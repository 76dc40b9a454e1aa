"""The sections of the verbs that look back at the whole job, and run it over and over."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from patchseg.parameters.learning import Device, Precision
from patchseg.parameters.masks import Symmetries
from patchseg.section import Section, setting
from patchseg.values import Size


def folds(value: Any) -> Any:
    """Return a number of folds, from 2 on, or "all"; digits are a number.

    >>> folds("5"), folds("all")
    (5, 'all')
    """
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if number == "all" or (isinstance(number, int) and not isinstance(number, bool) and number >= 2):
        return number
    raise ValueError('should be a number of folds, from 2 on, or "all"')


Several = Annotated[int, Field(ge=2)]
Folds = Annotated[int | str, BeforeValidator(folds, json_schema_input_type=Several | Literal["all"])]


class CalibrateParameters(Section):
    """How probabilities are made to say how often they are right."""

    section: ClassVar[str] = "calibrate"
    masks: str | None = setting(
        None,
        "folder of masks with probabilities of images that were left out in training, as crossval writes it "
        "[auto: predict the validation images of patches.h5]",
    )
    truth: str | None = setting(None, "folder of the true masks that belong to --masks")
    thresholds: bool = setting(
        False, "fit a threshold a class too, for the highest mean IoU; these change masks"
    )
    seed: int = setting(0, "seed of the sample of pixels, where there are more than 4 million", ge=0)


class CrossvalParameters(Section):
    """How images are dealt to folds, each of which is predicted by a network that has not seen it."""

    section: ClassVar[str] = "crossval"
    folds: Folds | None = setting(
        None, "parts of the images, or all to leave out one at a time [auto: 5, or all where there are fewer]"
    )
    output: str | None = setting(
        None, "folder to write [auto: crossval/NAME, as the run is named]", short="-o"
    )


class LearningCurveParameters(Section):
    """How often a network learns from parts of the images."""

    section: ClassVar[str] = "learning_curve"
    repeats: int = setting(3, "trainings from each number of images, every time others", ge=1)
    output: str | None = setting(
        None, "folder to write [auto: learning-curve/NAME, as the run is named]", short="-o"
    )


class SuggestParameters(Section):
    """What to annotate next."""

    section: ClassVar[str] = "suggest"
    images: list[str] | None = setting(None, "files, folders or globs of unlabelled images", flag=False)
    checkpoint: str | None = setting(
        None,
        "checkpoint, such as checkpoints/NAME/best.pt; several with commas between contradict each other too",
        short="-m",
    )
    output: str = setting("suggestions", "folder of the suggestions to write", short="-o")
    count: int = setting(10, "how many crops to suggest", ge=1)
    crop: int | None = setting(
        None,
        "side of the square crops, in pixels [auto: 256, or the patch of the training if that is larger]",
        ge=16,
    )
    per_image: int | None = setting(
        None, "most crops of one image [auto: twice what would be even, so all of a single image]", ge=1
    )
    sure: float = setting(
        0.9,
        "highest probability from which a pixel keeps its predicted class; the others are left open (255)",
        gt=0,
        le=1,
    )
    labelled: str | None = setting(
        None, "folder of images, masks or annotations that are there already: images named so are left out"
    )
    symmetries: Symmetries = setting(
        "flips", "what contradicts itself besides overlapping tiles: mirrored tiles, or turned ones too"
    )
    tile: int | None = setting(
        None,
        "side of the square tiles, in pixels [auto: 256, or the patch of the training if that is larger]",
        ge=8,
    )
    max_memory: Size | None = setting(
        None,
        "memory to take in all, such as 4GB; wide images are cut into columns for it [auto: what is free]",
    )
    device: Device = setting("auto", "where to compute")
    precision: Precision = setting("auto", "arithmetic of the network [auto: bf16 on CUDA where it has it]")
    threads: int | None = setting(None, "threads of the CPU [auto: all cores]", ge=1)


class AuditParameters(Section):
    """How given masks are searched for errors."""

    section: ClassVar[str] = "audit"
    predicted: str | None = setting(
        None,
        "folder of masks with confidence/ or probabilities/, predicted by networks that have not learned from these images; "
        "or of a cross-validation",
        flag=False,
    )
    truth: str | None = setting(
        None, "folder of the given masks [auto: those of the cross-validation]", flag=False
    )
    output: str = setting("audit", "folder of suspects.csv, suspects.json and gallery.html", short="-o")
    count: int = setting(50, "suspects that are written, the likeliest", ge=1)
    tolerance: int = setting(2, "pixels by which outlines may differ without being suspect", ge=0, le=64)
