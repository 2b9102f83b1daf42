"""LanguageModel: from a text to a model that reads, measures and writes such text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.estimator import SHARED, Estimator, Option, check_values
from lstmkit.tasks.language.shape import Recipe, Shape
from lstmkit.text.tokenizers import KINDS

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.inspection.probe import Probe
    from lstmkit.modelfile import ModelFile
    from lstmkit.program import Program
    from lstmkit.tasks.language.network import LanguageNetwork
    from lstmkit.tasks.language.stream import LanguageStream
    from lstmkit.tasks.language.trace import TextTrace
    from lstmkit.text.tokenizers import Tokenizer
    from lstmkit.training import History


def _share(name: str, about: str) -> Option:
    return Option(name, float, None, about, metavar="P", group="regularisation", least=0)


GENERATING = (
    Option("max_tokens", int, None, "At most so many tokens.", metavar="N", least=0),
    Option("temperature", float, None, "Below 1 bolder, 0 the likeliest.", metavar="X", least=0),
    Option("top_k", int, None, "Among the K likeliest.", metavar="K", least=0),
    Option("top_p", float, None, "Among the likeliest that have P.", metavar="P", least=0),
    Option("min_p", float, None, "At least P of the likeliest's.", metavar="P", least=0),
    Option("repetition_penalty", float, None, "Above 1 repeats less.", metavar="X"),
    Option("stop", str, None, "End before this text.", metavar="TEXT"),
    Option("seed", int, None, "Same seed, same text.", metavar="N", least=0),
)


class LanguageModel(Estimator):
    """Model text of bytes, characters, words or subwords: measure it, rank it, go on with it.

    Stacked LSTMs with every regulariser of AWD-LSTM (Merity et al. 2017); the state is carried
    through the whole text, in training as in use, so a stream of any length needs constant memory.

    Args:
        tokens: char, byte, word (between blanks, with `<eos>` at each line's end and `<unk>`), or
            subword (byte-pair encoding, learnt from the text).
        vocabulary, least: the most symbols, and how often one must occur; others are unknown.
        encoding: of the files.
        validation, test: texts that choose the epoch and that are scored; where they are left out,
            a twentieth of the text each, from its end.
        softmax: full, adaptive (Grave et al. 2017), or auto: adaptive from 75,000 symbols.
        width, layers, embedding: other than those of `size`.
        dropout_embedding ... bptt: as `lstmkit.tasks.language.shape.Recipe`.
        precision: of products with the vocabulary while training, auto is bfloat16 where that is
            faster; everything else, and all answers, are float32.

    Attributes:
        report_: the scores on the test text.
        tokenizer_: the vocabulary.
        network_: the torch module.
        program_: the same without torch.
        notes_: what was found and decided.
    """

    tokenizer_: Tokenizer
    shape_: Shape
    recipe_: Recipe
    model_: Program
    history_: History
    marks_: np.ndarray
    frequencies_: np.ndarray
    seen_: dict[str, Any]
    facts_: dict[str, Any]
    report_: Report
    notes_: list[str]

    TASK = "language"
    METRIC = "perplexity"
    TEXT = True
    OPTIONS = (
        Option("tokens", str, "char", "What a token is.", KINDS, group="data"),
        Option("vocabulary", int, None, "The most symbols.", metavar="N", group="data"),
        Option("least", int, 1, "How often a symbol must occur.", metavar="N", group="data"),
        Option("encoding", str, "utf-8", "Of the files.", metavar="NAME", group="data"),
        Option("validation", str, None, "Text that chooses the epoch.", metavar="V", group="data"),
        Option("test", str, None, "Text that is scored.", metavar="T", group="data"),
        Option("softmax", str, "auto", "Over all symbols.", ("auto", "full", "adaptive")),
        Option("width", int, None, "Cells of every layer.", metavar="N"),
        Option("layers", int, None, "LSTMs one above the other.", metavar="N"),
        Option("embedding", int, None, "Numbers of a symbol's vector.", metavar="N"),
        _share("dropout_embedding", "Of whole symbols."),
        _share("dropout_input", "Before the first layer."),
        _share("dropout_between", "Between layers."),
        _share("dropout_output", "After the last layer."),
        _share("weight_drop", "Of weights from state to state."),
        _share("activation_penalty", "AR of AWD-LSTM."),
        _share("slowness_penalty", "TAR of AWD-LSTM."),
        Option("optimizer", str, None, "How to descend.", ("adamw", "sgd"), group="training"),
        Option(
            "schedule",
            str,
            None,
            "Of the learning rate.",
            ("one_cycle", "cosine", "constant"),
            group="training",
        ),
        Option(
            "averaging",
            str,
            None,
            "Of weights; triggered is NT-ASGD.",
            ("none", "ema", "triggered"),
            group="training",
        ),
        Option("weight_decay", float, None, "Of matrices.", metavar="X", group="training", least=0),
        Option("clip", float, None, "Largest norm of a gradient.", metavar="X", group="training"),
        Option("bptt", int, None, "Tokens that gradients go back.", metavar="N", group="training"),
        Option(
            "precision",
            str,
            "auto",
            "Of products with the vocabulary.",
            ("auto", "float32", "bfloat16"),
            group="training",
        ),
        *SHARED,
    )
    ANSWERING = (
        Option("prompt", str, None, "Go on with this text; - reads it.", metavar="TEXT"),
        *GENERATING,
        Option("count", int, None, "So many continuations.", metavar="N"),
        Option("state", str, None, "Go on from FILE and keep it.", metavar="FILE"),
        Option("by", str, None, "What is scored of a text.", ("line", "token")),
    )
    EVALUATING = (
        Option("dynamic", bool, None, "Adapt to the text while reading (Krause 2018)."),
        Option("train", str, None, "Text that baselines learn from.", metavar="FILE"),
    )
    STREAMING = GENERATING

    def __init__(
        self,
        *,
        tokens: str = "char",
        vocabulary: int | None = None,
        least: int = 1,
        encoding: str = "utf-8",
        validation: Any = None,
        test: Any = None,
        softmax: str = "auto",
        width: int | None = None,
        layers: int | None = None,
        embedding: int | None = None,
        dropout_embedding: float | None = None,
        dropout_input: float | None = None,
        dropout_between: float | None = None,
        dropout_output: float | None = None,
        weight_drop: float | None = None,
        activation_penalty: float | None = None,
        slowness_penalty: float | None = None,
        optimizer: str | None = None,
        schedule: str | None = None,
        averaging: str | None = None,
        weight_decay: float | None = None,
        clip: float | None = None,
        bptt: int | None = None,
        precision: str = "auto",
        size: str = "small",
        epochs: int | None = None,
        minutes: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
        log_dir: str | None = None,
    ) -> None:
        self.tokens, self.vocabulary, self.least = tokens, vocabulary, least
        self.encoding, self.validation, self.test = encoding, validation, test
        self.softmax, self.width, self.layers, self.embedding = softmax, width, layers, embedding
        self.dropout_embedding, self.dropout_input = dropout_embedding, dropout_input
        self.dropout_between, self.dropout_output = dropout_between, dropout_output
        self.weight_drop = weight_drop
        self.activation_penalty, self.slowness_penalty = activation_penalty, slowness_penalty
        self.optimizer, self.schedule, self.averaging = optimizer, schedule, averaging
        self.weight_decay, self.clip, self.bptt = weight_decay, clip, bptt
        self.precision = precision
        self.size, self.epochs, self.minutes = size, epochs, minutes
        self.learning_rate, self.batch_size = learning_rate, batch_size
        self.seed, self.device, self.threads, self.log_dir = seed, device, threads, log_dir

    # --- fit

    def fit(
        self,
        data: Any,
        y: None = None,
        *,
        validation: Any = None,
        callbacks: Sequence[Any] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        warm_start: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn from a text: a file, several, a folder, gzip, `-` for standard input, or an open
        file.

        Args:
            y: must be left out.
            validation: a text that chooses the epoch, other than the option's.
            callbacks: objects as `lstmkit.training.fit` takes them.
            checkpoint: file to which training is saved after each epoch, the state of the streams
                included.
            resume: go on from `checkpoint`.
            warm_start: model file whose vocabulary and weights to start from.

        Raises:
            UserError: the text or an option cannot be used.
        """
        from lstmkit.tasks.language import assembly

        if y is not None:
            raise UserError("a language model takes no y", expected="a text")
        self.check_options()
        self._check_shares()
        run = {
            "callbacks": callbacks,
            "checkpoint": Path(checkpoint) if checkpoint else None,
            "resume": resume,
        }
        assembly.learn(self, data, validation, run, warm_start)
        return self

    def _check_shares(self) -> None:
        for option in self.OPTIONS:
            value = getattr(self, option.name)
            dropped = option.name.startswith(("dropout", "weight_drop"))
            if dropped and value is not None and value >= 1:
                raise UserError(f"{option.name} is a share", got=f"{value:g}", expected="below 1")

    # --- ask

    def fitted(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "model_")

    @property
    def program_(self) -> Program:
        """The model without torch."""
        self.check_fitted()
        return self.model_

    @property
    def network_(self) -> LanguageNetwork:
        """The torch module, in evaluation mode."""
        from lstmkit.tasks.language import assembly

        self.check_fitted()
        return assembly.rebuilt(self)

    def stream(self, prompt: str | bytes = "", **options: Any) -> LanguageStream:
        """A stream that has read `prompt`; no torch. Options, as those of its `generate`, hold for
        rows that it is given."""
        from lstmkit import runtime
        from lstmkit.tasks.language.stream import LanguageStream

        self.check_fitted()
        check_values(GENERATING, options)
        found = LanguageStream(runtime.load(self.model_), self.tokenizer_, options)
        found.read(prompt)
        return found

    def generate(
        self, prompt: str | bytes = "", max_tokens: int = 200, **options: Any
    ) -> Iterator[str]:
        """What follows `prompt`, piece by piece; options as `LanguageStream.generate`."""
        return self.stream(prompt).generate(max_tokens, **options)

    def score(self, texts: str | Iterable[str]) -> Any:
        """How probable texts are, each read from the beginning: a list of `features.Reading`
        (tokens, natural log-probabilities of each); of one text its own.

        For ranking, compare the sums of `log_probs`, or their means where lengths differ.
        """
        start = self.stream()
        if isinstance(texts, str):
            return start.read(texts)
        return [start.branch().read(text) for text in texts]

    def predict(self, data: Any, *, by: str = "line", **options: Any) -> Any:
        """The score of every line, or token, of a text.

        Args:
            data: as `fit` takes it.
            by: `line`: each read from the beginning, columns `line` (from 1), `text`, `tokens`,
                `log_prob` (natural), `perplexity`; `token`: the text in one go, columns `line`,
                `token`, `log_prob`.

        Returns:
            A polars frame.

        Raises:
            UserError: no text, or an option of generation.
        """
        from lstmkit.tasks.language import answers

        self.check_fitted()
        if options:
            raise UserError(
                f"{', '.join(sorted(options))} goes with a prompt", hint='--prompt "It was"'
            )
        return answers.scored(self, data, by)

    def evaluate(self, data: Any, *, dynamic: bool = False, train: Any = None) -> Report:
        """Perplexity and bits of a text that the model has not seen, beside n-gram models.

        Args:
            data: as `fit` takes it; of the training text its held-out end is scored.
            dynamic: adapt the weights to the text as it is read (dynamic evaluation, Krause et al.
                2018); needs torch, and the plain score is then a baseline.
            train: the training text, for the bigram and Kneser-Ney baselines; found by the name it
                had, if it is still there.

        Raises:
            UserError: no text, or `in-sample` where it was learnt from.
        """
        from lstmkit.tasks.language import answers

        self.check_fitted()
        return answers.evaluated(self, data, dynamic, train)

    def trace(self, data: Any) -> TextTrace:
        """The gates of the LSTMs over the first tokens of a text: a string, or as `fit` takes it
        where it names a file."""
        from lstmkit.tasks.language.trace import record

        self.check_fitted()
        return record(self, data)

    def probe(
        self, data: Any, samples: int = 4, only: Sequence[str] = (), future: bool = False
    ) -> Probe:
        """Stretches of a text for `lstmkit.inspection`; see `language.probe.probe`."""
        from lstmkit.tasks.language.probe import probe

        self.check_fitted()
        return probe(self, data, samples, only)

    def write_plot(self, data: Any, path: str | Path, **options: Any) -> None:
        """Draw how surprising each token of a text is: .png, .svg, .pdf, or .html."""
        from lstmkit.tasks.language import picture

        self.check_fitted()
        picture.write(self, data, path)

    def lowered(self, dtype: str) -> Self:
        """A copy whose matrices of weights are in `dtype`: float32, bfloat16 or int8."""
        from lstmkit.lowprecision import lower

        self.check_fitted()
        found = copy(self)
        found.model_ = lower(self.model_, dtype)
        return found

    # --- keep

    def contents(self) -> dict[str, Any]:
        """Config, program and tensors of a model file."""
        import json
        from dataclasses import asdict

        options = self.get_params()
        for name in ("log_dir", "validation", "test"):
            options[name] = None if options[name] is None else str(options[name])
        config = {
            "options": options,
            "shape": self.shape_.to_json(),
            "recipe": asdict(self.recipe_),
            "seen": self.seen_,
            "facts": self.facts_,
            "report": {"intervals": {}, "memory_worth": None, **self.report_.to_dict()},
            "report_notes": list(self.report_.notes),
            "notes": list(self.notes_),
        }
        text = json.dumps(self.tokenizer_.to_json(), ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )
        tensors = {
            "tokenizer": np.frombuffer(text, np.uint8),
            "marks": self.marks_.view(np.int64),
            "frequencies": self.frequencies_,
        }
        return {"config": config, "program": self.program_, "tensors": tensors}

    @classmethod
    def from_modelfile(cls, model: ModelFile) -> Self:
        """The model of a loaded file."""
        import json

        from lstmkit.evaluation import Report
        from lstmkit.text import tokenizers

        config, tensors = model.config, model.tensors
        found = cls(**config["options"])
        text = tensors["tokenizer"].tobytes().decode("utf-8", "surrogatepass")
        found.tokenizer_ = tokenizers.from_json(json.loads(text))
        found.shape_ = Shape.from_json(config["shape"])
        found.recipe_ = Recipe().with_options(config["recipe"])
        found.model_ = model.program
        found.marks_ = tensors["marks"].view(np.uint64)
        found.frequencies_ = tensors["frequencies"]
        found.seen_, found.facts_, found.notes_ = config["seen"], config["facts"], config["notes"]
        if found.tokenizer_.size != found.shape_.symbols:
            raise UserError("the vocabulary does not fit the model")
        stored: Mapping[str, Any] = config["report"]
        parts = ("metrics", "baselines", "data", "model")
        given = {name: stored[name] for name in parts}
        found.report_ = Report(cls.TASK, **given, notes=config["report_notes"])
        return found
