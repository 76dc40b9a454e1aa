"""The verb: a clean set yields nothing, everything is told in one go, the worst first."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import patchseg
from patchseg.errors import UsageError
from patchseg.parameters import DataParameters, PrepareParameters
from patchseg.patches.doctor.checkup import check
from patchseg.patches.doctor.finding import KINDS, Finding, gathered
from patchseg.progress import Progress

SHARED = Path(patchseg.__file__).parents[2] / "shared/data"
CLASSES = DataParameters.model_validate({"classes": ["ground", "line", "ellipse"]})


@pytest.mark.parametrize(
    "values", [{}, {"group": r"\d\d\d(\d)"}, {"validation": 0.0}, {"scale": 0.5}, {"patch": 96}], ids=str
)
def test_a_clean_set_yields_nothing(dataset, values):
    assert dataset.found(**values) == {}
    assert dataset.found(data=CLASSES) == {}


@pytest.mark.parametrize("style", ["index", "rgb"])
@pytest.mark.parametrize("seed", [1, 2])
def test_clean_sets_of_other_seeds_and_styles_yield_nothing(tmp_path, style, seed):
    values = {"train": 6, "test": 0, "height": 150, "width": 130, "seed": seed, "mask_style": style}
    patchseg.synth(tmp_path, parameters=patchseg.SynthParameters(**values))
    report = check(tmp_path / "train/images", tmp_path / "train/masks")
    assert [str(finding) for finding in report.findings] == []
    assert str(report).splitlines()[-1] == "6 pairs checked: nothing wrong was found"


def test_one_large_image_is_split_by_blocks_and_yields_nothing(tmp_path):
    patchseg.synth(tmp_path, parameters=patchseg.SynthParameters(large=900))
    (tmp_path / "train.txt").write_text("large.tif large_mask.tif\n")
    report = check(tmp_path / "train.txt", parameters=PrepareParameters(patch=96))
    assert report.findings == ()
    assert report.sides == {"train": 1, "val": 1}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("synth_lines", []),
        ("nist_cells", ["full"]),  # true: one mask is all cell
        pytest.param("dsb2018", [], marks=pytest.mark.slow),
        pytest.param("isbi2012_em", [], marks=pytest.mark.slow),
        ("robosat_parking", ["empty"]),  # true: four images, one of them without parking
    ],
)
def test_data_sets_that_are_in_use_yield_no_error_and_only_true_doubts(name, kinds):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"NO DATA HERE: {folder} is absent")
    side = "test" if name == "synth_lines" else ""
    report = check(folder / "images" / side, folder / "masks" / side)
    assert report.errors == 0
    assert [finding.kind for finding in report.findings] == kinds


def spoil_much(dataset, files):
    """Plant seven faults of different kinds."""
    read, save = files
    dataset.image(0).unlink()
    dataset.image(1).write_bytes(dataset.image(1).read_bytes()[:300])
    save(dataset.mask(2), read(dataset.mask(2)).T)
    save(dataset.mask(3), read(dataset.mask(3)) * np.uint8(7))
    save(dataset.image(4), np.full((128, 96), 9, np.uint8))
    save(dataset.mask(5), np.zeros((128, 96), np.uint8))
    (dataset.images / "notes.czi").write_bytes(b"")


def test_everything_is_told_in_one_go_the_worst_first(dataset, files):
    spoil_much(dataset, files)
    report = dataset.check(data=CLASSES)
    kinds = [finding.kind for finding in report.findings]
    assert kinds == ["pairing", "unreadable", "size", "value", "empty", "constant", "unread"]
    assert [finding.severity for finding in report.findings] == ["error"] * 4 + ["warning"] * 3
    assert (report.errors, report.warnings) == (4, 3)
    assert str(report).splitlines()[-1] == "9 pairs checked: 4 errors, 3 warnings"


def test_what_prepare_refuses_check_calls_an_error(dataset, files, tmp_path):
    spoil_much(dataset, files)
    report = dataset.check(data=CLASSES)
    with pytest.raises(patchseg.PatchsegError) as refused:
        patchseg.prepare(
            dataset.images, dataset.masks, data=CLASSES,
            parameters=PrepareParameters(patch=32, output=str(tmp_path / "p.h5")),
        )  # fmt: skip
    *lines, hint = str(refused.value).splitlines()
    assert sorted(lines) == sorted(str(finding) for finding in report.findings if finding.severity == "error")
    assert hint.endswith(f"patchseg check {dataset.images} {dataset.masks}")


def test_the_report_as_plain_values_is_json(dataset, files):
    spoil_much(dataset, files)
    document = json.loads(json.dumps(dataset.check(data=CLASSES).to_json()))
    assert (document["ok"], document["errors"], document["warnings"]) == (False, 4, 3)
    assert document["findings"][2]["kind"] == "size"
    assert document["findings"][2]["files"] == [dataset.mask(2).as_posix()]
    assert document["findings"][2]["cause"].startswith("transposed")
    assert document["sizes"] == [{"height": 128, "width": 96, "images": 8}]
    assert [entry["name"] for entry in document["classes"]] == ["ground", "line", "ellipse"]
    assert sum(entry["share"] for entry in document["classes"]) == pytest.approx(1)
    assert document["classes"][0]["patch_chance"] == 1


def test_the_split_is_that_of_prepare(dataset, tmp_path):
    import h5py

    parameters = PrepareParameters(patch=32, seed=3, output=str(tmp_path / "p.h5"))
    patchseg.prepare(dataset.images, dataset.masks, parameters=parameters)
    with h5py.File(tmp_path / "p.h5") as file:
        sides = [side.decode() for side in file["sources/side"][:]]
    report = dataset.check(seed=3)
    dataset.image(2).write_bytes(b"")
    broken = dataset.check(seed=3)
    assert [sample.side for sample in broken.samples] == [sample.side for sample in report.samples]
    assert sorted(sample.side for sample in report.samples) == sorted(sides)
    assert report.sides == {"train": 8, "val": 2}


def test_images_given_for_validation_are_looked_at_too(dataset, tmp_path):
    held = tmp_path / "held"
    for name in ("images", "masks"):
        (held / name).mkdir(parents=True)
        for number in (8, 9):
            (tmp_path / name / f"000{number}.png").rename(held / name / f"000{number}.png")
    sides = {"val_images": str(held / "images"), "val_masks": str(held / "masks")}
    assert dataset.found(**sides) == {}
    shutil.copy(dataset.image(0), held / "images/0008.png")
    shutil.copy(dataset.mask(0), held / "masks/0008.png")
    assert dataset.only("twins", **sides).severity == "error"


def test_a_set_of_one_broken_pair_ends_in_a_report(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"no picture")
    report = check(tmp_path / "images", tmp_path / "masks")
    assert [finding.kind for finding in report.findings] == ["unreadable"]
    assert len(report.findings[0].files) == 2
    assert report.to_json()["channels"] is None


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="is neither a folder of images nor a list file"):
        check(tmp_path / "nowhere")


def test_progress_moves_once_a_pair(dataset):
    moves = []

    class Told(Progress):
        def start(self, label, total):
            moves.append((label, total))

        def step(self, count=1, note=""):
            moves.append(count)

    dataset.check(progress=Told())
    assert moves == [("checking", 10)] + [1] * 10


def test_findings_of_one_cause_are_one_with_all_files():
    made = [Finding("empty", "warning", (Path(name),), f"{name} found", "cure") for name in "abc"]
    other = Finding("pairing", "error", (Path("d"),), "found", "cure")
    assert [str(finding) for finding in gathered([*made, other])] == [
        "d: found; cure", "a (and 2 more): a found; cure"
    ]  # fmt: skip
    doubt = Finding("size", "warning", (Path("e"),), "found", "cure")
    late = Finding("twins", "error", (Path("f"),), "found", "cure")
    assert gathered([doubt, late]) == (late, doubt)
    assert gathered([*made, other])[1].files == (Path("a"), Path("b"), Path("c"))


def test_every_kind_that_is_found_has_its_place_and_its_words():
    folder = Path(patchseg.__file__).parent / "patches/doctor"
    text = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py") if file.stem != "finding")
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []
    guide = (Path(patchseg.__file__).parents[1] / "docs/check.md").read_text(encoding="utf-8")
    assert [title for title in KINDS.values() if title not in guide] == []
