"""The sections of the verbs that look back at the whole job, and run it over and over."""

from typing import ClassVar

from patchseg.section import Section, setting


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
