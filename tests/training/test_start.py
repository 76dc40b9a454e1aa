"""What a run begins with: settings that suit its network, weights for the encoder, and an encoder that is held still."""

import copy
import shutil

import pytest
import torch
from torch import nn

from patchseg.errors import DataError, UsageError
from patchseg.inference.predict import predict
from patchseg.models import build
from patchseg.models.checkpoint import load
from patchseg.parameters import ModelParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress
from patchseg.training.batch import Batch
from patchseg.training.learner import Learner
from patchseg.training.optimizers import groups_of, optimizer_of, set_rate
from patchseg.training.start import ORIGIN, require_encoder, require_settings

CPU = torch.device("cpu")
LIBRARY = ModelParameters(name="smp/linknet", encoder="tu-test_resnet")  # the smallest there is


class Heard(Progress):
    def __init__(self, steps=0):
        self.said, self.left = [], steps

    def say(self, text):
        self.said.append(text)

    def step(self, count=1, note=""):
        self.left -= count
        if not self.left:
            raise ZeroDivisionError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights for the encoder, of three channels."""
    torch.manual_seed(3)
    net = build({"name": LIBRARY.name, "channels": 3, "classes": 2, "encoder": LIBRARY.encoder})
    path = tmp_path_factory.mktemp("weights") / "encoder.pth"
    torch.save(
        {name: torch.randn_like(w) if w.ndim > 1 else w for name, w in net.encoder.state_dict().items()}, path
    )
    return str(path)


@pytest.fixture
def learner(patches):
    """Make a learner of a network with an encoder, and a batch; parameters of train as keywords."""
    with PatchFile(patches) as file:
        images = torch.randint(0, 255, (4, 1, 32, 32), generator=torch.Generator().manual_seed(0))
        batch = Batch(images.to(torch.uint8), (images[:, 0] > 120).to(torch.uint8))

        def make(**values):
            settings = TrainParameters(**{"rate": 0.01, "batch": 4, "weight_decay": 0.1} | values)
            return Learner.of(file, settings, LIBRARY, CPU), batch

        yield make


def state_of(module):
    return copy.deepcopy(module.state_dict())


def changed(module, before):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_a_frozen_encoder_stays_as_it_is_with_its_statistics_and_then_learns(learner):
    student, batch = learner(freeze=2)
    encoder, decoder = student.network.encoder, student.network.model.decoder
    before = state_of(encoder), state_of(decoder)
    for _ in range(2):
        student.learn(batch, progress=0.5)
        student.network.eval()  # as a validation does
    assert not changed(encoder, before[0])
    assert len(changed(decoder, before[1])) == len(before[1])
    student.learn(batch, progress=0.5)
    # Biases of residual branches have no gradient yet, since these end in scales of 0.
    learned = {name for name, weight in before[0].items() if weight.ndim > 1 or "running" in name}
    assert learned <= changed(encoder, before[0])


@pytest.mark.parametrize("values", [{}, {"time": 60.0}])
def test_what_a_frozen_step_does_does_not_depend_on_how_it_is_frozen(learner, values):
    """A run whose time is given computes all gradients and forgets the encoder's, since its first steps tell its length."""
    student, batch = learner(freeze=1, **values)
    other, _ = learner(freeze=1)
    for one in (student, other):
        for _ in range(2):
            one.learn(batch, progress=0.5)
    assert not changed(student.network, other.network.state_dict())


def test_the_encoder_learns_at_its_factor_of_the_rate():
    net = build({"name": LIBRARY.name, "channels": 1, "classes": 2, "encoder": LIBRARY.encoder})
    optimizer = optimizer_of(
        net, TrainParameters(optimizer="sgd", momentum=0.0, weight_decay=0.0, encoder_rate=0.25)
    )
    set_rate(optimizer, 0.1)
    before = state_of(net)
    for weight in net.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    for name, weight in net.named_parameters():
        step = 0.025 if name.startswith("model.encoder.") else 0.1
        torch.testing.assert_close(before[name] - weight, torch.full_like(weight, step), rtol=0, atol=1e-5)


