"""All series of a forecast as one HTML file, worst first, that asks for nothing else.

Curves are float32 in base64, one line a series, relative to a float64 level of the series, so that
any offset keeps its digits. Lines of times are float64: milliseconds since 1970, or step numbers.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.modelfile import atomic_write
from lstmkit.readers.calendar import future_times, parse_freq
from lstmkit.style import COLOURS
from lstmkit.tasks import pages
from lstmkit.tasks.forecast.backtest import Backtest, worst_first
from lstmkit.tasks.forecast.picture import SHOWN, rows_drawn, score_text
from lstmkit.tasks.forecast.plots import BANDS, nearest

if TYPE_CHECKING:
    from lstmkit.readers.tables import Series, SeriesTable
    from lstmkit.tasks.forecast.scoring import Model

MOST = 2000  # series
BUDGET = 60_000_000  # bytes of curves, before base64
CURVE_POINTS = 1000  # of the sorted scores
SCRIPTS = (("lstmkit.tasks", "canvas.js"), (__package__, "curves.js"), (__package__, "page.js"))


def write(
    table: SeriesTable,
    model: Model,
    answer: np.ndarray,
    tests: Sequence[Backtest],
    path: str | Path,
) -> Path:
    """Write the page of forecasts (N, H, Q) to `path`, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    text = render(table, model, answer, tests)
    with atomic_write(path) as file:
        file.write(text.encode())
    return Path(path)


def render(table: SeriesTable, model: Model, answer: np.ndarray, tests: Sequence[Backtest]) -> str:
    """The page as text."""
    drawing = _Drawing(table, model, answer, tests)
    title = f"{table.target_column}, {answer.shape[1]} steps ahead"
    parts = {
        "title": html.escape(title),
        "facts": "".join(
            f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>"
            for k, v in _facts(table, model)
        ),
        "summary": html.escape(" ".join(summary(tests, len(drawing.order)))),
        "meta": pages.as_json(drawing.meta()),
        "curves": "\n".join(drawing.curves()),
        "grids": "\n".join(drawing.grids),
    }
    scripts = [pages.asset(str(package), name) for package, name in SCRIPTS]
    template, css = (pages.asset(str(__package__), name) for name in ("page.html", "page.css"))
    named = {name: COLOURS[name] for name in ("forecast", "baseline")}
    return pages.assemble(template, scripts, pages.colours(named) + css, parts)


def summary(tests: Sequence[Backtest], shown: int) -> list[str]:
    """Sentences: how often the model is better, the median scores, and what is left out."""
    scored = [b for b in tests if b.scored]
    told = []
    if len(tests) == 1 and scored:
        told.append(f"On the last rows that the weights have not seen: {score_text(tests[0])}.")
    elif scored:
        better = sum(b.mase < b.naive_mase for b in scored)
        mase, naive = (float(np.median(s)) for s in zip(*_scores(scored), strict=True))
        told.append(
            f"The model beats the seasonal naive on {better} of {len(scored)} series"
            f" ({100 * better / len(scored):.0f} %)."
            f" Median MASE {mase:.2f}, seasonal naive {naive:.2f}."
        )
    learnt = sum(not len(b.truth) for b in tests)
    constant = len(tests) - learnt - len(scored)
    if learnt:
        told.append(f"Without a score, as the model has learnt from every row: {learnt} series.")
    if constant:
        told.append(f"Without MASE, as nothing changed or nothing came: {constant} series.")
    if shown < len(tests):
        told.append(f"The worst {shown} of {len(tests)} series are on this page.")
    return told


def _scores(tests: Iterable[Backtest]) -> list[tuple[float, float]]:
    return [(b.mase, b.naive_mase) for b in tests]


def _facts(table: SeriesTable, model: Model) -> list[tuple[str, str]]:
    """What the forecasts are of and by what."""
    shape = model.shape
    found = [("series", str(len(table.series))), ("freq", shape.freq)]
    found += [("season", f"{shape.season} rows"), ("LSTM reads", f"{shape.lookback} rows")]
    if table.time_zone and not parse_freq(shape.freq).days_or_longer:
        found.append(("times", "UTC"))
    return found


