"""The sections about what comes out of images: infer, evaluate."""

from typing import ClassVar, Literal

from patchseg.parameters.learning import Device, Precision
from patchseg.section import Section, setting

Window = Literal["flat", "gaussian", "hann"]
Format = Literal["auto", "png", "tiff", "zarr"]


class InferParameters(Section):
    """How images become masks."""

    section: ClassVar[str] = "infer"
    images: list[str] | None = setting(None, "files, folders or globs", flag=False)
    checkpoint: str | None = setting(None, "checkpoint, such as checkpoints/NAME/best.pt", short="-m")
    output: str = setting("masks", "folder of the masks to write", short="-o")
    tile: int | None = setting(
        None, "side of the square tiles, in pixels [auto: the patch of the training]", ge=8
    )
    overlap: float = setting(0.5, "share of a tile that its neighbour covers too", ge=0, lt=1)
    blend: Window = setting("flat", "weights of a tile's pixels in the average of probabilities")
    format: Format = setting("auto", "of the masks [auto: PNG, TIFF above 16 megapixels]")
    original_values: bool = setting(
        False,
        "write masks in the values or colours of the training masks, not as places in the list of classes",
    )
    pyramid: bool = setting(
        False, "write masks as TIFF with smaller sizes inside, for viewers of large images"
    )
    probabilities: bool = setting(False, "write the probabilities too: a channel a class, float16 TIFF")
    overlay: bool = setting(False, "write the image with the mask over it too")
    device: Device = setting("auto", "where to compute")
    precision: Precision = setting("auto", "arithmetic of the network [auto: bf16 on CUDA where it has it]")
    threads: int | None = setting(None, "threads of the CPU [auto: all cores]", ge=1)


class EvaluateParameters(Section):
    """Where masks are held against the truth."""

    section: ClassVar[str] = "evaluate"
    masks: str | None = setting(None, "folder of predicted masks", flag=False)
    truth: str | None = setting(None, "folder of true masks", flag=False)
    output: str | None = setting(
        None, "folder for scores.json and scores.csv [auto: the folder of the masks]", short="-o"
    )
