"""From a table to a fitted forecaster: geometry, two trainings, calibration, the held-out score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.calibration import conformal, paths
from lstmkit.errors import UserError
from lstmkit.tasks.forecast import features, fitting, scoring, warm
from lstmkit.tasks.forecast.data import Corpus
from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.fitting import Split
from lstmkit.tasks.forecast.given import days, long_enough
from lstmkit.tasks.forecast.learning import Course, Weights, member_weights
from lstmkit.tasks.forecast.scoring import Model, Selection
from lstmkit.tasks.seen import Seen

if TYPE_CHECKING:
    from lstmkit.readers.tables import Series, SeriesTable
    from lstmkit.tasks.forecast.estimator import Forecaster
    from lstmkit.tasks.forecast.learning import Network

RUN = ("seed", "epochs", "minutes", "refit", "device", "threads", "point", "members")
ZEROS = 0.01  # of the values, from which on series without negative ones are taken to have a floor

Ids = list[tuple[Any, ...]]


def prepare(
    asked: Forecaster, table: SeriesTable, earlier: Forecaster | None
) -> tuple[Corpus, Ids]:
    """Choose the geometry, and leave out series that are no longer than the horizon."""
    horizon = asked.horizon or (earlier.shape_.horizon if earlier else None)
    if horizon is None:
        raise UserError("no horizon was given", hint="--horizon 28 forecasts 28 steps ahead")
    kept = long_enough(table, horizon)
    asked.notes_ = list(table.notes)
    if len(kept) < len(table.series):
        some = f"{len(table.series) - len(kept)} of {len(table.series)}"
        asked.notes_.append(f"{some} series skipped: not longer than the horizon")
    asked.columns_ = {
        "id": table.id_columns,
        "time": table.time_column,
        "target": table.target_column,
        "freq": table.freq,
        "day_first": asked.day_first if asked.day_first is not None else table.day_first,
        "layout": table.layout,
        "holidays": asked.holidays,
        "irregular": asked.irregular,
    }
    asked.shape_ = earlier.shape_ if earlier else _geometry(asked, horizon, table, kept)
    return Corpus.of(kept, asked.shape_), [s.id for s in kept]


def _geometry(
    asked: Forecaster, horizon: int, table: SeriesTable, kept: Sequence[Series]
) -> Geometry:
    from lstmkit.readers.calendar import season_of

    found = features.geometry(
        horizon,
        asked.season or season_of(table.freq),
        table.freq,
        lookback=asked.lookback,
        lengths=[len(s.values) - (asked.test_windows + 1) * horizon for s in kept],
        days=max(days(s.time) for s in kept),
    )
    found = replace(found, covariates=tuple(table.covariates), nonnegative=_floor(asked, kept))
    return found if asked.kind == "windowed" else features.recurrent(found)


def _floor(asked: Forecaster, kept: Sequence[Series]) -> bool:
    """Whether no forecast may be negative: as asked, or none of the values is and some are 0."""
    if asked.nonnegative is not None:
        return asked.nonnegative
    lowest = min(np.nanmin(s.values) for s in kept)
    zeros = sum(int((s.values == 0).sum()) for s in kept)
    found = bool(lowest >= 0 and zeros >= ZEROS * sum(len(s.values) for s in kept))
    if found:
        asked.notes_.append("no value is below 0, so no forecast is (--no-nonnegative)")
    return found


def course(asked: Forecaster, size: str, **run: Any) -> Course:
    """How to train, as the options say."""
    asked.size_ = size
    preset = fitting.preset(asked.shape_.kind, size)
    preset = replace(
        preset,
        learning_rate=asked.learning_rate or preset.learning_rate,
        batch_size=asked.batch_size or preset.batch_size,
        width=asked.width or preset.width,
        dropout=preset.dropout if asked.dropout is None else asked.dropout,
    )
    given = {name: getattr(asked, name) for name in RUN}
    log_dir = Path(asked.log_dir) if asked.log_dir else None
    return Course(asked.shape_, asked.quantiles_, preset, log_dir=log_dir, **given, **run)


def learn(
    asked: Forecaster, corpus: Corpus, ids: Ids, how: Course, earlier: Forecaster | None
) -> None:
    """Train on the rows before the held-out ones, score those, train on all rows."""
    parts = fitting.split(corpus.lengths, asked.shape_.horizon, asked.test_windows)
    if len(parts.tested) < len(ids):
        short = len(ids) - len(parts.tested)
        asked.notes_.append(f"{short} of {len(ids)} series are too short to be scored")
    start = warm.innocent(earlier, corpus, parts, ids) if earlier else None
    network, histories = how.first(corpus, parts, weights_of(start))
    asked.history_ = histories[0]
    raw = Model.of(network)
    before = validated(corpus, parts)
    offsets, asked.copula_ = calibrate(raw, corpus.until(parts.cut), *before)
    asked.heldout_ = asked.model_ = raw.calibrated(offsets)
    asked.facts_ = facts(asked, network, how, sum(h.seconds for h in histories))
    chosen = scoring.heldout(corpus, parts.cut, None)
    asked.report_ = scoring.report(asked.heldout_, corpus, chosen, asked.facts_, asked.seed)
    if start:
        old = scoring.report(start, corpus, chosen, {}, asked.seed)
        asked.notes_.append(warm.compared(old.metrics, asked.report_.metrics))
    if asked.refit:
        final = how.second(corpus, histories, weights_of(earlier.model_ if earlier else None))
        offsets, asked.copula_ = calibrate(raw, corpus, *joined(before, chosen))
        asked.model_ = Model.of(final).calibrated(offsets)
    remember(asked, corpus, ids, parts)


def weights_of(model: Model | None) -> list[Weights] | None:
    """The weights of each member, to start from."""
    return None if model is None else member_weights(model.weights)


def calibrate(
    model: Model, seen: Corpus, chosen: Selection, independent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (H, Q) that correct the quantiles by their errors in windows that the model has not
    learnt from, and the copula (n, H) of the corrected ones; see `calibration`.

    Args:
        independent: how many of the windows do not overlap.
    """
    answer, unit = scoring.forecast_and_units(model, seen, chosen)
    truth, quantiles = (
        seen.rows(chosen.series, chosen.origin)[1],
        answer[..., : len(model.quantiles)],
    )
    offsets = conformal.offsets(truth, quantiles, unit, model.quantiles, independent)
    if len(model.quantiles) < 2:
        return offsets, np.zeros((0, seen.shape.horizon), np.float32)
    corrected = np.sort(quantiles + offsets * unit[:, None, None], -1)
    scores = paths.normal_scores(truth, corrected, model.quantiles)
    return offsets, paths.template(scores)


