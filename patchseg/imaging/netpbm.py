"""Netpbm files (PGM, PPM) of more than 8 bits -> arrays: Pillow scales their grays and keeps 8 bits of their colours.

Source: https://netpbm.sourceforge.net/doc/ppm.html.
"""

import re

import numpy as np
from numpy.typing import NDArray

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"  # between the numbers of a header, comments included
_HEADER = re.compile(rb"P([2356])" + 3 * (_GAP + rb"(\d{1,9})") + rb"\s")
_HEAD = 4096  # bytes in which a header ends


def is_deep(head: bytes) -> bool:
    r"""Tell whether a file that starts so is a Netpbm of more than 8 bits.

    >>> is_deep(b"P5 3 2 65535\n"), is_deep(b"P5 # made by hand\n3 2 255\n")
    (True, False)
    """
    header = _HEADER.match(head[:_HEAD])
    return header is not None and int(header[4]) > 255


def decode(data: bytes) -> NDArray[np.uint16]:
    r"""Return the numbers of a deep Netpbm file as they are stored, (H, W) or (H, W, 3) uint16.

    Raises:
        ValueError: It holds fewer numbers than its header says, or larger ones.

    >>> decode(b"P2 2 1 4095\n17 4095 ")
    array([[  17, 4095]], dtype=uint16)
    """
    header = _HEADER.match(data[:_HEAD])
    assert header is not None
    kind, width, height, most = (int(number) for number in header.groups())
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    count = height * width * (3 if len(shape) == 3 else 1)
    body = data[header.end() :]
    if kind < 5:
        body = b" ".join(re.sub(rb"#[^\r\n]*", b"", body).split(maxsplit=count)[:count])
        numbers = np.array(body.split(), np.uint32)
    else:
        numbers = np.frombuffer(body[: min(2 * count, len(body) // 2 * 2)], ">u2").astype(np.uint32)
    if len(numbers) < count:
        raise ValueError(f"{len(numbers)} of its {count} numbers are there")
    if count and numbers.max() > most:
        raise ValueError(f"a pixel is {numbers.max()}, its header says {most} at most")
    return numbers.astype(np.uint16).reshape(shape)
