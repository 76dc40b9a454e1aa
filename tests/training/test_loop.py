"""How runs end, and what they say on the way."""

import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from patchseg.errors import Interrupted, UsageError
from patchseg.parameters import AugmentParameters, ModelParameters
from patchseg.progress import Progress
from patchseg.training.average import decay_for
from patchseg.training.record import read_metrics
from patchseg.training.schedule import LAST

GROUP_NORM = ModelParameters(
    width=4, levels=2, norm="group"
)  # nothing depends on what has been looked at besides


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

    def that(self, part):
        """Return the one line that holds a text."""
        (line,) = [line for line in self.lines if part in line]
        return line


def saved(folder, name="last.pt"):
    return torch.load(folder / "checkpoints/run" / name, weights_only=True)


def rates(folder):
    return [(line["step"], line["rate"]) for line in read_metrics(folder / "runs/run")]


def ended_early(folder, start, end):
    """Assert that the rate came down to its end between two steps and that nothing came after."""
    state = saved(folder)["training"]
    assert state["step"] == state["total"] == end
    assert state["course"]["tail"][0] == start
    assert rates(folder)[-1] == (end, pytest.approx(0.004 * LAST))


def test_a_stop_file_ends_the_run_well_and_is_taken_away(tmp_path, run_training):
    stop = tmp_path / "runs/run/stop"
    told = Told({30: stop.touch})
    run_training(tmp_path, schedule="cosine", progress=told)
    ended_early(tmp_path, 40, 60)  # it is looked for every 20 steps; an epoch is longer than a tenth of 40
    assert not stop.exists()
    assert told.that("decays to its end") == (
        "from here on the rate decays to its end; the run ends after 20 steps"
    )


def test_an_interrupt_ends_the_run_well_where_that_is_asked_for(tmp_path, run_training):
    run_training(
        tmp_path, schedule="cosine", on_stop="anneal", progress=Told({30: lambda: signal.raise_signal(signal.SIGINT)})
    )  # fmt: skip
    ended_early(tmp_path, 30, 50)


def test_a_plateau_ends_the_run_well(tmp_path, run_training):
    told = Told()
    run_training(tmp_path, rate=1e-9, epochs=40, patience=3, schedule="constant", ema=0.0, progress=told)
    first, *_ = [line for line in told.lines if "no better score" in line]
    assert first == "no better score for 3 epochs"
    state = saved(tmp_path)["training"]
    assert state["course"]["tail"][0] % 20 == 0
    assert state["step"] == state["total"] == state["course"]["tail"][2] < 40 * 20
    assert rates(tmp_path)[-1][1] == pytest.approx(1e-9 * LAST)


def test_the_schedule_of_plateaus_lowers_its_rate_before_it_ends(tmp_path, run_training):
    run_training(tmp_path, rate=1e-9, epochs=60, patience=2, schedule="plateau", ema=0.0)
    seen = sorted({rate for _, rate in rates(tmp_path)}, reverse=True)
    assert seen[:4] == pytest.approx([1e-9, 1e-10, 1e-11, 1e-12])
    assert rates(tmp_path)[-1][0] < 60 * 20


def test_a_time_that_is_over_before_two_steps_could_be_measured_ends_the_run(tmp_path, run_training):
    def give_up():
        raise AssertionError("the run does not end")

    run_training(tmp_path, time=1e-6, progress=Told({10: give_up}))
    assert saved(tmp_path)["training"]["step"] == saved(tmp_path)["training"]["total"] == 3


EVERYTHING = {
    "ema": 0.9, "patience": 2, "schedule": "plateau", "micro_batch": 2, "loss": "0.5*ce+focal", "warm_up": 0.2,
    "optimizer": "radam", "centred": 0.4, "class_weights": "balanced", "epochs": 8, "epoch_steps": 6, "rate": 0.0005,
}  # fmt: skip


