import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from patchseg.evaluation.metrics import Confusion
from patchseg.inference.infer import infer
from patchseg.inference.predictor import Predictor
from patchseg.models.checkpoint import load
from patchseg.models.folding import folded
from patchseg.parameters import InferParameters
from patchseg.patches.store import PatchFile
from patchseg.training.record import read_metrics
from patchseg.training.validate import validate

CPU = torch.device("cpu")


class Pointwise(nn.Module):
    """Logits that depend on the pixel alone, so that tiles and their average change nothing."""

    def forward(self, pixels):
        shade = pixels.float() / 64 - 2
        return torch.cat([shade, -shade, shade**2 - 1], dim=1)


@pytest.fixture
def file(tmp_path, noise, write_patches):
    """Return an open file of 8 x 8 patches with validation regions of some shapes."""
    opened = []

    def make(*shapes, ignored=0.2):
        draw = np.random.default_rng(1)
        regions = []
        for shape in shapes:
            mask = draw.integers(0, 3, shape, dtype=np.uint8)
            mask[draw.random(shape) < ignored] = 255
            regions.append((draw.integers(0, 256, (*shape, 1), dtype=np.uint8), mask))
        opened.append(PatchFile(write_patches(tmp_path / "p.h5", *noise(2), regions=regions)))
        return opened[0], regions

    yield make
    for each in opened:
        with each:
            pass


def test_scores_are_those_of_masks_that_infer_makes(straight, patches, tmp_path):
    best = load(straight / "checkpoints/run/best.pt")
    with PatchFile(patches) as stored:
        found = validate(stored, Predictor([folded(best.network())], CPU))
        (image, truth) = (array[:] for array in stored.region("0"))
        names = stored.head.classes.names
    (tmp_path / "images").mkdir()
    Image.fromarray(image[:, :, 0]).save(tmp_path / "images/a.png")
    settings = InferParameters(output=str(tmp_path / "masks"), device="cpu", threads=1)
    infer([tmp_path / "images"], checkpoint=straight / "checkpoints/run/best.pt", parameters=settings)
    mask = np.array(Image.open(tmp_path / "masks/a.png"))
    assert mask.shape == (64, 64)
    assert (found.confusion.counts == Confusion.of(truth, mask, 3).counts).all()
    scores = found.scores(names)
    assert {name: best.scores[name] for name in scores} == scores
    assert scores["mean_iou"] == max(line["mean_iou"] for line in read_metrics(straight / "runs/run"))


def test_the_loss_is_the_naive_mean_over_labelled_pixels_of_all_regions(file):
    stored, regions = file((20, 13), (5, 30), (8, 8))
    logs = []
    for image, truth in regions:
        for row, column in np.ndindex(*truth.shape):
            shade = float(image[row, column, 0]) / 64 - 2
            powers = [math.exp(shade), math.exp(-shade), math.exp(shade**2 - 1)]
            if truth[row, column] != 255:
                logs.append(-math.log(powers[truth[row, column]] / sum(powers)))
    found = validate(stored, Predictor([Pointwise()], CPU))
    assert found.loss == pytest.approx(np.mean(logs), rel=1e-5)
    assert found.confusion.counts.sum() == len(logs)


def test_scores_are_pooled_over_the_pixels_of_all_regions(file):
    stored, regions = file((20, 13), (5, 30))
    expected = Confusion.empty(3)
    for image, truth in regions:
        predicted = Pointwise()(torch.from_numpy(image).permute(2, 0, 1)[None])[0].argmax(0)
        expected += Confusion.of(truth, predicted.numpy().astype(np.uint8), 3)
    found = validate(stored, Predictor([Pointwise()], CPU))
    assert (found.confusion.counts == expected.counts).all()
    scores = found.scores(("a", "b", "c"))
    assert list(scores) == ["loss/val", "mean_iou", "iou/a", "iou/b", "iou/c"]
    assert [scores[f"iou/{name}"] for name in "abc"] == expected.iou


def test_without_regions_there_is_nothing_to_say(file):
    assert validate(file()[0], Predictor([Pointwise()], CPU)) is None


def test_regions_of_nothing_but_ignored_pixels_have_no_score_and_no_loss(file):
    found = validate(file((9, 9), ignored=1.1)[0], Predictor([Pointwise()], CPU))
    assert found.loss is None
    assert set(found.scores(("a", "b", "c")).values()) == {None}


def test_panels_show_image_truth_and_prediction_of_the_first_regions(file):
    stored, regions = file((300, 270), *[(10, 12)] * 5)
    panels = validate(stored, Predictor([Pointwise()], CPU)).panels
    assert [panel.shape for panel in panels] == [(256, 3 * 256, 3)] + [(10, 3 * 12, 3)] * 3
    image, truth = regions[1]
    shown, true, predicted = np.split(panels[1], 3, axis=1)
    assert (shown == image).all()
    # The colour of class k is (k, k, k) here; what is ignored is gray.
    assert (true[truth != 255] == truth[truth != 255][:, None]).all()
    assert (true[truth == 255] == 128).all()
    logits = Pointwise()(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
    assert (predicted[..., 0] == logits.argmax(0).numpy()).all()
