"""parameters.json and flags -> `Parameters`, validated once; and the schema by which an editor completes the file."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from patchseg.errors import UsageError, listing
from patchseg.parameters import ClassParameters, Parameters
from patchseg.section import read_tree, sentences

FILE = "parameters.json"


def load(file: Path | None = None, flags: dict[str, Any] | None = None) -> Parameters:
    """Read parameters.json, lay the flags over it and validate the whole once.

    Args:
        file: The file, or None for ./parameters.json where there is one.
        flags: Values by full key, such as {"train.rate": 0.01}.

    Raises:
        UsageError: The file is missing or no JSON, or values are wrong; every mistake is named.
    """
    if file is None and Path(FILE).exists():
        file = Path(FILE)
    tree = read_tree(file) if file else {}
    sources = {
        f"{section}.{key}": str(file)
        for section, keys in tree.items()
        if isinstance(keys, dict)
        for key in keys
    }
    for key, value in (flags or {}).items():
        section, name = key.split(".")
        # A section that is no object is left as it is for the validation to name.
        if isinstance(tree.setdefault(section, {}), dict):
            tree[section][name] = value
            sources[key] = "flag"
    try:
        parameters = Parameters.model_validate(tree)
    except ValidationError as error:
        told = sentences(error, sources, str(file or FILE), known=_fields_at)
        raise UsageError(listing(told)) from None
    for part in parameters.sections():
        mine = {
            key.split(".")[1]: source for key, source in sources.items() if key.split(".")[0] == part.section
        }
        part._sources = mine
    return parameters


def schema() -> dict[str, Any]:
    """Return the JSON schema of parameters.json, for editors that complete and check."""
    tree = Parameters.model_json_schema()
    for model in [tree, *tree["$defs"].values()]:
        model["patternProperties"] = {"^//": {}}
        for field in model["properties"].values():
            field.pop("short", None), field.pop("flag", None)
    tree["properties"]["$schema"] = {"type": "string"}
    return tree


def _fields_at(path: list[str]) -> list[str]:
    """Return the keys that are known at a place in the tree, such as ["train"] or ["data", "classes", "0"]."""
    models: list[Any] = [Parameters, Parameters.model_fields[path[0]].annotation] if path else [Parameters]
    return list(ClassParameters.model_fields if len(path) > 1 else models[-1].model_fields)
