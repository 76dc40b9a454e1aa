"""What is fitted to validation images, and to files of probabilities; what checkpoints get of it."""

import json
import shutil
from dataclasses import fields

import h5py
import numpy as np
import pytest
import torch

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.evaluation.calibration import Pixels, fit_thresholds
from patchseg.evaluation.metrics import Confusion
from patchseg.inference.calibration import Calibration
from patchseg.models.checkpoint import load
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress
from patchseg.studies.calibrate import fitted

CPU = patchseg.InferParameters(device="cpu", threads=1)


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Return a folder with a network that has learned a little from 4 images of 64 x 64, and 2 for validation."""
    folder = tmp_path_factory.mktemp("job")
    patchseg.synth(folder / "data", parameters=patchseg.SynthParameters(train=6, test=0, height=64, width=64))
    patches = patchseg.prepare(
        folder / "data/train/images", folder / "data/train/masks",
        parameters=patchseg.PrepareParameters(
            output=str(folder / "patches.h5"), patch=32, per_image=4, validation=0.34
        ),
    )  # fmt: skip
    best = patchseg.train(
        patches, folder=folder, model=patchseg.ModelParameters(width=4, levels=2),
        parameters=patchseg.TrainParameters(steps=30, batch=4, threads=1, device="cpu"),
    )  # fmt: skip
    best.rename(folder / "best.pt")
    return folder


@pytest.fixture
def here(job, tmp_path):
    """Return a folder of one's own with best.pt, patches.h5 and, of the images for validation, `images` and `masks`."""
    for name in ("best.pt", "patches.h5"):
        shutil.copy(job / name, tmp_path)
    with h5py.File(tmp_path / "patches.h5") as file:
        sources = [file["sources/path"][group.attrs["source"]] for group in file["regions"].values()]
    for side in ("images", "masks"):
        (tmp_path / side).mkdir()
    for source in map(bytes.decode, sources):
        name = source.rsplit("/", 1)[-1]
        for side in ("images", "masks"):
            shutil.copy(job / "data/train" / side / name, tmp_path / side)
    return tmp_path


def calibrate(here, *, progress=None, overwrite=False, infer=CPU, checkpoint=None, **values):
    return patchseg.calibrate(
        checkpoint or here / "best.pt", here / "patches.h5", parameters=patchseg.CalibrateParameters(**values),
        infer=infer, overwrite=overwrite, progress=progress,
    )  # fmt: skip


def predicted(here, *, kind="float16", **values):
    """Write the masks and probabilities of the images for validation into the folder `out`."""
    settings = CPU.model_copy(
        update={"output": str(here / "out"), "probabilities": True, "probability_type": kind} | values
    )
    return patchseg.infer([here / "images"], checkpoint=here / "best.pt", parameters=settings)


def test_it_is_what_makes_the_validation_images_most_likely(here):
    assert calibrate(here) == [here / "best.pt"]
    found = load(here / "best.pt").calibration
    engine = patchseg.engine_of(here / "best.pt", CPU)
    logs = []
    with PatchFile(here / "patches.h5") as file:
        for name in file.region_names():
            image, truth = (part[:] for part in file.region(name))
            averaged = np.concatenate(list(patchseg.predict_rows(image, engine)), axis=1)
            logs.append((torch.from_numpy(averaged), torch.from_numpy(truth)))

    def loss(temperature):
        rows = [
            Calibration(temperature).probabilities(shares).log().permute(1, 2, 0)[truth != 255].gather(
                1, truth[truth != 255].long()[:, None]
            )
            for shares, truth in logs
        ]  # fmt: skip
        return -float(torch.cat(rows).double().mean())

    assert found["nll_before"] == pytest.approx(loss(1.0), rel=1e-5)
    assert found["nll_after"] == pytest.approx(loss(found["temperature"]), rel=1e-5)
    assert found["nll_after"] < found["nll_before"]
    for factor in (0.98, 1.02):
        assert loss(found["temperature"] * factor) > loss(found["temperature"])
    assert (found["images"], found["pixels"]) == (2, 2 * 64 * 64)
    assert found["thresholds"] is None
    assert found["mean_iou_after"] == found["mean_iou_before"]
    assert sum(found["reliability_before"]["count"]) == found["pixels"]


