import json
import re

import h5py

from patchseg.models.checkpoint import load


def test_it_prints_before_and_after_and_what_it_means(run, folder):
    ended = run("calibrate", "best.pt", "patches.h5", "--threads", 1)
    assert ended.code == 0
    lines = ended.out.splitlines()
    known = load(folder / "best.pt").calibration
    assert lines[0].split() == ["before", "after"]
    assert lines[1].split() == ["NLL", f"{known['nll_before']:.4f}", f"{known['nll_after']:.4f}"]
    assert lines[2].split() == ["ECE", f"{known['ece_before']:.4f}", f"{known['ece_after']:.4f}"]
    assert re.fullmatch(r"temperature +[\d.]+  of 1,280 pixels of 1 image", lines[3])
    assert lines[4].startswith("The probabilities were ")
    assert lines[5:] == ["best.pt"]
    assert max(map(len, lines)) <= 80
    assert "fitted on 1 image:" in ended.err


def test_thresholds_are_told_a_line_a_class(run, folder):
    lines = run("calibrate", "best.pt", "--threads", 1, "--thresholds").out.splitlines()
    model = load(folder / "best.pt")
    assert lines[3].startswith("mean IoU")
    for line, name, value in zip(
        lines[5:], model.classes.names, model.calibration["thresholds"], strict=False
    ):
        assert line == f"  threshold {value:.4f}  {name}"


def test_json_is_one_document(run, folder):
    ended = run("calibrate", "best.pt", "--threads", 1, "--json")
    document = json.loads(ended.out)
    assert document.pop("checkpoints") == ["best.pt"]
    model = load(folder / "best.pt")
    assert document.pop("classes") == list(model.classes.names)
    assert document == model.calibration


def test_calibrated_masks_come_of_a_calibrated_checkpoint_only(run, folder):
    words = ["infer", "images", "-m", "best.pt", "--threads", 1, "--calibrated", "-o", "out"]
    ended = run(*words)
    assert ended.code == 2
    assert ended.error.startswith("best.pt: has no calibration, which --calibrated asks for; fit one with")
    assert run("calibrate", "best.pt", "--threads", 1).code == 0
    assert run(*words).code == 0
    record = json.loads((folder / "out/parameters.effective.json").read_text())
    temperature = load(folder / "best.pt").calibration["temperature"]
    assert record["infer.calibration"]["value"] == {"temperature": temperature, "thresholds": None}


def test_masks_with_probabilities_calibrate_several_at_once(run, folder):
    assert run("infer", "images", "-m", "best.pt", "--threads", 1, "--probabilities", "-o", "out").code == 0
    (folder / "b.pt").write_bytes((folder / "best.pt").read_bytes())
    ended = run("calibrate", "best.pt,b.pt", "--masks", "out", "--truth", "masks")
    assert ended.code == 0
    assert ended.out.splitlines()[-2:] == ["best.pt", "b.pt"]
    assert "of 5,120 pixels of 4 images" in ended.out
    assert load(folder / "best.pt").calibration == load(folder / "b.pt").calibration


def test_mistakes_are_a_sentence(run, folder):
    ended = run("calibrate")
    assert (ended.code, ended.error[:18]) == (2, "CHECKPOINT missing")
    ended = run("calibrate", "best.pt", "none.h5")
    assert (ended.code, ended.error.startswith("none.h5: is no file")) == (2, True)
    ended = run("calibrate", "patches.h5")
    assert (ended.code, ended.error.startswith("patches.h5: ")) == (3, True)
    with h5py.File(folder / "patches.h5", "a") as file:
        file.attrs["classes"] = file.attrs["classes"].replace('"name": "', '"name": "my ')
    ended = run("calibrate", "best.pt", "patches.h5", "--threads", 1)
    assert (ended.code, "patches.h5: has the classes my " in ended.error) == (3, True)
