"""The report: a model's scores beside its baselines, as text, JSON, HTML and a figure."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmkit import style
from lstmkit.evaluation import measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL = "model"
MARK = " *"
BEST = "* best of its row"
HEADLINES: tuple[str, ...] = ("mase", "perplexity", "wer", "bleu", "vus_pr", "auc_pr_flow")
HEADLINES += ("macro_f1", "accuracy")


@dataclass
class Report:
    """What an evaluation found.

    Attributes:
        task: the task's name.
        metrics: the model's scores by snake-case name, in the order they are shown.
        baselines: the same of each baseline.
        data: what was scored: counts, and `unit` of the values where it is known.
        model: what was it scored with.
        intervals: (low, high) by metric, 95 % bootstrap intervals of the model's scores.
        memory_worth: the model's scores with its state reset at every step.
        notes: lines that a reader must know.
    """

    task: str
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    data: dict[str, Any]
    model: dict[str, Any]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    memory_worth: dict[str, float] | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Values of JSON only; a number that is not finite becomes None."""
        found: dict[str, Any] = {
            "metrics": self.metrics,
            "baselines": self.baselines,
            "data": self.data,
            "model": self.model,
        }
        if self.intervals:
            found["intervals"] = self.intervals
        if self.memory_worth is not None:
            found["memory_worth"] = self.memory_worth
        return {key: _plain(value) for key, value in found.items()}

    def to_json(self) -> str:
        """`to_dict` as text, one object."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    @property
    def headline(self) -> str:
        """The metric that stands for the rest; "" without metrics."""
        known = [name for name in HEADLINES if name in self.metrics]
        return next(iter([*known, *self.metrics]), "")

    def columns(self) -> dict[str, dict[str, float]]:
        """Scores by who has them, the model first."""
        return {MODEL: self.metrics, **self.baselines}

    def memory_line(self) -> str:
        """What memory is worth, in words; "" where it was not measured."""
        name = self.headline
        if not self.memory_worth or name not in self.memory_worth:
            return ""
        kept, reset = self.metrics[name], self.memory_worth[name]
        worth = measures.improvement(name, kept, reset)
        verdict = "" if worth is None else f": memory is worth {100 * worth:.0f} %"
        figures = f"{measures.label(name)} {number(reset, 3)} instead of {number(kept, 3)}"
        return f"with its state reset at every step: {figures}{verdict}"

    def remarks(self) -> list[str]:
        """The lines under the table: the mark, the sample, memory's worth, notes."""
        marked = any(self.best(name) for name in self.metrics)
        sample = ", ".join(f"{k.replace('_', ' ')} {_word(v)}" for k, v in self.data.items())
        lines = [BEST if marked else "", f"data: {sample}" if sample else ""]
        return [line for line in [*lines, self.memory_line(), *self.notes] if line]

    def best(self, name: str) -> str | None:
        """Which column has the better value of a metric."""
        return measures.best(name, {w: v[name] for w, v in self.columns().items() if name in v})

    def rows(self) -> list[list[str]]:
        """The table's cells: label and unit, model, interval if any, one a baseline."""
        rows = []
        for name in self.metrics:
            unit = measures.unit(name, str(self.data.get("unit", "")))
            cells = [f"{measures.label(name)}{f' ({unit})' if unit else ''}"]
            for who, values in self.columns().items():
                mark = MARK if self.best(name) == who else " " * len(MARK)
                cells.append(number(values.get(name, math.nan)) + mark)
                if who == MODEL and self.intervals:
                    cells.append(_range(self.intervals.get(name)))
            rows.append(cells)
        return rows

    def header(self) -> list[str]:
        """The names of the table's columns."""
        between = ["95 % interval"] if self.intervals else []
        return ["", MODEL, *between, *(who.replace("_", " ") for who in self.baselines)]

    def __str__(self) -> str:
        """The table and its remarks, without colour."""
        padded = [
            name + " " * len(MARK) if name in _marked(self) else name for name in self.header()
        ]
        table = [padded, *self.rows()]
        widths = [max(len(row[k]) for row in table) for k in range(len(padded))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in table
        ]
        rule = "-" * max(map(len, lines))
        body = [self.task, lines[0], rule, *lines[1:], rule, *self.remarks()]
        return "\n".join(body)

    def _repr_html_(self) -> str:
        """The same table for notebooks: self-contained, everything escaped."""
        head = "".join(_cell("th", name) for name in self.header())
        body = "".join(f"<tr>{''.join(_cell('td', c) for c in row)}</tr>" for row in self.rows())
        below = "<br>".join(html.escape(line) for line in self.remarks())
        return (
            f'<table style="text-align:right"><caption>{html.escape(self.task)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f'<p style="font-size:smaller">{below}</p>'
        )

    @style.styled
    def plot(self, path: str | Path | None = None) -> Figure:
        """Bars of the model and each baseline, a panel a metric; saved where `path` is given.

        Raises:
            MissingExtra: matplotlib is not installed.
            UserError: the suffix of `path` is not a format that can be drawn.
        """
        names = list(self.metrics)
        figure = style.canvas(6.5, 0.6 + max(1, len(names)) * (0.35 + 0.25 * len(self.columns())))
        panels = figure.subplots(max(1, len(names)), 1, squeeze=False)[:, 0]
        for axes, name in zip(panels, names, strict=False):
            self._panel(axes, name)
        style.headline(figure, f"{self.task}: model and baselines")
        whisker = ["line on a bar: 95 % interval"] if self.intervals else []
        lines = [*whisker, *(line for line in self.remarks() if line != BEST)]
        style.caption(figure, "\n".join(textwrap.fill(line, 110) for line in lines))
        if path is not None:
            style.save(figure, path)
        return figure

    def _panel(self, axes: Axes, name: str) -> None:
        """One metric: bars from 0, the model's interval as a whisker, figures beside them."""
        who = list(self.columns())
        values = [self.columns()[w].get(name, math.nan) for w in who]
        colours = [style.COLOURS["forecast" if w == MODEL else "baseline"] for w in who]
        known = [v if math.isfinite(v) else 0.0 for v in values]
        axes.barh([w.replace("_", " ") for w in who], known, color=colours, height=0.7)
        ends = [max(v, 0.0) for v in known]
        if span := _finite(self.intervals.get(name)):
            axes.hlines(0, *span, color=style.INK, linewidth=1.0)
            ends[0] = max(ends[0], span[1])
        for row, end in enumerate(ends):
            axes.annotate(
                number(values[row]),
                (end, row),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.invert_yaxis()
        axes.margins(x=0.15)
        unit = measures.unit(name, str(self.data.get("unit", "")))
        axes.set_title(f"{measures.label(name)}{f' ({unit})' if unit else ''}")


def number(value: float, digits: int = 4) -> str:
    """So many significant digits, all of a whole part; "-" for what could not be measured.

    >>> number(13.9124), number(0.90651), number(1234567.0), number(float("nan"))
    ('13.91', '0.9065', '1234567', '-')
    """
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(places, 0)}f}" if places < 8 else f"{value:.{digits - 1}e}"


def _marked(report: Report) -> set[str]:
    """The headers over columns that keep room for the mark."""
    return {MODEL, *(who.replace("_", " ") for who in report.baselines)}


def _range(span: tuple[float, float] | None) -> str:
    return f"{number(span[0])} to {number(span[1])}" if _finite(span) and span else "-"


def _finite(span: tuple[float, float] | None) -> tuple[float, float] | None:
    return span if span is not None and all(map(math.isfinite, span)) else None


def _word(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return json.dumps(_plain(value), ensure_ascii=False).strip('"')


def _cell(tag: str, text: str) -> str:
    inner = html.escape(text.strip())
    strong = text.endswith(MARK)
    return f"<{tag}>{f'<b>{inner}</b>' if strong else inner}</{tag}>"


def _plain(value: Any) -> Any:
    """`value` in JSON's types: numpy unpacked, paths and dates as text, NaN and inf as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
