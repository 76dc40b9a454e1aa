"""An image, its mask and all that `infer` lays beside it, made up and small."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile

from patchseg.imaging.write import open_writer
from patchseg.view import view
from patchseg.view.server import Server

EVIL = "<script>alert(1)</script>\"'&"


class Job(NamedTuple):
    """Files on the disk, and what is in them."""

    image: Path
    mask: Path
    pixels: np.ndarray
    classes: np.ndarray


@pytest.fixture
def job(tmp_path) -> Job:
    """Write an image of 300 x 400, half a micrometre a pixel, its mask of three classes, and three layers beside that."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (300, 400, 3)).astype(np.uint8)
    classes = np.zeros((300, 400), np.uint8)
    classes[50:150, 60:200], classes[200:260, 100:350], classes[:5] = 1, 2, 255
    image, masks = tmp_path / "a.tif", tmp_path / "masks"
    resolution = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        image, pixels, photometric="rgb", tile=(64, 64), compression="deflate", metadata=None, **resolution
    )
    colors = np.array([[0, 0, 0], [230, 159, 0], [86, 180, 233]], np.uint8)
    with open_writer(masks / "a.png", classes.shape, palette=colors) as writer:
        writer.write(classes)
    shares = np.full((300, 400, 3), 0.1, np.float16)
    np.put_along_axis(shares, np.where(classes == 255, 0, classes)[:, :, None], 0.8, axis=2)
    layers = {
        "probabilities": shares, "confidence": np.full((300, 400), 0.75, np.float16),
        "disagreement": np.full((300, 400), 0.25, np.float16),
    }  # fmt: skip
    for kind, numbers in layers.items():
        with open_writer(masks / kind / "a.tif", numbers.shape, np.float16) as writer:
            writer.write(numbers)
    names = [("ground", "#000000"), (EVIL, "#e69f00"), ("ellipse", "#56b4e9")]
    record = {
        "data.classes": [{"name": name, "value": place, "color": color} for place, (name, color) in enumerate(names)],
        "infer.images": [str(image)],
    }  # fmt: skip
    content = {key: {"value": value, "source": "call"} for key, value in record.items()}
    (masks / "parameters.effective.json").write_text(json.dumps(content))
    return Job(image, masks / "a.png", pixels, classes)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Have `view` serve in a thread: `serve(image, mask)` returns the server."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(*arguments: object, **options: object) -> Server:
        started, servers = threading.Event(), []

        def ready(server: Server) -> None:
            servers.append(server)
            started.set()

        thread = threading.Thread(
            target=view, args=arguments, kwargs={"browser": False, "ready": ready, **options}
        )
        thread.start()
        assert started.wait(20)
        running.append((servers[0], thread))
        return servers[0]

    yield start
    for server, thread in running:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()
