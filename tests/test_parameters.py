import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from patchseg.errors import UsageError
from patchseg.loading import load, schema
from patchseg.parameters import (
    ClassParameters,
    EvaluateParameters,
    Parameters,
    PrepareParameters,
    TrainParameters,
    effective,
)


@pytest.fixture
def written(tmp_path):
    """Write a tree, or plain text, as p.json and return its path."""

    def write(tree) -> Path:
        file = tmp_path / "p.json"
        file.write_text(tree if isinstance(tree, str) else json.dumps(tree), encoding="utf-8")
        return file

    return write


def complaints(file: Path, flags=None) -> list[str]:
    """Return what is wrong with a file, a line a mistake, without the file's name."""
    with pytest.raises(UsageError) as caught:
        load(file, flags)
    return [line.removeprefix(f"{file}: ") for line in str(caught.value).splitlines()]


def tree_of(parameters: Parameters) -> dict:
    return {s.section: s.model_dump(mode="json") for s in parameters.sections()}


# Values and where they came from


def test_without_a_file_everything_is_a_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load() == Parameters()
    assert {entry["source"] for entry in effective(*load().sections()).values()} == {"default"}


def test_the_file_in_the_working_folder_is_read_unasked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("parameters.json").write_text('{"train": {"epochs": 7}}')
    train = load().train
    assert (train.epochs, train.source("epochs")) == (7, "parameters.json")


def test_flags_outdo_the_file_and_the_file_the_defaults(written):
    file = written({"train": {"epochs": 7, "batch": 4}})
    train = load(file, {"train.epochs": 9}).train
    assert (train.epochs, train.batch, train.clip) == (9, 4, 5.0)
    assert [train.source(name) for name in ("epochs", "batch", "clip")] == ["flag", str(file), "default"]


def test_a_value_set_in_python_says_so():
    train = TrainParameters(epochs=5)
    assert (train.source("epochs"), train.source("batch")) == ("call", "default")


def test_the_plan_fills_only_what_nobody_set(written):
    file = written({"model": {"width": 24, "norm": None}})
    model = load(file, {"model.levels": 3}).model.planned(width=32, levels=4, norm="group")
    assert (model.width, model.levels, model.norm) == (24, 3, "group")
    assert [model.source(name) for name in ("width", "levels", "norm", "name")] == [
        str(file), "flag", "plan", "default",
    ]  # fmt: skip


def test_effective_holds_value_and_source_of_every_key_of_a_section():
    entries = effective(EvaluateParameters(truth="t"))
    assert entries == {
        "evaluate.masks": {"value": None, "source": "default"},
        "evaluate.truth": {"value": "t", "source": "call"},
        "evaluate.output": {"value": None, "source": "default"},
        "evaluate.group": {"value": None, "source": "default"},
        "evaluate.blocks": {"value": None, "source": "default"},
        "evaluate.boundary": {"value": None, "source": "default"},
        "evaluate.objects": {"value": False, "source": "default"},
        "evaluate.certainty": {"value": False, "source": "default"},
        "evaluate.probabilities": {"value": None, "source": "default"},
        "evaluate.region": {"value": None, "source": "default"},
    }


def test_sections_are_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        TrainParameters().epochs = 3


def test_sections_come_in_the_order_of_the_work():
    names = [section.section for section in Parameters().sections()]
    assert names == [
        "data", "prepare", "model", "augment", "pretrain", "train", "infer", "evaluate",
        "calibrate", "crossval", "learning_curve", "suggest", "audit", "export", "synth",
    ]  # fmt: skip


def test_each_short_flag_is_given_once_a_section_and_every_setting_has_a_help():
    for section in Parameters().sections():
        fields = type(section).model_fields.values()
        shorts = [field.json_schema_extra["short"] for field in fields if field.json_schema_extra["short"]]
        assert len(shorts) == len(set(shorts))
        assert all(field.description for field in fields)


# The file


def test_comments_and_the_schema_key_are_allowed_everywhere(written):
    file = written(
        {
            "$schema": "x.json",
            "//": "a note",
            "train": {"//epochs": "few", "epochs": 3},
            "data": {"classes": [{"//": "the first", "name": "sky"}, "tree"]},
        }
    )
    parameters = load(file)
    assert parameters.train.epochs == 3
    assert [c.name for c in parameters.data.classes] == ["sky", "tree"]


def test_a_mark_at_the_start_of_the_file_is_passed_over(written):
    assert load(written('\ufeff{"train": {"epochs": 3}}')).train.epochs == 3


