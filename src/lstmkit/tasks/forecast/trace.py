"""What the LSTM did over a window: its gates and cell at every step, past and future."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.readers.calendar import step_times
from lstmkit.tasks.forecast.features import decode, encode, inputs
from lstmkit.tasks.forecast.scoring import ENTRY, Model

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus

FIELDS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell")


@dataclass(frozen=True)
class ForecastTrace:
    """Gates over the last window of N series and on over their forecast.

    Attributes:
        ids: one per series.
        time: (N, T) first row of each step; the last `future_steps` of the T lie in the future.
        series: (N, T) mean of the rows that a step covers: observed ones, then forecast medians.
        layers: per layer, field name -> (T, N, H), gates after their nonlinearity.
        future_steps: steps without rows to read.
    """

    ids: tuple[tuple[Any, ...], ...]
    time: np.ndarray
    series: np.ndarray
    layers: tuple[Mapping[str, np.ndarray], ...]
    future_steps: int

    def plot(self, series: int = 0, layer: int = 0, **options: Any) -> Any:
        """A matplotlib figure of one series; options as `style.plot_gates`."""
        from lstmkit.style import plot_gates

        fields = {name: values[:, series] for name, values in self.layers[layer].items()}
        shown = {"time": self.time[series], "series": self.series[series]}
        given = {**shown, "ahead": self.future_steps, **options}
        return plot_gates(fields, **given)

    def _repr_html_(self) -> str:
        from lstmkit.style import html_table

        rows = [
            [str(k), *(f"{layer[f].mean():.3f}" for f in FIELDS)]
            for k, layer in enumerate(self.layers)
        ]
        return html_table(["layer", *(f"mean {f.replace('_', ' ')}" for f in FIELDS)], rows)


def record(model: Model, corpus: Corpus, ids: Sequence[tuple[Any, ...]]) -> ForecastTrace:
    """Run the last window of every series and keep what the LSTM's operations report."""
    if model.shape.kind == "recurrent":
        raise ValueError("a recurrent model is recorded by `record_recurrent`")
    shape, layers = model.shape, []
    past, _ = corpus.rows(np.arange(len(corpus)), corpus.lengths)
    window, last = encode(past), corpus.times[corpus.stop - 1]

    def observe(operation: Any, outputs: Mapping[str, np.ndarray]) -> None:
        if operation.kind == "lstm":
            layers.append({f: np.swapaxes(outputs[f], 0, 1) for f in FIELDS})

    outputs, _ = model.program.run(ENTRY, inputs(shape, window, last), observe=observe)
    median = decode(shape, outputs["quantiles"], window)[..., model.middle]
    offsets = np.arange(-shape.past_steps, shape.future_steps) * shape.segment + 1
    return ForecastTrace(
        tuple(ids),
        step_times(last[:, None], shape.freq, offsets[None, :]),
        np.concatenate([_means(past, shape.segment), _means(median, shape.segment)], 1),
        tuple(layers),
        shape.future_steps,
    )


def record_recurrent(network: Any, corpus: Corpus, ids: Sequence[tuple[Any, ...]]) -> ForecastTrace:
    """The same of a recurrent network, over the last rows of every series; none lie in the future.

    The LSTM begins with the first of these rows, as in training.
    """
    import torch

    batch = corpus.chunk_before(np.arange(len(corpus)), corpus.lengths)
    layers: list[dict[str, np.ndarray]] = []
    with torch.no_grad():
        for member in getattr(network, "members", [network]):
            _, _, found = member.lstm(member.read(**batch.inputs), trace=True)
            layers += [{f: getattr(one, f).numpy() for f in FIELDS} for one in found]
    T = batch.inputs["values"].shape[1]
    first = np.maximum(corpus.lengths - T, 0)
    begin = corpus.times[corpus.start + first]
    time = step_times(begin[:, None], corpus.shape.freq, np.arange(T)[None])
    values = corpus.rows_from(np.arange(len(corpus)), first, T)
    return ForecastTrace(tuple(ids), time, values, tuple(layers), 0)


def _means(rows: np.ndarray, segment: int) -> np.ndarray:
    """(N, R) -> (N, ceil(R / segment)), means over observed rows, NaN where there are none."""
    short = -rows.shape[1] % segment
    padded = np.pad(rows, ((0, 0), (0, short)), constant_values=np.nan)
    pieces = padded.reshape(len(rows), -1, segment)
    count = (~np.isnan(pieces)).sum(-1)
    total = np.nansum(pieces, -1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
