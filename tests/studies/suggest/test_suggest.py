import csv
import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from patchseg.errors import DataError, UsageError
from patchseg.imaging import ArraySource, Box, Reading, open_image, open_raw
from patchseg.inference import memory
from patchseg.inference.engine import Engine
from patchseg.inference.infer import infer
from patchseg.inference.predict import engine_of, predict
from patchseg.labels.classes import Classes
from patchseg.loading import load
from patchseg.parameters import (
    DataParameters,
    InferParameters,
    ModelParameters,
    PrepareParameters,
    SuggestParameters,
    SynthParameters,
    TrainParameters,
)
from patchseg.patches.drawings import import_annotations
from patchseg.patches.prepare import prepare
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress
from patchseg.studies.labelled import Labelled
from patchseg.studies.suggest import suggest
from patchseg.studies.survey import Surveyor
from patchseg.synth import draw, synth
from patchseg.training.train import train

NAMES = ("background", "line", "ellipse")
SEED = 4  # of a network of two classes that predicts both
KINDS = ("images", "masks", "annotations", "polygons", "pictures")


def settings(**values):
    return SuggestParameters(**{"crop": 32, "tile": 32, "count": 4, "threads": 1, "device": "cpu"} | values)


def read(file):
    with open_raw(file) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


def suggestions(folder):
    return json.loads((folder / "suggestions.json").read_text(encoding="utf-8"))


@pytest.fixture
def new(tmp_path):
    """A folder of 4 unlabelled images, of different sizes."""
    folder = tmp_path / "new"
    folder.mkdir()
    for index, shape in enumerate([(80, 64), (64, 80), (20, 24), (100, 40)]):
        Image.fromarray(draw(0, index, *shape)[0]).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def done(new, best, tmp_path):
    """What is suggested of them."""
    return suggest([new], checkpoint=best, parameters=settings(output=str(tmp_path / "out")))


