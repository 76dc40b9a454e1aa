"""Raw tiles -> class probabilities: the one place where logits meet softmax, and several opinions become one."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from patchseg import device as devices
from patchseg.parameters import Precision
from patchseg.progress import counted


class Symmetry(NamedTuple):
    """One of the eight ways in which a square can be laid on itself: a mirror image, then quarter turns."""

    mirrored: bool
    quarters: int

    def apply(self, images: Tensor) -> Tensor:
        """Return images (..., h, w) so laid; of odd quarters (..., w, h)."""
        return torch.rot90(images.flip(-1) if self.mirrored else images, self.quarters, (-2, -1))

    def undo(self, images: Tensor) -> Tensor:
        """Return images that `apply` has changed as they were."""
        turned = torch.rot90(images, -self.quarters, (-2, -1))
        return turned.flip(-1) if self.mirrored else turned


_AS_IT_IS = Symmetry(False, 0)
SYMMETRIES: dict[str, tuple[Symmetry, ...]] = {
    "none": (_AS_IT_IS,),
    "flips": (_AS_IT_IS, Symmetry(True, 0), Symmetry(True, 2), Symmetry(False, 2)),
    "all": tuple(Symmetry(mirrored, quarters) for mirrored in (False, True) for quarters in range(4)),
}


class Predictor:
    """Networks that predict tiles together: the mean of their probabilities, and of those of turned tiles.

    Where the device has no memory for a batch, it is predicted in halves from then on.

    Args:
        networks: Each from raw pixels (N, C, h, w) to logits (N, K, h, w), in evaluation mode. They are taken over.
        device: Where they run.
        precision: "bf16", "fp16" or "fp32".
        symmetries: In which ways tiles are laid before each of the networks; their probabilities are laid back.
        entropy: Whether the mean entropy of all those opinions, in nats, comes as one more class.
        tell: Told when the batch is halved, and when sums go to the host.

    Attributes:
        device: Where the networks run.
        precision: In which they do.
        at_once: Tiles that are predicted together since a whole batch was too much; None before.
        sums_on: Where probabilities are to be added up: the device, or the host since the device had no memory left for both.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        device: torch.device,
        precision: Precision = "fp32",
        *,
        symmetries: Sequence[Symmetry] = SYMMETRIES["none"],
        entropy: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.device, self.precision = device, precision
        self.networks = [_placed(network, device, precision) for network in networks]
        self.entropy, self._symmetries, self._tell = entropy, symmetries, tell
        self.at_once: int | None = None
        self.sums_on = device

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        """Return probabilities (N, K, h, w) float32 that sum to 1 over K; with entropy (N, K + 1, h, w).

        Args:
            tiles: (N, h, w, C) raw pixels, any dtype.
        """
        while True:
            size = self.at_once or len(tiles)
            try:
                parts = [self._predict(part) for part in torch.split(tiles, size)]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except devices.OUT_OF_MEMORY as error:
                if size == 1 or not devices.is_out_of_memory(error):
                    raise
            self.at_once = size // 2
            self._tell(f"out of memory; {counted(self.at_once, 'tile')} at a time from here on")

    def make_room(self) -> None:
        """Leave the memory of the device to the networks from here on."""
        self.sums_on = torch.device("cpu")
        self._tell("out of memory; probabilities are added up in the host's memory from here on")

    def _predict(self, tiles: Tensor) -> Tensor:
        # A view of channels-last memory already; the network scales and casts.
        images = tiles.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        total: Tensor | None = None
        for network, symmetry in product(self.networks, self._symmetries):
            opinion = self._opinion(network, images, symmetry)
            if self.entropy:
                opinion = torch.cat([opinion, entropy(opinion)[:, None]], dim=1)
            # One after the other: a sum over a stack may round by where a tile lies in its batch.
            total = opinion if total is None else total.add_(opinion)
        assert total is not None
        count = len(self.networks) * len(self._symmetries)
        return total if count == 1 else total.div_(count)

    def _opinion(self, network: nn.Module, images: Tensor, symmetry: Symmetry) -> Tensor:
        if symmetry != _AS_IT_IS:  # torch turns no 16-bit integers
            images = symmetry.apply(images.float()).contiguous(memory_format=torch.channels_last)
        with devices.autocast(self.device, self.precision):
            logits = network(images)
        probabilities = softmax(logits.float())
        return symmetry.undo(probabilities) if symmetry != _AS_IT_IS else probabilities


def _placed(network: nn.Module, device: torch.device, precision: Precision) -> nn.Module:
    """Move a network to the device, its convolutions at the precision: autocast would cast their weights for each batch."""
    placed: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if precision != "fp32":
        for layer in placed.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.to(devices.number_type(precision))
    return placed


def softmax(logits: Tensor) -> Tensor:
    """Return the probabilities of logits (N, K, h, w), of each tile as if it were alone.

    On the CPU threads share out a whole batch in pieces, at whose ends torch rounds in another way than in their
    middle: what became of a tile would depend on its place in the batch.
    """
    if logits.device.type != "cpu":
        return logits.softmax(dim=1)
    # Class by class, as they are added up.
    probabilities = torch.empty(logits.shape)
    for tile, result in zip(logits, probabilities, strict=True):
        torch.softmax(tile, 0, out=result)
    return probabilities


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy in nats over the second axis from the left of (N, K, h, w), (N, h, w).

    >>> entropy(torch.tensor([[[[0.5]], [[0.5]]], [[[1.0]], [[0.0]]]])).flatten()
    tensor([0.6931, 0.0000])
    """
    found: Tensor = torch.special.entr(probabilities).sum(dim=1)
    return found


def most_probable(probabilities: Tensor) -> Tensor:
    """Return the class of the highest probability, (h, w) uint8; the first of equals.

    A running maximum, which is fifty times faster on the CPU than `argmax` over the first axis.

    >>> most_probable(torch.tensor([[[0.2, 0.5]], [[0.8, 0.5]]]))
    tensor([[1, 0]], dtype=torch.uint8)
    """
    best = probabilities[0]
    classes = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for index, other in enumerate(probabilities[1:], 1):
        # A later class has a higher number, so the largest number of those that led is the last that did.
        torch.maximum(classes, (other > best).view(torch.uint8) * index, out=classes)
        best = torch.maximum(best, other)
    return classes
