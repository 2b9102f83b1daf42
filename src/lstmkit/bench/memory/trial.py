"""One network learns one task: from fresh sequences, until the criterion holds or time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.bench.memory.networks import Network
from lstmkit.bench.memory.problems import Batch, Copy, Problem
from lstmkit.bench.memory.rules import Criterion, Rule
from lstmkit.bench.memory.tasks import Task

CHUNK = 256  # sequences tested at once
LEARNT = 0.5  # of the baseline
BETAS = (0.9, 0.99)  # the second of Adam's usual 0.999 remembers large early gradients too long
Draw = Callable[[int], Batch]
Watch = Callable[[int, float], None]


def run(
    task: Task,
    model: str,
    seed: int,
    *,
    most: int | None = None,
    minutes: float = math.inf,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """One row of the results; the same arguments give the same row but for its seconds.

    Args:
        most: give up after so many sequences; after the paper's if left out.
        minutes: give up after so long.
        watch: called with the sequences seen and their mean error, once a thousand.
    """
    begun = time.perf_counter()
    torch.manual_seed(seed)
    trial = Trial.begin(task, model, seed)
    most = task.most if most is None else most
    stopped = trial.learn(most, begun + 60 * minutes, watch)
    learnt = time.perf_counter() - begun
    tested = trial.test()
    rule = task.criterion.test
    in_time = trial.seen <= (task.paper or most)
    return {
        "task": task.name,
        "model": model,
        "seed": seed,
        "weights": trial.network.weights,
        "sequences": trial.seen,
        "stopped": stopped,
        "solved": bool(stopped and in_time and rule.holds(tested)),
        "test_wrong": rule.count(tested),
        "test_of": rule.of,
        "test_error": float(np.mean(tested)),
        "paper_sequences": task.paper,
        "lag": trial.problem.lag,
        "seconds": round(learnt, 1),
        "threads": torch.get_num_threads(),
    }


@dataclass
class Trial:
    """A network on its way."""

    task: Task
    network: Network
    optimiser: torch.optim.Optimizer
    problem: Problem
    training: Draw
    check: Draw
    fresh: Draw
    random: np.random.Generator
    seen: int = 0
    since: int = 0  # sequences since the lag of training grew

    @classmethod
    def begin(cls, task: Task, model: str, seed: int) -> Trial:
        """Weights, optimiser, and three independent streams of sequences."""
        network = Network(task.problem, model, task.recipe)
        optimiser = torch.optim.AdamW(
            network.groups(task.recipe), betas=BETAS, eps=task.recipe.eps, weight_decay=0.0
        )
        randoms = np.random.default_rng(seed).spawn(3)
        draws = [stream(task.problem, random, task.strings) for random in randoms]
        trial = cls(
            task, network, optimiser, task.problem, draws[0], draws[1], draws[2], randoms[0]
        )
        if task.first:
            trial.lengthen(task.first)
        return trial

    def learn(self, most: int, until: float, watch: Watch | None = None) -> bool:
        """Whether the criterion held before `most` sequences and the time `until`."""
        criterion, batch = self.task.criterion, self.task.recipe.batch
        errors, reported, checked = np.zeros(0), 0, 0
        while self.seen + batch <= most and time.perf_counter() < until:
            errors = np.concatenate([errors, self.step()])[-max(2000, criterion.stop.of) :]
            self.grow(errors)
            if watch is not None and self.seen // 1000 > reported:
                reported = self.seen // 1000
                watch(self.seen, float(errors[-1000:].mean()))
            if criterion.where == "training":
                if criterion.stop.holds(errors):
                    if self.confirmed(criterion.test):
                        return True
                    errors = np.zeros(0)
            elif self.seen - checked >= criterion.every:
                checked = self.seen
                if self.passes(criterion) and self.confirmed(criterion.test):
                    return True
        return False

    def confirmed(self, test: Rule) -> bool:
        """Whether fresh sequences outside the test satisfy half of what it allows: the papers'
        rules can hold by luck, the sooner the faster a network learns."""
        half = replace(test, wrong=test.wrong // 2)
        return half.holds(self.measure(self.check, half))

    def step(self) -> np.ndarray:
        """(N,) errors on one batch, as they were before the weights learnt from it."""
        batch, recipe = self.training(self.task.recipe.batch), self.task.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = group["times"] * recipe.rate_after(self.seen)
        output = self.network(tensor(batch.x), tensor(batch.at))
        self.optimiser.zero_grad()
        loss(self.problem, output, tensor(batch.target)).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimiser.step()
        self.seen += len(batch)
        return self.problem.errors(answer(self.problem, output), batch)

    def grow(self, errors: np.ndarray) -> None:
        """Where copy memory has learnt its present T, training goes on at half as much again."""
        last, problem = errors[-20 * self.task.recipe.batch :], self.problem
        self.since += self.task.recipe.batch
        if not isinstance(problem, Copy) or problem.lag >= self.task.problem.lag:
            return
        if self.since >= 20 * self.task.recipe.batch and last.mean() < LEARNT * problem.baseline:
            self.lengthen(min(self.task.problem.lag, int(1.5 * problem.lag) + 1))

    def lengthen(self, lag: int) -> None:
        """Training sequences of another lag from now on; never those of checks and tests."""
        self.problem, self.since = replace(self.task.problem, lag=lag), 0
        self.training = stream(self.problem, self.random, 0)

    def passes(self, criterion: Criterion) -> bool:
        """Whether the stopping rule holds for sequences outside training."""
        if criterion.where == "fresh":
            return criterion.stop.holds(self.measure(self.check, criterion.stop))
        sets = (self.training, self.check)
        return all(criterion.stop.holds(self.measure(d, criterion.stop)) for d in sets)

    def test(self) -> np.ndarray:
        """(N,) errors on sequences that neither learning nor stopping has seen."""
        rule = self.task.criterion.test
        return self.measure(self.fresh, Rule(rule.of, wrong=rule.of))

    @torch.no_grad()
    def measure(self, draw: Draw, rule: Rule) -> np.ndarray:
        """(N,) errors on `rule.of` sequences, or on fewer where already too many are wrong."""
        found = np.zeros(0)
        for n in chunks(rule.of):
            batch = draw(n)
            output = self.network(tensor(batch.x), tensor(batch.at))
            errors = self.task.problem.errors(answer(self.task.problem, output), batch)
            found = np.concatenate([found, errors])
            if rule.count(found) > rule.wrong:
                break
        return found


def stream(problem: Problem, random: np.random.Generator, strings: int) -> Draw:
    """Fresh sequences for ever, or again and again some of `strings` that are drawn once."""
    if not strings:
        return lambda n: problem.draw(random, n)
    corpus = problem.draw(random, strings)

    def again(n: int) -> Batch:
        index = np.arange(strings) if n == strings else random.integers(0, strings, n)
        return corpus.rows(index)

    return again


def chunks(n: int) -> Iterator[int]:
    """Sizes of at most CHUNK that add up to n."""
    while n > 0:
        yield min(n, CHUNK)
        n -= CHUNK


def loss(problem: Problem, output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of classes and probabilities, mean squared error of values."""
    if problem.kind == "class":
        return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=-1)
    if problem.kind == "probability":
        return nn.functional.binary_cross_entropy_with_logits(output[..., 0], target)
    return nn.functional.mse_loss(output[..., 0], target)


def answer(problem: Problem, output: Tensor) -> np.ndarray:
    """(N, S, A) what the network says: probabilities of classes, or values."""
    said = output.detach()
    if problem.kind == "class":
        said = said.softmax(-1)
    elif problem.kind == "probability":
        said = said.sigmoid()
    found: np.ndarray = said.double().numpy()
    return found


def tensor(array: np.ndarray) -> Tensor:
    """The same memory."""
    return torch.from_numpy(array)
