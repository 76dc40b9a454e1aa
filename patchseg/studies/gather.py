"""The masks of all folds -> one folder, as one run of `infer` would leave it; and the truth that belongs to them.

Masks are linked, not copied, where the file system can do so, so that their folder takes no room of its own. True masks are
copied: a second name of them would be another way to spoil them.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchseg.errors import UsageError
from patchseg.imaging.address import Address
from patchseg.imaging.files import whole
from patchseg.parameters import DataParameters
from patchseg.patches.drawings import name_drawings, write_masks
from patchseg.patches.pairs import RECORD, Pair
from patchseg.progress import Progress
from patchseg.studies.folder import write_json


def gather(parts: Sequence[Path], folder: Path, images: Path, pairs: Sequence[Pair]) -> Path:
    """Put the masks of folds, with their layers, into one folder, with a record by which `evaluate` knows them.

    Args:
        parts: The folders of the folds, whose masks are in `masks`.
        folder: Where the masks go.
        images: Where the images were found.
        pairs: All images.

    Returns:
        The folder.
    """
    for part in parts:
        masks = part / "masks"
        for file in sorted(masks.rglob("*")):
            relative = file.relative_to(masks)
            if file.is_file() and not relative.parts[0].startswith(".") and file.name != RECORD:
                _link(file, folder / relative)
    records = [json.loads((part / "masks" / RECORD).read_text(encoding="utf-8")) for part in parts]
    wanted = [images] if images.is_dir() else [pair.image for pair in pairs]
    write_json(folder / RECORD, _merged(records, wanted, folder))
    return folder


def truth_of(
    images: Path, masks: Path | None, pairs: Sequence[Pair], folder: Path, data: DataParameters
) -> Path:
    """Return where `evaluate` finds the true masks: as they were given, or where images lie among them, in a folder of their own.

    Args:
        images: The folder or list.
        masks: Where their masks are, or None with a list.
        pairs: All images.
        folder: The folder to copy true masks into, or to paint them into, where that is needed.
        data: The classes of drawings.
    """
    apart = masks is not None and masks.resolve() != images.resolve()
    if masks is not None and (apart or data.mask_pattern):
        return masks
    if all(pair.drawn for pair in pairs):
        named = name_drawings(list(pairs), data, Progress())
        write_masks(named, folder, Progress(), beside=[], overwrite=True)
        return folder
    for pair in pairs:
        assert pair.mask is not None
        _copy(pair.mask, folder / f"{pair.name}{pair.mask.suffix}")
    return folder


def require_files(pairs: Sequence[Pair]) -> None:
    """Refuse masks that are parts of files, which no folder of true masks can hold.

    Raises:
        UsageError: There is one.
    """
    for pair in pairs:
        if pair.mask is not None and Address.of(pair.mask).inside is not None:
            raise UsageError(
                f"{pair.mask}: is a part of a file; crossval takes masks of lists that are files, so save it as one"
            )


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; where that cannot be, copy it, whole or not at all."""
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    with whole(target) as part:
        shutil.copyfile(source, part)


def _merged(records: Sequence[dict[str, Any]], images: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Return the record of all masks: what the folds agree on, and the checkpoints of all."""
    changed = {
        "infer.images": [str(path.resolve()) for path in images], "infer.output": str(folder),
        **{key: ",".join(record[key]["value"] for record in records) for key in ("infer.checkpoint", "compute.checkpoint")},
    }  # fmt: skip
    return records[0] | {key: {"value": value, "source": "crossval"} for key, value in changed.items()}
