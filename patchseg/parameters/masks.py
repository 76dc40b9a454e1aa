"""The sections about what comes out of images: infer, evaluate."""

from typing import ClassVar, Literal

from patchseg.parameters.learning import Device, Precision
from patchseg.section import Section, setting
from patchseg.values import Distance, Share, Size

Window = Literal["flat", "gaussian", "hann"]
Blend = Literal[Window, "exact"]
Symmetries = Literal["none", "flips", "all"]
Format = Literal["auto", "png", "tiff", "zarr"]
ProbabilityType = Literal["float16", "uint8"]


class InferParameters(Section):
    """How images become masks."""

    section: ClassVar[str] = "infer"
    images: list[str] | None = setting(None, "files, folders or globs, of videos too", flag=False)
    checkpoint: str | None = setting(
        None,
        "checkpoint, such as checkpoints/NAME/best.pt; of several, with commas between, the mean counts, and of "
        "crossval/NAME that of its folds",
        short="-m",
    )
    output: str = setting("masks", "folder of the masks to write", short="-o")
    tile: int | None = setting(
        None,
        "side of the square tiles, in pixels [auto: 256, or the patch of the training if that is larger; 512 for exact]",
        ge=8,
    )
    overlap: float = setting(0.5, "share of a tile that its neighbour covers too", ge=0, lt=1)
    blend: Blend = setting(
        "gaussian",
        "weights of a tile's pixels in the average of probabilities; exact keeps only what one big forward pass would give",
    )
    symmetries: Symmetries = setting(
        "none", "average over mirrored tiles (4 times the time), or over turned ones too (8 times)"
    )
    roi: str | None = setting(
        None,
        "segment only this: top,left,height,width in pixels, or annotations (GeoJSON ...); the rest of a mask is 255",
    )
    skip_blank: bool = setting(
        False, "take tiles of one colour for background (the first class), without predicting them"
    )
    pixel_size: float | None = setting(
        None,
        "micrometres of a pixel in the training images; others are resampled to it by what their files say",
        gt=0,
    )
    format: Format = setting("auto", "of the masks [auto: PNG, TIFF above 16 megapixels]")
    original_values: bool = setting(
        False,
        "write masks in the values or colours of the training masks, not as places in the list of classes",
    )
    pyramid: bool = setting(
        False, "write masks as TIFF with smaller sizes inside, for viewers of large images"
    )
    overlay: bool = setting(False, "write the image with the mask over it too")
    probabilities: bool = setting(False, "write the probabilities too: a TIFF with a channel a class")
    probability_type: ProbabilityType = setting(
        "float16", "how probabilities are stored; uint8 counts 255ths"
    )
    calibrated: bool = setting(
        False, "correct the probabilities by the temperature (and thresholds) that calibrate has found"
    )
    confidence: bool = setting(
        False, "write by how much the most probable class leads the second, from 0 to 1, as float16 TIFF"
    )
    disagreement: bool = setting(
        False,
        "write where overlapping tiles (symmetries, checkpoints) contradict each other, in nats, as float16 TIFF",
    )
    polygons: bool = setting(False, "write the outlines of regions as GeoJSON too, as QuPath reads it")
    smallest: int = setting(1, "of --polygons: pixels of the smallest region that is written", ge=1)
    holes: bool = setting(True, "of --polygons: keep the holes of regions, or fill them")
    largest: int | None = setting(
        None, "of --polygons: write so many regions of each class, the largest [auto: all]", ge=1
    )
    areas: bool = setting(False, "write areas.csv too: the pixels, and the area, of each class in each image")
    verify: bool = setting(
        False, "compare four places of each image with one big forward pass, and tell the largest difference"
    )
    max_memory: Size | None = setting(
        None,
        "memory to take in all, such as 4GB; wide images are cut into columns for it [auto: what is free]",
    )
    shard: Share | None = setting(
        None, 'do one share of the images, such as "1/4", for several jobs that write into one folder'
    )
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
    group: str | None = setting(
        None,
        "regular expression; images whose names give the same match (or first group) are one unit of the intervals "
        "[auto: as prepared]",
    )
    blocks: int | None = setting(
        None,
        "side of square blocks, in pixels, that are the units of the intervals where one to three large images are all "
        "there is",
        ge=8,
    )
    boundary: Distance | None = setting(
        None, "score outlines too, at a tolerance such as 2 (pixels), 1.5um or 3map (units of the map)"
    )
    objects: bool = setting(
        False, "count objects too: matches (by more than half of their pixels), extra and missed ones"
    )
    certainty: bool = setting(False, "score probabilities too, as infer --probabilities writes them")
    probabilities: str | None = setting(
        None, "folder of the probabilities to score [auto: probabilities in the folder of the masks]"
    )
    region: str | None = setting(
        None,
        "score only inside: a folder of masks (0 is outside), one for all, a box, or annotations (as infer --roi)",
    )
