"""The weights of a checkpoint -> those that a fresh run starts from."""

from pathlib import Path
from typing import Any

from patchseg import device as devices
from patchseg.errors import DataError
from patchseg.models import build, defaults
from patchseg.models.checkpoint import load
from patchseg.training.learner import Learner

_NORMALIZATION = {"mean", "std"}


def start_from(learner: Learner, path: Path) -> str | None:
    """Take the weights of a checkpoint of the same network.

    The normalization of a trained network goes with its weights, which know it. Of a pretrained one it stays that of the run:
    either way pixels come with a mean of 0 and a spread of 1, whatever microscope the images for pretraining are from, and its
    weights for classes mean nothing.

    Returns:
        What has not been taken, in words; None where all has.

    Raises:
        DataError: The checkpoint is of another network.
    """
    other = load(path)
    if not other.weights:
        raise DataError(
            f"{path}: can predict, but not go on learning; give the checkpoint that it was exported from"
        )
    known = defaults(other.model["name"])  # old ones do not say all
    model = {"name": other.model["name"]} | known | other.model
    if other.pretrained:
        model["classes"] = learner.spec["classes"]
    wrong = [f"{name} {value}" for name, value in model.items() if learner.spec.get(name) != value]
    if wrong:
        mine = [f"{name} {value}" for name, value in learner.spec.items() if model.get(name) != value]
        raise DataError(
            f"{path}: holds a network of {', '.join(wrong)}, the run has {', '.join(mine)}; leave out what makes "
            "it another network (section model), and give patches of the same channels and classes"
        )
    left = of_classes(learner.spec) | _NORMALIZATION if other.pretrained else set()
    fresh = {name: weight for name, weight in learner.network.state_dict().items() if name in left}
    learner.network.load_state_dict(other.weights | fresh)
    if learner.average is not None:  # a teacher has something to say from the first step on
        learner.average.network.load_state_dict(learner.network.state_dict())
    if not left:
        return None
    return (
        f"the network begins with {path}, but for {', '.join(sorted(left - _NORMALIZATION))}, which tell classes apart; pixels "
        "are normalized as those of these patches"
    )


def of_classes(spec: dict[str, Any]) -> set[str]:
    """Return the names of the weights of a network whose shapes go by its classes, found by building it with one more."""
    shapes = []
    for more in (0, 1):
        with devices.seeded(0):
            network = build(spec | {"classes": spec["classes"] + more})
        shapes.append({name: weight.shape for name, weight in network.state_dict().items()})
    return {name for name, shape in shapes[0].items() if shapes[1][name] != shape}
