"""The model card: what a model is, what it has learned from, how it scores, where it ends, how it is run. As Markdown.

No figure stands in it that is not in the checkpoint, in scores.json or in patches.h5; of what is unknown that is said.
"""

from typing import Any

from patchseg import __version__
from patchseg.export.facts import Told, shares
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import ExportFormat, ExportParameters, Result
from patchseg.progress import counted

_RUN = {
    "onnx": """The input `pixels` is (N, {channels}, H, W) float32: raw pixels, on the scale of the image files ({dtype}), of any size.
Nothing is to be normalized or padded. The output `{result}` is (N, {classes}, H, W) float32, in the order of the classes above.

```python
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(found,) = session.run(None, {{"pixels": image.transpose(2, 0, 1)[None].astype("float32")}})  # image: (H, W, C)
mask = found[0].argmax(0)
```

or `patchseg infer IMAGE -m {file}`, which cuts large images into overlapping tiles.""",
    "safetensors": """`patchseg infer IMAGE -m {file}`, with the JSON file beside it, gives the same masks as the checkpoint, bit for bit. Without patchseg:
the weights are those of a torch module whose settings are `model` in the JSON file.""",
    "bioimageio": """With any program that runs models of bioimage.io (ONNX weights). Raw pixels go in, on the scale of the image files
({dtype}), without preprocessing; {result} come out, a channel a class.""",
}


