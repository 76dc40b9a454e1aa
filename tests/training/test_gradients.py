import copy

import pytest
import torch
from torch import nn

from patchseg.models.unet import UNet
from patchseg.training.batch import Batch
from patchseg.training.gradients import Gradients
from patchseg.training.losses import loss_of, supervised
from patchseg.training.objectives.supervised import Supervised

CPU = torch.device("cpu")


def network(norm="group", **more):
    torch.manual_seed(0)
    return UNet(channels=1, classes=3, width=4, levels=3, norm=norm, **more).train()


def batch(n=8):
    torch.manual_seed(1)
    return torch.rand(n, 1, 16, 16) * 3, torch.randint(0, 3, (n, 16, 16), dtype=torch.uint8)


def gradients(net, loss="ce", micro=8, **more):
    return Gradients(Supervised(net, supervised(loss_of(loss))), CPU, "fp32", micro=micro, **more)


def taken(net):
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


@pytest.mark.parametrize("micro", [1, 3, 4])
def test_micro_batches_add_up_to_the_batch(micro):
    whole, parts = network(), network()
    expected, *_ = gradients(whole)(Batch(*batch()))
    loss, logits, _ = gradients(parts, micro=micro)(Batch(*batch()))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(taken(parts), taken(whole), rtol=1e-4, atol=1e-6)
    assert logits.shape[1:] == (3, 16, 16)


def test_gradients_do_not_pile_up_from_batch_to_batch():
    net = network()
    step = gradients(net)
    step(Batch(*batch()))
    first = taken(net).clone()
    step(Batch(*batch()))
    torch.testing.assert_close(taken(net), first)


def test_deep_supervision_learns_from_all_levels_at_once():
    net = network(deep_supervision=True)
    assert len(net.deep_heads) == 0  # of 3 levels, the coarsest but one is the coarsest of the way up
    torch.manual_seed(0)
    net = UNet(channels=1, classes=3, width=4, levels=4, norm="group", deep_supervision=True).train()
    loss, logits, _ = gradients(net)(Batch(*batch()))
    assert logits.shape == (8, 3, 16, 16)
    fine, coarse = net(batch()[0])
    expected = (
        2 * loss_of("ce")(fine, batch()[1], None) + loss_of("ce")(coarse, batch()[1][:, ::2, ::2], None)
    ) / 3
    torch.testing.assert_close(loss, expected.detach())
    assert all(head.weight.grad.abs().sum() > 0 for head in net.deep_heads)


class Hungry(nn.Module):
    """A network that can take so many patches at once, as a device of little memory could."""

    def __init__(self, most):
        super().__init__()
        self.inner, self.most = network(), most

    def forward(self, pixels):
        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.inner(pixels)


def test_when_memory_runs_out_the_batch_is_halved_until_it_fits_and_that_is_told():
    hungry, plain = Hungry(2), network()
    step = gradients(hungry)
    loss, *_ = step(Batch(*batch()))
    expected, *_ = gradients(plain)(Batch(*batch()))
    assert step.micro == 2
    assert [note[:19] for note in step.notes] == ["memory has run out:"] * 2
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(taken(hungry), taken(plain), rtol=1e-4, atol=1e-6)


def test_a_single_patch_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        gradients(Hungry(0))(Batch(*batch()))


def test_other_errors_are_not_taken_for_too_little_memory():
    step = gradients(network())
    with pytest.raises(RuntimeError, match="size"):
        step(Batch(batch()[0], batch()[1][:, :5]))
    assert step.micro == 8


def test_a_network_that_cannot_be_compiled_runs_as_it_is(monkeypatch):
    def broken(module, inputs):
        raise FileNotFoundError("no C++ compiler found")

    def compile_badly(net, **_):
        return torch._dynamo.optimize(broken)(net)

    monkeypatch.setattr(torch, "compile", compile_badly)
    net, plain = network(), copy.deepcopy(network())
    step = gradients(net, compiled=True)
    loss, *_ = step(Batch(*batch()))
    assert not step.compiled
    (note,) = step.notes
    assert note.startswith("--compile: the network cannot be compiled here (")
    torch.testing.assert_close(loss, gradients(plain)(Batch(*batch()))[0])


@pytest.mark.slow
def test_a_compiled_network_has_the_gradients_of_the_plain_one():
    net, plain = network(), copy.deepcopy(network())
    step = gradients(net, compiled=True)
    loss, *_ = step(Batch(*batch()))
    expected, *_ = gradients(plain)(Batch(*batch()))
    assert step.compiled
    assert step.notes == []
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(taken(net), taken(plain), rtol=1e-3, atol=1e-5)
