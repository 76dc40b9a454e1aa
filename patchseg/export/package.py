"""A package for bioimage.io: a zip of rdf.yaml, ONNX weights, tensors to test them with, a cover and the model card.

Source: the model format 0.5 of https://github.com/bioimage-io/spec-bioimage-io.
"""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from patchseg import __version__
from patchseg.export.facts import Told
from patchseg.export.graph import OPSET
from patchseg.imaging import picture
from patchseg.imaging.files import whole
from patchseg.imaging.source import Array
from patchseg.models import Network
from patchseg.models.checkpoint import Checkpoint
from patchseg.models.session import INPUT, OnnxNetwork
from patchseg.parameters import ExportParameters, Result

FORMAT = "0.5.4"
# What is to be cited with networks whose names begin so: text, DOI.
PAPERS = {
    "unet": (
        "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015",
        "10.1007/978-3-319-24574-4_28",
    ),
    "enet": (
        "Paszke, Chaurasia, Kim, Culurciello: ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation. 2016",
        "10.48550/arXiv.1606.02147",
    ),
    "segnet": (
        "Badrinarayanan, Kendall, Cipolla: SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation. 2017",
        "10.48550/arXiv.1511.00561",
    ),
    "lite_hrnet": (
        "Yu, Xiao, Gao, Yuan, Zhang, Sang, Wang: Lite-HRNet: A Lightweight High-Resolution Network. CVPR 2021",
        "10.48550/arXiv.2104.06403",
    ),
}
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip knows, so that equal contents are equal bytes


def write_package(
    path: Path,
    checkpoint: Checkpoint,
    graph: bytes,
    told: Told,
    parameters: ExportParameters,
    *,
    card: str,
    result: Result,
) -> None:
    """Write a package.

    Args:
        path: The zip.
        checkpoint: What it is made of.
        graph: The ONNX file.
        told: What is told with it.
        parameters: Author, licence, what is to be cited.
        card: The model card.
        result: What the graph gives.

    Raises:
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full.
    """
    network = checkpoint.network()
    image = _test_image(told.sample, checkpoint, network)
    pixels = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
    found = OnnxNetwork(graph)(torch.from_numpy(pixels)).numpy()
    files = {
        "weights.onnx": graph,
        "test_input.npy": _npy(pixels),
        "test_output.npy": _npy(found),
        "cover.png": _cover(image, found[0].argmax(0).astype(np.uint8), checkpoint),
        "README.md": card.encode(),
    }
    digests = {
        name: {"source": name, "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    description = describe(checkpoint, network, told, parameters, result=result, files=digests)
    # JSON is YAML, too.
    files["rdf.yaml"] = json.dumps(description, indent=1).encode()
    with whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), content, zipfile.ZIP_DEFLATED)


def describe(
    checkpoint: Checkpoint,
    network: Network,
    told: Told,
    parameters: ExportParameters,
    *,
    result: Result,
    files: dict[str, dict[str, str]],
) -> dict[str, Any]:
    """Return what rdf.yaml says.

    Args:
        checkpoint: What the package is made of.
        network: Its network.
        told: What is told with it.
        parameters: Author, licence, what is to be cited.
        result: What the graph gives.
        files: {name: {source, sha256}}.
    """
    smallest = smallest_side(network)
    names = ", ".join(checkpoint.classes.names)
    out: list[dict[str, Any]] = [
        {"type": "batch"},
        {"type": "channel", "channel_names": list(checkpoint.classes.names)},
        *({"type": "space", "id": axis, "size": {"tensor_id": INPUT, "axis_id": axis}} for axis in "yx"),
    ]
    if network.halo is not None:
        out[2:] = [axis | {"halo": network.halo} for axis in out[2:]]
    description: dict[str, Any] = {
        "type": "model", "format_version": FORMAT, "name": allowed(told.title), "version": "0.1.0",
        "description": f"Gives each pixel of an image one of the classes {names}"[:512],
        "authors": [{"name": name.strip()} for name in (parameters.author or "").split(",") if name.strip()],
        "cite": cited(checkpoint.model["name"], parameters.cite),
        "documentation": files["README.md"], "covers": [files["cover.png"]],
        "tags": ["semantic-segmentation", "2d", "pytorch", "patchseg", checkpoint.model["name"]],
        "inputs": [{
            "id": INPUT, "description": f"raw pixels, on the scale of image files of {checkpoint.dtype}",
            "axes": [
                {"type": "batch"},
                {"type": "channel", "channel_names": [str(channel["name"]) for channel in checkpoint.channels]},
                *({"type": "space", "id": axis, "size": {"min": smallest, "step": network.factor}} for axis in "yx"),
            ],
            "data": {"type": "float32"}, "test_tensor": files["test_input.npy"],
        }],
        "outputs": [{
            "id": result, "description": f"{result} of the classes", "axes": out,
            "data": {"type": "float32"} | ({"range": [0, 1]} if result == "probabilities" else {}),
            "test_tensor": files["test_output.npy"],
        }],
        "weights": {"onnx": files["weights.onnx"] | {"opset_version": OPSET}},
        "config": {"patchseg": {"version": __version__, "classes": checkpoint.classes.to_json()}},
    }  # fmt: skip
    if parameters.license:
        description["license"] = parameters.license
    return description


