"""How a stack of layers runs: one call of a whole stack where a backend takes it, else layer by
layer, direction by direction, with what stands between layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from lstmkit.equations import philox
from lstmkit.kernels.contract import Arguments, CellOptions, Result, StackOptions
from lstmkit.kernels.masks import dropout_mask
from lstmkit.kernels.operators import sequence, steered, transformed
from lstmkit.kernels.packing import pack, unpack
from lstmkit.kernels.recover import recover
from lstmkit.kernels.stack import run_stack
from lstmkit.layers.trace import LayerTrace

if TYPE_CHECKING:
    from lstmkit.layers.lstm import LSTM

Hidden = tuple[Tensor, Tensor]


@dataclass
class Call:
    """One forward call, time first: x (T, B, I), or packed data (N, I) with batch_sizes, then the
    states and sample ids are in sorted order."""

    x: Tensor
    hx: Hidden
    lengths: Tensor | None
    resets: Tensor | None
    batch_sizes: Tensor | None = None
    sample_ids: Tensor | None = None
    packed: bool = False  # padded here from packed data
    order: Tensor | None = None  # of packed samples: sorted position -> the callers' place
    seed: Tensor | None = None
    trace: bool = False
    backend: str = "reference"


def run(layer: LSTM, call: Call) -> tuple[Tensor, Hidden, list[LayerTrace]]:
    """Output in the layout of `call.x`, final states (L*D, B, .), traces if asked for."""
    call.seed = _seed(layer)
    if _whole_stack(layer, call):
        output, h, c = run_stack(call.x, call.batch_sizes, call.hx, *_stacked(layer, call))
        return output, (h, c), []
    if call.batch_sizes is None:
        return _layers(layer, call)
    return _packed(layer, call)


def _seed(layer: LSTM) -> Tensor | None:
    """One int64 a call, drawn only if some mask is."""
    rates = [*layer.zoneout, layer.weight_drop, layer.recurrent_dropout]
    rates += layer.variational_dropout or ()
    if layer.generator is not None and layer.num_layers > 1:
        rates.append(layer.dropout)
    if not layer.training or not any(rates):
        return None
    device = "cpu" if layer.generator is None else layer.generator.device
    return torch.randint(-(2**63), 2**63 - 1, (), generator=layer.generator, device=device)


def _eager() -> bool:
    """False where a graph is captured or functorch transforms: there all goes by the operator."""
    return not torch.compiler.is_compiling() and not transformed()


def _whole_stack(layer: LSTM, call: Call) -> bool:
    between = layer.training and layer.num_layers > 1 and layer.dropout > 0
    varied = layer.training and layer.variational_dropout is not None
    plain = not (between or varied or call.trace or (layer.residual and layer.num_layers > 1))
    plain = plain and layer.steer is None
    return call.backend == "vendor" and _eager() and plain and call.lengths is None


def _stacked(layer: LSTM, call: Call) -> tuple[list[Tensor], StackOptions]:
    weights = [w for k in layer.directions() for w in _weights(layer, call, *k).values()]
    return weights, StackOptions(
        layer.num_layers, layer.bidirectional, layer.bias, layer.proj_size > 0, layer.training
    )


def _packed(layer: LSTM, call: Call) -> tuple[Tensor, Hidden, list[LayerTrace]]:
    """A PackedSequence through padded layers; traces come in the callers' order of samples."""
    assert call.batch_sizes is not None
    sizes = call.batch_sizes
    x, lengths = torch._VF._pad_packed_sequence(call.x, sizes, False, 0.0, sizes.numel())
    padded = Call(x, call.hx, lengths.to(x.device), None, packed=True, sample_ids=call.sample_ids)
    padded.seed, padded.trace, padded.backend = call.seed, call.trace, call.backend
    output, hidden, traces = _layers(layer, padded)
    data, _ = torch._VF._pack_padded_sequence(output, lengths, False)
    if call.order is not None:
        back = call.order.argsort()
        traces = [t.reordered(back) for t in traces]
    return data, hidden, traces


def _layers(layer: LSTM, call: Call) -> tuple[Tensor, Hidden, list[LayerTrace]]:
    x = _variational(layer, call, call.x, 0, 0)
    finals: list[Hidden] = []
    traces: list[LayerTrace] = []
    for k in range(layer.num_layers):
        results = _one_layer(layer, call, x, k)
        output = torch.cat([r.output for r in results], -1) if len(results) > 1 else results[0][0]
        finals += [(r.h_n, r.c_n) for r in results]
        if call.trace:
            traces += [LayerTrace.of(k, bool(d), r) for d, r in enumerate(results)]
        if layer.residual and k > 0:
            output = output + x
        x = output if k == layer.num_layers - 1 else _between(layer, call, output, k)
    x = _variational(layer, call, x, 2, layer.num_layers - 1)
    if len(finals) == 1:
        h, c = finals[0]
        return x, (h.unsqueeze(0), c.unsqueeze(0)), traces
    h, c = (torch.stack(states) for states in zip(*finals, strict=True))
    return x, (h, c), traces