def test_a_run_with_everything_switched_on_goes_on_bit_for_bit(tmp_path, run_training, differences):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    varied = AugmentParameters(strength="strong")
    run_training(straight, augment=varied, **EVERYTHING)
    for steps in (7, 11, 13):
        with pytest.raises(Interrupted):
            run_training(
                stopped, augment=varied, resume=(stopped / "checkpoints").exists(), **EVERYTHING,
                progress=Told({steps: lambda: signal.raise_signal(signal.SIGINT)}),
            )  # fmt: skip
    run_training(stopped, augment=varied, resume=True, **EVERYTHING)
    for name in ("last.pt", "best.pt"):
        found = differences(saved(straight, name), saved(stopped, name))
        assert [d for d in found if not d.endswith(("/source", "/seconds", "/spent"))] == []
    assert saved(straight)["training"]["ema"] == 0.9


@pytest.mark.parametrize("exported", ["teacher", "student"])
@pytest.mark.parametrize("objective", ["fixmatch", "mean-teacher"])
def test_a_run_with_a_teacher_goes_on_bit_for_bit(  # noqa: PLR0917
    tmp_path, run_training, differences, some_unlabelled, objective, exported
):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    given = {
        "file": some_unlabelled, "augment": AugmentParameters(strength="standard"), "objective": objective, "epoch_steps": 8,
        "exported": exported, "confidence": 0.4, "ramp": 0.5, "ema": 0.8, "steps": 24, "batch": 2,
    }  # fmt: skip
    run_training(straight, **given)
    for steps in (5, 7):
        with pytest.raises(Interrupted):
            run_training(
                stopped, resume=(stopped / "checkpoints").exists(), **given,
                progress=Told({steps: lambda: signal.raise_signal(signal.SIGINT)}),
            )  # fmt: skip
    run_training(stopped, resume=True, **given)
    for name in ("last.pt", "best.pt"):
        found = differences(saved(straight, name), saved(stopped, name))
        assert [d for d in found if not d.endswith(("/source", "/seconds", "/spent"))] == []
    lines = read_metrics(straight / "runs/run")
    assert all(line["loss/train"] > line["loss/labelled"] > 0 for line in lines)
    assert all(0 < line["unlabelled/learned"] <= 1 for line in lines)
    other = "student" if exported == "teacher" else "teacher"
    assert all(0 < line[f"mean_iou/{other}"] < 1 for line in lines)
    sheet = np.asarray(Image.open(straight / "runs/run/unlabelled.png"))
    assert sheet.shape == (2 * 16 + 2, 4 * 16, 3)  # two patches below each other, four pictures of each
    assert (sheet[:16, :16] == sheet[:16, :16, :1]).all()  # a gray image
    state = saved(straight)
    teacher, student = state["training"]["teacher"] or state["weights"], state["training"]["network"]
    assert any(not torch.equal(teacher[name], student[name]) for name in student)
    assert (state["training"]["teacher"] is None) == (exported == "teacher")
    assert torch.equal(
        state["weights"]["head.weight"], {"teacher": teacher, "student": student}[exported]["head.weight"]
    )


def test_a_run_with_contrast_goes_on_bit_for_bit(tmp_path, run_training, differences):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    given = {
        "augment": AugmentParameters(strength="standard"), "objective": "supcon", "contrast_every": 3, "epoch_steps": 8,
        "ema": 0.8, "steps": 20, "centred": 0.4,
    }  # fmt: skip
    run_training(straight, **given)
    for steps in (4, 7):
        with pytest.raises(Interrupted):
            run_training(
                stopped, resume=(stopped / "checkpoints").exists(), **given,
                progress=Told({steps: lambda: signal.raise_signal(signal.SIGINT)}),
            )  # fmt: skip
    run_training(stopped, resume=True, **given)
    for name in ("last.pt", "best.pt"):
        found = differences(saved(straight, name), saved(stopped, name))
        assert [d for d in found if not d.endswith(("/source", "/seconds", "/spent"))] == []
    lines = read_metrics(straight / "runs/run")
    assert all(line["loss/labelled"] > 0 < line["loss/contrast"] for line in lines)
    state = saved(straight)
    projector = state["training"]["objective"]["projector"]
    assert projector["layers.0.weight"].shape == (256, 8)
    assert not [
        name for name in {**state["weights"], **saved(straight, "best.pt")["weights"]} if "projector" in name
    ]
    assert saved(straight, "best.pt")["training"] is None
    moments = state["training"]["optimizer"]["state"]
    assert [m["step"].item() for m in moments.values()][-6:] == [
        7.0
    ] * 6  # the projector has learned at 7 steps of 20