def card(
    checkpoint: Checkpoint,
    told: Told,
    parameters: ExportParameters,
    *,
    form: ExportFormat,
    result: Result,
    file: str,
) -> str:
    """Return the model card of what is written as `file`."""
    run = _RUN[form].format(
        channels=len(checkpoint.channels), classes=len(checkpoint.classes), dtype=checkpoint.dtype, result=result, file=file,
    )  # fmt: skip
    who = f"By {parameters.author}. " if parameters.author else ""
    licence = f"Licence: {parameters.license}." if parameters.license else "Licence: not stated."
    cite = f" To be cited: doi:{parameters.cite}." if parameters.cite else ""
    parts = [
        f"# {told.title}", _about(checkpoint), f"{who}{licence}{cite}", "## Data", _classes(checkpoint), _images(checkpoint, told),
        "## Training", _training(checkpoint), "## Validation and scores", _validation(checkpoint), _scores(told.scores),
        "## Limits", _limits(checkpoint), "## How to run it", run,
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(checkpoint: Checkpoint) -> str:
    settings = {
        key: value
        for key, value in checkpoint.model.items()
        if key not in ("name", "channels", "classes") and value not in (None, False)
    }
    size = sum(weight.numel() for weight in checkpoint.weights.values() if weight.is_floating_point())
    named = "; ".join(
        filter(
            None,
            [
                ", ".join(_setting(name.replace("_", " "), value) for name, value in settings.items()),
                f"{size:,} numbers",
            ],
        )
    )
    return (
        f"A network (`{checkpoint.model['name']}`: {named}) that gives each pixel of an image one of "
        f"{counted(len(checkpoint.classes), 'class')}. Written by patchseg {__version__}."
    )


def _setting(name: str, value: Any) -> str:
    """Return a setting of a network, of a switch its name alone."""
    return name if value is True else f"{name} {value}"


def _classes(checkpoint: Checkpoint) -> str:
    """Return a table of the classes, with what they have of the labelled pixels."""
    known, classes = shares(checkpoint), checkpoint.classes
    lines = ["| index | class | colour | share of labelled pixels |", "|---|---|---|---|"]
    for place, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        share = f"{known[0][place]:.2%}" if known else "not recorded"
        lines.append(f"| {place} | {_cell(name)} | `{color}` | {share} |")
    if known and known[1]:
        lines.append(f"\n{known[1]:.2%} of the pixels were ignored.")
    return "\n".join(lines)


def _images(checkpoint: Checkpoint, told: Told) -> str:
    lines = ["| channel | mean | standard deviation | range |", "|---|---|---|---|"]
    for channel in checkpoint.channels:
        span = f"{channel['min']:g} to {channel['max']:g}" if "max" in channel else "not recorded"
        lines.append(f"| {_cell(channel['name'])} | {channel['mean']:.6g} | {channel['std']:.6g} | {span} |")
    count = "The number of images is not recorded in the checkpoint."
    if told.images is not None:
        sides = ", ".join(f"{number} {side}" for side, number in told.images.items())
        count = f"{counted(sum(told.images.values()), 'image')} ({sides}), {counted(told.patches or 0, 'patch')} to learn from."
    scale = (
        ""
        if checkpoint.scale == 1
        else f" Images are brought to {checkpoint.scale:g} times their size first."
    )
    return "\n".join(
        [*lines, "", f"{count} Pixels are {checkpoint.dtype}. The size of a pixel is not recorded.{scale}"]
    )


def _training(checkpoint: Checkpoint) -> str:
    """Return how it has learned, as far as the checkpoint knows."""
    names = {
        "loss": "train.loss", "optimizer": "train.optimizer", "batch": "train.batch", "highest rate": "train.rate",
        "schedule": "train.schedule", "variation of patches": "augment.strength", "seed": "train.seed",
        "started from": "train.weights",
    }  # fmt: skip
    found = {
        "patch": f"{checkpoint.patch} x {checkpoint.patch} pixels",
        "steps": checkpoint.scores.get("step"),
    }
    found |= {name: _value(checkpoint, key) for name, key in names.items()}
    known = [f"- {name}: {value}" for name, value in found.items() if value is not None]
    return "\n".join(known)


def _validation(checkpoint: Checkpoint) -> str:
    scores = checkpoint.scores
    if scores.get("mean_iou") is None:
        return "The checkpoint holds no validation score."
    each = [
        f"{name} {scores[f'iou/{name}']:.3f}"
        for name in checkpoint.classes.names
        if scores.get(f"iou/{name}") is not None
    ]
    return (
        f"On the validation images of the training, pooled: mean IoU {scores['mean_iou']:.3f} ({', '.join(each)}). The checkpoint was "
        "chosen by these images, so on others it may score less."
    )


def _scores(scores: dict[str, Any] | None) -> str:
    """Return a table of what `evaluate` has found, with its intervals."""
    if scores is None:
        return "Scores on images that were left out are not known here."
    statistics = scores.get("statistics") or {}
    pooled = statistics.get("pooled") or {}
    rows = {"mean IoU": pooled.get("mean_iou") or {"value": scores["mean_iou"]}}
    for place, item in enumerate(scores["classes"]):
        intervals = pooled.get("iou") or []
        rows[f"IoU of {item['name']}"] = intervals[place] if intervals else {"value": item["iou"]}
    lines = ["| score | value | 95 % interval |", "|---|---|---|"]
    for name, found in rows.items():
        value = "-" if found["value"] is None else f"{found['value']:.3f}"
        ends = [found.get(end) for end in ("low", "high")]
        interval = "unknown" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"
        lines.append(f"| {_cell(name)} | {value} | {interval} |")
    note = f" ({statistics['note']})" if statistics.get("note") else ""
    title = f"`patchseg evaluate` on {counted(len(scores['images']), 'image')}{note}:"
    return "\n".join([title, "", *lines])


def _limits(checkpoint: Checkpoint) -> str:
    names = ", ".join(str(channel["name"]) for channel in checkpoint.channels)
    lines = [
        f"- Images must be of the same kind: {checkpoint.dtype}, with the channels {names} in this order, on the same scale of "
        "values, with pixels of about the same size as those of the training.",
        "- Each pixel gets one of the classes above, whatever it shows: there is no class for what is unknown. Touching objects "
        "of one class are one region.",
    ]
    known = shares(checkpoint)
    rare = [
        name
        for name, share in zip(checkpoint.classes.names, known[0] if known else [], strict=bool(known))
        if share < 0.01
    ]
    if rare:
        lines.append(f"- Rare in the labelled pixels, below 1 %: {', '.join(rare)}.")
    if checkpoint.calibration:
        temperature = checkpoint.calibration["temperature"]
        lines.append(
            f"- Probabilities are not calibrated: a temperature of {temperature:.4g} was fitted to the averages of tiles, "
            f"p^(1/{temperature:.4g}) made to sum to 1."
        )
    else:
        lines.append("- Probabilities are not calibrated: 0.9 does not mean right in nine of ten pixels.")
    return "\n".join(lines)


def _value(checkpoint: Checkpoint, key: str) -> Any:
    return (checkpoint.parameters.get(key) or {}).get("value")


def _cell(text: Any) -> str:
    return str(text).replace("|", r"\|").replace("\n", " ")
