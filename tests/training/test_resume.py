import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.models.checkpoint import load
from patchseg.parameters import DataParameters, ModelParameters, PrepareParameters
from patchseg.patches.prepare import prepare
from patchseg.progress import Progress
from patchseg.training.record import read_metrics


class Lines(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.told = []

    def say(self, line):
        self.told.append(line)


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("values", "then", "now"),
    [
        ({"batch": 8}, "4", "8"),
        ({"rate": 0.5}, "0.01", "0.5"),
        ({"epochs": 9}, "4", "9"),
        ({"seed": 3}, "0", "3"),
        ({"time": 60.0}, "None", "60.0"),
        ({"class_weights": "balanced"}, "None", "balanced"),
    ],
)
def test_another_value_given_to_a_resumed_run_is_refused_naming_both(half, run_training, values, then, now):
    before = bytes_of(half)
    (name,) = values
    with pytest.raises(
        UsageError, match=rf"train\.{name}: the run began with {then}, now it is {now}; leave it out"
    ):
        run_training(half, resume=True, **values)
    assert bytes_of(half) == before


def test_another_network_given_to_a_resumed_run_is_refused(half, run_training):
    with pytest.raises(UsageError, match=r"model\.width: the run began with 4, now it is 8"):
        run_training(half, resume=True, model=ModelParameters(width=8))


def test_a_resumed_run_has_its_own_values_where_none_are_given(half, patches, run_training):
    lines = Lines()
    run_training(half, resume=True, model=ModelParameters(), progress=lines)
    assert "going on after step 20" in lines.told
    last = load(half / "checkpoints/run/last.pt")
    assert last.training["step"] == 80
    assert last.model["width"] == 4
    assert last.parameters["train.rate"] == {"value": 0.01, "source": "the run"}
    assert [line["step"] for line in read_metrics(half / "runs/run")] == [20, 40, 60, 80]


def test_values_equal_to_those_of_the_run_may_be_given_again(finished, run_training):
    assert run_training(finished, resume=True, rate=0.004).exists()


def test_a_finished_run_is_left_as_it_is_and_said_to_be_complete(
    straight, finished, run_training, differences
):
    lines = Lines()
    run_training(finished, resume=True, progress=lines)
    assert "the run is complete after 80 steps; start a longer one with another --name" in lines.told
    ours, theirs = (
        torch.load(f / "checkpoints/run/last.pt", weights_only=True) for f in (finished, straight)
    )
    assert not differences(ours, theirs)
    assert read_metrics(finished / "runs/run") == read_metrics(straight / "runs/run")


@pytest.mark.parametrize("changed", [{"patch": 16}, {"per_image": 3}, {"seed": 1}, {"flips": False}])
def test_patches_cut_otherwise_out_of_the_same_images_are_refused(
    half, patches, tmp_path, run_training, changed
):
    synth = patches.parent / "synth/train"
    cut = {"patch": 32, "per_image": 4, "output": str(tmp_path / "other.h5")} | changed
    other = prepare(synth / "images", synth / "masks", parameters=PrepareParameters(**cut))
    # Only how they were cut tells the two apart.
    with h5py.File(patches) as mine, h5py.File(other, "a") as its:
        its.attrs["classes"], its.attrs["channels"] = mine.attrs["classes"], mine.attrs["channels"]
    with pytest.raises(
        DataError, match=r"other\.h5: holds other patches than those that the run began with; give"
    ):
        run_training(half, file=other, resume=True)


def test_patches_of_other_classes_or_images_are_refused(half, tmp_path, write_patches, noise, run_training):
    other = write_patches(tmp_path / "other.h5", *noise(8, side=32))
    with pytest.raises(DataError, match=r"other\.h5: holds other patches"):
        run_training(half, file=other, resume=True)


def test_masks_edited_under_the_same_images_are_refused(half, patches, tmp_path, run_training):
    synth = shutil.copytree(patches.parent / "synth/train", tmp_path / "synth")
    edited = sorted((synth / "masks").iterdir())[0]
    with Image.open(edited) as mask:
        mask.putpixel((20, 20), 1 if mask.getpixel((20, 20)) != 1 else 2)
        mask.save(edited)
    cut = PrepareParameters(patch=32, per_image=4, output=str(tmp_path / "other.h5"))
    with h5py.File(patches) as mine:
        named = json.loads(mine.attrs["parameters"])["data.classes"]["value"]
    data = DataParameters.model_validate({"classes": named})
    other = prepare(synth / "images", synth / "masks", parameters=cut, data=data)
    with h5py.File(patches) as mine, h5py.File(other) as its:
        assert all(mine.attrs[name] == its.attrs[name] for name in ("classes", "channels", "patch"))
    with pytest.raises(DataError, match=r"other\.h5: holds other patches"):
        run_training(half, file=other, resume=True)


def test_patches_may_be_moved_and_renamed(finished, patches, tmp_path, run_training):
    run_training(finished, file=shutil.copy(patches, tmp_path / "moved.h5"), resume=True)


