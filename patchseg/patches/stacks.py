"""Stacks whose pages are images of their own: files flow in, pairs and images of single pages come out.

A page has an address (`stack.tif:/3`) and a name (`stack_3`, with as many digits as the last page has).
"""

from collections.abc import Iterator
from pathlib import Path

from patchseg.errors import DataError, UsageError
from patchseg.imaging.tiff import page_count
from patchseg.patches.pairs import Pair, Unpaired, find_images, image_files, name_of, natural

STACK = "stack"  # of data.pages


def unstacked(pairs: list[Pair], *, grouped: bool) -> tuple[list[Pair], list[str]]:
    """Return a pair for each page of stacks, and what is wrong with them.

    Args:
        pairs: Images and masks, each of one page, or of equally many.
        grouped: Whether the groups are given; else the pages of a file are one, so that neighbours stay on one side,
            where there are several files.

    Raises:
        UsageError: Masks are no files of pages.
    """
    found: list[Pair] = []
    findings: list[str] = []
    own = not grouped and len(pairs) > 1 and all(pair.group is None for pair in pairs)
    for pair in pairs:
        assert pair.mask is not None
        if pair.layers or pair.drawn:
            raise UsageError(
                "data.pages: stack takes masks that are files with as many pages as their images"
            )
        try:
            pages, mask_pages = page_count(pair.image), page_count(pair.mask)
        except DataError as error:
            findings.append(str(error))
            continue
        if pages != mask_pages:
            findings.append(
                f"{pair.mask}: has {mask_pages} pages, its image {pair.image} has {pages}; expected a page of the mask "
                "for each of the image, so save it so"
            )
            continue
        group = pair.name if own else pair.group
        masks = _pages(pair.mask, pair.name, pages)
        for (page, name), (mask, _) in zip(_pages(pair.image, pair.name, pages), masks, strict=True):
            found.append(pair._replace(name=name, image=page, mask=mask, group=group))
    return found, findings


def images_of(wanted: list[Path | str], pages: int | str | None) -> list[tuple[Path, Path]]:
    """Return the images that files, folders and globs name, with relative paths; of stacks each page is one.

    Args:
        wanted: As `find_images` takes them.
        pages: What has been chosen of files with several pages; where nothing has, each page is an image.

    Raises:
        UsageError: A path is neither file nor folder nor a glob that matches.
    """
    found = find_images(wanted)
    return unstacked_images(found) if pages in (None, STACK) else found


def unstacked_images(found: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Return (image, relative path) for each page of the images that are stacks; a damaged one stays, which its reader tells.

    Args:
        found: (file, its path relative to where it was found).
    """
    return [
        (page, Path(f"{name}{relative.suffix}"))
        for file, relative in found
        for page, name in _pages(file, relative.with_suffix("").as_posix(), _readable_pages(file))
    ]


def _readable_pages(file: Path) -> int:
    try:
        return page_count(file)
    except DataError:
        return 1


def pairs_of_pages(masks: Path, truth: Path) -> list[Pair]:
    """Match predicted masks, one a page, with the pages of true ones, by name.

    Raises:
        UsageError: A folder is missing or empty.
        DataError: A file is damaged.
        Unpaired: Masks without truth, or the other way around; all are listed.
    """
    predicted = {name_of(file, masks): file for file in image_files(masks)}
    files = [(file, file.relative_to(truth)) for file in image_files(truth)]
    true = {relative.with_suffix("").as_posix(): page for page, relative in unstacked_images(files)}
    shared = sorted(set(predicted) & set(true), key=natural)
    pairs = [Pair(name, predicted[name], true[name]) for name in shared]
    findings = [
        f"{predicted[name]}: has no page in {truth}; expected one of {name.rpartition('_')[0]}.*"
        for name in sorted(set(predicted) - set(true), key=natural)
    ]
    findings += [
        f"{true[name]}: has no mask in {masks}; expected {name}.*"
        for name in sorted(set(true) - set(predicted), key=natural)
    ]
    if findings:
        raise Unpaired(findings, pairs)
    return pairs


def _pages(file: Path, name: str, count: int) -> Iterator[tuple[Path, str]]:
    """Yield address and name of each page; a file of one page stays as it is."""
    if count == 1:
        yield file, name
        return
    digits = len(str(count))
    for number in range(1, count + 1):
        yield Path(f"{file}:/{number}"), f"{name}_{number:0{digits}}"
