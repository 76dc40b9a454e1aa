"""Which checkpoints count together: a cross-validation stands for those of its folds."""

import json
from collections.abc import Iterable
from pathlib import Path

from patchseg.errors import DataError, UsageError

SUMMARY = "crossval.json"


def members(checkpoints: Path | str | Iterable[Path | str]) -> list[Path]:
    """Return the files of checkpoints; the folder of a cross-validation, or its crossval.json, gives those of its folds.

    Raises:
        UsageError: A folder is none of a cross-validation that is finished.
        DataError: Its crossval.json names no checkpoints.
    """
    given = [checkpoints] if isinstance(checkpoints, Path | str) else checkpoints
    return [file for item in given for file in _members(Path(item))]


def _members(path: Path) -> list[Path]:
    summary = path / SUMMARY if path.is_dir() else path
    if summary.name != SUMMARY:
        return [path]
    if not summary.is_file():
        raise UsageError(
            f"{path}: holds no {SUMMARY}; expected a checkpoint, such as checkpoints/NAME/best.pt, or the folder of a "
            "finished `patchseg crossval`"
        )
    try:
        folds = json.loads(summary.read_text(encoding="utf-8"))["folds"]
        files = [summary.parent / str(fold["checkpoint"]) for fold in folds]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{summary}: names no checkpoints ({error!r}); make it again with `patchseg crossval`"
        ) from None
    if not files:
        raise DataError(f"{summary}: names no checkpoints; make it again with `patchseg crossval`")
    return files
