"""scores.json, and what other verbs have written -> one self-contained report.html.

The files are read here, by way of `documents`, `panels` and `clips`; sections make parts of a page of what they hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchseg.evaluation import courses, galleries, sections
from patchseg.evaluation.clips import clips_of, picture_of
from patchseg.evaluation.conclusions import conclusions
from patchseg.evaluation.documents import (
    CURVE,
    SUGGESTIONS,
    SUSPECTS,
    Found,
    Run,
    Scores,
    classes_of,
    find,
    read_run,
    read_scores,
    reading_of,
    record_of,
)
from patchseg.evaluation.further import further
from patchseg.evaluation.galleries import Gallery, Limits
from patchseg.evaluation.panels import LONGEST, Example, read_panels
from patchseg.imaging import Reading
from patchseg.imaging.files import refuse_existing, whole
from patchseg.labels.classes import Classes
from patchseg.page import page

MOST = 5_000_000  # bytes of a page
# From generous to none at all; the first with which the page is small enough is taken.
LIMITS = (
    Limits(LONGEST, 24, 240),
    Limits(700, 18, 200),
    Limits(480, 12, 160),
    Limits(320, 8, 128),
    Limits(160, 4, 96),
)


@dataclass(frozen=True)
class Evidence:
    """What a report shows beside the scores, as far as it is there.

    Attributes:
        run: The training.
        examples: Images to look at.
        curve: What curve.json of a learning curve holds.
        calibration: What the checkpoint holds of one.
        suspects: Of `audit`.
        suggestions: Of `suggest`.
    """

    run: Run | None = None
    examples: Sequence[Example] = ()
    curve: Scores | None = None
    calibration: Scores | None = None
    suspects: Gallery | None = None
    suggestions: Gallery | None = None


def report(
    scores: Path | str,
    run: Path | str | None = None,
    *,
    output: Path | str,
    overwrite: bool = False,
    curve: Path | str | None = None,
    suspects: Path | str | None = None,
    suggestions: Path | str | None = None,
    checkpoint: Path | str | None = None,
) -> Path:
    """Write scores, and what is known beside them, as one HTML file that needs no other.

    Args:
        scores: The scores.json of `evaluate`; the masks and images it names are read beside it.
        run: The folder of a run, such as runs/NAME; without it the page tells no training.
        output: The file to write.
        overwrite: Whether an existing file may be replaced.
        curve: The curve.json of `learning-curve`, or its folder; without it, the one beside the scores if there is one.
        suspects: Likewise suspects.json of `audit`.
        suggestions: Likewise suggestions.json of `suggest`.
        checkpoint: Whose calibration is shown, if it has one.

    Returns:
        The path of the report.

    Raises:
        UsageError: The output exists or cannot be written, or a file is missing.
        DataError: A file holds something else.
    """
    scores, output = Path(scores), Path(output)
    refuse_existing([output], overwrite=overwrite)
    document = read_scores(scores)
    classes = classes_of(document, scores)
    chosen = telling(document["images"])
    found = {
        name: find(name, Path(given) if given else None, scores.parent)
        for name, given in ((CURVE, curve), (SUSPECTS, suspects), (SUGGESTIONS, suggestions))
    }
    record = read_run(Path(run)) if run else None
    learned = found[CURVE]
    evidence = Evidence(
        record,
        [_example(rank, entry, scores.parent, classes) for rank, entry in chosen],
        learned.content if learned else None,
        _calibration(Path(checkpoint)) if checkpoint else None,
        _suspects(found[SUSPECTS], classes, _first_reading(document, scores.parent)),
        _suggestions(found[SUGGESTIONS]),
    )
    title = f"Report: {record.name if record else scores.resolve().parent.name}"
    text = report_html(document, evidence, title=title)
    with whole(output) as part:
        part.write_text(text, encoding="utf-8")
    return output


def telling(images: Sequence[Scores]) -> list[tuple[str, Scores]]:
    """Choose the best, the median and the worst image by mean IoU; none stands twice.

    >>> [(rank, entry["name"]) for rank, entry in telling([{"name": n, "mean_iou": n / 9} for n in range(5)])]
    [('Best', 4), ('Median', 2), ('Worst', 0)]
    """
    ranked = sorted(
        (entry for entry in images if entry["mean_iou"] is not None), key=lambda entry: -entry["mean_iou"]
    )
    if len(ranked) < 2:
        return [("The only image", entry) for entry in ranked]
    last = len(ranked) - 1
    places = {"Best": 0, "Median": (last + 1) // 2, "Worst": last}
    if last == 1:
        del places["Median"]
    return [(rank, ranked[place]) for rank, place in places.items()]


def report_html(scores: Scores, evidence: Evidence = Evidence(), *, title: str) -> str:
    """Return the report as a document of less than 5 MB: pictures shrink, and galleries, until it is.

    Args:
        scores: What scores.json holds.
        evidence: What is shown beside.
        title: Of the page.
    """
    for limits in LIMITS:
        text = _html(scores, evidence, title, limits)
        if len(text.encode()) < MOST:
            break
    return text


def _html(scores: Scores, evidence: Evidence, title: str, limits: Limits) -> str:
    run, curve = evidence.run, evidence.curve
    return page(
        title,
        [
            sections.headline(scores, title, conclusions(scores, curve)),
            sections.averages(scores),
            sections.spread(scores),
            galleries.examples(scores, evidence.examples, limits.longest),
            sections.classes(scores),
            further(scores),
            courses.certainty(scores, evidence.calibration),
            courses.learning_curve(curve) if curve else None,
            galleries.suspects(evidence.suspects, limits) if evidence.suspects else None,
            galleries.suggestions(evidence.suggestions, limits) if evidence.suggestions else None,
            sections.images(scores),
            courses.training(scores, run.metrics, run.taught) if run else None,
            courses.parameters(run.parameters) if run else None,
        ],
    )


def _example(rank: str, entry: Scores, folder: Path, classes: tuple[Classes, Classes]) -> Example:
    picture = folder / entry["image"] if entry["image"] else None
    mask, (true, predicted) = folder / entry["mask"], classes
    record = record_of(mask)
    panels = read_panels(
        picture, folder / entry["truth"], mask, true,
        masks=predicted, reading=reading_of(record), confidence=_confidence(mask, record),
    )  # fmt: skip
    return Example(rank, entry["name"], entry["mean_iou"], panels)


def _confidence(mask: Path, record: Path | None) -> Path:
    """Return where `infer --confidence` puts what belongs to a mask: into a folder beside the masks, under the same name."""
    folder = record.parent if record else mask.resolve().parent
    return (folder / "confidence" / mask.resolve().relative_to(folder)).with_suffix(".tif")


def _first_reading(document: Scores, folder: Path) -> Reading:
    """Return how images were read, as it is recorded beside the masks, which lie together."""
    masks = [folder / entry["mask"] for entry in document["images"][:1]]
    return reading_of(record_of(masks[0])) if masks else Reading()


def _suspects(found: Found | None, classes: tuple[Classes, Classes], reading: Reading) -> Gallery | None:
    if found is None:
        return None
    folder = found.folder
    return Gallery(
        found.content["suspects"], lambda entry, side: clips_of(entry, folder, classes, side, reading)
    )


def _suggestions(found: Found | None) -> Gallery | None:
    if found is None:
        return None
    folder = found.folder

    def pictures(entry: dict[str, Any], side: int) -> galleries.Pictures:
        # `suggest` sets three pictures of a crop side by side.
        drawn = picture_of(folder / str(entry["picture"]), 3 * side) if entry["picture"] else None
        return {} if drawn is None else {"image, prediction, disagreement": drawn}

    return Gallery(found.content["suggestions"], pictures)


def _calibration(path: Path) -> Scores | None:
    """Return what a checkpoint holds of a calibration; None where it holds none."""
    from patchseg.models.checkpoint import load  # imports torch, which no other part of a report needs

    return load(path).calibration
