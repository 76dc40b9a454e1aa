"""A window of an image, in upright source pixels."""

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of pixels: rows `top` to `top + height`, columns `left` to `left + width`.

    >>> Box(2, 3, 4, 5).slices
    (slice(2, 6, None), slice(3, 8, None))
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The first row below the box."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column right of the box."""
        return self.left + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, for `array[box.slices]`; the box must not start outside the array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int) -> "Box":
        """Return the box with `margin` more pixels on every side.

        >>> Box(2, 3, 4, 5).grown(3)
        Box(top=-1, left=0, height=10, width=11)
        """
        return Box(self.top - margin, self.left - margin, self.height + 2 * margin, self.width + 2 * margin)

    def clip(self, height: int, width: int) -> "Box":
        """Return the part of the box that lies in an image of `height` x `width` pixels.

        >>> Box(-2, 8, 4, 4).clip(10, 10)
        Box(top=0, left=8, height=2, width=2)
        """
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.bottom, height), min(self.right, width)
        return Box(top, left, max(bottom - top, 0), max(right - left, 0))
