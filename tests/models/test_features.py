import pytest
import torch
from torch import nn

from patchseg.errors import UsageError
from patchseg.models import build, spec_of
from patchseg.models.enet import ENet
from patchseg.models.features import dropped, level_near, padded, seen_at, stages_of, watched
from patchseg.models.network import Network
from patchseg.models.segnet import SegNet
from patchseg.models.unet import UNet


def unet(**settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet(channels=2, classes=3, width=4, levels=3, **settings)


def pixels(*shape):
    return 10 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


def zeros(level, features):
    return features.new_zeros(*features.shape[:2], 1, 1)


def ones(level, features):
    return features.new_ones(*features.shape[:2], 1, 1)


def hooks(network):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


@torch.no_grad()
def test_the_maps_of_a_unet_are_what_its_blocks_give_on_the_way_down():
    network, images = unet().eval(), pixels(2, 2, 16, 24)
    with watched(network) as maps:
        network(images)
    expected, features = [], images
    for level, block in enumerate(network.down):
        features = block(nn.functional.max_pool2d(features, 2) if level else features)
        expected.append(features)
    assert [tuple(seen.shape) for seen in maps] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6)]
    assert all(torch.equal(*pair) for pair in zip(maps, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "settings", "sides"),
    [
        ("enet", {}, [32, 16, 8]),
        ("segnet", {"width": 2}, [64, 32, 16, 8, 4]),
        ("lite_hrnet_s", {}, [8, 4, 2]),
        ("smp/unet", {"encoder": "tu-test_efficientnet"}, [32, 16, 8, 4, 2]),
        (
            "smp/fpn",
            {"encoder": "tu-test_convnext"},
            [16, 8, 4, 2],
        ),  # the map at a half is made of no channels
        ("smp/unet", {"encoder": "mit_b0"}, [16, 8, 4, 2]),
        ("smp/unet", {"encoder": "vgg11"}, [64, 32, 16, 8, 4, 2]),  # no image before the features
        ("smp/dpt", {"encoder": "tu-test_vit"}, [4, 4, 4, 4]),  # tokens beside the features
    ],
)
def test_maps_lie_from_fine_to_coarse_and_the_image_is_none_of_them(name, settings, sides):
    if name.startswith("smp/"):
        pytest.importorskip("segmentation_models_pytorch")
    network = build(spec_of({"name": name} | settings, 3, 2)).train()
    with watched(network) as maps:
        network(pixels(2, 3, 64, 64))
    assert [seen.shape[-1] for seen in maps] == sides
    assert all(seen.shape[0] == 2 and (seen.shape[1] > 3 or name == "segnet") for seen in maps)


def test_gradients_of_maps_reach_what_stands_before_them():
    network = unet().train()
    with watched(network) as maps:
        network(pixels(2, 2, 16, 16))
    maps[1].square().mean().backward()
    learning = {name.split(".")[1] for name, weight in network.named_parameters() if weight.grad is not None}
    assert learning == {"0", "1"}  # blocks of the way down, and no others
    assert not any(name.startswith("up") and w.grad is not None for name, w in network.named_parameters())


def test_the_list_holds_the_last_of_several_passes():
    network = unet().train()
    with watched(network) as maps:
        network(pixels(2, 2, 16, 16))
        network(pixels(1, 2, 32, 16))
    assert [tuple(seen.shape) for seen in maps] == [(1, 4, 32, 16), (1, 8, 16, 8), (1, 16, 8, 4)]


@pytest.mark.parametrize("attention", [False, True])
@torch.no_grad()
def test_what_is_dropped_is_lacking_on_the_way_up_and_the_way_down_sees_all(attention):
    network, images = unet(attention=attention).eval(), pixels(3, 2, 16, 16)
    given = [torch.rand(3, channels, 1, 1).round() * 2 for channels in (4, 8, 16)]
    with watched(network) as maps, dropped(network, lambda level, features: given[level]):
        logits = network(images)
    seen = [features * mask for features, mask in zip(maps, given, strict=True)]
    features = seen.pop()
    for place, (enlarge, up) in enumerate(zip(network.enlarge, network.up, strict=True)):
        below, skip = enlarge(features), seen.pop()
        skip = network.gates[place](skip, below) if attention else skip
        features = up(torch.cat([skip, below], dim=1))
    assert torch.equal(logits, network.head(features))
    with watched(network) as untouched:
        network(images)
    assert all(torch.equal(*pair) for pair in zip(maps, untouched, strict=True))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("lite_hrnet_s", {}), ("smp/unet", {"encoder": "tu-test_efficientnet"}), ("smp/dpt", {"encoder": "tu-test_vit"})],
)  # fmt: skip
@torch.no_grad()
def test_an_encoder_whose_maps_are_all_dropped_tells_nothing_of_the_image(name, settings):
    if name.startswith("smp/"):
        pytest.importorskip("segmentation_models_pytorch")
    network = build(spec_of({"name": name} | settings, 3, 2)).eval()
    one, other = pixels(2, 3, 64, 64)[:, None]
    assert not torch.allclose(network(one), network(other))
    with dropped(network, ones):
        assert not torch.allclose(network(one), network(other))
    with watched(network) as maps:
        network(one)
    levels = []

    def drop(level, features):
        levels.append((level, features.shape))
        return zeros(level, features)

    with dropped(network, drop):
        first, second = network(one), network(other)
    assert levels == [(level, seen.shape) for level, seen in enumerate(maps)] * 2
    # Tokens of a transformer are no maps, and go on telling.
    assert torch.allclose(first, second, atol=1e-6) == (name != "smp/dpt")


