"""Masks in the wrong place: found where the edges of images and the outlines of masks agree better once moved.

The measure is the mean strength of the image's edges along the mask's outlines, in standard deviations. It is compared
between the mask as it is and the mask flipped, turned or shifted. Edges that are in the same place in every image, such
as a frame or a scale bar, are taken out first, and a mask whose objects are all drawn a little too large is no shift:
a part of its outline agrees as well in other places.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.scale import weights
from patchseg.imaging.source import Array
from patchseg.patches.doctor.finding import Finding, Severity

MOST = 400  # pairs that are measured; more tell nothing new
REACH = 24  # pixels of a thumbnail that a shift is looked for
_SIDE = 128  # of the squares in which flips and turns are compared
_OUTLINE = 40  # pixels of outlines below which nothing can be told
_MARGIN = 0.3  # standard deviations by which another place must be better
_PEAK = 3  # pixels around the best shift that belong to it
_SOME, _MARGIN_OF_FEW = 3, 1.5  # where there are few images, chance plays a larger part
_FRAME = 4  # pixels at the border of an image that are left out
_CURE = "look at them together (--html), and export the mask again"

Grid = NDArray[np.float32]
Scores = NDArray[np.float64]

TURNS: dict[str, Callable[[Array], Array]] = {
    "flipped left-right": lambda mask: mask[:, ::-1],
    "flipped up-down": lambda mask: mask[::-1],
    "turned by 180 degrees": lambda mask: mask[::-1, ::-1],
    "transposed (rows and columns changed places)": lambda mask: mask.T,
    "turned by 90 degrees clockwise": lambda mask: mask[::-1].T,
    "turned by 90 degrees counterclockwise": lambda mask: mask.T[::-1],
    "transposed and turned by 180 degrees": lambda mask: mask[::-1, ::-1].T,
}
_FLIPS = 3  # of the turns that fit an image that is not square


class Agreement(NamedTuple):
    """How well the edges of an image and the outlines of its mask agree.

    Attributes:
        edges: Strength of the image's edges in a square, (128, 128) float16, in standard deviations.
        outlines: The mask's outlines there, (128, 128) float16.
        shifts: Agreement once the mask is shifted by -24 to 24 rows and columns, (49, 49) float32.
        step: Pixels of the image to a pixel of the shifts.
        square: Whether quarter turns fit.
    """

    edges: NDArray[np.float16]
    outlines: NDArray[np.float16]
    shifts: Grid
    step: float
    square: bool


class Move(NamedTuple):
    """A place where masks fit better: how well, how they get there, and which masks can at all (None: any)."""

    score: float
    how: str
    fit: NDArray[np.bool_] | None = None


def measure(gray: Grid, labels: Array, *, step: float = 1.0) -> Agreement | None:
    """Measure one pair; None where there are no edges, or hardly an outline.

    Args:
        gray: (h, w) float32.
        labels: (h, w) values of the mask.
        step: Pixels of the image to a pixel of these.
    """
    lines, strength = outlines(labels), edges(gray)
    if not _OUTLINE <= lines.sum() <= 0.5 * lines.size or strength.std() < 1e-6:
        return None
    strength = (strength - strength.mean()) / strength.std()
    small = resized(strength, _SIDE)
    return Agreement(
        ((small - small.mean()) / max(small.std(), 1e-6)).astype(np.float16),
        resized(lines.astype(np.float32), _SIDE).astype(np.float16),
        shifted(strength, lines), step, gray.shape[0] == gray.shape[1],
    )  # fmt: skip


def judge(pairs: Sequence[tuple[Path, Agreement]]) -> Iterator[Finding]:
    """Find masks that fit better once flipped, turned or shifted: all of them in the same way, or single ones.

    Args:
        pairs: The mask's file and the agreement, for each pair that could be measured.
    """
    if not pairs:
        return
    kept, turns = _scores([agreement for _, agreement in pairs])
    maps = np.stack([agreement.shifts for _, agreement in pairs])
    steps = np.array([agreement.step for _, agreement in pairs])
    together = [_turned(kept, turns), _shifted(maps, float(np.median(steps)))]
    best = max((move for move in together if move), key=lambda move: move.score, default=None)
    if best is not None:
        fit = np.ones(len(pairs), bool) if best.fit is None else best.fit
        files = tuple(path for (path, _), is_fit in zip(pairs, fit, strict=True) if is_fit)
        yield _misplaced(files, best.how, sure=len(pairs) > _SOME)
        return
    turned, moved = _turned_alone(kept, turns), _shifted_alone(maps, steps)
    for number in sorted(turned.keys() | moved.keys()):
        both = [moves[number] for moves in (turned, moved) if number in moves]
        move = max(both, key=lambda move: move.score)
        yield _misplaced((pairs[number][0],), move.how, sure=len(pairs) > _SOME)


def outlines(labels: Array) -> NDArray[np.bool_]:
    """Return the pixels on either side of a change of label, (h, w) bool; the border of the image is left out.

    >>> outlines(np.array([[0] * 6 + [1] * 6] * 11))[5].nonzero()[0].tolist()
    [5, 6]
    """
    lines = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    lines[1:] |= down
    lines[:-1] |= down
    lines[:, 1:] |= right
    lines[:, :-1] |= right
    return _framed(lines)


def edges(gray: Grid) -> Grid:
    """Return the length of the gradient of an image, (h, w) float32, without its few strongest extremes."""
    if min(gray.shape) < 2 * _FRAME:
        return np.zeros_like(gray)
    smooth: NDArray[np.floating[Any]] = np.pad(gray, 1, mode="edge")
    smooth = (smooth[:-2] + 2 * smooth[1:-1] + smooth[2:]) / 4
    smooth = (smooth[:, :-2] + 2 * smooth[:, 1:-1] + smooth[:, 2:]) / 4
    down, right = np.gradient(smooth)
    length = np.hypot(down, right)
    return _framed(np.minimum(length, np.percentile(length, 99)).astype(np.float32))


def shifted(strength: Grid, lines: NDArray[np.bool_]) -> Grid:
    """Return the mean edge along the outlines for each shift of the mask, (49, 49) float32; no shift is in the middle."""
    shape = [length + REACH for length in strength.shape]
    product = np.fft.rfft2(strength, shape) * np.conj(np.fft.rfft2(lines, shape))
    around = np.fft.irfft2(product, shape)
    window = np.arange(-REACH, REACH + 1)
    found = around[np.ix_(window % shape[0], window % shape[1])] / lines.sum()
    return np.asarray(found, np.float32)


def resized(pixels: Grid, side: int) -> Grid:
    """Return pixels (h, w) resampled to a square, (side, side) float32."""
    height, width = pixels.shape
    return np.asarray(weights(0, side, height, side) @ pixels @ weights(0, side, width, side).T)


def _turned(kept: Scores, turns: Scores) -> Move | None:
    """Return the turn that fits the masks better all together."""
    for number, how in enumerate(TURNS):
        fit = ~np.isnan(turns[:, number])
        if is_better(turns[fit, number], kept[fit]):
            return Move(float(turns[fit, number].mean()), how, fit)
    return None


def _turned_alone(kept: Scores, turns: Scores) -> dict[int, Move]:
    """Return the turns that fit single masks better, where the others are in their place."""
    best, chance = np.nanmax(turns, axis=1), float(np.nanstd(turns))
    if not _most((kept > 2 * best) & (kept > best + _MARGIN / 2)):
        return {}
    least = max(0.25 * float(np.median(kept)), 3 * chance)
    return {
        int(number): Move(float(best[number]), list(TURNS)[int(np.nanargmax(turns[number]))])
        for number in np.flatnonzero((best > least) & (kept < 0.25 * best))
    }


def _scores(agreements: Sequence[Agreement]) -> tuple[Scores, Scores]:
    """Return the agreement of each mask as it is (n,) and turned (n, 7), NaN where a turn does not fit."""
    mean = np.mean([agreement.edges.astype(np.float32) for agreement in agreements], axis=0)
    count = len(agreements)
    kept, turns = np.zeros(count), np.full((count, len(TURNS)), np.nan)
    for number, agreement in enumerate(agreements):
        own, lines = agreement.edges.astype(np.float32), agreement.outlines.astype(np.float32)
        if count > 3:
            own = own - (mean * count - own) / (count - 1)
        kept[number] = (own * lines).sum() / lines.sum()
        for place, turn in enumerate(TURNS.values()):
            if place < _FLIPS or agreement.square:
                turns[number, place] = (own * turn(lines)).sum() / lines.sum()
    return kept, turns


def _shifted(maps: Grid, step: float) -> Move | None:
    """Return the shift that fits the masks (n, 49, 49) better all together."""
    if len(maps) < _SOME:
        return None
    mean = maps.mean(axis=0)
    down, right = _peak(mean)
    here = np.maximum(maps[:, REACH, REACH], maps[:, REACH - down, REACH - right])
    if _is_shift(mean, down, right) and is_better(maps[:, REACH + down, REACH + right], here, factor=1.3):
        return Move(float(mean.max()), _in_pixels(down * step, right * step))
    return None


def _shifted_alone(maps: Grid, steps: Scores) -> dict[int, Move]:
    """Return the shifts that fit single masks better, where the others are in their place."""
    moves: dict[int, Move] = {}
    here, peaks = maps[:, REACH, REACH], maps.max(axis=(1, 2))
    if _most(here > 0.8 * np.maximum(peaks, _MARGIN)):
        usual = float(np.median(here))
        for number in np.flatnonzero((here < 0.5 * usual) & (peaks > 0.5 * usual)):
            down, right = _peak(maps[number])
            if _is_shift(maps[number], down, right):
                how = _in_pixels(down * steps[number], right * steps[number])
                moves[int(number)] = Move(float(peaks[number]), how)
    return moves


def is_better(
    there: NDArray[np.floating[Any]], here: NDArray[np.floating[Any]], *, factor: float = 2.0
) -> bool:
    """Tell whether masks agree better in another place: by a margin, and in most images, far beyond chance.

    Args:
        there: Agreement of each mask in the other place, (n,).
        here: Agreement where it is, (n,).
        factor: By which the mean must be greater, too.
    """
    if not len(there):
        return False
    gain = there - here
    few = len(gain) <= _SOME
    margin = _MARGIN_OF_FEW if few else max(_MARGIN, 4 * gain.std() / np.sqrt(len(gain)))
    return bool(
        gain.mean() > margin
        # An outline that avoids the edges, as one drawn too large does, fits better anywhere.
        and there.mean() > max(margin, factor * here.mean())
        and (gain > 0).mean() >= (1 if few else 0.75)
    )


def _most(agree: NDArray[np.bool_]) -> bool:
    """Tell whether the masks are in their place on the whole, so that one that is not stands out."""
    return len(agree) >= 3 and agree.mean() >= 0.65


def _peak(shifts: Grid) -> tuple[int, int]:
    row, column = np.unravel_index(int(shifts.argmax()), shifts.shape)
    return int(row) - REACH, int(column) - REACH


def _is_shift(shifts: Grid, down: int, right: int) -> bool:
    """Tell whether the mask fits clearly better there than where it is, and than in any third place.

    A mask that is drawn too large or too small fits as well, by a part of its outline, when shifted another way.
    """
    row, column = REACH + down, REACH + right
    others = shifts.copy()
    others[max(0, row - _PEAK) : row + _PEAK + 1, max(0, column - _PEAK) : column + _PEAK + 1] = 0
    rival = max(float(shifts[REACH, REACH]), float(others.max()))
    return max(abs(down), abs(right)) >= 2 and bool(shifts[row, column] > 1.5 * rival + 0.2)


def _in_pixels(down: float, right: float) -> str:
    parts = [f"{abs(down):.0f} px {'down' if down > 0 else 'up'}"] if round(down) else []
    parts += [f"{abs(right):.0f} px to the {'right' if right > 0 else 'left'}"] if round(right) else []
    return "shifted by " + " and ".join(parts)


def _misplaced(files: tuple[Path, ...], how: str, *, sure: bool) -> Finding:
    severity: Severity = "error" if sure else "warning"
    return Finding("misplaced", severity, files, f"fits the edges of its image better once {how}", _CURE)


def _framed(values: Array) -> Array:
    """Return values with nothing in the border of the image."""
    framed = np.zeros_like(values)
    inner = (slice(_FRAME, -_FRAME), slice(_FRAME, -_FRAME))
    framed[inner] = values[inner]
    return framed
