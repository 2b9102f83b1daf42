"""From a table to a fitted detector: geometry, training, what its errors say, the rule for
alerts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers import calendar
from lstmkit.tasks.anomaly import data, errors, learning, program
from lstmkit.tasks.anomaly.data import Corpus, Part
from lstmkit.tasks.anomaly.features import LARGEST_RING, Geometry
from lstmkit.tasks.anomaly.scores import joined
from lstmkit.tasks.anomaly.watch import Rule
from lstmkit.tasks.seen import Seen

if TYPE_CHECKING:
    from lstmkit.readers.tables import ChannelTable
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector
    from lstmkit.tasks.anomaly.network import DetectorNetwork

FEWEST_ROWS = 50  # of a series to learn from
MOST_HELD = 20_000  # rows whose scores are kept for thresholds
DAYS = {"minute_of_hour": 1 / 24, "hour_of_day": 1.0, "day_of_week": 7.0, "month_of_year": 365.0}
DAYS |= {"second_of_minute": 1 / 1440, "day_of_month": 31.0, "day_of_year": 365.0}


def learn(
    asked: AnomalyDetector,
    given: Any,
    run: dict[str, Any],
    warm_start: str | os.PathLike[str] | None,
) -> None:
    """Read, train, and keep what the errors on the held-out rows say."""
    earlier = _earlier(warm_start) if warm_start is not None else None
    table = _read(asked, given, earlier)
    kept = [s for s in table.series if len(s.values) >= FEWEST_ROWS]
    if not kept:
        raise UserError(
            "no series is long enough to learn what is normal",
            got=f"{max(len(s.values) for s in table.series)} rows in the longest",
            expected=f"at least {FEWEST_ROWS}",
        )
    asked.notes_ = list(table.notes)
    if len(kept) < len(table.series):
        short = len(table.series) - len(kept)
        asked.notes_.append(
            f"{short} of {len(table.series)} series skipped: under {FEWEST_ROWS} rows"
        )
    asked.columns_ = _columns(asked, table)
    ids = tuple(tuple(str(part) for part in s.id) for s in kept)
    asked.shape_ = shape = _geometry(asked, table, kept, ids, earlier)
    parts = [Part(s.values, s.time, k + 1) for k, s in enumerate(kept)]
    scale = data.scales(shape, parts)
    corpus = Corpus.of(shape, scale, [part.until(part.cut) for part in parts])
    course = _course(asked, shape, run)
    start = dict(earlier.detector_.weights) if earlier else None
    network, asked.history_ = course.train(corpus, start)
    weights = {k: v.detach().cpu().numpy().copy() for k, v in network.state_dict().items()}
    options = network.lstm.options()
    weights, asked.tails_ = errors.learn_scale(shape, {**weights, "scale": scale}, options, parts)
    asked.detector_ = program.detector(shape, weights, options)
    asked.facts_ = _facts(asked, course, options, parts)
    asked.held_ = held(asked, parts)
    lengths = [len(s.values) for s in kept]
    signed = [signature(s.values) for s in kept]
    asked.seen_ = Seen.of(ids, [s.time for s in kept], signed, lengths, lengths)
    from lstmkit.tasks.anomaly.evaluating import unlabelled

    asked.report_ = unlabelled(asked, parts)


def signature(values: np.ndarray) -> np.ndarray:
    """One number (n,) of each row, by which it is known again; NaN where nothing is there."""
    weights = np.sqrt(np.arange(2, values.shape[1] + 2))
    found = np.nan_to_num(values) @ weights
    found[np.isnan(values).all(1)] = np.nan
    return found


def _earlier(path: str | os.PathLike[str]) -> AnomalyDetector:
    from lstmkit.tasks.estimator import load

    found: Any = load(path)
    if found.TASK != "anomaly":
        raise UserError(f"{path} is a model of {found.TASK}", expected="a model of anomaly")
    detector: AnomalyDetector = found
    return detector


def _read(asked: AnomalyDetector, given: Any, earlier: AnomalyDetector | None) -> ChannelTable:
    from lstmkit.errors import require

    require("polars", "train")
    from lstmkit.readers.tables import read_channels

    if earlier is not None:
        from lstmkit.tasks.anomaly.answers import read

        return read(earlier.columns_, earlier.shape_, given)
    names = ("id", "time", "channels", "ignore", "freq", "day_first")
    ignore = _names(asked.ignore) + _names(asked.label)
    wishes = {name: getattr(asked, name) for name in names} | {"ignore": ignore or None}
    return read_channels(given, **wishes)


def _names(given: str | list[str] | None) -> list[str]:
    if given is None:
        return []
    return [n.strip() for n in given.split(",")] if isinstance(given, str) else list(given)


def _columns(asked: AnomalyDetector, table: ChannelTable) -> dict[str, Any]:
    """What is needed to read a table like this one again."""
    return {
        "id": table.id_columns,
        "time": table.time_column,
        "freq": table.freq,
        "day_first": asked.day_first if asked.day_first is not None else table.day_first,
        "numbered": table.numbered,
        "irregular": table.irregular,
        "label": asked.label,
    }


def _geometry(
    asked: AnomalyDetector,
    table: ChannelTable,
    kept: list[Any],
    ids: tuple[tuple[str, ...], ...],
    earlier: AnomalyDetector | None,
) -> Geometry:
    """Season and cycles that the training saw twice; units of the channels."""
    if earlier is not None:
        return replace(earlier.shape_, ids=ids)
    longest = max(kept, key=lambda s: len(s.values))
    middle, wide = data.spread(np.concatenate([s.values for s in kept]))
    irregular = table.irregular or table.numbered
    season = asked.season
    if season is None:
        season = 0 if irregular else calendar.season_of(table.freq)
        fits = 2 <= season <= len(longest.values) // 2
        season = season if fits and season * len(table.channels) <= LARGEST_RING else 0
    return Geometry(
        tuple(table.channels),
        table.freq,
        season,
        () if irregular else _cycles(table.freq, longest.time),
        asked.half_life,
        asked.smoothing,
        tuple(float(x) for x in middle),
        tuple(float(x) for x in wide),
        ids,
    )


def _cycles(freq: str, time: np.ndarray) -> tuple[str, ...]:
    days = float((time[-1] - time[0]) / np.timedelta64(1, "D"))
    return tuple(c for c in calendar.cycles(freq) if 2 * DAYS[c] <= days)


def _course(asked: AnomalyDetector, shape: Geometry, run: dict[str, Any]) -> learning.Course:
    preset = learning.PRESETS[asked.size]
    preset = preset._replace(
        width=asked.width or preset.width,
        learning_rate=asked.learning_rate or preset.learning_rate,
        batch_size=asked.batch_size or preset.batch_size,
    )
    names = ("seed", "epochs", "minutes", "device", "threads")
    given = {name: getattr(asked, name) for name in names}
    log_dir = Path(asked.log_dir) if asked.log_dir else None
    return learning.Course(shape, preset, log_dir=log_dir, **given, **run)


def _facts(
    asked: AnomalyDetector, course: learning.Course, options: dict[str, Any], parts: list[Part]
) -> dict[str, Any]:
    return {
        "kind": "recurrent",
        "size": asked.size,
        "width": course.preset.width,
        "layers": course.preset.layers,
        "channels": len(asked.shape_.channels),
        "season": asked.shape_.season,
        "threshold": asked.threshold,
        "epochs": asked.history_.epochs,
        "seconds": round(asked.history_.seconds, 1),
        "lstm": options,
    }


def held(asked: AnomalyDetector, parts: list[Part]) -> dict[str, np.ndarray]:
    """Distances (m, 3) and scores (m,) of rows that were not learnt from, the newest of each
    series where they are many, and where each series begins in them."""
    most = max(MOST_HELD // len(parts), 100)
    found = []
    for part in parts:
        out = data.run(asked.detector_, asked.shape_, part)
        found.append(errors.held_rows(out["distances"], part)[-most:])
    distances = np.concatenate(found).astype(np.float64)
    each = [tail.score(column) for tail, column in zip(asked.tails_, distances.T, strict=True)]
    lengths = np.array([len(one) for one in found])
    return {
        "distances": distances,
        "scores": joined(np.stack(each, 1)),
        "starts": np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
    }


def rule(asked: AnomalyDetector, alerts_per_day: float | None, adapt: bool | None) -> Rule:
    """How scores become alerts; another budget makes the threshold `budget`."""
    kind = "budget" if alerts_per_day is not None else asked.threshold
    adapt = asked.adapt if adapt is None else adapt
    options: dict[str, Any] = {}
    if kind == "budget":
        each = (alerts_per_day or asked.alerts_per_day) / max(len(asked.shape_.ids), 1)
        options = {"per_day": each, "rows_per_day": rows_per_day(asked), "gap": asked.gap}
    elif kind == "evt":
        options = {"risk": asked.risk}
    elif kind == "conformal":
        options = {"alpha": asked.risk}
    given = (asked.held_["distances"], asked.held_["scores"], asked.held_["starts"])
    return Rule(kind, options, asked.gap, adapt, *given)


def rows_per_day(asked: AnomalyDetector) -> float:
    """Rows of a series in a day; 1,440 where rows are only numbered."""
    step = calendar.parse_freq(asked.shape_.freq)
    if step.unit == "i":
        return 1440.0
    return 86_400e6 / step.spacing


def rebuilt(asked: AnomalyDetector) -> DetectorNetwork:
    """The torch module with the detector's weights, in evaluation mode."""
    facts = asked.facts_
    preset = learning.PRESETS[facts["size"]]._replace(width=facts["width"], layers=facts["layers"])
    weights = {k: np.asarray(v) for k, v in asked.detector_.weights.items()}
    return learning.Course(asked.shape_, preset).network(weights).eval()