class _Drawing:
    """The curves of a page: which series, which channels, and on which times they lie."""

    def __init__(
        self, table: SeriesTable, model: Model, answer: np.ndarray, tests: Sequence[Backtest]
    ) -> None:
        self.table, self.model, self.answer, self.tests = table, model, answer, tests
        self.rows = rows_drawn(model.shape, answer.shape[1], SHOWN)
        self.channels = _channels(model.quantiles)
        width = len(self.channels)
        each = self.rows + (width + 1) * model.shape.horizon + width * answer.shape[1]
        most = max(1, min(MOST, BUDGET // (4 * each)))
        self.order = worst_first(tests)[:most]
        found = [self._times(table.series[k]) for k in self.order]
        self.grids = list(dict.fromkeys(found))
        places = {line: n for n, line in enumerate(self.grids)}
        self.grid_of = [places[line] for line in found]
        self.levels = [_level(table.series[k].values[-self.rows :]) for k in self.order]

    def _times(self, series: Series) -> str:
        """Times of the rows that are drawn and of the forecast."""
        ahead = future_times(series.time[-1], self.model.shape.freq, self.answer.shape[1])
        times = np.concatenate([series.time[-self.rows :], ahead])
        return pages.packed(pages.milliseconds(times), "<f8")

    def meta(self) -> dict[str, Any]:
        """What the page must know to unpack, order and name the curves."""
        tests = [self.tests[k] for k in self.order]
        return {
            "names": [b.name or self.table.target_column for b in tests],
            "mase": pages.numbers([b.mase for b in tests]),
            "naive": pages.numbers([b.naive_mase for b in tests]),
            "tested": [self._tested(k) for k in self.order],
            "rows": [min(self.rows, len(self.table.series[k].values)) for k in self.order],
            "levels": self.levels,
            "grid": self.grid_of,
            "channels": list(self.channels),
            "horizon": self.answer.shape[1],
            "clock": _clock(self.table, self.model.shape.freq),
            "sorted": _sorted_scores(self.tests),
        }

    def _tested(self, k: int) -> int:
        """Rows of the backtest that there are."""
        return len(self.table.series[k].values) - self.tests[k].origin

    def curves(self) -> Iterable[str]:
        """A line a series: its rows, of the test each channel and the naive, the forecast's."""
        channels = list(self.channels.values())
        for k, level in zip(self.order, self.levels, strict=True):
            test, rows = self.tests[k], slice(self._tested(k))
            parts = [self.table.series[k].values[-self.rows :]]
            parts += [test.quantiles[rows, c] for c in channels] + [test.naive[rows]]
            parts += [self.answer[k, :, c] for c in channels]
            yield pages.packed(np.concatenate(parts) - level, "<f4")


def _channels(quantiles: Sequence[float]) -> dict[str, int]:
    """Names of the curves of a forecast and their positions among its quantiles."""
    position = {q: np.array(k) for k, q in enumerate(quantiles)}
    wanted = {"median": 0.5}
    for coverage in BANDS:
        wanted[f"low{coverage:.0%}"] = (1 - coverage) / 2
        wanted[f"high{coverage:.0%}"] = (1 + coverage) / 2
    found = {name: nearest(position, p) for name, p in wanted.items()}
    return {name: int(k) for name, k in found.items() if k is not None}


def _level(values: np.ndarray) -> float:
    """The middle of the range of values (n,), 0 where all are missing."""
    seen = values[~np.isnan(values)]
    return float((seen.min() + seen.max()) / 2) if len(seen) else 0.0


def _clock(table: SeriesTable, freq: str) -> str:
    """How a time is written: as a number, a day, a minute, a second or its thousandth."""
    if not np.issubdtype(table.series[0].time.dtype, np.datetime64):
        return "number"
    step = parse_freq(freq)
    if step.days_or_longer:
        return "day"
    limits = {"minute": 60_000_000, "second": 1_000_000}
    return next((name for name, size in limits.items() if step.spacing >= size), "thousandth")


def _sorted_scores(tests: Sequence[Backtest]) -> dict[str, Any]:
    """The scores of all scored series, each falling by itself, at evenly spaced ranks."""
    scores = np.array(_scores(b for b in tests if b.scored)).reshape(-1, 2)
    count = len(scores)
    rank = np.unique(np.linspace(0, max(0, count - 1), min(count, CURVE_POINTS)).astype(int))
    falling = -np.sort(-scores, axis=0)[rank]
    return {
        "count": count,
        "rank": rank.tolist(),
        "mase": pages.numbers(falling[:, 0]),
        "naive": pages.numbers(falling[:, 1]),
    }
