"""Where the memory of the device runs out, sums go on in the host's: told once, recorded, and no image is lost."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from patchseg.errors import Interrupted
from patchseg.imaging import ArraySource, Box
from patchseg.inference.engine import Engine
from patchseg.inference.infer import infer
from patchseg.inference.predictor import Predictor
from patchseg.inference.segment import Segmenter
from patchseg.inference.stream import stream
from patchseg.inference.tiling import Grid
from patchseg.inference.zones import Zones
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import RECORD

SHAPE = (90, 70)
GPU = torch.device("cuda")
GRIDS = {
    "flat": (Grid(SHAPE, 16), "flat"),
    "gaussian": (Grid(SHAPE, 16, 0.3), "gaussian"),
    "a part": (Grid(SHAPE, 16, 0.5, Box(20, 10, 50, 41)), "flat"),
    "exact": (Zones(SHAPE, 16, 2, 2), "exact"),
}


class Full(nn.Module):
    """Takes gray for the probability of class 0; after so many calls so many others find no memory."""

    def __init__(self, calls, failures):
        super().__init__()
        self.left, self.failures = calls, failures

    def forward(self, pixels):
        self.left -= 1
        if -self.failures <= self.left < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        share = pixels[:, 0].float()
        return torch.stack([share, -share], dim=1)


@pytest.fixture
def fake_gpu():
    """Let there be a GPU whose tensors have shapes and devices, but no numbers: what mixes devices is an error."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield GPU


def image(seed=0):
    return ArraySource(np.random.default_rng(seed).integers(0, 256, SHAPE).astype(np.uint8))


@pytest.mark.parametrize("name", GRIDS)
def test_the_rows_after_it_come_from_the_host_and_none_is_missing(fake_gpu, name):
    grid, window = GRIDS[name]
    predict = Predictor([Full(5, 3)], fake_gpu)
    rows = list(stream(image(), predict, grid, classes=2, window=window, batch=4, device=fake_gpu))
    kinds = [part.device.type for part in rows]
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {"cuda", "cpu"}
    assert sum(part.shape[1] for part in rows) == grid.area.height
    assert {part.shape[2] for part in rows} == {grid.area.width}


@pytest.mark.parametrize(("scale", "calls"), [(1.0, 3), (0.5, 3), (1.5, 6)])
def test_an_engine_tells_it_once_and_begins_on_the_host_with_the_next_image(fake_gpu, make, scale, calls):
    told = []
    predictor = Predictor([Full(calls, 3)], fake_gpu, tell=told.append)
    engine = Engine(make(scale=scale), predictor, tile=16, overlap=0.5, blend="flat", batch=4)
    assert predictor.sums_on == fake_gpu
    first, second = ([part.device.type for part in engine.rows(image())] for _ in range(2))
    assert (first[0], first[-1]) == ("cuda", "cpu")
    assert set(second) == {"cpu"}
    assert told == [
        "out of memory; 2 tiles at a time from here on", "out of memory; 1 tile at a time from here on",
        "out of memory; probabilities are added up in the host's memory from here on",
    ]  # fmt: skip
    assert predictor.sums_on == torch.device("cpu")


def test_where_the_host_has_no_memory_either_the_error_is_told(fake_gpu):
    predict = Predictor([Full(5, 100)], fake_gpu)
    with pytest.raises(torch.OutOfMemoryError):
        list(stream(image(), predict, Grid(SHAPE, 16), classes=2, window="flat", batch=4, device=fake_gpu))


def test_on_the_cpu_sums_have_nowhere_to_go():
    network = Full(5, 3)  # a batch of 4, of 2 and of 1: a fourth call would find memory again
    cpu = torch.device("cpu")
    predict = Predictor([network], cpu)
    with pytest.raises(torch.OutOfMemoryError):
        list(stream(image(), predict, Grid(SHAPE, 16), classes=2, window="flat", batch=4, device=cpu))
    assert network.left == -3


@pytest.mark.gpu
@pytest.mark.parametrize("name", GRIDS)
def test_on_a_gpu_the_numbers_are_those_of_the_cpu(name):
    grid, window = GRIDS[name]
    results = []
    for device, network in ((GPU, Full(5, 3)), (torch.device("cpu"), Full(10**6, 0))):
        bands = stream(
            image(), Predictor([network], device), grid, classes=2, window=window, batch=4, device=device
        )
        results.append(torch.cat([band.cpu() for band in bands], dim=1))
    torch.testing.assert_close(*results, rtol=0, atol=1e-5)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_what_ran_out_is_recorded_even_where_the_work_is_stopped(tmp_path, make, monkeypatch, error, hear):
    np.save(tmp_path / "a.npy", np.zeros((30, 30), np.uint8))
    make().save(tmp_path / "c.pt")
    segment = Segmenter.segment

    def run_out(self, *arguments):
        segment(self, *arguments)
        self.engine.predictor.at_once = 2
        self.engine.predictor.make_room()
        # On a device of its own, of which there is none here.
        self.engine.predictor.device = torch.device("meta")
        if error:
            raise error

    monkeypatch.setattr(Segmenter, "segment", run_out)
    settings = InferParameters(device="cpu", threads=1, output=str(tmp_path / "out"))
    told = hear()
    with pytest.raises(Interrupted) if error else nullcontext():
        infer([tmp_path / "a.npy"], checkpoint=tmp_path / "c.pt", parameters=settings, progress=told)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["compute.tiles_at_once"] == {"value": 2, "source": "memory"}
    assert record["compute.sums_on"] == {"value": "host", "source": "memory"}
    assert told.lines[-1] == "out of memory; probabilities are added up in the host's memory from here on"
