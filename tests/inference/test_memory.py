"""What `infer` takes at its peak, each measured in a process of its own: none of it may depend on the height."""

import numpy as np
import pytest
import tifffile

CODE = """
import os, sys
from pathlib import Path

os.environ["TIFFFILE_NUM_THREADS"] = "4"  # as on a machine of eight cores, where tiles are deflated side by side
import patchseg
from patchseg.parameters import InferParameters

checkpoint, image, output, everything = sys.argv[1:]
everything = everything == "True"
patchseg.infer(
    [image],
    checkpoint=checkpoint,
    parameters=InferParameters(
        device="cpu", threads=1, output=output, probabilities=everything, overlay=everything,
        format="tiff" if everything else "auto",  # a PNG is held whole
    ),
)
# Not ru_maxrss: it starts at what the process that called this one had held.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024)
"""

LIMITED = """
import resource, sys
from pathlib import Path
import torch
from patchseg.errors import PatchsegError
from patchseg.inference.infer import infer
from patchseg.parameters import InferParameters

checkpoint, image, output = sys.argv[1:]
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
taken = int(status["VmSize"].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + 256 * 2**20,) * 2)
try:
    infer([image], checkpoint=checkpoint,
          parameters=InferParameters(tile=6000, device="cpu", threads=1, output=output))
except PatchsegError as error:
    print(error)
    sys.exit(error.exit_code)
"""

MEGABYTES = 16
linux = pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/status').exists()")


def write_image(path, height, width, channels):
    """Write noise as a tiled TIFF, uncompressed."""
    draw = np.random.default_rng(0)
    shape, tile = (height, width), (256, 256)
    if channels == 3:
        shape, tile = (*shape, 3), (*tile, 3)
    tiles = (draw.integers(0, 256, tile, np.uint8) for _ in range(-(-height // 256) * -(-width // 256)))
    light = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(
        path, tiles, shape=shape, dtype=np.uint8, tile=(256, 256), photometric=light, metadata=None
    )


@pytest.fixture
def peak(tmp_path, run_python):
    """Measure the peak memory of inferring an image of noise, in MB."""

    def peak(checkpoint, height, width, *, everything=False):
        checkpoint.save(tmp_path / "best.pt")
        write_image(tmp_path / f"{height}.tif", height, width, len(checkpoint.channels))
        output = tmp_path / f"masks {height}"
        done = run_python(CODE, tmp_path / "best.pt", tmp_path / f"{height}.tif", output, everything)
        assert done.returncode == 0, done.stderr
        (tmp_path / f"{height}.tif").unlink()
        print(height, done.stdout)
        return float(done.stdout)

    return peak


@linux
def test_ten_times_the_height_takes_less_than_16_mb_more(peak, make):
    checkpoint = make(width=1, levels=1, patch=96)
    assert peak(checkpoint, 20_000, 1_000) - peak(checkpoint, 2_000, 1_000) < MEGABYTES


@linux
@pytest.mark.slow
def test_twenty_times_the_height_takes_less_than_16_mb_more(peak, make):
    checkpoint = make(width=4, levels=2, patch=96)
    assert peak(checkpoint, 40_000, 1_000) - peak(checkpoint, 2_000, 1_000) < MEGABYTES


@linux
@pytest.mark.slow
def test_a_hundred_thousand_rows_of_1000_pixels_take_less_than_16_mb_more_than_4000(peak, make):
    # A byte that is kept of each pixel would be 96 MB.
    checkpoint = make(width=1, levels=1, patch=96)
    assert peak(checkpoint, 100_000, 1_000) - peak(checkpoint, 4_000, 1_000) < MEGABYTES


@linux
@pytest.mark.slow
def test_an_image_of_more_than_a_gigabyte_is_segmented_within_one(peak, make):
    assert peak(make(channels=3, width=1, levels=1, patch=96), 20_000, 20_000) < 1000


@linux
@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_nor_do_probabilities_overlays_and_another_scale_take_memory_by_the_height(peak, make, scale):
    # The 12,000 rows more of float16 probabilities of two classes alone are 48 MB.
    checkpoint = make(width=1, levels=1, patch=96, scale=scale)
    assert (
        peak(checkpoint, 20_000, 1_000, everything=True) - peak(checkpoint, 8_000, 1_000, everything=True)
        < MEGABYTES
    )


@linux
def test_running_out_of_memory_is_told_with_its_cure_and_leaves_no_half_mask(tmp_path, run_python, make):
    make(width=4, levels=2).save(tmp_path / "best.pt")
    np.save(tmp_path / "a.npy", np.zeros((6000, 6000), np.uint8))
    done = run_python(LIMITED, tmp_path / "best.pt", tmp_path / "a.npy", tmp_path / "masks")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("out of memory")
    assert done.stdout.endswith("; choose a smaller --tile\n")
    assert not (tmp_path / "masks").exists()
