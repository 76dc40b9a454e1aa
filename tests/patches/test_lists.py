import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError, PatchsegError, UsageError
from patchseg.patches.lists import read_list, split_line
from patchseg.patches.pairs import Unpaired


def touch(folder, *names):
    """Make empty files; lists never look inside."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(pairs):
    """Return {name: (image, mask)} by file names."""
    return {pair.name: (pair.image.name, pair.mask.name) for pair in pairs}


def test_a_list_may_hold_comments_quotes_tabs_and_paths_relative_to_itself(tmp_path):
    touch(tmp_path / "my data", "a.png", "am.png", "b.png", "bm.png", "c.png", "cm.png")
    elsewhere = touch(tmp_path / "e", "d.png", "dm.png")
    file = tmp_path / "my data" / "list.txt"
    text = f"""\ufeffa.png am.png
    # image mask

"../my data/b.png"   bm.png
../my data/c.png\t../my data/cm.png
{elsewhere / "d.png"} ../e/dm.png
"""
    file.write_text(text, encoding="utf-8")
    assert names(read_list(file)) == {n: (f"{n}.png", f"{n}m.png") for n in "abcd"}
    assert all(pair.image.is_file() for pair in read_list(file))


def test_everything_wrong_with_a_list_is_told_by_line(tmp_path):
    touch(tmp_path, "a.png", "b.png", "m.png")
    file = tmp_path / "list.txt"
    file.write_text("a.png m.png\nlost.png gone.png\nb.png\na.png b.png m.png\nb.png m.png\na.png m.png\n")
    with pytest.raises(Unpaired) as caught:
        read_list(file)
    many = "paths; expected an image and a mask (quote paths with blanks)"
    assert str(caught.value).splitlines() == [
        f"{file}:2: {tmp_path / 'lost.png'} is no file; mend the path",
        f"{file}:2: {tmp_path / 'gone.png'} is no file; mend the path",
        f"{file}:3: holds 1 {many}",
        f"{file}:4: holds 3 {many}",
        f"{tmp_path / 'a.png'}: stands twice; remove one of its lines",
    ]
    assert [pair.name for pair in caught.value.pairs] == ["a", "b", "a"]


def test_a_list_without_a_pair_and_one_that_is_no_text_are_refused(tmp_path):
    empty, binary = tmp_path / "empty.txt", tmp_path / "image.png"
    empty.write_text("# nothing\n")
    binary.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"empty\.txt: holds no pair; expected `image mask` a line"):
        read_list(empty)
    with pytest.raises(UsageError, match=r"image\.png: cannot be read as a list of pairs"):
        read_list(binary)


@pytest.mark.parametrize(
    "line", ['"a b.png" c.png', "a b.png\tc.png", '  "a b.png"\t"c.png"  ', '"a b.png""c.png"']
)
def test_paths_with_blanks_are_quoted_or_tabbed(line):
    assert split_line(line) == ["a b.png", "c.png"]


# CSV


def written(tmp_path, text, name="list.csv"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def findings(tmp_path, text):
    with pytest.raises(Unpaired) as caught:
        read_list(written(tmp_path, text))
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
def test_a_table_names_images_masks_groups_and_sides_in_any_order(tmp_path, delimiter, name):
    touch(tmp_path, "i/a.png", "i/b, c.png", "i/d.png", "m/1.png", "m/2.png", "m/3.png")
    rows = [["Mask", "notes", "Image", "group", "split"], ["m/1.png", "", "i/a.png", "p1", "train"],
            ["m/2.png", "x", '"i/b, c.png"', "p2", "Validation"], ["m/3.png", "", "i/d.png", "p3", "test"]]  # fmt: skip
    text = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    pairs = read_list(written(tmp_path, text, name))
    assert [(p.name, p.mask.name, p.group, p.side) for p in pairs] == [
        ("a", "1.png", "p1", "train"), ("b, c", "2.png", "p2", "val"), ("d", "3.png", "p3", "test"),
    ]  # fmt: skip


def test_a_table_without_groups_and_sides_leaves_them_open(tmp_path):
    touch(tmp_path, "a.png", "m.png")
    assert read_list(written(tmp_path, "image,mask\na.png,m.png\n")) == [
        ("a", tmp_path / "a.png", tmp_path / "m.png", None, None, None, None)
    ]


def test_everything_wrong_with_a_table_is_told_by_line(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png", "m.png")
    text = "image,mask,group,split\na.png,m.png,p,train\nlost.png,m.png,q,val\nb.png,m.png\n,m.png,r,val\n"
    text += "b.png,m.png,p,val\nc.png,m.png,s,some\na.png,m.png,p,train\n"
    assert findings(tmp_path, text) == [
        "list.csv:3: lost.png is no file; mend the path",
        "list.csv:4: holds 2 cells, the header 4; mend the line (quote cells that hold commas)",
        "list.csv:5: has no image; fill in the cell",
        "list.csv:7: split is some; expected train, val or test (which is left out)",
        "a.png: stands twice; remove one of its lines",
        "p: is a group on several sides of the column split; keep it on one",
    ]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "picture,mask",
            "has columns picture, mask; expected image, mask, and maybe group and split, so name them",
        ),
        ("image,mask,splits", 'has columns image, mask, splits; .*; did you mean "split" by "splits"'),
        ("image,mask,Image", "has columns image, mask, image; expected one image, so rename the other"),
        ("", "has columns without names; expected image"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, header, told):
    with pytest.raises(UsageError, match=told):
        read_list(written(tmp_path, f"{header}\na.png,m.png\n"))


def test_a_table_without_a_line_is_refused(tmp_path):
    assert findings(tmp_path, "image,mask,group\n") == [
        "list.csv: holds no pair; expected an image and a mask a line"
    ]


@pytest.mark.parametrize("head", ["", "image,mask\n"])
def test_equal_stems_are_named_by_their_paths_and_one_file_twice_is_refused(tmp_path, head):
    touch(tmp_path, "x/i/1.png", "x/j/1.png", "x/i/2.png", "m.png")
    comma = "," if head else " "
    lines = [f"x/{name}.png{comma}m.png\n" for name in ("i/1", "j/1", "i/2")]
    pairs = read_list(written(tmp_path, head + "".join(lines), "list.csv" if head else "list.txt"))
    assert [pair.name for pair in pairs] == ["i/1", "j/1", "i/2"]
    again = written(tmp_path, f"{head}x/i/1.png{comma}m.png\nx/j/../i/1.png{comma}m.png\n", "twice.txt")
    with pytest.raises(Unpaired, match=r"x/j/\.\./i/1\.png: stands twice"):
        read_list(again)


def test_images_that_differ_by_the_suffix_alone_are_refused(tmp_path):
    touch(tmp_path, "a.png", "a.tif", "m.png")
    with pytest.raises(Unpaired, match=r"a\.tif: has the same stem as .*a\.png"):
        read_list(written(tmp_path, "a.png m.png\na.tif m.png\n", "list.txt"))


pieces = st.sampled_from(
    ["image", "mask", "group", "split", ",", ";", "\t", '"', "\n", " ", "#", "train", "test", "a.png", "\0"]
)


@given(st.lists(pieces | st.text(max_size=5), max_size=30), st.sampled_from(["l.csv", "l.txt"]))
def test_any_text_is_a_list_or_refused_in_a_sentence(parts, name):
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), "a.png")
        file = Path(folder) / name
        file.write_text("".join(parts), encoding="utf-8", errors="replace", newline="")
        try:
            pairs = read_list(file)
        except PatchsegError:
            return
        assert len({pair.name for pair in pairs}) == len(pairs) > 0


@pytest.mark.parametrize("cell", ["x" * 200_000, "x" * 5000, "a\0b"])
def test_cells_that_can_be_no_path_are_refused(tmp_path, cell):
    touch(tmp_path, "m.png")
    with pytest.raises(PatchsegError, match=r"list\.csv:2: (is no line of CSV|.* is no file)"):
        read_list(written(tmp_path, f"image,mask\n{cell},m.png\n"))
