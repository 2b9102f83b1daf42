"""The training loop: plain steps on Lightning Fabric, with exact resume.

Fabric carries the device, the backward pass and the clipping. Under torchrun the same loop runs in
several processes: each learns from its part of a batch, the sum of losses is divided by the number
of summands of all of them, and so they equal one process with the whole batch. Only the first one
writes files and validates.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from lstmkit.errors import Interrupted, UserError, require
from lstmkit.training import checkpoint
from lstmkit.training.average import Average
from lstmkit.training.device import StopRequest, choose_device, left_as_found, own_process
from lstmkit.training.meeting import lost, meet
from lstmkit.training.plan import Cursor, History, TrainingPlan
from lstmkit.training.processes import Council, fabric_options, launch, restarted, share
from lstmkit.training.progress import CsvLog, TensorBoardLog
from lstmkit.training.schedule import SCHEDULES

MOST_SKIPPED = 20  # steps in a row
OTHER_SEEDS = 7919  # between the seeds of two processes
HOOKS = ("on_module", "on_start", "on_step", "on_epoch", "on_end")

Batches = Callable[[int], Iterable[Any]]
Loss = Callable[[nn.Module, Any], Tensor | tuple[Tensor, Tensor]]
Validate = Callable[[nn.Module], float]


def fit(
    module: nn.Module,
    batches: Batches,
    loss: Loss,
    plan: TrainingPlan,
    *,
    validate: Validate | None = None,
    callbacks: Sequence[Any] = (),
    description: str = "",
    memory: checkpoint.Memory | None = None,
    share_of_rate: Callable[[Any], float] | None = None,
) -> History:
    """Train `module` in place; at return it holds the best weights, or the last without `validate`.

    The same module, batches, plan and number of threads give the same bits on a CPU. torch's
    generators, the number of threads, the module's mode and device are afterwards as before.

    With several processes each step must use every parameter that learns, through the module's own
    forward: DDP waits for all gradients. What a process does between two calls may take it half an
    hour longer than the others, and so may `validate`.

    Args:
        module: what to train.
        batches: the batches of an epoch, epochs counted from 0; with several processes, this one's
            part of each (see `processes.share`), equally many everywhere. Resume is exact if they
            depend on (seed, epoch) alone and draw nothing from torch's global generators.
        loss: a scalar from the module, in training mode, and a batch on its device; or a sum and
            the number of its summands, of which the quotient is descended. With several processes
            the number is that of all of them, and scalars are averaged.
        plan: how long and how.
        validate: a score of the module, lower is better; called in evaluation mode without
            gradients after every epoch.
        callbacks: objects with some of on_module(module), on_start(plan, description),
            on_step(step, total, loss), on_epoch(epoch, train_loss, score, best, eta_seconds),
            on_end(history); on_end is also called where training fails.
        description: what is trained, for the display.
        memory: what batches and loss carry from step to step; it is a part of the checkpoint.
        share_of_rate: by how much of the learning rate to go for a batch, 1 where left out.

    Raises:
        UserError: the loss stays non-finite, a checkpoint does not fit or cannot be written, an
            epoch has no batches, the device is not there, or another process was lost.
        Interrupted: Ctrl-C, after the checkpoint was written (KeyboardInterrupt without one).
        MissingExtra: Lightning is not installed, or TensorBoard where `plan.log_dir` asks for it.
    """
    waiting = next((n for n in ("patience", "trigger") if getattr(plan, n) is not None), None)
    if waiting and validate is None:
        raise UserError(f"{waiting} needs a score to wait for", hint=f"validate=, or no {waiting}")
    began = time.perf_counter()
    device = choose_device(plan.device)
    fabric_class = require("lightning.fabric", "train").Fabric
    options = fabric_options(device)
    meet(device)
    logs = [CsvLog(plan.log_dir), TensorBoardLog(plan.log_dir)] if plan.log_dir else []
    seed = plan.seed + OTHER_SEEDS * share().rank
    with own_process(seed, plan.threads, device), left_as_found(module), StopRequest() as stop:
        fabric = fabric_class(**options)
        loop = Loop(fabric, module, batches, loss, plan, validate, [*callbacks, *logs], stop, began)
        loop.state.memory, loop.share_of_rate = memory, share_of_rate
        return loop.run(description)


def chosen_optimizer(module: nn.Module, plan: TrainingPlan) -> Optimizer:
    """The plan's optimizer, which decays matrices, and neither biases nor gains."""
    learnt = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    kind = SGD if plan.optimizer == "sgd" else AdamW
    return kind(groups, lr=plan.learning_rate)


