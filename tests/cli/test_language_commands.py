"""The commands of language models: train, measure, go on with a prompt, rank, stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

Run = Callable[..., Result]
SMALL = ("--width", 12, "--layers", 1, "--embedding", 8, "--threads", 1, "--bptt", 20)


def text(sentences: int, seed: int) -> str:
    draw = np.random.default_rng(seed)
    names, verbs = ["Anna", "Bob", "the cat", "the dog"], ["sees", "likes", "finds"]
    lines = (
        f"{draw.choice(names)} {draw.choice(verbs)} {draw.choice(names)}." for _ in range(sentences)
    )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def tales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tales") / "tales.txt"
    path.write_text(text(150, 0))
    return path


@pytest.fixture(scope="session")
def teller(tmp_path_factory: pytest.TempPathFactory, tales: Path) -> Path:
    """A small model of characters."""
    from lstmkit.tasks.language.estimator import LanguageModel

    path = tmp_path_factory.mktemp("teller") / "tales.safetensors"
    model = LanguageModel(width=12, layers=1, embedding=8, epochs=2, threads=1, bptt=20)
    model.fit(str(tales)).save(path)
    return path


def test_from_a_text_to_a_model_to_a_score(lstmkit: Run, tales: Path, tmp_path: Path) -> None:
    model, other = tmp_path / "m.safetensors", tmp_path / "other.txt"
    made = lstmkit("train", "language", tales, *SMALL, "--epochs", 1, "-o", model, "--json")
    assert made.exit_code == 0, made.stderr
    report = json.loads(made.stdout)
    assert report["metrics"]["bits_per_char"] > 0 and "kneser_ney_5" in report["baselines"]
    assert "on this CPU" in made.stderr and "lstmkit predict" in made.stderr
    other.write_text(text(40, 9))
    scored = lstmkit("evaluate", model, other, "--json")
    found = json.loads(scored.stdout)
    assert set(found["metrics"]) == {"perplexity", "bits_per_char"} and found["memory_worth"]
    told = lstmkit("info", model)
    assert told.exit_code == 0 and "language" in told.stdout


def test_a_folder_and_standard_input_are_texts(lstmkit: Run, tales: Path, tmp_path: Path) -> None:
    folder, model = tmp_path / "texts", tmp_path / "m.safetensors"
    folder.mkdir()
    (folder / "one.txt").write_text(tales.read_text())
    command = ("train", "language", *SMALL, "--epochs", 1, "-o", model, "--json", "--quiet")
    one = lstmkit(*command, folder)
    two = lstmkit(*command, "-", stdin=tales.read_text())
    assert json.loads(one.stdout)["metrics"] == json.loads(two.stdout)["metrics"]


def test_a_prompt_goes_on_the_same_with_the_same_seed(lstmkit: Run, teller: Path) -> None:
    command = ("predict", teller, "--prompt", "Anna ", "--max-tokens", 30, "--seed")
    one, again, other = (lstmkit(*command, seed) for seed in (3, 3, 4))
    assert one.exit_code == 0 and one.stdout.startswith("Anna ")
    assert one.stdout == again.stdout != other.stdout
    assert len(one.stdout) == len("Anna ") + 30 + 1
    as_json = json.loads(lstmkit(*command, 3, "--json").stdout)
    assert "Anna " + as_json["text"] + "\n" == one.stdout


def test_many_ways_to_go_on(lstmkit: Run, teller: Path, tmp_path: Path) -> None:
    command = ("predict", teller, "--prompt", "Bob ", "--max-tokens", 12, "--seed", 5)
    found = json.loads(lstmkit(*command, "--count", 3, "--json").stdout)
    one = json.loads(lstmkit(*command, "--json").stdout)
    assert len(found["texts"]) == 3 and found["texts"][0] == one["text"]
    file = tmp_path / "ways.txt"
    assert lstmkit(*command, "--count", 2, "-o", file).exit_code == 0
    assert file.read_text().count("---") == 2


def test_the_state_after_a_prompt_is_kept(lstmkit: Run, teller: Path, tmp_path: Path) -> None:
    greedy = ("--max-tokens", 10, "--temperature", 0)
    whole = lstmkit(
        "predict", teller, "--prompt", "the cat ", "--max-tokens", 20, "--temperature", 0
    )
    state = tmp_path / "s.state"
    first = lstmkit("predict", teller, "--prompt", "the cat ", *greedy, "--state", state)
    second = lstmkit("predict", teller, "--prompt", "", *greedy, "--state", state)
    assert first.stdout[:-1] + second.stdout == whole.stdout
    assert "going on from" in second.stderr


def test_a_prompt_from_standard_input_with_unknown_symbols(lstmkit: Run, teller: Path) -> None:
    found = lstmkit("predict", teller, "--prompt", "-", "--max-tokens", 5, stdin="Zürich \u4e2d ")
    assert found.exit_code == 0 and found.stdout.startswith("Zürich \u4e2d ")
    assert "\ufffd" not in found.stdout


def test_text_stops_before_a_string(lstmkit: Run, teller: Path) -> None:
    found = lstmkit("predict", teller, "--prompt", "Anna", "--stop", "\n", "--max-tokens", 200)
    assert found.exit_code == 0 and found.stdout.count("\n") == 1


def test_lines_are_ranked(lstmkit: Run, teller: Path, tmp_path: Path) -> None:
    lines, table = tmp_path / "lines.txt", tmp_path / "scores.csv"
    lines.write_text("Anna sees Bob.\nxq zzw jk vvvv\n")
    assert lstmkit("predict", teller, lines, "-o", table).exit_code == 0
    rows = table.read_text().splitlines()
    assert rows[0] == "line,text,tokens,log_prob,perplexity" and len(rows) == 3
    scores = [float(row.split(",")[3]) / float(row.split(",")[2]) for row in rows[1:]]
    assert scores[0] > scores[1]
    by_token = lstmkit("predict", teller, lines, "--by", "token")
    assert by_token.stdout.splitlines()[0] == "line,token,log_prob"


def test_rows_of_text_are_streamed_with_their_state(
    lstmkit: Run, teller: Path, tmp_path: Path
) -> None:
    rows = [json.dumps({"text": t}) for t in ("Anna ", "sees ", "Bob.")]
    whole = lstmkit("stream", teller, "-", stdin="\n".join(rows) + "\n")
    answers = [json.loads(line) for line in whole.stdout.splitlines()]
    assert [a["tokens"] for a in answers] == [5, 5, 4]
    state = tmp_path / "s.state"
    parts = [
        lstmkit("stream", teller, "-", "--state", state, stdin=row + "\n").stdout for row in rows
    ]
    assert [json.loads(p) for p in parts] == answers
    written = lstmkit("stream", teller, "-", "--max-tokens", 6, "--temperature", 0, stdin=rows[0])
    assert len(json.loads(written.stdout)["generated"]) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict", "MODEL"), "no DATA to answer"),
        (("predict", "MODEL", "--prompt", "a", "--top-p", "2"), "top_p is out of range"),
        (("predict", "MODEL", "--prompt", "a", "--temperature", "-1"), "temperature"),
        (("predict", "MODEL", "TEXT", "--prompt", "a"), "--prompt stands alone"),
        (("predict", "MODEL", "--prompt", "a", "--by", "line"), "--by goes with a text"),
        (("predict", "MODEL", "TEXT", "--temperature", "1"), "goes with a prompt"),
        (("predict", "MODEL", "--prompt", "a", "--count", "2", "--state", "S"), "no one state"),
        (("evaluate", "MODEL", "gone.txt"), "no such file"),
        (("train", "language", "EMPTY", "-o", "OUT"), "empty"),
        (("train", "language", "BINARY", "-o", "OUT"), "no text"),
        (("train", "language", "LATIN", "-o", "OUT"), "--encoding latin-1"),
        (("train", "language", "LINE", "--tokens", "word", "-o", "OUT"), "--tokens char"),
        (("train", "language", "TEXT", "--validation", "gone.txt", "-o", "OUT"), "no file"),
        (("train", "language", "TEXT", "--tokens", "letters", "-o", "OUT"), "letters"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_and_nothing_is_written(
    words: tuple[str, ...], said: str, lstmkit: Run, teller: Path, tales: Path, tmp_path: Path
) -> None:
    files = {
        "EMPTY": b"",
        "BINARY": b"\x00ab" * 500,
        "LATIN": b"caf\xe9 " * 300,
        "LINE": b"x" * 9000,
    }
    places = {
        "MODEL": teller,
        "TEXT": tales,
        "OUT": tmp_path / "o.safetensors",
        "S": tmp_path / "s",
    }
    for name, raw in files.items():
        places[name] = tmp_path / f"{name}.txt"
        places[name].write_bytes(raw)
    before = teller.read_bytes()
    found = lstmkit(*(places.get(word, word) for word in words))
    assert found.exit_code == 2, found.output
    assert said in found.stderr and "Traceback" not in found.stderr
    assert not places["OUT"].exists() and not places["S"].exists()
    assert teller.read_bytes() == before
