"""What is folded is found by watching; what only looks as if it could be stays."""

import pytest
import torch
from torch import nn

from patchseg.models.folding import folded
from patchseg.models.network import Network


class Apart(Network):
    """A convolution and a norm that stand in no sequence, put together by a function."""

    factor = 1

    def __init__(self, together):
        super().__init__(1)
        self.convolution, self.norm, self.together = (
            nn.Conv2d(1, 2, 3, padding=1),
            nn.BatchNorm2d(2),
            together,
        )
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def decide(self, features):
        return self.together(self.convolution, self.norm, features)


def after(convolution, norm, features):
    return norm(convolution(features))


def beside(convolution, norm, features):
    seen = convolution(features)
    return norm(seen) + seen


def twice(convolution, norm, features):
    return norm(convolution(features)) + norm(convolution(features.flip(-1)))


def behind_a_function(convolution, norm, features):
    return norm(convolution(features).relu_())  # the same object, though another tensor by then


@pytest.mark.parametrize(("together", "left"), [(after, 0), (beside, 1), (twice, 1), (behind_a_function, 1)])
@torch.no_grad()
def test_a_norm_is_folded_where_it_takes_all_that_a_convolution_gives(together, left):
    torch.manual_seed(0)
    network = Apart(together).eval()
    pixels = torch.randn(2, 1, 9, 7)
    expected = network(pixels)
    small = folded(network)
    torch.testing.assert_close(small(pixels), expected, rtol=1e-4, atol=1e-5)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in small.modules()) == left
    assert isinstance(network.norm, nn.BatchNorm2d)


@torch.no_grad()
def test_norms_that_end_in_an_activation_and_sequences_that_do_more_stay():
    from timm.layers import BatchNormAct2d

    class Reversed(nn.Sequential):
        def forward(self, features):
            for layer in reversed(self):
                features = layer(features)
            return features

    torch.manual_seed(0)
    with_activation = nn.Sequential(nn.Conv2d(2, 2, 3), BatchNormAct2d(2))
    backwards = Reversed(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    for sequence in (with_activation, backwards):
        nn.init.normal_(sequence[1].running_mean)
        pixels = torch.randn(1, 2, 9, 9)
        torch.testing.assert_close(folded(sequence.eval())(pixels), sequence(pixels))
