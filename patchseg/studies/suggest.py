"""The verb `suggest`: unlabelled images and networks -> the crops that are worth labelling next, ready to correct."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchseg import device as devices
from patchseg.errors import UsageError
from patchseg.imaging.files import refusal, refuse_existing, whole
from patchseg.inference.engine import Engine, tile_for
from patchseg.inference.kinship import as_learned
from patchseg.loading import FILE
from patchseg.models.checkpoint import Checkpoint
from patchseg.models.ensemble import members
from patchseg.parameters import DataParameters, InferParameters, SuggestParameters, effective
from patchseg.patches.pairs import RECORD
from patchseg.patches.stacks import images_of
from patchseg.progress import Progress, counted
from patchseg.studies.crops import Crop, originals_of, write_crop
from patchseg.studies.labelled import SUGGESTIONS, Labelled, learned_from
from patchseg.studies.spreading import evenly, spread
from patchseg.studies.suggestions_page import MOST, Shown, suggestions_html
from patchseg.studies.survey import Found, Surveyed, Surveyor
from patchseg.studies.table import write_table

PAGE, TABLE = "suggestions.html", "suggestions.csv"


def suggest(
    images: Sequence[Path | str],
    *,
    checkpoint: Path | str | Sequence[Path | str],
    parameters: SuggestParameters = SuggestParameters(),
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Rank crops of unlabelled images by how much opinions on them differ, spread out, and write them ready to correct.

    Opinions are those of overlapping tiles, of mirrored ones, and of several networks. What they do not share is the entropy of
    their mean minus their mean entropy (Houlsby et al. 2011, arXiv:1112.5745); its mean over the pixels of a crop is the
    score. Which crops are taken: `studies.spreading`.

    Args:
        images: Files, folders or globs.
        checkpoint: What `train` wrote; several, or the folds of what `crossval` wrote, contradict each other too.
        parameters: How many, how large, and what is left out; `parameters.output` is the folder.
        data: The memory that pictures may take; what else it says of images is taken from the checkpoint.
        overwrite: Whether earlier suggestions in the folder may be replaced.
        progress: Told what happens.

    Returns:
        The folder, which appears whole, with suggestions.json, .csv and .html, parameters.json with the classes, and images,
        masks, annotations (LabelMe), polygons (QuPath) and pictures.

    Raises:
        UsageError: Paths or parameters do not work, or all images are labelled.
        DataError: The checkpoint, or every image, cannot be used.
        PatchsegError: The disk is full, or an image does not fit into the memory.
    """
    progress, folder = progress or Progress(), Path(parameters.output)
    files = members(checkpoint)
    _require_room(folder, overwrite=overwrite)
    labelled = Labelled.of(Path(parameters.labelled)) if parameters.labelled else Labelled()
    with devices.memory_errors("choose a smaller --tile"):
        devices.set_threads(parameters.threads)
        engine = _engine(files, parameters, progress)
        reading = as_learned(engine.checkpoint, progress.say)
        reading = reading._replace(memory=parameters.max_memory or data.max_memory, downwards=True)
        found = _unlabelled(images_of([*images], reading.pages), labelled, files, progress)
        parameters = _planned(parameters, engine, len(found))
        surveyor = Surveyor(engine, reading, parameters)
        progress.say(surveyor.told(found))
        surveyed = surveyor.survey(found, labelled, progress)
        if not surveyed.boxes:
            raise UsageError(f"{parameters.labelled}: all crops were suggested already; give more images")
        with _new_folder(folder) as part:
            crops = _chosen(surveyed, found, parameters)
            document = _facts(surveyed, len(found), labelled)
            _write(part, crops, surveyor, parameters, document, progress=progress)
    return folder


def _planned(parameters: SuggestParameters, engine: Engine, images: int) -> SuggestParameters:
    """Fill in what nobody has set: tiles and crops of the network's size, and an even share of each image."""
    model = engine.checkpoint
    return parameters.planned(
        tile=engine.tile, crop=round(tile_for(model.patch) / model.scale),
        per_image=evenly(parameters.count, images),
    )  # fmt: skip


def _facts(surveyed: Surveyed, images: int, labelled: Labelled) -> dict[str, Any]:
    """Return what suggestions.json says besides the suggestions."""
    return {
        "images": images - len(surveyed.failures), "candidates": len(surveyed.boxes),
        "failures": [{"image": image, "error": error} for image, error in surveyed.failures.items()],
        "earlier": labelled.to_json(),
    }  # fmt: skip


