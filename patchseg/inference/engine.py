"""All that turns an image into rows of probabilities: checkpoints and settings in, a stream of rows out."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchseg import device as devices
from patchseg.errors import UsageError
from patchseg.imaging import Box, ImageSource
from patchseg.imaging.scale import ScaledSource
from patchseg.inference.calibration import Calibration, agreed
from patchseg.inference.predictor import SYMMETRIES, Predictor
from patchseg.inference.rescale import RowResampler
from patchseg.inference.stream import Known, stream
from patchseg.inference.tiling import Grid
from patchseg.inference.zones import Zones
from patchseg.models.checkpoint import Checkpoint, load, require_classes
from patchseg.models.folding import folded
from patchseg.models.session import Exported, OnnxNetwork
from patchseg.parameters import InferParameters, Precision

EXACT = "exact"
_EXACT_TILE = (
    512  # the larger, the smaller the share of the halos; but features shall stay in the processor's caches
)
_ONNXRUNTIME: tuple[torch.device, Precision] = (torch.device("cpu"), "fp32")
RESAMPLED = 64  # rows at a time, since that takes a multiple of them


def tile_for(patch: int) -> int:
    """Return the side of tiles for a network that has learned from patches of a side.

    Averaged at half overlap, tiles of 256 score as one big forward pass does, and smaller ones less (docs/results.md).

    >>> tile_for(96), tile_for(512)
    (256, 512)
    """
    return max(256, patch)


@dataclass(frozen=True)
class Engine:
    """What predicts, and how tiles lie.

    Attributes:
        checkpoint: The first of the checkpoints: they agree in all but their networks.
        predictor: Their networks together, batch norms folded.
        tile: Side of the tiles.
        overlap: Share that neighbours cover too; of no meaning to `exact`.
        blend: A key of `WINDOWS`, or "exact".
        batch: Tiles a forward pass.
        calibration: For those who make something of the rows, which are not calibrated; None for nothing of the kind.
    """

    checkpoint: Checkpoint
    predictor: Predictor
    tile: int
    overlap: float
    blend: str
    batch: int
    calibration: Calibration | None = None

    @classmethod
    def of(
        cls,
        checkpoints: Sequence[Path | Checkpoint],
        parameters: InferParameters,
        device: torch.device,
        *,
        tell: Callable[[str], None] = lambda _: None,
    ) -> "Engine":
        """Build it as parameters ask for it; of graphs alone on the CPU, in fp32.

        Raises:
            UsageError: The checkpoints do not go together, or with the parameters.
            DataError: A checkpoint is damaged.
        """
        loaded = [item if isinstance(item, Checkpoint) else load(item) for item in checkpoints]
        for item, checkpoint in zip(checkpoints, loaded, strict=True):
            require_classes(checkpoint, Path("checkpoint") if isinstance(item, Checkpoint) else item)
        _require_alike(checkpoints, loaded)
        devices.keep_freed()
        device, precision = _placed(loaded, device, parameters.precision, tell)
        networks = [folded(checkpoint.network()) for checkpoint in loaded]
        if parameters.blend == EXACT or parameters.verify:
            for network in networks:
                getattr(network, "halo", None)  # is tried once, and in float32
        predictor = Predictor(
            networks, device, precision,
            symmetries=SYMMETRIES[parameters.symmetries], entropy=parameters.disagreement, tell=tell,
        )  # fmt: skip
        tile = parameters.tile or (
            exact_tile_for(_halos(predictor)) if parameters.blend == EXACT else tile_for(loaded[0].patch)
        )
        engine = cls(
            loaded[0], predictor, tile, parameters.overlap, parameters.blend, devices.tile_batch(device, tile),
            agreed(checkpoints, loaded) if parameters.calibrated else None,
        )  # fmt: skip
        engine.require_exact(parameters)
        return engine

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.checkpoint.classes)

    @property
    def arithmetic(self) -> list[tuple[torch.device, Precision]]:
        """Where each of the networks computes, and how precisely, whatever was asked for."""
        asked = self.predictor.device, self.predictor.precision
        return [
            _ONNXRUNTIME if isinstance(network, OnnxNetwork) else asked for network in self.predictor.networks
        ]

    @property
    def planes(self) -> int:
        """Numbers a pixel that rows have: the classes, and one more with entropy."""
        return self.classes + self.predictor.entropy

    def grid(self, shape: tuple[int, int], part: Box | None = None) -> Grid | Zones:
        """Return the tiles of an image at the size that the networks work at, or of a part of it."""
        if self.blend != EXACT:
            return Grid(shape, self.tile, self.overlap, part)
        halo, factor = self.halo
        return Zones(shape, self.tile, halo, factor, part)

    @property
    def halo(self) -> tuple[int, int]:
        """Pixels beyond a zone that decide it, and the multiple at which zones begin: the largest of all networks."""
        factor = math.lcm(*(int(network.factor) for network in self.predictor.networks))  # type: ignore[arg-type]
        return -(-max(halo or 0 for halo in _halos(self.predictor)) // factor) * factor, factor

    def rows(
        self,
        source: ImageSource,
        *,
        scale: float | None = None,
        part: Box | None = None,
        known: Known | None = None,
    ) -> Iterator[Tensor]:
        """Yield the probabilities of an image at its own size, (K, rows, W) float32, from top to bottom.

        They are on the device, or in the host's memory since the device had none left for them.

        Args:
            source: The image.
            scale: Multiple of its size at which the networks work; that of the training by default.
            part: The pixels that are wanted, whose rows are yielded then; None for all.
            known: What is known of a tile, at the scale, without predicting it; see `stream`.
        """
        scale, shape = scale or self.checkpoint.scale, source.shape[:2]
        if scale == 1:
            yield from self._stream(source, part, known)
            return
        at_scale = ScaledSource(source, scale)
        resampler = RowResampler(at_scale.shape[:2], shape, part)
        for band in self._stream(at_scale, resampler.needed, known):
            for rows in torch.split(band, RESAMPLED, dim=1):
                finished = resampler.push(rows)
                if finished is not None:
                    yield finished

    def _stream(self, source: ImageSource, part: Box | None, known: Known | None) -> Iterator[Tensor]:
        for rows in stream(
            source, self.predictor, self.grid(source.shape[:2], part), classes=self.planes, window=self.blend,
            batch=self.batch, device=self.predictor.sums_on, known=known,
        ):  # fmt: skip
            if rows.device.type != self.predictor.sums_on.type:
                self.predictor.make_room()
            yield rows
            del rows

    def require_exact(self, parameters: InferParameters) -> None:
        """Raise a `UsageError` where `exact` or a comparison with one big forward is asked for and cannot be."""
        wanted = "--blend exact" if parameters.blend == EXACT else "--verify" if parameters.verify else ""
        if not wanted:
            return
        if None in _halos(self.predictor):
            raise UsageError(
                f"{wanted}: the network looks at a tile as a whole (group or instance norm, global pooling, attention), or farther than a "
                "tile, so no tile can equal one big forward; choose another --blend, or train another network, of "
                "unet one with --norm batch"
            )
        if parameters.blend == EXACT and parameters.disagreement:
            raise UsageError(
                "--disagreement: exact tiles do not overlap, so they cannot disagree; choose another --blend"
            )
        self.grid((2 * self.tile, 2 * self.tile))  # refuses tiles that are too small


def exact_tile_for(halos: Sequence[int | None]) -> int:
    """Return the side of tiles for --blend exact: half of it zone and half of it halo at least.

    >>> exact_tile_for([48]), exact_tile_for([48, 288]), exact_tile_for([None])
    (512, 1152, 512)
    """
    return max(_EXACT_TILE, *(4 * (halo or 0) for halo in halos))


def _halos(predictor: Predictor) -> list[int | None]:
    return [getattr(network, "halo", None) for network in predictor.networks]


def _placed(
    checkpoints: Sequence[Checkpoint], device: torch.device, wanted: Precision, tell: Callable[[str], None]
) -> tuple[torch.device, Precision]:
    """Return where tiles are predicted, and how precisely; where all networks are graphs, as onnxruntime does it."""
    precision = devices.resolve_precision(wanted, device)
    graphs = [isinstance(checkpoint, Exported) for checkpoint in checkpoints]
    if any(graphs) and (device, precision) != _ONNXRUNTIME:
        tell("networks of ONNX files run on the CPU and in fp32")
    return _ONNXRUNTIME if all(graphs) else (device, precision)


def _require_alike(paths: Sequence[Path | Checkpoint], checkpoints: Sequence[Checkpoint]) -> None:
    """Raise a `UsageError` unless all checkpoints have learned the same classes from images of the same kind."""

    def kind(checkpoint: Checkpoint) -> dict[str, Any]:
        return {
            "classes": checkpoint.classes.names,
            "channels": [channel["name"] for channel in checkpoint.channels],
            "dtype": checkpoint.dtype,
            "scale": checkpoint.scale,
        }

    first = kind(checkpoints[0])
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        for name, value in kind(checkpoint).items():
            if value != first[name]:
                raise UsageError(
                    f"{path}: has learned other {name} ({value}) than {paths[0]} ({first[name]}); only networks that have "
                    "learned alike can be averaged"
                )