def cited(network: str, doi: str | None) -> list[dict[str, str]]:
    """Return what is to be cited: what the given DOI names, and the paper of the network where it is known.

    >>> [entry["doi"] for entry in cited("unet", "10.5281/zenodo.1")]
    ['10.5281/zenodo.1', '10.1007/978-3-319-24574-4_28']
    >>> [entry["doi"] for entry in cited("lite_hrnet_18", None)], cited("unknown", None)
    (['10.48550/arXiv.2104.06403'], [])
    """
    papers = [] if doi is None else [{"text": f"doi:{doi}", "doi": doi}]
    known = [
        {"text": text, "doi": known} for name, (text, known) in PAPERS.items() if network.startswith(name)
    ]
    return papers + known


def allowed(title: str) -> str:
    """Return a name of 5 to 128 characters, of those that bioimage.io allows.

    >>> allowed("Nuclei/HeLa, v2"), allowed("EM")
    ('Nuclei_HeLa_ v2', 'EM model')
    """
    name = re.sub(r"[^A-Za-z0-9_+\- ()]", "_", title)
    return (name if len(name) >= 5 else f"{name} model")[:128]


def smallest_side(network: Network) -> int:
    """Return the smallest side of an image of which a middle is left without its halo, 64 at least."""
    least = max(64, 2 * (network.halo or 0) + network.factor)
    return -(-least // network.factor) * network.factor


def _test_image(sample: Array | None, checkpoint: Checkpoint, network: Network) -> Array:
    """Return (s, s, C): the middle of a validation image, mirrored where it is too small; noise where there is none."""
    smallest, channels = smallest_side(network), len(checkpoint.channels)
    if sample is None:
        drawn = np.random.Generator(np.random.Philox(0)).standard_normal((smallest, smallest, channels))
        noise = drawn * network.std.numpy() + network.mean.numpy()
        kind = np.dtype(checkpoint.dtype)
        if kind.kind in "iu":
            noise = np.clip(np.rint(noise), np.iinfo(kind).min, np.iinfo(kind).max)
        return np.asarray(noise.astype(kind))
    wanted = smallest + (max(0, min(256, *sample.shape[:2]) - smallest) // network.factor) * network.factor
    start = [max(0, (size - wanted) // 2) for size in sample.shape[:2]]
    middle = sample[start[0] : start[0] + wanted, start[1] : start[1] + wanted]
    lacking = [(0, wanted - size) for size in middle.shape[:2]]
    return np.pad(middle, [*lacking, (0, 0)], mode="symmetric")


def _cover(image: Array, mask: NDArray[np.uint8], checkpoint: Checkpoint) -> bytes:
    """Return a PNG twice as wide as high: image and mask."""
    sides = [picture.to_rgb8(image), picture.colorize(mask, checkpoint.classes.palette)]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(sides, axis=1)).save(buffer, format="PNG")
    return buffer.getvalue()


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
