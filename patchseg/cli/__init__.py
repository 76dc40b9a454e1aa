"""The command line: flags -> one call -> printed lines. The only place that prints.

A verb is a file in this folder, loaded when it is run, so that `patchseg --help` imports nothing heavy. Errors
become one sentence and an exit code here, once.
"""

import importlib
import keyword
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any, NoReturn

import click

from patchseg import __version__
from patchseg.errors import Interrupted, PatchsegError, did_you_mean

VERBS = {
    "demo": "The whole job on synthetic images, in minutes.",
    "synth": "Make synthetic images of lines and ellipses.",
    "import": "Turn polygons of annotation programs into masks.",
    "check": "Find everything wrong with images and masks.",
    "prepare": "Cut patches out of images and masks.",
    "augment": "Show what a network will see of the patches.",
    "models": "List the networks, and what each takes and sees.",
    "pretrain": "Learn from images alone, to train from there.",
    "train": "Train a U-Net on patches.",
    "infer": "Segment whole images by overlapping tiles.",
    "evaluate": "Score masks against the truth.",
    "compare": "Tell whether one result is better than another.",
    "calibrate": "Make probabilities as sure as they are right.",
    "crossval": "Score every image by a network that has not seen it.",
    "learning-curve": "Tell what more labelled images would bring.",
    "suggest": "Rank what to annotate next.",
    "audit": "Find likely errors in the given masks.",
    "export": "Write a model for other programs.",
    "report": "Write scores and training as one HTML page.",
    "view": "Look at an image and its mask of any size.",
    "parameters": "Show the effective parameters.",
}


def find_command(verb: str) -> click.Command:
    """Import the command of a verb; its file has a name of Python's, so `import` is in import_.py."""
    file = f"{verb}_" if keyword.iskeyword(verb) else verb.replace("-", "_")
    found: click.Command = importlib.import_module(f"patchseg.cli.{file}").command
    return found


class _Verbs(click.Group):
    """Knows its commands by name and imports each when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            ctx.fail(f"There is no command {cmd_name}{did_you_mean(cmd_name, VERBS)}")
        return find_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands, in the order of the work"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="patchseg")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, of any command.")
def main(debug: bool) -> None:
    """Learn to segment images from a handful of labelled ones.

    Every command explains itself: patchseg train -h

    \b
    Example:
      patchseg demo
      patchseg prepare images masks
      patchseg train -e 100 -b 16
      patchseg infer new/*.tif -m checkpoints/patches/best.pt
    """


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    hook, stop = threading.excepthook, signal.signal(signal.SIGTERM, _interrupt)
    if not debug:
        # What ends a thread is raised again where its work is asked for, and told there.
        threading.excepthook = lambda _: None
    try:
        sys.exit(_run([word for word in words if word != "--debug"], debug=debug))
    finally:
        threading.excepthook = hook
        signal.signal(signal.SIGTERM, stop or signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C, which leaves no half file behind."""
    raise KeyboardInterrupt


def _run(words: list[str], *, debug: bool) -> int:
    try:
        result: Any = main.main(words, prog_name="patchseg", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Interrupted as stop:  # as asked: no error
        click.echo(stop, err=True)
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return 130
    except Exception as error:  # noqa: BLE001 - this is the border: no traceback reaches a user
        if debug:
            traceback.print_exc()
        click.echo(f"Error: {_sentence(error)}", err=True)
        return error.exit_code if isinstance(error, PatchsegError) else 1


def _sentence(error: Exception) -> str:
    """Tell an error in one line, or in one a finding, each below the other."""
    if isinstance(error, PatchsegError):
        return str(error).replace("\n", "\n       ")
    text = f"{type(error).__name__}: {error}".strip()
    return f"unexpected {text}; run it with --debug to see where"
