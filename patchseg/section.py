"""What the sections of parameters.json are made of: settings, durations, and values that know their sources.

And the words for what is wrong in them, and the file that they come from.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from patchseg.errors import UsageError, did_you_mean


def setting(default: Any, help: str, *, short: str = "", flag: bool = True, **limits: Any) -> Any:
    """Return a pydantic field with its help, its one-letter flag, and whether it has a flag at all."""
    return Field(default, description=help, json_schema_extra={"short": short, "flag": flag}, **limits)


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


class Section(BaseModel):
    """A section of parameters.json: immutable values that know their sources."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=()
    )
    section: ClassVar[str] = ""
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def source(self, name: str) -> str:
        """Return where a value came from: a file or flag, "plan", "call" (set in Python) or "default"."""
        return self._sources.get(name) or ("call" if name in self.model_fields_set else "default")

    def planned(self, **values: Any) -> Self:
        """Return a copy in which the automatic plan fills the fields that nobody has set."""
        return self.replaced(
            {name: value for name, value in values.items() if getattr(self, name) is None}, "plan"
        )

    def replaced(self, values: dict[str, Any], source: str) -> Self:
        """Return a copy with other values, which come from `source`."""
        copy = self.model_copy(update=values)
        copy._sources = {name: self.source(name) for name in type(self).model_fields} | dict.fromkeys(
            values, source
        )
        return copy


def sentences(
    error: ValidationError, sources: dict[str, str], file: str, *, known: Callable[[list[str]], Iterable[str]]
) -> list[str]:
    """Tell each mistake as `file: key what it should be (got ...)`, or `--flag ...`.

    Args:
        error: What pydantic found.
        sources: Where each full key came from: a file or "flag".
        file: Where the others came from.
        known: The keys at a place in the tree.
    """
    return [
        _sentence(mistake, sources, file, known)
        for mistake in error.errors()
        if not _is_of_other_kind(mistake)
    ]


def _sentence(
    mistake: Any, sources: dict[str, str], file: str, known: Callable[[list[str]], Iterable[str]]
) -> str:
    path = [str(part) for part in mistake["loc"] if not _branch(part)]
    where = sources.get(".".join(path[:2]), file)
    # A flag is the last word of its key.
    name = "--" + path[1].replace("_", "-") if where == "flag" else f"{where}: {'.'.join(path)}"
    if mistake["type"] == "extra_forbidden":
        return f"{name} is no parameter{did_you_mean(path[-1], known(path[:-1]))}"
    if mistake["type"] == "missing":
        return f"{name} is missing"
    text = mistake["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("String", "text")
    if mistake["type"] == "model_type":
        text = "should be an object in braces"
    if any(_branch(part) == "literal" for part in mistake["loc"]):  # a word, or else a list
        text += " or numbers such as 1,2.5"
    return f"{name} {text} (got {json.dumps(mistake['input'], default=str)})"


def _is_of_other_kind(mistake: Any) -> bool:
    """Tell whether a value that may be a word or a list is blamed for not being the one that it is not."""
    branch = next((_branch(part) for part in mistake["loc"] if _branch(part)), "")
    given_list = isinstance(mistake["input"], list)
    return mistake["type"] == "list_type" if branch == "list" else branch == "literal" and given_list


def _branch(part: int | str) -> str:
    """Return the kind that pydantic names, in brackets, where a value may be of several."""
    return str(part).split("[")[0] if "[" in str(part) else ""


def read_tree(file: Path) -> dict[str, Any]:
    """Read the JSON object of a parameters file, without what begins with // and without $schema.

    Raises:
        UsageError: The file is missing, no JSON, or no object.
    """
    try:
        tree = json.loads(file.read_text(encoding="utf-8-sig"))  # Windows editors put a mark first
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read ({error.strerror}); check the path given to --parameters"
        ) from None
    except ValueError as error:
        raise UsageError(f"{file}: is no JSON ({error}); mend it there") from None
    if not isinstance(tree, dict):
        raise UsageError(
            f'{file}: holds a {type(tree).__name__}; it should hold {{"data": ..., "train": ...}}'
        )
    return dict(_uncomment(tree))


def _uncomment(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {
            key: _uncomment(value)
            for key, value in tree.items()
            if key != "$schema" and not key.startswith("//")
        }
    return [_uncomment(value) for value in tree] if isinstance(tree, list) else tree
