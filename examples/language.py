"""A model of short sentences: its score, a ranking, and one prompt continued in several ways.

python examples/language.py    half a minute; makes its own text
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import lstmkit

NAMES, VERBS = ("Anna", "Bob", "the old cat", "the dog"), ("sees", "likes", "finds")


def sentences(count: int, seed: int = 0) -> str:
    draw = random.Random(seed)
    lines = (
        f"{draw.choice(NAMES)} {draw.choice(VERBS)} {draw.choice(NAMES)}." for _ in range(count)
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        text, saved = Path(folder) / "tales.txt", Path(folder) / "tales.safetensors"
        text.write_text(sentences(1500))
        model = lstmkit.LanguageModel(size="tiny", bptt=40, epochs=12).fit(str(text))
        print(model.report_)
        model.save(saved)
        again = lstmkit.load(saved)

    right, wrong = (r.log_probs.sum() for r in again.score(["Anna sees Bob.", "sees Anna Bob."]))
    print("the sentence is more probable than its shuffle:", bool(right > wrong))

    stream = again.stream("the old cat ")
    for way in stream.continuations(3, 30, temperature=0.7, stop="\n", seed=1):
        print("the old cat " + way)
    alone = "".join(stream.branch().generate(30, temperature=0.7, stop="\n", seed=2))
    same = alone == stream.continuations(2, 30, temperature=0.7, stop="\n", seed=1)[1]
    print("a branch alone says the same:", same)


if __name__ == "__main__":
    main()
