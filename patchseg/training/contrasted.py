"""Stored patches -> two views of each, moved and changed apart from one another, with regions that say what is the same in both."""

from collections.abc import Callable

from patchseg.parameters import TrainParameters
from patchseg.training.augment import Augmentation
from patchseg.training.batch import View
from patchseg.training.draws import Draws, Floats
from patchseg.training.keeping import Pair
from patchseg.training.unlabelled import VIEW

_STREAMS = (5, 6)  # of draws, beside those of views without labels


def spacing(settings: TrainParameters) -> int | None:
    """Return after how many steps each there are views to contrast, the first step included; None where there never are.

    >>> spacing(TrainParameters(objective="supcon")), spacing(TrainParameters(objective="fixmatch"))
    (5, None)
    """
    return {"supcon": settings.contrast_every, "detcon": 1}.get(settings.objective)


def two_views(
    augmentation: Augmentation, patches: Pair, draws: Callable[[int], Draws], centres: Floats | None = None
) -> tuple[View, View]:
    """Return two views of patches.

    Each is moved as the recipe of the augmentation has it, and changed as the strong views of self-training are. Nothing is
    mixed between patches, whatever the recipe says: numbers of regions mean nothing in another patch.

    Args:
        augmentation: Moves patches.
        patches: Images (n, T, T, C) and masks (n, T, T), as stored.
        draws: From a stream to the numbers of the n samples.
        centres: (n, 2), what each patch is centred on; see `Augmentation`.
    """

    def view(stream: int) -> View:
        drawn = draws(stream)
        pixels, regions = augmentation.move(*patches, drawn, centres)
        return View(augmentation.change(pixels, drawn, VIEW), regions)

    first, second = _STREAMS
    return view(first), view(second)
