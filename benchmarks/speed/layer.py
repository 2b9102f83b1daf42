"""Speed of lstmkit.LSTM beside torch.nn.LSTM, side by side in one run.

    python benchmarks/speed/layer.py [--quick] [--threads 1 2] [--modes dense ...]
                                     [--shapes 100,32,128 ...] [--backends native ...] [--name NAME]

Forward with backward (gradients of the input and of all weights), I = H, float32:

- dense: all samples have T steps;
- inference: forward alone, without gradients; ONNX Runtime beside them where it is installed
  (pip install onnx onnxruntime);
- ragged: lengths drawn evenly from 1 .. T; torch.nn.LSTM takes a PackedSequence, packing and
  padding included, as its users do;
- trace: dense, and all gates are asked for; torch.nn.LSTM, which cannot, runs without;
- resets: 1 step in 100 starts a segment, as episodes do in reinforcement learning; torch.nn.LSTM is
  called on the stretches between steps where any sample is reset, as its users do.

A speed-up above 1 is faster than the peer. `share` is of what multiply-adds alone would allow: the
rate of this CPU in registers, measured in the run, on every thread. `error` is the largest
|a - b| / max(1, |b|) against float64, of outputs and of input gradients. Results are compared
first: no figure on a red gate.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from timing import side_by_side, write
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lstmkit
from lstmkit.engine import NATIVE
from lstmkit.errors import UserError

SHAPES = [
    (100, 1, 64),
    (100, 1, 256),
    (100, 32, 32),
    (100, 32, 64),
    (100, 32, 128),
    (24, 256, 64),
    (100, 64, 256),
    (100, 64, 512),
    (70, 20, 650),
]
RESET_SHAPES = [(128, 16, 128), (128, 64, 256)]
MODES = ("dense", "inference", "ragged", "trace", "resets")
PEER, RUNTIME = "torch.nn.LSTM", "onnxruntime"
TOLERANCE = 1e-4  # float32, two orders of summation over H <= 650

Run = Callable[[Tensor], Tensor]


def lengths_of(T: int, B: int) -> Tensor:
    """Evenly drawn from 1 .. T."""
    return torch.randint(1, T + 1, (B,), generator=torch.Generator().manual_seed(0))


def resets_of(T: int, B: int) -> Tensor:
    return torch.rand(T, B, generator=torch.Generator().manual_seed(0)) < 0.01


# --- who runs -------------------------------------------------------------------------------------


def peer(layer: nn.LSTM, mode: str, T: int, B: int) -> Run:
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


def ours(layer: lstmkit.LSTM, mode: str, T: int, B: int) -> Run:
    if mode == "ragged":
        lengths = lengths_of(T, B)
        return lambda x: layer(x, lengths=lengths)[0]
    if mode == "resets":
        resets = resets_of(T, B)
        return lambda x: layer(x, resets=resets)[0]
    if mode == "trace":
        return lambda x: layer(x, trace=True)[0]
    return lambda x: layer(x)[0]


def onnx_runtime(layer: nn.LSTM, T: int, B: int, threads: int) -> Run | None:
    """The ONNX operator LSTM with the same weights; None where ONNX Runtime is not installed."""
    try:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return None
    H = layer.hidden_size

    def iofc(w: Tensor) -> Any:  # ONNX orders the gates i o f c
        i, f, g, o = w.detach().chunk(4)
        return torch.cat([i, o, f, g])[None].numpy()

    bias = torch.from_numpy(iofc(layer.bias_ih_l0)), torch.from_numpy(iofc(layer.bias_hh_l0))
    weights = {
        "W": iofc(layer.weight_ih_l0),
        "R": iofc(layer.weight_hh_l0),
        "b": torch.cat(bias, 1).numpy(),
    }
    node = helper.make_node("LSTM", ["x", "W", "R", "b"], ["y"], hidden_size=H)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "lstm",
        [value("x", TensorProto.FLOAT, [T, B, H])],
        [value("y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: torch.from_numpy(session.run(None, {"x": x.detach().numpy()})[0][:, 0])


def competitors(mode: str, shape: tuple[int, int, int], backends: list[str]) -> dict[str, Run]:
    """The peer and every backend that runs this mode, with the same weights."""
    T, B, H = shape
    torch.manual_seed(0)
    base = nn.LSTM(H, H)
    found = {PEER: peer(base, mode, T, B)}
    for name in backends:
        layer = lstmkit.LSTM(H, H, backend=name)
        layer.load_state_dict(base.state_dict())
        run = ours(layer, mode, T, B)
        try:
            run(torch.zeros(T, B, H))
        except UserError:
            continue
        found[name] = run
    if mode == "inference" and (run := onnx_runtime(base, T, B, torch.get_num_threads())):
        found[RUNTIME] = run
    return found


# --- errors and times -----------------------------------------------------------------------------


def errors(runs: dict[str, Run], mode: str, x: Tensor) -> dict[str, float]:
    """Of outputs and input gradients, against float64. Raises where one is not small."""
    T, B, H = x.shape
    torch.manual_seed(0)
    base = nn.LSTM(H, H).double()
    expected = _results(peer(base, mode, T, B), x.double(), mode)
    found = {}
    for name, run in runs.items():
        pairs = zip(_results(run, x, mode), expected, strict=True)
        found[name] = max(_error(a, b) for a, b in pairs)
        assert found[name] < TOLERANCE, f"{name} is {found[name]:.1e} away from float64"
    return found


def _error(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b).abs() / b.abs().clamp(min=1)).max().item()


def _results(run: Run, x: Tensor, mode: str) -> list[Tensor]:
    if mode == "inference":
        with torch.no_grad():
            return [run(x)]
    x = x.clone().requires_grad_()
    y = run(x)
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    return [y.detach(), x.grad]


def call_of(run: Run, x: Tensor, mode: str) -> Callable[[], None]:
    if mode == "inference":

        def infer() -> None:
            with torch.no_grad():
                run(x)

        return infer
    x = x.clone().requires_grad_()
    ones = torch.ones(x.shape)

    def train() -> None:
        run(x).backward(ones)

    return train


def peak() -> float:
    """Multiply-adds a second in registers, one thread, in operations."""
    best = 0.0
    for _ in range(10):
        start = time.perf_counter()
        best = max(best, NATIVE.peak_f32(500_000) / (time.perf_counter() - start))
    return best


def measure(
    mode: str, shape: tuple[int, int, int], backends: list[str], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    T, B, H = shape
    threads = torch.get_num_threads()
    x = torch.randn(T, B, H, generator=torch.Generator().manual_seed(1))
    runs = competitors(mode, shape, backends)
    wrong = errors(runs, mode, x)
    timed = side_by_side({n: call_of(r, x, mode) for n, r in runs.items()}, PEER, rounds, seconds)
    valid = int(lengths_of(T, B).sum()) if mode == "ragged" else T * B
    operations = (1 if mode == "inference" else 3) * 2 * valid * 4 * H * 2 * H
    limit = operations / (peak() * threads)
    rows = []
    for name, t in timed.items():
        figures = {
            "ms": t["ms"],
            "speed_up": 1 / t["ratio"],
            "speed_up_low": 1 / t["ratio_max"],
            "speed_up_high": 1 / t["ratio_min"],
            "limit_ms": limit * 1e3,
            "share": limit * 1e3 / t["ms"],
            "us_per_valid_step": t["ms"] * 1e3 / valid,
        }
        row = {"mode": mode, "threads": threads, "T": T, "B": B, "H": H, "layer": name}
        row |= {k: float(f"{v:.4g}") for k, v in figures.items()}
        rows.append(row | {"error": float(f"{wrong[name]:.2g}")})
    return rows


# --- the command ----------------------------------------------------------------------------------


def show(rows: list[dict[str, Any]]) -> None:
    for r in rows:
        shape = f"({r['T']}, {r['B']}, {r['H']})"
        what = f"{r['mode']:<9} {r['threads']} thr {shape:<15} {r['layer']:<13}"
        speed = f"{r['speed_up']:5.2f} x [{r['speed_up_low']:.2f}, {r['speed_up_high']:.2f}]"
        share = f"{100 * r['share']:3.0f} % of {r['limit_ms']:.2f} ms"
        print(f"{what} {r['ms']:9.3f} ms  {speed:<21} {share:<20} error {r['error']:.0e}")


def summary(rows: list[dict[str, Any]]) -> None:
    """What ragged batches and traces cost beside the same backend's own dense time."""
    dense = {key(r): r for r in rows if r["mode"] == "dense"}
    for r in rows:
        if r["mode"] in ("ragged", "trace") and r["layer"] != PEER and key(r) in dense:
            ratio = r["us_per_valid_step"] / dense[key(r)]["us_per_valid_step"]
            shape = f"({r['T']}, {r['B']}, {r['H']})"
            what = f"{r['mode']:<9} {r['threads']} thr {shape:<15} {r['layer']:<13}"
            print(f"{what} {ratio:.2f} of its dense time a valid step")


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[k] for k in ("threads", "T", "B", "H", "layer"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds, nothing is written")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--shapes", nargs="*", help="T,B,H ...")
    parser.add_argument("--modes", nargs="*", default=MODES, choices=MODES)
    parser.add_argument("--backends", nargs="*", default=["native"])
    parser.add_argument("--name", default="layer", help="of the file under benchmarks/results")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rounds, seconds = (3, 0.05) if options.quick else (7, 0.15)
    rows: list[dict[str, Any]] = []
    for mode in options.modes:
        shapes = RESET_SHAPES if mode == "resets" else SHAPES
        if options.shapes:
            shapes = [tuple(map(int, text.split(","))) for text in options.shapes]  # type: ignore[misc]
        for shape in shapes:
            for threads in options.threads:
                torch.set_num_threads(threads)
                found = measure(mode, shape, options.backends, rounds, seconds)
                show(found)
                rows += found
    summary(rows)
    if not options.quick:
        print(f"written to {write(options.name, rows)}")


if __name__ == "__main__":
    main()