def test_every_weight_is_in_one_group_and_only_matrices_decay():
    net = build({"name": LIBRARY.name, "channels": 1, "classes": 2, "encoder": LIBRARY.encoder})
    groups = groups_of(net, 0.1, 0.5)
    assert [(group["weight_decay"], group.get("factor")) for group in groups] == [
        (0.1, None), (0.0, None), (0.1, 0.5), (0.0, 0.5),
    ]  # fmt: skip
    grouped = [id(weight) for group in groups for weight in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(net.parameters()))
    assert all(
        (weight.ndim > 1) == (group["weight_decay"] > 0) for group in groups for weight in group["params"]
    )
    assert {id(w) for group in groups[2:] for w in group["params"]} == {
        id(w) for w in net.encoder.parameters()
    }


@pytest.mark.parametrize("moment", [3, 5])
def test_a_run_that_dies_while_its_encoder_is_frozen_or_after_goes_on_bit_for_bit(
    tmp_path, run_training, weights, differences, moment
):
    model = LIBRARY.model_copy(update={"encoder_weights": weights})
    settings = {"model": model, "steps": 6, "epoch_steps": 2, "freeze": 3}
    straight, died = tmp_path / "straight", tmp_path / "died"
    run_training(straight, **settings)
    with pytest.raises(ZeroDivisionError):
        run_training(died, progress=Heard(moment), **settings)
    last = died / "checkpoints/run/last.pt"
    assert load(last).training["step"] == moment - 1
    shutil.move(weights, weights + ".gone")  # they are for the start only
    try:
        run_training(died, resume=True, **settings)
    finally:
        shutil.move(weights + ".gone", weights)
    ours, theirs = load(last), load(straight / "checkpoints/run/last.pt")
    assert not differences(ours.weights, theirs.weights)
    assert not differences(ours.training | {"spent": 0}, theirs.training | {"spent": 0})
    assert ours.parameters[ORIGIN] == theirs.parameters[ORIGIN]


def test_a_pretrained_run_says_what_it_began_with_and_its_checkpoint_needs_no_more(
    tmp_path, run_training, weights, patches
):
    heard, model = Heard(), LIBRARY.model_copy(update={"encoder_weights": weights})
    best = run_training(tmp_path, model=model, steps=2, rate=1e-9, progress=heard)
    assert "the encoder begins with encoder.pth, sha256 " in heard.said[0]
    assert "first convolution from 3 to 1 channel" in heard.said[1]
    assert any(line.startswith("smp/linknet with the encoder tu-test_resnet, ") for line in heard.said)
    assert any("train.encoder_rate 0.1: keeps" in line for line in heard.said)
    assert not any("model.width" in line or "model.norm" in line for line in heard.said)
    saved = load(best)
    assert saved.model == {"name": "smp/linknet", "encoder": "tu-test_resnet", "channels": 1, "classes": 3}
    assert saved.parameters[ORIGIN]["value"].startswith("encoder.pth, sha256 ")
    given = torch.load(weights, weights_only=True)["model.layer4.0.conv1.weight"]
    torch.testing.assert_close(
        saved.weights["model.encoder.model.layer4.0.conv1.weight"], given, atol=1e-6, rtol=0
    )
    with PatchFile(patches) as file:
        image, mask = file.region("0")
        assert predict(image[:], best).shape == mask.shape


def test_a_run_takes_over_the_architecture_of_its_first_weights(tmp_path, run_training):
    first = run_training(tmp_path / "first", model=LIBRARY, steps=1)
    second = run_training(tmp_path / "second", model=ModelParameters(), weights=str(first), steps=1)
    assert load(second).model == load(first).model
    with pytest.raises(DataError, match=r"holds a network of name smp/linknet, .*; leave out what makes it"):
        run_training(tmp_path / "third", model=ModelParameters(name="unet"), weights=str(first), steps=1)


