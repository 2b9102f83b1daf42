"""The shape that all tasks share: options, parameters, saving and loading.

Nothing here imports torch; an estimator's own module imports it inside the functions that train.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from lstmkit.errors import UserError

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.inspection.probe import Probe
    from lstmkit.modelfile import ModelFile
    from lstmkit.tasks.stream import Stream

SIZES = ("tiny", "small", "medium", "large")


class Option(NamedTuple):
    """One option of an estimator, from which the command line makes its own.

    `name` is the constructor's argument, `default` its default; `group` orders the help; `least` is
    the smallest number allowed, where it is not 1 (or above 0).
    """

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    group: str = "model"
    least: float | None = None

    @property
    def lowest(self) -> float:
        """The smallest number allowed."""
        return self.least if self.least is not None else (1 if self.type is int else 1e-12)


SHARED = (
    Option("size", str, "small", "How large a network.", SIZES, group="training"),
    Option("epochs", int, None, "Train so many epochs.", metavar="N", group="training"),
    Option("minutes", float, None, "Stop after so many minutes.", metavar="N", group="training"),
    Option("learning_rate", float, None, "Peak learning rate.", metavar="X", group="training"),
    Option("batch_size", int, None, "Windows in a batch.", metavar="N", group="training"),
    Option("seed", int, 0, "Same seed, same model.", metavar="N", group="training", least=0),
    Option("device", str, "auto", "Where to train.", ("auto", "cpu", "cuda"), group="training"),
    Option(
        "threads",
        int,
        None,
        "CPU threads; left out, as many as pay for the size.",
        metavar="N",
        group="training",
    ),
    Option(
        "log_dir", str, None, "Write CSV and TensorBoard logs.", metavar="DIR", group="training"
    ),
)


class Estimator:
    """Base of all tasks: scikit-learn's parameter protocol, and one file per model.

    A subclass sets TASK, OPTIONS and METRIC, stores its constructor's arguments unchanged, and
    implements `fit`, `evaluate`, `predict`, `stream`, `trace`, `probe`, `lowered`, `contents` and
    `from_modelfile`.
    """

    TASK: ClassVar[str]
    OPTIONS: ClassVar[tuple[Option, ...]]
    METRIC: ClassVar[str]  # by which a model of low precision is measured
    LOWER_IS_BETTER: ClassVar[bool] = True
    ANSWERING: ClassVar[tuple[Option, ...]] = ()  # what `predict` may be asked
    EVALUATING: ClassVar[tuple[Option, ...]] = ()  # what `evaluate` may be asked
    STREAMING: ClassVar[tuple[Option, ...]] = ()  # what `stream` may be asked
    ALERTS: ClassVar[bool] = False  # whether answers are alerts, none of which is good news
    FLOWS: ClassVar[bool] = False  # whether it reads network flows, not rows of a table
    TEXT: ClassVar[bool] = False  # whether it reads text, and goes on with it

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        parameters = inspect.signature(cls.__init__).parameters
        return tuple(name for name in parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments; `deep` changes nothing, as no argument is an estimator."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """Change constructor arguments.

        Raises:
            UserError: an unknown name.
        """
        for name, value in params.items():
            if name not in self._names():
                raise UserError(
                    f"{type(self).__name__} has no parameter {name!r}",
                    expected=f"one of {', '.join(self._names())}",
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = {n: v for n, v in self.get_params().items() if v != defaults[n].default}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in given.items())})"

    def check_options(self) -> None:
        """Raise UserError where an option with choices or a number has an impossible value."""
        check_values(self.OPTIONS, {o.name: getattr(self, o.name) for o in self.OPTIONS})

    def fit(self, *args: Any, **options: Any) -> Self:
        """Learn from data; a task says which options it takes."""
        raise NotImplementedError

    def evaluate(self, *args: Any, **options: Any) -> Report:
        """Score the model on what it has not seen."""
        raise NotImplementedError

    def predict(self, *args: Any, **options: Any) -> Any:
        """The model's answers, in the kind of frame that was given."""
        raise NotImplementedError

    def trace(self, *args: Any, **options: Any) -> Any:
        """What the gates did."""
        raise NotImplementedError

    def probe(
        self, data: Any, samples: int = 4, only: Sequence[str] = (), future: bool = False
    ) -> Probe:
        """What `lstmkit.inspection` needs: the network, some samples of `data`, how to read them.

        Args:
            samples: how many, spread over the data.
            only: their names.
            future: the answers that lie ahead, rather than ones whose truth is known.
        """
        raise NotImplementedError

    def contents(self) -> dict[str, Any]:
        """What `save` writes: config, program and tensors of the fitted model."""
        raise NotImplementedError

    @classmethod
    def from_modelfile(cls, model: ModelFile) -> Self:
        """The fitted estimator of a loaded file."""
        raise NotImplementedError

    def stream(self, *args: Any, **options: Any) -> Stream:
        """Rows one at a time, in constant memory, without torch."""
        raise NotImplementedError

    def lowered(self, dtype: str) -> Self:
        """A copy whose matrices of weights are in `dtype`: float32, bfloat16 or int8."""
        raise NotImplementedError

    def fitted(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "program_")

    def check_fitted(self) -> None:
        """Raise UserError where there is no model yet."""
        if not self.fitted():
            raise UserError(
                f"this {type(self).__name__} has no model yet", hint="call fit, or lstmkit.load"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, atomically."""
        self.check_fitted()
        from lstmkit import modelfile

        modelfile.save(path, task=self.TASK, **self.contents())


def check_values(options: Sequence[Option], given: Mapping[str, Any]) -> None:
    """Raise UserError where an option with choices or a number is given an impossible value."""
    for option in options:
        value = given.get(option.name)
        flag = f"--{option.name.replace('_', '-')}"
        if value is None:
            continue
        if option.choices and value not in option.choices:
            raise UserError(
                f"{option.name} cannot be {value!r}",
                expected=f"one of {', '.join(option.choices)}",
                hint=f"{flag} {option.choices[0]}",
            )
        numeric = option.type in (int, float)
        if numeric and (not _is_number(value, option.type) or value < option.lowest):
            kind = "a whole number" if option.type is int else "a number"
            raise UserError(
                f"{option.name} must be {kind} {'from 0' if option.lowest == 0 else 'above 0'}",
                got=repr(value),
            )


def _is_number(value: Any, kind: type) -> bool:
    """Whether value is a finite number that `kind` can hold; a bool is none."""
    if isinstance(value, bool):
        return False
    try:
        return bool(kind(value) == value and abs(value) != float("inf"))
    except (TypeError, ValueError):
        return False


def load(path: str | os.PathLike[str]) -> Estimator:
    """The estimator that was saved at `path`.

    Raises:
        UserError: the file is missing, damaged, foreign, newer, or of an unknown task.
    """
    from lstmkit import modelfile
    from lstmkit.tasks import catalog

    model = modelfile.load(path)
    return catalog.resolve(model.task).from_modelfile(model)
