"""Running a forecasting program over windows, and scoring what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.lowprecision import lower
from lstmkit.tasks.forecast import baselines, metrics
from lstmkit.tasks.forecast.data import Corpus
from lstmkit.tasks.forecast.features import Encoded, Geometry, decode, deviation
from lstmkit.tasks.forecast.metrics import Terms

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.program import Program
    from lstmkit.tasks.forecast.learning import Network
    from lstmkit.tasks.seen import Seen

ENTRY = "forecast"
BATCH = 256
MOST_HISTORY = 4096  # rows that the baseline's intervals look back on


@dataclass(frozen=True)
class Model:
    """A program with what is needed to ask it."""

    program: Program
    shape: Geometry
    quantiles: tuple[float, ...]
    point: str = "median"

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs; it packs the program for itself."""
        return type(self), (self.program, self.shape, self.quantiles, self.point)

    @cached_property
    def ready(self) -> runtime.Model:
        """The program, ready to run."""
        return runtime.load(self.program)

    @property
    def median(self) -> int:
        """The position of the quantile nearest to one half."""
        return int(np.argmin(np.abs(np.asarray(self.quantiles) - 0.5)))

    @property
    def middle(self) -> int:
        """The position of the point forecast among the channels: the mean, or the median."""
        return len(self.quantiles) if self.point == "mean" else self.median

    @classmethod
    def of(cls, network: Network) -> Model:
        """A torch network as a program."""
        from lstmkit.tasks.forecast.network import program

        return cls(program(network), network.shape, network.quantiles, network.point)

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """The weights, under the names of the torch module."""
        return self.program.weights

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> Model:
        """The same program with other weights."""
        return replace(self, program=replace(self.program, weights=dict(weights)))

    def calibrated(self, offsets: np.ndarray) -> Model:
        """The same with offsets (H, Q) added to its quantiles, in units of the windows."""
        weights = dict(self.weights)
        for name in [n for n in weights if n.rpartition(".")[2] == "calibration"]:
            changed = weights[name].copy()
            changed[:, : len(self.quantiles)] += offsets.astype(np.float32)
            weights[name] = changed
        return self.with_weights(weights)

    def lowered(self, dtype: str) -> Model:
        """The same with matrices of weights in another precision."""
        return replace(self, program=lower(self.program, dtype))

    def run(
        self, given: dict[str, np.ndarray], window: Encoded, memoryless: bool = False
    ) -> np.ndarray:
        """Quantiles (B, H, Q) in the user's units, and the mean after them where it is forecast."""
        if memoryless:
            outputs, _ = self.program.run(ENTRY, given, memoryless=True)
        else:
            outputs, _ = self.ready.run(ENTRY, given)
        return decode(self.shape, outputs["quantiles"], window)


@dataclass(frozen=True)
class Selection:
    """Which windows to score: series and origin (W,) of a corpus.

    `heldout`: with the weights that never saw them, and not with the final ones.
    """

    series: np.ndarray
    origin: np.ndarray
    heldout: bool
    notes: tuple[str, ...] = ()


def origins(first: int, length: int, horizon: int, windows: int | None) -> list[int]:
    """Origins of windows that end with the series, one horizon apart, none before `first`.

    Where less than a horizon is left there is one window, whose truth ends early.
    """
    found = list(range(length - horizon, first - 1, -horizon)) or [first]
    return sorted(found[:windows])


def heldout(corpus: Corpus, cut: np.ndarray, windows: int | None) -> Selection:
    """The held-out windows of the corpus: everything from row `cut` of each series on."""
    found = [
        (series, origin)
        for series in np.flatnonzero(cut < corpus.lengths)
        for origin in origins(
            int(cut[series]), int(corpus.lengths[series]), corpus.shape.horizon, windows
        )
    ]
    series, origin = np.array(found).T
    return Selection(series, origin, heldout=True)


def unseen(
    corpus: Corpus, ids: Sequence[tuple[Any, ...]], seen: Seen, windows: int | None
) -> Selection:
    """What may be scored: rows after the end of known series, and unknown series whole.

    Where there is neither, the held-out rows of known series.

    Raises:
        UserError: `in-sample`: the model has learnt from every row.
    """
    known = [_find(corpus, seen, i, name) for i, name in enumerate(ids)]
    newer = [(i, _start(corpus, seen.end, i, k)) for i, k in enumerate(known)]
    long = corpus.lengths > corpus.shape.horizon  # shorter unknown ones are skipped, as in fit
    fresh = [
        (i, first)
        for i, first in newer
        if first < corpus.lengths[i] and (known[i] is not None or long[i])
    ]
    if fresh:
        return _selection(corpus, fresh, windows, False, known)
    named = {i: k for i, k in enumerate(known) if k is not None and _namesake(seen, k, ids[i])}
    held = [(i, _start(corpus, seen.cut, i, k)) for i, k in named.items()]
    held = [(i, first) for i, first in held if 0 < first < corpus.lengths[i]]
    if not held:
        raise UserError(
            "in-sample: the model has learnt from every row of this data",
            got=f"{len(ids)} series, all known to the model",
            expected="rows after those that it was trained on, or other series",
            hint="evaluate --refit trains anew before each origin",
        )
    return _selection(corpus, held, windows, True, known)