def test_of_the_checkpoint_nothing_else_changes(here):
    before = load(here / "best.pt")
    calibrate(here)
    after = load(here / "best.pt")
    for name in {field.name for field in fields(before)} - {"calibration", "weights"}:
        assert getattr(after, name) == getattr(before, name), name
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], weight) for name, weight in before.weights.items())
    assert sorted(path.name for path in here.iterdir()) == ["best.pt", "images", "masks", "patches.h5"]


def test_what_is_calibrated_is_left_as_it_is_without_overwrite(here):
    calibrate(here)
    before = (here / "best.pt").read_bytes()
    with pytest.raises(
        UsageError, match=r"best\.pt: is calibrated already \(temperature [\d.]+\); give --over"
    ):
        calibrate(here)
    assert (here / "best.pt").read_bytes() == before
    calibrate(here, overwrite=True, thresholds=True)
    assert len(load(here / "best.pt").calibration["thresholds"]) == 3


def test_thresholds_raise_the_mean_iou_of_the_masks_that_infer_makes(here):
    calibrate(here, thresholds=True)
    found = load(here / "best.pt").calibration
    assert found["mean_iou_after"] > found["mean_iou_before"]
    total = Confusion.empty(3)
    engine = patchseg.engine_of(here / "best.pt", CPU.model_copy(update={"calibrated": True}))
    with PatchFile(here / "patches.h5") as file:
        for name in file.region_names():
            image, truth = (part[:] for part in file.region(name))
            total += Confusion.of(truth, patchseg.predict(image, engine), 3)
    assert total.mean_iou == pytest.approx(found["mean_iou_after"], abs=1e-4)


def test_thresholds_are_those_of_calibrated_probabilities():
    draw = np.random.default_rng(0)
    ones = draw.beta(0.5, 0.5, 2000).astype(np.float32).clip(1e-3, 1 - 1e-3)
    truth = (draw.random(2000) < 0.6 * ones).astype(np.uint8)
    known = Pixels(np.stack([1 - ones, ones]), truth)
    found = fitted(known, images=1, thresholds=True)
    shares = Calibration(found["temperature"]).probabilities(torch.from_numpy(known.probabilities)).numpy()
    assert found["thresholds"] == fit_thresholds(Pixels(shares, truth))
    assert found["thresholds"] != pytest.approx(fit_thresholds(known), rel=1e-3)


def test_files_of_probabilities_give_the_same_as_the_images_that_they_are_of(here):
    calibrate(here)
    expected = load(here / "best.pt").calibration
    for kind, close in (("float16", 2e-3), ("uint8", 5e-2)):
        masks = predicted(here, kind=kind, output=str(here / kind))
        calibrate(here, overwrite=True, masks=str(masks), truth=str(here / "masks"))
        found = load(here / "best.pt").calibration
        assert found["temperature"] == pytest.approx(expected["temperature"], rel=close)
        assert (found["images"], found["pixels"]) == (2, 2 * 64 * 64)


def test_pixels_outside_of_a_region_of_interest_do_not_count(here):
    masks = predicted(here, roi="10,20,30,5")
    calibrate(here, masks=str(masks), truth=str(here / "masks"))
    assert load(here / "best.pt").calibration["pixels"] == 2 * 30 * 5


def test_several_checkpoints_get_the_same_from_masks(here):
    other = shutil.copy(here / "best.pt", here / "other.pt")
    masks = predicted(here)
    files = [here / "best.pt", other]
    assert calibrate(here, checkpoint=files, masks=str(masks), truth=str(here / "masks")) == files
    folds = [{"checkpoint": file.relative_to(here).as_posix()} for file in files]
    (here / "crossval.json").write_text(json.dumps({"folds": folds}), encoding="utf-8")
    settings = {"masks": str(masks), "truth": str(here / "masks"), "overwrite": True}
    assert calibrate(here, checkpoint=here / "crossval.json", **settings) == files
    first, second = (load(file).calibration for file in files)
    assert first == second
    patchseg.infer(
        [here / "images"], checkpoint=files,
        parameters=CPU.model_copy(update={"output": str(here / "mean"), "calibrated": True}),
    )  # fmt: skip


def test_the_tiles_are_those_that_are_asked_for(here):
    calibrate(here)
    usual = load(here / "best.pt").calibration["nll_before"]
    calibrate(here, overwrite=True, infer=CPU.model_copy(update={"tile": 16, "blend": "flat"}))
    assert load(here / "best.pt").calibration["nll_before"] != pytest.approx(usual, rel=1e-6)


