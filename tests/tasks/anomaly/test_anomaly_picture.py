"""The picture of alerts, and what it is drawn from: stories, thinning, words, counts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from anomaly_stories import DAY, FIRST, MINUTE, ROWS, alert_of, story_of

from lstmkit.errors import UserError
from lstmkit.tasks.anomaly import counting, picture, thinning, words
from lstmkit.tasks.anomaly.plots import SEVERITY
from lstmkit.tasks.anomaly.story import Story, worst_alerts
from lstmkit.tasks.anomaly.window import causes, rows_around, shares

# --- stories


@pytest.mark.parametrize("field", ["values", "scores", "levels", "contributions", "expected"])
def test_a_story_whose_parts_do_not_fit_is_refused(field):
    story = story_of()
    with pytest.raises(UserError, match=field):
        replace(story, **{field: getattr(story, field)[1:]})


def test_an_alert_outside_the_rows_is_refused():
    with pytest.raises(UserError, match="outside"):
        story_of([alert_of(2, ROWS)])
    with pytest.raises(UserError, match="outside"):
        story_of([replace(alert_of(2, 5), peak_row=6)])
    assert story_of([alert_of(2, ROWS - 1)])


def test_the_worst_are_the_furthest_above_their_level():
    first = story_of([alert_of(5, 9, 1.0), alert_of(50, 51, 5.0)])
    second = story_of([alert_of(20, 21, 2.0), replace(alert_of(30, 31, 9.0), level=11.0)])
    found = worst_alerts([first, second])
    assert [(k, a.first) for k, a in found] == [(0, 50), (1, 20), (0, 5), (1, 30)]


# --- what is drawn of an alert


def test_the_rows_around_an_alert_stay_inside_the_series():
    story = story_of([alert_of(5, 9), alert_of(100, 199), alert_of(298, 299)])
    found = [rows_around(story, alert) for alert in story.alerts]
    assert found == [(0, 50), (0, 300), (258, 300)]


def test_causes_are_the_channels_that_the_alert_names_or_the_strongest_at_its_peak():
    story = story_of([alert_of(5, 9)])
    assert causes(story, story.alerts[0], 5) == [1, 0]
    assert causes(story, story.alerts[0], 1) == [1]
    nameless = replace(story.alerts[0], channels=())
    parts = story.contributions.copy()
    parts[5] = [0.5, np.nan, 1.5]
    story = replace(story, contributions=parts)
    assert causes(story, nameless, 5) == [2, 0]
    assert shares(story, nameless) == [("c", 0.75), ("a", 0.25)]
    assert causes(story, replace(nameless, channels=(("gone", 1.0),)), 1) == [2]


# --- thinning


def test_thinned_curves_keep_every_extreme_in_its_order():
    values = np.random.default_rng(0).normal(size=(1000, 2))
    values[[333, 707], [0, 1]] = 99, -99
    values[100:300, 0] = np.nan
    edges = thinning.buckets(1000, 37)
    assert len(edges) == 38 and edges[0] == 0 and edges[-1] == 1000 and (np.diff(edges) > 0).all()
    found = thinning.extremes(values, edges)
    for b, (first, stop) in enumerate(pairwise(edges)):
        for c in range(2):
            part = values[first:stop, c]
            pair = found[2 * b : 2 * b + 2, c]
            if np.isnan(part).all():
                assert np.isnan(pair).all()
                continue
            assert sorted(pair) == [np.nanmin(part), np.nanmax(part)]
            assert (pair[0] <= pair[1]) == (np.nanargmin(part) <= np.nanargmax(part))
    places = thinning.places(np.arange(1000.0), edges)
    assert len(places) == 74 and (np.diff(places) > 0).all()
    assert np.diff(places).max() < 1.1 * np.diff(places).min()


def test_few_rows_are_not_thinned():
    values = np.array([3.0, np.nan, 1.0])
    edges = thinning.buckets(3, 100)
    np.testing.assert_array_equal(thinning.extremes(values, edges), values)
    np.testing.assert_array_equal(thinning.places(np.arange(3.0), edges), [0, 1, 2])


# --- words


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (0.3, "one normal row in 2"),
        (3, "one normal row in 1,000"),
        (4.21, "one normal row in 16,000"),
        (6.2, "one normal row in 1.6 million"),
        (9.5, "one normal row in 3.2 billion"),
        (40, "less than one normal row in a thousand trillion"),
        (np.nan, "unknown"),
        (np.inf, "rarer than can be told"),
    ],
)
def test_a_score_in_words(score, text):
    assert words.rarity(score) == text


@pytest.mark.parametrize(
    ("rows", "step", "text"),
    [
        (1, None, "1 row"),
        (1300, None, "1,300 rows"),
        (40, 60_000_000, "40 min"),
        (130, 60_000_000, "2 h 10 min"),
        (120, 60_000_000, "2 h"),
        (36, 3_600_000_000, "1 day 12 h"),
        (48, 3_600_000_000, "2 days"),
        (603, 3_600_000_000, "25 days"),
        (9000, 3_600_000_000, "375 days"),
        (90, 1_000_000, "1 min 30 s"),
        (3, 20_000, "60 ms"),
    ],
)
def test_a_length_of_time_in_words(rows, step, text):
    assert words.duration(rows, step) == text


def test_times_are_written_as_far_as_they_differ():
    steps = {"day": DAY, "minute": 60 * MINUTE, "second": np.timedelta64(5, "s"), "number": None}
    for clock, step in steps.items():
        assert words.clock_of([story_of(step=step)]) == clock
    assert words.clock_of([story_of(step=np.timedelta64(20, "ms"))]) == "thousandth"
    assert words.clock_of([story_of(step=DAY), story_of()]) == "minute"
    assert words.moment(FIRST + 61 * MINUTE, "minute") == "2026-09-01 01:01"
    assert words.moment(FIRST, "day") == "2026-09-01" and words.moment(17, "number") == "17"
    assert words.shortened("a\nb" + "c" * 20 + "7", 8) == "a bcc…c7"


# --- counts


def test_alerts_are_counted_by_the_day_on_which_they_begin():
    alerts = [alert_of(3, 30), alert_of(47, 48, 2.5), alert_of(24, 24, 5.0), alert_of(200, 299)]
    hour = np.timedelta64(1, "h")
    found = counting.count([story_of(alerts, step=hour), story_of([alert_of(3, 3)], step=hour)])
    assert found.unit == "day" and found.counts.shape == (13, 3)
    assert found.counts[:2].tolist() == [[2, 0, 0], [0, 1, 1]] and found.counts.sum() == 5
    assert found.edges[1] == FIRST + DAY and len(found.edges) == 14
    assert counting.days_covered([story_of(step=hour)]) == pytest.approx(299 / 24)


@pytest.mark.parametrize(
    ("step", "unit"),
    [(MINUTE, "hour"), (DAY, "day"), (5 * DAY, "week"), (40 * DAY, "30 days"), (None, "10 rows")],
)
def test_the_unit_of_counts_follows_the_span(step, unit):
    found = counting.count([story_of([alert_of(5, 9), alert_of(299, 299)], step=step)])
    assert found.unit == unit and found.counts.sum() == 2
    assert len(found.counts) <= counting.MOST_BINS + 1
    times = story_of(step=step).time
    assert found.edges[0] <= times[0] and times[-1] < found.edges[-1]
    if unit == "week":
        assert found.edges[0].astype("datetime64[D]").astype(int) % 7 == 4  # a Monday


def test_alerts_beside_labels():
    labels = np.zeros(ROWS)
    labels[10:20] = labels[50:60] = labels[299] = 1
    labels[100] = np.nan
    alerts = [
        alert_of(5, 9),
        alert_of(15, 16),
        alert_of(18, 55),
        alert_of(100, 100),
        alert_of(20, 22),
    ]
    found = counting.against_labels([story_of(alerts, labels=labels), story_of([alert_of(1, 2)])])
    assert found == counting.AgainstLabels(events=3, found=2, alerts=5, false=3)
    assert counting.against_labels([story_of()]) is None
    assert counting.events_of(labels).tolist() == [[10, 20], [50, 60], [299, 300]]


# --- the figure


def titles(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_the_worst_alerts_come_first_with_their_causes():
    story = story_of([alert_of(30, 40), alert_of(200, 202, 5.0)], labels=np.eye(1, ROWS, 201)[0])
    figure = picture.draw([story], note="LSTM.")
    lane, *panels = titles(figure)
    assert lane == ""
    assert panels[0] == "critical: 2026-09-01 03:20, 3 min"
    assert panels[1:3] == ["b   75% of the score", "a   25% of the score"]
    assert panels[3] == "warning: 2026-09-01 00:30, 11 min" and len(panels) == 6
    curves = {line.get_label(): line for line in figure.axes[2].get_lines()}
    np.testing.assert_array_equal(curves["what came"].get_ydata(), story.values[160:243, 1])
    np.testing.assert_array_equal(curves["expected"].get_ydata(), story.expected[160:243, 1])
    assert figure.get_suptitle() == "Alerts: 2\n" and figure.get_supxlabel().startswith("LSTM. ")
    (shade,) = figure.axes[2].patches
    day = (story.time[200] - np.datetime64("1970-01-01")) / DAY
    assert shade.get_x() == pytest.approx(day - 0.5 / 1440, abs=1e-7)  # half a row before
    assert figure.legends[0].get_texts()[2].get_text() == "known anomaly"
    assert "score 8.0 over level 3.0" in figure.axes[1].get_title(loc="right")


def test_marks_on_top_have_the_colour_of_their_severity():
    figure = picture.draw([story_of([alert_of(30, 40), alert_of(200, 202, 5.0)])])
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "v"]
    assert [m.get_color() for m in marks] == [SEVERITY["warning"], SEVERITY["critical"]]


def test_more_alerts_and_series_than_there_is_room_for():
    many = [story_of([alert_of(k + 1, k + 2, k)], name=f"s{k}") for k in range(11)]
    figure = picture.draw(many)
    assert figure.get_suptitle() == "Alerts: the worst 6 of 11\n"
    assert "3 more series are not on top." in figure.get_supxlabel()
    assert titles(figure)[:8] == [f"s{k}" for k in range(10, 2, -1)]
    assert sum(": s" in title for title in titles(figure)) == 6


def unknown() -> Story:
    """A channel without values, an infinite score, and none towards the end."""
    found = story_of([alert_of(5, 9)])
    found.values[:, 1] = np.nan
    found.scores[20:] = np.nan
    found.scores[7] = np.inf
    return found


STRANGE = {
    "nothing": list,
    "no alert": lambda: [story_of()],
    "unknown": lambda: [unknown()],
    "one row": lambda: [story_of([alert_of(0, 0)], rows=1, expected=None)],
    "no rows": lambda: [story_of(rows=0)],
    "numbered": lambda: [story_of([alert_of(3, 4)], step=None)],
    "names": lambda: [story_of([alert_of(3, 4)], name="$x^$ <b>\n" * 40), story_of()],
}


@pytest.mark.parametrize("case", STRANGE)
def test_strange_stories_are_drawn(case):
    figure = picture.draw(STRANGE[case]())
    figure.canvas.draw()
    assert all(len(title) < 100 for title in titles(figure))
    told = {text.get_text() for axes in figure.axes for text in axes.texts}
    wanted = {"unknown": {"no value came"}}
    wanted |= {key: {"There are no rows."} for key in ("nothing", "no rows")}
    assert told == wanted.get(case, set())


def test_long_series_are_thinned_and_keep_their_peak():
    story = story_of([alert_of(77_777, 77_777, 40.0)], rows=100_000)
    score = picture.draw([story]).axes[0].get_lines()[0].get_ydata()
    assert len(score) == picture.STRIP and score.max() == story.scores.max()


def test_the_suffix_chooses_and_files_are_whole(tmp_path: Path):
    stories = [story_of([alert_of(30, 40)])]
    assert picture.write(stories, tmp_path / "a.HTML").read_text().startswith("<!doctype html>")
    assert picture.write(stories, str(tmp_path / "a.svg")).read_text().startswith("<?xml")
    with pytest.raises(UserError, match="png"):
        picture.write(stories, tmp_path / "a.doc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.HTML", "a.svg"]
