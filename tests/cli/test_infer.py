import json

import numpy as np
from PIL import Image


def recorded(folder):
    record = json.loads((folder / "parameters.effective.json").read_text(encoding="utf-8"))
    return {key: entry["value"] for key, entry in record.items()}


def mask(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_region_is_a_box_of_four_numbers(run, folder):
    ended = run("infer", "images", "-m", "best.pt", "--threads", 1, "--roi", "4,6,20,10", "-o", "out")
    assert ended.code == 0
    assert ended.out == "out\n"
    assert recorded(folder / "out")["infer.roi"] == "4,6,20,10"
    for image in (folder / "images").iterdir():
        found = mask(folder / "out" / image.name) != 255
        assert found[4:24, 6:16].all()
        assert found.sum() == 200
    for text in ("1,2,3", "1.5,0,10,5", ""):
        ended = run("infer", "images", "-m", "best.pt", "-o", "others", "--roi", text)
        assert ended.code == 2
        assert ended.error.startswith(f"infer.roi: {text} is neither a box nor a file")


def test_checkpoints_stand_with_commas_between(run, folder):
    for number, text in enumerate(("best.pt,best.pt", "best.pt, best.pt,")):
        assert run("infer", "images", "-m", text, "--threads", 1, "-o", f"out {number}").code == 0
        assert recorded(folder / f"out {number}")["infer.checkpoint"] == "best.pt,best.pt"
    assert run("infer", "images", "-m", "best.pt,none.pt").error.startswith("none.pt: is no file")
    (folder / "best.pt").rename(folder / "run,3.pt")
    assert run("infer", "images", "-m", "run,3.pt", "--threads", 1, "-o", "out").code == 0
