import json

import pytest

from patchseg.cli.learning_curve import told

QUICK = ["--steps", 2, "-b", 4, "--threads", 1, "--width", 4, "--levels", 2, "--patch", 16, "--per-image", 2]


def test_crossval_tells_its_trainings_and_prints_tables_in_80_columns(run, folder):
    ended = run("crossval", "images", "masks", "--folds", 2, *QUICK)
    assert ended.code == 0, ended.err
    assert "4 images in 2 folds of about 2: 2 trainings of 2 steps\n" in ended.err
    assert "fold 2/2: " in ended.err
    assert "epoch" not in ended.err
    lines = ended.out.splitlines()
    assert lines[-1] == "crossval/patches/crossval.json"
    assert max(map(len, lines)) <= 80
    again = run("crossval", "images", "masks", "--folds", 2, *QUICK, "--json")
    assert "2 folds finished already" in again.err
    assert json.loads(again.out) == json.loads((folder / lines[-1]).read_text())
    # What it leaves is a folder of masks like any, and an ensemble.
    assert run("evaluate", "crossval/patches/masks", "masks", "-o", "scores").code == 0
    ended = run("infer", "images", "-m", "crossval/patches", "-o", "m", "--threads", 1)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--folds", "1"], '--folds should be a number of folds, from 2 on, or "all" (got "1")'),
        (["--folds", "many"], '--folds should be a number of folds, from 2 on, or "all" (got "many")'),
        (["--folds", "9"], "crossval.folds: 9 folds of 4 images; give 4 or less, or all"),
    ],
)
def test_folds_that_are_none_are_one_sentence(words, sentence, run, folder):
    ended = run("crossval", "images", "masks", *words)
    assert (ended.code, ended.error) == (2, sentence)


def test_learning_curve_prints_its_table_and_verdict(run, folder):
    words = ["learning-curve", "images", "masks", "--repeats", 1, *QUICK]
    ended = run(*words)
    assert ended.code == 0, ended.err
    assert "3 trainings on 1 to 3 images, scored on 1 held-out image" in ended.err
    lines = ended.out.splitlines()
    assert lines[-1] == "learning-curve/patches/curve.json"
    assert lines[1].split()[:2] == ["1", "1"]
    document = json.loads((folder / lines[-1]).read_text())
    assert f"{document['verdict']} ({document['note']}) " in " ".join(lines[-9:])
    assert max(map(len, lines)) <= 80
    assert json.loads(run(*words, "--json").out) == document


def test_the_table_of_a_curve_fits_into_80_columns():
    point = {"images": 20, "repeats": 3, "mean": 0.89, "low": 0.88, "high": 0.9}
    curve = {
        "means": [point, {**point, "low": None, "high": None}],
        "forecast": [{"images": 30, "value": 0.91, "low": 0.88, "high": 0.93}],
        "fit": {"text": "mean IoU = 0.950 - 0.800 n^-0.80"}, "verdict": "With 10 more images " * 9, "note": "intervals " * 20,
    }  # fmt: skip
    lines = told(curve).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines[1:4]] == [
        ["20", "3", "0.8900", "0.8800", "to", "0.9000"],
        ["20", "3", "0.8900", "-"],
        ["30", "forecast", "0.9100", "0.8800", "to", "0.9300"],
    ]
