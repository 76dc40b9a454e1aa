"""What `patchseg models` tells, by hand where a hand can count it."""

import pytest
import torch
from torch import nn

from patchseg.errors import DataError, UsageError
from patchseg.models import facts
from patchseg.models.facts import Encoder, encoders, facts_of, gflops, parameters_of, weights_of

UNET = {"name": "unet", "channels": 3, "classes": 2, "width": 4, "levels": 2, "norm": "batch"}
# 3x3 convolutions 3>4, 4>4 and 8>4, 4>4 and a 1x1 4>2 at full size; 4>8, 8>8 and a 2x2 8>4 at half of it.
MULTIPLY_ADDS = 512**2 * (9 * (12 + 16 + 32 + 16) + 8) + 256**2 * (9 * (32 + 64) + 4 * 32)


def test_the_work_of_a_unet_is_twice_its_multiply_adds():
    assert facts_of(UNET).gflops == 2 * MULTIPLY_ADDS / 1e9


def test_the_work_is_what_counting_while_computing_gives():
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, groups=2), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)
    ).eval()
    sides = (512 - 3) // 2 + 1
    assert gflops(layers, 2) == 2 * sides**2 * (4 * 9 + 4) / 1e9


def test_the_facts_of_a_unet():
    found = facts_of(UNET)
    # As by hand in test_unet.py: weights of convolutions, two numbers a norm and output, biases of the others.
    assert (
        found.parameters == 9 * (12 + 16 + 32 + 64 + 32 + 16) + 2 * (4 + 4 + 8 + 8 + 4 + 4) + 4 * 32 + 4 + 10
    )
    assert (found.receptive_field, found.exact, found.weights) == (18, True, ())
    assert found.spec == UNET


def test_group_norm_sees_all_of_a_tile_and_cannot_be_exact():
    found = facts_of(UNET | {"norm": "group"})
    assert (found.receptive_field, found.exact) == (None, False)


def test_looking_at_a_network_draws_nothing_from_the_global_generator():
    before = torch.random.get_rng_state()
    facts_of(UNET)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_that_is_not_there_is_refused():
    with pytest.raises(DataError, match='a network "swin"'):
        facts_of(UNET | {"name": "swin"})


def test_without_the_library_of_encoders_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    for look in (lambda: next(encoders()), lambda: weights_of("resnet18"), lambda: weights_of("tu-resnet18")):
        with pytest.raises(UsageError, match=r"is not installed; `pip install \"patchseg\[smp\]\"`"):
            look()


@pytest.fixture
def library():
    return pytest.importorskip("segmentation_models_pytorch")


def test_encoders_are_found_by_a_part_of_their_names(library):
    first, *others = list(encoders("resnet18"))
    assert not others
    # ResNet-18 has 11,689,512 numbers with its last layer of 512 x 1000 + 1000 (torchvision's documentation).
    assert (first.name, first.parameters) == ("resnet18", 11_689_512 - 513_000)
    assert first.weights == ("imagenet", "ssl", "swsl")
    # 1.81 10^9 multiply-adds at 224 x 224 by the same source, most of which grow as the pixels do.
    assert first.gflops == pytest.approx(2 * 1.814 * (512 / 224) ** 2, rel=0.01)


def test_capital_letters_make_no_difference(library):
    assert [encoder.name for encoder in encoders("ResNet18")] == ["resnet18"]


def test_what_cannot_be_built_is_left_out(library, monkeypatch):
    monkeypatch.setattr(
        facts, "SIDE", 511
    )  # vgg and the like take it, those that want multiples of 32 may not
    assert all(isinstance(encoder, Encoder) for encoder in encoders("mit_b0"))


def test_encoders_of_timm_are_found_by_their_prefix(library):
    (found,) = encoders("tu-mobilenetv4_conv_small_035")
    assert found.name == "tu-mobilenetv4_conv_small_035"
    assert found.parameters == parameters_of(library.encoders.get_encoder(found.name, weights=None))


def test_weights_of_timm_are_those_of_the_tag_where_there_is_one(library):
    assert "a1_in1k" in weights_of("tu-resnet18")
    assert weights_of("tu-resnet18.a1_in1k") == ("a1_in1k",)
    assert weights_of("tu-mobilenetv4_conv_small_035") == ()
    assert weights_of("none-such") == ()


def test_an_encoder_of_no_such_name_is_refused_with_the_nearest(library):
    with pytest.raises(UsageError, match=r'--encoders resnet81: no encoder has .*; did you mean "resnet18"'):
        next(encoders("resnet81"))
    with pytest.raises(UsageError, match="--encoders zzz: no encoder has this in its name; tu- before it"):
        next(encoders("zzz"))
