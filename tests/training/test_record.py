import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from patchseg.errors import UsageError
from patchseg.training.record import METRICS, PARAMETERS, Record, read_metrics

GIVEN = {"train.rate": {"value": 0.004, "source": "plan"}}


def line(step, loss=1.0):
    return {
        "epoch": step // 10,
        "step": step,
        "loss/train": loss,
        "rate": 0.1,
        "mean_iou": None,
        "iou/a": 0.5,
    }


def write(folder, steps, *, loss=1.0, begin=0):
    with Record(folder, GIVEN, step=begin) as record:
        for step in steps:
            record.write(line(step, loss), [np.full((4, 12, 3), step, np.uint8)])


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0}).Reload()


def test_lines_are_read_back_and_the_parameters_lie_beside_them(tmp_path):
    write(tmp_path / "runs/a", [10, 20])
    assert read_metrics(tmp_path / "runs/a") == [line(10), line(20)]
    assert json.loads((tmp_path / "runs/a" / PARAMETERS).read_text()) == GIVEN


def test_a_run_that_goes_on_cuts_back_what_came_after_its_checkpoint(tmp_path):
    write(tmp_path, [10, 20, 30])
    write(tmp_path, [20, 25], loss=2.0, begin=10)
    assert read_metrics(tmp_path) == [line(10), line(20, 2.0), line(25, 2.0)]
    found = events(tmp_path)
    assert [(e.step, e.value) for e in found.Scalars("loss/train")] == [(10, 1.0), (20, 2.0), (25, 2.0)]
    assert [e.step for e in found.Images("validation/0 image, truth, prediction")] == [10, 20, 25]


@pytest.mark.parametrize("kept", [0, 1, 40])
def test_a_last_line_that_a_crash_cut_short_is_left_out(tmp_path, kept):
    write(tmp_path, [10, 20])
    text = (tmp_path / METRICS).read_text()
    first = text.index("\n") + 1
    (tmp_path / METRICS).write_text(text[: first + kept])
    assert read_metrics(tmp_path) == [line(10)]
    write(tmp_path, [20], begin=10)
    assert (tmp_path / METRICS).read_text() == text


def test_a_folder_without_a_run_has_no_lines(tmp_path):
    assert read_metrics(tmp_path / "nothing") == []


def test_tensorboard_shows_numbers_pictures_and_parameters(tmp_path):
    write(tmp_path, [10, 20])
    found = events(tmp_path)
    assert set(found.Tags()["scalars"]) == {"loss/train", "rate", "iou/a"}  # None is not drawn
    (image, _) = found.Images("validation/0 image, truth, prediction")
    assert (image.height, image.width) == (4, 12)
    (text,) = found.Tensors("parameters/text_summary")
    assert b'"train.rate"' in text.tensor_proto.string_val[0]


def test_a_trained_run_has_all_tags_and_its_panels_are_three_wide(straight):
    found = events(straight / "runs/run")
    classes = {"iou/background", "iou/line", "iou/ellipse"}
    assert set(found.Tags()["scalars"]) == {"loss/train", "loss/val", "rate", "mean_iou", "seconds"} | classes
    lines = read_metrics(straight / "runs/run")
    for tag in found.Tags()["scalars"]:
        drawn = [(e.step, e.value) for e in found.Scalars(tag)]
        assert drawn == [(each["step"], pytest.approx(each[tag], rel=1e-6)) for each in lines]
    (tag,) = found.Tags()["images"]
    assert [(e.step, e.height, e.width) for e in found.Images(tag)] == [
        (s, 64, 3 * 64) for s in (20, 40, 60, 80)
    ]
    (text,) = found.Tensors("parameters/text_summary")
    assert b'"prepare.patch"' in text.tensor_proto.string_val[0]


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UsageError, match=r"runs/a/.*: cannot be written \(.*\); choose a folder"):
        Record(tmp_path / "runs/a", GIVEN)