def test_it_warns_of_few_images_and_of_those_by_which_the_network_was_chosen(here):
    told = Told()
    calibrate(here, progress=told)
    assert any("was chosen by its score on these same images" in line for line in told.lines)
    assert any(line.startswith("fitted on 2 images: on so few,") for line in told.lines)
    masks, told = predicted(here), Told()
    calibrate(here, overwrite=True, progress=told, masks=str(masks), truth=str(here / "masks"))
    assert not any("chosen" in line for line in told.lines)


def refused(here, kind, told, **values):
    before = (here / "best.pt").read_bytes()
    with pytest.raises(kind, match=told) as caught:
        calibrate(here, **values)
    assert "\n" not in str(caught.value)
    assert (here / "best.pt").read_bytes() == before


def test_patches_of_other_classes_or_of_another_scale_are_refused(here):
    with h5py.File(here / "patches.h5", "a") as file:
        names = file.attrs["classes"]
        file.attrs["classes"] = names.replace('"class_1"', '"<script>"').replace('"line"', '"<script>"')
        assert file.attrs["classes"] != names
    refused(here, DataError, r"patches\.h5: has the classes .*<script>.*, the checkpoint has learned ")
    with h5py.File(here / "patches.h5", "a") as file:
        file.attrs["classes"], file.attrs["scale"] = names, 0.5
    refused(
        here, DataError, r"patches\.h5: was cut at 0\.5 of the images' size, the checkpoint works at 1\.0"
    )


def test_patches_without_validation_images_are_refused(here):
    with h5py.File(here / "patches.h5", "a") as file:
        for name in list(file["regions"]):
            del file["regions"][name]
    refused(here, DataError, r"patches\.h5: holds no image for validation, .* --masks and --truth")


def test_images_without_a_labelled_pixel_are_refused(here):
    with h5py.File(here / "patches.h5", "a") as file:
        for group in file["regions"].values():
            group["mask"][:] = 255
    refused(here, DataError, "no pixel has both a class and a prediction")


def test_what_does_not_go_together_is_refused(here):
    masks = str(predicted(here))
    truth = str(here / "masks")
    refused(here, UsageError, "--masks and --truth belong together", masks=masks)
    refused(here, UsageError, "--masks and --truth belong together", truth=truth)
    refused(
        here, UsageError, r"b\.pt: is one checkpoint too many", checkpoint=[here / "best.pt", _copy(here)]
    )
    refused(here, UsageError, "masks.parameters.effective.json: is not there", masks=truth, truth=truth)
    (here / "out/probabilities").rename(here / "out/others")
    told = r"probabilities.*\.tif: is not there; infer again with --probabilities"
    refused(here, UsageError, told, masks=masks, truth=truth)


def _copy(here):
    return shutil.copy(here / "best.pt", here / "b.pt")


def test_probabilities_that_are_calibrated_already_are_refused(here):
    calibrate(here)
    masks = predicted(here, calibrated=True)
    told = "holds probabilities that are calibrated already; infer once more without --calibrated"
    refused(here, UsageError, told, masks=str(masks), truth=str(here / "masks"), overwrite=True)


def test_probabilities_and_truth_of_two_sizes_are_refused(here):
    masks = predicted(here)
    for file in (here / "masks").iterdir():
        file.unlink()
        np.save(file.with_suffix(".npy"), np.zeros((64, 63), np.uint8))
    told = r"\.tif: is 64 x 64 pixels, its truth .*\.npy is 64 x 63; rows x columns must be equal"
    refused(here, DataError, told, masks=str(masks), truth=str(here / "masks"))


def test_masks_of_other_classes_are_refused(here):
    masks = predicted(here)
    record = masks / "parameters.effective.json"
    record.write_text(record.read_text().replace('"name": "', '"name": "my '))
    told = r"out: has the classes my .*, the checkpoint has learned "
    refused(here, DataError, told, masks=str(masks), truth=str(here / "masks"))


def test_annotations_are_refused_with_the_way_to_masks(here):
    masks = predicted(here)
    (here / "via.json").write_text("{}")
    told = r"via\.json: holds no masks .* run `patchseg evaluate .*, and give .*truth"
    refused(here, UsageError, told, masks=str(masks), truth=str(here / "via.json"))
