import json

import pytest

from patchseg import cli


def effective(file):
    """Return {key: (value, source)} of what a verb recorded."""
    return {
        key: (entry["value"], entry["source"])
        for key, entry in json.loads(file.read_text(encoding="utf-8")).items()
    }


def test_flags_win_over_the_file_and_the_file_over_defaults(run, here, write_parameters):
    write_parameters(synth={"train": 1, "test": 2, "height": 20})
    assert run("synth", "data", "--train", 0, "--width", 24).code == 0
    record = effective(here / "data/parameters.effective.json")
    assert record["synth.train"] == (0, "flag")
    assert record["synth.width"] == (24, "flag")
    assert record["synth.test"] == (2, "parameters.json")
    assert record["synth.height"] == (20, "parameters.json")
    assert record["synth.seed"] == (0, "default")
    assert len(list((here / "data/test/images").iterdir())) == 2
    assert not (here / "data/train").exists()


def test_another_file_of_parameters_takes_the_place_of_the_one_here(run, here, write_parameters):
    write_parameters(train={"batch": 3})
    (here / "other.json").write_text('{"train": {"rate": 0.5}}')
    record = json.loads(run("parameters", "--parameters", "other.json", "--json").out)
    assert record["train.rate"] == {"value": 0.5, "source": "other.json"}
    assert record["train.batch"] == {"value": None, "source": "default"}


def test_the_letters_of_train_mean_rate_batch_and_epochs(run, here, job):
    words = ["-e", 1, "-b", 7, "-l", 0.003, "--name", "short", "--threads", 1, "--width", 4, "--levels", 1]
    assert run("train", job / "patches.h5", *words).code == 0
    record = effective(here / "runs/short/parameters.effective.json")
    assert record["train.epochs"] == (1, "flag")
    assert record["train.batch"] == (7, "flag")
    assert record["train.rate"] == (0.003, "flag")
    assert record["model.width"] == (4, "flag")
    assert record["model.norm"] == ("batch", "plan")
    assert record["train.threads"] == (1, "flag")


def test_weights_of_classes_are_a_word_or_numbers(run, here, job):
    words = [job / "patches.h5", "--steps", 1, "--threads", 1, "--width", 4, "--levels", 1]
    assert run("train", *words, "--name", "a", "--class-weights", "balanced").code == 0
    assert run("train", *words, "--name", "b", "--class-weights", "1,2.5,1").code == 0
    for name, value in (("a", "balanced"), ("b", [1, 2.5, 1])):
        record = effective(here / f"runs/{name}/parameters.effective.json")
        assert record["train.class_weights"] == (value, "flag")


def test_a_switch_can_be_turned_off_against_the_file(run, here, write_parameters, job):
    write_parameters(infer={"overlay": True, "threads": 1})
    images = job / "data/test/images"
    assert run("infer", images, "-m", job / "best.pt", "-o", "with").code == 0
    assert run("infer", images, "-m", job / "best.pt", "-o", "without", "--no-overlay").code == 0
    assert (here / "with/overlays").is_dir()
    assert not (here / "without/overlays").exists()


def test_three_mistakes_in_a_file_are_all_told(run, here, write_parameters):
    write_parameters(train={"rte": 1, "batch": 0}, prepare={"flips": "yes"})
    ended = run("prepare", "images", "masks")
    assert ended.code == 2
    lines = sorted(line.strip() for line in ended.error.splitlines())
    assert lines == [
        "parameters.json: prepare.flips should be a valid boolean (got \"yes\")",
        "parameters.json: train.batch should be greater than or equal to 1 (got 0)",
        'parameters.json: train.rte is no parameter; did you mean "rate"?',
    ]  # fmt: skip


def test_mistakes_in_flags_are_told_by_their_flags_all_at_once(run, here):
    ended = run("train", "--rate", -1, "--batch", 0, "--time", "soon", "--epochs", 1)
    assert ended.code == 2
    found = {line.split()[0]: line for line in (line.strip() for line in ended.error.splitlines())}
    assert set(found) == {"--rate", "--batch", "--time"}
    assert found["--time"].endswith('should be a duration such as "90s", "5m" or "1.5h" (got "soon")')


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prepare"], "IMAGES missing; name it on the command line, or data.images in parameters.json"),
        (["infer", "-m", "x.pt"], "IMAGE missing; name it on the command line, or infer.images in"),
        (
            ["infer", "a.png"],
            "--checkpoint (-m) missing; name it on the command line, or infer.checkpoint in",
        ),
        (["evaluate"], "MASKS missing; name it on the command line, or evaluate.masks in parameters.json"),
        (["evaluate", "m"], "TRUTH missing; name it on the command line, or evaluate.truth in"),
    ],
)
def test_what_is_missing_is_told_with_both_places_for_it(words, told, run, here):
    ended = run(*words)
    assert ended.code == 2
    assert ended.error.startswith(told)


def test_an_empty_list_is_missing_too(run, here, write_parameters):
    write_parameters(infer={"images": [], "checkpoint": "best.pt"})
    assert run("infer").error.startswith("IMAGE missing;")


def test_every_verb_that_takes_parameters_takes_a_file_of_them(run, here):
    for verb in set(cli.VERBS) - {"demo", "report"}:
        words = {
            "synth": ["data"], "import": ["via.json"], "compare": ["a", "b"], "view": ["a.png"], "calibrate": ["best.pt"],
        }.get(verb, [])  # fmt: skip
        ended = run(verb, *words, "--parameters", "none.json")
        assert ended.code == 2
        assert ended.error.startswith("none.json: cannot be read (")


def test_parameters_are_shown_a_line_each_with_value_and_source(run, here, write_parameters):
    write_parameters(data={"classes": ["ground", {"name": "line", "value": 7}]}, train={"rate": 0.01})
    ended = run("parameters")
    lines = {line.split()[0]: line for line in ended.out.splitlines()}
    assert ended.err == ""
    assert lines["train.rate"].split() == ["train.rate", "0.01", "parameters.json"]
    assert lines["train.batch"].split() == ["train.batch", "null", "default"]
    assert max(map(len, ended.out.splitlines())) <= 80
    whole = json.loads(run("parameters", "--json").out)["data.classes"]
    assert whole["value"][1] == {"name": "line", "value": 7, "color": None}


def test_parameters_as_json_are_one_document_in_the_order_of_the_work(run, here):
    table = json.loads(run("parameters", "--json").out)
    sections = list(dict.fromkeys(key.split(".")[0] for key in table))
    assert sections == [
        "data", "prepare", "model", "augment", "pretrain", "train", "infer", "evaluate",
        "calibrate", "crossval", "learning_curve", "suggest", "audit", "export", "synth",
    ]  # fmt: skip
    assert table["infer.overlap"] == {"value": 0.5, "source": "default"}


def test_the_schema_is_one_document_that_knows_every_key(run, here):
    schema = json.loads(run("parameters", "--schema").out)
    table = json.loads(run("parameters", "--json").out)
    known = {
        f"{section}.{key}"
        for section, part in schema["properties"].items()
        if "$ref" in part
        for key in schema["$defs"][part["$ref"].rsplit("/")[-1]]["properties"]
    }
    assert known == set(table)
    assert schema["properties"]["$schema"] == {"type": "string"}
