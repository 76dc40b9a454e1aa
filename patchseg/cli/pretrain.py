"""`patchseg pretrain`."""

import click

from patchseg import device as devices
from patchseg.cli.options import overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.parameters import (
    AugmentParameters,
    DataParameters,
    ModelParameters,
    Parameters,
    PrepareParameters,
    PretrainParameters,
)
from patchseg.training.pretrain import pretrain

_CUTTING, _READING = ("patch", "margin", "per_image", "scale"), ("pages", "channels", "max_memory")
_LEFT_OUT = (
    *(f"prepare.{name}" for name in PrepareParameters.model_fields if name not in _CUTTING),
    *(f"data.{name}" for name in DataParameters.model_fields if name not in _READING),
    *(f"augment.{name}" for name in AugmentParameters.model_fields if name != "strength"),
)  # fmt: skip


@click.command
@click.argument("prepare__unlabelled", metavar="[IMAGES]", required=False)
@parameters(
    PretrainParameters,
    ModelParameters,
    AugmentParameters,
    PrepareParameters,
    DataParameters,
    without=_LEFT_OUT,
)
@click.option("--resume", is_flag=True, help="Go on with the run of that name.")
@overwrite
def command(parameters: Parameters, resume: bool, overwrite: bool) -> None:
    """Let a network learn from images without masks what belongs together in them, before it learns from labels.

    IMAGES is a folder of images, or a file that `patchseg prepare` wrote, of which all but what is for validation is used.
    Writes checkpoints/NAME/best.pt for `patchseg train --weights`, which takes over the network's settings; the classes
    are learned there. Images on which the result is to be tested must not be among these.

    \b
    Example:
      patchseg pretrain others --time 30m
      patchseg prepare images masks
      patchseg train --weights checkpoints/pretrained/best.pt
    """
    images = required(parameters.prepare.unlabelled, "prepare.unlabelled", "IMAGES")
    path = pretrain(images, parameters=parameters, resume=resume, overwrite=overwrite, progress=Terminal())
    if devices.leads():
        click.echo(path)
