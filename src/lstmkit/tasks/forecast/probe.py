"""A forecaster as inspection sees it: windows, their rows on the axis of LSTM steps, a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.inspection.probe import Feature, Probe, Scoring
from lstmkit.inspection.view import Curve
from lstmkit.readers.calendar import parse_freq, step_times
from lstmkit.tasks.forecast import metrics, scoring
from lstmkit.tasks.forecast.carried import chunk
from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.learning import member_weights

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.estimator import Forecaster

MOST_SCORED, STUDIED = 512, 64  # windows
GOLDEN = 0.618034  # multiples of it are spread evenly, modulo 1, however many there are
BAND = (0.1, 0.9)
UNITS = {"us": "microsecond", "ms": "millisecond", "s": "second", "m": "minute", "h": "hour"}
UNITS |= {"d": "day", "w": "week", "b": "business day", "mo": "month", "q": "quarter", "y": "year"}
UNITS |= {"i": "row"}


def probe(
    forecaster: Forecaster,
    data: Any,
    samples: int = 4,
    only: Sequence[str] = (),
    future: bool = False,
) -> Probe:
    """Windows that the weights have not seen, with what came; where there are none, or with
    `future`, the last window of each series and the forecast that lies ahead.

    Args:
        samples: so many series, spread over the table.
        only: names of the series to look at.

    Raises:
        UserError: no series of such a name.
    """
    table, corpus = forecaster._read(data)
    ids = [s.id for s in table.series]
    chosen, unseen, notes = _windows(forecaster, corpus, ids, future)
    model = forecaster.heldout_ if chosen.heldout else forecaster.model_
    shown = _shown(chosen, ids, samples, only)
    recurrent = model.shape.kind == "recurrent"
    windows = (_Chunks if recurrent else _Windows)(corpus, shown, model, table.target_column)
    studied, studied_anchor = _studied(corpus)
    network = forecaster.network_of(model)
    return Probe(
        network=network,
        inputs=windows.inputs,
        samples=tuple(_name(ids[s]) for s in shown.series),
        labels=windows.labels(),
        anchor=windows.anchor,
        studied=studied,
        studied_anchor=studied_anchor,
        answers=lambda output: output.reshape(len(output), -1, output.shape[-1])[..., model.middle],
        answer_names=tuple(f"step {k + 1} ahead" for k in range(model.shape.horizon)),
        scale=windows.scale,
        features=windows.features(),
        curves=windows.curves,
        title=f"Forecaster of {table.target_column}",
        facts=_facts(forecaster, model, chosen),
        quantity=table.target_column,
        step=_step(model.shape),
        scoring=_scoring(corpus, chosen, model) if unseen else None,
        notes=notes,
    )


def _windows(
    forecaster: Forecaster, corpus: Corpus, ids: Sequence[Any], future: bool
) -> tuple[scoring.Selection, bool, list[str]]:
    """What to look at, whether it is unseen and has a truth, and what to say about that."""
    last = scoring.Selection(np.arange(len(corpus)), corpus.lengths, heldout=False)
    if future:
        return last, False, ["shown is the forecast that lies ahead, by the final weights"]
    try:
        found = scoring.unseen(corpus, ids, forecaster.seen_, None)
    except UserError as error:
        return last, False, [f"no score: {error.what}; shown is the forecast that lies ahead"]
    weights = "held-out rows, by the weights that never saw them" if found.heldout else "new rows"
    return found, True, [f"shown are windows before {weights}"]


def _shown(
    chosen: scoring.Selection, ids: Sequence[Any], samples: int, only: Sequence[str]
) -> scoring.Selection:
    """The last window of so many series."""
    last = {int(s): k for k, s in enumerate(chosen.series)}  # later windows win
    if only:
        names = {_name(ids[s]): s for s in last}
        missing = [name for name in only if name not in names]
        if missing:
            raise UserError(
                f"no series {missing[0]!r} to look at", expected=f"such as {_few(list(names))}"
            )
        series = [names[name] for name in only]
    else:
        spread = np.linspace(0, len(last) - 1, min(samples, len(last))).round().astype(int)
        series = [sorted(last)[k] for k in spread]
    rows = np.array([last[s] for s in series])
    return scoring.Selection(chosen.series[rows], chosen.origin[rows], chosen.heldout)


def _name(id: tuple[Any, ...]) -> str:
    return ", ".join(str(part) for part in id) or "the series"


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _studied(corpus: Corpus) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """STUDIED windows, spread over the series and over the time of each, and their anchors."""
    series = np.linspace(0, len(corpus) - 1, STUDIED).round().astype(int)
    place = np.modf(np.arange(1, STUDIED + 1) * GOLDEN)[0]
    first = np.minimum(corpus.shape.lookback, corpus.lengths[series])
    origin = first + np.round(place * (corpus.lengths[series] - first)).astype(int)
    return _inputs(corpus, series, np.maximum(origin, 1))


def _inputs(
    corpus: Corpus, series: np.ndarray, origin: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the network reads of windows, and the last step that reads a row."""
    if corpus.shape.kind == "windowed":
        anchor = np.full(len(series), corpus.shape.past_steps - 1)
        return corpus.window(series, origin)[0], anchor
    first = _first(corpus.shape, origin)
    batch = corpus.chunk(series, first, (origin - first - 1)[:, None])
    given = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
    ahead = np.arange(given["mask"].shape[1]) > given["at"]
    given["values"], given["mask"] = (np.where(ahead, 0, given[k]) for k in ("values", "mask"))
    return given, given["at"][:, 0]


