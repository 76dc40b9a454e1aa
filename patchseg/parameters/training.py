"""The section train as a whole: what is said of labels, and what of pixels without one."""

from typing import Literal

from patchseg.parameters.learning import LabelParameters, share_setting
from patchseg.section import setting

Consistency = Literal["labels", "probabilities"]
Role = Literal["teacher", "student"]


class ContrastParameters(LabelParameters):
    """How the network learns from labels, and what objective supcon asks besides; of it, detcon looks at the temperature."""

    contrast_every: int = setting(5, "steps after each of which classes are contrasted, by supcon", ge=1)
    contrast_weight: float = setting(1.0, "weight of the contrast, beside 1 of the labels", ge=0)
    temperature: float = setting(
        0.1, "by which likenesses are divided that are contrasted; less looks at the most alike", gt=0
    )


class TrainParameters(ContrastParameters):
    """How the network learns; from `confidence` on, from pixels without a label, as objective fixmatch or mean-teacher."""

    confidence: float | None = share_setting(
        "probability from which on the teacher's class of a pixel is learned [auto: fixmatch 0.8, mean-teacher any]"
    )
    consistency: Consistency | None = setting(
        None,
        "what the student learns from the teacher: its labels, or its probabilities [auto: fixmatch labels, mean-teacher "
        "probabilities]",
    )
    views: int | None = setting(
        None,
        "strongly varied views of each patch that the student sees [auto: 1]",
        ge=1,
        le=2,
    )
    pseudo_weight: float | None = setting(
        None,
        "weight of what is learned from the teacher, beside 1 of the labels [auto: fixmatch 0.5, mean-teacher 10]",
        ge=0,
    )
    ramp: float = setting(0.1, "share of the run in which that weight rises", ge=0, le=1)
    entropy_drop: float | None = share_setting(
        "share of the pixels, the least certain, left out at first, less and less of them [auto: fixmatch 0, mean-teacher 0.2]"
    )
    mix: float = setting(0.5, "share of views that get a rectangle of another patch", ge=0, le=1)
    channel_dropout: float | None = share_setting(
        "share of patches of which each view loses half of the features, two views the two halves [auto: 0]"
    )
    exported: Role = setting("teacher", "which of the two is saved")