def test_all_files_of_a_suggestion_are_there_and_named_alike(done):
    found = suggestions(done)["suggestions"]
    assert [item["rank"] for item in found] == [1, 2, 3, 4]
    assert sorted(path.name for path in done.iterdir()) == sorted(
        [*KINDS, "parameters.effective.json", "parameters.json", "suggestions.csv", "suggestions.html", "suggestions.json"]
    )  # fmt: skip
    for item in found:
        top, left, height, width = item["box"]
        stem = f"{item['rank']}_{Path(item['image']).stem}_r{top}_c{left}"
        files = {kind: item[kind] for kind in ("crop", "mask", "annotation", "polygons", "picture")}
        assert files == {
            "crop": f"images/{stem}.png", "mask": f"masks/{stem}.png", "annotation": f"annotations/{stem}.json",
            "polygons": f"polygons/{stem}.geojson", "picture": f"pictures/{stem}.png",
        }  # fmt: skip
        assert all((done / file).is_file() for file in files.values())
        with open_image(Path(item["image"])) as source:
            np.testing.assert_array_equal(
                read(done / item["crop"]), source.read(Box(top, left, height, width))
            )
    with (done / "suggestions.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["crop"] for line in lines] == [item["crop"] for item in found]
    assert [int(line["left"]) for line in lines] == [item["box"][1] for item in found]


def test_the_score_is_the_mean_of_what_infer_writes_as_disagreement(new, best, done, tmp_path):
    masks = tmp_path / "masks"
    wanted = InferParameters(
        output=str(masks), disagreement=True, symmetries="flips", tile=32, threads=1, device="cpu"
    )
    infer([new], checkpoint=best, parameters=wanted)
    for item in suggestions(done)["suggestions"]:
        layer = tifffile.imread(masks / "disagreement" / f"{Path(item['image']).stem}.tif")
        mean = layer[Box(*item["box"]).slices].mean(dtype=np.float64)
        assert item["score"] == pytest.approx(mean, rel=1e-9)
    first = suggestions(done)["suggestions"][0]
    layers = [tifffile.imread(file) for file in (masks / "disagreement").iterdir()]
    best_of_all = max(
        layer[top : top + 32, left : left + 32].mean(dtype=np.float64)
        for layer in layers
        for top in {*range(0, max(layer.shape[0] - 32, 0), 16), max(layer.shape[0] - 32, 0)}
        for left in {*range(0, max(layer.shape[1] - 32, 0), 16), max(layer.shape[1] - 32, 0)}
    )
    assert first["score"] == pytest.approx(best_of_all, rel=1e-9)


def test_masks_hold_the_prediction_where_it_is_sure_and_255_elsewhere(new, best, tmp_path):
    out = suggest([new], checkpoint=best, parameters=settings(output=str(tmp_path / "out"), sure=0.6))
    shares = []
    for item in suggestions(out)["suggestions"]:
        mask = read(out / item["mask"])[:, :, 0]
        wanted = InferParameters(output="x", symmetries="flips", tile=32, threads=1, device="cpu")
        whole = predict(Path(item["image"]), engine_of(best, wanted))[Box(*item["box"]).slices]
        np.testing.assert_array_equal(mask[mask != 255], whole[mask != 255])
        assert (mask == 255).mean() == pytest.approx(item["unsure"])
        shares.append(item["unsure"])
    assert 0 < np.mean(shares) < 1


def test_masks_are_indexed_png_in_the_colours_of_the_classes(done):
    with Image.open(done / suggestions(done)["suggestions"][0]["mask"]) as mask:
        assert mask.mode == "P"
        colors = np.array(mask.getpalette()).reshape(-1, 3)
    assert colors[[0, 1, 2, 255]].tolist() == [[0, 0, 0], [230, 159, 0], [86, 180, 233], [128, 128, 128]]


@pytest.mark.parametrize("told", [True, False], ids=["by parameters.json", "as they are"])
def test_images_and_masks_go_straight_into_prepare(told, make, new, tmp_path):
    """As they are, where no class between others is missing in all of them, as in any masks."""
    make(names=NAMES if told else NAMES[:2], seed=SEED).save(tmp_path / "m.pt")
    out = suggest(
        [new],
        checkpoint=tmp_path / "m.pt",
        parameters=settings(output=str(tmp_path / "out"), count=9, sure=0.6),
    )
    file = prepare(
        out / "images", out / "masks", data=load(out / "parameters.json").data if told else DataParameters(),
        parameters=PrepareParameters(output=str(tmp_path / "p.h5"), patch=16, per_image=2),
    )  # fmt: skip
    with PatchFile(file) as patches:
        assert patches.counts["train"] > 0
        assert len(patches.head.classes) == (3 if told else 2)
        assert 255 in patches.read_masks("train")


@pytest.mark.parametrize("kind", ["annotations", "polygons"])
def test_annotations_go_back_into_the_same_masks_to_within_a_pixel(kind, done, tmp_path):
    again = import_annotations(
        done / kind, done / "images", tmp_path / "again", data=load(done / "parameters.json").data
    )
    for item in suggestions(done)["suggestions"]:
        mask, back = (read(folder / Path(item["mask"]).name)[:, :, 0] for folder in (done / "masks", again))
        inside = maximum_filter(mask, 3) == minimum_filter(mask, 3)
        assert not ((mask != back) & inside).any()
        if kind == "polygons":
            np.testing.assert_array_equal(mask, back)


def test_annotations_name_the_image_as_labelme_looks_for_it(done):
    for file in (done / "annotations").iterdir():
        tree = json.loads(file.read_text(encoding="utf-8"))
        assert (file.parent / tree["imagePath"]).is_file()


def test_no_two_crops_overlap_and_no_image_has_more_than_its_share(new, best, tmp_path):
    out = suggest(
        [new], checkpoint=best, parameters=settings(output=str(tmp_path / "out"), count=20, per_image=3)
    )
    taken = {}
    for item in suggestions(out)["suggestions"]:
        ground = taken.setdefault(item["image"], np.zeros((128, 128), int))
        ground[Box(*item["box"]).slices] += 1
    assert max(ground.max() for ground in taken.values()) == 1
    counts = {
        image: sum(item["image"] == image for item in suggestions(out)["suggestions"]) for image in taken
    }
    assert sorted(counts.values()) == [1, 3, 3, 3]  # the small one is a crop itself


# What is labelled already


def test_images_whose_names_are_labelled_are_left_out(new, best, tmp_path, hear):
    (tmp_path / "there").mkdir()
    for name in ("0.json", "3.tif"):
        (tmp_path / "there" / name).touch()
    out = suggest(
        [new], checkpoint=best, progress=hear,
        parameters=settings(output=str(tmp_path / "out"), labelled=str(tmp_path / "there")),
    )  # fmt: skip
    assert {Path(item["image"]).stem for item in suggestions(out)["suggestions"]} == {"1", "2"}
    assert "left out, as --labelled has their names: 2 images" in hear.lines


@pytest.mark.parametrize("there", ["patches", "images", "other patches"])
def test_images_that_the_network_has_learned_from_are_left_out(there, new, tmp_path, monkeypatch, hear):
    monkeypatch.chdir(tmp_path)
    for name in ("images", "masks"):
        Path(name).mkdir()
    for index in (0, 1):
        Path(f"images/{index}.png").symlink_to(new / f"{index}.png")
        with Image.open(new / f"{index}.png") as image:
            Image.fromarray(draw(0, index, image.height, image.width)[1]).save(f"masks/{index}.png")
    found = DataParameters(images="images", masks="masks")  # as the command line records them
    patches = prepare("images", "masks", parameters=PrepareParameters(patch=16, per_image=1), data=found)
    best = train(
        patches, parameters=TrainParameters(steps=1, threads=1, device="cpu"), model=ModelParameters(width=4, levels=2)
    )  # fmt: skip
    if there == "patches":
        shutil.rmtree("images")
    elif there == "images":
        patches.unlink()
    else:
        prepare(
            "images", "masks", parameters=PrepareParameters(patch=16, per_image=1, seed=1), overwrite=True
        )
    out = suggest([new], checkpoint=best, parameters=settings(output="out"), progress=hear)
    assert {Path(item["image"]).stem for item in suggestions(out)["suggestions"]} == {"2", "3"}
    assert "left out, as the network has learned from them: 2 images" in hear.lines


def test_where_nothing_is_left_of_what_a_network_has_learned_from_no_image_is_left_out(
    new, best, hear, tmp_path
):
    suggest([new], checkpoint=best, parameters=settings(output=str(tmp_path / "out")), progress=hear)
    assert not [line for line in hear.lines if "left out" in line]


def test_earlier_suggestions_are_not_made_again(new, best, done, tmp_path):
    rounds = [done]
    for number in (2, 3):
        rounds.append(
            suggest(
                [new], checkpoint=best,
                parameters=settings(output=str(tmp_path / f"out{number}"), labelled=str(rounds[-1]), count=3),
            )
        )  # fmt: skip
    ground = {}
    for folder in rounds:
        for item in suggestions(folder)["suggestions"]:
            here = ground.setdefault(item["image"], np.zeros((128, 128), int))
            here[Box(*item["box"]).slices] += 1
    assert max(here.max() for here in ground.values()) == 1
    assert len(suggestions(rounds[2])["earlier"]) == 7


# Other kinds of images and masks


@pytest.mark.parametrize(
    ("dtype", "channels", "suffix"),
    [
        ("uint8", 3, ".png"),
        ("uint16", 1, ".png"),
        ("uint8", 4, ".tif"),
        ("uint16", 3, ".tif"),
        ("float32", 2, ".tif"),
    ],
)
def test_crops_keep_dtype_and_channels(dtype, channels, suffix, make, tmp_path):
    make(channels, dtype=dtype).save(tmp_path / "m.pt")
    numbers = np.random.default_rng(0).random((40, 48, channels)) * 200
    pixels = numbers.astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    out = suggest(
        [tmp_path / "a.npy"],
        checkpoint=tmp_path / "m.pt",
        parameters=settings(output=str(tmp_path / "out"), count=1),
    )
    (item,) = suggestions(out)["suggestions"]
    crop = read(out / item["crop"])
    assert item["crop"].endswith(suffix)
    assert crop.dtype == dtype
    np.testing.assert_array_equal(crop, pixels[Box(*item["box"]).slices])


def test_masks_have_the_values_of_those_that_were_learned_from(make, new, tmp_path):
    """Black and white masks: 255 is a class, so that another value means what is open, and parameters.json says so."""
    model = make(names=("background", "cell"), values=(0, 255), seed=SEED)
    model.save(tmp_path / "m.pt")
    out = suggest(
        [new],
        checkpoint=tmp_path / "m.pt",
        parameters=settings(output=str(tmp_path / "out"), count=9, sure=0.6),
    )
    values = set(np.unique([value for file in (out / "masks").iterdir() for value in np.unique(read(file))]))
    data = load(out / "parameters.json").data
    assert data.ignore not in (0, 255, None)
    assert values == {0, 255, data.ignore}
    file = prepare(
        out / "images", out / "masks", data=data,
        parameters=PrepareParameters(output=str(tmp_path / "p.h5"), patch=16, per_image=2),
    )  # fmt: skip
    with PatchFile(file) as patches:
        assert patches.head.classes.values == (0, 255)
        assert 255 in patches.read_masks("train")  # ignored, by index


def test_masks_in_colours_stay_in_colours(make, new, tmp_path):
    model = make()
    model.classes = Classes(model.classes.names, (None, None, None), model.classes.colors)
    model.save(tmp_path / "m.pt")
    out = suggest([new], checkpoint=tmp_path / "m.pt", parameters=settings(output=str(tmp_path / "out")))
    file = prepare(
        out / "images", out / "masks", data=load(out / "parameters.json").data,
        parameters=PrepareParameters(output=str(tmp_path / "p.h5"), patch=16, per_image=2),
    )  # fmt: skip
    with PatchFile(file) as patches:
        assert patches.head.classes.names == model.classes.names


def test_several_networks_at_another_scale_contradict_each_other_as_infer_has_it(make, new, tmp_path):
    for seed in (0, 1):
        make(seed=seed, scale=0.5).save(tmp_path / f"{seed}.pt")
    both = [tmp_path / "0.pt", tmp_path / "1.pt"]
    folds = [{"checkpoint": file.name} for file in both]
    (tmp_path / "crossval.json").write_text(json.dumps({"folds": folds}), encoding="utf-8")
    assert suggestions(
        suggest([new], checkpoint=tmp_path, parameters=settings(output=str(tmp_path / "of folds")))
    ) == suggestions(suggest([new], checkpoint=both, parameters=settings(output=str(tmp_path / "of files"))))
    out = suggest([new], checkpoint=both, parameters=settings(output=str(tmp_path / "out")))
    wanted = InferParameters(
        output=str(tmp_path / "m"), disagreement=True, symmetries="flips", tile=32, threads=1, device="cpu"
    )
    infer([new], checkpoint=both, parameters=wanted)
    for item in suggestions(out)["suggestions"]:
        layer = tifffile.imread(tmp_path / "m/disagreement" / f"{Path(item['image']).stem}.tif")
        mean = layer[Box(*item["box"]).slices].mean(dtype=np.float64)
        assert item["score"] == pytest.approx(mean, rel=1e-3)


def test_what_is_no_data_is_worth_nothing_and_left_open(make, tmp_path):
    make(3).save(tmp_path / "m.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (32, 64, 4), np.uint8)
    pixels[:, :, 3] = 255
    pixels[:, 32:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    out = suggest(
        [tmp_path / "a.png"],
        checkpoint=tmp_path / "m.pt",
        parameters=settings(output=str(tmp_path / "out"), count=2),
    )
    first, second = suggestions(out)["suggestions"]
    assert (first["box"], second["box"]) == ([0, 0, 32, 32], [0, 32, 32, 32])
    assert (second["score"], second["unsure"]) == (0, 0)
    assert (read(out / second["mask"]) == 255).all()


def test_memory_does_not_grow_with_the_height(best, tmp_path):
    peaks = []
    for height in (256, 1024):
        tifffile.imwrite(tmp_path / f"{height}.tif", draw(0, 0, height, 64)[0], tile=(64, 64))
        tracemalloc.start()
        suggest(
            [tmp_path / f"{height}.tif"], checkpoint=best,
            parameters=settings(output=str(tmp_path / f"out{height}"), count=1),
        )  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    image, planes = 1024 * 64, 6
    assert peaks[1] - peaks[0] < 0.1 * image * planes * 4


def test_wide_images_are_cut_into_columns_and_come_to_the_same(best, tmp_path):
    pixels = draw(0, 0, 48, 1000)[0]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    wanted = InferParameters(disagreement=True, symmetries="flips", tile=32, device="cpu")
    engine = Engine.of([best], wanted, torch.device("cpu"))
    found = [(tmp_path / "a.png", Path("a.png"))]
    whole, cut = (Surveyor(engine, Reading(), settings()) for _ in range(2))
    narrow = sum(memory.need(engine, 128, memory.Image(held=ArraySource(pixels).held)))
    cut._base = cut._base._replace(limit=cut._base.process + cut._base.workspace + narrow)
    with open_image(tmp_path / "a.png") as source:
        assert len(whole._columns(source)) == 1
        assert len(cut._columns(source)) > 4
    one, other = (surveyor.survey(found, Labelled(), Progress()) for surveyor in (whole, cut))
    assert one.boxes == other.boxes
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-9)
    np.testing.assert_allclose(one.looks, other.looks, rtol=1e-6)


# What goes wrong


def test_images_that_cannot_be_used_are_told_and_the_others_done(new, best, tmp_path, hear):
    (new / "9.png").write_bytes(b"no image")
    out = suggest([new], checkpoint=best, parameters=settings(output=str(tmp_path / "out")), progress=hear)
    ((failure),) = suggestions(out)["failures"]
    assert failure["image"] == str(new / "9.png")
    assert failure["error"] in hear.lines
    assert len(suggestions(out)["suggestions"]) == 4


def test_where_no_image_can_be_used_nothing_is_written(make, new, tmp_path):
    make(3).save(tmp_path / "m.pt")
    with pytest.raises(
        DataError, match=r"none of 4 images can be used; .*has 1 channels, the model expects 3"
    ):
        suggest([new], checkpoint=tmp_path / "m.pt", parameters=settings(output=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_what_stands_in_the_way_is_refused_before_the_work(new, best, done, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").touch()
    again = settings(output=str(done))
    for folder, overwrite, words in (
        (done, False, "exists already; choose another output or give --overwrite"),
        (other, True, "holds something else than suggestions"),
        (Path(), True, "holds something else than suggestions"),
    ):
        with pytest.raises(UsageError, match=words):
            suggest(
                ["nowhere"], checkpoint=best, parameters=settings(output=str(folder)), overwrite=overwrite
            )
    (done / "masks" / "mine.png").touch()
    suggest([new], checkpoint=best, parameters=again.model_copy(update={"count": 2}), overwrite=True)
    assert len(list((done / "masks").iterdir())) == 2


def test_a_failure_in_its_midst_leaves_the_earlier_folder_as_it_was(new, best, done):
    class Crash(Exception):
        pass

    before = sorted(path.relative_to(done) for path in done.rglob("*"))

    class Crashing(Progress):
        def start(self, label, total):
            self.label = label

        def step(self, count=1, note=""):
            if self.label == "writing":
                raise Crash

    with pytest.raises(Crash):
        suggest(
            [new], checkpoint=best, parameters=settings(output=str(done)), overwrite=True, progress=Crashing()
        )
    assert sorted(path.relative_to(done) for path in done.rglob("*")) == before
    assert [path.name for path in done.parent.glob(".*")] == []


@pytest.mark.parametrize("wrong", ["missing", "empty", "damaged"])
def test_a_folder_of_labelled_images_that_is_none_is_told(wrong, new, best, tmp_path):
    folder = tmp_path / wrong
    if wrong != "missing":
        folder.mkdir()
    if wrong == "damaged":
        (folder / "suggestions.json").write_text('{"suggestions": []}')
    words = {"missing": "is no folder", "empty": "is empty", "damaged": "is damaged"}[wrong]
    with pytest.raises((UsageError, DataError), match=words):
        suggest(
            [new], checkpoint=best, parameters=settings(labelled=str(folder), output=str(tmp_path / "out"))
        )


def test_where_all_crops_were_suggested_there_is_nothing_more(new, best, tmp_path):
    one, two = (settings(output=str(tmp_path / name), crop=16, count=1) for name in ("one", "two"))
    folder = suggest([new / "2.png"], checkpoint=best, parameters=one.model_copy(update={"crop": 24}))
    with pytest.raises(UsageError, match="all crops were suggested already"):
        suggest(
            [new / "2.png"], checkpoint=best, parameters=two.model_copy(update={"crop": 24, "labelled": str(folder)})
        )  # fmt: skip


def test_where_all_are_labelled_there_is_nothing_to_suggest(new, best, tmp_path):
    with pytest.raises(UsageError, match="all of 4 images are labelled already"):
        suggest([new], checkpoint=best, parameters=settings(labelled=str(new), output=str(tmp_path / "out")))


# The page


def test_names_on_the_page_are_escaped(make, new, tmp_path):
    make(names=("background", "<script>", '"ellipse"')).save(tmp_path / "m.pt")
    shutil.copy(new / "0.png", tmp_path / "<b>&'.png")
    out = suggest(
        [tmp_path / "<b>&'.png"],
        checkpoint=tmp_path / "m.pt",
        parameters=settings(output=str(tmp_path / "out"), count=1),
    )
    page = (out / "suggestions.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;&amp;&#x27;" in page
    assert page.count("<img") == 3


# Whether it finds what is new


@pytest.mark.slow
def test_suggestions_come_from_the_images_that_hold_what_was_never_seen(tmp_path):
    """Half of the pool has thick rings over its lines and ellipses; all suggestions shall be of that half."""
    known = synth(tmp_path / "known", parameters=SynthParameters(train=6, test=0, height=128, width=128))
    patches = prepare(
        known / "train/images",
        known / "train/masks",
        parameters=PrepareParameters(output=str(tmp_path / "p.h5")),
    )
    best = train(
        patches, parameters=TrainParameters(steps=300, threads=1, device="cpu", name="run"),
        model=ModelParameters(width=8), folder=tmp_path,
    )  # fmt: skip
    pool = tmp_path / "pool"
    pool.mkdir()
    rows, columns = np.indices((128, 128))
    for index in range(20):
        image, _ = draw(1, index, 128, 128)
        if index % 2:
            far = np.hypot(rows - 40 - index, columns - 90 + index)
            for radius in (15, 30, 45):
                image[abs(far - radius) < 4] = 110 + radius
        Image.fromarray(image).save(pool / f"{'odd' if index % 2 else 'even'}_{index:02}.png")
    out = suggest(
        [pool],
        checkpoint=best,
        parameters=SuggestParameters(output=str(tmp_path / "out"), count=8, threads=1),
    )
    names = [Path(item["image"]).stem.split("_")[0] for item in suggestions(out)["suggestions"]]
    assert names == ["odd"] * 8