@pytest.mark.parametrize(("network", "last"), [(ENet, 2), (SegNet, 4)])
@torch.no_grad()
def test_where_the_way_up_takes_the_last_map_only_that_one_is_dropped(network, last):
    network = network(channels=3, classes=2).eval()
    levels = []

    def drop(level, features):
        levels.append(level)
        return zeros(level, features)

    with watched(network) as before, dropped(network, drop), watched(network) as after:
        network(pixels(1, 3, 64, 64))
        network(pixels(1, 3, 64, 64))
    assert levels == [last, last]
    assert all(torch.equal(*pair) for pair in zip(before[:-1], after[:-1], strict=True))
    assert before[-1].any()
    assert not after[-1].any()


def test_dropped_channels_get_no_gradient():
    network, last = unet(norm="none").train(), 2
    mask = (torch.arange(16) % 2)[None, :, None, None]
    with (
        watched(network) as maps,
        dropped(network, lambda level, features: mask if level == last else ones(level, features)),
    ):
        logits = network(pixels(1, 2, 16, 16))
    (gradient,) = torch.autograd.grad(logits.sum(), maps[last])
    assert gradient.any(dim=-1).any(dim=-1).tolist() == [[False, True] * 8]


@pytest.mark.parametrize("changes", [watched, lambda network: dropped(network, ones)])
def test_no_hook_stays_behind(changes):
    network = unet()
    before = network(pixels(1, 2, 8, 8))
    with changes(network):
        assert hooks(network) == 3
        network(pixels(1, 2, 8, 8))
    assert hooks(network) == 0
    with pytest.raises(MemoryError), changes(network):
        raise MemoryError
    assert hooks(network) == 0
    assert torch.equal(network(pixels(1, 2, 8, 8)), before)


def test_after_a_pass_that_failed_levels_begin_anew():
    network, levels = unet(), []

    def failing(level, features):
        levels.append(level)
        if len(levels) == 2:
            raise MemoryError
        return ones(level, features)

    with dropped(network, failing):
        with pytest.raises(MemoryError):
            network(pixels(1, 2, 8, 8))
        network(pixels(1, 2, 8, 8))
    assert levels == [0, 1, 0, 1, 2]


def test_a_network_without_stages_is_refused_in_a_sentence():
    with pytest.raises(UsageError, match=r"model\.name: Network does not show its features.* such as unet"):
        stages_of(Network(3))


def test_masks_are_padded_as_images_are():
    masks = torch.arange(2 * 5 * 7).reshape(2, 5, 7).to(torch.uint8)
    found = padded(unet(), masks)  # to multiples of 4
    assert found.shape == (2, 8, 8)
    assert found.dtype == torch.uint8
    assert torch.equal(found[:, :5, :7], masks)
    assert (found[:, 5:] == 255).all()
    assert (found[:, :, 7:] == 255).all()
    assert torch.equal(padded(unet(), found), found)


def test_masks_are_padded_to_the_smallest_side_of_a_network_of_a_library():
    pytest.importorskip("segmentation_models_pytorch")
    network = build(spec_of({"name": "smp/pan", "encoder": "tu-test_efficientnet"}, 3, 2)).eval()
    assert network.least > network.factor
    with watched(network) as maps:
        network(pixels(1, 3, 40, 40))
    assert padded(network, torch.zeros(1, 40, 40, dtype=torch.uint8)).shape[-1] == network.least
    assert maps[0].shape[-1] == network.least // 2


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_single_map_is_that_which_is_watched_and_nothing_after_it_is_computed(level):
    network, images = unet(norm="batch").train(), pixels(2, 2, 16, 24)
    with watched(network) as maps:
        network(images)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = seen_at(network, images, level)
    assert torch.equal(found, maps[level])
    assert not hooks(network)
    changed = {name for name, buffer in network.named_buffers() if not torch.equal(buffer, before[name])}
    assert {tuple(name.split(".")[:2]) for name in changed} == {("down", str(k)) for k in range(level + 1)}
    found.sum().backward()
    assert all(w.grad is None for w in network.up.parameters())
    assert all(w.grad is not None for w in network.down[: level + 1].parameters())


@pytest.mark.parametrize(
    ("settings", "level", "channels"),
    [
        ({"name": "unet", "width": 4, "levels": 2}, 1, 8),
        ({"name": "unet", "width": 4, "levels": 5}, 3, 32),
        ({"name": "unet", "width": 4, "levels": 4, "norm": "instance"}, 3, 32),
        ({"name": "enet"}, 2, 128),
        ({"name": "smp/unet", "encoder": "tu-test_efficientnet"}, 2, None),
    ],
)
def test_the_level_near_an_eighth_is_found(settings, level, channels):
    if settings["name"].startswith("smp/"):
        pytest.importorskip("segmentation_models_pytorch")
    network = build(spec_of(settings, 3, 2)).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    place, found = level_near(network, 8)
    assert place == level
    features = seen_at(network.eval(), pixels(1, 3, 64, 64), place)
    assert found == features.shape[1] == (channels or found)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_of_two_levels_as_near_the_coarser_is_taken():
    assert level_near(unet(), 2)[0] == 1
    assert level_near(unet(), 8**0.5)[0] == 2  # between 2 and 4


def test_looking_for_a_level_leaves_the_mode_as_it_was():
    for training in (True, False):
        network = unet().train(training)
        level_near(network, 4)
        assert network.training is training
