import io
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError, UsageError
from patchseg.labels.classes import Classes, MaskReading
from patchseg.models import build
from patchseg.models.checkpoint import FORMAT, Checkpoint, load

SPEC = {"name": "unet", "channels": 2, "classes": 3, "width": 4, "levels": 2, "norm": "batch"}
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 2, 12, 9), dtype=np.uint8))
TRAINING = {"step": 7, "moments": [torch.arange(3.0)], "order": {"seed": 3}, "best": None}


def trained():
    """Return a network that has seen a batch, so that its norms hold statistics of their own."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build(SPEC)
        network.set_normalization([100.0, 30.0], [50.0, 20.0])
        network.train()(PIXELS)
    return network.eval()


def checkpoint(**values):
    fields = {
        "model": SPEC,
        "classes": Classes(("ground", "line", "blob"), (0, 7, None), ("#000000", "#e69f00", "#56b4e9")),
        "channels": [{"name": "a", "mean": 100.0, "std": 50.0}, {"name": "b", "mean": 30.0, "std": 20.0}],
        "dtype": "uint8",
        "patch": 96,
        "scale": 0.5,
        "weights": trained().state_dict(),
        "parameters": {"train.rate": {"value": 0.01, "source": "flag"}},
        "scores": {"mean_iou": 0.5},
        "training": TRAINING,
    }
    return Checkpoint(**fields | values)


@pytest.fixture
def stored(tmp_path):
    """Return a file and what torch reads of it."""
    checkpoint().save(tmp_path / "best.pt")
    return tmp_path / "best.pt", torch.load(tmp_path / "best.pt", weights_only=True)


def refusal(path):
    """Return the sentence with which a file is refused; it names the file."""
    with pytest.raises(DataError) as caught:
        load(path)
    assert caught.value.exit_code == 3
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_what_is_saved_is_read_back(tmp_path):
    before = checkpoint()
    before.save(tmp_path / "new" / "best.pt")
    after = load(tmp_path / "new" / "best.pt")
    for name in ("model", "classes", "channels", "dtype", "patch", "scale", "parameters", "scores"):
        assert getattr(after, name) == getattr(before, name)
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], weight) for name, weight in before.weights.items())
    assert after.training["step"] == 7
    assert torch.equal(after.training["moments"][0], torch.arange(3.0))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["best.pt"]


def test_it_rebuilds_its_own_model_with_normalization_and_statistics(stored):
    rebuilt = load(stored[0]).network()
    assert not rebuilt.training
    with torch.no_grad():
        assert torch.equal(rebuilt(PIXELS), trained()(PIXELS))


def test_reading_and_rebuilding_draw_nothing_from_the_global_generator(stored):
    before = torch.get_rng_state()
    load(stored[0]).network()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rebuilt_network_that_learns_leaves_the_checkpoint_as_it_was(stored):
    after = load(stored[0])
    network = after.network()
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    assert after.weights["head.weight"].abs().sum() > 0


def test_a_file_holds_plain_tensors_and_plain_values_only(stored):
    content = stored[1]
    assert content["patchseg_format"] == FORMAT
    assert content["classes"][1] == {"name": "line", "value": 7, "color": "#e69f00"}
    left = [content]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            left += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            left += part
        else:
            assert type(part) in (torch.Tensor, str, int, float, bool, type(None)), part


def test_saving_replaces_the_older_file_only_when_it_is_whole(stored):
    path, _ = stored
    before = path.read_bytes()
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        checkpoint(scores={"cannot be stored": lambda: 0}).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_what_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / "best.pt")
    told = r"best\.pt: is no file; expected a checkpoint of patchseg, such as checkpoints/NAME/best\.pt"
    with pytest.raises(UsageError, match=told):
        load(tmp_path / "best.pt")


def save_text(path):
    path.write_text("learning rate 0.01\n" * 20)


def save_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "no checkpoint")


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b""), save_text, save_zip])
def test_a_file_of_something_else_is_refused(tmp_path, make):
    make(tmp_path / "best.pt")
    assert "is damaged or no checkpoint (" in refusal(tmp_path / "best.pt")


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [1, 2], {"head.weight": torch.zeros(3)}, {"patchseg_format": "one"}]
)
def test_a_torch_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "best.pt")
    assert "is a file of torch, but of something else" in refusal(tmp_path / "best.pt")


def test_a_newer_format_is_refused(stored):
    path, content = stored
    torch.save(content | {"patchseg_format": FORMAT + 1}, path)
    expected = f"has format {FORMAT + 1}, this patchseg reads up to {FORMAT}; install a newer patchseg"
    assert expected in refusal(path)


@pytest.mark.parametrize("name", ["model", "classes", "weights", "scale", "training"])
def test_a_lacking_field_is_named(stored, name):
    path, content = stored
    torch.save({key: value for key, value in content.items() if key != name}, path)
    assert f"is incomplete ('{name}')" in refusal(path)


@pytest.mark.parametrize("classes", [[{"name": "a"}], [3], 5])
def test_classes_of_another_form_are_refused(stored, classes):
    path, content = stored
    torch.save(content | {"classes": classes}, path)
    assert "is incomplete (" in refusal(path)


class Malice:
    """Would create a file when it is read."""

    def __init__(self, marker):
        self._marker = marker

    def __reduce__(self):
        return open, (str(self._marker), "w")


@pytest.mark.parametrize("place", ["weights", "scores", "whole file", "bare pickle"])
def test_code_in_a_file_does_not_run(stored, place):
    path, content = stored
    marker = path.parent / "it ran"
    malice = Malice(marker)
    if place == "bare pickle":
        path.write_bytes(pickle.dumps(malice))
        assert "is damaged or no checkpoint" in refusal(path)
    else:
        torch.save(malice if place == "whole file" else content | {place: {"mean": malice}}, path)
        assert "holds objects that could run code, so it is not read" in refusal(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(malice)).close()
    assert marker.exists(), "the malice works where pickles are trusted"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "swin"}, 'network "swin", but this patchseg has only unet'),
        ({"norm": "layer"}, "describes no network ('layer')"),
        ({"depth": 3}, "describes no network (UNet.__init__() got an unexpected keyword argument 'depth')"),
        ({"width": "four"}, "describes no network ("),
        ({"width": 8}, "its parts do not fit its network (down.0.0.weight)"),
        ({"levels": 3}, "its parts do not fit its network (down.2.0.weight)"),
        ({"levels": 1}, "its parts do not fit its network ("),
    ],
)
def test_a_network_that_cannot_be_built_or_has_other_weights_is_refused(tmp_path, change, told):
    checkpoint(model=SPEC | change).save(tmp_path / "best.pt")
    assert told in refusal(tmp_path / "best.pt")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"classes": Classes(("a", "b"), (0, 1), ("#000000", "#ffffff"))}, "fit its network (classes)"),
        ({"channels": [{"name": "gray", "mean": 1.0, "std": 1.0}]}, "fit its network (channels)"),
        ({"weights": {}}, "fit its network (mean)"),
        ({"weights": {"mean": 5}}, "describes no network ("),
        ({"weights": [torch.zeros(2)]}, "describes no network ("),
        ({"model": None}, "describes no network ("),
        ({"dtype": "uint13"}, "describes no network (data type 'uint13' not understood)"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(tmp_path, change, told):
    replace(checkpoint(), **change).save(tmp_path / "best.pt")
    assert told in refusal(tmp_path / "best.pt")


def content_of_a_small_file():
    buffer = io.BytesIO()
    fields = {name: getattr(checkpoint(training=None), name) for name in Checkpoint.__dataclass_fields__}
    torch.save(fields | {"classes": fields["classes"].to_json(), "patchseg_format": FORMAT}, buffer)
    return buffer.getvalue()


WHOLE = content_of_a_small_file()


def is_whole(path):
    """Tell whether a file is read as what was stored, bit for bit, rather than refused; it never is anything else."""
    try:
        after = load(path)
    except DataError:
        return False
    assert all(torch.equal(after.weights[name], weight) for name, weight in trained().state_dict().items())
    assert (after.model, after.patch, after.scale) == (SPEC, 96, 0.5)
    return True


@given(length=st.integers(0, len(WHOLE) - 1))
@settings(max_examples=30)
def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "cut.pt"
    path.write_bytes(WHOLE[:length])
    assert not is_whole(path)


@given(place=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
@settings(max_examples=80)
def test_a_bit_that_flips_is_found_or_does_no_harm(tmp_path_factory, place, bit):
    # Torch itself would read most changed weights without a word. Some bytes are padding.
    damaged = bytearray(WHOLE)
    damaged[place] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.pt"
    path.write_bytes(damaged)
    is_whole(path)


def test_a_changed_weight_is_found(tmp_path):
    weight = trained().state_dict()["down.0.0.weight"].numpy().tobytes()
    place = WHOLE.index(weight)
    (tmp_path / "best.pt").write_bytes(WHOLE[:place] + weight[::-1] + WHOLE[place + len(weight) :])
    assert "has changed since it was written" in refusal(tmp_path / "best.pt")


def test_how_masks_were_read_is_kept_and_may_be_missing_in_older_files(tmp_path):
    before = checkpoint()
    before.classes = replace(before.classes, reading=MaskReading(ignore=-1, tolerance=3.0))
    before.mapping = [{"source": -1, "target": 255, "pixels": 9}]
    before.save(tmp_path / "best.pt")
    after = load(tmp_path / "best.pt")
    assert (after.classes, after.mapping) == (before.classes, before.mapping)
    content = torch.load(tmp_path / "best.pt", weights_only=True)
    del content["reading"], content["mapping"]
    torch.save(content, tmp_path / "older.pt")
    older = load(tmp_path / "older.pt")
    assert (older.classes.reading, older.mapping) == (MaskReading(), [])
    torch.save(content | {"reading": 5}, tmp_path / "odd.pt")
    assert "is incomplete" in refusal(tmp_path / "odd.pt")


def test_a_calibration_is_kept_and_may_be_missing_in_older_files(tmp_path):
    known = {"temperature": 1.5, "thresholds": [0.2, 0.3, 0.5], "pixels": 7}
    checkpoint(calibration=known).save(tmp_path / "new.pt")
    assert load(tmp_path / "new.pt").calibration == known
    content = torch.load(tmp_path / "new.pt", weights_only=True)
    del content["calibration"]
    torch.save(content, tmp_path / "old.pt")
    assert load(tmp_path / "old.pt").calibration is None


@pytest.mark.parametrize(
    "known",
    [
        {"temperature": 0.0, "thresholds": None},
        {"temperature": float("nan"), "thresholds": None},
        {"temperature": 1.0, "thresholds": [0.5, 0.5]},
        {"temperature": 1.0, "thresholds": [0.5, -0.5, 1.0]},
    ],
)
def test_a_calibration_that_cannot_be_applied_is_refused(tmp_path, known):
    checkpoint(calibration=known).save(tmp_path / "best.pt")
    assert "its parts do not fit its network (calibration)" in refusal(tmp_path / "best.pt")


@pytest.mark.parametrize("known", [{"temperature": 1.0}, {"temperature": "warm", "thresholds": None}, [1.0]])
def test_a_calibration_of_another_form_is_refused(tmp_path, known):
    checkpoint(calibration=known).save(tmp_path / "best.pt")
    refusal(tmp_path / "best.pt")
