import json
import shutil


def short(*more):
    return ("--count", 3, "--crop", 16, "--tile", 16, "--threads", 1, "--device", "cpu", *more)


def test_the_table_fits_80_columns_and_says_what_to_do_next(run, folder, job):
    shutil.copytree(job / "data/test/images", "new")
    ended = run("suggest", "new", "-m", "best.pt", *short())
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == ["rank", "image", "box", "score", "unsure", "why"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert lines[-1] == "suggestions"
    assert lines[-3:-1] == [
        "  patchseg prepare suggestions/images suggestions/masks \\",
        "    --parameters suggestions/parameters.json",
    ]
    assert max(map(len, lines)) <= 80
    assert "2 images (0.0 megapixels) on cpu" in ended.err.lower()


def test_the_document_on_stdout_is_the_one_in_the_folder(run, folder, job):
    ended = run("suggest", job / "data/test/images", "-m", "best.pt", *short("--json", "-o", "out"))
    assert json.loads(ended.out) == json.loads((folder / "out/suggestions.json").read_text(encoding="utf-8"))


def test_the_commands_that_are_printed_work(run, folder, job):
    ended = run("suggest", job / "data/test/images", "-m", "best.pt", *short("--count", 8, "--sure", 0.4))
    words = ended.out[ended.out.index("  patchseg prepare") :].replace("\\\n", " ").splitlines()[0].split()
    assert run(*words[1:], "-o", "next.h5", "--patch", 8).code == 0
    done = run(
        "import", "suggestions/annotations", "--images", "suggestions/images", "-o", "drawn", "--parameters",
        "suggestions/parameters.json",
    )  # fmt: skip
    assert done.code == 0
    masks, drawn = (
        sorted(path.name for path in (folder / name).glob("*.png")) for name in ("suggestions/masks", "drawn")
    )
    assert masks == drawn
    assert len(masks) > 3


def test_some_images_that_failed_are_told_with_code_4_after_the_table(run, folder, job):
    shutil.copytree(job / "data/test/images", "new")
    (folder / "new/broken.png").write_bytes(b"no image")
    ended = run("suggest", "new", "-m", "best.pt", *short())
    assert ended.code == 4
    assert ended.out.startswith("rank")
    assert ended.error.startswith("new/broken.png: is no image of a known format")


def test_what_is_missing_is_named(run, here):
    assert run("suggest").error.startswith("IMAGE missing; name it on the command line, or suggest.images")
    assert run("suggest", "new").error.startswith("--checkpoint (-m) missing")
    assert run("suggest", "new", "-m", "no.pt").error.startswith("no.pt: is no file")
