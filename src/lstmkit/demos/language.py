"""The language demo: the source of Python's own standard library, and what follows `def `."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmkit.errors import UserError, require

if TYPE_CHECKING:
    from lstmkit.cli.console import Console

LEARNT = 1_500_000  # characters to learn from, and
HELD = 60_000  # to choose by, and as many again to score: whole modules, chosen by name
MODEL = {"width": 320, "layers": 1, "embedding": 48, "dropout_between": 0.0, "dropout_output": 0.0}
RECIPE = {"batch_size": 24, "bptt": 64, "learning_rate": 8e-3}
PROMPTS = ("def read(self, ", "class ", "    for name in ")
CHOICE = {"temperature": 0.8, "top_p": 0.98}
SHOWN = 250  # characters


def modules() -> list[Path]:
    """The library's modules at its top, shuffled by a fixed rule so that neighbours in the alphabet
    are not neighbours here."""
    folder = Path(os.__file__).parent
    found = [p for p in folder.glob("*.py") if not p.name.startswith("_")]
    if not found:
        raise UserError("this Python carries no source of its standard library", got=str(folder))
    return sorted(found, key=lambda p: (sum(map(ord, p.stem)) * 7919 % 1009, p.name))


def texts() -> tuple[str, str, str]:
    """To learn from, to choose by, to score: whole modules in each."""
    rest, parts = modules(), []
    for wanted in (HELD, HELD, LEARNT):
        taken: list[str] = []
        while rest and sum(map(len, taken)) < wanted:
            taken.append(rest.pop().read_text("utf-8", "replace"))
        parts.append("\n".join(taken))
    test, validation, train = parts
    return train, validation, test


def run(folder: Path, console: Console, seed: int, epochs: int | None) -> dict[str, Any]:
    """Train, score beside n-gram models, write some code; what was made, as JSON values."""
    require("torch", "train")
    from lstmkit.cli.train import Notes
    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.training.progress import RichProgress

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.txt" for name in ("learnt", "chosen_by", "scored")]
    for path, text in zip(paths, texts(), strict=True):
        path.write_text(text, "utf-8")
    train, validation, test = map(str, paths)
    console.say(f"The source of Python's standard library, {LEARNT:,} characters of it: {train}")
    given: dict[str, Any] = {**MODEL, **RECIPE, "epochs": epochs or 1}
    model = LanguageModel(validation=validation, test=test, seed=seed, **given)
    model.fit(train, callbacks=[Notes(model, console), RichProgress(quiet=console.quiet)])
    report = model.report_
    console.say(f"\n{report}\n")
    told = {prompt: write(model, prompt, seed) for prompt in PROMPTS}
    console.say("What it writes (left of the bar what it was given):")
    for prompt, text in told.items():
        console.say(f"\n{prompt}|{text}")
    saved, page = folder / "code.safetensors", folder / "surprise.html"
    model.save(saved)
    model.write_plot(test, page)
    console.say(f"\nhow surprising each character of unseen code is: {page}")
    console.say(f"model: {saved}")
    console.say(f"({time.monotonic() - started:.0f} s)  next:")
    console.say(f"  lstmkit predict {saved} --prompt 'import ' --temperature 0.5 --count 3")
    return {
        "model": str(saved),
        "data": train,
        "pictures": {"page": str(page)},
        "report": report.to_dict(),
        "told": told,
    }


def write(model: Any, prompt: str, seed: int) -> str:
    """What follows a prompt after a new line, up to its last whole line."""
    text = "".join(model.generate("\n" + prompt, SHOWN, seed=seed, **CHOICE))
    return text[: text.rfind("\n")].rstrip() if "\n" in text else text
