"""Whatever ends `infer`, the same command once more goes on where it was, and the bytes are those of a run in one go."""

import json
import os
import random
import signal
import socket
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.patches.pairs import RECORD

SECONDS = 120  # until a process that should have come far enough is given up
ALL = "--probabilities", "--confidence", "--disagreement", "--overlay", "--polygons", "--areas"


@pytest.fixture(scope="module")
def line(tmp_path_factory, make):
    """Write two large images and a small one; return the command line that segments them."""
    folder, draw = tmp_path_factory.mktemp("line"), np.random.default_rng(0)
    (folder / "in").mkdir()
    for name, shape in (("a.tif", (1600, 130)), ("b.tif", (90, 110)), ("c.png", (25, 31))):
        pixels = np.kron(draw.integers(0, 256, (270, 40), np.uint8), np.ones((6, 6), np.uint8))
        pixels = pixels[: shape[0], : shape[1]]
        path = folder / "in" / name
        Image.fromarray(pixels).save(path) if name == "c.png" else tifffile.imwrite(
            path, pixels, tile=(32, 32)
        )
    make(classes=3, width=8).save(folder / "best.pt")
    words = [
        "infer",
        folder / "in",
        "-m",
        folder / "best.pt",
        "--threads",
        1,
        "--device",
        "cpu",
        "--tile",
        32,
    ]
    return [*words, *ALL]


def ended(process):
    """Wait for the end; return the exit code."""
    process.join(SECONDS)
    assert process.exitcode is not None
    return process.exitcode


def told(folder):
    return (folder / "told").read_text()


def contents(folder):
    """Return the bytes of all files that the images became, by their path."""
    paths = (path for path in (folder / "masks").rglob("*") if path.is_file() and path.name != RECORD)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, held in found.items():
        assert held == expected[name], name


def rows(folder, name="a"):
    """Return how many rows of a large image are finished."""
    journals = (folder / f"masks/.patchseg/stages/{name}.stage").glob("*.jsonl")
    lines = [line for journal in journals for line in journal.read_text().split("\n") if line.endswith("]")]
    return sum(json.loads(line)[2] for line in lines)


def wait_for(process, condition):
    until = time.monotonic() + SECONDS
    while not condition():
        assert process.exitcode is None
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.fixture(scope="module")
def expected(launch, line, tmp_path_factory):
    """Return what becomes of the images in one go, and how long that takes."""
    folder = tmp_path_factory.mktemp("straight")
    seconds = []
    for name in ("first", "second"):  # the first waits for the imports
        start = time.monotonic()
        assert ended(launch(folder / name, *line)) == 0, told(folder / name)
        seconds.append(time.monotonic() - start)
    assert_same(contents(folder / "first"), contents(folder / "second"))
    return contents(folder / "first"), seconds[1]


