"""parameters.effective.json beside the masks: what they were made with, and whether a run may go on with them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchseg.errors import UsageError
from patchseg.imaging.files import refuse_existing, whole
from patchseg.patches.pairs import RECORD
from patchseg.progress import Progress

Record = dict[str, Any]  # {key: {value, source}}

# What may differ between runs that fill one folder, since a mask is the same whatever they are.
_FREE = {
    "infer.images", "infer.checkpoint", "infer.output", "infer.device", "infer.threads", "infer.max_memory", "infer.shard",
    "infer.verify", "compute.device", "compute.threads",
}  # fmt: skip
STAGES = Path(".patchseg") / "stages"


def begin(
    folder: Path, record: Record, outputs: Sequence[Path], progress: Progress, *, overwrite: bool
) -> bool:
    """Write the record of a folder, or find that its masks were made alike, so that those that are there may stay.

    Args:
        folder: Of the masks.
        record: What they will be made with.
        outputs: All files that will be there.
        progress: Told where the machine is another one than before.
        overwrite: Whether masks that were made otherwise may be replaced.

    Returns:
        Whether the folder was begun by an earlier run, or by another process of this one.

    Raises:
        UsageError: Files are there that were made otherwise, or not by `infer`.
    """
    file, there = folder / RECORD, [path for path in outputs if path.exists()]
    old = _read(file)
    if there and old is None and not file.exists():
        if overwrite:
            raise UsageError(
                f"{there[0]}: was not written by infer (no {RECORD} in {folder}), so --overwrite does not replace it; "
                "choose another --output"
            )
        refuse_existing(list(outputs), overwrite=False)
    if overwrite:
        shutil.rmtree(folder / STAGES, ignore_errors=True)
    elif old is None:
        refuse_existing([*outputs, file], overwrite=False)
    else:
        _require_alike(folder, old, record)
        _tell_changes(old, record, progress)
        images = [old.get("infer.images", {}).get("value", []), record["infer.images"]["value"]]
        merged = list(dict.fromkeys(images[0] + images[1]))
        record["infer.images"]["value"] = merged
        if merged == images[0]:
            return True
    write(file, record)
    return old is not None and not overwrite


def write(file: Path, record: Record) -> None:
    """Write a record."""
    with whole(file) as part:
        part.write_text(json.dumps(record, indent=1))


def _read(file: Path) -> Record | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    entries = content.values() if isinstance(content, dict) else [None]
    return content if all(isinstance(entry, dict) and "value" in entry for entry in entries) else None


def _require_alike(folder: Path, old: Record, record: Record) -> None:
    missing = {"value": None}
    for key in sorted((old.keys() | record.keys()) - _FREE):
        before, now = (entries.get(key, missing)["value"] for entries in (old, record))
        if before != now:
            what = "another checkpoint" if key == "compute.checkpoint" else f"{key} {_told(before)}"
            now_told = "" if key == "compute.checkpoint" else f", now {_told(now)}"
            raise UsageError(
                f"{folder}: holds masks that were made with {what}{now_told}; choose another --output or give --overwrite"
            )


def _tell_changes(old: Record, record: Record, progress: Progress) -> None:
    for key in ("compute.device", "compute.threads"):
        before, now = (entries.get(key, {"value": None})["value"] for entries in (old, record))
        if before != now:
            progress.say(
                f"the masks that are there were made on {_told(before)}, the others will be on {_told(now)}: probabilities "
                "may differ by 1e-5"
            )
            return


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