def _namesake(seen: Seen, known: int, name: tuple[Any, ...]) -> bool:
    return seen.ids[known] == tuple(str(part) for part in name)


def _find(corpus: Corpus, seen: Seen, series: int, name: tuple[Any, ...]) -> int | None:
    rows = slice(corpus.start[series], corpus.stop[series])
    return seen.find(name, corpus.times[rows], corpus.values[rows])


def _start(corpus: Corpus, until: np.ndarray, series: int, known: int | None) -> int:
    """The first row that may be forecast: after `until`, or once an unknown series has a past."""
    length = int(corpus.lengths[series])
    if known is None:
        shape = corpus.shape
        return max(1, min(shape.lookback, length - shape.horizon))
    times = corpus.times[corpus.start[series] : corpus.stop[series]].astype(np.int64)
    return int(np.searchsorted(times, until[known], side="right"))


def _selection(
    corpus: Corpus,
    firsts: Sequence[tuple[int, int]],
    windows: int | None,
    held: bool,
    known: Sequence[int | None],
) -> Selection:
    horizon = corpus.shape.horizon
    found = [
        (series, origin)
        for series, first in firsts
        if first > 0
        for origin in origins(first, int(corpus.lengths[series]), horizon, windows)
    ]
    if not found:
        raise UserError(
            "no series has rows before those to be forecast",
            hint="give the history together with the new rows",
        )
    unknown = sum(known[series] is None for series, first in firsts if first > 0)
    left = len(known) - len({series for series, _ in found})
    notes = [f"{unknown} series are new to the model"] if unknown else []
    notes += [f"{left} series have no rows that the model has not seen"] if left else []
    series, origin = np.array(found).T
    return Selection(series, origin, held, tuple(notes))


@dataclass(frozen=True)
class Scores:
    """Metric terms per window, and the series of each window."""

    series: np.ndarray
    terms: dict[str, Terms]

    def intervals(self, seed: int) -> dict[str, tuple[float, float]]:
        """Bootstrap intervals over series, over windows where there is one series only."""
        from lstmkit.evaluation.bootstrap import interval

        unit = self.series if len(np.unique(self.series)) > 1 else np.arange(len(self.series))
        _, unit = np.unique(unit, return_inverse=True)
        if unit.max() == 0:
            return {}
        found = {}
        for name, (numerators, denominators) in self.terms.items():
            pair = (np.bincount(unit, numerators), np.bincount(unit, denominators))
            low, high = interval(pair, seed=seed)
            root = np.sqrt if name == "rmse" else float
            found[name] = (float(root(low)), float(root(high)))
        return found


def forecast(
    model: Model, corpus: Corpus, chosen: Selection, memoryless: bool = False
) -> np.ndarray:
    """Quantiles (W, H, Q) of the chosen windows."""
    return forecast_and_units(model, corpus, chosen, memoryless)[0]