def _first(shape: Geometry, origin: np.ndarray) -> np.ndarray:
    """Where chunks begin that have room for the horizon after each origin."""
    return np.maximum(origin - (chunk(shape) - shape.horizon), 0)


def _facts(
    forecaster: Forecaster, model: scoring.Model, chosen: scoring.Selection
) -> list[tuple[str, str]]:
    shape, facts = model.shape, forecaster.facts_
    reads = f"{shape.lookback} rows, {shape.segment} a step: {shape.past_steps} steps"
    if shape.kind == "recurrent":
        reads = "every row once, a row a step"
    return [
        ("task", "forecast"),
        ("cells", f"{facts['width']} in {facts['layers']} layer{'s' * (facts['layers'] > 1)}"),
        ("reads", reads),
        ("answers", f"{shape.horizon} rows ahead"),
        ("weights", "held out" if chosen.heldout else "final"),
    ]


def _step(shape: Geometry) -> str:
    """`4 weeks`; nothing where rows have no time and a step is a row."""
    freq = parse_freq(shape.freq)
    count = shape.segment * freq.count
    return (
        "" if (count, freq.unit) == (1, "i") else f"{count} {UNITS[freq.unit]}{'s' * (count > 1)}"
    )


def _scoring(corpus: Corpus, chosen: scoring.Selection, model: scoring.Model) -> Scoring:
    """MASE of the unseen windows, at most MOST_SCORED of them, spread evenly."""
    count = len(chosen.series)
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST_SCORED)).round().astype(int))
    some = scoring.Selection(chosen.series[rows], chosen.origin[rows], chosen.heldout)
    given, anchor = _inputs(corpus, some.series, some.origin)
    units = units_of(corpus, some)

    def score(output: Any) -> float:
        answer = in_user_units(corpus.shape, output, *units)
        scores = scoring.score(corpus, some, answer[..., model.middle], answer, model.quantiles)
        return float(metrics.summarise(scores.terms)["mase"])

    return Scoring(given, anchor, score, "MASE")


def units_of(corpus: Corpus, chosen: scoring.Selection) -> tuple[np.ndarray, np.ndarray]:
    """Level and span (W,) in which the network's inputs and answers count."""
    if corpus.shape.kind == "windowed":
        window = corpus.window(chosen.series, chosen.origin)[2]
    else:
        window = corpus.chunk_units(chosen.series, _first(corpus.shape, chosen.origin))
    return window.level[:, 0], window.span[:, 0]


def in_user_units(shape: Geometry, output: Any, level: np.ndarray, span: np.ndarray) -> np.ndarray:
    """The network's output as quantiles (W, H, Q) of the series."""
    found = output.detach().cpu().numpy().astype(np.float64)
    found = found.reshape(len(found), -1, found.shape[-1]) * span[:, None, None]
    found += level[:, None, None]
    return np.maximum(found, 0.0) if shape.nonnegative else found


