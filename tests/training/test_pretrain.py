"""Learning from images alone, and starting from there."""

import shutil
import signal

import numpy as np
import pytest
import torch

from patchseg.errors import DataError, Interrupted, UsageError
from patchseg.export import export
from patchseg.inference.infer import infer
from patchseg.models.checkpoint import load
from patchseg.parameters import (
    AugmentParameters,
    InferParameters,
    ModelParameters,
    Parameters,
    PrepareParameters,
    PretrainParameters,
    SynthParameters,
    TrainParameters,
)
from patchseg.progress import Progress
from patchseg.synth import synth
from patchseg.training.learner import Learner
from patchseg.training.pretrain import learning, pretrain
from patchseg.training.record import read_metrics
from patchseg.training.weights import of_classes, start_from

MODEL = ModelParameters(width=4, levels=3, norm="batch")
CPU = torch.device("cpu")


class Told(Progress):
    """Keeps what is said, and does something after some steps: {steps: what}."""

    def __init__(self, at=None):
        self.lines, self.done, self.at = [], 0, at or {}

    def say(self, line):
        self.lines.append(line)

    def step(self, count=1, note=""):
        self.done += count
        if self.done in self.at:
            self.at[self.done]()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Five images of 64 x 64 without masks."""
    folder = tmp_path_factory.mktemp("others")
    synth(folder, parameters=SynthParameters(train=5, test=0, height=64, width=64, seed=3))
    return folder / "train/images"


def learn(images, folder, *, model=MODEL, progress=None, resume=False, overwrite=False, **values):
    given = {"steps": 6, "batch": 4, "threads": 1, "device": "cpu"} | values
    parameters = Parameters(
        prepare=PrepareParameters(patch=32, per_image=4), model=model, pretrain=PretrainParameters(**given)
    )
    return pretrain(
        images, parameters=parameters, folder=folder, progress=progress, resume=resume, overwrite=overwrite
    )


@pytest.fixture(scope="module")
def pretrained(images, tmp_path_factory):
    return learn(images, tmp_path_factory.mktemp("pretrained"))


def saved(path):
    return torch.load(path, weights_only=True)


def files(folder):
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "tfevents" not in path.name
    }


def test_it_leaves_a_checkpoint_without_heads_and_no_patches(images, tmp_path):
    told = Told()
    path = learn(images, tmp_path, progress=told)
    assert path == tmp_path / "checkpoints/pretrained/best.pt"
    here = {f"checkpoints/pretrained/{name}.pt" for name in ("best", "last")}
    assert files(tmp_path) == here | {
        f"runs/pretrained/{name}" for name in ("metrics.jsonl", "parameters.effective.json")
    }
    best, last = saved(path), saved(path.with_name("last.pt"))
    assert best["training"] is None
    assert not [
        name for name in {**best["weights"], **last["weights"]} if "projector" in name or "predictor" in name
    ]
    assert set(last["training"]["objective"]) == {"projector", "predictor", "target"}
    assert load(path).pretrained
    assert load(path).model | {"classes": 2, "width": 4, "levels": 3} == load(path).model
    assert told.lines[0] == "20 patches of 32 x 32, regions of like pixels"
    assert told.lines[3] == "6 steps of 4 patches, contrast of regions, rate 0.004"
    assert told.lines[-1] == f"train on labels from here on with `patchseg train --weights {path}`"
    assert not [
        line for line in told.lines if "validation: best.pt" in line or "has not been predicted" in line
    ]
    assert all(line["loss/train"] > 0 for line in read_metrics(tmp_path / "runs/pretrained"))


def test_the_network_that_learns_is_what_is_saved(pretrained):
    """Beside it the average goes on in the training state."""
    last = saved(pretrained.with_name("last.pt"))
    teacher = last["training"]["teacher"]
    assert torch.equal(last["weights"]["down.0.0.weight"], last["training"]["network"]["down.0.0.weight"])
    assert not torch.equal(teacher["down.0.0.weight"], last["weights"]["down.0.0.weight"])
    assert last["training"]["ema"] == 0.996


def test_it_goes_on_bit_for_bit(images, tmp_path, differences):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    learn(images, straight, steps=20, ema=0.8)
    cut = 5 * 2  # what is said to be done before the first step: images that are checked, and cut
    for steps in (cut + 5, 7):
        with pytest.raises(Interrupted):
            learn(
                images, stopped, steps=20, ema=0.8, resume=(stopped / "checkpoints").exists(),
                progress=Told({steps: lambda: signal.raise_signal(signal.SIGINT)}),
            )  # fmt: skip
        assert (stopped / "checkpoints/pretrained.h5").exists()
    (stopped / "checkpoints/pretrained.h5").unlink()  # it is made again
    learn(images, stopped, steps=20, ema=0.8, resume=True)
    for name in ("last.pt", "best.pt"):
        found = differences(
            *(saved(folder / "checkpoints/pretrained" / name) for folder in (straight, stopped))
        )
        assert [
            d for d in found if not d.endswith(("/source", "/seconds", "/spent", "/prepare.output/value"))
        ] == []


def test_other_images_are_no_going_on(images, tmp_path):
    learn(images, tmp_path)
    shutil.copytree(images, tmp_path / "fewer")
    next((tmp_path / "fewer").glob("*.png")).unlink()
    with pytest.raises(DataError, match="holds other patches than those that the run began with"):
        learn(tmp_path / "fewer", tmp_path, resume=True)


def test_training_begins_with_its_weights_whatever_the_number_of_classes(
    pretrained, patches, run_training, tmp_path
):
    """A rate of next to nothing keeps them; heads, and the normalization of the training set, are those of a fresh run."""
    given = {"rate": 1e-12, "ema": 0.0, "steps": 1, "weight_decay": 0.0}
    told = Told()
    run_training(tmp_path / "from", weights=str(pretrained), model=ModelParameters(), progress=told, **given)
    run_training(tmp_path / "fresh", model=MODEL, **given)
    theirs = load(pretrained).weights
    mine, fresh = (saved(tmp_path / name / "checkpoints/run/last.pt") for name in ("from", "fresh"))
    assert (mine["model"]["classes"], mine["model"]["width"], mine["model"]["levels"]) == (3, 4, 3)
    moved = {name for name in theirs if "running" in name or "tracked" in name}
    own = {"head.weight", "head.bias", "mean", "std"}
    for name, weight in mine["weights"].items():
        if name not in moved:
            expected = fresh["weights"][name] if name in own else theirs[name]
            torch.testing.assert_close(weight, expected, rtol=0, atol=1e-9)
    assert not torch.equal(theirs["down.0.0.weight"], fresh["weights"]["down.0.0.weight"])
    assert not torch.equal(theirs["mean"], mine["weights"]["mean"])
    assert told.lines[0] == (
        f"the network begins with {pretrained}, but for head.bias, head.weight, which tell classes apart; pixels are normalized "
        "as those of these patches"
    )
    assert mine["parameters"]["train.objective"]["value"] == "supervised"
    assert not load(tmp_path / "from/checkpoints/run/last.pt").pretrained


def test_statistics_of_norms_come_along(pretrained, patches):
    student = learner(patches)
    start_from(student, pretrained)
    theirs, mine = load(pretrained).weights, student.network.state_dict()
    assert torch.equal(mine["down.0.1.running_var"], theirs["down.0.1.running_var"])
    assert not torch.equal(mine["down.0.1.running_var"], torch.ones_like(mine["down.0.1.running_var"]))


def learner(patches, model=MODEL, **values):
    from patchseg.patches.store import PatchFile

    with PatchFile(patches) as file:
        return Learner.of(file, TrainParameters(**{"rate": 0.1, "batch": 4} | values), model, CPU)


def test_a_teacher_begins_with_the_weights_too(pretrained, patches):
    student = learner(patches)
    student.keep_average(0.9)
    start_from(student, pretrained)
    mine, teacher = (net.state_dict() for net in (student.network, student.average.network))
    assert all(torch.equal(mine[name], teacher[name]) for name in mine)


def test_weights_of_classes_are_those_of_all_heads():
    deep = {"name": "unet", "channels": 1, "classes": 2, "width": 2, "levels": 4, "deep_supervision": True}
    heads = {f"{head}.{kind}" for head in ("head", "deep_heads.0") for kind in ("weight", "bias")}
    assert of_classes(deep) == heads


def test_a_network_of_another_shape_is_refused(pretrained, patches):
    wide = learner(patches, ModelParameters(width=8, levels=3, norm="batch"))
    with pytest.raises(
        DataError, match=r"best\.pt: holds a network of width 4, the run has width 8; leave out"
    ):
        start_from(wide, pretrained)


def test_it_cannot_segment_and_says_what_to_do(pretrained, images, tmp_path):
    cure = r"best\.pt: is pretrained and knows no classes yet; give it to `patchseg train --weights`"
    with pytest.raises(UsageError, match=cure):
        infer(
            [images],
            checkpoint=pretrained,
            parameters=InferParameters(output=str(tmp_path / "masks"), threads=1),
        )
    with pytest.raises(UsageError, match=cure):
        export(pretrained, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_masks_of_classes_are_not_learned_as_regions(tmp_path, run_training):
    with pytest.raises(
        UsageError, match=r"train\.objective: detcon does not go with .* whose masks are classes"
    ):
        run_training(tmp_path, objective="detcon")


def test_regions_are_not_learned_as_classes(images, tmp_path, run_training):
    with pytest.raises(Interrupted):
        learn(images, tmp_path, progress=Told({12: lambda: signal.raise_signal(signal.SIGINT)}))
    with pytest.raises(
        UsageError, match=r"train\.objective: supervised does not go with .* whose masks are regions"
    ):
        run_training(tmp_path / "other", file=tmp_path / "checkpoints/pretrained.h5")


def test_a_run_that_is_there_is_refused_before_anything_is_cut(images, pretrained):
    folder = pretrained.parents[2]
    before = files(folder)
    with pytest.raises(UsageError, match="exists already; give --resume, --overwrite or another --name"):
        learn(images, folder)
    with pytest.raises(UsageError, match=r"train\.name: \.\./x leads out of checkpoints"):
        learn(images, folder, name="../x")
    assert files(folder) == before


def test_settings_keep_their_sources():
    found = learning(PretrainParameters(steps=9).replaced({"rate": 0.5}, "flag"))
    assert (found.source("rate"), found.source("steps"), found.source("ema")) == ("flag", "call", "default")
    assert (found.objective, found.exported, found.ema, found.epochs) == ("detcon", "student", 0.996, 10)
    assert set(PretrainParameters.model_fields) <= set(TrainParameters.model_fields)


def test_patches_are_moved_strongly_unless_told_otherwise(images, tmp_path):
    path = learn(images, tmp_path / "a", steps=1)
    assert load(path).parameters["augment.strength"] == {"value": "strong", "source": "plan"}
    parameters = Parameters(
        prepare=PrepareParameters(patch=32, per_image=2), model=MODEL, augment=AugmentParameters(strength="none"),
        pretrain=PretrainParameters(steps=1, threads=1, device="cpu", name="other"),
    )  # fmt: skip
    path = pretrain(images, parameters=parameters, folder=tmp_path)
    assert path == tmp_path / "checkpoints/other/best.pt"
    assert load(path).parameters["augment.strength"]["value"] == "none"


def test_a_time_is_a_budget_as_in_training(images, tmp_path):
    path = learn(images, tmp_path, steps=None, time=1.5)
    assert 5 < saved(path.with_name("last.pt"))["training"]["step"] < 1000


def test_a_patches_file_is_learned_from_without_its_masks(patches, tmp_path):
    told = Told()
    path = learn(patches, tmp_path, progress=told, steps=2)
    assert told.lines[0].startswith(f"20 patches of {patches}, those with labels too; nothing for validation")
    assert load(path).patch == 32


@pytest.mark.parametrize("kind", ["two", "rgb"])
def test_images_of_other_channels_are_refused_by_the_training(
    pretrained, tmp_path, write_patches, run_training, kind
):
    channels = {"two": 2, "rgb": 3}[kind]
    pixels = np.random.default_rng(0).integers(0, 255, (6, 32, 32, channels), dtype=np.uint8)
    path = write_patches(tmp_path / "p.h5", pixels, np.zeros((6, 32, 32), np.uint8))
    with pytest.raises(
        DataError, match=rf"holds a network of channels 1, the run has channels {channels}; leave out"
    ):
        run_training(tmp_path, file=path, weights=str(pretrained), model=ModelParameters(), steps=1)
