"""Annotation files -> JSON trees or text, and trees -> models; what is wrong with them becomes one sentence."""

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from patchseg.errors import DataError
from patchseg.labels.shapes import FARTHEST

Pixel = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]  # NaN is neither
Length = Annotated[float, Field(ge=0, le=FARTHEST)]
_LONGEST = 100  # characters of a name


def name(value: Any) -> str | None:
    """Return the name of a class without the blanks around it; None and nothing but blanks are none.

    Raises:
        ValueError: It is no text or number, cannot be shown, or is longer than any name.

    >>> name(" crack "), name(7), name(""), name(None)
    ('crack', '7', None, None)
    """
    if value is None:
        return None
    if not isinstance(value, str | int):
        raise ValueError(f"is {json.dumps(value, default=str)[:_LONGEST]}; expected text")
    text = str(value).strip()
    if not text.isprintable() or len(text) > _LONGEST:
        raise ValueError(
            f"is {json.dumps(text[:_LONGEST])}; expected up to {_LONGEST} characters that can be shown"
        )
    return text or None


Name = Annotated[str, BeforeValidator(name)]


class Part(BaseModel):
    """A part of a file: what is not asked for is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Model = TypeVar("Model", bound=BaseModel)


def read_content(path: Path) -> Any:
    """Return a file as a JSON tree where it is one, else as text (XML or CSV).

    Raises:
        DataError: It cannot be read, is no UTF-8, or is damaged JSON.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Windows' editors begin with a mark
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no UTF-8 text; expected annotations as JSON, XML or CSV") from None
    if text.lstrip()[:1] not in ("{", "["):
        return text
    return parse_json(text, str(path))


def parse_json(text: str, place: str) -> Any:
    """Return the tree of JSON text.

    Args:
        text: JSON; NaN, infinity and keys that stand twice in one object are refused.
        place: Where it stands, for the error.

    Raises:
        DataError: It is none.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise DataError(f"{place}: is JSON nested too deeply for annotations; export them again") from None
    except ValueError as error:
        raise DataError(f"{place}: is damaged JSON ({error}); export it again") from None


def understood(model: type[Model], tree: Any, place: Path | str) -> Model:
    """Return a tree as a model.

    Raises:
        DataError: It does not fit; the first mistake is told.
    """
    try:
        return model.model_validate(tree)
    except RecursionError:
        raise DataError(f"{place}: is nested too deeply for annotations; export them again") from None
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in mistake["loc"] if not str(part).startswith("function-"))
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        found = json.dumps(mistake["input"], default=str)
        raise DataError(
            f"{place}: {where or 'the whole'} does not fit: {_uncapitalized(mistake['msg'])}, got "
            f"{found if len(found) < 40 else found[:36] + ' ...'}{more}; mend or export it again"
        ) from None


def base_name(path: str) -> str:
    r"""Return the last part of a path that any system may have written.

    >>> base_name("C:\\images\\a.jpg"), base_name("../a.jpg"), base_name("")
    ('a.jpg', 'a.jpg', '')
    """
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; of a key that stands twice one value would be lost in silence."""
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.dumps(twice[:80])} stands twice in one object")
    return tree


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _uncapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]
