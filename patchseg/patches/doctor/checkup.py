"""The verb `check`: images and masks -> everything that is wrong with them, in one go."""

from collections.abc import Iterator
from pathlib import Path

from patchseg.errors import DataError, PatchsegError
from patchseg.imaging import SUFFIXES, Reading
from patchseg.imaging.files import refuse_existing, whole
from patchseg.labels.classes import Classes, MaskReading
from patchseg.parameters import DataParameters, PrepareParameters, effective
from patchseg.patches.doctor import balance, pictures, placement, sizes, spare, twins, values
from patchseg.patches.doctor.doors import Doors
from patchseg.patches.doctor.examine import Examined, examine_all
from patchseg.patches.doctor.finding import Finding, gathered
from patchseg.patches.doctor.report import ClassShare, Report, Sample
from patchseg.patches.plan import with_patch
from patchseg.patches.prepare import all_pairs, named
from patchseg.patches.sides import groups_of, regions_of, strata_of, without_test
from patchseg.patches.split import Region, Strata
from patchseg.patches.unlabelled import find_unlabelled
from patchseg.progress import Progress

# Of other programs: what looks like an image to its owner, and is not read.
_OTHERS = {".jp2", ".heic", ".czi", ".nd2", ".lif", ".svs", ".ndpi", ".dcm", ".nii", ".gz", ".mat", ".exr", ".tga",
           ".psd", ".dng", ".cr2", ".nef", ".vsi", ".ims", ".lsm", ".mrc", ".dm3", ".dm4", ".avif", ".jxl"}  # fmt: skip


