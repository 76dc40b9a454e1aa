"""What parameters can be: colours, durations, sizes, pages, and how text is read as them."""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from patchseg.errors import did_you_mean


def seconds(value: Any) -> Any:
    """Turn a duration such as "90s", "5m" or "1.5h" into seconds; numbers are seconds already.

    >>> seconds("5m"), seconds("1.5h"), seconds(20)
    (300.0, 5400.0, 20)
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", value)
    if match is None:
        raise ValueError('should be a duration such as "90s", "5m" or "1.5h"')
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def page(value: Any) -> Any:
    """Return the number of a page, from 1 on, "channels" or "stack"; digits are a number.

    >>> page("3"), page("stack")
    (3, 'stack')
    """
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if number in ("channels", "stack") or (
        isinstance(number, int) and not isinstance(number, bool) and number >= 1
    ):
        return number
    raise ValueError('should be the number of a page, from 1 on, "channels" or "stack"')


def size(value: Any) -> Any:
    """Turn a size such as "8GB" or "500 MB" into bytes; whole numbers are bytes already.

    >>> size("8GB"), size("1.5 kB"), size(20)
    (8000000000, 1500, 20)
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)B?\s*", value)
    if match is None:
        raise ValueError('should be a size such as "500MB" or "8GB"')
    return int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " "))


def distance(value: Any) -> Any:
    """Turn a distance such as 2 (pixels), "800nm", "1.5um" or "3map" into text with its unit.

    >>> distance(2), distance("800nm"), distance("1.5um"), distance("3 map")
    ('2 pixels', '0.8 µm', '1.5 µm', '3 map units')
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(pixels?|px|nm|um|µm|mm|map|map units)?\s*", f"{value}")
    if match is None or isinstance(value, bool):
        raise ValueError('should be a distance such as 2 (pixels), "1.5um" or "3map" (units of the map)')
    units = {"nm": (1e-3, "µm"), "um": (1, "µm"), "µm": (1, "µm"), "mm": (1e3, "µm"), "map": (1, "map units")}
    factor, unit = units.get((match[2] or "").removesuffix(" units"), (1, "pixels"))
    return f"{float(match[1]) * factor:g} {unit}"


def listed(value: Any) -> Any:
    """Turn "0,2" or "red, green" into a list of indices and names; what is no text is left as it is.

    >>> listed("0,2"), listed("red, green"), listed([1])
    ([0, 2], ['red', 'green'], [1])
    """
    if isinstance(value, str):
        value = [int(part) if part.strip().isdecimal() else part.strip() for part in value.split(",")]
    elif isinstance(value, list):  # the command line makes real numbers of "0,2"
        value = [int(part) if isinstance(part, float) and part.is_integer() else part for part in value]
    return value


def color(value: str) -> str:
    """Return a colour that is one.

    >>> color("#E69F00")
    '#E69F00'
    """
    if not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise ValueError('should be a colour such as "#e69f00"')
    return value


def ignored(value: Any) -> Any:
    """Return a value of masks, or a colour, that is one; from the command line numbers come as text.

    >>> ignored("-1"), ignored("#ff0000"), ignored(65535)
    (-1, '#ff0000', 65535)
    """
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,10}", value):
        return int(value)
    if type(value) is int or (isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value)):
        return value
    raise ValueError('should be a whole number or a colour such as "#e69f00"')


def fold(value: str) -> str:
    """Return a fold that is one.

    >>> fold("2/5"), fold("3/all")
    ('2/5', '3/all')
    """
    if not re.fullmatch(r"[1-9]\d{0,5}/([1-9]\d{0,5}|all)", value):
        raise ValueError('should be a fold such as "2/5", or "2/all"')
    return value


def share(value: str) -> str:
    """Return a share that is one.

    >>> share("2/8")
    '2/8'
    """
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", value)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError('should be a share such as "1/4", from "1/4" to "4/4"')
    return value


def loss_terms(value: str, names: Sequence[str]) -> list[tuple[float, str]]:
    """Return the weights and names of a sum of losses.

    >>> loss_terms("0.5*ce + focal", ("ce", "focal"))
    [(0.5, 'ce'), (1.0, 'focal')]
    """
    terms = []
    for term in value.split("+"):
        match = re.fullmatch(r"\s*(?:(\d*\.?\d+)\s*\*\s*)?([a-z_]+)\s*", term)
        if match is None or match[2] not in names or not 0 < float(match[1] or 1) < math.inf:
            hint = did_you_mean(match[2], names) if match and match[2] not in names else ""
            raise ValueError(f'should be a sum such as "0.5*ce+focal" of {", ".join(names)}{hint}')
        terms.append((float(match[1] or 1), match[2]))
    return terms


Color = Annotated[str, AfterValidator(color)]
Fold = Annotated[str, AfterValidator(fold)]
Share = Annotated[str, AfterValidator(share)]
Ignored = Annotated[int | str, BeforeValidator(ignored)]
Positive = Annotated[float, Field(gt=0)]
Duration = Annotated[Positive, BeforeValidator(seconds, json_schema_input_type=Positive | str)]
Bytes = Annotated[int, Field(gt=0)]
Size = Annotated[Bytes, BeforeValidator(size, json_schema_input_type=Bytes | str)]
Distance = Annotated[
    str, BeforeValidator(distance, json_schema_input_type=Annotated[float, Field(ge=0)] | str)
]
Index = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]
Channels = Annotated[
    list[Index | Name],
    Field(min_length=1),
    BeforeValidator(listed, json_schema_input_type=list[Index | Name] | Index | str),
]

Number = Annotated[int, Field(ge=1)]
Pages = Annotated[
    int | str, BeforeValidator(page, json_schema_input_type=Number | Literal["channels", "stack"])
]
