"""What a step learns from, and the parts that it is cut into where memory is short."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

Tree = TypeVar("Tree")


class Views(NamedTuple):
    """Unlabelled patches as a teacher and as a student see them, pixel on pixel.

    Attributes:
        weak: (R, C, S, S), moved and nothing else. R is n, or n + 1 where the patch after the last one is in the share of
            another process.
        truth: (R, S, S) uint8: the labels that some pixels have; 255 for the others.
        strong: V views (n, C, S, S) float32 that are changed strongly, some with a rectangle of the patch after them.
        inside: V masks (n, S, S) bool of those rectangles.
    """

    weak: Tensor
    truth: Tensor
    strong: tuple[Tensor, ...]
    inside: tuple[Tensor, ...]


class Target(NamedTuple):
    """What a teacher says about one view.

    Attributes:
        image: (n, C, S, S) float32: the view.
        labels: (n, S, S) uint8: the most probable class, or the known one; 255 where it is not to be learned.
        probabilities: (n, K, S, S) float32, or None where labels are learned.
        weights: (n, S, S) float32: 1 where it is to be learned, else 0.
    """

    image: Tensor
    labels: Tensor
    probabilities: Tensor | None
    weights: Tensor


class View(NamedTuple):
    """One of two views of some patches, each moved and changed in its own way, with what is contrasted in it.

    Attributes:
        image: (n, C, S, S) float32.
        regions: (n, S, S) uint8: numbers of regions, or classes; 255 = none.
    """

    image: Tensor
    regions: Tensor


class Batch(NamedTuple):
    """What a step learns from, on the device.

    Attributes:
        images: (B, C, S, S) raw pixels of any dtype.
        masks: (B, S, S) uint8.
        views: Unlabelled patches, or None.
        targets: What a teacher says about them, one a view.
        contrasted: Two views of as many patches as have labels, or nothing.
    """

    images: Tensor
    masks: Tensor
    views: Views | None = None
    targets: tuple[Target, ...] = ()
    contrasted: tuple[View, ...] = ()

    def parts(self, most: int) -> "list[Batch]":
        """Cut into batches of so many labelled patches, and of unlabelled ones, at most; the views are left out."""
        return list(_parts(self._replace(views=None), -(-len(self.images) // most), most))


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples.

    >>> import torch
    >>> [len(tensor) for tensor in tensors((torch.zeros(1), None, (torch.zeros(2), ())))]
    [1, 2]
    """
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple):
        for each in tree:
            yield from tensors(each)


def mapped(change: Any, tree: Tree) -> Tree:
    """Return nested tuples of the same kinds, with every tensor changed.

    >>> import torch
    >>> mapped(len, Batch(torch.zeros(3), torch.zeros(2)))
    Batch(images=3, masks=2, views=None, targets=(), contrasted=())
    """
    if isinstance(tree, Tensor):
        return change(tree)  # type: ignore[no-any-return]
    if not isinstance(tree, tuple):
        return tree
    values = [mapped(change, each) for each in tree]
    return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)  # type: ignore[return-value]


def _parts(tree: Tree, number: int, most: int) -> Iterator[Tree]:
    for part in range(number):
        rows = slice(part * most, (part + 1) * most)
        yield mapped(lambda tensor: tensor[rows], tree)  # noqa: B023 - it is called at once
