"""Alarms into alerts, by hand and in any pieces; the program beside the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from lstmkit.tasks.anomaly import program
from lstmkit.tasks.anomaly.alerts import Alert, Grouper, Watched
from lstmkit.tasks.anomaly.data import Corpus, Part, run, spoil
from lstmkit.tasks.anomaly.estimator import AnomalyDetector
from lstmkit.tasks.anomaly.network import Rows


def watched(score: list[float], level: float = 3.0) -> Watched:
    """Two channels, the first with two thirds of the score; rows of hours."""
    s = np.array(score, float)
    n = len(s)
    time = np.datetime64("2026-01-01T00", "us") + np.arange(n) * np.timedelta64(1, "h")
    values = np.stack([s * 10, np.ones(n)], 1)
    parts = np.stack([s * 2 / 3, s / 3], 1)
    return Watched(time, values, s, parts, np.zeros((n, 2)), np.full(n, level), s > level)


def grouped(
    score: list[float], cuts: tuple[int, ...] = (), gap: int = 2
) -> tuple[list[Alert], np.ndarray]:
    """The alerts of the rows in pieces, saved and restored between them; and what alarmed."""
    whole, found, alarms = watched(score), [], []
    grouper = Grouper((), ("a", "b"), gap, half_life=10)
    for start, stop in zip((0, *cuts), (*cuts, len(score)), strict=True):
        fields = {k: getattr(whole, k)[start:stop].copy() for k in Watched.__dataclass_fields__}
        piece = Watched(**fields)
        found += grouper.add(piece)
        alarms.append(piece.alarm)
        state = grouper.save()
        grouper = Grouper((), ("a", "b"), gap, half_life=10)
        grouper.restore(state)
    return found + grouper.begun(), np.concatenate(alarms)


SCORES = [0.0, 4, 0, 5, 0, 0, 0, 4.5, 0, 0, 0, 0, 9, 8, 3.6, 3.5, 0, 0, 0, 0, 6.0]


def test_alarms_close_together_are_one_alert() -> None:
    found, _ = grouped(SCORES)
    assert [(a.first, a.last) for a in found] == [(1, 3), (7, 7), (12, 13), (20, 20)]
    first = found[0]
    assert (first.peak, first.peak_row, first.level) == (5.0, 3, 3.0)
    assert str(first.start) == "2026-01-01T01:00:00.000000" and str(first.end)[11:13] == "03"
    assert first.channels == (("a", pytest.approx(2 / 3)), ("b", pytest.approx(1 / 3)))
    assert first.reasons[0] == "a was 50, above the expected 0"
    assert [a.severity for a in found] == ["major", "warning", "critical", "major"]
    assert [a.open for a in found] == [False, False, False, True]


@pytest.mark.parametrize(("rows_between", "alerts"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_alarms_at_most_the_gap_apart_are_one_alert(rows_between: int, alerts: int) -> None:
    scores = [0.0] * 9
    scores[1] = scores[1 + rows_between] = 5.0
    assert len(grouped(scores, gap=2)[0]) == alerts
    assert len(grouped(scores, tuple(range(1, 9)), gap=2)[0]) == alerts


def test_what_lingers_is_an_echo() -> None:
    """After 9 and 8, a 3.6 is less than half of what was heard a row before; 6 is not, later."""
    _, alarms = grouped(SCORES)
    assert np.flatnonzero(alarms).tolist() == [1, 3, 7, 12, 13, 20]


@pytest.mark.parametrize("cuts", [(1,), (2, 3, 4), (13, 14, 15), tuple(range(1, 21))])
def test_pieces_make_the_same_alerts(cuts: tuple[int, ...]) -> None:
    assert grouped(SCORES, cuts)[0] == grouped(SCORES)[0]
    assert np.array_equal(grouped(SCORES, cuts)[1], grouped(SCORES)[1])


def test_an_alert_that_was_told_while_open_is_not_told_again() -> None:
    grouper = Grouper(("h",), ("a", "b"), 2, half_life=10)
    assert grouper.add(watched([0, 5.0])) == []
    told = grouper.begun()
    assert told[0].open and told[0].series == ("h",) and grouper.begun() == []
    state = grouper.save()
    later = Grouper(("h",), ("a", "b"), 2, half_life=10)
    later.restore(state)
    assert later.add(watched([6.0, 0, 0, 0, 0, 0, 0])) == [] and later.running is None


def test_small_differences_are_written_with_digits_that_tell() -> None:
    rows = watched([5.0])
    rows.values[0], rows.expected[0] = (1000.02, np.nan), (1000.0, 1.0)
    grouper = Grouper((), ("a", "b"), 2, half_life=10)
    grouper.add(rows)
    (alert,) = grouper.begun()
    assert alert.reasons == ("a was 1000.02, above the expected 1000", "b was missing")


def test_the_program_has_the_errors_of_the_network(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    shape, one = detector.shape_, detector.read(table).series[0]
    values = one.values[:400].copy()
    values[np.random.default_rng(0).random(values.shape) < 0.1] = np.nan
    part = Part(values, one.time[:400], 1)
    weights = {k: np.asarray(v) for k, v in detector.program_.weights.items()}
    made: Any = run(program.raw(shape, weights, detector.facts_["lstm"]), shape, part)
    rows = Corpus.of(shape, weights["scale"], [part]).rows[0]
    given = {k: torch.from_numpy(rows[k][None]) for k in Rows._fields if k in rows}
    with torch.no_grad():
        again, predicted = detector.network_(Rows(**given))
    off = [(given["z"] - x) * given["known"] for x in (predicted, again)]
    first = slice(0, shape.season)  # later seasons are remembered as they were believable
    np.testing.assert_allclose(
        made["errors"][first], torch.cat(off, -1)[0].numpy()[first], atol=2e-4
    )


def test_what_is_spoilt_is_so_in_half_of_the_chunks_and_never_where_nothing_was() -> None:
    draw = np.random.default_rng(0)
    z = draw.normal(size=(400, 32, 5)).astype(np.float32)
    known = (draw.random(z.shape) < 0.9).astype(np.float32)
    found = spoil(z * known, known, draw)
    changed = (found != z * known).any((1, 2))
    assert 0.3 < changed.mean() < 0.6 and (found[known == 0] == 0).all()
    assert found.dtype == np.float32
