"""parameters.effective.json beside the masks: what they were made with, and whether a run may go on with them."""

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchseg.errors import UsageError
from patchseg.imaging.files import refusal, refuse_existing, whole
from patchseg.inference.locks import lock
from patchseg.patches.pairs import RECORD
from patchseg.progress import Progress

Record = dict[str, Any]  # {key: {value, source}}

GROUP = "prepare.group"  # which images belong together, for `evaluate`
# What may differ between runs that fill one folder, since a mask is the same whatever they are.
_FREE = {
    "infer.images", "infer.checkpoint", "infer.output", "infer.device", "infer.threads", "infer.max_memory", "infer.shard",
    "infer.verify", "compute.device", "compute.threads", "compute.tiles_at_once", "compute.sums_on",
    GROUP,
}  # fmt: skip
STAGES = Path(".patchseg") / "stages"
# Where memory ran out: masks since then may differ in rounding.
AT_ONCE, SUMS_ON = "compute.tiles_at_once", "compute.sums_on"


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = refusal(folder / RECORD, error)
        raise told from None
    with lock(folder / ".lock", wait=True):  # others may begin the same one at the same moment
        return _begin(folder, record, outputs, progress, overwrite=overwrite)


def _begin(
    folder: Path, record: Record, outputs: Sequence[Path], progress: Progress, *, overwrite: bool
) -> bool:
    file, there = folder / RECORD, [path for path in outputs if path.exists()]
    old = _read(file)
    if there and not file.exists():
        if overwrite:
            raise UsageError(
                f"{there[0]}: was not written by infer (no {RECORD} in {folder}), so --overwrite does not replace it; "
                "choose another --output"
            )
        refuse_existing(list(outputs), overwrite=False)
    if overwrite or old is None:
        refuse_existing([*outputs, file], overwrite=overwrite)
        shutil.rmtree(folder / STAGES, ignore_errors=True)
        _write(file, record)
        return False
    _require_alike(folder, old, record)
    _tell_changes(old, record, progress)
    known = _value(old, "infer.images") or []
    record["infer.images"]["value"] = merged = list(dict.fromkeys(known + record["infer.images"]["value"]))
    record |= {key: old[key] for key in (AT_ONCE, SUMS_ON) if key in old}
    if merged != known:
        _write(file, record, since=begun(folder))
    return True


def begun(folder: Path) -> int:
    """Return when a folder was begun, as files count nanoseconds: masks from before then were made with other settings."""
    file = folder / RECORD
    return file.stat().st_mtime_ns if file.exists() else 0


def note(folder: Path, key: str, value: Any, source: str) -> None:
    """Add something to the record of a folder."""
    with lock(folder / ".lock", wait=True):
        record = _read(folder / RECORD) or {}
        _write(folder / RECORD, record | {key: {"value": value, "source": source}}, since=begun(folder))


def _write(file: Path, record: Record, *, since: int | None = None) -> None:
    """Write a record, its time that at which the folder was begun; where there are no locks, several may do so at once."""
    own = file.with_name(f".{secrets.token_hex(4)}.json")
    with whole(own) as part:
        part.write_text(json.dumps(record, indent=1))
        if since is not None:
            os.utime(part, ns=(since, since))
    own.replace(file)


def _read(file: Path) -> Record | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    entries = content.values() if isinstance(content, dict) else [None]
    return content if all(isinstance(entry, dict) and "value" in entry for entry in entries) else None


def _require_alike(folder: Path, old: Record, record: Record) -> None:
    for key in sorted((old.keys() | record.keys()) - _FREE):
        if _value(old, key) != _value(record, key):
            is_checkpoint = key == "compute.checkpoint"
            before = "another checkpoint" if is_checkpoint else f"{key} {_told(old, key)}"
            now = "" if is_checkpoint else f", now {_told(record, key)}"
            raise UsageError(
                f"{folder}: holds masks that were made with {before}{now}; choose another --output or give --overwrite"
            )


def _tell_changes(old: Record, record: Record, progress: Progress) -> None:
    for key in ("compute.device", "compute.threads"):
        if _value(old, key) != _value(record, key):
            progress.say(
                f"the masks that are there were made on {_told(old, key)}, the others will be on {_told(record, key)}: "
                "probabilities may differ by 1e-5"
            )
            return


def _value(record: Record, key: str) -> Any:
    return record.get(key, {"value": None})["value"]


def _told(record: Record, key: str) -> str:
    value = _value(record, key)
    text = "unknown" if key not in record else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
