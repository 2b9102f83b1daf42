"""Language models: training and generation beside PyTorch's usual way and ONNX Runtime.

    python benchmarks/speed/language.py training
    OMP_NUM_THREADS=1 python benchmarks/speed/language.py generation

Training: tokens a second of whole steps (forward, loss, backward, clipping, optimizer) on random
text, against pytorch/examples' word_language_model as it is written: nn.LSTM, a decoder over all
symbols, log_softmax and NLLLoss, clip_grad_norm_, `p.data.add_(p.grad, alpha=-lr)`. Both learn by
plain SGD with the same sizes, dropout 0.2 at the same places, tied. `float32` is ours with all
products in float32, `auto` what training uses: the products with the vocabulary in bfloat16 where
the CPU has instructions for it.

Generation: tokens a second on one core, each token drawn from the whole distribution at temperature
1. PyTorch: Embedding, nn.LSTM over one step, Linear, softmax, multinomial, item(), under
inference_mode. ONNX Runtime: our own exported step with numpy's softmax and choice. `float32` is
what `LanguageModel.generate` does in one call; `one by one` a call a token, as text is streamed;
int8 has matrices of 8 bits. All competitors are warmed up and take turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from timing import side_by_side, write
from torch import Tensor, nn

from lstmkit import runtime
from lstmkit.lowprecision import lower
from lstmkit.runtime.generation import Generator, Sampling
from lstmkit.tasks.language.data import Batch, Carried
from lstmkit.tasks.language.learning import Course
from lstmkit.tasks.language.program import language_model
from lstmkit.tasks.language.shape import Recipe, Shape

# symbols, cells of each of two layers, batch, steps back
TRAINING = {
    "words 2x200": (10_000, 200, 20, 35),
    "words 2x650": (10_000, 650, 20, 35),
    "characters 2x512": (65, 512, 50, 100),
}
# symbols, layers, cells
GENERATION = {
    "characters 1x128": (65, 1, 128),
    "characters 2x128": (65, 2, 128),
    "characters 2x256": (65, 2, 256),
    "characters 2x512": (65, 2, 512),
    "words 2x200": (10_000, 2, 200),
}
DROPOUT, RATE, CLIP = 0.2, 1.0, 0.25
DRAWN = 50  # tokens a call


class Usual(nn.Module):
    """pytorch/examples' RNNModel, of LSTMs, tied."""

    def __init__(self, symbols: int, width: int) -> None:
        super().__init__()
        self.drop, self.encoder = nn.Dropout(DROPOUT), nn.Embedding(symbols, width)
        self.rnn = nn.LSTM(width, width, 2, dropout=DROPOUT)
        self.decoder = nn.Linear(width, symbols)
        self.decoder.weight = self.encoder.weight

    def forward(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Log-probabilities (T * B, V)."""
        out, state = self.rnn(self.drop(self.encoder(tokens)), state)
        decoded = self.decoder(self.drop(out)).flatten(0, 1)
        return nn.functional.log_softmax(decoded, dim=1), state


def usual_step(symbols: int, width: int, batch: Batch) -> Callable[[], None]:
    """A step as pytorch/examples' main.py does it."""
    model, criterion = Usual(symbols, width), nn.NLLLoss()
    state: Any = tuple(torch.zeros(2, batch.tokens.shape[1], width) for _ in "hc")

    def step() -> None:
        nonlocal state
        model.zero_grad()
        state = tuple(s.detach() for s in state)
        output, state = model(batch.tokens, state)
        criterion(output, batch.targets.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-RATE)

    return step


def our_step(symbols: int, width: int, batch: Batch, half: bool | None) -> Callable[[], None]:
    """A step of ours, without the loop around it."""
    dropout = dict.fromkeys(("dropout_input", "dropout_between", "dropout_output"), DROPOUT)
    course = Course(Shape(symbols, width, (width, width)), Recipe(**dropout), 0, half)
    network = course.network().train()
    carried = Carried(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        course.loss(network, batch, carried).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()

    return step


def training() -> dict[str, Any]:
    """Of each size."""
    found = {}
    for name, (symbols, width, streams, steps) in TRAINING.items():
        tokens = torch.randint(symbols, (steps + 1, streams))
        batch = Batch(tokens[:-1], tokens[1:], False, 1.0)
        competitors = {
            "pytorch, the usual way": usual_step(symbols, width, batch),
            "lstmkit, float32": our_step(symbols, width, batch, False),
            "lstmkit, auto": our_step(symbols, width, batch, None),
        }
        found[name] = told(competitors, steps * streams, name)
    return found


def weights_of(course: Course) -> dict[str, np.ndarray]:
    """A network's numbers, three times larger, so that not all symbols are as likely."""
    state = course.network().state_dict()
    return {k: 3 * v.numpy().copy() for k, v in state.items()}


def torch_loop(shape: Shape, weights: dict[str, np.ndarray]) -> Callable[[], None]:
    """Drawing with PyTorch, a token at a time."""
    H, layers = shape.hidden[0], len(shape.hidden)
    embedding = nn.Embedding(shape.symbols, H)
    lstm, linear = nn.LSTM(H, H, layers), nn.Linear(H, shape.symbols)
    with torch.no_grad():
        embedding.weight.copy_(torch.from_numpy(weights["embedding.weight"]))
        linear.weight.copy_(embedding.weight)
        linear.bias.copy_(torch.from_numpy(weights["softmax.bias"]))
        for name, p in lstm.named_parameters():
            layer = name.rsplit("_l", 1)[1]
            own = name.removesuffix(layer) + "0"
            p.copy_(torch.from_numpy(weights[f"layers.{layer}.{own}"]))
    state: Any = tuple(torch.zeros(layers, 1, H) for _ in "hc")
    token = torch.zeros(1, 1, dtype=torch.long)

    @torch.inference_mode()
    def run() -> None:
        nonlocal state, token
        for _ in range(DRAWN):
            out, state = lstm(embedding(token), state)
            chances = linear(out[0, 0]).softmax(0)
            number = torch.multinomial(chances, 1).item()
            token = torch.tensor([[number]])

    return run


def onnx_loop(program: Any) -> Callable[[], None]:
    """Drawing with ONNX Runtime, softmax and choice by numpy."""
    import onnxruntime

    from lstmkit.export.onnx import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = to_onnx(program, "step").SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    state = {k: v.astype(np.float32) for k, v in program.initial_state(1).items()}
    rng, token = np.random.default_rng(0), 0

    def run() -> None:
        nonlocal token
        for _ in range(DRAWN):
            given = {"token": np.array([token], np.int64), **state}
            outputs = dict(zip(names, session.run(names, given), strict=True))
            for slot in state:
                state[slot] = outputs[f"{slot}_out"]
            logits = outputs["logits"][0]
            weights = np.exp(logits - logits.max())
            reached = weights.cumsum()
            token = int(reached.searchsorted(rng.random() * reached[-1]))

    return run


def our_loop(program: Any, one_by_one: bool = False) -> Callable[[], Any]:
    """Drawing with ours."""
    generator = Generator(runtime.load(program).session("step"), 0, Sampling(), 1)
    if one_by_one:
        return lambda: [generator.draw(1) for _ in range(DRAWN)]
    return lambda: generator.draw(DRAWN)


def generation() -> dict[str, Any]:
    """Of each size."""
    torch.set_num_threads(1)
    found = {}
    for name, (symbols, layers, width) in GENERATION.items():
        shape = Shape(symbols, width, (width,) * layers)
        course = Course(shape, Recipe(), 0)
        weights = weights_of(course)
        program = language_model(shape, weights, course.network().layers[0].options())  # type: ignore[operator]
        competitors = {
            "pytorch": torch_loop(shape, weights),
            "onnxruntime": onnx_loop(program),
            "lstmkit, float32": our_loop(program),
            "lstmkit, one by one": our_loop(program, one_by_one=True),
            "lstmkit, int8": our_loop(lower(program, "int8")),
        }
        found[name] = told(competitors, DRAWN, name)
    return found


def told(competitors: dict[str, Callable[[], Any]], tokens: int, name: str) -> dict[str, Any]:
    """Tokens a second, and how many times the peer's, with the lowest and highest round."""
    peer = next(iter(competitors))
    rows = {}
    for who, times in side_by_side(competitors, peer, rounds=9, seconds=0.5).items():
        rows[who] = {
            "tokens_a_second": round(tokens / times["ms"] * 1e3),
            "times_the_peer": round(1 / times["ratio"], 2),
            "lowest": round(1 / times["ratio_max"], 2),
            "highest": round(1 / times["ratio_min"], 2),
        }
        r = rows[who]
        print(
            f"{name:18} {who:24} {r['tokens_a_second']:>9,} tokens/s {r['times_the_peer']:6.2f}x",
            flush=True,
        )
    return rows


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"training": training, "generation": generation}


def parts() -> Iterator[tuple[str, dict[str, Any]]]:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    asked = parser.parse_args()
    torch.manual_seed(0)
    yield asked.part, PARTS[asked.part]()


if __name__ == "__main__":
    for part, found in parts():
        write(f"language_{part}", found)
