"""One node under torch.compile and torch.export; several processes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lstmkit

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "variant": {"peephole": True, "layer_norm": True, "zoneout": 0.1},
    "both-ways": {"coupled_gates": True, "bidirectional": True, "num_layers": 2},
}
NAMES = ["plain", "variant", pytest.param("both-ways", marks=pytest.mark.slow)]
pytestmark = [
    pytest.mark.filterwarnings("ignore:only the reference kernel"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch.*"),
]


class Counting:
    """A compiler backend that keeps the graphs it is given."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        self.graphs.append(graph)
        return graph.forward

    def nodes(self) -> int:
        return sum("lstm_sequence" in str(n.target) for g in self.graphs for n in g.graph.nodes)


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch.compiler.reset()


@pytest.mark.parametrize("name", NAMES)
def test_one_node_a_layer_and_direction_for_every_length(name: str) -> None:
    layer = lstmkit.LSTM(4, 6, **VARIANTS[name]).eval()
    counting = Counting()
    compiled = torch.compile(layer, backend=counting, fullgraph=True, dynamic=True)
    for T in (7, 300, 33):
        x = torch.randn(T, 3, 4)
        torch.testing.assert_close(compiled(x)[0], layer(x)[0])
    assert len(counting.graphs) == 1
    assert counting.nodes() == len(layer.directions())


@pytest.mark.parametrize("name", NAMES)
def test_compiled_training_equals_eager(name: str) -> None:
    layer, x = lstmkit.LSTM(4, 6, **VARIANTS[name]), torch.randn(5, 3, 4)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    gradients = []
    for run in (compiled, layer):
        torch.manual_seed(0)
        output, (h, c) = run(x)
        loss = output.sin().sum() + h.sum() + c.sum()
        gradients.append(torch.autograd.grad(loss, list(layer.parameters())))
    torch.testing.assert_close(*gradients)


def test_compiled_lengths_resets_and_trace() -> None:
    layer, x = lstmkit.LSTM(4, 6, bidirectional=True), torch.randn(5, 3, 4)
    call = {"lengths": torch.tensor([5, 0, 2]), "resets": torch.rand(5, 3) < 0.3}
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    found, expected = compiled(x, trace=True, **call), layer(x, trace=True, **call)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[2][1].cell, expected[2][1].cell)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_inductor(name: str) -> None:
    layer, x = lstmkit.LSTM(4, 6, **VARIANTS[name]), torch.randn(5, 3, 4)
    layer.zoneout = (0.0, 0.0)
    compiled = torch.compile(layer, fullgraph=True)
    a = torch.autograd.grad(compiled(x)[0].sin().sum(), list(layer.parameters()))
    b = torch.autograd.grad(layer(x)[0].sin().sum(), list(layer.parameters()))
    torch.testing.assert_close(a, b)


class Head(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_export_keeps_batch_and_steps_symbolic(name: str) -> None:
    layer = lstmkit.LSTM(4, 6, **VARIANTS[name]).eval()
    dims = {0: torch.export.Dim("T", min=2, max=10_000), 1: torch.export.Dim("B", min=1)}
    program = torch.export.export(Head(layer), (torch.randn(7, 3, 4),), dynamic_shapes={"x": dims})
    nodes = [n for n in program.graph.nodes if "lstm_sequence" in str(n.target)]
    assert len(nodes) == len(layer.directions())
    x = torch.randn(131, 2, 4)
    torch.testing.assert_close(program.module()(x), layer(x)[0])


def _train(rank: int, world: int, port: int, name: str, queue: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    torch.manual_seed(0)
    layer = lstmkit.LSTM(4, 6, **VARIANTS[name])
    layer.zoneout = (0.0, 0.0)
    model = nn.parallel.DistributedDataParallel(Head(layer))
    x = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(1))
    half = x[:, rank * 4 // world : (rank + 1) * 4 // world]
    model(half).pow(2).mean().backward()
    if rank == 0:
        queue.put([p.grad.numpy() for p in layer.parameters()])
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_average_gradients(name: str) -> None:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    found = context.Process(target=_train, args=(0, 2, port, name, queue))
    other = context.Process(target=_train, args=(1, 2, port, name, queue))
    found.start(), other.start()
    gradients = queue.get()
    found.join(), other.join()
    torch.manual_seed(0)
    layer = lstmkit.LSTM(4, 6, **VARIANTS[name])
    layer.zoneout = (0.0, 0.0)
    x = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(1))
    layer(x)[0].pow(2).mean().backward()
    for p, g in zip(layer.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, torch.from_numpy(g))