def test_a_bare_name_stands_for_a_class(written):
    classes = load(
        written({"data": {"classes": ["a", {"name": "b", "value": 7, "color": "#FF0000"}]}})
    ).data.classes
    assert classes == [ClassParameters(name="a"), ClassParameters(name="b", value=7, color="#FF0000")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("[1]", 'holds a list; it should hold {"data": ..., "train": ...}'),
    ],
)
def test_a_file_that_is_no_object_is_told_by_name(written, content, sentence):
    file = written(content)
    with pytest.raises(UsageError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {sentence}")


def test_a_binary_file_and_a_missing_one_are_told_by_name(tmp_path):
    binary = tmp_path / "b.json"
    binary.write_bytes(b"\xff\xfe\x00")
    for file, found in (
        (binary, "is no JSON"),
        (tmp_path / "none.json", "cannot be read"),
        (tmp_path, "cannot be"),
    ):
        with pytest.raises(UsageError) as caught:
            load(file)
        assert str(caught.value).startswith(f"{file}: {found}")


# Mistakes


def test_all_three_mistakes_are_told_at_once(written):
    file = written({"train": {"optimiser": "adam", "epochs": 0}, "prepare": {"patch": "big"}})
    assert sorted(complaints(file)) == [
        'prepare.patch should be a valid integer (got "big")',
        "train.epochs should be greater than or equal to 1 (got 0)",
        'train.optimiser is no parameter; did you mean "optimizer"?',
    ]


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"trains": {"epochs": 1}}, 'trains is no parameter; did you mean "train"?'),
        ({"train": {"zebra": 1}}, "train.zebra is no parameter"),
        ({"train": 5}, "train should be an object in braces (got 5)"),
        (
            {"train": {"loss": "bce"}},
            'train.loss should be a sum such as "0.5*ce+focal" of ce, dice, image_dice, focal, tversky, lovasz; '
            'did you mean "ce"? (got "bce")',
        ),
        ({"train": {"epochs": 2.5}}, "train.epochs should be a valid integer (got 2.5)"),
        ({"train": {"epochs": True}}, "train.epochs should be a valid integer (got true)"),
        ({"train": {"rate": "fast"}}, 'train.rate should be a valid number (got "fast")'),
        ({"train": {"rate": float("inf")}}, "train.rate should be a finite number (got Infinity)"),
        ({"train": {"rate": float("nan")}}, "train.rate should be a finite number (got NaN)"),
        ({"train": {"deterministic": "yes"}}, 'train.deterministic should be a valid boolean (got "yes")'),
        (
            {"train": {"time": "soon"}},
            'train.time should be a duration such as "90s", "5m" or "1.5h" (got "soon")',
        ),
        ({"train": {"time": 0}}, "train.time should be greater than 0 (got 0)"),
        (
            {"train": {"class_weights": "even"}},
            "train.class_weights should be 'balanced' or numbers such as 1,2.5 (got \"even\")",
        ),
        (
            {"train": {"class_weights": [1, -1]}},
            "train.class_weights.1 should be greater than or equal to 0 (got -1)",
        ),
        ({"infer": {"images": "a.png"}}, 'infer.images should be a valid list (got "a.png")'),
        ({"data": {"classes": [{"value": 1}]}}, "data.classes.0.name is missing"),
        (
            {"data": {"classes": ["a", {"name": "b", "colour": "#ffffff"}]}},
            'data.classes.1.colour is no parameter; did you mean "color"?',
        ),
        (
            {"data": {"classes": [{"name": "a", "color": "red"}]}},
            'data.classes.0.color should be a colour such as "#e69f00" (got "red")',
        ),
        (
            {"data": {"classes": [{"name": "a", "value": 2**31}]}},
            "data.classes.0.value should be less than or equal to 2147483647 (got 2147483648)",
        ),
        ({"data": {"classes": [3]}}, "data.classes.0 should be an object in braces (got 3)"),
        (
            {"data": {"ignore": "red"}},
            'data.ignore should be a whole number or a colour such as "#e69f00" (got "red")',
        ),
        (
            {"data": {"ignore": True}},
            'data.ignore should be a whole number or a colour such as "#e69f00" (got true)',
        ),
        ({"prepare": {"fold": "0/5"}}, 'prepare.fold should be a fold such as "2/5", or "2/all" (got "0/5")'),
    ],
)
def test_a_mistake_is_one_sentence_with_the_key_what_it_should_be_and_what_it_is(written, tree, sentence):
    assert complaints(written(tree)) == [sentence]


def test_a_wrong_flag_is_named_as_it_was_typed(written):
    file = written({"train": {"class_weights": "balanced"}})
    flags = {"train.weight_decay": -1.0, "train.rate": 0.0}
    assert sorted(complaints(file, flags)) == [
        "--rate should be greater than 0 (got 0.0)",
        "--weight-decay should be greater than or equal to 0 (got -1.0)",
    ]


def test_a_flag_into_a_section_that_is_no_object_tells_of_the_section(written):
    assert complaints(written({"train": 5}), {"train.rate": 0.1}) == [
        "train should be an object in braces (got 5)"
    ]


# The schema


@pytest.fixture(scope="module")
def validator():
    tree = schema()
    jsonschema.Draft202012Validator.check_schema(tree)
    return jsonschema.Draft202012Validator(tree)


def test_the_schema_accepts_the_effective_values_of_the_defaults_and_they_load_as_such(validator, written):
    tree = tree_of(Parameters())
    validator.validate(tree)
    assert tree_of(load(written(tree))) == tree


@pytest.mark.parametrize(
    "tree",
    [
        {"$schema": "x.json", "//": 1, "// note": "n", "train": {"//": "n", "//rate": 0.1}},
        {"train": {"time": "5m"}},
        {"train": {"time": 300, "class_weights": "balanced"}},
        {"train": {"class_weights": [1, 2.5]}},
        {"data": {"classes": ["a", {"name": "b", "value": 255, "color": "#ffffff", "//": "n"}]}},
        {"train": {"epochs": 0}},
        {"train": {"rat": 1}},
        {"train": {"time": -1}},
        {"trains": {}},
        {"infer": {"blend": "sinc"}},
        {"data": {"classes": [{"value": 1}]}},
        {"prepare": {"validation": 1.0}},
    ],
    ids=json.dumps,
)
def test_the_schema_and_the_models_agree_on_what_is_right(validator, written, tree):
    try:
        load(written(tree))
        right = True
    except UsageError:
        right = False
    assert validator.is_valid(tree) == right


def test_the_schema_carries_the_help_and_none_of_the_flags(validator):
    field = validator.schema["$defs"]["PrepareParameters"]["properties"]["patch"]
    assert field["description"] == PrepareParameters.model_fields["patch"].description
    assert not {"short", "flag"} & set(field)
