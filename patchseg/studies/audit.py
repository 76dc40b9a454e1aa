"""The verb `audit`: predictions held against given masks -> places where the masks are likely wrong, the likeliest first.

The predictions must be those of networks that have not learned from these masks, as cross-validation makes them; a network
that has learned an error repeats it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from patchseg.errors import DataError, listing
from patchseg.imaging.files import refuse_existing, whole
from patchseg.parameters import AuditParameters, DataParameters
from patchseg.progress import Progress
from patchseg.studies.cases import Case, find_cases, masks_of, truth_of
from patchseg.studies.disagreement import Trio, Typical
from patchseg.studies.folder import write_json
from patchseg.studies.gallery import gallery
from patchseg.studies.shift import Fit, find_fit
from patchseg.studies.suspects import Suspect, Usual, suspects_of
from patchseg.studies.table import write_table

_COLUMNS = ["rank", "image", "kind", "given", "predicted", "top", "left", "height", "width", "pixels", "confidence", "score", "note"]  # fmt: skip


def audit(
    predicted: Path | str,
    truth: Path | str | None = None,
    *,
    parameters: AuditParameters = AuditParameters(),
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Find where given masks are likely wrong: where predictions are sure of something else.

    Args:
        predicted: Folder of masks with `probabilities` or `confidence` in it, as `infer` writes them, of networks that have
            not learned from these images; or the folder of a cross-validation.
        truth: Folder of the given masks, or annotations, as `evaluate` takes them; None for what a cross-validation says.
        parameters: Where suspects.csv, suspects.json and gallery.html go, and how many suspects.
        data: The classes, for masks that `infer` did not write; and how the given masks are read.
        overwrite: Whether existing files may be replaced.
        progress: Told what happens.

    Returns:
        The path of suspects.json.

    Raises:
        UsageError: Folders do not work, or the classes, the given masks or how sure predictions are is not known.
        DataError: Files are damaged or do not fit each other; all that is wrong is listed.
    """
    progress, folder = progress or Progress(), Path(parameters.output)
    output, table, page = (folder / name for name in ("suspects.json", "suspects.csv", "gallery.html"))
    refuse_existing([output, table, page], overwrite=overwrite)
    masks = masks_of(Path(predicted))
    cases = find_cases(
        masks, truth_of(Path(predicted), truth), data, folder / "truth", progress, overwrite=overwrite
    )
    found = _all_suspects(cases, parameters.tolerance, progress)
    shown, classes = found[: parameters.count], cases[0].known.truth
    by_name = {case.pair.name: case for case in cases}
    entries = [
        _entry(rank, suspect, by_name[suspect.image], folder) for rank, suspect in enumerate(shown, start=1)
    ]
    text = gallery(shown, by_name, classes, images=len(cases), found=len(found), progress=progress)
    write_json(output, {"suspects": entries, "found": len(found), "images": len(cases)})
    write_table(table, entries, _COLUMNS)
    with whole(page) as part:
        part.write_text(text, encoding="utf-8")
    return output


def _all_suspects(cases: list[Case], tolerance: int, progress: Progress) -> list[Suspect]:
    """Read all images twice, to know first what is usual, then what is not; return the suspects, the likeliest first."""
    typical, fits = Typical(len(cases[0].known.truth)), dict[str, Fit]()

    def learn(case: Case, trio: Trio) -> None:
        typical.add(trio)
        fits[case.pair.name] = find_fit(trio.given, trio.predicted, trio.shape)

    _each(cases, learn, "reading", progress)
    usual, found = Usual(typical.certainty, median(fit.dice for fit in fits.values())), list[Suspect]()

    def judge(case: Case, trio: Trio) -> None:
        name = case.pair.name
        found.extend(suspects_of(name, trio, fits[name], usual=usual, tolerance=tolerance))

    _each(cases, judge, "comparing", progress)
    return sorted(found, key=lambda suspect: (-suspect.score, suspect.image, suspect.box))


def _each(cases: list[Case], do: Callable[[Case, Trio], None], label: str, progress: Progress) -> None:
    """Do something with the open layers of each image; what is wrong with any is told for all."""
    mistakes = []
    progress.start(label, len(cases))
    for case in cases:
        try:
            with case.open() as trio:
                do(case, trio)
        except DataError as error:
            mistakes.append(str(error))
        progress.step()
    progress.stop()
    if mistakes:
        raise DataError(listing(mistakes))


def _entry(rank: int, suspect: Suspect, case: Case, folder: Path) -> dict[str, Any]:
    """Return what suspects.json says of a suspect; files are relative to it."""
    names = case.known.truth.names
    given, predicted = (None if k is None else names[k] for k in (suspect.given, suspect.predicted))
    files = {"picture": case.picture, "truth": case.pair.mask, "mask": case.pair.image}
    return {
        "rank": rank,
        "image": suspect.image,
        "box": list(suspect.box),
        "pixels": suspect.pixels,
        "kind": suspect.kind,
        "given": given,
        "predicted": predicted,
        "confidence": round(suspect.confidence, 4),
        "score": round(suspect.score, 4),
        "shift": suspect.shift,
        "note": suspect.note,
        **{key: file and _relative(file, folder) for key, file in files.items()},
    }


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