def test_contrast_changes_what_is_learned_and_a_weight_of_0_does_not(tmp_path, run_training):
    weights = []
    for name, values in (
        ("plain", {}),
        ("none", {"objective": "supcon", "contrast_weight": 0.0}),
        ("some", {"objective": "supcon"}),
    ):
        run_training(tmp_path / name, steps=3, ema=0.0, model=GROUP_NORM, **values)
        weights.append(saved(tmp_path / name)["weights"])
    plain, none, some = weights
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert not torch.equal(plain["down.0.0.weight"], some["down.0.0.weight"])


def test_the_teacher_is_the_average_of_the_student_step_by_step(tmp_path, run_training, some_unlabelled):
    """Two steps: after the first it is the student, after the second the mean of both, min(1 - 1 / (t + 1), decay)."""
    given = {"file": some_unlabelled, "objective": "fixmatch", "ema": 0.9, "batch": 2, "schedule": "constant"}
    for steps in (1, 2):
        run_training(tmp_path / str(steps), steps=steps, **given)
    first, second = saved(tmp_path / "1"), saved(tmp_path / "2")
    name = "head.weight"
    assert torch.equal(first["weights"][name], first["training"]["network"][name])
    expected = (first["training"]["network"][name] + second["training"]["network"][name]) / 2
    torch.testing.assert_close(second["weights"][name], expected)
    assert not torch.equal(first["training"]["network"][name], second["training"]["network"][name])


def test_an_early_end_that_is_interrupted_goes_on_bit_for_bit(tmp_path, run_training, differences):
    for name in ("straight", "stopped"):
        folder = tmp_path / name
        at = {30: lambda folder=folder: (folder / "runs/run/stop").touch()}
        if name == "stopped":
            at[47] = lambda: signal.raise_signal(signal.SIGINT)
            with pytest.raises(Interrupted):
                run_training(folder, schedule="cosine", progress=Told(at))
            run_training(folder, schedule="cosine", resume=True)
        else:
            run_training(folder, schedule="cosine", progress=Told(at))
    found = differences(*(saved(tmp_path / name) for name in ("straight", "stopped")))
    assert [d for d in found if not d.endswith(("/source", "/seconds", "/spent"))] == []


def test_the_average_is_what_is_validated_and_saved(tmp_path, run_training):
    run_training(tmp_path / "with", ema=0.9, schedule="constant", rate=0.01)
    run_training(tmp_path / "without", ema=0.0, schedule="constant", rate=0.01)
    state, plain = saved(tmp_path / "with"), saved(tmp_path / "without")
    raw = state["training"]["network"]
    # The steps are the same; only what is saved differs.
    assert all(torch.equal(raw[name], plain["weights"][name]) for name in raw)
    assert any(not torch.equal(raw[name], state["weights"][name]) for name in raw)
    assert plain["training"]["network"] is None


def test_a_class_that_is_never_predicted_is_named_once(tmp_path, write_patches, run_training):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (16, 16, 16, 1), dtype=np.uint8)
    masks = np.zeros((16, 16, 16), np.uint8)
    masks[:, 0, 0] = 1
    told = Told()
    run_training(
        tmp_path, file=write_patches(tmp_path / "p.h5", images, masks), steps=500, epoch_steps=100, loss="ce",
        ema=0.0, centred=0.0, progress=told,
    )  # fmt: skip
    assert told.that("has not been predicted").startswith("class 1 has not been predicted in any patch")