def validated(corpus: Corpus, parts: Split) -> tuple[Selection, float]:
    """The windows between training and cut, and how many of them do not overlap."""
    horizon = corpus.shape.horizon
    series, origin = fitting.validation_windows(parts, horizon)
    independent = float(((parts.cut - parts.train) // horizon).sum())
    return Selection(series, origin, heldout=True), independent


def joined(validated: tuple[Selection, float], heldout: Selection) -> tuple[Selection, float]:
    """The windows to stop early on and those held out: errors that the final model learns from too.

    The held-out ones had no say in when to stop, and are the newest.
    """
    chosen, independent = validated
    series = np.concatenate([chosen.series, heldout.series])
    origin = np.concatenate([chosen.origin, heldout.origin])
    both = Selection(series, origin, heldout=True)
    return both, independent + len(heldout.series)


def facts(asked: Forecaster, network: Network, how: Course, seconds: float) -> dict[str, Any]:
    """What reports say about the model."""
    preset, history = how.preset, asked.history_
    return {
        "size": asked.size_,
        "kind": asked.shape_.kind,
        "members": how.members,
        "width": preset.width,
        "layers": preset.layers,
        "embedding": preset.embedding,
        "dropout": preset.dropout,
        "parameters": sum(p.numel() for p in network.parameters()),
        "lookback": asked.shape_.lookback,
        "segment": asked.shape_.segment,
        "epochs": history.epochs,
        "best_epoch": history.best_epoch or history.epochs,
        "seconds": round(seconds, 1),
        "seed": asked.seed,
    }


def remember(asked: Forecaster, corpus: Corpus, ids: Ids, parts: Split) -> None:
    """Keep what the weights have seen; without a refit the final ones saw no more."""
    end = parts.length if asked.refit else parts.cut
    asked.seen_ = Seen.of(
        ids,
        [corpus.series_times(k) for k in range(len(corpus))],
        [corpus.series(k) for k in range(len(corpus))],
        parts.cut.tolist(),
        end.tolist(),
    )
    asked.report_.notes[:0] = asked.notes_
