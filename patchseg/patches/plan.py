"""What `prepare` chooses where nobody has: sizes of images in, the side of the patches and the reason out."""

from collections.abc import Iterable, Sequence
from statistics import median_low
from typing import NamedTuple

from patchseg.imaging.scale import scaled_length
from patchseg.parameters import PrepareParameters
from patchseg.patches.pairs import Pair

Size = tuple[int, int]  # (H, W)
_PATCH = 96  # what the default network, of four levels, sees around a pixel
_STEP = 16  # four levels halve a side three times, five levels four times
_LEAST = 32  # below, the coarsest level sees but a few pixels


class Planned(NamedTuple):
    """A value that was chosen, and a sentence that says why."""

    value: int
    reason: str


def patch_for(sizes: Sequence[Size], scale: float = 1.0) -> Planned:
    """Choose the side of the patches: 96, or the largest multiple of 16, 32 at least, that fits into the images.

    It fits into at least half of them, which is what their lower median says.

    Args:
        sizes: (H, W) of the images to train on; without any, the side is 96.
        scale: Multiple of their size at which they are cut.

    >>> patch_for([(200, 400), (300, 180)]).value, patch_for([(75, 90)]).value, patch_for([(20, 500)]).value
    (96, 64, 32)
    >>> patch_for([(150, 200)], 0.5).reason
    'patch 64: the largest multiple of 16 that fits into the images (their shorter sides: 75 px in the median at scale 0.5)'
    """
    if not sizes:
        return Planned(_PATCH, f"patch {_PATCH}: no image tells another")
    shorter = median_low(min(scaled_length(length, scale) for length in size) for size in sizes)
    patch = min(max(shorter // _STEP * _STEP, _LEAST), _PATCH)
    found = f"their shorter sides: {shorter} px in the median{f' at scale {scale:g}' if scale != 1 else ''}"
    if shorter < _LEAST:
        return Planned(patch, f"patch {patch}: the least, so the images are padded ({found})")
    what = "fits" if patch == _PATCH else f"the largest multiple of {_STEP} that fits"
    return Planned(patch, f"patch {patch}: {what} into the images ({found})")


def with_patch(
    parameters: PrepareParameters, pairs: Sequence[Pair], sizes: Iterable[Size | None]
) -> tuple[PrepareParameters, str | None]:
    """Return parameters that say the side of the patches, and the reason where it was chosen here.

    Args:
        parameters: Those of `prepare`.
        pairs: The pairs to train on and to split; those that a list gives for validation do not count.
        sizes: (H, W) of the image of each of them, maybe of more; None where it is not known. Not looked at where the
            side is given.
    """
    if parameters.patch is not None:
        return parameters, None
    known = [
        size for pair, size in zip(pairs, sizes, strict=False) if size is not None and pair.side != "val"
    ]
    planned = patch_for(known, parameters.scale)
    return parameters.planned(patch=planned.value), planned.reason