def _engine(files: list[Path], parameters: SuggestParameters, progress: Progress) -> Engine:
    settings = InferParameters(
        disagreement=True, symmetries=parameters.symmetries, tile=parameters.tile, precision=parameters.precision
    )  # fmt: skip
    return Engine.of(files, settings, devices.choose(parameters.device), tell=progress.say)


def _unlabelled(found: Found, labelled: Labelled, files: list[Path], progress: Progress) -> Found:
    """Return the images that are not labelled, as far as that is known.

    Raises:
        UsageError: There is none.
    """
    known = frozenset[Path]().union(*map(learned_from, files))
    new = [entry for entry in found if entry[0].resolve() not in known]
    left = [entry for entry in new if not labelled.has(entry[1])]
    by_network, by_name = len(found) - len(new), len(new) - len(left)
    if by_network:
        progress.say(f"left out, as the network has learned from them: {counted(by_network, 'image')}")
    if by_name:
        progress.say(f"left out, as --labelled has their names: {counted(by_name, 'image')}")
    if labelled.names and not by_name:
        progress.say("--labelled: none of the images has a name that is there")
    if not left:
        raise UsageError(
            f"all of {counted(len(found), 'image')} are labelled already; give images that are not"
        )
    return left


def _chosen(surveyed: Surveyed, found: Found, parameters: SuggestParameters) -> list[Crop]:
    """Return the crops to suggest, the first choice first."""
    assert parameters.per_image is not None
    places = spread(
        surveyed.scores, surveyed.looks, surveyed.images, surveyed.boxes,
        count=parameters.count, per_image=parameters.per_image,
    )  # fmt: skip
    crops = []
    for rank, place in enumerate(places, 1):
        image, relative = found[surveyed.images[place]]
        name = relative.with_suffix("").as_posix()
        crops.append(Crop(rank, image, name, surveyed.boxes[place], float(surveyed.scores[place])))
    return crops


def _write(
    folder: Path,
    crops: list[Crop],
    surveyor: Surveyor,
    parameters: SuggestParameters,
    document: dict[str, Any],
    *,
    progress: Progress,
) -> None:
    """Write all that the folder holds."""
    model = surveyor.model
    listed: list[dict[str, Any]] = []
    shown: list[Shown] = []
    progress.start("writing", len(crops))
    for crop in crops:
        proposal = surveyor.propose(crop.image, crop.box)
        pixels = surveyor.pixels(crop.image, crop.box)
        stem = crop.stem(len(crops))
        files = write_crop(folder, stem, crop, pixels=pixels, proposal=proposal, checkpoint=model)
        listed.append(
            {
                "rank": crop.rank, "image": str(crop.image), "box": list(crop.box), "score": crop.score,
                "why": proposal.why, "unsure": proposal.unsure, **files,
            }
        )  # fmt: skip
        if len(shown) < MOST:
            shown.append(Shown.of(crop, pixels, proposal, model.classes))
        progress.step()
    progress.stop()
    document = {"suggestions": listed, **document}
    write_table(folder / TABLE, listed)
    texts = {
        PAGE: suggestions_html(shown, model.classes, document),
        FILE: json.dumps(_classes(model), indent=1),
        RECORD: json.dumps(effective(parameters), indent=1),
        SUGGESTIONS: json.dumps(document, indent=1),
    }
    for name, text in texts.items():
        with whole(folder / name) as part:
            part.write_text(text, encoding="utf-8")


def _classes(model: Checkpoint) -> dict[str, Any]:
    """Return the parameters with which `prepare` and `import` read the crops as the network has learned."""
    data: dict[str, Any] = {"classes": [_without_none(item) for item in model.classes.to_json()]}
    originals = originals_of(model.classes)
    if originals is not None and originals.ignored != 255:
        data["ignore"] = originals.ignored
    channels = model.parameters.get("data.channels", {}).get("value")
    return {"data": data | ({} if channels is None else {"channels": channels})}


def _without_none(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value is not None}


def _require_room(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds earlier suggestions, unless they may be replaced, or anything else.

    Raises:
        UsageError: It does.
    """
    refuse_existing([folder / SUGGESTIONS], overwrite=overwrite)
    is_ours = (folder / SUGGESTIONS).is_file()
    in_the_way = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    if not folder.name or (in_the_way and not is_ours):
        raise UsageError(f"{folder}: holds something else than suggestions; choose another folder (-o)")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside, which takes the place of the earlier one at the end, and goes after an error."""
    part, old = (folder.with_name(f".{folder.name}.{state}") for state in ("part", "old"))
    try:
        for left in (part, old):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        told = refusal(folder, error)
        if told is error:
            raise
        raise told from error
