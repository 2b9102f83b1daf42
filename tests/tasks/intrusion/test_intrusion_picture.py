"""The picture of alerts: traffic and score over time, and the worst hosts under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.dates import date2num

from lstmkit import style
from lstmkit.errors import UserError
from lstmkit.tasks.intrusion import page, picture

T0 = 1.7e9
CURVES = {"time": [T0 + 60 * k for k in range(20)], "flows": list(range(20)),
          "top_score": [0.5 * k for k in range(20)], "threshold": 3.0}  # fmt: skip
EMPTY = {"time": [], "flows": [], "top_score": [], "threshold": 3.0}
SUMMARY = {"flows": 12_345, "source": "zeek", "suppressed": 2}
EVIL = "$\\frac{</script>\n\x1b\ud800$"


def alert(host: str = "10.0.0.1", severity: str = "high", score: float = 5.0, minute: int = 3,
          named: str = "scan") -> dict[str, Any]:  # fmt: skip
    time = f"2023-11-14T22:{13 + minute}:20.000000Z"
    return {"host": host, "severity": severity, "score": score, "time": time, "class": named}


def drawn(alerts: list[dict], curves: dict = CURVES) -> Any:
    figure = picture.draw(alerts, SUMMARY, curves)
    figure.set_dpi(40)
    figure.canvas.draw()
    return figure


def lanes(figure: Any) -> Any:
    return figure.axes[1]


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def test_each_host_has_a_lane_the_worst_on_top():
    given = [alert("a", "low", 9.0), alert("b", "critical", 7.0, named="beacon"),
             alert("c", score=6.0), alert("a", "medium", 4.0, 5, "sweep")]  # fmt: skip
    axes = lanes(drawn(given))
    assert labels(axes) == ["b  beacon", "c  scan", "a  sweep"]
    low, high = axes.get_ylim()
    assert low > high  # the first lane is the upper one


def test_each_alert_is_a_dot_of_its_colour_at_its_time():
    given = [alert("a", "low", 3.0, 1), alert("b", "critical", 7.0, 2), alert("a", "low", 3.0, 9)]
    axes = lanes(drawn(given))
    dots = {}
    for points, severity in zip(axes.collections, page.SEVERITY, strict=True):
        for x, y in points.get_offsets():
            assert to_hex(points.get_facecolor()[0]) == page.SEVERITY[severity]
            dots[severity, int(y)] = [*dots.get((severity, int(y)), []), x]
    minutes = {name: [round((x - date2num(np.datetime64(int(T0), "s"))) * 1440) for x in xs]
               for name, xs in dots.items()}  # fmt: skip
    assert minutes == {("critical", 0): [2], ("low", 1): [1, 9]}
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == list(page.SEVERITY)


def test_only_the_worst_hosts_have_lanes_and_the_caption_says_so():
    given = [alert(f"10.0.0.{k}", score=k) for k in range(30)]
    figure = drawn(given)
    assert labels(lanes(figure)) == [f"10.0.0.{k}  scan" for k in range(29, 9, -1)]
    assert len(lanes(figure).collections[2].get_offsets()) == picture.MOST_HOSTS
    caption = figure.get_supxlabel()
    assert caption.startswith("12,345 flows of zeek, the worst 20 hosts; times are UTC.")
    assert (
        figure.get_suptitle() == "30 alerts of 30 hosts: 30 high. 2 more were suppressed by rule."
    )
    assert "worst" not in drawn(given[:20]).get_supxlabel()


def test_scores_the_level_and_the_flows_are_drawn():
    axes = drawn([alert()]).axes[0]
    assert axes.get_ylabel() == "score" and axes.get_ylim()[0] == 0
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines["level"].get_ydata()) == {3.0}
    np.testing.assert_allclose(lines["highest score"].get_ydata(), CURVES["top_score"])
    left, right = axes.get_xlim()
    assert (right - left) * 1440 == pytest.approx(20)  # minutes: the last bin is whole


@pytest.mark.parametrize("curves", [CURVES, EMPTY, {**CURVES, "time": [T0], "flows": [0],
                                                    "top_score": [1.0]}])  # fmt: skip
@pytest.mark.parametrize("given", [[], [{**alert(), "time": ""}], [alert()]])
def test_pictures_of_little_are_drawn(curves, given):
    figure = drawn(given, curves)
    axes = lanes(figure)
    assert len(axes.get_yticks()) == len(given)
    found = sum(len(points.get_offsets()) for points in axes.collections)
    assert found == sum(bool(a["time"]) for a in given)


def test_names_are_text_whatever_they_hold():
    axes = lanes(drawn([alert(EVIL, named=EVIL), alert("x" * 500, score=4, named="y" * 500)]))
    first, second = labels(axes)
    assert first == "$\\frac{</script>???$  $\\frac{</script>???$"
    assert second == "x" * 40 + "  " + "y" * 40


def test_a_hundred_hosts_and_thousands_of_alerts_are_drawn():
    rng = np.random.default_rng(0)
    given = [alert(f"10.0.0.{k % 100}", ["low", "high"][k % 2], rng.random(), k % 20)
             for k in range(6000)]  # fmt: skip
    figure = drawn(given)
    assert figure.get_suptitle().startswith("6,000 alerts of 100 hosts: 3,000 high, 3,000 low.")
    assert figure.get_size_inches()[1] == pytest.approx(4.2 + 0.24 * picture.MOST_HOSTS)


def test_the_same_alerts_are_the_same_file(tmp_path: Path):
    given = {"summary": SUMMARY, "curves": CURVES}
    one, other = (picture.write_picture(tmp_path / f"{k}.svg", [alert()], **given) for k in (1, 2))
    assert one.read_bytes() == other.read_bytes() and b"<svg" in one.read_bytes()
    with pytest.raises(UserError, match="cannot draw"):
        picture.write_picture(tmp_path / "p.txt", [alert()], **given)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.svg", "2.svg"]


def test_colours_are_of_the_house():
    assert page.SEVERITY["high"] == style.COLOURS["forget"]
    assert len(set(page.SEVERITY.values())) == 4
