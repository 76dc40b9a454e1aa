"""The verb `export`: a checkpoint -> a file for other programs, and its model card beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from patchseg.errors import UsageError
from patchseg.export.card import card
from patchseg.export.facts import Told
from patchseg.export.graph import OPSET, graph_of
from patchseg.export.package import write_package
from patchseg.imaging.files import refuse_existing, whole
from patchseg.models import tensors
from patchseg.models.checkpoint import Checkpoint, load, require_classes
from patchseg.parameters import ExportFormat, ExportParameters, Result
from patchseg.progress import Progress, megabytes

SUFFIXES: dict[ExportFormat, str] = {"onnx": ".onnx", "safetensors": ".safetensors", "bioimageio": ".zip"}


@dataclass(frozen=True)
class Order:
    """What is to be written.

    Attributes:
        checkpoint: What of.
        path: Where.
        parameters: How.
        told: What is told with it.
        result: What a graph gives.
        card: The model card.
    """

    checkpoint: Checkpoint
    path: Path
    parameters: ExportParameters
    told: Told
    result: Result
    card: str


def export(
    checkpoint: Path | str,
    output: Path | str | None = None,
    *,
    parameters: ExportParameters = ExportParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a checkpoint as ONNX, as safetensors with a JSON file, or as a package for bioimage.io, with a model card.

    Args:
        checkpoint: What `train` wrote.
        output: The file to write, by default `parameters.output`.
        parameters: The format, and what is told of the model.
        overwrite: Whether existing files may be replaced.
        progress: Told what happens.

    Returns:
        The file; beside it lies its model card, such as model.onnx.md.

    Raises:
        UsageError: Paths or parameters do not work, or a package is not installed.
        DataError: The checkpoint is damaged, or scores or patches are of something else.
        PatchsegError: The network gives something else as ONNX, or the disk is full.
    """
    progress, source = progress or Progress(), Path(checkpoint)
    path, form = _target(source, None if output is None else Path(output), parameters)
    beside = [
        path.with_name(f"{path.name}.md"),
        *([path.with_suffix(".json")] if form == "safetensors" else []),
    ]
    refuse_existing([path, *beside], overwrite=overwrite)
    model = load(source)
    require_classes(model, source)
    if not model.weights:
        raise UsageError(f"{source}: is an exported model; give the checkpoint that it was exported from")
    told = Told.of(source, model, parameters)
    if parameters.result and form == "safetensors":
        raise UsageError(
            f"--result {parameters.result}: {path} holds weights, which give no result; leave it out"
        )
    result = parameters.result or ("probabilities" if form == "bioimageio" else "logits")
    text = card(model, told, parameters, form=form, result=result, file=path.name)
    FORMATS[form](Order(model, path, parameters, told, result, text), progress)
    with whole(beside[0]) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _target(source: Path, output: Path | None, parameters: ExportParameters) -> tuple[Path, ExportFormat]:
    """Return what is written, and in which format.

    Raises:
        UsageError: Name and format do not go together.
    """
    given = output or (Path(parameters.output) if parameters.output else None)
    form = parameters.format
    if given is None:
        form = form or "onnx"
        return source.with_suffix(SUFFIXES[form]), form
    found = {suffix: name for name, suffix in SUFFIXES.items()}.get(given.suffix)
    if found is None or (form and form != found):
        expected = SUFFIXES[form] if form else ", ".join(SUFFIXES.values())
        raise UsageError(
            f"{given}: ends with {given.suffix or 'no suffix'}; expected {expected}, which tells the format"
        )
    return given, found


def _onnx(order: Order, progress: Progress) -> None:
    graph = _proven(order, progress)
    with whole(order.path) as part:
        part.write_bytes(graph)


def _safetensors(order: Order, progress: Progress) -> None:
    tensors.write(order.checkpoint, order.path)


def _bioimageio(order: Order, progress: Progress) -> None:
    asked = {"--author": order.parameters.author, "--license": order.parameters.license}
    missing = [flag for flag, value in asked.items() if not value]
    if missing:
        progress.say(
            f"{order.path}: bioimage.io takes no package without {' and '.join(missing)}; programs read it"
        )
    if order.told.sample is None:
        progress.say(
            f"{order.path}: its test image and cover are noise; give --patches patches.h5 for a real one"
        )
    graph = _proven(order, progress)
    write_package(
        order.path,
        order.checkpoint,
        graph,
        order.told,
        order.parameters,
        card=order.card,
        result=order.result,
    )


def _proven(order: Order, progress: Progress) -> bytes:
    """Return the graph, and tell how far it is from torch."""
    graph, found = graph_of(order.checkpoint, order.result)
    progress.say(
        f"ONNX, opset {OPSET}, {megabytes(len(graph))}: raw pixels (N, {len(order.checkpoint.channels)}, H, W) float32 -> "
        f"{order.result} (N, {len(order.checkpoint.classes)}, H, W); at three sizes it differs from torch by {found:.1e} of the "
        "largest number"
    )
    return graph


FORMATS: dict[ExportFormat, Callable[[Order, Progress], None]] = {
    "onnx": _onnx,
    "safetensors": _safetensors,
    "bioimageio": _bioimageio,
}
