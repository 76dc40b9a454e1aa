"""The folder of a study: what it was begun with is written down, so that the same command goes on and another is refused.

Settings and the digests of images and masks flow in; the folder is new afterwards, or the one that an earlier run began.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from patchseg import device as devices
from patchseg.errors import DataError, Interrupted, PatchsegError, UsageError
from patchseg.imaging.address import Address, files_of
from patchseg.imaging.files import refusal, whole
from patchseg.inference.locks import lock
from patchseg.parameters import Parameters, effective
from patchseg.patches.pairs import RECORD, Pair
from patchseg.patches.unlabelled import find_unlabelled

MARK = "finished.json"  # in the folder of a part, once all of it is there
_SOURCES = "study.sources"
# What may differ when a study goes on: where files are, and how the machine computes.
_FREE = {
    "data.images", "data.masks", "data.max_memory", "prepare.output", "prepare.unlabelled", "train.name", "train.device", "train.threads",
    "train.precision", "train.deterministic", "train.keep", "train.compile", "train.micro_batch", "train.on_stop",
    "infer.device", "infer.threads", "infer.precision", "infer.max_memory",
}  # fmt: skip

Record = dict[str, dict[str, Any]]


class Study(NamedTuple):
    """What a verb of this kind leaves in its folder.

    Attributes:
        name: Of the verb.
        folder: Where all goes.
        parts: Pattern of the folders of its parts.
        results: Names of what else it writes there.
    """

    name: str
    folder: Path
    parts: str
    results: Sequence[str]


def record_of(parameters: Parameters, name: str, pairs: Sequence[Pair], group: Sequence[str]) -> Record:
    """Return what decides the results of a study: settings, images, masks and groups, and images without masks.

    Args:
        parameters: All.
        name: The section of the study.
        pairs: All that take part.
        group: The group of each.
    """
    p = parameters
    sections = [p.data, p.prepare, p.model, p.augment, p.train, p.infer, getattr(p, name)]
    left_out = {"infer.images", "infer.checkpoint", "infer.output", f"{name}.output"}
    settings = {key: entry for key, entry in effective(*sections).items() if key not in left_out}
    known: dict[Path, str] = {}
    sources = {
        f"{pair.name} ({its})" if its != pair.name else pair.name: _digest(_files_of(pair), known)
        for pair, its in zip(pairs, group, strict=True)
    }
    for image in find_unlabelled(p.prepare, p.data):
        sources[f"{image.name} (unlabelled)"] = _digest([image.image], known)
    return settings | {_SOURCES: {"value": sources, "source": "data"}}


@contextmanager
def claimed(study: Study, record: Record, *, overwrite: bool) -> Iterator[None]:
    """Hold the folder of a study inside the block.

    Raises:
        UsageError: It was begun with other settings or images, holds something else, is in use, or cannot be written to.
        Interrupted: The user stopped what was done inside the block.
    """
    folder = study.folder
    if devices.ranks() > 1:
        raise UsageError(
            f"{study.name}: runs in one process, since it goes from step to step; start it without torchrun"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = refusal(folder / RECORD, error)
        raise told from None
    with lock(folder / ".lock", wait=False) as alone:
        if not alone:
            raise UsageError(
                f"{folder}: another patchseg is at work in it; wait for it, or choose another --output"
            )
        went_on = _begin(study, record, overwrite=overwrite)
        try:
            yield
        except (Interrupted, KeyboardInterrupt):
            same = "the same command without --overwrite" if overwrite else "the same command"
            raise Interrupted(f"stopped; what is finished is in {folder}, and {same} goes on") from None
        except PatchsegError:
            if not went_on and not any(folder.glob(f"{study.parts}/checkpoints")):
                _clear(study)  # nothing came of it, so nothing shall stand in the way of the next try
                (folder / RECORD).unlink()
            raise


def finish(part: Path, document: dict[str, Any]) -> None:
    """Say that a part of a study is finished, and what came of it."""
    write_json(part / MARK, document)


def finished(part: Path, name: str = MARK) -> dict[str, Any] | None:
    """Return what came of a part of a study; None where it is not finished."""
    file = part / name
    return dict(_read(file)) if file.exists() else None


def write_json(path: Path, document: Any) -> None:
    """Write a document, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _begin(study: Study, record: Record, *, overwrite: bool) -> bool:
    folder, file = study.folder, study.folder / RECORD
    if not file.exists():
        others = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if others:
            raise UsageError(
                f"{folder}: holds {others[0].name}, but nothing that {study.name} has begun; choose another --output"
            )
        write_json(file, record)
        return False
    old = _read(file)
    if not overwrite:
        _require_alike(study, old, record)
        return True
    if _SOURCES not in old:
        raise UsageError(f"{folder}: was not begun by {study.name}, so --overwrite does not replace it")
    _clear(study)
    write_json(file, record)
    return False


def _clear(study: Study) -> None:
    """Remove what the verb writes, and nothing else; marks first, so that what a kill leaves of the rest counts for nothing."""
    for mark in study.folder.glob(f"{study.parts}/{MARK}"):
        mark.unlink()
    for path in [*study.folder.glob(study.parts), *(study.folder / name for name in study.results)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _require_alike(study: Study, old: Record, record: Record) -> None:
    cure = "give the same, --overwrite, or another --output"
    for key in sorted((old.keys() | record.keys()) - _FREE - {_SOURCES}):
        before, now = (entry.get(key, {}).get("value") for entry in (old, record))
        if before != now:
            raise UsageError(
                f"{study.folder}: was begun with {key} {json.dumps(before)}, now it is {json.dumps(now)}; {cure}"
            )
    before, now = (entry.get(_SOURCES, {}).get("value") or {} for entry in (old, record))
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UsageError(
            f"{study.folder}: was begun with another {changed[0]}{more}: image, mask or group has changed; {cure}"
        )


def _files_of(pair: Pair) -> list[Path]:
    """Return an image and all files of its mask."""
    assert pair.mask is not None
    return [pair.image, *([layer.path for layer in pair.layers.files] if pair.layers else [pair.mask])]


def _digest(paths: Sequence[Path], known: dict[Path, str]) -> str:
    """Return the digest of what some addresses point to."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(Address.of(path).inside).encode())
        for file in files_of(path):
            if file not in known:
                with file.open("rb") as opened:
                    known[file] = hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(known[file].encode())
    return digest.hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); start afresh in another --output") from None
    if not isinstance(document, dict):
        raise DataError(f"{file}: holds something else; start afresh in another --output")
    return document
