"""Times `patchseg infer` between image and mask against the bare network, MONAI, tiler and a short script.

All segment the same RGB noise by the same U-Net (3 classes, batch norm, 4 levels; 8 wide on the CPU, 32 wide on CUDA) in the
same tiles, which overlap by half, at the precision of `infer`. From an image in memory (uint8) to a mask in memory:

    bare                     the network with its batch norms folded, channels_last, on a batch of float tiles that is ready,
                             as often as the grid has batches; no softmax, no blending, no mask
    patchseg-BLEND           what `infer` does, by blend; `exact`, for tiles of 104 and more, has fewer tiles: what is told of it
                             beside is its speed by that of half-overlapping `flat`, and by the most that its halos allow,
                             4 (1 - 2 halo / tile)^2
    monai-MODE               `SlidingWindowInferer` of MONAI as documented; it averages logits
    monai-folded-MODE        the same with the network and the layout of `bare`
    seed                     a tile at a time, its softmax added to sums of the whole image
    tiler                    `Tiler` and `Merger` of tiler

They take turns in one run, every other round from the last to the first, after rounds that are not timed. Told are medians
over the rounds with quartiles, the ratio to `bare` as the median of those of the rounds, and the share of the pixels that
get the class that the first of them gives; they differ by what is averaged, by the window, and by rounding.

    python benchmarks/inference.py [--pairs N] [--sizes S...] [--devices cpu cuda] [--contenders NAME...]
    python benchmarks/inference.py --memory --sizes 1024 2048 4096
    python benchmarks/inference.py --seams [--checkpoint FILE --images FILE...]

`--memory` tells the peak of each, in a process of its own: what it holds at most (VmHWM) beyond what it held before
(VmRSS), when the image was in memory and a small one had been segmented; on CUDA the tensors of the device beside it. That
of `bare` is the workspace of the network. `--seams` tells how much probabilities jump where a tile starts or ends, by how
much they jump elsewhere; `whole` is what one forward pass of the whole image does at the same places, where it has no seams: a
ratio near its own means that none is seen. Random weights say little of that, trained ones do.
"""

import argparse
import ctypes
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from seams import seams
from sliding import BARE, EXACT, LEVELS, WAYS, WIDTH, Pixels, Setting, noise

from patchseg import device as devices
from patchseg.models.unet import halo

WARM_UP = 2
OPTIONAL = ("monai", "tiler")


def contenders(asked: list[str]) -> list[str]:
    """Return the ways that can be measured here, the bare network first; tell which cannot."""
    missing = [package for package in OPTIONAL if importlib.util.find_spec(package) is None]
    for package in missing:
        print(f"{package} is not installed: skipped")
    return [name for name in WAYS if name in {BARE, *asked} and name.split("-")[0] not in missing]


def possible(names: list[str], tile: int) -> list[str]:
    """Return them without `exact`, where tiles are no larger than its halos."""
    return [name for name in names if name != f"patchseg-{EXACT}" or tile > 2 * halo(LEVELS)]


def setting_of(options: argparse.Namespace, name: str) -> Setting:
    """Return the networks on a device."""
    device = devices.choose(name)
    precision = devices.resolve_precision(options.precision, device)
    return Setting.of(device, precision, options.tile, batch=options.batch)


def describe(setting: Setting) -> str:
    """Return what all have in common, in words."""
    return (
        f"tiles of {setting.tile} x {setting.tile}, batches of {setting.batch}, {WIDTH[setting.device.type]} wide, "
        f"{setting.precision} on {devices.describe(setting.device)}, torch {torch.__version__}"
    )


def times(options: argparse.Namespace) -> None:
    """Print a table a device and size."""
    names = possible(contenders(options.contenders), options.tile)
    for device in options.devices:
        setting = setting_of(options, device)
        for size in options.sizes:
            image = noise(size, size)
            print(f"{size} x {size} RGB, {len(setting.grid(image))} {describe(setting)}", flush=True)
            same = agreement(setting, image, names)
            took = rounds(setting, image, names, options.pairs)
            tell_times(took, size**2, same)
            tell_exact(took, options.tile)


def agreement(setting: Setting, image: Pixels, names: list[str]) -> dict[str, float]:
    """Warm up; return the share of pixels that get the class that the first one gives them."""
    same: dict[str, float] = {}
    for _ in range(WARM_UP):
        reference: Pixels | None = None
        for name in names:
            mask = WAYS[name](setting, image)
            if mask.size:
                reference = mask if reference is None else reference
                same[name] = float((mask == reference).mean())
    return same


