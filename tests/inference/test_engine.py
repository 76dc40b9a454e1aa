import numpy as np
import pytest
import torch
from torch import nn

from patchseg.errors import DataError, UsageError
from patchseg.imaging import ArraySource, Box
from patchseg.inference.engine import Engine
from patchseg.inference.tiling import Grid
from patchseg.labels.classes import Classes
from patchseg.models import build
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import InferParameters

CPU = torch.device("cpu")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def engine(*checkpoints, **values):
    # Small images have many tiles so.
    usual = {"blend": "flat"} | ({"tile": 16} if values.get("blend") != "exact" else {})
    return Engine.of(checkpoints, InferParameters(threads=1, **usual | values), CPU)


def predicted(found, pixels, **given):
    return torch.cat(list(found.rows(ArraySource(pixels), **given)), dim=1)


def another(checkpoint, *, seed=5):
    """Return the checkpoint with other weights."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: weight + 0.1 * torch.randn(weight.shape, generator=generator) if weight.ndim == 4 else weight
        for name, weight in checkpoint.weights.items()
    }
    return Checkpoint(
        checkpoint.model, checkpoint.classes, checkpoint.channels, checkpoint.dtype, checkpoint.patch,
        checkpoint.scale, weights,
    )  # fmt: skip


def test_several_networks_give_the_mean_of_their_probabilities(make, naive):
    one, pixels = make(3, 3), noise(41, 30, 3)
    two = another(one)
    found = predicted(engine(one, two), pixels)
    parts = [naive(pixels, checkpoint.network(), Grid((41, 30), 16)) for checkpoint in (one, two)]
    assert np.abs(parts[0] - parts[1]).max() > 0.01
    np.testing.assert_allclose(found, (parts[0] + parts[1]) / 2, atol=1e-5)


def test_networks_of_other_widths_and_levels_go_together(make, naive):
    one, two, pixels = make(width=4, levels=2), make(width=6, levels=3), noise(30, 41, 1)
    found = predicted(engine(one, two), pixels)
    parts = [naive(pixels, checkpoint.network(), Grid((30, 41), 16)) for checkpoint in (one, two)]
    np.testing.assert_allclose(found, (parts[0] + parts[1]) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"classes": 3}, "classes"),
        ({"channels": 2}, "channels"),
        ({"dtype": "uint16"}, "dtype"),
        ({"scale": 0.5}, "scale"),
    ],
)
def test_checkpoints_that_have_learned_otherwise_are_refused_by_name(tmp_path, make, values, name):
    make().save(tmp_path / "a.pt")
    make(**values).save(tmp_path / "b.pt")
    with pytest.raises(UsageError, match=rf"b\.pt: has learned other {name} \(.+\) than .+a\.pt \(") as told:
        engine(tmp_path / "a.pt", tmp_path / "a.pt", tmp_path / "b.pt")
    assert "\n" not in str(told.value)


def test_a_damaged_one_among_several_is_named(tmp_path, make):
    make().save(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_text("text")
    with pytest.raises(DataError, match=r"b\.pt: is damaged or no checkpoint"):
        engine(tmp_path / "a.pt", tmp_path / "b.pt")


@pytest.mark.parametrize("shape", [(90, 70), (61, 24), (20, 101), (5, 7)])
@pytest.mark.parametrize("several", [False, True])
def test_exact_tiles_equal_one_big_forward_pass(make, shape, several):
    checkpoints = [make(3, 3)]
    checkpoints += [another(make(3, 3, levels=3))] if several else []
    pixels = noise(*shape, 3)
    found = predicted(engine(*checkpoints, blend="exact", tile=64 if several else 40), pixels)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None]
    with torch.no_grad():
        whole = [checkpoint.network()(image)[0].softmax(0) for checkpoint in checkpoints]
    torch.testing.assert_close(found, sum(whole) / len(whole), rtol=0, atol=1e-5)


def test_exact_chooses_a_large_tile_and_others_256_or_a_larger_patch(make):
    assert engine(make(patch=24), tile=None).tile == 256
    assert engine(make(patch=320), tile=None).tile == 320
    assert engine(make(patch=24), blend="exact").tile == 512
    assert engine(make(patch=24), blend="exact", tile=80).tile == 80


def test_tiles_that_cannot_be_exact_are_refused_with_those_that_can(make):
    halo, factor = engine(make()).halo
    smallest = 2 * halo + factor
    for tile in (smallest - factor, smallest + 1):
        with pytest.raises(UsageError, match=rf"expected a multiple of {factor}, {smallest} or more"):
            engine(make(), blend="exact", tile=tile)
    assert engine(make(), blend="exact", tile=smallest).tile == smallest


@pytest.fixture
def group():
    """Return a checkpoint whose network has group norms, which look at a tile as a whole."""
    spec = {"name": "unet", "channels": 1, "classes": 2, "width": 8, "levels": 2, "norm": "group"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return spec, build(spec)


@pytest.mark.parametrize(
    ("values", "named"), [({"blend": "exact"}, "--blend exact"), ({"verify": True}, "--verify")]
)
def test_networks_that_look_at_a_tile_as_a_whole_are_refused(make, group, values, named):
    spec, network = group
    assert any(isinstance(module, nn.GroupNorm) for module in network.modules())
    good = make()
    whole = Checkpoint(
        spec, good.classes, good.channels, good.dtype, good.patch, good.scale, network.state_dict()
    )
    with pytest.raises(UsageError, match=rf"^{named}: the network looks at a tile as a whole"):
        engine(good, whole, **values)
    assert predicted(engine(whole), noise(20, 20, 1)).shape == (2, 20, 20)


def test_exact_tiles_cannot_disagree(make):
    with pytest.raises(UsageError, match="--disagreement: exact tiles do not overlap"):
        engine(make(), blend="exact", disagreement=True)


@pytest.mark.parametrize("blend", ["flat", "gaussian", "exact"])
@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_a_part_of_an_image_has_the_bytes_of_the_whole(make, blend, scale):
    found, pixels = engine(make(2, scale=scale), blend=blend, tile=40), noise(83, 97, 2)
    whole = predicted(found, pixels)
    for part in (Box(13, 40, 30, 21), Box(0, 0, 83, 1), Box(82, 96, 1, 1)):
        assert torch.equal(predicted(found, pixels, part=part), whole[:, *part.slices])


def test_a_network_that_is_symmetric_itself_gives_the_same_with_symmetries(make):
    checkpoint = make(1, 2)
    for name, weight in checkpoint.weights.items():
        if weight.ndim == 4 and weight.shape[-1] > 1:  # the mean over all eight ways to lay a kernel
            turned = [
                torch.rot90(side, turn, (2, 3)) for side in (weight, weight.flip(3)) for turn in range(4)
            ]
            checkpoint.weights[name] = sum(turned) / 8
    pixels = noise(32, 48, 1)
    plain = predicted(engine(checkpoint), pixels)
    assert plain.std() > 0.01
    for symmetries in ("flips", "all"):
        found = predicted(engine(checkpoint, symmetries=symmetries), pixels)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)
    lopsided = predicted(engine(make(), symmetries="flips"), pixels) - predicted(engine(make()), pixels)
    assert lopsided.abs().max() > 0.01


def test_symmetries_are_averages_over_images_that_are_laid_in_all_ways(make):
    # Tiles of 16 every 8 pixels lie alike in an image of 32 x 48 and in its mirror images.
    checkpoint, pixels = make(1, 3), noise(32, 48, 1)
    plain = engine(checkpoint)
    ways = [(False, False), (True, False), (False, True), (True, True)]
    total = torch.zeros(3, 32, 48)
    for down, across in ways:
        axes = [axis for axis, flip in ((0, down), (1, across)) if flip]
        laid = np.ascontiguousarray(np.flip(pixels, axes))
        total += predicted(plain, laid).flip([axis + 1 for axis in axes])
    found = predicted(engine(checkpoint, symmetries="flips"), pixels)
    torch.testing.assert_close(found, total / 4, rtol=0, atol=1e-6)


def test_the_mean_entropy_of_all_opinions_is_one_more_plane(make, naive):
    one, pixels = make(3, 3), noise(41, 30, 3)
    two = another(one)
    found = engine(one, two, disagreement=True)
    assert (found.classes, found.planes) == (3, 4)

    class Entropy(nn.Module):
        """Gives softmax^-1 of (entropy, 2 - entropy) / 2, so that `naive` averages entropies."""

        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, image):
            share = torch.special.entr(self.network(image).double().softmax(1)).sum(1, keepdim=True) / 2
            return torch.cat([share, 1 - share], 1).log()

    rows = predicted(found, pixels)
    expected = [2 * naive(pixels, Entropy(each.network()), Grid((41, 30), 16))[0] for each in (one, two)]
    np.testing.assert_allclose(rows[3], (expected[0] + expected[1]) / 2, atol=1e-5)
    torch.testing.assert_close(rows[:3], predicted(engine(one, two), pixels), rtol=0, atol=1e-6)


def test_exact_tiles_are_found_for_a_network_that_computes_in_bfloat16():
    spec = {"name": "smp/linknet", "channels": 1, "classes": 2, "encoder": "tu-test_resnet"}
    network = build(spec)
    classes = Classes(("a", "b"), (0, 1), ("#000000", "#e69f00"))
    channels = [{"name": "gray", "mean": 0.0, "std": 1.0}]
    checkpoint = Checkpoint(spec, classes, channels, "uint8", 64, 1.0, network.state_dict())
    found = engine(checkpoint, blend="exact", precision="bf16")
    assert found.halo[0] == network.eval().halo > 0
