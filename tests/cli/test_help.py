import re
import time
from pathlib import Path

import pytest

from patchseg import cli
from patchseg.parameters import Parameters

HEAVY = {"torch", "numpy", "h5py", "pydantic", "skimage", "scipy", "tifffile", "PIL", "tqdm", "tensorboard"}
SECTIONS = {
    "synth": ["synth"],
    "import": ["data"],
    "prepare": ["data", "prepare"],
    "train": ["train", "model"],
    "infer": ["infer"],
    "evaluate": ["data", "evaluate"],
    "compare": ["data"],
    "audit": ["data", "audit"],
    "calibrate": ["calibrate"],
    "crossval": ["crossval"],
    "learning-curve": ["learning_curve"],
    "suggest": ["suggest"],
    "export": ["export"],
}


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_imports_nothing_heavy(flag, run_python):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('modules', *sys.modules))\n"
        "from patchseg.cli import run\n"
        "run()\n"
    )
    start = time.perf_counter()
    done = run_python(code, flag)
    print(f"patchseg {flag} took {time.perf_counter() - start:.2f} s")
    help, modules = done.stdout.split("modules", 1)
    assert done.returncode == 0
    assert help.startswith("Usage: patchseg")
    assert "patchseg.cli" in modules.split()
    assert not HEAVY & set(modules.split())


def test_help_lists_every_verb_in_the_order_of_the_work(run):
    lines = run("-h").out.splitlines()
    start = lines.index("Commands, in the order of the work:")
    listed = [line.split()[0] for line in lines[start + 1 :] if line.strip()]
    assert listed == [
        "demo", "synth", "import", "check", "prepare", "augment", "models", "pretrain", "train", "infer", "evaluate", "compare",
        "calibrate", "crossval", "learning-curve", "suggest", "audit", "export", "report", "view", "parameters",
    ]  # fmt: skip


def test_every_file_with_a_command_is_a_verb():
    folder = Path(cli.__file__).parent
    commands = {
        file.stem.rstrip("_").replace("_", "-")
        for file in folder.glob("*.py")
        if "\ndef command(" in file.read_text("utf-8")
    }
    assert commands == set(cli.VERBS)


def test_a_bare_patchseg_shows_the_help_as_a_usage_error(run):
    ended = run()
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("Usage: patchseg")


@pytest.mark.parametrize("verb", cli.VERBS)
@pytest.mark.parametrize(("columns", "most"), [(80, 80), (200, 100)])
def test_the_help_of_a_verb_has_an_example_and_fits_the_terminal(verb, columns, most, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    ended = run(verb, "-h")
    assert ended.code == 0
    assert ended.err == ""
    assert ended.out.startswith(f"Usage: patchseg {verb} ")
    assert re.search(rf"^  Example:\n    patchseg {verb}\b", ended.out, re.MULTILINE)
    assert max(map(len, ended.out.splitlines())) <= most


@pytest.mark.parametrize(("verb", "section"), [(v, s) for v, sections in SECTIONS.items() for s in sections])
def test_a_flag_is_the_last_word_of_its_key_and_shows_its_help_and_default(verb, section, run):
    help = " ".join(run(verb, "-h").out.split())
    for name, field in type(getattr(Parameters(), section)).model_fields.items():
        flag = {"model.name": "--model"}.get(f"{section}.{name}", "--" + name.replace("_", "-"))
        if not field.json_schema_extra["flag"]:
            continue
        shown = re.search(rf"(?<!\S){flag}(?: /| [A-Z]+| \[)", help)
        assert shown, f"{flag} is not in the help of {verb}"
        words = re.split(r"[^\w]+", str(field.description))
        after = help[shown.start() :]
        assert re.search(r"\W+".join(words[1:4]), after), f"{flag} has no help"
        if field.default not in (None, True, False) and "[auto" not in field.description:
            default = re.search(r"\[default: (.+?)\]", after)
            assert default
            assert default[1] == str(field.default)


def test_the_state_of_a_switch_is_told_as_yes_or_no(run):
    help = " ".join(run("prepare", "-h").out.split())
    assert "--flips / --no-flips Store all four flips of each training patch. [default: yes]" in help
    help = " ".join(run("infer", "-h").out.split())
    assert "--overlay / --no-overlay Write the image with the mask over it too. [default: no]" in help


@pytest.mark.parametrize(
    ("verb", "short", "flag"),
    [
        ("prepare", "-o", "--output"),
        ("train", "-e", "--epochs"),
        ("train", "-b", "--batch"),
        ("train", "-l", "--rate"),
        ("infer", "-m", "--checkpoint"),
        ("infer", "-o", "--output"),
        ("evaluate", "-o", "--output"),
        ("compare", "-o", "--output"),
        ("report", "-o", "--output"),
        ("suggest", "-m", "--checkpoint"),
        ("suggest", "-o", "--output"),
        ("export", "-m", "--checkpoint"),
        ("export", "-o", "--output"),
    ],
)
def test_frequent_flags_have_a_letter(verb, short, flag, run):
    assert f"{short}, {flag} " in run(verb, "-h").out


def test_no_flag_stands_twice(run):
    for verb in cli.VERBS:
        command = cli.find_command(verb)
        names = [name for option in command.params for name in [*option.opts, *option.secondary_opts]]
        assert len(names) == len(set(names)), verb


def test_the_version_is_the_packages(run):
    from patchseg import __version__

    assert run("--version").out == f"patchseg, version {__version__}\n"