def rounds(setting: Setting, image: Pixels, names: list[str], count: int) -> dict[str, list[float]]:
    """Let all take turns, every other round from the last to the first; return the seconds of each."""
    took: dict[str, list[float]] = {name: [] for name in names}
    for number in range(count):
        for name in names[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            WAYS[name](setting, image)
            took[name].append(time.perf_counter() - start)
    return took


def spread(values: list[float], digits: int) -> str:
    """Return median and quartiles in words."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def tell_times(took: dict[str, list[float]], pixels: int, same: dict[str, float]) -> None:
    """Print a line a contender."""
    print(f"{len(took[BARE])} rounds; median (quartiles)")
    print(f"{'':24}{'megapixels a second':>28}{'times as long as bare':>28}{'same class':>12}")
    for name, each in took.items():
        ratios = [one / least for one, least in zip(each, took[BARE], strict=True)]
        speeds = [pixels / 1e6 / one for one in each]
        alike = f"{same[name]:.2%}" if name in same else ""
        print(f"{name:24}{spread(speeds, 3):>28}{spread(ratios, 3):>28}{alike:>12}", flush=True)


def tell_exact(took: dict[str, list[float]], tile: int) -> None:
    """Print how fast `exact` is by `flat`, and by the most that it can be."""
    flat, exact = (took.get(f"patchseg-{blend}") for blend in ("flat", EXACT))
    if flat and exact:
        ratios = [one / other for one, other in zip(flat, exact, strict=True)]
        most = 4 * (1 - 2 * halo(LEVELS) / tile) ** 2
        shares = [ratio / most for ratio in ratios]
        print(
            f"exact is {spread(ratios, 3)} times as fast as flat; {spread(shares, 3)} of {most:.3f}",
            flush=True,
        )


def memory(options: argparse.Namespace) -> None:
    """Print a table a device: the peaks by size, in all and by the pixel, and by each pixel more than before."""
    names = possible(contenders(options.contenders), options.tile)
    for device in options.devices:
        print(describe(setting_of(options, device)))
        print("MB beyond what was held before, bytes a pixel, bytes a pixel more than at the size before")
        print(f"{'':24}{'size':>8}" + "".join(f"{f'{where} MB':>14}{'a pixel':>10}{'more':>10}" for where in
              ("host", *(["device"] if device == "cuda" else []))))  # fmt: skip
        for name in names:
            before, known = 0, dict.fromkeys(("host", "device"), 0)
            for size in sorted(options.sizes):
                peaks, pixels = peaks_of(name, size, device, options), size**2
                line = f"{name:24}{size:8}"
                for where, peak in peaks.items():
                    more = f"{(peak - known[where]) / (pixels - before):10.2f}" if before else " " * 10
                    line += f"{peak / 1e6:14.1f}{peak / pixels:10.2f}{more}"
                print(line, flush=True)
                before, known = pixels, peaks


def peaks_of(name: str, size: int, device: str, options: argparse.Namespace) -> dict[str, int]:
    """Measure one contender in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--sizes", str(size), "--devices", device]
    for option in ("tile", "batch", "precision", "threads"):
        if (value := getattr(options, option)) is not None:
            command += [f"--{option}", str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    peaks: dict[str, int] = json.loads(done.stdout)
    return peaks


def one(options: argparse.Namespace) -> None:
    """Print the peaks of one contender in this process, in bytes, as JSON."""
    way, setting = WAYS[options.one], setting_of(options, options.devices[0])
    for _ in range(WARM_UP):  # loads libraries, and the workspace of the network, which no image enlarges
        way(setting, noise(3 * setting.tile, 3 * setting.tile))
    image = noise(options.sizes[0], options.sizes[0])
    on_cuda = setting.device.type == "cuda"
    if on_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held_there = torch.cuda.memory_allocated()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # lest freed memory count as held here, and be used unseen there
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is held
    held = resident("VmRSS")
    way(setting, image)
    peaks = {"host": resident("VmHWM") - held}
    if on_cuda:
        peaks["device"] = torch.cuda.max_memory_allocated() - held_there
    print(json.dumps(peaks))


def resident(what: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def main() -> None:
    """Read the options and measure."""
    there = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for measure, what in ((memory, "peaks of memory"), (seams, "jumps at the borders of tiles")):
        parser.add_argument(
            f"--{measure.__name__}", dest="measure", action="store_const", const=measure, default=times,
            help=f"tell {what} instead",
        )  # fmt: skip
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, default=15, help="rounds [15]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024], help="sides of the images [1024]")
    parser.add_argument(
        "--devices", nargs="+", default=there, choices=there, help="where [all there are]; seams on the last"
    )
    parser.add_argument(
        "--contenders", nargs="+", default=[*WAYS], choices=[*WAYS], metavar="NAME", help="beside bare [all]"
    )
    parser.add_argument("--tile", type=int, default=96, help="side of a tile [96]")
    parser.add_argument("--batch", type=int, help="tiles a forward pass [4, on CUDA 32]")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"], help="[as infer]")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU [2]")
    parser.add_argument("--checkpoint", type=Path, help="a trained network for the seams [random weights]")
    parser.add_argument("--images", type=Path, nargs="+", default=[], help="images for the seams [synthetic]")
    options = parser.parse_args()
    devices.set_threads(options.threads)
    devices.keep_freed()  # for all of them, as `infer` does
    (one if options.one else options.measure)(options)


if __name__ == "__main__":
    main()
