"""What the sections of parameters.json are made of: settings, and sections whose values know their sources.

And the words for what is wrong in them, and the file that they come from.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from patchseg.errors import UsageError, did_you_mean

_FLAGS = {"model.name": "model"}  # --name is train.name


def flag_of(key: str) -> str:
    """Return the flag of a parameter, which is the last word of its key.

    >>> flag_of("train.weight_decay"), flag_of("model.name")
    ('--weight-decay', '--model')
    """
    return "--" + _FLAGS.get(key, key.split(".")[1]).replace("_", "-")


def setting(default: Any, help: str, *, short: str = "", flag: bool = True, **limits: Any) -> Any:
    """Return a pydantic field with its help, its one-letter flag, and whether it has a flag at all."""
    return Field(default, description=help, json_schema_extra={"short": short, "flag": flag}, **limits)


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
    key = ".".join(path)
    name = flag_of(key) if where == "flag" else f"{where}: {key}"
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
