"""How often 95 % intervals hold the truth: 2,000 simulated data sets of 10 and of 30 images, each way of making them.

    python benchmarks/coverage.py [--sets 2000] [--seed 0]

Mean over images: the IoU of an image is drawn from a skewed beta distribution, or from one of ten images that fail
besides. Pooled: images differ in size, in how much foreground they have, and in how much of it is found; larger images have
more pixels in the sum. What the truth is follows from the distributions, or from a million images. Prints how often intervals
hold it, how often they lie below or above it, and how wide they are.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.evaluation.averages import margins, pooled, scores
from patchseg.evaluation.statistics import LEVEL, Values, mean_interval

RESAMPLES = 999  # of the bootstrap
SIZES = (10, 30)  # images in a data set
MANY = 1_000_000  # images that stand for all


class Tally(NamedTuple):
    """How often an interval held the truth, lay below it, or above it, and its mean width."""

    held: float
    below: float
    above: float
    width: float


def skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Draw IoUs of images: most around 0.9, a tail to the left; mean 8 / 9.5, skewness -1.1."""
    return generator.beta(8, 1.5, shape)


def failing(generator: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Draw IoUs of which one of ten is of an image that failed: mean 0.9 x 8 / 9.5 + 0.1 x 0.3."""
    return np.where(generator.random(shape) < 0.1, generator.beta(3, 7, shape), generator.beta(8, 1.5, shape))


MEANS: dict[str, tuple[Callable[..., Values], float]] = {
    "skewed": (skewed, 8 / 9.5),
    "one of ten fails": (failing, 0.9 * 8 / 9.5 + 0.1 * 0.3),
}


def confusions(generator: np.random.Generator, shape: tuple[int, ...], *, spread: float) -> NDArray[np.int64]:
    """Draw confusion matrices of images, two classes: (..., 2, 2).

    Args:
        generator: Of the draws.
        shape: Of the images.
        spread: Of the logarithm of the pixels; 0 makes all images of one size.
    """
    pixels = np.exp(generator.normal(np.log(200_000), spread, shape)) if spread else np.full(shape, 200_000.0)
    true = pixels * generator.beta(2, 6, shape)
    hits = true * generator.beta(9, 1.5, shape)
    false = (pixels - true) * generator.beta(1.5, 60, shape)
    rows = [[pixels - true - false, false], [true - hits, hits]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1)).round().astype(np.int64)


def bootstrap(
    units: NDArray[np.float64], score: Callable[..., Values], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the plain percentile interval of each score: units (n, F) drawn again, (2, S)."""
    drawn = generator.multinomial(len(units), np.full(len(units), 1 / len(units)), RESAMPLES)
    tail = 100 * (1 - LEVEL) / 2
    return np.percentile(score(drawn @ units), [tail, 100 - tail], axis=0)


def tally(intervals: NDArray[np.float64], truth: float) -> Tally:
    """Count intervals (sets, 2)."""
    low, high = intervals.T
    held = (low <= truth) & (truth <= high)
    return Tally(held.mean(), (high < truth).mean(), (low > truth).mean(), (high - low).mean())


def means(name: str, images: int, sets: int, generator: np.random.Generator) -> None:
    """Print the lines of the mean over images."""
    draw, truth = MEANS[name]
    data = draw(generator, (sets, images))
    exact = np.array([mean_interval(values)[1:3] for values in data])
    again = np.array(
        [bootstrap(values[:, None], lambda sums: sums / images, generator)[:, 0] for values in data]
    )
    line(f"mean over images, {name}", images, "t", tally(exact, truth))
    line(f"mean over images, {name}", images, "bootstrap", tally(again, truth))


def pools(spread: float, images: int, sets: int, generator: np.random.Generator) -> None:
    """Print the lines of pooled scores."""
    all_of_them = margins(confusions(generator, (MANY,), spread=spread)).sum(axis=0)
    truth = scores(all_of_them[None])[0]
    data = margins(confusions(generator, (sets, images), spread=spread))
    names = [str(number) for number in range(images)]
    exact = np.array([[interval[1:3] for interval in pooled(rows, names)] for rows in data])  # (sets, S, 2)

    def score(sums: Values) -> Values:
        return scores(sums.reshape(-1, *data.shape[2:]))

    again = np.array([bootstrap(rows.reshape(images, -1).astype(float), score, generator).T for rows in data])
    sizes = "images of one size" if not spread else "sizes that differ"
    for place, what in ((0, "mean IoU"), (2, "pixel accuracy"), (4, "IoU of the foreground")):
        for how, intervals in (("jackknife-t", exact), ("bootstrap", again)):
            line(f"pooled {what}, {sizes}", images, how, tally(intervals[:, place], truth[place]))


def line(what: str, images: int, how: str, counted: Tally) -> None:
    """Print a row of a Markdown table."""
    held, below, above = (f"{100 * share:.1f} %" for share in counted[:3])
    print(f"| {what} | {images} | {how} | {held} | {below} | {above} | {counted.width:.3f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=2000, help="data sets of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.Generator(np.random.Philox(options.seed))
    print("| score | images | interval | holds the truth | lies below it | lies above it | mean width |")
    print("|---|---|---|---|---|---|---|")
    for images in SIZES:
        for name in MEANS:
            means(name, images, options.sets, generator)
        for spread in (0.0, 0.8):
            pools(spread, images, options.sets, generator)


if __name__ == "__main__":
    main()