def _one_layer(layer: LSTM, call: Call, x: Tensor, k: int) -> list[Result]:
    """The results of each direction of layer k."""
    ways = (False, True) if layer.bidirectional else (False,)
    arguments = [_arguments(layer, call, x, k, reverse) for reverse in ways]
    if layer.steer is not None:
        steer = layer.steer
        return [
            steered(a, _options(layer, k, reverse), steer)
            for a, reverse in zip(arguments, ways, strict=True)
        ]
    if call.backend == "vendor" and _eager():
        return _vendor_layer(layer, call, arguments)
    grads = torch.is_grad_enabled() and not layer.recompute
    keep = call.trace or (grads and any(t is not None and t.requires_grad for t in arguments[0]))
    return [
        sequence(a, _options(layer, k, reverse), keep=keep, backend=call.backend, trace=call.trace)
        for a, reverse in zip(arguments, ways, strict=True)
    ]


def _vendor_layer(layer: LSTM, call: Call, arguments: list[Arguments]) -> list[Result]:
    """One layer through PyTorch with its own autograd; gates recovered where asked for."""
    a = arguments[0]
    hx = torch.stack([b.h0 for b in arguments]), torch.stack([b.c0 for b in arguments])
    weights = [w for b in arguments for w in b[3:8] if w is not None]
    o = StackOptions(1, layer.bidirectional, layer.bias, layer.proj_size > 0, layer.training)
    if a.lengths is None:
        output, h, c = run_stack(a.input, None, hx, weights, o)
    else:
        p = pack(a.input, hx, a.lengths)
        data, h, c = run_stack(p.data, p.batch_sizes, p.hx, weights, o)
        output, (h, c) = unpack(data, (h, c), p, hx, a.input.shape[0])
    results = []
    for d, (b, y) in enumerate(zip(arguments, output.chunk(len(arguments), -1), strict=True)):
        empty = y.new_empty(0)
        gates, cell = recover(b.to(y.dtype), y, bool(d)) if call.trace else (empty, empty)
        results.append(Result(y, h[d], c[d], gates, cell))
    return results


def _arguments(layer: LSTM, call: Call, x: Tensor, k: int, reverse: bool) -> Arguments:
    place = k * (1 + layer.bidirectional) + reverse
    h0, c0 = call.hx[0][place], call.hx[1][place]
    return Arguments(
        x,
        h0,
        c0,
        **_weights(layer, call, k, reverse),
        lengths=call.lengths,
        resets=call.resets,
        seed=call.seed,
        sample_ids=call.sample_ids if call.seed is not None else None,
    )


def _options(layer: LSTM, k: int, reverse: bool) -> CellOptions:
    keep_h, keep_c = layer.zoneout
    return CellOptions(
        reverse=reverse,
        coupled=layer.coupled_gates,
        recurrent_dropout=layer.recurrent_dropout,
        zoneout_h=keep_h,
        zoneout_c=keep_c,
        training=layer.training,
        layer=k,
    )


# --- what stands around the recurrence ------------------------------------------------------------


def _weights(layer: LSTM, call: Call, k: int, reverse: bool) -> dict[str, Tensor]:
    weights = layer.weights_of(k, reverse)
    if layer.training and layer.weight_drop:
        assert call.seed is not None
        w = weights["weight_hh"]
        rows = torch.arange(w.shape[0], device=w.device)
        mask = dropout_mask(
            layer.weight_drop, call.seed, philox.WEIGHT_DROP, k, reverse, rows, w.shape[1], w.dtype
        )
        weights["weight_hh"] = w * mask[0]
    return weights


def _between(layer: LSTM, call: Call, x: Tensor, k: int) -> Tensor:
    """Dropout after layer k: one mask a sequence, or a fresh one a step."""
    if layer.generator is None or not layer.dropout:
        x = _plain_dropout(layer, call, x)
    elif layer.training:
        x = x * _mask(call, layer.dropout, philox.DROPOUT, k, x, x.shape[0])
    return _variational(layer, call, x, 1, k)


def _plain_dropout(layer: LSTM, call: Call, x: Tensor) -> Tensor:
    """torch.nn.LSTM's own draw, which goes over packed data where that was given."""
    if not (call.packed and layer.training and layer.dropout):
        return functional.dropout(x, layer.dropout, layer.training)
    assert call.lengths is not None
    data, sizes = torch._VF._pack_padded_sequence(x, call.lengths.cpu(), False)
    data = functional.dropout(data, layer.dropout)
    padded: Tensor = torch._VF._pad_packed_sequence(data, sizes, False, 0.0, x.shape[0])[0]
    return padded


def _variational(layer: LSTM, call: Call, x: Tensor, which: int, k: int) -> Tensor:
    if not layer.training or layer.variational_dropout is None:
        return x
    p = layer.variational_dropout[which]
    purpose = (philox.INPUT, philox.BETWEEN, philox.OUTPUT)[which]
    return x if p == 0.0 else x * _mask(call, p, purpose, k, x, 1)


def _mask(call: Call, p: float, purpose: int, k: int, x: Tensor, steps: int) -> Tensor:
    assert call.seed is not None
    samples = call.sample_ids
    if samples is None:
        samples = torch.arange(x.shape[1], device=x.device)
    return dropout_mask(p, call.seed, purpose, k, False, samples, x.shape[-1], x.dtype, steps)