def test_resuming_what_is_not_there_yet_starts_afresh_and_says_so(
    straight, tmp_path, run_training, differences
):
    lines = Lines()
    run_training(tmp_path, resume=True, progress=lines)
    assert any("last.pt: is not there yet, so the run starts afresh" in line for line in lines.told)
    ours, theirs = (load(f / "checkpoints/run/last.pt") for f in (tmp_path, straight))
    assert not differences(ours.weights, theirs.weights)


def test_a_name_that_is_taken_is_refused_and_kept(half, run_training):
    before = bytes_of(half)
    with pytest.raises(UsageError, match="run: exists already; give --resume, --overwrite or another --name"):
        run_training(half)
    with pytest.raises(UsageError, match="--resume and --overwrite exclude each other"):
        run_training(half, resume=True, overwrite=True)
    assert bytes_of(half) == before
    run_training(half, name="another", epochs=1)


def test_overwriting_replaces_a_run_but_not_notes_beside_it(straight, half, run_training, differences):
    (half / "runs/run/notes.txt").write_text("mine")
    old = list((half / "runs/run").glob("events.*"))
    run_training(half, overwrite=True)
    assert (half / "runs/run/notes.txt").read_text() == "mine"
    assert not any(file.exists() for file in old)
    ours, theirs = (load(f / "checkpoints/run/last.pt") for f in (half, straight))
    assert not differences(ours.weights, theirs.weights)
    assert [line["step"] for line in read_metrics(half / "runs/run")] == [20, 40, 60, 80]


@pytest.mark.parametrize("wrong", [{"class_weights": [1.0]}, {"weights": "nowhere.pt"}])
def test_nothing_is_removed_before_all_parameters_are_known_to_work(half, run_training, wrong):
    before = bytes_of(half)
    with pytest.raises((UsageError, DataError)):
        run_training(half, overwrite=True, **wrong)
    assert bytes_of(half) == before


def test_a_run_may_be_overwritten_by_one_that_starts_from_its_weights(half, run_training):
    best = half / "checkpoints/run/best.pt"
    mean = load(best).weights["mean"]
    run_training(half, overwrite=True, weights=str(best), epochs=1, rate=1e-9)
    assert torch.equal(load(best).weights["mean"], mean)


def test_other_threads_are_warned_of(half, run_training):
    lines = Lines()
    try:
        run_training(half, resume=True, threads=2, progress=lines)
    finally:
        torch.set_num_threads(1)
    assert any("with 2 threads instead of 1: equal in method, not bit for bit" in line for line in lines.told)


def test_a_checkpoint_without_training_state_is_refused(half, run_training):
    shutil.copy(half / "checkpoints/run/best.pt", half / "checkpoints/run/last.pt")
    with pytest.raises(DataError, match="holds no training state; start afresh with --overwrite"):
        run_training(half, resume=True)


def test_weights_of_another_network_are_refused_before_anything_is_written(straight, tmp_path, run_training):
    weights = str(straight / "checkpoints/run/best.pt")
    with pytest.raises(
        DataError, match=r"best\.pt: holds a network of width 4, the run has width 8; leave out"
    ):
        run_training(tmp_path, weights=weights, model=ModelParameters(width=8))
    assert not list(tmp_path.iterdir())


def test_a_run_takes_over_the_network_of_its_first_weights(straight, tmp_path, run_training):
    weights = straight / "checkpoints/run/best.pt"
    run_training(tmp_path, weights=str(weights), model=ModelParameters(), steps=1)
    assert load(tmp_path / "checkpoints/run/last.pt").model == load(weights).model


def test_training_starts_from_the_weights_of_a_checkpoint(straight, tmp_path, run_training):
    weights = straight / "checkpoints/run/best.pt"
    run_training(tmp_path, weights=str(weights), steps=1, rate=1e-9, optimizer="sgd", schedule="constant")
    ours, theirs = load(tmp_path / "checkpoints/run/last.pt").weights, load(weights).weights
    for name in theirs:
        # A step of next to no length moves nothing but the running statistics of the norms.
        if "running" not in name and "num_batches" not in name:
            assert np.allclose(ours[name], theirs[name], atol=1e-6)


def test_a_calibration_does_not_outlive_the_weights_that_it_was_fitted_to(half, run_training):
    for file in (half / "checkpoints/run").glob("*.pt"):
        known = {"temperature": 2.0, "thresholds": None}
        replace(load(file), calibration=known, scores={"mean_iou": 0.0}).save(file)
    before = load(half / "checkpoints/run/best.pt")
    run_training(half, resume=True)
    best, last = (load(half / "checkpoints/run" / name) for name in ("best.pt", "last.pt"))
    assert last.calibration is None
    changed = any(not torch.equal(best.weights[name], weight) for name, weight in before.weights.items())
    assert best.calibration == (None if changed else before.calibration)


def test_a_run_from_weights_is_made_as_they_are_where_nothing_else_is_set(tmp_path, run_training):
    shape = ModelParameters(width=4, levels=2, residual=True, attention=True, upsampling="bilinear")
    first = run_training(tmp_path / "first", model=shape, steps=1)
    second = run_training(tmp_path / "second", model=ModelParameters(), weights=str(first), steps=1)
    assert load(second).model == load(first).model
