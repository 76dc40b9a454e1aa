"""The section about models that leave home."""

from typing import ClassVar, Literal

from patchseg.section import Section, setting

ExportFormat = Literal["onnx", "safetensors", "bioimageio"]
Result = Literal["logits", "probabilities"]


class ExportParameters(Section):
    """What a checkpoint is written as for other programs, and what is told with it."""

    section: ClassVar[str] = "export"
    checkpoint: str | None = setting(None, "checkpoint, such as checkpoints/NAME/best.pt", short="-m")
    output: str | None = setting(
        None,
        "file to write; its model card, such as model.onnx.md, lies beside it [auto: beside the checkpoint]",
        short="-o",
    )
    format: ExportFormat | None = setting(
        None,
        "ONNX, safetensors with a JSON file, or a package for bioimage.io [auto: by the suffix, .onnx, .safetensors, .zip; "
        "onnx without one]",
    )
    result: Result | None = setting(
        None, "what an ONNX graph gives [auto: logits, in a package probabilities]"
    )
    scores: str | None = setting(
        None, "scores.json of evaluate, whose scores and intervals the model card tells"
    )
    patches: str | None = setting(
        None,
        "patches.h5 that the network has learned from, of which the model card tells the images, and a package shows one",
    )
    title: str | None = setting(None, "name of the model [auto: patchseg and the name of the run]")
    author: str | None = setting(None, "who made the model, names with commas between")
    license: str | None = setting(None, "licence of the model by its SPDX identifier, such as CC-BY-4.0")
    cite: str | None = setting(
        None, "DOI of what is to be cited with the model [auto: in a package the network's own, where known]"
    )
