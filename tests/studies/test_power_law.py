import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.studies.power_law import Law, Points, _profile, fit, forecast, is_identified

LAW = Law(0.92, 0.9, 0.7)


def points_of(law, sizes, repeats, scatter, draw):
    """Draw the scores of trainings around a law; `scatter` is a function of the number of images."""
    images = np.repeat(sizes, repeats).astype(float)
    scores = [law.at(n) + scatter(n) * draw.normal() for n in images]
    return Points.of(images, np.clip(scores, 0, 1))


@given(
    st.floats(0.5, 1),
    st.floats(0.1, 0.9),
    st.floats(0.2, 2),
    st.sampled_from([[2, 4, 6, 8], [5, 10, 20, 40]]),
)
def test_a_law_without_scatter_is_found_again(a, b, c, sizes):
    law = Law(a, b, c)
    found = fit(Points.of(sizes, [law.at(n) for n in sizes]))
    assert [found.at(n) for n in sizes] == pytest.approx([law.at(n) for n in sizes], abs=2e-4)
    assert found.a <= 1
    assert min(found.b, found.c) >= 0


def test_the_fit_is_the_best_of_a_fine_grid_of_laws_that_are_allowed():
    points = points_of(LAW, [2, 4, 6, 8], 3, lambda _: 0.03, np.random.default_rng(3))
    found = fit(points)

    def rest(a, b, c):
        return (points.scores - a + b * points.images**-c) ** 2 @ points.weights

    grid = np.meshgrid(np.linspace(0.3, 1, 71), np.linspace(0, 2, 81), np.geomspace(0.02, 5, 60))
    assert rest(*found) <= rest(*(axis[..., None] for axis in grid)).min()


def test_points_of_more_images_count_more():
    assert Points.of([1, 3], [0.5, 0.5]).weights.tolist() == [0.5, 1.5]


def test_scores_that_fall_are_a_flat_law():
    law = fit(Points.of([2, 4, 6], [0.9, 0.8, 0.7]))
    assert law.b == 0
    assert law.a == pytest.approx((2 * 0.9 + 4 * 0.8 + 6 * 0.7) / 12)


def test_the_profile_is_the_least_rest_of_the_laws_through_a_value():
    points = points_of(LAW, [2, 4, 6, 8], 2, lambda _: 0.03, np.random.default_rng(0))
    profile = _profile(points, 18)
    for value in (0.6, 0.8, 0.95, 1.0):
        rests = []
        for c in np.geomspace(0.02, 5, 60):
            b = (1 - value) * 18**c * np.append(0, np.geomspace(1e-9, 1, 5000))
            curves = value + b[:, None] * (18**-c - points.images**-c)
            rests.append(((points.scores - curves) ** 2 @ points.weights).min())
        assert profile[round(value * 1000)] == pytest.approx(min(rests), rel=0.01)


@pytest.mark.parametrize(
    ("law", "sizes", "scatter"),
    [
        (LAW, [5, 10, 15, 20], lambda _: 0.02),
        pytest.param(LAW, [5, 10, 15, 20], lambda n: 0.06 / n**0.5, marks=pytest.mark.slow),
        pytest.param(Law(0.85, 0.5, 0.3), [2, 4, 6, 8], lambda n: 0.1 / n**0.5, marks=pytest.mark.slow),
        pytest.param(Law(0.8, 0.0, 1.0), [2, 4, 6, 8], lambda _: 0.02, marks=pytest.mark.slow),
    ],
)
def test_the_interval_of_a_forecast_holds_the_truth_and_one_more_training_nine_times_in_ten(
    law, sizes, scatter
):
    draw, inside, once = (
        np.random.default_rng(1),
        dict.fromkeys((5, 10, 50), 0),
        dict.fromkeys((5, 10, 50), 0),
    )
    for _ in range(200):
        points = points_of(law, sizes, 3, scatter, draw)
        found = fit(points)
        for more in inside:
            told = forecast(points, found, max(sizes) + more)
            truth = law.at(max(sizes) + more)
            inside[more] += told.low <= truth <= told.high
            once[more] += told.low <= min(1, truth + scatter(max(sizes) + more) * draw.normal()) <= told.high
    print(inside, once)
    assert min(inside.values()) >= 180
    assert min(once.values()) >= 180


def test_a_forecast_is_no_wider_than_it_needs_to_be_where_the_law_is_plain():
    points = points_of(LAW, [5, 10, 15, 20], 3, lambda _: 0.004, np.random.default_rng(2))
    told = forecast(points, fit(points), 30)
    assert told.high - told.low < 0.05
    far = forecast(points, fit(points), 70)
    assert far.high - far.low > told.high - told.low


def test_a_forecast_needs_more_points_than_the_law_takes():
    points = Points.of([2, 4, 6], [0.5, 0.6, 0.65])
    assert forecast(points, fit(points), 10) is None
    pairs = Points.of([1, 2], [0.5, 0.6])
    assert forecast(pairs, fit(pairs), 10) is None


def test_of_two_sizes_the_forecast_is_wide_and_no_law_is_claimed():
    points = Points.of([2, 2, 4, 4], [0.5, 0.52, 0.6, 0.62])
    law = fit(points)
    assert not is_identified(points, law)
    told = forecast(points, law, 14)
    assert told.high - told.low > 0.2


@pytest.mark.parametrize(("law", "identified"), [(LAW, True), (Law(0.8, 0.0, 1.0), False)])
def test_a_law_is_identified_where_scores_rise_more_than_they_scatter(law, identified):
    draw, found = np.random.default_rng(0), 0
    for _ in range(100):
        points = points_of(law, [5, 10, 15, 20], 3, lambda _: 0.02, draw)
        found += is_identified(points, fit(points))
    assert found >= 95 if identified else found <= 5


def test_equal_scores_are_no_law_and_their_forecast_is_themselves():
    points = Points.of([2, 4, 6, 8], [0.8] * 4)
    law = fit(points)
    assert not is_identified(points, law)
    assert forecast(points, law, 18) == (18, pytest.approx(0.8), pytest.approx(0.8), pytest.approx(0.8))
