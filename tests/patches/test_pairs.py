import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError, UsageError
from patchseg.patches.pairs import (
    Pair,
    Unpaired,
    find_images,
    find_pairs,
    image_files,
    natural,
    read_list,
    split_line,
)


def touch(folder, *names):
    """Make empty files; pairing never looks inside."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(pairs):
    """Return {name: (image, mask)} by file names."""
    return {pair.name: (pair.image.name, pair.mask.name) for pair in pairs}


def two(tmp_path, images, masks):
    return touch(tmp_path / "images", *images), touch(tmp_path / "masks", *masks)


def test_images_come_in_natural_order_without_hidden_files_and_others(tmp_path):
    folder = touch(tmp_path, "a10.png", "a9.TIF", ".a1.png", "notes.txt", "a2.npy")
    (folder / "a3.png.d").mkdir()
    assert [file.name for file in image_files(folder)] == ["a2.npy", "a9.TIF", "a10.png"]


@pytest.mark.parametrize("name", ["5²", "²", "٣", "", "a²b3"])
def test_any_name_can_be_sorted_even_with_digits_that_are_no_numbers(name):
    assert sorted([name, "a1"], key=natural)


def test_a_missing_folder_and_an_empty_one_are_usage_errors_that_name_the_folder(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere: is no folder"):
        image_files(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"empty: holds no image; expected files ending in \.tif"):
        find_pairs(touch(tmp_path / "images", "a.png"), touch(tmp_path / "empty", "notes.txt"))


def test_equal_stems_make_a_pair_whatever_the_suffix(tmp_path):
    images, masks = two(tmp_path, ["b.jpg", "a.tif"], ["a.png", "b.png"])
    assert find_pairs(images, masks) == [
        Pair("a", images / "a.tif", masks / "a.png"),
        Pair("b", images / "b.jpg", masks / "b.png"),
    ]


def test_numbers_that_begin_other_numbers_find_their_own_masks(tmp_path):
    images, masks = two(
        tmp_path, [f"Img_{i}.png" for i in range(20)], [f"Mask_{i}.png" for i in reversed(range(20))]
    )
    pairs = find_pairs(images, masks)
    assert [pair.name for pair in pairs] == [f"Img_{i}" for i in range(20)]
    assert names(pairs) == {f"Img_{i}": (f"Img_{i}.png", f"Mask_{i}.png") for i in range(20)}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("image_{}", "mask_{}"),  # "ma" stands in both, earlier than "_1"
        ("im{}", "mask{}"),
        ("{}", "{}_mask"),
        ("{}_leaf", "{}_label"),
        ("x_{}_rgb", "seg-{}"),
        ("{}.ome", "{}"),
    ],
)
def test_prefixes_and_suffixes_are_found_in_two_folders(tmp_path, image, mask):
    numbers = [1, 2, 3, 10, 11, 21]
    images, masks = two(
        tmp_path, [image.format(i) + ".tif" for i in numbers], [mask.format(i) + ".png" for i in numbers]
    )
    expected = {image.format(i): (image.format(i) + ".tif", mask.format(i) + ".png") for i in numbers}
    assert names(find_pairs(images, masks)) == expected


@pytest.mark.parametrize(
    ("image", "mask", "stems"),
    [
        ("image_{}", "mask_{}", "abc"),  # by their end
        ("{}_image", "{}-mask", "abc"),  # by their start
        ("x_{}_rgb", "seg-{}-ch", ["leaf", "twig", "root"]),  # by the longest part
        ("{}_image", "mask_{}", "123"),  # by their number
    ],
)
def test_the_shared_part_may_stand_at_either_end_or_in_the_middle(tmp_path, image, mask, stems):
    images, masks = two(
        tmp_path, [image.format(s) + ".tif" for s in stems], [mask.format(s) + ".png" for s in stems]
    )
    expected = {image.format(s): (image.format(s) + ".tif", mask.format(s) + ".png") for s in stems}
    assert names(find_pairs(images, masks)) == expected


affixes = st.text("aimskg_", max_size=5)


@given(st.sets(st.integers(0, 130), min_size=1, max_size=12), affixes, affixes, affixes, affixes)
@settings(max_examples=60)
def test_any_constant_prefix_and_suffix_pairs_each_number_with_itself(numbers, a, b, c, d):
    with tempfile.TemporaryDirectory() as folder:
        images, masks = two(
            Path(folder), [f"{a}{i}{b}.png" for i in numbers], [f"{c}{i}{d}.png" for i in numbers]
        )
        expected = {f"{a}{i}{b}": (f"{a}{i}{b}.png", f"{c}{i}{d}.png") for i in numbers}
        assert names(find_pairs(images, masks)) == expected


def test_every_stray_on_either_side_is_listed_and_the_pairs_are_told_too(tmp_path):
    images, masks = two(
        tmp_path,
        [f"Img_{i}.png" for i in (0, 1, 2, 3, 5)] + ["notes.png"],
        [f"Mask_{i}.png" for i in (1, 2, 4, 5)],
    )
    with pytest.raises(Unpaired) as caught:
        find_pairs(images, masks)
    lines = str(caught.value).splitlines()
    assert lines == [
        f"{images / 'Img_0.png'}: has no mask in {masks}; expected Mask_0.*",
        f"{images / 'Img_3.png'}: has no mask in {masks}; expected Mask_3.*",
        f"{images / 'notes.png'}: has no mask in {masks}; expected notes.*",
        f"{masks / 'Mask_4.png'}: belongs to no image in {images}; remove it or add the image",
    ]
    assert list(names(caught.value.pairs)) == ["Img_1", "Img_2", "Img_5"]
    assert caught.value.exit_code == DataError.exit_code == 3


def test_equal_stems_win_where_a_rule_matches_as_many(tmp_path):
    images, masks = two(tmp_path, ["a.png", "b.png", "c.png"], ["a.png", "b.png", "a_mask.png", "b_mask.png"])
    with pytest.raises(
        Unpaired, match=r"c\.png: has no mask.*\n.*a_mask\.png: belongs to no image.*\n.*b_mask"
    ):
        find_pairs(images, masks)


def test_files_that_share_a_stem_are_all_listed(tmp_path):
    images, masks = two(tmp_path, ["a.png", "a.tif", "b.png"], ["a.png", "b.jpg", "b.png"])
    with pytest.raises(Unpaired) as caught:
        find_pairs(images, masks)
    assert str(caught.value).splitlines() == [
        f"{images / 'a.tif'}: has the same stem as {images / 'a.png'}; rename or remove one of them",
        f"{masks / 'b.png'}: has the same stem as {masks / 'b.jpg'}; rename or remove one of them",
    ]


@pytest.mark.parametrize("mask", ["{}_mask", "mask_{}"])
def test_images_and_masks_in_one_folder_are_told_apart_by_the_affix(tmp_path, mask):
    numbers = [1, 2, 10, 11]
    touch(tmp_path, *(f"{i}.tif" for i in numbers), *(mask.format(i) + ".png" for i in numbers))
    assert names(find_pairs(tmp_path, tmp_path)) == {
        str(i): (f"{i}.tif", mask.format(i) + ".png") for i in numbers
    }


def test_strays_in_one_folder_are_listed_as_what_they_are(tmp_path):
    touch(tmp_path, "a.png", "a_mask.png", "b.png", "c_mask.png", "d.png", "d_mask.png")
    with pytest.raises(Unpaired) as caught:
        find_pairs(tmp_path, tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'b.png'}: has no mask beside it; expected b_mask.*",
        f"{tmp_path / 'c_mask.png'}: belongs to no image beside it; remove it or add the image",
    ]
    assert list(names(caught.value.pairs)) == ["a", "d"]


def test_one_folder_without_masks_or_with_doubles_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds images only"):
        find_pairs(*[touch(tmp_path / "x", "left.png", "right.png")] * 2)
    with pytest.raises(DataError, match=r"a\.tif: has the same stem as .*a\.png"):
        find_pairs(*[touch(tmp_path / "y", "a.png", "a.tif", "a_mask.png")] * 2)


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


def test_images_are_found_by_file_folder_and_glob_each_once_with_where_they_were_found(tmp_path):
    touch(tmp_path / "x", "a10.png", "a9.png", "notes.txt")
    touch(tmp_path / "x" / "deep", "b.png")
    found = find_images([tmp_path / "x", str(tmp_path / "x" / "a9.png"), f"{tmp_path}/x/**/*.png"])
    relative = {str(name) for _, name in found}
    assert [path.name for path, _ in found][:2] == ["a9.png", "a10.png"]
    assert relative == {"a9.png", "a10.png", "deep/b.png"}
    assert len(found) == 3
    with pytest.raises(UsageError, match=r"c\*\.png: is no file, folder or glob that matches"):
        find_images([f"{tmp_path}/x/c*.png"])
