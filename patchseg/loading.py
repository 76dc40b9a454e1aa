"""parameters.json and flags -> `Parameters`, validated once; presets of that file, and the schema that completes it."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from patchseg.errors import UsageError, did_you_mean, listing
from patchseg.parameters import ClassParameters, Parameters
from patchseg.section import read_tree, sentences

FILE = "parameters.json"
_PRESETS = resources.files("patchseg") / "presets"


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


def presets() -> dict[str, str]:
    """Return what each preset is, a line by name.

    >>> presets()["seed"].partition(",")[0]
    'unet-multiclass-pytorch'
    """
    files = sorted(_PRESETS.iterdir(), key=lambda file: file.name)
    return {Path(file.name).stem: json.loads(file.read_text(encoding="utf-8"))["//"] for file in files}


def preset(name: str) -> str:
    """Return the text of a preset, a parameters.json with the source of each figure in keys that begin with //.

    Raises:
        UsageError: No preset has this name.
    """
    known = presets()
    if name not in known:
        raise UsageError(
            f"--preset {name}: is none of those that `patchseg parameters --presets` lists{did_you_mean(name, known)}"
        )
    return (_PRESETS / f"{name}.json").read_text(encoding="utf-8")


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