def test_nothing_is_written_where_the_weights_do_not_fit(tmp_path, run_training):
    torch.save({"conv.weight": torch.zeros(3, 3)}, tmp_path / "a.pth")
    model = LIBRARY.model_copy(update={"encoder_weights": str(tmp_path / "a.pth")})
    with pytest.raises(DataError, match="holds the weights of another network"):
        run_training(tmp_path / "run", model=model, steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "train", "told"),
    [
        (
            {"name": "smp/unet", "width": 8},
            {},
            r"model\.width: is 8, but smp/unet has no such setting; leave out --width",
        ),
        ({"name": "smp/unet", "norm": "group"}, {}, r"model\.norm: is group"),
        ({"name": "smp/unet", "deep_supervision": True}, {}, r"model\.deep_supervision: is True"),
        ({"encoder": "resnet18"}, {}, r"model\.encoder: is resnet18, but unet has no such"),
        ({"pretrained": True}, {}, r"model\.pretrained: no weights are published for unet"),
        ({"name": "smp/unet", "pretrained": True}, {"weights": "a.pt"}, r"train\.weights: a\.pt brings"),
    ],
)
def test_what_a_network_has_no_use_for_is_refused(model, train, told):
    with pytest.raises(UsageError, match=rf"^{told}"):
        require_settings(ModelParameters(**model), TrainParameters(**train))


def test_what_is_a_default_is_no_wish():
    require_settings(ModelParameters(name="smp/unet", deep_supervision=False, width=None), TrainParameters())


@pytest.mark.parametrize(
    ("model", "train", "told"),
    [
        (
            {},
            {"freeze": 3},
            r"train\.freeze: unet has no part that counts as its encoder; leave out --freeze",
        ),
        ({}, {"encoder_rate": 0.1}, r"train\.encoder_rate: unet"),
        ({"encoder_weights": "a.pth"}, {}, r"model\.encoder_weights: unet"),
    ],
)
def test_what_is_said_of_an_encoder_needs_one(model, train, told):
    unet = build({"name": "unet", "channels": 1, "classes": 2, "width": 2})
    with pytest.raises(UsageError, match=rf"^{told}"):
        require_encoder(unet, ModelParameters(**model), TrainParameters(**train))
    require_encoder(unet, ModelParameters(), TrainParameters())


@pytest.mark.parametrize("name", ["smp/deeplabv3", "smp/linknet"])
def test_a_batch_norm_after_pooling_to_one_pixel_needs_two_patches(tmp_path, run_training, name):
    """LinkNet leaves one pixel of a patch of 32 at 1/32; DeepLab v3 pools any patch to one."""
    model = ModelParameters(name=name, encoder="tu-test_resnet")
    with pytest.raises(
        UsageError, match=rf"^train\.batch: .* that {name} leaves of one patch of 32; give a larger"
    ):
        run_training(tmp_path, model=model, batch=3, micro_batch=2, steps=1)
    assert not list(tmp_path.iterdir())


def test_batch_norms_that_see_more_of_a_patch_take_one_at_a_time(
    tmp_path, run_training, write_patches, noise
):
    file = write_patches(tmp_path / "p.h5", *noise(2, side=64))
    run_training(tmp_path, file=file, model=LIBRARY, batch=1, steps=1)
    assert any(
        isinstance(layer, nn.BatchNorm2d)
        for layer in load(tmp_path / "checkpoints/run/best.pt").network().modules()
    )


def test_deep_supervision_without_a_level_for_it_is_refused(tmp_path, run_training):
    model = ModelParameters(width=4, levels=3, deep_supervision=True)
    with pytest.raises(UsageError, match=r"^model\.deep_supervision: of 3 levels none lies between"):
        run_training(tmp_path, model=model)
    assert not list(tmp_path.iterdir())
