"""Speed of lstmkit.LSTM, every backend, beside torch.nn.LSTM in the same run.

    python benchmarks/speed/layer.py [--quick] [--threads N] [--shapes 100,32,128 ...]

Forward alone, and forward with backward (gradients of the input and of all weights), with I = H:

- dense: all samples have T steps;
- ragged: lengths spread evenly over T/4 .. T; torch.nn.LSTM takes a PackedSequence, packing and
  padding included, as its users do;
- resets: 1 step in 50 starts a segment; torch.nn.LSTM is called on the stretches between steps
  where any sample is reset, as its users do;
- trace: dense, and all gates are asked for; torch.nn.LSTM, which cannot, runs without.

A ratio below 1 is faster than torch.nn.LSTM. Results are compared first: no figure on a red gate.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import torch
from timing import side_by_side, write
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lstmkit
from lstmkit.errors import UserError
from lstmkit.kernels import registry

SHAPES = [
    (1, 1, 64),
    (100, 1, 64),
    (100, 1, 256),
    (100, 32, 32),
    (100, 32, 64),
    (100, 32, 128),
    (100, 64, 256),
    (100, 64, 512),
    (70, 20, 650),
    (24, 256, 64),
]
MODES = ("dense", "ragged", "resets", "trace")
PEER = "torch.nn.LSTM"
TOLERANCE = 1e-4  # float32, two orders of summation over H <= 650


def lengths_of(T: int, B: int) -> Tensor:
    return torch.linspace(max(1, T // 4), T, B).round().long()


def resets_of(T: int, B: int) -> Tensor:
    return torch.rand(T, B, generator=torch.Generator().manual_seed(0)) < 0.02


def peer(layer: nn.LSTM, mode: str, T: int, B: int) -> Callable[[Tensor], Tensor]:
    if mode == "ragged":
        lengths = lengths_of(T, B)
        return lambda x: _packed(layer, x, lengths)
    if mode == "resets":
        resets = resets_of(T, B)
        return lambda x: _stretches(layer, x, resets)
    return lambda x: layer(x)[0]


def _packed(layer: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    return pad_packed_sequence(layer(packed)[0], total_length=x.shape[0])[0]


def _stretches(layer: nn.LSTM, x: Tensor, resets: Tensor) -> Tensor:
    starts = sorted({0, *resets.any(1).nonzero().flatten().tolist()})
    outputs, hx = [], None
    for start, end in zip(starts, [*starts[1:], x.shape[0]], strict=True):
        if hx is not None:
            keep = ~resets[start][None, :, None]
            hx = hx[0] * keep, hx[1] * keep
        output, hx = layer(x[start:end], hx)
        outputs.append(output)
    return torch.cat(outputs)


def ours(layer: lstmkit.LSTM, mode: str, T: int, B: int) -> Callable[[Tensor], Tensor]:
    if mode == "ragged":
        lengths = lengths_of(T, B)
        return lambda x: layer(x, lengths=lengths)[0]
    if mode == "resets":
        resets = resets_of(T, B)
        return lambda x: layer(x, resets=resets)[0]
    if mode == "trace":
        return lambda x: layer(x, trace=True)[0]
    return lambda x: layer(x)[0]


def competitors(mode: str, T: int, B: int, H: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """The peer and every backend that runs this mode, with the same weights."""
    torch.manual_seed(0)
    base = nn.LSTM(H, H)
    found = {PEER: peer(base, mode, T, B)}
    for name in registry.backends():
        layer = lstmkit.LSTM(H, H, backend=name)
        layer.load_state_dict(base.state_dict())
        run = ours(layer, mode, T, B)
        try:
            run(torch.zeros(T, B, H))
        except UserError:
            continue
        found[name] = run
    return found


def check(runs: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> None:
    """Outputs and input gradients agree, or nothing is timed."""
    expected = _with_gradient(runs[PEER], x)
    for name, run in runs.items():
        for a, b in zip(_with_gradient(run, x), expected, strict=True):
            error = ((a - b).abs() / b.abs().clamp(min=1)).max().item()
            assert error < TOLERANCE, f"{name} differs from {PEER} by {error:.1e}"


def _with_gradient(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = run(x)
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    return y.detach(), x.grad


def forward(run: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    def call() -> None:
        with torch.no_grad():
            run(x)

    return call


def forward_backward(run: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    x = x.clone().requires_grad_()

    def call() -> None:
        y = run(x)
        y.backward(torch.ones_like(y))

    return call


def measure(mode: str, shape: tuple[int, int, int], rounds: int, seconds: float) -> list[dict]:
    T, B, H = shape
    x = torch.randn(T, B, H, generator=torch.Generator().manual_seed(1))
    runs = competitors(mode, T, B, H)
    check(runs, x)
    rows = []
    for work, make in (("forward", forward), ("forward+backward", forward_backward)):
        calls = {name: make(run, x) for name, run in runs.items()}
        timed = side_by_side(calls, PEER, rounds, seconds)
        for name, figures in timed.items():
            row = {"mode": mode, "T": T, "B": B, "H": H, "work": work, "layer": name}
            rows.append(row | {k: round(v, 4) for k, v in figures.items()})
    return rows


def show(rows: list[dict]) -> None:
    for r in rows:
        if r["layer"] != PEER:
            shape = f"({r['T']}, {r['B']}, {r['H']})"
            spread = f"{r['ratio']:6.2f} [{r['ratio_min']:.2f}, {r['ratio_max']:.2f}]"
            what = f"{r['mode']:<7} {shape:<15} {r['work']:<17} {r['layer']:<10}"
            print(f"{what} {r['ms']:9.3f} ms  x {spread}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds, nothing is written")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--shapes", nargs="*", help="T,B,H ...")
    parser.add_argument("--modes", nargs="*", default=MODES, choices=MODES)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.threads:
        torch.set_num_threads(options.threads)
    given = options.shapes or [",".join(map(str, s)) for s in SHAPES]
    rows = []
    for mode in options.modes:
        for text in given:
            T, B, H = map(int, text.split(","))
            rounds, seconds = (3, 0.05) if options.quick else (7, 0.15)
            found = measure(mode, (T, B, H), rounds, seconds)
            show(found)
            rows += found
    if not options.quick:
        print(f"written to {write('layer', rows)}")


if __name__ == "__main__":
    main()
