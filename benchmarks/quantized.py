"""Compares int8 with float32 on the CPU: what a small U-Net loses of its mean IoU, and how much faster it predicts.

    python benchmarks/quantized.py DATA OUT [--set nist_cells] [--time 60s] [--width 8] [--threads 2] [--rounds 15] [--side 256]

DATA holds a folder a data set, as for ablation.py, which also says which images are held out for the test. A network learns
for --time; its ONNX file (`patchseg export`) is quantized by onnxruntime (static, QDQ, weights a scale a channel, both of 8 bits),
calibrated on patches of the validation side. Contenders:

    torch     the checkpoint, batch norms folded, channels last: what `infer -m best.pt` runs
    onnx      float32, onnxruntime: what `infer -m model.onnx` runs
    int8      the quantized file, onnxruntime

Each predicts a batch of tiles in turn; told are medians over the rounds of its time as a share of torch's. Scores are those of
whole test images by `Engine`, tiled as `infer` tiles. Where convolutions of the processor have no instructions for 8 bits
(VNNI, AMX), int8 is slower. Time it on a machine that does nothing else.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from ablation import patches, patchseg, prepare, split
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from patchseg import export
from patchseg.device import set_threads
from patchseg.evaluation.metrics import Confusion
from patchseg.imaging import open_image
from patchseg.imaging.box import Box
from patchseg.inference.engine import Engine
from patchseg.inference.predictor import most_probable
from patchseg.models.checkpoint import load
from patchseg.models.session import INPUT
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import find_pairs
from patchseg.patches.store import PatchFile

CPU, BATCH = torch.device("cpu"), 4
CALIBRATED = 64  # patches


class Patches(CalibrationDataReader):
    """Validation patches, one at a time, as onnxruntime asks for them."""

    def __init__(self, path: Path) -> None:
        with PatchFile(path) as file:
            side = "val" if file.counts["val"] else "train"
            step = max(1, file.counts[side] // CALIBRATED)
            images = file.read(side, slice(0, step * CALIBRATED, step))[0]
        self._left = iter(images.transpose(0, 3, 1, 2).astype(np.float32))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next patch, (1, C, S, S), or None after the last."""
        patch = next(self._left, None)
        return None if patch is None else {INPUT: patch[None]}


def quantized(model: Path, patches: Path) -> Path:
    """Write an int8 file beside an ONNX file, and return it; what its metadata say goes along."""
    ready, path = model.with_name("ready.onnx"), model.with_name("int8.onnx")
    # Symbolic shapes of the padding cannot be followed, and are not needed.
    quant_pre_process(str(model), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready), str(path), Patches(patches), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "ConvTranspose", "MaxPool", "Concat"],
    )  # fmt: skip
    return path


def trained(data: Path, out: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """Return patches and checkpoint, made unless they are there."""
    file = patches(out, options.set, "")
    prepare(file, split(data, options.set, out).wanted, "")
    folder = out / "quantized" / options.set
    best = folder / "checkpoints/run/best.pt"
    if not best.exists():
        folder.mkdir(parents=True, exist_ok=True)
        flags = ["--time", options.time, "--width", options.width, "--threads", options.threads]
        patchseg(["train", file, "--name", "run", *flags], folder)
    return file, best


def mean_iou(model: Path, images: Path, truth: Path, threads: int) -> float:
    """Return the mean IoU over all pixels of the test images."""
    engine = Engine.of([model], InferParameters(threads=threads), CPU)
    classes = engine.checkpoint.classes
    total = Confusion(np.zeros((len(classes), len(classes)), np.int64))
    for pair in find_pairs(images, truth):
        with open_image(pair.image) as source, open_image(pair.mask) as mask:
            found = most_probable(torch.cat(list(engine.rows(source)), dim=1)).numpy()
            expected = classes.encode(mask.read(Box(0, 0, *mask.shape[:2])), pair.mask, mask.palette)
        total += Confusion.of(expected, found, len(classes))
    return total.mean_iou


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes, the second time."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Train, quantize, and print a line a contender."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", default="nist_cells", help="[nist_cells]")
    parser.add_argument("--time", default="60s", help="of the training [60s]")
    for flag, number in (("width", 8), ("threads", 2), ("rounds", 15), ("side", 256)):
        parser.add_argument(f"--{flag}", type=int, default=number, help=f"[{number}]")
    options = parser.parse_args()
    data, out = options.data.resolve(), options.out.resolve()
    set_threads(options.threads)
    file, best = trained(data, out, options)
    model = export(best, best.with_name("model.onnx"), overwrite=True)
    files = {"torch": best, "onnx": model, "int8": quantized(model, file)}
    engines = {
        name: Engine.of([path], InferParameters(threads=options.threads), CPU) for name, path in files.items()
    }
    sides, channels = split(data, options.set, out), len(load(best).channels)
    tiles = torch.from_numpy(
        np.random.default_rng(0).uniform(0, 255, (BATCH, options.side, options.side, channels))
    )
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(options.rounds):
        for name in list(engines)[:: -1 if number % 2 else 1]:
            predictor = engines[name].predictor
            times[name].append(seconds(lambda predictor=predictor: predictor(tiles.float())))
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {options.threads} threads, {options.rounds} rounds"
    )
    for name, path in files.items():
        ratios = [took / least for took, least in zip(times[name], times["torch"], strict=True)]
        score = mean_iou(path, sides.images, sides.truth, options.threads)
        print(
            f"{name:6}{path.stat().st_size / 1e3:9.0f} kB{1e3 * statistics.median(times[name]):9.1f} ms"
            f"{statistics.median(ratios):8.2f} of torch{score:10.4f} mean IoU"
        )


if __name__ == "__main__":
    main()
