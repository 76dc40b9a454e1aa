"""The sections of the verbs that look at results over and over: audit."""

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
