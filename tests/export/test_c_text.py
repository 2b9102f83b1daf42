"""The text of generated C headers: names, numbers, what is refused, files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import lstmkit
from lstmkit.errors import UserError
from lstmkit.export.c import to_c, write
from lstmkit.export.c.text import Names, array, collapsed, contiguous, identifier, index, number
from lstmkit.operations import ProgramError
from lstmkit.program import Builder, Program


def layer() -> Program:
    return lstmkit.LSTM(3, 4).eval().program()


def one(
    width: int = 2, weight: np.ndarray | None = None, dtype: str = "float32", port: str = "x"
) -> Program:
    """A program of one entry point `run`: x + weight."""
    b = Builder("recurrent")
    x = b.input(port, ("B", width), dtype)
    given = np.ones(width, np.float32) if weight is None else weight
    b.output("y", b.op("add", x, b.weight("w", given)), ("B", width))
    b.entry("run")
    return b.build()


def test_the_comment_says_what_it_is_and_how_to_use_it() -> None:
    text = to_c(layer(), name="net")
    comment = re.sub(r"\s+\*?\s*", " ", text[: text.index("*/")])
    shown = ["a recurrent model", "entry point step", "input x (1, 3) float", "net_init(&state);"]
    shown += [f"lstmkit {lstmkit.__version__}", "net_step(&state, x, y);", "own, 144 numbers,"]
    assert not [words for words in shown if words not in comment]
    example = text[text.index("#include") : text.index("*/")]
    assert example.count("\n") <= 11


def test_sizes_and_signature() -> None:
    text = to_c(layer(), name="net")
    assert "#define NET_INPUT_X 3\n" in text
    assert "#define NET_OUTPUT_Y 4\n" in text
    assert "void net_step(net_state *state, const float *x, float *y)" in text
    assert "net_state" not in to_c(one(), name="net")
    assert "void net_step(const int32_t *x, float *y)" in to_c(one(dtype="int64"), name="net")


def test_steps_fix_a_sequence() -> None:
    assert "#define MODEL_INPUT_X 21\n" in to_c(layer(), "sequence", steps=7)


def test_the_caller_gives_large_working_memory() -> None:
    floats = 64 * 1024 // 4
    assert "work" not in re.sub(r"/\*.*?\*/", "", to_c(one(floats)), flags=re.S)
    assert "void model_step(model_work *work, const float *x" in to_c(one(floats + 1))


def test_weights_read_back_exactly() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 3000, np.uint32)
    values = bits.view(np.float32)
    special = np.float32([0.0, -0.0, 1e-45, 3.4028235e38, 1.0, -1e4])
    values = np.concatenate([values[np.isfinite(values)], special])
    text = array("float", "w", values)
    read = np.float32(re.findall(r"[-+.e0-9]+(?=f)", text[text.index("{") :]))
    np.testing.assert_array_equal(read.view(np.uint32), values.view(np.uint32))
    assert max(map(len, text.splitlines())) <= 100


def test_the_same_program_gives_the_same_text() -> None:
    program = layer()
    assert to_c(program) == to_c(program)


def test_only_what_is_used_is_there() -> None:
    text = to_c(one())
    assert "static inline float" not in text
    assert "model_tanh" in to_c(layer())


def test_nothing_in_a_name_gets_into_the_code() -> None:
    text = to_c(one(port='*/ #include <evil.h> " \\'))
    assert "evil.h" not in text
    assert "const float *include_evil_h" in text


@pytest.mark.parametrize(
    ("name", "found"),
    [("a.b", "a_b"), ("2x", "v2x"), ("__", "v"), ("größe", "gr_e"), ("lstm.w__l0", "lstm_w_l0")],
)
def test_identifiers(name: str, found: str) -> None:
    assert identifier(name) == found


def test_names_are_different_and_no_words_of_c() -> None:
    names = Names()
    assert [names.take(n) for n in ("a", "a", "a_2", "int", "i")] == [
        "a",
        "a_2",
        "a_2_2",
        "int_2",
        "i_2",
    ]


def test_indices() -> None:
    assert index(["i", "0", "j"], [12, 4, 1], 3) == "i * 12 + j + 3"
    assert index(["0"], [5]) == "0"
    assert contiguous((2, 3, 4)) == [12, 4, 1]
    assert collapsed((2, 1, 3, 4), [[12, 12, 4, 1], [0, 0, 4, 1]]) == ([2, 12], [[12, 1], [0, 1]])
    assert number(0.1) == "0.100000001f"


@pytest.mark.parametrize("name", ["", "2x", "a b", "int", "class", "state", "_x", "x;", "é"])
def test_a_name_must_be_an_identifier(name: str) -> None:
    with pytest.raises(UserError, match="no identifier") as caught:
        to_c(layer(), name=name)
    assert caught.value.hint


def test_an_entry_point_must_be_chosen() -> None:
    b = Builder("recurrent")
    for entry in ("left", "right"):
        b.output("y", b.op("tanh", b.input("x", ("B", 2))), ("B", 2))
        b.entry(entry)
    with pytest.raises(ProgramError, match="which entry point") as caught:
        to_c(b.build())
    assert caught.value.expected == "left, right"
    with pytest.raises(ProgramError, match="no entry point 'middle'"):
        to_c(layer(), "middle")


def test_a_sequence_needs_its_steps() -> None:
    with pytest.raises(ProgramError, match="any number of steps") as caught:
        to_c(layer(), "sequence")
    assert "'step'" in caught.value.hint and "steps=N" in caught.value.hint
    with pytest.raises(ProgramError) as caught:
        to_c(lstmkit.LSTM(3, 4, bidirectional=True).eval().program())
    assert caught.value.hint == "give the number of steps: steps=N"


@pytest.mark.parametrize("steps", [0, -1, 2.0, True, "3"])
def test_steps_must_be_a_number_of_steps(steps: int) -> None:
    with pytest.raises(UserError, match="no number of steps"):
        to_c(layer(), "sequence", steps=steps)


def test_steps_are_refused_where_there_are_none() -> None:
    with pytest.raises(UserError, match="no number of steps to fix"):
        to_c(layer(), "step", steps=3)


def test_double_precision_and_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ProgramError, match=r"port 'x'.*\n.*float64"):
        to_c(one(dtype="float64"))
    with pytest.raises(ProgramError, match=r"model_w_w cannot be written as C\n.*inf"):
        to_c(one(weight=np.float32([1, np.inf])))


def test_a_file_is_whole_and_named_after_itself(tmp_path: Path) -> None:
    write(layer(), tmp_path / "my-net 2.h")
    text = (tmp_path / "my-net 2.h").read_text()
    assert "my_net_2_step(" in text
    write(layer(), tmp_path / "int.h", "sequence", steps=2)
    assert "int_model_step(" in (tmp_path / "int.h").read_text()
    write(one(), tmp_path / "x.h", name="other")
    assert (tmp_path / "x.h").read_text() == to_c(one(), name="other")


def test_a_file_stays_where_the_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h"
    path.write_text("old")
    with pytest.raises(ProgramError):
        write(one(dtype="float64"), path)
    assert path.read_text() == "old"
    with pytest.raises(UserError):
        write(one(), tmp_path / "none" / "x.h")