class Loop:
    """One run: what `fit` was given, and where it stands."""

    def __init__(
        self,
        fabric: Any,
        module: nn.Module,
        batches: Batches,
        loss: Loss,
        plan: TrainingPlan,
        validate: Validate | None,
        callbacks: Sequence[Any],
        stop: StopRequest,
        began: float,
    ) -> None:
        self.fabric, self.plan, self.stop = fabric, plan, stop
        self.batches, self.loss, self.validate = batches, loss, validate
        self.callbacks = [_checked(callback) for callback in callbacks]
        fabric.launch()
        optimizer = chosen_optimizer(module, plan)
        self.module, self.optimizer = fabric.setup(module, optimizer)
        average = Average(module, plan.average, plan.trigger)
        self.state = checkpoint.Run(module, optimizer, History(), Cursor(), {}, average)
        self.council = Council(fabric.device)
        self.share_of_rate: Callable[[Any], float] | None = None
        self.resuming = plan.resume
        self.stopping = False  # whether some process was asked to, when a step was agreed on
        self.began = began  # perf_counter() of a start without pauses
        self.clock = 0.0  # the first process's seconds, as last told
        self.reserve = 0.0  # seconds that closing an epoch takes

    @property
    def history(self) -> History:
        """What happened so far."""
        return self.state.history

    @property
    def seconds(self) -> float:
        """Wall time spent, before a resume too; of several processes the first one's."""
        return time.perf_counter() - self.began if self.council.share.alone else self.clock

    def synchronise(self) -> None:
        """Let all processes read the same clock."""
        if not self.council.share.alone:
            self.clock = self.council.told(time.perf_counter() - self.began)

    def run(self, description: str) -> History:
        """Epoch after epoch until the plan is fulfilled."""
        try:
            self.tell("on_module", self.state.module)
            self.resuming = self.resumes()
            self.tell("on_start", self.announced(), description)
            self.restore()
            while not self.history.stopped:
                self.epoch()
            self.state.average.settle()
            if self.state.best:
                self.state.module.load_state_dict(self.state.best)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            self.history.stopped = "interrupted" if stopped else "failed"
            if lost(error):
                raise UserError(
                    "another process of this run was lost",
                    got=str(error).partition("\n")[0],
                    hint="torchrun --max-restarts 3 starts all of them again",
                ) from error
            raise
        finally:
            self.tell("on_end", self.history)
        return self.history

    def resumes(self) -> bool:
        """Whether to go on from the checkpoint, of which the first process alone may know.

        Processes that torchrun has started again go on by themselves, if the settings are the same.
        """
        if not launch():
            return self.plan.resume
        asked = fits = ours = False
        if self.council.share.speaks:
            asked = self.plan.resume
            fits, ours = checkpoint.standing(self.plan.checkpoint, self.plan)
        told = self.council.sums([float(fact) for fact in (asked, fits, ours or restarted())])
        return bool(told[0] or (told[1] and told[2]))

    def announced(self) -> TrainingPlan:
        """The plan as callbacks are told it: with `resume` where processes go on by themselves."""
        speaks = self.council.share.speaks
        return replace(self.plan, resume=self.resuming) if speaks else self.plan

    def restore(self) -> None:
        """Take over the checkpoint's state and the time that it had used."""
        path, here = self.plan.checkpoint, self.council.share
        if self.resuming:
            with self.council.file(path) as found:
                if found is not None:
                    checkpoint.load(found, self.state, self.plan)
                    self.began -= self.history.seconds
            if here.rank:
                torch.manual_seed(self.plan.seed + OTHER_SEEDS * here.rank + self.history.steps)
        elif launch() and here.speaks and path is not None:
            path.unlink(missing_ok=True)  # of an older run: no restart may go on from it
        self.synchronise()

    def epoch(self) -> None:
        """The batches of an epoch, those left of it after a resume, and its end."""
        self.state.module.train()
        for batch in self.stream():
            self.step(batch)
            if self.stop.raised if self.council.share.alone else self.stopping:
                self.interrupt()
            if self.out_of_time():
                break
        if not self.state.cursor.step:
            raise UserError("there is nothing to learn from: an epoch without batches")
        self.close_epoch()
        if self.council.sums([float(self.stop.raised)])[0]:
            self.interrupt()

    def stream(self) -> Iterable[Any]:
        """What is left of the epoch's batches."""
        done = self.state.cursor.step
        if not done:
            return itertools.islice(self.batches(self.history.epochs), self.plan.steps_per_epoch)
        cuda = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(
            devices=cuda
        ):  # whatever the skipped batches draw was drawn before
            rest = iter(self.batches(self.history.epochs))
            for _ in itertools.islice(rest, done):
                pass
        return itertools.islice(rest, self.plan.steps_per_epoch - done)

    def step(self, batch: Any) -> None:
        """One optimizer step; a loss or gradient that is not finite leaves the weights alone."""
        history, cursor = self.history, self.state.cursor
        factor = SCHEDULES[self.plan.schedule]
        peak = self.plan.learning_rate * (self.share_of_rate(batch) if self.share_of_rate else 1)
        for group in self.optimizer.param_groups:
            group["lr"] = peak * factor(self.plan.fraction(history.steps, self.seconds))
        self.optimizer.zero_grad()
        loss, value = self.agreed(self.loss(self.module, self.fabric.to_device(batch)))
        history.steps += 1
        cursor.step += 1
        if math.isfinite(value) and self.descend(loss):
            cursor.streak = 0
            cursor.counted += 1
            cursor.loss_sum += value
        else:
            self.skip()
        self.tell("on_step", history.steps, self.total(), value)

    def agreed(self, found: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, float]:
        """What this process descends, and the loss over all of them.

        DDP averages gradients, so a part of the sum is divided by the number of all summands and
        multiplied by the number of processes.
        """
        world, alone = self.council.share.world, self.council.share.alone
        if alone:
            loss = quotient(found)
            return loss, loss.item()
        part, count = found if isinstance(found, tuple) else (found, torch.ones(()))
        seconds = time.perf_counter() - self.began if self.council.share.speaks else 0.0
        facts = [part.item(), count.item(), float(self.stop.raised), seconds]
        total, summands, stopping, self.clock = self.council.sums(facts)
        self.stopping = bool(stopping)
        return part * (world / max(summands, 1.0)), total / max(summands, 1.0)

    def descend(self, loss: Tensor) -> bool:
        """Backward, clip, step. False where the gradient is not finite."""
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.module,
            self.optimizer,
            max_norm=self.plan.clip or math.inf,
            error_if_nonfinite=False,
        )
        if not math.isfinite(norm.item()):
            return False
        self.optimizer.step()
        self.state.average.update(self.history.steps)
        return True

    def skip(self) -> None:
        """Count a step left out; give up after too many in a row."""
        self.history.skipped += 1
        self.state.cursor.streak += 1
        if self.state.cursor.streak >= MOST_SKIPPED:
            raise UserError(
                f"training diverged: {MOST_SKIPPED} steps in a row had no finite loss or gradient",
                got=f"learning rate {self.plan.learning_rate:g}, step {self.history.steps}",
                hint=f"--learning-rate {self.plan.learning_rate / 10:g}",
            )

    def close_epoch(self) -> None:
        """Score, keep the best weights, decide whether to go on, save, tell."""
        self.synchronise()
        started = self.seconds
        history, cursor = self.history, self.state.cursor
        history.epochs += 1
        history.train_loss.append(cursor.mean_loss())
        self.state.cursor = Cursor(streak=cursor.streak)
        score = self.score()
        self.synchronise()
        history.seconds = self.seconds
        self.reserve = max(self.reserve, self.seconds - started)
        history.stopped = self.verdict()
        self.save()
        self.synchronise()
        self.reserve = max(self.reserve, self.seconds - started)
        told = (history.train_loss[-1], score, history.best_score, self.eta())
        self.tell("on_epoch", history.epochs, *told)

    def score(self) -> float | None:
        """Validate; the first of equal scores stays the best, NaN is never better."""
        if self.validate is None:
            return None
        history, module = self.history, self.state.module
        module.eval()
        with self.state.average.worn(), torch.no_grad():
            own = float(self.validate(module)) if self.council.share.speaks else 0.0
            score = self.council.told(own)
            if score < (math.inf if history.best_score is None else history.best_score):
                history.best_epoch, history.best_score = history.epochs, score
                weights = module.state_dict().items()
                self.state.best = {name: w.detach().to("cpu", copy=True) for name, w in weights}
        history.scores.append(score)
        self.state.average.watch(history.scores, history.steps)
        return score

    def verdict(self) -> str:
        """Why to stop here; "" to go on."""
        plan, history = self.plan, self.history
        waited = history.epochs - (history.best_epoch or 0)
        if plan.epochs is not None and history.epochs >= plan.epochs:
            return "epochs"
        if self.out_of_time():
            return "minutes"
        return "early" if plan.patience is not None and waited >= plan.patience else ""

    def out_of_time(self) -> bool:
        """Whether `minutes` leave no more than the time to close an epoch."""
        minutes = self.plan.minutes
        return minutes is not None and self.seconds + self.reserve >= 60 * minutes

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        if self.plan.checkpoint is not None and self.fabric.is_global_zero:
            checkpoint.save(self.plan.checkpoint, self.state, self.plan)

    def interrupt(self) -> NoReturn:
        """Ctrl-C between two steps: save, and say how to go on."""
        if self.plan.checkpoint is None:
            raise KeyboardInterrupt
        self.history.seconds = self.seconds
        self.save()
        raise Interrupted(f"the run is kept in {self.plan.checkpoint}; resume=True goes on")

    def total(self) -> int:
        """Steps in all, by the plan or by the pace so far."""
        share = self.plan.fraction(self.history.steps, self.seconds)
        return max(self.history.steps, round(self.history.steps / share))

    def eta(self) -> float:
        """Seconds to go at the pace so far, 0 at the end."""
        share = self.plan.fraction(self.history.steps, self.seconds)
        return 0.0 if self.history.stopped else self.seconds * (1 - share) / share

    def tell(self, hook: str, *facts: Any) -> None:
        """Call `hook` of the callbacks that have it, on rank zero."""
        if self.fabric.is_global_zero:
            for callback in self.callbacks:
                if method := getattr(callback, hook, None):
                    method(*facts)


def quotient(loss: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """A scalar loss; a sum over so many summands as their mean, 0 where there are none."""
    if isinstance(loss, Tensor):
        return loss
    total, count = loss
    return total / count.clamp(min=1)


def _checked(callback: Any) -> Any:
    if any(callable(getattr(callback, hook, None)) for hook in HOOKS):
        return callback
    raise UserError(
        f"{type(callback).__name__} is no callback",
        expected=f"an object with one or more of {', '.join(HOOKS)}",
    )
