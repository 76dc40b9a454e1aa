"""What `train`, `infer` and the verbs after them are given: files of something else, and images of another kind."""

import pickle
import re
import shutil

import h5py
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

INFER = ["infer", "images", "-m", "best.pt", "-o", "out", "--threads", 1]
CURE_H5 = r"make it with `patchseg prepare`"
CURE_PT = r"expected a checkpoint of patchseg, such as checkpoints/NAME/best\.pt"


def test_the_folder_is_good_before_it_is_spoiled(folder, run):
    assert run("train", "--steps", 1, "--threads", 1, "--width", 4, "--levels", 1).code == 0
    assert run(*INFER).code == 0


def empty(file):
    file.write_bytes(b"")


def text(file):
    file.write_text("a table\n" * 100)


def other_hdf5(file):
    with h5py.File(file, "w") as other:
        other["data"] = np.zeros(4)


def newer_hdf5(file):
    with h5py.File(file, "a") as patches:
        patches.attrs["patchseg_format"] = 2


def half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def other_torch(file):
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, file)


def patches(file):
    shutil.copy(file.parent / "patches.h5", file)


@pytest.mark.parametrize(
    ("name", "spoil", "told"),
    [
        ("patches.h5", empty, rf"patches\.h5: is empty \(0 bytes\); {CURE_H5}"),
        ("patches.h5", other_hdf5, rf"patches\.h5: is HDF5, but holds no patches \(.+\); {CURE_H5}"),
        ("patches.h5", newer_hdf5, r"patches\.h5: has format 2, this patchseg reads 1; install a newer .+"),
        ("patches.h5", text, rf"patches\.h5: is no HDF5 file, or a damaged one \(.+\); {CURE_H5}"),
        ("patches.h5", half, rf"patches\.h5: is no HDF5 file, or a damaged one \(.+\); {CURE_H5}"),
        ("best.pt", empty, rf"best\.pt: is damaged or no checkpoint \(.+\); {CURE_PT}"),
        ("best.pt", text, rf"best\.pt: is damaged or no checkpoint \(.+\); {CURE_PT}"),
        ("best.pt", half, rf"best\.pt: is damaged or no checkpoint \(.+\); {CURE_PT}"),
        ("best.pt", patches, rf"best\.pt: is damaged or no checkpoint \(.+\); {CURE_PT}"),
        ("best.pt", other_torch, rf"best\.pt: is a file of torch, but of something else; {CURE_PT}"),
    ],
)
def test_a_file_of_something_else_is_refused(name, spoil, told, folder, run):
    spoil(folder / name)
    ended = run(*(["train", "--threads", 1] if name == "patches.h5" else INFER))
    assert ended.code == 3
    assert ended.out == ""
    assert re.fullmatch(told, ended.error)
    assert not (folder / "out").exists()
    assert not (folder / "checkpoints").exists()


class Evil:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('pwned').touch()",)


@pytest.mark.parametrize(
    "words", [INFER, ["train", "--weights", "best.pt", "--steps", 1, "--threads", 1, "--width", 4]]
)
@pytest.mark.parametrize("kind", ["zip", "pickle"])
def test_a_checkpoint_that_holds_code_is_refused_and_does_not_run(words, kind, folder, run):
    content = {"patchseg_format": 1, "weights": Evil()}
    if kind == "zip":
        torch.save(content, folder / "best.pt")
    else:
        (folder / "best.pt").write_bytes(pickle.dumps(content))
    ended = run(*words)
    assert ended.code == 3
    assert re.fullmatch(rf"best\.pt: .*(could run code|no checkpoint).*; {CURE_PT}", ended.error)
    assert not (folder / "pwned").exists()
    # It would have run.
    with (folder / "best.pt").open("rb") as file:
        torch.load(file, weights_only=False) if kind == "zip" else pickle.load(file)
    assert (folder / "pwned").exists()


def colour_images(folder):
    for file in (folder / "images").iterdir():
        Image.new("RGB", (32, 40), (200, 60, 60)).save(file)


def deep_images(folder):
    for file in (folder / "images").iterdir():
        Image.fromarray(np.zeros((40, 32), np.uint16)).save(file)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            colour_images,
            r"images/000\d\.png: is in colour, first at row 0, column 0; expected gray .+",
        ),
        (
            deep_images,
            r"images/000\d\.png: holds uint16, the model has learned uint8; convert the image",
        ),
    ],
)
def test_images_of_another_kind_are_refused_by_infer(spoil, told, folder, run):
    spoil(folder)
    ended = run(*INFER)
    assert ended.code == 3
    lines = [line.strip() for line in ended.error.splitlines()]
    assert len(lines) == 4
    assert all(re.fullmatch(told, line) for line in lines)
    assert not list((folder / "out").glob("*.png"))


def test_once_the_images_are_mended_infer_works_without_more_ado(folder, run):
    (folder / "images").rename(folder / "good")
    shutil.copytree(folder / "good", folder / "images")
    colour_images(folder)
    assert run(*INFER).code == 3
    ended = run("infer", "good", "-m", "best.pt", "--threads", 1, "-o", "out")
    assert (ended.code, ended.out) == (0, "out\n")


def test_one_bad_image_of_many_is_named_and_the_others_are_done(folder, run):
    file = folder / "images/0002.png"
    file.write_bytes(file.read_bytes()[:500])
    ended = run(*INFER)
    assert ended.code == 4
    assert re.fullmatch(r"images/0002\.png: is truncated or damaged \(.+\); .+", ended.error)
    assert sorted(file.name for file in (folder / "out").glob("*.png")) == [
        "0000.png", "0001.png", "0003.png",
    ]  # fmt: skip


def test_nan_is_refused_by_infer_too(folder, run):
    model = torch.load(folder / "best.pt", weights_only=True)
    torch.save(model | {"dtype": "float32"}, folder / "best.pt")
    for file in (folder / "images").iterdir():
        values = np.zeros((40, 32), np.float32)
        values[5, 6] = np.nan if file.stem == "0002" else 0
        tifffile.imwrite(file.with_suffix(".tif"), values)
        file.unlink()
    ended = run(*INFER)
    assert ended.code == 4
    assert ended.error.startswith("images/0002.tif: holds NaN or infinity, first at row 5, column 6;")
    assert not (folder / "out/0002.png").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["infer", "imgs", "-m", "best.pt"], "imgs: is no file, folder or glob that matches; check the path"),
        (
            ["infer", "best.pt", "-m", "images"],
            r"images: holds no crossval\.json; expected a checkpoint, such as .*",
        ),
        (["train", "images"], rf"images: is no file; {CURE_H5}"),
        (["train", "--device", "mps"], "--device mps: is not to be had here; expected one of .*cpu"),
        (
            ["prepare", "list.txt", "-o", "new.h5"],
            "list.txt: is neither a folder of images nor a list file; check the path",
        ),
        (["report", "scores.json"], r"scores\.json: cannot be read \(no such file or directory\); check .+"),
        (
            ["prepare", "images/0001.png", "masks/0001.png", "x.png"],
            r"x\.png: is one path too many; give a folder .+",
        ),
        (
            ["train", "--name", "../run"],
            r"train\.name: \.\./run leads out of checkpoints/ and runs/; give .+",
        ),
        (["evaluate", "masks", "images"], r"masks: holds no parameters\.effective\.json of `infer`; give .+"),
    ],
)
def test_a_wrong_path_is_told(words, told, folder, run):
    ended = run(*words)
    assert ended.code == 2
    assert re.fullmatch(told, ended.error)
