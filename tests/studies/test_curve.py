import itertools

import pytest

from patchseg.studies.curve import curve, verdict
from patchseg.studies.power_law import Forecast, Law
from patchseg.studies.subsets import subsets


def points_of(law, sizes, repeats, wiggle=0.002):
    return [
        {"images": n, "share": share, "repeat": r, "score": law.at(n) + wiggle * (r - 2)}
        for n, share in zip(sizes, (25, 50, 75, 100), strict=False)
        for r in range(1, repeats + 1)
    ]


def test_the_document_holds_points_means_law_and_forecast():
    points = points_of(Law(0.95, 0.8, 0.8), [5, 10, 15, 20], 3)
    found = curve(points, ["x", "y"])
    assert found["metric"] == "mean_iou"
    assert found["points"] == points
    assert [mean["images"] for mean in found["means"]] == [5, 10, 15, 20]
    assert found["means"][3]["mean"] == pytest.approx(Law(0.95, 0.8, 0.8).at(20))
    # Three values 0.002 apart: standard error 0.002 / sqrt(3), t of two degrees of freedom 4.3027.
    half = 4.302653 * 0.002 / 3**0.5
    assert found["means"][3]["high"] - found["means"][3]["mean"] == pytest.approx(half, rel=1e-6)
    assert found["fit"]["text"] == "mean IoU = 0.950 - 0.800 n^-0.80"
    assert [each["images"] for each in found["forecast"]] == [25, 30, 70]
    for each in found["forecast"]:
        assert each["low"] < Law(0.95, 0.8, 0.8).at(each["images"]) < each["high"]
    assert found["note"].startswith("all are scored on the same 2 held-out images")


def test_without_repeats_there_are_no_intervals_of_means():
    found = curve(points_of(Law(0.95, 0.8, 0.8), [5, 10, 15, 20], 1), ["x"])
    assert {(mean["low"], mean["high"]) for mean in found["means"]} == {(None, None)}


def test_few_sizes_and_flat_scores_are_no_law_and_the_note_says_why():
    found = curve(points_of(Law(0.95, 0.8, 0.8), [1, 2], 3), ["x"])
    assert found["fit"] is None
    assert "no law is fitted to 2 numbers of images" in found["note"]
    flat = curve(points_of(Law(0.8, 0, 1), [5, 10, 15, 20], 3), ["x"])
    assert flat["fit"] is None
    assert "no law is fitted, since the scores do not rise more than they scatter" in flat["note"]
    assert flat["verdict"].startswith("The scores do not rise clearly; with 10 more images expect 0.80 (0.")
    lone = curve(points_of(Law(0.95, 0.8, 0.8), [1, 2], 1), ["x"])
    assert lone["forecast"] == []
    assert "no forecast, since nothing tells how scores scatter" in lone["note"]
    assert lone["verdict"].endswith("with 2 images; these trainings cannot tell what more would bring.")


def test_a_rise_that_is_none_to_speak_of_is_said_to_be_none():
    told = verdict({"mean": 0.903}, [Forecast(30, 0.905, 0.89, 0.92)], 20, identified=True)
    assert told == "10 more images like these would hardly help: expect 0.91 (0.89 to 0.92), now 0.90."


def test_subsets_of_a_repeat_are_nested_and_of_whole_groups():
    group = {f"{name}{number}": name for name in "abcdefgh" for number in range(3)}
    found = subsets(group, repeats=2, seed=0)
    assert [(subset.share, subset.repeat) for subset in found] == [
        (share, repeat) for repeat in (1, 2) for share in (100, 75, 50, 25)
    ]
    for repeat in (1, 2):
        sets = [set(subset.images) for subset in found if subset.repeat == repeat]
        assert [len(images) for images in sets] == [24, 18, 12, 6]
        assert all(small < large for large, small in itertools.pairwise(sets))
        assert all(group[name] in {group[other] for other in images} for images in sets for name in images)
        assert all(len({group[name] for name in images}) * 3 == len(images) for images in sets)
    assert found[3].images != found[7].images


@pytest.mark.parametrize("count", range(2, 30))
def test_no_two_subsets_of_a_repeat_are_equal(count):
    group = {str(number): str(number) for number in range(count)}
    sizes = [len(subset.images) for subset in subsets(group, repeats=1, seed=0)]
    assert sizes[0] == count
    assert sizes == sorted(set(sizes), reverse=True)
    assert len(sizes) >= min(4, count - 1) or count < 5
