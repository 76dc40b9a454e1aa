"""Flags out of parameters: a field of a section becomes an option; what was given becomes {key: value}."""

import functools
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from patchseg.errors import UsageError
from patchseg.loading import FILE, load
from patchseg.section import Section, flag_of

Command = Callable[..., Any]

_LONG = 70  # characters of choices that no terminal would break; beyond it they stand in the help


def parameters(*sections: type[Section], without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Give a command a flag for each parameter of some sections, and call it with the loaded `Parameters`.

    Those named in `without`, by name or by full key, get none, because the command does not look at them.

    The command's own arguments whose name is a full key with a double underscore, such as `data__images`, count as
    parameters too.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(*, parameters: Path | None, **values: Any) -> Any:
            given = {key: values.pop(key) for key in list(values) if "__" in key}
            flags = {
                key.replace("__", "."): list(value) if isinstance(value, tuple) else value
                for key, value in given.items()
                if value not in (None, ())
            }
            return command(parameters=load(parameters, flags), **values)

        option = click.option(
            "--parameters",
            type=click.Path(path_type=Path),
            help=f"Parameters file.  [default: {FILE} if it is here]",
        )
        decorated: Command = option(wrapper)
        for section in reversed(sections):
            for name, field in reversed(section.model_fields.items()):
                if _extra(field)["flag"] and not {name, f"{section.section}.{name}"} & set(without):
                    decorated = _option(section.section, name, field)(decorated)
        return decorated

    return decorate


overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def required(value: Any, key: str, what: str) -> Any:
    """Return a parameter that must be there.

    Raises:
        UsageError: It is not.
    """
    if value in (None, []):
        raise UsageError(f"{what} missing; name it on the command line, or {key} in {FILE}")
    return value


def refuse_more_paths() -> None:
    """Say what a shell makes of *.png, where a command takes two paths (and `allow_extra_args`).

    Raises:
        UsageError: There are more.
    """
    if more := click.get_current_context().args:
        raise UsageError(
            f"{more[0]}: is one path too many; give a folder of images and a folder of masks, or a list file, not single "
            "files (which is what a shell makes of *.png)"
        )


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _option(section: str, name: str, field: FieldInfo) -> Callable[[Command], Command]:
    """Return the option of a field; its default stays in the help, so that only what was given is passed on."""
    flag, extra, default = flag_of(f"{section}.{name}"), _extra(field), field.default
    text, bracket, auto = str(field.description).partition(" [")
    help = f"{text[0].upper()}{text[1:]}.  {bracket.strip()}{auto}".rstrip()
    if default is not None and not auto:
        help += f"  [default: {_told(default)}]"
    switch = field.annotation is bool or bool in typing.get_args(field.annotation)  # or None: by a plan
    names = [f"{flag}/--no-{flag[2:]}"] if switch else [flag]
    if extra["short"]:
        names.insert(0, str(extra["short"]))
    kind: dict[str, Any] = {} if switch else {"type": _type(field.annotation)}
    if len(choices := "|".join(getattr(kind.get("type"), "choices", ()))) > _LONG:
        help, kind["metavar"] = (
            f"{help[: help.index('.')]}: {choices.replace('|', ', ')}{help[help.index('.') :]}",
            "NAME",
        )
    if any(typing.get_origin(part) is list for part in typing.get_args(field.annotation)):
        kind["callback"] = lambda _, __, value: _numbers(value)
    return click.option(*names, f"{section}__{name}", default=None, help=help, **kind)


def _told(default: Any) -> str:
    return (
        {True: "yes", False: "no"}.get(default, str(default)) if isinstance(default, bool) else str(default)
    )


def _type(annotation: Any) -> Any:
    """Return click's type for a field's: the first that is not None, of choices all."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (annotation, *more) = [part for part in typing.get_args(annotation) if part is not type(None)]
        if more or typing.get_origin(annotation) is typing.Annotated:
            return str  # such as "balanced", a list of numbers, or a duration: the model understands it
    if typing.get_origin(annotation) is typing.Literal:
        return click.Choice(typing.get_args(annotation))
    return annotation if annotation in (int, float) else str


def _numbers(value: str | None) -> Any:
    """Return a list of numbers for text such as "1,2.5"; other text as it is."""
    if value is None or "," not in value:
        return value
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        return value