def test_after_kills_at_random_moments_nothing_is_different(launch, line, tmp_path, expected):
    whole, seconds = expected
    for _ in range(3):
        process = launch(tmp_path, *line)
        time.sleep(random.uniform(0.1, 0.7) * seconds)
        process.kill()
        assert ended(process) in (0, -signal.SIGKILL)
    assert ended(launch(tmp_path, *line)) == 0, told(tmp_path)
    assert_same(contents(tmp_path), whole)
    assert ended(launch(tmp_path, *line)) == 0
    assert "3 images on CPU, 1 thread; 3 finished already\n" in told(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_what_was_finished_and_say_so(launch, line, tmp_path, expected, number):
    process = launch(tmp_path, *line)
    wait_for(process, lambda: rows(tmp_path) >= 48)
    os.kill(process.pid, number)
    assert ended(process) == 130
    assert told(tmp_path).endswith("stopped; what is finished is in masks, and the same command goes on\n")
    assert "Traceback" not in told(tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    assert 48 <= rows(tmp_path) < 1600
    assert ended(launch(tmp_path, *line)) == 0, told(tmp_path)
    assert_same(contents(tmp_path), expected[0])


def ranks(port, rank):
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_a_process_of_several_that_dies_leaves_its_share_to_the_same_command(
    launch, line, tmp_path, expected
):
    port = free_port()
    both = [launch(tmp_path / str(i), *line, "-o", tmp_path / "masks", **ranks(port, i)) for i in (0, 1)]
    wait_for(both[1], lambda: rows(tmp_path) >= 16)
    both[1].kill()
    assert ended(both[0]) == 0, told(tmp_path / "0")
    left = tmp_path / "masks/.patchseg/stages"
    assert [path.name for path in left.iterdir()]
    port = free_port()
    both = [launch(tmp_path / str(i), *line, "-o", tmp_path / "masks", **ranks(port, i)) for i in (0, 1)]
    for rank, process in enumerate(both):
        assert ended(process) == 0, told(tmp_path / str(rank))
    assert_same(contents(tmp_path), expected[0])
    assert list(left.iterdir()) == []


def test_what_the_first_of_several_processes_refuses_ends_all_with_a_sentence(launch, line, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/c.png").write_text("drawn by hand")
    port = free_port()
    both = [launch(tmp_path / str(i), *line, "-o", tmp_path / "masks", **ranks(port, i)) for i in (0, 1)]
    assert [ended(process) for process in both] == [2, 1]
    assert "Error: " + str(tmp_path / "masks/c.png") + ": exists already" in told(tmp_path / "0")
    assert "Error: another process of the run is gone" in told(tmp_path / "1")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["c.png"]


def test_a_shard_that_dies_leaves_its_share_to_its_own_command_or_to_one_for_all(
    launch, line, tmp_path, expected
):
    first, second = ([*line, "--shard", f"{number}/2"] for number in (1, 2))
    process = launch(tmp_path, *second)
    wait_for(process, lambda: rows(tmp_path) >= 32)
    process.kill()
    ended(process)
    assert ended(launch(tmp_path, *first)) == 0, told(tmp_path)
    assert "share 1 of 2" in told(tmp_path)
    assert contents(tmp_path).keys() != expected[0].keys()
    assert ended(launch(tmp_path, *second)) == 0, told(tmp_path)
    assert_same(contents(tmp_path), expected[0])


def test_shards_at_the_same_time_share_the_images(launch, line, tmp_path, expected):
    names = [f"{number}/3" for number in (1, 2, 3)]
    processes = [
        launch(tmp_path / name[0], *line, "--shard", name, "-o", tmp_path / "masks") for name in names
    ]
    for name, process in zip(names, processes, strict=True):
        assert ended(process) == 0, told(tmp_path / name[0])
    assert_same(contents(tmp_path), expected[0])


def test_what_was_to_be_overwritten_and_was_not_is_not_taken_for_finished(launch, line, tmp_path, expected):
    other = [*line, "--overlap", 0.25]
    assert ended(launch(tmp_path, *other)) == 0, told(tmp_path)
    process = launch(tmp_path, *line, "--overwrite")
    wait_for(process, lambda: rows(tmp_path) >= 16)
    os.kill(process.pid, signal.SIGINT)
    assert ended(process) == 130
    assert told(tmp_path).endswith("and the same command without --overwrite goes on\n")
    assert ended(launch(tmp_path, *line)) == 0, told(tmp_path)
    assert_same(contents(tmp_path), expected[0])


@pytest.mark.slow
def test_after_twenty_kills_at_random_moments_nothing_is_different(launch, line, tmp_path, expected):
    whole, seconds = expected
    folder, kills = tmp_path, 0
    while kills < 20:
        process = launch(folder, *line)
        time.sleep(random.uniform(0, 0.8) * seconds)
        process.kill()
        if ended(process) == 0:  # begin another one
            assert_same(contents(folder), whole)
            folder = tmp_path / f"more {kills}"
        else:
            kills += 1
    assert ended(launch(folder, *line)) == 0, told(folder)
    assert_same(contents(folder), whole)
