"""Sources -> what the documentation repeats of them: run it with `make docs`, or with --check to see whether it is due.

It fills the README between `<!-- generated: NAME -->` and `<!-- end -->`: "commands" with the help of every command,
"parameters" with a table of every key of parameters.json. It writes docs/parameters.schema.json for editors.
"""

import json
import re
import sys
import typing
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from patchseg.cli import VERBS, find_command, main
from patchseg.parameters import ClassParameters, Parameters, schema

ROOT = Path(__file__).resolve().parents[1]
README, SCHEMA = Path("README.md"), Path("docs/parameters.schema.json")
_WIDTH = 80  # of a help text, whatever terminal this runs in


def commands() -> str:
    """Return the help of every verb, a section each, in the order of the work."""
    top = main.make_context("patchseg", [], resilient_parsing=True, terminal_width=_WIDTH)
    return "\n\n".join(_section(verb, top) for verb in VERBS)


def parameters() -> str:
    """Return the table of every key of parameters.json: default and meaning, choices included."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, section in Parameters.model_fields.items():
        fields = typing.cast(Any, section.annotation).model_fields
        for key, field in fields.items():
            rows.append(_row(f"{name}.{key}", field))
            if f"{name}.{key}" == "data.classes":
                rows += [_row(f"data.classes[].{k}", f) for k, f in ClassParameters.model_fields.items()]
    return "\n".join(rows)


def filled(text: str) -> str:
    """Return a README with its generated parts renewed.

    Raises:
        SystemExit: The markers of a part are not there, once each.
    """
    for name, part in (("commands", commands()), ("parameters", parameters())):
        start = f"<!-- generated: {name} -->"
        pattern = re.escape(start) + r"\n.*?(?=<!-- end -->)"
        # A backslash would be read as the mark of a group.
        new = f"{start}\n\n{part}\n\n".replace("\\", r"\\")
        text, found = re.subn(pattern, new, text, flags=re.DOTALL)
        if found != 1:
            sys.exit(f"README.md: holds {found} parts from {start} to <!-- end -->; expected one, so mend it")
    return text


def run(arguments: list[str], *, root: Path = ROOT) -> int:
    """Write what is stale, or with --check only tell it.

    Returns:
        1 if something is stale and --check was given, else 0.
    """
    wanted = {
        README: filled((root / README).read_text(encoding="utf-8")),
        SCHEMA: json.dumps(schema(), indent=1) + "\n",
    }
    stale = [path for path, text in wanted.items() if _content(root / path) != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path}: is not what the sources say; run `make docs`\n")
        return int(bool(stale))
    for path in stale:
        (root / path).write_text(wanted[path], encoding="utf-8")
    return 0


def _section(verb: str, top: click.Context) -> str:
    command = find_command(verb)
    text = command.get_help(click.Context(command, parent=top, info_name=verb))
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"### patchseg {verb}\n\n```text\n{lines}\n```"


def _row(key: str, field: FieldInfo) -> str:
    meaning, plan, automatic = str(field.description).partition(" [auto")
    choices = _choices(field.annotation)
    if choices:
        meaning += ": " + ", ".join(f"`{choice}`" for choice in choices)
    meaning = (meaning + plan + automatic).replace("|", r"\|")
    default = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
    return f"| `{key}` | {default} | {meaning} |"


def _choices(annotation: Any) -> tuple[str, ...]:
    """Return the words of a field that takes nothing but some words (or None)."""
    kinds = [kind for kind in typing.get_args(annotation) or () if kind is not type(None)]
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    one = len(kinds) == 1 and typing.get_origin(kinds[0]) is typing.Literal
    return typing.get_args(kinds[0]) if one else ()


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
