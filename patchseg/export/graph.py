"""A network as an ONNX graph for images of any size and number: raw pixels in, logits or probabilities out."""

import json
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from patchseg import __version__
from patchseg.errors import PatchsegError, UsageError, first_line
from patchseg.inference.engine import tile_for
from patchseg.models import Network
from patchseg.models.checkpoint import Checkpoint
from patchseg.models.folding import folded
from patchseg.models.plain import as_json
from patchseg.models.pooling import pooled
from patchseg.models.session import INPUT, PREFIX, OnnxNetwork, sealed
from patchseg.parameters import Result

OPSET = 18  # of onnx 1.13 and newer; what torch's exporter writes without converting
TOLERANCE = 1e-3  # of the largest number


class _Raw(nn.Module):
    """What is exported: the network, with the softmax where probabilities are wanted."""

    def __init__(self, network: nn.Module, result: Result) -> None:
        super().__init__()
        self.network, self.softmax = network, nn.Softmax(1) if result == "probabilities" else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.softmax(self.network(pixels))
        return found


def graph_of(checkpoint: Checkpoint, result: Result) -> tuple[bytes, float]:
    """Return an ONNX file of a checkpoint, and the largest difference of what it gives to what torch does.

    The input "pixels" is (N, C, H, W) float32, on the scale of the image files, and the output (N, K, H, W) float32 has the name
    of `result`. Normalization and padding are inside, batch norms folded.

    Raises:
        UsageError: A package is not installed.
        PatchsegError: The network cannot be exported, or gives something else than torch by more than 1e-3 of its largest number.
    """
    network = checkpoint.network()
    model = _exported(network, checkpoint.model["name"], result)
    for key, value in metadata_of(checkpoint, network, result).items():
        model.metadata_props.add(key=PREFIX + key, value=json.dumps(as_json(value)))
    graph = sealed(model.SerializeToString())
    try:
        found = difference(_Raw(network, result), OnnxNetwork(graph), network)
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise PatchsegError(
            f"the network {checkpoint.model['name']} as ONNX does not run at all sizes ({first_line(error)}), so nothing is "
            "written; export it as safetensors"
        ) from error
    if not found <= TOLERANCE:  # NaN is none
        raise PatchsegError(
            f"the network {checkpoint.model['name']} gives something else as ONNX, by {found:.2g} of its largest number "
            f"({TOLERANCE:g} at most is right), so nothing is written; export it as safetensors"
        )
    return graph, found


def metadata_of(checkpoint: Checkpoint, network: Network, result: Result) -> dict[str, Any]:
    """Return what stands in the metadata of a graph, all that a checkpoint knows but its weights."""
    return checkpoint.facts() | {
        "version": __version__,
        "result": result,
        "palette": checkpoint.classes.palette.tolist(),
        "normalization": {
            "mean": network.mean.tolist(),
            "std": network.std.tolist(),
        },  # inside, for information
        "tile": tile_for(checkpoint.patch),
        "factor": network.factor,
        "halo": network.halo,
    }


@torch.inference_mode()
def difference(network: nn.Module, other: nn.Module, like: Network) -> float:
    """Return the largest difference of what two networks give to images of three sizes, by the largest number of the first.

    Args:
        network: (N, C, H, W) float32 -> (N, K, H, W).
        other: Likewise.
        like: Of which pixels are drawn by normalization, and sizes chosen by factor.
    """
    factor, draw = like.factor, torch.Generator().manual_seed(0)
    side, found = max(64, 4 * factor), []
    # The last sides are odd multiples of the factor, and beyond what a network pads small images to.
    for shape in (
        (1, side, side),
        (2, side + 1, side + 3),
        (1, 2 * side + 3 * factor, 2 * side + 5 * factor),
    ):
        noise = torch.randn(shape[0], len(like.mean), *shape[1:], generator=draw)
        pixels = noise * like.std[:, None, None] + like.mean[:, None, None]
        expected = network(pixels)
        found.append((other(pixels) - expected).abs().max() / expected.abs().max())
    return float(torch.stack(found).max())  # NaN, where one is


def _exported(network: Network, name: str, result: Result) -> Any:
    """Return the ModelProto of a network."""
    _require_packages()
    # Neither side a multiple of what networks pad to, and none of the sizes 1, which would be taken for constant.
    example = torch.zeros(2, len(network.mean), 4 * network.factor + 33, 4 * network.factor + 35)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch's exporter says of itself
            program: Any = torch.onnx.export(
                _traced(_Raw(folded(network), result).eval(), example), (example,), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=[INPUT], output_names=[result],
            )  # fmt: skip
    except Exception as error:
        raise PatchsegError(
            f"the network {name} cannot be written as ONNX for images of any size ({first_line(error)}); export it as "
            "safetensors"
        ) from error
    return _cleaned(program.model_proto)


def _traced(network: nn.Module, example: Tensor) -> Any:
    """Return the ExportedProgram of a network for images of any number and size, adaptive pooling as `pooled` does it."""
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    pooling = torch.ops.aten.adaptive_avg_pool2d.default
    program = torch.export.export(network, (example,), dynamic_shapes={INPUT: sizes}, strict=False)
    if all(node.target != pooling for node in program.graph.nodes):
        return program  # without a second pass over large graphs
    return program.run_decompositions({pooling: pooled})


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the package {error.name}, which writes ONNX files, is not installed; `pip install 'patchseg[onnx]'`"
        ) from None


def _cleaned(model: Any) -> Any:
    """Return a model with sizes named N, H and W, and without the lines of source, and their paths, that its nodes come from."""
    for value in (*model.graph.input, *model.graph.output):
        sizes = value.type.tensor_type.shape.dim
        for place, size in zip((0, 2, 3), "NHW", strict=True):
            sizes[place].dim_param = size
    del model.graph.value_info[:]  # other names for the same sizes
    parts = [
        model,
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ]
    for part in [*parts, *model.functions]:
        del part.metadata_props[:]
        part.doc_string = ""
    return model
