"""The models of parameters.json: one class a section, one field a parameter.

From a field come the flag on the command line, its help, the JSON schema and the table in the README. Values are
gathered as defaults < automatic plan < file < flags and validated once; each remembers where it came from. A
field whose default is None is left to the plan (`planned`), to the data, or off, as its description says.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from patchseg.section import Channels, Color, Duration, Fold, Ignored, Pages, Section, Size, setting

Model = Literal["unet"]
Norm = Literal["batch", "group", "none"]
Loss = Literal["ce", "dice", "ce+dice"]
Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "step", "onecycle"]
Window = Literal["flat", "gaussian", "hann"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
MaskStyle = Literal["index", "rgb"]
Format = Literal["auto", "png", "tiff", "zarr"]


class ClassParameters(Section):
    """One class: its name and how its pixels look in a mask."""

    name: str = setting(..., "name of the class", min_length=1)
    value: int | None = setting(
        None, "its value in index masks; its place in the list when left out", ge=-(2**31), le=2**31 - 1
    )
    color: Color | None = setting(None, 'its colour in colour-coded masks and in outputs, "#rrggbb"')

    @classmethod
    def coerce(cls, value: Any) -> Any:
        """Let a bare name stand for a class."""
        return {"name": value} if isinstance(value, str) else value


Class = Annotated[
    ClassParameters, BeforeValidator(ClassParameters.coerce, json_schema_input_type=str | ClassParameters)
]


class DataParameters(Section):
    """What the images are and what the pixels of a mask mean."""

    section: ClassVar[str] = "data"
    images: str | None = setting(
        None, "folder of images, or a list file with an `image mask` pair a line", flag=False
    )
    masks: str | None = setting(None, "folder of masks", flag=False)
    classes: list[Class] | None = setting(
        None,
        "the classes in order: names, or {name, value, color}; derived from the masks when left out",
        flag=False,
    )
    unlabeled: Literal["background", "ignore"] = setting("background", "what annotations leave blank")
    unlisted: Literal["refuse", "skip", "empty"] = setting("refuse", "images that no annotation file lists")
    attribute: str | None = setting(
        None, "VIA or GeoJSON attribute that names the class [auto: the only one]"
    )
    ignore: Ignored | None = setting(
        None, 'value of index masks, or colour "#rrggbb", that is ignored, besides 255'
    )
    binary: bool = setting(
        False, "take any value but 0 (any colour but black) for class 1, such as numbers of objects"
    )
    mask_tolerance: float = setting(
        0.0, "pull values and colours so near in each channel to a class: for soft edges, JPEG", ge=0, lt=256
    )
    mask_pattern: str | None = setting(
        None, "regular expression of the masks' names, a file a class or object: groups image, class, object"
    )
    pages: Pages | None = setting(
        None,
        "of TIFF files with several pages: the number of the one to read, from 1 on; channels to read all as channels; stack "
        "to take each page for an image "
        "[auto: such files are refused]",
    )
    channels: Channels | None = setting(
        None,
        "channels of the images to learn from, by index (from 0) or name: 0,2 or red,green; gray for gray stored as RGB "
        "[auto: all, gray where red, green and blue are equal in every image]",
    )
    max_memory: Size | None = setting(
        None, "memory that a picture which is read whole may take, such as 8GB [auto: 179 million pixels]"
    )


class PrepareParameters(Section):
    """How patches are cut."""

    section: ClassVar[str] = "prepare"
    output: str = setting("patches.h5", "the file of patches to write", short="-o")
    patch: int = setting(96, "side of the square patches, in pixels", ge=8)
    per_image: int = setting(20, "patches cut out of each image, before flips", ge=1)
    foreground: float = setting(
        0.33, "share of patches centred on a pixel of a class drawn evenly from the image's", ge=0, le=1
    )
    flips: bool = setting(True, "store all four flips of each training patch")
    validation: float = setting(0.2, "share of the images kept for validation", ge=0, lt=1)
    val_images: str | None = setting(None, "folder of validation images, instead of a share")
    val_masks: str | None = setting(None, "folder of their masks")
    group: str | None = setting(
        None, "regular expression; images whose names give the same match (or first group) stay on one side"
    )
    fold: Fold | None = setting(
        None,
        'validate on fold i of k, such as "2/5"; "2/all" leaves one image (or group) out; instead of a share',
    )
    scale: float = setting(1.0, "work at this multiple of the images' size; undone in the masks", gt=0, le=8)
    seed: int = setting(0, "seed of the split and of the patches", ge=0)


class ModelParameters(Section):
    """The network."""

    section: ClassVar[str] = "model"
    name: Model = setting("unet", "architecture", flag=False)
    width: int | None = setting(None, "channels of the first level [auto: 32 on a GPU, 8 without]", ge=1)
    levels: int | None = setting(
        None,
        "resolutions, the first included [auto: receptive field near the patch: 4 at 96, 5 at 200]",
        ge=1,
        le=8,
    )
    norm: Norm | None = setting(None, "normalization between layers [auto: batch, group below batches of 4]")


class TrainParameters(Section):
    """How the network learns."""

    section: ClassVar[str] = "train"
    name: str | None = setting(None, "name of the run [auto: the stem of the patches' file]")
    epochs: int = setting(100, "passes over the patches", short="-e", ge=1)
    steps: int | None = setting(
        None, "batches in all, in place of epochs; with --time, the most of them", ge=1
    )
    epoch_steps: int | None = setting(
        None,
        "batches an epoch, each epoch ends with a validation [auto: one pass, or a twentieth of the run]",
        ge=1,
    )
    time: Duration | None = setting(None, "wall-clock budget such as 5m; the schedule is fitted into it")
    batch: int = setting(16, "patches a step", short="-b", ge=1)
    rate: float | None = setting(
        None, "(highest) learning rate [auto: 0.004, from width 32 on 0.002; sgd 0.01]", short="-l", gt=0
    )
    loss: Loss = setting("ce+dice", "what is minimized")
    class_weights: Literal["balanced"] | list[Annotated[float, Field(ge=0)]] | None = setting(
        None, 'weight of each class in the loss: "balanced", or a number a class'
    )
    optimizer: Optimizer = setting("adamw", "optimizer")
    momentum: float = setting(0.9, "momentum of sgd", ge=0, lt=1)
    weight_decay: float = setting(0.01, "weight decay", ge=0)
    schedule: Schedule = setting("onecycle", "course of the learning rate")
    clip: float = setting(5.0, "largest norm of the gradient; 0 for any", ge=0)
    weights: str | None = setting(None, "checkpoint whose weights to start from")
    seed: int = setting(0, "seed of the initial weights and of the order of the patches", ge=0)
    device: Device = setting("auto", "where to compute")
    precision: Precision = setting("auto", "arithmetic of the network [auto: bf16 on CUDA where it has it]")
    threads: int | None = setting(None, "threads of the CPU [auto: all cores]", ge=1)
    deterministic: bool = setting(False, "bit-exact on CUDA too, at some cost in speed")


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


class SynthParameters(Section):
    """The synthetic data set of lines and ellipses."""

    section: ClassVar[str] = "synth"
    train: int = setting(100, "training images", ge=0)
    test: int = setting(10, "test images", ge=0)
    height: int = setting(400, "rows of an image", ge=16)
    width: int = setting(200, "columns of an image", ge=16)
    seed: int = setting(0, "seed; equal seeds give equal files", ge=0)
    mask_style: MaskStyle = setting("index", "masks as palette PNG of class indices, or colour-coded RGB")
    large: int | None = setting(
        None, "write one square image of so many rows, and its mask, as tiled TIFF", ge=256
    )


class Parameters(Section):
    """All of parameters.json."""

    data: DataParameters = DataParameters()
    prepare: PrepareParameters = PrepareParameters()
    model: ModelParameters = ModelParameters()
    train: TrainParameters = TrainParameters()
    infer: InferParameters = InferParameters()
    evaluate: EvaluateParameters = EvaluateParameters()
    synth: SynthParameters = SynthParameters()

    def sections(self) -> list[Section]:
        """Return the sections in the order of the work."""
        return [getattr(self, name) for name in type(self).model_fields]


def effective(*sections: Section) -> dict[str, dict[str, Any]]:
    """Return {key: {value, source}} of some sections, as parameters.effective.json holds it.

    >>> effective(EvaluateParameters(truth="t"))["evaluate.truth"]
    {'value': 't', 'source': 'call'}
    """
    return {
        f"{section.section}.{name}": {"value": value, "source": section.source(name)}
        for section in sections
        for name, value in section.model_dump(mode="json").items()
    }
