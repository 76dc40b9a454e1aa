import json

from patchseg.models.checkpoint import load

SMALL = ["--patch", 16, "--per-image", 2, "--width", 4, "--levels", 2, "--threads", 1, "--device", "cpu"]


def test_images_alone_come_first_then_labels(run, folder, write_parameters):
    # What is said of the training is not meant for it; how patches are moved is.
    write_parameters(
        train={
            "name": "labels",
            "objective": "supcon",
            "steps": 3,
            "weights": "checkpoints/pretrained/best.pt",
        },
        augment={"flips": "none"},
    )
    done = run("pretrain", "images", "--steps", 2, "-b", 3, *SMALL)
    assert (done.code, done.out) == (0, "checkpoints/pretrained/best.pt\n"), done.err
    record = json.loads((folder / "runs/pretrained/parameters.effective.json").read_text(encoding="utf-8"))
    assert record["train.steps"] == {"value": 2, "source": "flag"}
    assert record["train.objective"] == {"value": "detcon", "source": "pretrain"}
    assert record["train.weights"]["value"] is None
    assert record["augment.flips"]["value"] == "none"
    assert run("prepare", "images", "masks", "--patch", 16, "--per-image", 4, "-o", "p.h5").code == 0
    done = run("train", "p.h5", "--threads", 1, "--device", "cpu")
    assert (done.code, done.out) == (0, "checkpoints/labels/best.pt\n"), done.err
    assert (
        "the network begins with checkpoints/pretrained/best.pt, but for head.bias, head.weight" in done.err
    )
    assert load(folder / "checkpoints/labels/best.pt").model["width"] == 4


def test_it_cannot_segment(run, folder):
    assert run("pretrain", "images", "--steps", 1, *SMALL).code == 0
    done = run("infer", "images", "-m", "checkpoints/pretrained/best.pt", "-o", "out", "--threads", 1)
    assert done.code == 2
    assert done.err == (
        "Error: checkpoints/pretrained/best.pt: is pretrained and knows no classes yet; give it to `patchseg train --weights`, "
        "and here the checkpoint of that run\n"
    )


def test_a_folder_that_is_not_there_is_one_sentence(run, folder):
    done = run("pretrain", "image", "--steps", 1)
    assert done.code == 2
    assert done.err.startswith("Error: image: is no folder; expected one with images (")
    assert done.err.endswith('; did you mean "images"?\n')


def test_images_may_be_those_that_the_file_of_parameters_names(run, folder, write_parameters):
    assert run("pretrain").err == (
        "Error: IMAGES missing; name it on the command line, or prepare.unlabelled in parameters.json\n"
    )
    write_parameters(prepare={"unlabelled": "images", "patch": 16, "per_image": 2})
    done = run("pretrain", "--steps", 1, *SMALL[4:])
    assert (done.code, done.out) == (0, "checkpoints/pretrained/best.pt\n"), done.err
