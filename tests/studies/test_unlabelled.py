"""Studies that learn from images without masks, too."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import UsageError
from patchseg.patches.store import PatchFile
from patchseg.studies.crossval import crossval
from patchseg.studies.learning_curve import learning_curve


@pytest.fixture
def more(tmp_path):
    """A folder of images without masks, a/u and c/u, of 30 x 30."""
    for number, name in enumerate(("a", "c"), 100):
        folder = tmp_path / "more" / name
        folder.mkdir(parents=True)
        image = np.stack([np.full((30, 30), number), *np.indices((30, 30))], axis=2)
        Image.fromarray(image.astype(np.uint8)).save(folder / "u.png")
    return tmp_path / "more"


def test_folds_take_them_but_for_relatives_of_what_is_held_out(tmp_path, kit, more):
    given = {"unlabelled": str(more), "group": r"^\w"}
    path = crossval(*kit.data, parameters=kit.settings(tmp_path / "cv", prepare=given))
    folds = json.loads(path.read_text())["folds"]
    assert {name for fold in folds for name in fold["images"]} == {"a/a1", "a/a2", "b/b1", "b/b2"}
    for number, fold in enumerate(folds, 1):
        with PatchFile(tmp_path / f"cv/fold-{number}-of-2/patches.h5") as file:
            names = [source.parent.name for source in file.unlabelled_sources]
            assert len(file.sources) == 4
        assert names == (["c"] if fold["images"][0].startswith("a") else ["a", "c"])


def test_others_are_refused_when_a_study_goes_on_and_another_place_is_not(tmp_path, kit, more):
    def settings(folder):
        return kit.settings(tmp_path / "cv", prepare={"unlabelled": str(folder)})

    with pytest.raises(kit.killed):
        crossval(*kit.data, parameters=settings(more), progress=kit.hear("fold 2/2, epoch"))
    moved = shutil.copytree(more, tmp_path / "moved")
    with pytest.raises(kit.killed):
        crossval(*kit.data, parameters=settings(moved), progress=kit.hear("fold 2/2, epoch"))
    shutil.copy(moved / "a/u.png", moved / "c/u.png")
    with pytest.raises(UsageError, match=r"was begun with another c/u \(unlabelled\)"):
        crossval(*kit.data, parameters=settings(moved))
    with pytest.raises(UsageError, match=r"was begun with another a/u \(unlabelled\) \(and 1 more\)"):
        crossval(*kit.data, parameters=kit.settings(tmp_path / "cv"))


def test_every_training_of_a_learning_curve_takes_them(tmp_path, kit, more):
    many = kit.write(tmp_path / "many", list("uvwxy"))
    given = kit.settings(tmp_path / "lc", prepare={"unlabelled": str(more)})
    with pytest.raises(kit.killed):
        learning_curve(*many, parameters=given, progress=kit.hear("training 2/4, epoch"))
    split = json.loads((tmp_path / "lc/split.json").read_text())
    assert set(split["train"]) | set(split["val"]) == set("uvwxy")
    cut = list((tmp_path / "lc").glob("share-*/patches.h5"))
    assert cut
    for file in cut:
        with PatchFile(file) as patches:
            assert patches.counts["unlabelled"] == 2 * 2
