"""The sections about images and their patches: data, prepare, synth."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from patchseg.section import Section, setting
from patchseg.values import Channels, Color, Fold, Ignored, Pages, Size

MaskStyle = Literal["index", "rgb"]


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
    unlabeled: Literal["background", "ignore"] = setting(
        "background", "what annotations leave blank (images without masks are given by --unlabelled)"
    )
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
    patch: int | None = setting(
        None, "side of the square patches, in pixels [auto: 96, less where images are smaller]", ge=8
    )
    margin: int = setting(
        0,
        "pixels of real context stored around each patch, so that turned and shifted patches show true pixels",
        ge=0,
    )
    per_image: int = setting(20, "patches cut out of each image, before flips", ge=1)
    foreground: float = setting(
        0.33, "share of patches centred on a pixel of a class drawn evenly from the image's", ge=0, le=1
    )
    flips: bool = setting(True, "store all four flips of each training patch")
    validation: float = setting(0.2, "share of the images kept for validation", ge=0, lt=1)
    val_images: str | None = setting(None, "folder of validation images, instead of a share")
    val_masks: str | None = setting(None, "folder of their masks")
    unlabelled: str | None = setting(
        None, "folder of images without masks, which `train --objective` can learn from, too"
    )
    group: str | None = setting(
        None, "regular expression; images whose names give the same match (or first group) stay on one side"
    )
    fold: Fold | None = setting(
        None,
        'validate on fold i of k, such as "2/5"; "2/all" leaves one image (or group) out; instead of a share',
    )
    scale: float = setting(1.0, "work at this multiple of the images' size; undone in the masks", gt=0, le=8)
    seed: int = setting(0, "seed of the split and of the patches", ge=0)


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
