"""The language demo: the source of Python's own standard library, and what follows `def`."""

from __future__ import annotations

import ast
import sysconfig
import textwrap
import time
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmkit.errors import UserError, require

if TYPE_CHECKING:
    from lstmkit.cli.console import Console
    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.tasks.language.stream import LanguageStream

LEARNT = 3_000_000  # characters to learn from
CHOOSING = ("fractions", "heapq", "shelve")  # modules that choose the epoch
SCORED = ("calendar", "csv", "queue", "sched", "textwrap")  # and that are scored
MODEL = {"width": 256, "layers": 1, "embedding": 48, "dropout_between": 0.0, "dropout_output": 0.0}
RECIPE = {"batch_size": 24, "bptt": 64, "learning_rate": 6e-3, "epochs": 1}
PROMPTS = ("def read(self, ", "def is_", "def main(")
BRANCHED = "class Stack(Queue):\n\n    def "
CHOICE = {"temperature": 0.8, "top_p": 0.98}
LONGEST = 240  # characters of a continuation
END = "\n\n"  # before which it ends
JUDGED = 100  # functions that Python's own parser looks at
TRACED = "def join(self, timeout=None):\n    if self._closed:\n        return"


def modules() -> list[Path]:
    """The library's modules at its top, in an order that their names alone decide: packages, tests
    among them, and what belongs to the library itself (`_name`) are left out.

    Raises:
        UserError: there are none, as where the library is one zip file.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    found = [path for path in folder.glob("*.py") if not path.stem.startswith("_")]
    if not {path.stem for path in found} >= {*CHOOSING, *SCORED}:
        raise UserError("this Python carries no source of its standard library", got=str(folder))
    return sorted(found, key=lambda path: (zlib.crc32(path.stem.encode()), path.stem))


def texts() -> dict[str, str]:
    """What is learnt from, what chooses, what is scored: whole modules in each, none in two."""
    learnt: list[str] = []
    held: dict[str, str] = {}
    for path in modules():
        text = path.read_text("utf-8", "replace")
        if path.stem in (*CHOOSING, *SCORED):
            held[path.stem] = text
        elif sum(map(len, learnt)) < LEARNT:
            learnt.append(text)
    parts = {"choosing": CHOOSING, "scored": SCORED}
    return {"learnt": "\n".join(learnt)} | {
        name: "\n".join(held[stem] for stem in stems) for name, stems in parts.items()
    }


def run(folder: Path, console: Console, seed: int, epochs: int | None) -> dict[str, Any]:
    """Train, score beside n-gram models, write some code; what was made, as JSON values."""
    require("torch", "train")
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    given = texts()
    data = {name: folder / f"{name}.txt" for name in given}
    for name, text in given.items():
        data[name].write_text(text, "utf-8", newline="\n")
    console.say(f"Python's standard library, {len(given['learnt']):,} characters: {data['learnt']}")
    console.say(f"Held out and scored: the modules {', '.join(SCORED)}.")
    model = learn(data, console, seed, epochs)
    console.say(f"\n{model.report_}\n")
    saved, state = folder / "code.safetensors", folder / "stack.state"
    model.save(saved)
    told = {prompt: after(model.stream("\n\n" + prompt), seed) for prompt in PROMPTS}
    branches = branched(model, state, seed)
    parsed = judged(model, seed)
    tell(console, told, branches, parsed, state)
    pictures = draw(model, data["scored"], folder)
    console.say(f"\nhow surprising unseen code is: {pictures['page']}")
    console.say(f"the gates over three lines:    {pictures['gates']}")
    console.say(f"model:                         {saved}")
    console.say(f"({time.monotonic() - started:.0f} s)  next:")
    console.say(f"  lstmkit predict {saved} --prompt 'import ' --temperature 0.5 --count 3")
    return {
        "model": str(saved),
        "data": {name: str(path) for name, path in data.items()},
        "state": str(state),
        "pictures": pictures,
        "report": model.report_.to_dict(),
        "told": told,
        "branches": branches,
        "parsed": parsed,
    }


def learn(
    data: dict[str, Path], console: Console, seed: int, epochs: int | None
) -> LanguageModel:
    """The trained model, with its score."""
    from lstmkit.cli.train import Notes
    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.training.progress import RichProgress

    options: dict[str, Any] = {**MODEL, **RECIPE, "seed": seed}
    options |= {"epochs": epochs} if epochs else {}
    held = {"validation": str(data["choosing"]), "test": str(data["scored"])}
    model = LanguageModel(**held, **options)
    progress = RichProgress(quiet=console.quiet)
    return model.fit(str(data["learnt"]), callbacks=[Notes(model, console), progress])


def after(stream: LanguageStream, seed: int) -> str:
    """How the text goes on."""
    return whole("".join(stream.generate(LONGEST, stop=END, seed=seed, **CHOICE)))


def whole(text: str) -> str:
    """Up to the end of its last whole line, where it was cut."""
    return text[: text.rfind("\n")] if len(text) >= LONGEST and "\n" in text else text


def branched(model: LanguageModel, path: Path, seed: int) -> list[str]:
    """One state, read once and kept in a file, that goes on in three ways."""
    model.stream("\n\n" + BRANCHED).write_state(path)
    again = model.stream()
    again.read_state(path)
    return list(map(whole, again.continuations(3, LONGEST, stop=END, seed=seed, **CHOICE)))


def judged(model: LanguageModel, seed: int) -> int:
    """How many of `JUDGED` functions that it writes are Python to Python's parser."""
    start = "\n\ndef "
    found = model.stream(start).continuations(JUDGED, LONGEST, stop=END, seed=seed, **CHOICE)
    return sum(parses("def " + whole(text)) for text in found)


def parses(code: str) -> bool:
    """Whether it is Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(textwrap.dedent(code))
        except (SyntaxError, ValueError):
            return False
    return True


def tell(
    console: Console, told: dict[str, str], branches: Iterable[str], parsed: int, state: Path
) -> None:
    """Say what it wrote."""
    console.say("What it writes, after what stands left of the bar:")
    for prompt, text in told.items():
        console.say(f"\n{prompt}|{text}")
    console.say(f"\nOne state, kept in {state}, goes on in three ways:\n\n{BRANCHED}")
    for text in branches:
        console.say(f"        |{text}\n")
    console.say(f"Of {JUDGED} functions that it wrote Python's parser takes {parsed}.")


def draw(model: LanguageModel, data: Path, folder: Path) -> dict[str, str]:
    """A page of unseen code, and the gates over a few lines; their paths."""
    from lstmkit.style import save

    page, gates = folder / "surprise.html", folder / "gates.png"
    model.write_plot(str(data), page)
    save(model.trace(TRACED).plot(title="The gates over three lines of Python"), gates)
    return {"page": str(page), "gates": str(gates)}