def test_the_plan_is_told_with_its_reasons_and_where_the_patches_are(tmp_path, run_training):
    told = Told()
    run_training(tmp_path, steps=3, progress=told)
    assert told.that("train.rate") == "  train.rate 0.004: suits adamw and a width of 4"
    assert told.that("kept on the device").endswith("free")
    assert not [line for line in told.lines if "train.batch" in line]  # it was given


def test_without_a_validation_region_it_is_said_what_is_saved(tmp_path, write_patches, noise, run_training):
    told = Told()
    file = write_patches(tmp_path / "p.h5", *noise(8, side=16))
    run_training(tmp_path, file=file, steps=2, patience=1, progress=told)
    assert told.that("no image is kept for validation").endswith("whatever they are worth")
    assert told.that("--patience changes nothing")


def test_a_schedule_of_plateaus_without_patience_is_refused(tmp_path, run_training):
    with pytest.raises(UsageError, match="nothing says how many; give --patience"):
        run_training(tmp_path, schedule="plateau")
    assert not list(tmp_path.iterdir())


def test_memory_that_runs_out_is_recorded_as_another_recipe(tmp_path, run_training, monkeypatch):
    from patchseg.models.unet import UNet

    forward = UNet.forward

    def hungry(self, pixels):
        if self.training and len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(self, pixels)

    monkeypatch.setattr(UNet, "forward", hungry)
    told = Told()
    run_training(tmp_path, steps=4, progress=told)
    assert "micro-batches of 2" in told.that("memory has run out")
    assert saved(tmp_path)["parameters"]["train.micro_batch"] == {"value": 2, "source": "memory ran out"}
    assert saved(tmp_path)["training"]["micro"] == 2
    run_training(tmp_path, steps=4, resume=True)
    kept = json.loads((tmp_path / "runs/run/parameters.effective.json").read_text())
    assert kept["train.micro_batch"] == {"value": 2, "source": "memory ran out"}


def test_a_run_goes_on_with_a_null_where_it_planned(tmp_path, run_training):
    for resume in (False, True):
        run_training(tmp_path, steps=2, ema=None, schedule=None, resume=resume)
    with pytest.raises(UsageError, match=r"train\.steps: the run began with 2, now it is None"):
        run_training(tmp_path, steps=None, resume=True)


def test_other_micro_batches_are_taken_and_told(tmp_path, run_training):
    with pytest.raises(Interrupted):
        run_training(tmp_path, progress=Told({3: lambda: signal.raise_signal(signal.SIGINT)}))
    told = Told()
    run_training(tmp_path, micro_batch=1, resume=True, progress=told)
    assert told.that("micro-batches of 1 instead of 4").startswith("  with")
    assert saved(tmp_path)["training"]["micro"] == 1


def test_a_run_that_is_stopped_while_it_is_measured_still_averages_by_its_steps(tmp_path, run_training):
    with pytest.raises(Interrupted):
        run_training(tmp_path, time=2.0, progress=Told({3: lambda: signal.raise_signal(signal.SIGINT)}))
    told = Told()
    run_training(tmp_path, time=2.0, resume=True, progress=told)
    state = saved(tmp_path)["training"]
    planned = int(told.that("steps fit into").split()[0])  # the time may end it before
    assert state["ema"] == decay_for(planned) < 0.999
    assert saved(tmp_path)["parameters"]["train.ema"] == {"value": state["ema"], "source": "plan"}


def test_a_wish_to_end_outlives_a_crash(tmp_path, run_training, differences):
    straight, crashed = tmp_path / "straight", tmp_path / "crashed"

    def crash():
        raise ZeroDivisionError

    run_training(straight, schedule="cosine", progress=Told({30: (straight / "runs/run/stop").touch}))
    at = {30: (crashed / "runs/run/stop").touch, 45: crash}
    with pytest.raises(ZeroDivisionError):
        run_training(crashed, schedule="cosine", progress=Told(at))
    assert not (crashed / "runs/run/stop").exists()
    run_training(crashed, schedule="cosine", resume=True)
    found = differences(saved(straight), saved(crashed))
    assert [d for d in found if not d.endswith(("/source", "/seconds", "/spent"))] == []
