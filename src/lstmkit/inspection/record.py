"""Recording what every LSTM inside a module did, by hooks, at the speed of a traced call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

GATES = ("input_gate", "forget_gate", "output_gate")
FIELDS = (*GATES, "candidate", "cell", "hidden")


@dataclass(frozen=True)
class LayerRecord:
    """One layer and direction of one recurrent module over one forward call, in input time.

    Attributes:
        module: dotted name inside the network, "" for the network itself.
        layer, reverse: which layer and direction of that module.
        input_gate, forget_gate, output_gate, candidate, cell: (T, N, H) float32, gates after their
            nonlinearity, 0 in padding.
        hidden: (T, N, P).
        call: 0 for the module's first call in the forward pass, 1 for its second, ...
    """

    module: str
    layer: int
    reverse: bool
    input_gate: np.ndarray
    forget_gate: np.ndarray
    output_gate: np.ndarray
    candidate: np.ndarray
    cell: np.ndarray
    hidden: np.ndarray
    call: int = 0

    @property
    def name(self) -> str:
        """Such as `lstm.0`, `encoder.1.reverse`, `lstm.0#2` for a second call."""
        return layer_name(self.module, self.layer, self.reverse, self.call)


def layer_name(module: str, layer: int, reverse: bool, call: int = 0) -> str:
    """How a layer and direction is called in every part of inspection."""
    place = f"{module}.{layer}" if module else str(layer)
    return place + ".reverse" * reverse + (f"#{call + 1}" if call else "")


@dataclass(frozen=True)
class Recording:
    """What all recurrent layers did over N samples of T steps.

    Attributes:
        layers: in the order in which they ran.
        lengths: (N,) valid steps of each sample.
    """

    layers: tuple[LayerRecord, ...]
    lengths: np.ndarray

    def __getitem__(self, name: str | int) -> LayerRecord:
        """A layer by place or by name.

        Raises:
            UserError: no such layer.
        """
        if isinstance(name, int):
            return self.layers[name]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise UserError(f"no layer {name!r}", expected=f"one of {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(layer.name for layer in self.layers)

    def select(self, samples: Any) -> Recording:
        """Some of the samples: a slice, or their places."""
        layers = (
            replace(layer, **{f: getattr(layer, f)[:, samples] for f in FIELDS})
            for layer in self.layers
        )
        return Recording(tuple(layers), self.lengths[samples])

    def plot(self, layer: str | int = 0, sample: int = 0, **options: Any) -> Any:
        """A matplotlib figure of one layer's gates over time; options as `style.plot_gates`."""
        from lstmkit.style import plot_gates

        found, steps = self[layer], int(self.lengths[sample])
        fields = {f: getattr(found, f)[:steps, sample] for f in FIELDS[:5]}
        return plot_gates(fields, **options)

    def _repr_html_(self) -> str:
        from lstmkit.style import html_table

        head = ["layer", *(f"mean {f.replace('_', ' ')}" for f in FIELDS)]
        return html_table(head, ([layer.name, *self._means(layer)] for layer in self.layers))

    def _means(self, layer: LayerRecord) -> list[str]:
        valid = self.valid(layer)
        return [f"{getattr(layer, f)[valid].mean():.3f}" for f in FIELDS]

    def valid(self, layer: LayerRecord) -> np.ndarray:
        """(T, N) bool: the steps of a layer that are no padding."""
        steps = np.arange(len(layer.cell))[:, None]
        found: np.ndarray = steps < self.lengths
        return found


def observe(module: nn.Module, *inputs: Any, **named: Any) -> Recording:
    """Call `module(*inputs, **named)` in evaluation, without gradients; record every LSTM in it.

    Works on any module with lstmkit.LSTM or lstmkit.LSTMCell inside; calls of a cell become the
    steps of one layer. The module's mode is afterwards as before.

    Raises:
        UserError: no recurrent layer of lstmkit ran.
    """
    import torch

    from lstmkit.inspection.modules import evaluating

    with evaluating(module), torch.no_grad(), recording(module) as recorder:
        module(*inputs, **named)
    return recorder.result()