def forecast_and_units(
    model: Model, corpus: Corpus, chosen: Selection, memoryless: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (W, H, Q) of the chosen windows, and the unit (W,) in which each was calibrated."""
    if model.shape.kind == "recurrent":
        from lstmkit.tasks.forecast import carried

        return carried.forecast(model, corpus, chosen.series, chosen.origin, memoryless)
    parts, units = [], []
    for k in range(0, len(chosen.series), BATCH):
        rows = slice(k, k + BATCH)
        given, _, window = corpus.window(chosen.series[rows], chosen.origin[rows])
        parts.append(model.run(given, window, memoryless))
        units.append(deviation(window) * window.span[:, 0])
    return np.concatenate(parts), np.concatenate(units)


def score(
    corpus: Corpus, chosen: Selection, point: np.ndarray, quantiles: np.ndarray, q: Sequence[float]
) -> Scores:
    """Score forecasts; a series' scale is that of its rows before its first chosen origin."""
    _, truth = corpus.rows(chosen.series, chosen.origin)
    found = metrics.terms(truth, point, quantiles[..., : len(q)], q, scales(corpus, chosen))
    return Scores(chosen.series, found)


def scales(corpus: Corpus, chosen: Selection) -> np.ndarray:
    """The seasonal scale (W,) of each window's series, from its rows before its first window."""
    names, place = np.unique(chosen.series, return_inverse=True)
    first = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(first, place, chosen.origin)
    found = [
        metrics.seasonal_scale(_history(corpus, s, o), corpus.shape.season)
        for s, o in zip(names, first, strict=True)
    ]
    return np.array(found)[place]


def _history(corpus: Corpus, series: int, origin: int) -> np.ndarray:
    return corpus.values[corpus.start[series] : corpus.start[series] + origin]


def naive(corpus: Corpus, chosen: Selection, q: Sequence[float]) -> Scores:
    """The seasonal naive forecast of the same windows."""
    m, H = corpus.shape.season, corpus.shape.horizon
    pasts = [_history(corpus, s, o) for s, o in zip(chosen.series, chosen.origin, strict=True)]
    point = np.stack([baselines.seasonal_naive(v, m, H) for v in pasts])
    spread = [baselines.seasonal_naive_quantiles(v[-MOST_HISTORY:], m, H, q) for v in pasts]
    return score(corpus, chosen, point, np.stack(spread), q)


class Answers(NamedTuple):
    """Quantiles (W, H, Q) of the chosen windows, with the LSTM's memory and without."""

    full: np.ndarray
    memoryless: np.ndarray

    @classmethod
    def of(
        cls, model: Model, corpus: Corpus, chosen: Selection, recalibrate: bool = False
    ) -> Answers:
        """Run the model both ways."""
        from lstmkit.tasks.forecast import rolling

        full = rolling.corrected if recalibrate else forecast
        return cls(full(model, corpus, chosen), forecast(model, corpus, chosen, memoryless=True))


def report(
    model: Model,
    corpus: Corpus,
    chosen: Selection,
    facts: dict[str, Any],
    seed: int,
    recalibrate: bool = False,
) -> Report:
    """The model, its baseline and its memory's worth on the chosen windows.

    `recalibrate`: as `rolling.corrected`.
    """
    answers = Answers.of(model, corpus, chosen, recalibrate)
    return compile_report(model, corpus, chosen, answers, facts, seed)


def report_refitted(
    corpus: Corpus,
    windows: int,
    retrain: Callable[[Corpus], Model],
    facts: dict[str, Any],
    seed: int,
) -> Report:
    """The last `windows` origins, each forecast by a model trained on the rows before it.

    Raises:
        UserError: no series is long enough.
    """
    H = corpus.shape.horizon
    usable = np.flatnonzero(corpus.lengths > (windows + 1) * H)
    if not len(usable):
        raise UserError(
            f"no series is long enough for {windows} refitted windows",
            expected=f"more than {(windows + 1) * H} rows",
            hint="--windows 1",
        )
    chosen, answers = [], []
    for back in range(windows * H, 0, -H):
        model = retrain(corpus.until(corpus.lengths - back))
        chosen.append(Selection(usable, corpus.lengths[usable] - back, heldout=True))
        answers.append(Answers.of(model, corpus, chosen[-1]))
    together = Selection(
        np.concatenate([c.series for c in chosen]),
        np.concatenate([c.origin for c in chosen]),
        True,
        (f"trained anew before each of {windows} origins",),
    )
    merged = Answers(*(np.concatenate(parts) for parts in zip(*answers, strict=True)))
    return compile_report(model, corpus, together, merged, facts, seed)


def compile_report(
    model: Model,
    corpus: Corpus,
    chosen: Selection,
    answers: Answers,
    facts: dict[str, Any],
    seed: int,
) -> Report:
    """A report on answers that were made before."""
    from lstmkit.evaluation import Report

    q, middle = model.quantiles, model.middle
    full, memoryless = (score(corpus, chosen, a[..., middle], a, q) for a in answers)
    return Report(
        task="forecast",
        metrics=metrics.summarise(full.terms),
        baselines={"seasonal_naive": metrics.summarise(naive(corpus, chosen, q).terms)},
        data=describe(corpus, chosen),
        model=facts,
        intervals=full.intervals(seed),
        memory_worth=metrics.summarise(memoryless.terms),
        notes=list(chosen.notes),
    )


def describe(corpus: Corpus, chosen: Selection) -> dict[str, Any]:
    """What was scored."""
    _, truth = corpus.rows(chosen.series, chosen.origin)
    return {
        "series": len(np.unique(chosen.series)),
        "windows": len(chosen.series),
        "rows": int((~np.isnan(truth)).sum()),
        "horizon": corpus.shape.horizon,
        "freq": corpus.shape.freq,
        "season": corpus.shape.season,
        "weights": "held out" if chosen.heldout else "final",
    }