class _Windows:
    """Some windows of a corpus, on the axis of the LSTM's steps."""

    def __init__(
        self, corpus: Corpus, chosen: scoring.Selection, model: scoring.Model, target: str
    ) -> None:
        self.shape, self.model, self.target = model.shape, model, target
        self.inputs, self.anchor = _inputs(corpus, chosen.series, chosen.origin)
        self.past, self.truth = corpus.rows(chosen.series, chosen.origin)
        self.units = units_of(corpus, chosen)
        self.last = corpus.times[corpus.start[chosen.series] + chosen.origin - 1]

    @property
    def scale(self) -> np.ndarray:
        """The unit (N,) of an answer."""
        return self.units[1]

    def axis(self) -> tuple[np.ndarray, np.ndarray]:
        """Where past and future rows lie on the axis of the LSTM's steps."""
        shape = self.shape
        x = (np.arange(-shape.lookback, shape.horizon) + 0.5) / shape.segment
        x += shape.past_steps - 0.5
        return x[: shape.lookback], x[shape.lookback :]

    def labels(self) -> np.ndarray:
        """(N, T) the first row of each step."""
        shape = self.shape
        offsets = np.arange(-shape.past_steps, shape.future_steps) * shape.segment + 1
        return _written(step_times(self.last[:, None], shape.freq, offsets[None, :]))

    def features(self) -> list[Feature]:
        """The rows of the series, beside their mean; each cycle of the calendar, beside none."""
        shape, given = self.shape, self.inputs
        mask = given["mask"]
        mean = (given["values"] * mask).sum(1) / np.maximum(mask.sum(1), 1)
        flat = (mean[:, None] * mask).astype(np.float32)
        steps = np.arange(shape.lookback) // shape.segment
        found = [Feature(self.target, "values", None, flat, steps)]
        for name, first in (("past_calendar", 0), ("future_calendar", shape.past_steps)):
            steps, none = np.arange(given[name].shape[1]) + first, np.zeros_like(given[name])
            for k, cycle in enumerate(shape.cycles or ("season",)):
                pair = (2 * k, 2 * k + 1)
                found.append(Feature(cycle.replace("_", " "), name, pair, none, steps))
        return found + self._covariates()

    def _covariates(self) -> list[Feature]:
        """Numbers beside the target, each beside its mean; categories are held as they are."""
        count = self.inputs["present"].shape[1] if "present" in self.inputs else 0
        latest = self.inputs["mask"].shape[1] - 1 if self.shape.kind == "recurrent" else count
        rows = np.minimum(np.arange(count) // self.shape.segment, latest)
        numbers = [c for c in self.shape.dynamic if c.categories is None]
        if not numbers:
            return []
        weights = member_weights(self.model.weights)[0]
        mean = np.where(self.inputs["present"] > 0, weights["columns.mean"], 0).astype(np.float32)
        return [Feature(c.name, "numbers", (k,), mean, rows) for k, c in enumerate(numbers)]

    def curves(self, output: Any) -> list[Curve]:
        """What was read, what was answered, and what came where that is known."""
        shape, q = self.shape, self.model.quantiles
        answer = in_user_units(shape, output, *self.units)
        past, future = self.axis()
        low, high = (int(np.argmin(np.abs(np.asarray(q) - p))) for p in BAND)
        found = [
            Curve(self.target, "input", past, self.past),
            Curve("forecast", "prediction", future, answer[..., self.model.middle]),
        ]
        if low < self.model.median < high:
            name = f"{q[low]:g} to {q[high]:g} quantile"
            found.append(Curve(name, "band", future, answer[..., low], answer[..., high]))
        if not np.isnan(self.truth).all():
            found.append(Curve("what came", "truth", future, self.truth))
        return found


class _Chunks(_Windows):
    """Chunks of rows around an origin, a step each; what comes after it is not read."""

    def labels(self) -> np.ndarray:
        """(N, T) the time of each row."""
        T = self.inputs["values"].shape[1]
        back = np.arange(T)[None] - self.anchor[:, None]
        return _written(step_times(self.last[:, None], self.shape.freq, back))

    def axis(self) -> tuple[np.ndarray, np.ndarray]:
        """As ever, but each sample's origin has its own place."""
        x = self.anchor[:, None] + np.arange(-self.shape.lookback, self.shape.horizon) + 1.0
        return x[:, : self.shape.lookback], x[:, self.shape.lookback :]

    def features(self) -> list[Feature]:
        """The rows of the series, beside their mean; numbers beside the target."""
        given, mask = self.inputs, self.inputs["mask"]
        mean = (given["values"] * mask).sum(1) / np.maximum(mask.sum(1), 1)
        flat = (mean[:, None] * mask).astype(np.float32)
        found = [Feature(self.target, "values", None, flat, np.arange(mask.shape[1]))]
        return found + self._covariates()


def _written(times: np.ndarray) -> np.ndarray:
    """Times as text: no finer than they are, seconds at the finest."""
    if not np.issubdtype(times.dtype, np.datetime64):
        return times.astype(str)
    units = ("datetime64[D]", "datetime64[m]", "datetime64[s]")
    kind = next(u for u in units if u == units[-1] or (times == times.astype(u)).all())
    return np.char.replace(times.astype(kind).astype(str), "T", " ")