def check(
    images: Path | str,
    masks: Path | str | None = None,
    *,
    parameters: PrepareParameters = PrepareParameters(),
    data: DataParameters = DataParameters(),
    html: Path | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Find everything that is wrong with a data set, before it is trained on.

    Args:
        images: Folder of images, or a list file with an `image mask` pair a line.
        masks: Folder of masks; None with a list file.
        parameters: Those that `prepare` will be given: the patch, the split and the seed matter.
        data: The classes, where they are not to be derived from the masks.
        html: A page to write: findings, classes, images with their masks.
        overwrite: Whether an existing page may be replaced.
        progress: Told what happens.

    Returns:
        The findings, the worst first, and what the data set is.

    Raises:
        UsageError: Folders or parameters do not work, or the page cannot be written.
    """
    progress = progress or Progress()
    if html is not None:
        refuse_existing([Path(html)], overwrite=overwrite)
    pairs, held_out, mistakes = all_pairs(images, masks, parameters, data, progress)
    pairs, _ = without_test(pairs)
    group, unlabelled = groups_of(pairs, parameters.group), find_unlabelled(parameters, data)
    findings = [Finding.told("pairing", mistake) for mistake in mistakes]
    findings += _unread(Path(images), Path(masks) if masks else None)
    labels, doors = MaskReading.of(data), Doors(Reading.of(effective(data)))
    parameters, _ = with_patch(parameters, pairs, map(doors.size, pairs))
    assert parameters.patch is not None
    try:
        everything, given = named([*pairs, *held_out], data, labels, [], progress)
    except DataError as error:  # nothing can be painted, so nothing more can be seen
        findings += [Finding.told("value", line) for line in str(error).splitlines()]
        return Report(gathered(findings), None, (), (), None, parameters.patch)
    examined = list(examine_all(everything, doors, parameters, findings, progress))
    verdict = values.judge(
        [e.mask for e in examined if e.mask], given, [e.image for e in examined if e.image], labels
    )
    sides = _sides(examined, group, verdict.classes, doors, parameters=parameters, findings=findings)
    findings += _of_files(examined, sides, parameters)
    held = {its for its, side in zip(group, sides, strict=False) if parameters.group and "val" in side}
    others = spare.examine(unlabelled, [e.image for e in examined if e.image], held, doors, progress)
    findings += others.findings
    portraits = [_portrait(e, s) for e, s in zip(examined, sides, strict=True) if e.image]
    findings += twins.judge([*portraits, *others.portraits], doors)
    report = _report(examined, sides, verdict, parameters.patch, findings)
    if html is not None:
        from patchseg.patches.doctor.page import report_html

        with whole(Path(html)) as part:
            part.write_text(report_html(report, doors, progress), encoding="utf-8")
    return report


def _report(
    examined: list[Examined],
    sides: list[frozenset[str]],
    verdict: values.Verdict,
    patch: int,
    findings: list[Finding],
) -> Report:
    """Hold the masks of all pairs together."""
    images = [e.image for e in examined if e.image]
    classes, wrong = verdict
    findings += wrong
    # Masks whose values are wrong would be called empty, rare or misplaced, too.
    blamed = {file for finding in wrong if finding.severity == "error" for file in finding.files}
    sound = [e for e in examined if e.mask and e.mask.path not in blamed]
    findings += placement.judge([(e.mask.path, e.agreement) for e in sound if e.mask and e.agreement])
    census = None
    if classes is not None:
        census = balance.take(
            [
                (e.mask, side)
                for e, side in zip(examined, sides, strict=True)
                if e.mask and e.mask.path not in blamed
            ],
            classes,
        )
        findings += balance.judge(census, classes)
    kind = (images[0].shape[2], str(images[0].dtype)) if images else None
    return Report(
        gathered(findings),
        classes,
        _shares(census, classes),
        _samples(examined, sides, census),
        kind,
        patch,
    )


def _of_files(
    examined: list[Examined], sides: list[frozenset[str]], parameters: PrepareParameters
) -> Iterator[Finding]:
    """Find what is wrong whatever the classes are."""
    images = [e.image for e in examined if e.image]
    yield from pictures.judge(images)
    if any(sides):  # else no patch fits into any image, which is told
        shapes = [(image.path, image.shape[:2]) for image in images]
        assert parameters.patch is not None
        yield from sizes.smaller_than_patch(shapes, patch=parameters.patch, scale=parameters.scale)
    yield from sizes.turned_alone(
        [(e.image.path, e.image.orientation, e.mask.path, e.mask.orientation) for e in examined
         if e.image and e.mask and e.image.shape[:2] == e.mask.size]
    )  # fmt: skip


def _unread(*folders: Path | None) -> Iterator[Finding]:
    """Name files that their owner may take for images, and that are passed over."""
    for folder in dict.fromkeys(folders):
        if folder is not None and folder.is_dir():
            files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _OTHERS - set(SUFFIXES))
            for file in files:
                yield Finding(
                    "unread", "warning", (file,), f"is passed over, because {file.suffix} is not read",
                    f"convert it, such as to TIFF, if it belongs to the data ({' '.join(SUFFIXES)} are read)",
                )  # fmt: skip


def _sides(
    examined: list[Examined],
    group: list[str],
    classes: Classes | None,
    doors: Doors,
    *,
    parameters: PrepareParameters,
    findings: list[Finding],
) -> list[frozenset[str]]:
    """Return on which sides of prepare's split each pair would be; none where that cannot be told."""
    shapes = [e.image.shape[:2] for e in examined if e.image]
    none = [frozenset[str]()] * len(examined)
    if not shapes:
        return none
    # An image that cannot be read has a side too, which depends on its name, not on its size.
    filled = [e.image.shape[:2] if e.image else shapes[0] for e in examined]
    try:
        pairs = [e.pair for e in examined]
        strata = _strata(examined[: len(group)], classes, doors, parameters)
        regions: list[Region] = regions_of(pairs, group, filled, parameters, strata)
    except PatchsegError as error:
        findings.append(Finding.told("split", str(error)))
        return none
    return [frozenset(r.side for r in regions if r.image == number) for number in range(len(examined))]


def _strata(
    examined: list[Examined], classes: Classes | None, doors: Doors, parameters: PrepareParameters
) -> Strata | None:
    """Return where the classes are, or None where masks are missing or hold what is no class."""
    surveys = [e.mask.survey for e in examined if e.mask]
    if classes is None or len(surveys) < len(examined):
        return None
    try:
        return strata_of([e.pair for e in examined], surveys, classes, parameters.scale, doors.reading)
    except DataError:
        return None


def _portrait(examined: Examined, sides: frozenset[str]) -> twins.Portrait:
    image, mask = examined.image, examined.mask
    assert image is not None
    several = mask is not None and len(mask.survey.values) > 1
    return twins.Portrait(
        examined.pair, image.digest, examined.signature, mask.path if mask else None,
        mask.digest if mask and several else None, sides,
    )  # fmt: skip


def _shares(census: balance.Census | None, classes: Classes | None) -> tuple[ClassShare, ...]:
    if census is None or classes is None or not census.masks:
        return ()
    chances = census.chance.mean(axis=0)
    return tuple(
        ClassShare(name, color, float(share), int(images), float(chance))
        for name, color, share, images, chance in zip(
            classes.names, classes.colors, census.share, census.images, chances, strict=True
        )
    )


def _samples(
    examined: list[Examined], sides: list[frozenset[str]], census: balance.Census | None
) -> tuple[Sample, ...]:
    rows = {} if census is None else {m.path: row for m, row in zip(census.masks, census.pixels, strict=True)}
    samples = []
    for e, side in zip(examined, sides, strict=True):
        row = rows.get(e.mask.path) if e.mask else None
        shares = None if row is None else tuple(float(pixels) for pixels in row / max(1, row.sum()))
        size = e.image.shape[:2] if e.image else None
        assert e.pair.mask is not None
        samples.append(Sample(e.pair, size, "+".join(sorted(side)), shares))
    return tuple(samples)
