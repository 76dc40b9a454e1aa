"""A `Report` as one self-contained HTML page: findings, classes, sizes, and images with their masks over them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging.picture import IGNORE, IGNORE_COLOR, hexadecimal, overlay, palette, rgb, to_rgb8
from patchseg.imaging.scale import reduced
from patchseg.labels.classes import Classes
from patchseg.page import Html, chip, element, image, legend, page, table
from patchseg.page.shell import Content
from patchseg.patches.doctor.doors import Doors
from patchseg.patches.doctor.facts import labels_of
from patchseg.patches.doctor.finding import KINDS, Finding
from patchseg.patches.doctor.report import Report, Sample, percent
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress, counted

MOST = 60  # images shown; those with findings first
LONGEST = 320  # pixels of a thumbnail
_FILES = 12  # named in a finding; the rest is counted
_COLORS = 32  # for values that are no classes


def report_html(report: Report, doors: Doors, progress: Progress) -> str:
    """Return the page; the images that it shows are read again, one at a time."""
    shown = _chosen(report)
    progress.start("drawing", len(shown))
    figures = []
    for sample in shown:
        figures.append(_sample(sample, report, doors))
        progress.step()
    progress.stop()
    return page(
        "Check of a data set",
        [_headline(report), _findings(report), _classes(report), _data(report), _gallery(figures, report)],
    )


def _headline(report: Report) -> Html:
    numbers = {
        "errors": report.errors,
        "warnings": report.warnings,
        "pairs of image and mask": len(report.samples),
    }
    if report.errors:
        verdict = "Training would fail or go wrong; mend the errors first."
    elif report.warnings:
        verdict = "Training can begin; look at the warnings, some may be as they should be."
    else:
        verdict = "Nothing wrong was found."
    items = (
        element("div", element("dt", what), element("dd", f"{number:,}")) for what, number in numbers.items()
    )
    return element(
        "header",
        element("h1", "Check of a data set"),
        element("dl", *items, class_="headline bad" if report.errors else "headline"),
        element("p", verdict),
    )


def _findings(report: Report) -> Html | None:
    if not report.findings:
        return None
    return element(
        "section",
        element("h2", "What is wrong, the worst first"),
        *(_finding(finding) for finding in report.findings),
    )


def _finding(finding: Finding) -> Html:
    files = [element("li", element("code", str(file))) for file in finding.files[:_FILES]]
    more = len(finding.files) - len(files)
    first = f"{finding.files[0].name}: " if finding.files else ""
    return element(
        "article",
        element("h3", element("span", finding.severity, class_="mark"), KINDS[finding.kind]),
        element("p", f"{first}{finding.found}."),
        element("p", element("b", "Likely cause: "), f"{finding.cause}.") if finding.cause else None,
        element("p", element("b", "What to do: "), f"{finding.cure}.") if finding.cure else None,
        element(
            "details",
            element("summary", counted(len(finding.files), "file")),
            element("ul", *files, element("li", f"... and {more} more") if more else None),
        )
        if finding.files
        else None,
        class_=f"finding {finding.severity}",
    )


def _classes(report: Report) -> Html | None:
    if not report.shares:
        return None
    rows: list[list[Content]] = [
        [
            element("span", chip(share.color), share.name),
            percent(share.share),
            share.images,
            percent(share.chance),
        ]
        for share in report.shares
    ]
    return element(
        "section",
        element("h2", "Classes"),
        table(["class", "of the pixels", "images", f"in a patch of {report.patch}"], rows, label="classes"),
        element(
            "p", "The last column is the chance that a patch cut anywhere in an image, all images alike, holds the class at "
            "all, estimated from random patches. prepare centres a share of its patches on a class "
            "(--foreground), so that rare ones are seen more often.", class_="note",
        ),
    )  # fmt: skip


def _data(report: Report) -> Html:
    channels, dtype = report.kind or (0, "unknown")
    sizes: list[list[Content]] = [
        [f"{height} x {width}", count] for (height, width), count in report.sizes.items()
    ]
    sides = report.sides
    told = f"{counted(channels, 'channel')} of {dtype}. prepare would train on {sides['train']} and validate on {sides['val']}."
    return element(
        "section",
        element("h2", "Images"),
        element("p", told),
        table(["rows x columns", "images"], sizes, label="sizes") if sizes else None,
    )


def _gallery(figures: Sequence[Html], report: Report) -> Html | None:
    if not figures:
        return None
    left_out = len(report.samples) - len(figures)
    note = f"{counted(left_out, 'more image')} not shown." if left_out else None
    return element(
        "section",
        element("h2", "Images with their masks"),
        _legend(report.classes) if report.classes else None,
        element("p", note, class_="note") if note else None,
        element("div", *figures, class_="gallery"),
    )


def _legend(classes: Classes) -> Html:
    entries = [*zip(classes.colors, classes.names, strict=True), (hexadecimal(IGNORE_COLOR), "ignored")]
    return legend(entries)


def _chosen(report: Report) -> list[Sample]:
    """Choose the pairs to show: those with findings, then others spread over the data set."""
    named = {file for finding in report.findings for file in finding.files}
    marked = [sample for sample in report.samples if sample.pair.image in named or sample.pair.mask in named]
    others = [sample for sample in report.samples if sample not in marked]
    room = max(0, MOST - len(marked))
    spread = [others[len(others) * place // room] for place in range(min(room, len(others)))] if room else []
    if len(others) <= room:
        spread = others
    return [*marked[:MOST], *spread]


def _sample(sample: Sample, report: Report, doors: Doors) -> Html:
    """Draw an image and its mask over it, with what is wrong beneath."""
    mine = [f for f in report.findings if sample.pair.image in f.files or sample.pair.mask in f.files]
    marks = [element("li", KINDS[finding.kind], class_=finding.severity) for finding in mine]
    return element(
        "article",
        element("h3", sample.pair.name, element("span", _about(sample))),
        element("div", *_pictures(sample.pair, report.classes, doors), class_="pictures", style="--count: 2"),
        _shares(sample, report.classes) if sample.shares else None,
        element("ul", *marks, class_="marks") if marks else None,
        class_="sample",
    )


def _about(sample: Sample) -> str:
    size = "{} x {}".format(*sample.size) if sample.size else "cannot be read"
    sides = {"train": "for training", "val": "for validation", "train+val": "for both"}
    return f"{size}, {sides[sample.side]}" if sample.side in sides else size


def _shares(sample: Sample, classes: Classes | None) -> Html:
    named = zip(classes.names if classes else (), sample.shares or (), strict=False)
    parts = [element("span", f"{name} {percent(share)}") for name, share in named if share]
    return element("p", *parts, class_="note shares")


def _pictures(pair: Pair, classes: Classes | None, doors: Doors) -> Iterator[Html]:
    """Draw what can be read of a pair."""
    picture = _read_image(pair, doors)
    mask = _read_mask(pair, classes, doors)
    if picture is not None:
        yield element("figure", image(picture, f"{pair.name}: image"), element("figcaption", "image"))
    if mask is None:
        yield element("figure", element("figcaption", "The mask cannot be read."))
        return
    indices, colors = mask
    fits = picture is not None and picture.shape[:2] == indices.shape
    under = picture if picture is not None and fits else np.zeros((*indices.shape, 3), np.uint8)
    shown = overlay(under, indices, colors, opacity=0.5 if fits else 1)
    caption = "mask over it" if fits else "mask"
    yield element("figure", image(shown, f"{pair.name}: {caption}"), element("figcaption", caption))


def _read_image(pair: Pair, doors: Doors) -> NDArray[np.uint8] | None:
    try:
        with doors.image(pair) as source:
            pixels = reduced(source, LONGEST)
    except DataError:
        return None
    return to_rgb8(np.nan_to_num(pixels) if pixels.dtype.kind == "f" else pixels)


def _read_mask(
    pair: Pair, classes: Classes | None, doors: Doors
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return class indices and colours of a mask; where the values are no classes, they are numbered as they come."""
    assert pair.mask is not None
    try:
        with doors.mask(pair) as source:
            pixels = reduced(source, LONGEST, labels=True)
            if classes is not None:
                colors = np.array([rgb(color) for color in classes.colors], np.uint8)
                try:
                    return classes.encode(pixels, pair.mask, source.palette), colors
                except DataError:
                    pass
            _, numbers = np.unique(labels_of(pixels, pair.mask), return_inverse=True)
    except DataError:
        return None
    indices = numbers.reshape(pixels.shape[:2]) % _COLORS
    return np.where(indices == IGNORE, 0, indices).astype(np.uint8), palette(_COLORS)
