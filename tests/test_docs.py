"""The documentation says what the sources say: generated parts, links, pictures, versions."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

import patchseg
from patchseg.cli import VERBS
from patchseg.parameters import Parameters, effective

ROOT = Path(patchseg.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKERS = "<!-- generated: {} -->\nstale\n<!-- end -->"
FIXTURE = f"# Title\n\n{MARKERS.format('commands')}\n\nBetween.\n\n{MARKERS.format('parameters')}\n\nLast.\n"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path):
    """Make a root folder with a README whose generated parts are stale, and no schema."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(FIXTURE, encoding="utf-8")
    return tmp_path


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures that lead to no other site; code is no page."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    return [target for pair in found for target in pair if target and "://" not in target]


def test_the_readme_and_the_schema_are_up_to_date(generate, capsys):
    assert generate.run(["--check"]) == 0, capsys.readouterr().err


def test_every_verb_has_its_section_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"\n### patchseg {verb}\n" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_exists(page):
    anchors = {
        slug(line.lstrip("#")) for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "#"
    }
    for target in links(page):
        path, _, anchor = target.partition("#")
        assert (page.parent / path).exists(), f"{page.name} links to {target}"
        assert path or anchor in anchors, f"{page.name} has no heading {target}"


def test_the_readme_has_links_to_check():
    assert "docs/architecture.md" in links(ROOT / "README.md")


def test_pictures_are_light_and_all_shown():
    pictures = sorted((ROOT / "docs/pictures").glob("*.png"))
    shown = {
        (page.parent / target).resolve() for page in PAGES for target in links(page) if "#" not in target
    }
    assert {path.name for path in pictures} == {"patches.png", "augmented.png", "result.png", "report.png"}
    for path in pictures:
        assert path.stat().st_size < 300_000
        assert path.resolve() in shown, f"{path.name} is on no page"


def test_the_changelog_tells_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{patchseg.__version__}]" in text


def test_a_stale_readme_and_a_missing_schema_are_told_then_renewed(generate, root, capsys):
    assert generate.run(["--check"], root=root) == 1
    told = capsys.readouterr().err
    assert "README.md: is not what the sources say" in told
    assert "parameters.schema.json: is not what the sources say" in told
    assert (root / "README.md").read_text(encoding="utf-8") == FIXTURE

    assert generate.run([], root=root) == 0
    assert generate.run(["--check"], root=root) == 0
    text = (root / "README.md").read_text(encoding="utf-8")
    assert "stale" not in text
    assert text.startswith("# Title\n")
    assert "\n\nBetween.\n\n" in text
    assert text.endswith("<!-- end -->\n\nLast.\n")
    schema = json.loads((root / "docs/parameters.schema.json").read_text(encoding="utf-8"))
    assert "train" in schema["properties"]


def test_a_word_changed_by_hand_is_stale(generate, root, capsys):
    generate.run([], root=root)
    text = (root / "README.md").read_text(encoding="utf-8")
    assert text.count("Replace outputs that exist.") > 1
    (root / "README.md").write_text(text.replace("Replace outputs", "Delete outputs", 1), encoding="utf-8")
    assert generate.run(["--check"], root=root) == 1
    assert capsys.readouterr().err.startswith("README.md:")


def test_a_readme_without_its_markers_is_refused(generate, root):
    (root / "README.md").write_text("# Title\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds 0 parts from <!-- generated: commands --> to <!-- end -->"):
        generate.run([], root=root)


def test_the_help_is_that_of_every_verb_in_order_whatever_the_terminal(generate, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    narrow = generate.commands()
    monkeypatch.setenv("COLUMNS", "200")
    text = generate.commands()
    assert text == narrow
    assert re.findall(r"^Usage: patchseg ([\w-]+)", text, flags=re.MULTILINE) == list(VERBS)
    assert 70 < max(map(len, text.splitlines())) <= 80
    assert "-e, --epochs INTEGER" in text
    assert "  -h, --help" in text


def test_the_table_has_every_parameter_once_with_its_default(generate):
    rows = [line.split(" | ") for line in generate.parameters().splitlines()[2:]]
    keys = {row[0].removeprefix("| ").strip("`"): row[1] for row in rows}
    table = effective(*Parameters().sections())
    assert len(keys) == len(rows)
    assert set(table) == {key for key in keys if "[]" not in key}
    assert {key: f"`{json.dumps(entry['value'])}`" for key, entry in table.items()} == {
        key: default for key, default in keys.items() if "[]" not in key
    }
    assert keys["data.classes[].name"] == "required"


def test_the_table_names_the_choices_before_the_automatic_plan(generate):
    (row,) = [line for line in generate.parameters().splitlines() if line.startswith("| `model.norm`")]
    assert "layers: `batch`, `group`, `instance`, `none` [auto: batch, group below" in row


def test_the_script_exits_with_what_it_found(run_python, root):
    shutil.copy(ROOT / "docs/generate.py", root / "docs")  # it knows its root by its own place
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    assert run_python(code, root / "docs/generate.py", "--check").returncode == 1


def test_the_parameters_file_fits_the_schema_that_it_names():
    tree = json.loads((ROOT / "parameters.json").read_text(encoding="utf-8"))
    schema = json.loads((ROOT / tree["$schema"]).read_text(encoding="utf-8"))
    jsonschema.validate(tree, schema)
    tree["train"]["epoch"] = 5
    with pytest.raises(jsonschema.ValidationError, match="epoch"):
        jsonschema.validate(tree, schema)