@contextmanager
def recording(module: nn.Module) -> Iterator[Recorder]:
    """While it is open, every call of an LSTM inside `module` is recorded, differentiably or not,
    as the calls are; outputs stay what they were.

    >>> with recording(network) as recorder: network(x)
    >>> recorder.result().layers[0].forget_gate.shape
    """
    from lstmkit.inspection.modules import recurrent

    recorder = Recorder()
    handles: list[Any] = []
    try:
        for name, layer, is_cell in recurrent(module):
            if is_cell:
                watch = layer.register_forward_hook(partial(recorder.cell, name), with_kwargs=True)
                handles.append(watch)
                continue
            before = partial(recorder.before, name)
            handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
            after = partial(recorder.after, name)
            # First in line: other hooks see the output that the layer has without a trace.
            handles.append(layer.register_forward_hook(after, with_kwargs=True, prepend=True))
        yield recorder
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class Recorder:
    """Collects traces while hooks are in place; `result` makes a Recording of the last forward."""

    traces: list[tuple[str, int, Any]] = field(default_factory=list)  # module, call, LayerTrace
    cells: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)  # module -> steps
    lengths: Any = None
    asked: list[bool] = field(default_factory=list)  # of the calls that are under way
    calls: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Forget what was recorded."""
        self.traces, self.cells, self.lengths = [], {}, None
        self.calls.clear()

    def before(self, name: str, layer: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Ask for a trace, and note whether the caller did."""
        self.asked.append(bool(kwargs.get("trace")))
        return args, {**kwargs, "trace": True}

    def after(self, name: str, layer: Any, args: Any, kwargs: Any, output: Any) -> Any:
        """Keep the trace, and give the caller what it asked for."""
        *usual, trace = output
        call = self.calls[name]
        self.calls[name] += 1
        self.traces += [(name, call, part) for part in trace.layers]
        lengths = lengths_of(args[0] if args else kwargs["input"], kwargs)
        self.lengths = lengths if lengths is not None else self.lengths
        return output if self.asked.pop() else tuple(usual)

    def cell(self, name: str, layer: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Keep one step of a cell: its gates are computed again from what it was given."""
        from lstmkit.inspection.modules import cell_step

        given = cell_step(layer, *args, **kwargs)
        self.cells.setdefault(name, []).append({**given, "hidden": output[0], "cell": output[1]})

    def result(self) -> Recording:
        """What was recorded, in numpy.

        Raises:
            UserError: nothing was.
        """
        layers = [_layer(name, call, trace) for name, call, trace in self.traces]
        layers += [_cell_layer(name, steps) for name, steps in self.cells.items()]
        if not layers:
            raise UserError(
                "nothing was recorded: no recurrent layer of lstmkit ran",
                expected="a module that calls lstmkit.LSTM or lstmkit.LSTMCell",
                hint="lstmkit.convert(module) turns every torch.nn.LSTM inside into lstmkit.LSTM",
            )
        T, N = layers[0].cell.shape[:2]
        whole = np.full(N, T)
        lengths = whole if self.lengths is None else np.asarray(self.lengths.cpu(), np.int64)
        return Recording(tuple(layers), lengths)


def lengths_of(input: Any, kwargs: Mapping[str, Any]) -> Any:
    """(N,) of the samples of an LSTM's call in the caller's order, None where none are given."""
    import torch
    from torch.nn.utils.rnn import PackedSequence, unpack_sequence

    if isinstance(input, PackedSequence):
        return torch.tensor([len(s) for s in unpack_sequence(input)])
    return kwargs.get("lengths")


def _array(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().float().cpu().numpy()
    return found


def _layer(name: str, call: int, trace: Any) -> LayerRecord:
    arrays = {f: _array(getattr(trace, f)) for f in FIELDS}
    return LayerRecord(name, trace.layer, trace.reverse, call=call, **arrays)


def _cell_layer(name: str, steps: list[Mapping[str, Any]]) -> LayerRecord:
    """The calls of an LSTMCell as the steps of one layer."""
    arrays = {f: np.stack([np.atleast_2d(_array(s[f])) for s in steps]) for f in FIELDS}
    return LayerRecord(name, 0, False, call=0, **arrays)
