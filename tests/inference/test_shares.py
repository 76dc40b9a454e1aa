import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg import device as devices
from patchseg.imaging import Box
from patchseg.inference.shares import Share

shares = st.integers(1, 12)


@given(st.lists(st.integers(0, 10**9), max_size=30), shares)
def test_every_image_falls_to_one_share(sizes, count):
    dealt = [number for index in range(count) for number in Share(index, count).hand(sizes)]
    assert sorted(dealt) == list(range(len(sizes)))


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), shares)
def test_no_share_has_more_than_the_largest_image_above_another(sizes, count):
    # Whoever is given an image had no more than anybody else before.
    loads = [sum(sizes[number] + 1 for number in Share(index, count).hand(sizes)) for index in range(count)]
    assert max(loads) - min(loads) <= max(sizes) + 1


def test_hands_are_as_worked_by_hand():
    # 50 to the first, 40 to the second, 30 to the second (70), 20 to the first (70), 10 to the first of equals.
    assert [Share(index, 2).hand([10, 20, 30, 40, 50]) for index in (0, 1)] == [[0, 1, 4], [2, 3]]
    assert [Share(index, 3).hand([5, 5]) for index in range(3)] == [[0], [1], []]


def test_images_that_cannot_be_read_are_dealt_too():
    assert [len(Share(index, 4).hand([0] * 8)) for index in range(4)] == [2, 2, 2, 2]


@given(st.builds(Box, *[st.integers(0, 50)] * 4), shares)
def test_the_rows_of_an_area_fall_to_one_share_each_in_order_and_evenly(area, count):
    parts = [Share(index, count).rows(area) for index in range(count)]
    rows = [row for part in parts for row in range(part.top, part.bottom)]
    assert rows == list(range(area.top, area.bottom))
    assert {(part.left, part.width) for part in parts} == {(area.left, area.width)}
    heights = [part.height for part in parts]
    assert max(heights) - min(heights) <= 1


@given(st.integers(1, 5), st.data())
def test_a_shard_of_one_process_is_the_share(count, data):
    index = data.draw(st.integers(1, count))
    assert Share.of(f"{index}/{count}") == Share(index - 1, count)


def test_without_a_shard_one_has_all():
    assert Share.of(None) == Share(0, 1)
    assert Share().hand([3, 1, 2]) == [0, 1, 2]
    assert Share().rows(Box(1, 2, 3, 4)) == Box(1, 2, 3, 4)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_shard_of_several_processes_is_dealt_to_them(monkeypatch, rank):
    monkeypatch.setattr(devices, "ranks", lambda: 2)
    monkeypatch.setattr(devices, "rank", lambda: rank)
    found = [Share.of(shard) for shard in (None, "1/3", "3/3")]
    assert found == [Share(rank, 2), Share(rank, 6), Share(4 + rank, 6)]
