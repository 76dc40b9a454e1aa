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
)


def touch(folder, *names):
    """Make empty files, in folders of their own where a name has slashes; pairing never looks inside."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
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


# Nested folders

TILES = ["18/70761/104120", "18/70762/104119", "18/70763/104119", "18/69623/104946"]


def test_nested_folders_are_matched_by_relative_path(tmp_path):
    images, masks = two(tmp_path, [f"{t}.webp" for t in TILES], [f"{t}.png" for t in TILES])
    pairs = find_pairs(images, masks)
    assert {pair.name: (pair.image, pair.mask) for pair in pairs} == {
        t: (images / f"{t}.webp", masks / f"{t}.png") for t in TILES
    }
    assert [pair.name for pair in pairs] == [TILES[3], *TILES[:3]], "in natural order"


def test_equal_stems_in_other_folders_are_other_images(tmp_path):
    images, masks = two(tmp_path, ["a/1.png", "b/1.png"], ["a/1.png", "b/1.tif"])
    assert [(p.name, p.mask.relative_to(masks).as_posix()) for p in find_pairs(images, masks)] == [
        ("a/1", "a/1.png"), ("b/1", "b/1.tif"),
    ]  # fmt: skip


def test_strays_and_doubles_in_nested_folders_are_listed_with_their_paths(tmp_path):
    images, masks = two(tmp_path, ["a/1.png", "b/1.png", "b/2.png"], ["a/1.png", "b/2.png", "c/1.png"])
    with pytest.raises(Unpaired) as caught:
        find_pairs(images, masks)
    assert str(caught.value).splitlines() == [
        f"{images / 'b/1.png'}: has no mask in {masks}; expected b/1.*",
        f"{masks / 'c/1.png'}: belongs to no image in {images}; remove it or add the image",
    ]
    assert [pair.name for pair in caught.value.pairs] == ["a/1", "b/2"]
    touch(masks, "b/1.png", "b/1.tif")
    with pytest.raises(Unpaired, match=r"b/1\.tif: has the same stem as .*b/1\.png"):
        find_pairs(images, masks)


@given(
    st.sets(st.tuples(st.sampled_from("xyz"), st.integers(0, 30)), min_size=1, max_size=8), affixes, affixes
)
def test_prefixes_and_suffixes_are_found_in_nested_folders_too(places, prefix, suffix):
    with tempfile.TemporaryDirectory() as folder:
        images, masks = two(
            Path(folder),
            [f"{a}/{i}.png" for a, i in places],
            [f"{a}/{prefix}{i}{suffix}.png" for a, i in places],
        )
        expected = {
            f"{a}/{i}": (images / f"{a}/{i}.png", masks / f"{a}/{prefix}{i}{suffix}.png") for a, i in places
        }
        assert {p.name: (p.image, p.mask) for p in find_pairs(images, masks)} == expected


def test_folders_inside_count_only_where_they_stand_on_both_sides(tmp_path):
    images, masks = two(tmp_path, ["a.png", "more/b.png", "raw/c.png"], ["a.png", "more/b.png"])
    assert [pair.name for pair in find_pairs(images, masks)] == ["a", "more/b"]


def test_masks_in_a_folder_of_the_images_are_no_images(tmp_path):
    images = touch(tmp_path / "x", "a.png", "masks/a.png")
    assert find_pairs(images, images / "masks") == [Pair("a", images / "a.png", images / "masks" / "a.png")]
    assert [file.name for file in image_files(images)] == ["a.png"]


def test_folders_of_images_and_of_masks_are_not_taken_for_nested_images(tmp_path):
    folder = touch(tmp_path / "x", "images/a.png", "masks/a.png")
    with pytest.raises(
        UsageError, match=r"x: holds no image, only folders \(images, masks\); name one of them"
    ):
        find_pairs(folder, folder)


def test_what_infer_writes_besides_is_not_taken_for_masks(tmp_path):
    images, masks = two(
        tmp_path, ["a/1.png"], ["a/1.png", "overlays/a/1.png", "probabilities/a/1.tif", "truth/a/1.png"]
    )
    touch(masks, "parameters.effective.json")
    assert [pair.name for pair in find_pairs(masks, images)] == ["a/1"]


def test_hidden_folders_and_links_that_lead_in_circles_are_passed_over(tmp_path):
    folder = touch(tmp_path / "x", "a/1.png", ".thumbs/1.png")
    (folder / "a" / "again").symlink_to(folder)
    assert image_files(folder) == [folder / "a" / "1.png"]


def test_images_for_infer_may_be_nested_and_keep_their_paths(tmp_path):
    folder = touch(tmp_path / "x", "b/2.png", "a/1.png")
    assert find_images([folder]) == [(folder / p, Path(p)) for p in ("a/1.png", "b/2.png")]


# One folder


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("Img_{}", "Mask_{}"),
        ("{}_rgb", "{}_label"),
        ("im{}", "gt{}"),
        ("{}", "{}-gt"),
        ("p1/Img_{}", "p1/Mask_{}"),
    ],
)
def test_images_and_masks_of_one_folder_may_differ_by_a_word(tmp_path, image, mask):
    numbers = [1, 2, 10, 11, 100]
    touch(tmp_path, *(f"{image.format(i)}.tif" for i in numbers), *(f"{mask.format(i)}.png" for i in numbers))
    assert {p.name: p.mask for p in find_pairs(tmp_path, tmp_path)} == {
        image.format(i): tmp_path / f"{mask.format(i)}.png" for i in numbers
    }


def test_a_number_that_continues_another_is_no_mask_of_it(tmp_path):
    touch(tmp_path, "Img_1.png", "Img_10.png", "Mask_1.png", "Mask_10.png")
    assert names(find_pairs(tmp_path, tmp_path)) == {
        "Img_1": ("Img_1.png", "Mask_1.png"),
        "Img_10": ("Img_10.png", "Mask_10.png"),
    }
    with pytest.raises(DataError, match="holds images only"):
        find_pairs(*[touch(tmp_path / "x", "1.png", "10.png")] * 2)


def test_a_letter_that_continues_a_name_is_no_mask_of_it(tmp_path):
    touch(tmp_path, *(f"{name}.png" for name in ("A", "AB", "mask_A", "mask_AB")))
    assert names(find_pairs(tmp_path, tmp_path)) == {
        "A": ("A.png", "mask_A.png"),
        "AB": ("AB.png", "mask_AB.png"),
    }


@pytest.mark.parametrize("stems", [["a", "a_x", "b", "c"], ["a", "a_m", "a_m_m"]])
def test_chance_likenesses_are_no_rule(tmp_path, stems):
    touch(tmp_path, *(f"{stem}.png" for stem in stems))
    with pytest.raises(DataError, match="holds images only"):
        find_pairs(tmp_path, tmp_path)


def test_a_word_that_says_nothing_of_masks_leaves_open_which_are_which(tmp_path):
    touch(tmp_path, *(f"{kind}_{i}.png" for kind in ("left", "right") for i in range(4)))
    with pytest.raises(DataError, match=r"expected masks beside them, such as .* or Img_7 and Mask_7"):
        find_pairs(tmp_path, tmp_path)


def test_strays_beside_swapped_words_are_told_for_what_they_are(tmp_path):
    touch(
        tmp_path, "Img_1.png", "Mask_1.png", "Img_2.png", "Mask_2.png", "Img_3.png", "Mask_4.png", "notes.png"
    )
    with pytest.raises(Unpaired) as caught:
        find_pairs(tmp_path, tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'Img_3.png'}: has no mask beside it; expected Mask_3.*",
        f"{tmp_path / 'Mask_4.png'}: belongs to no image beside it; remove it or add the image",
        f"{tmp_path / 'notes.png'}: is neither image nor mask by its name; expected Img... or Mask...",
    ]


@given(
    st.sets(st.integers(0, 130), min_size=1, max_size=10),
    affixes,
    st.sampled_from(["mask", "label", "gt", "seg"]),
)
def test_any_word_for_masks_pairs_the_numbers_of_one_folder(numbers, prefix, word):
    with tempfile.TemporaryDirectory() as name:
        folder = touch(
            Path(name),
            *(f"{prefix}_{i}.png" for i in numbers),
            *(f"{prefix}_{i}_{word}.tif" for i in numbers),
        )
        assert {p.name: p.mask.name for p in find_pairs(folder, folder)} == {
            f"{prefix}_{i}": f"{prefix}_{i}_{word}.tif" for i in numbers
        }
