"""Windowed sessions: the same window, the same answer."""

from __future__ import annotations

import numpy as np
import pytest
from runtime.cases import apart

from lstmkit import runtime
from lstmkit.operations import ProgramError
from lstmkit.program import Builder, Program

L = 5
ROWS = np.random.default_rng(0).standard_normal((14, 2)).astype(np.float32)


def program() -> Program:
    """The sum over the window, times a gain that is given whole."""
    b = Builder("windowed", window=L)
    x, gain = b.input("x", ("B", L, 2)), b.input("gain", ("B", 2))
    b.output("y", b.op("multiply", b.op("sum", x, axis=1), gain), ("B", 2))
    b.entry("run")
    return b.build()


def fed(session: runtime.WindowSession, rows: np.ndarray) -> list[np.ndarray]:
    return [session.step({"x": row, "gain": np.full(2, 2.0)}) for row in rows]


def test_the_same_window_gives_the_same_answer() -> None:
    model = runtime.load(program())
    answers = fed(model.session(), ROWS)
    for k in range(L - 1, len(ROWS)):
        window = {"x": ROWS[None, k - L + 1 : k + 1], "gain": np.full((1, 2), 2.0)}
        assert np.array_equal(answers[k], model.run("run", window)[0]["y"][0])
    assert apart(answers[0], 2 * ROWS[0]) < 1e-6  # rows before the first are 0


def test_only_each_kth_row_is_answered() -> None:
    model = runtime.load(program())
    every, third = fed(model.session(), ROWS), fed(model.session(every=3), ROWS)
    assert [k for k, a in enumerate(third) if a is not None] == [2, 5, 8, 11]
    assert all(np.array_equal(third[k], every[k]) for k in (2, 5, 8, 11))
    many = {"x": ROWS, "gain": np.full((14, 2), 2.0)}
    assert np.array_equal(model.session(every=3).run(many), [a for a in third if a is not None])


def test_save_restore_and_clone() -> None:
    model = runtime.load(program())
    session = model.session(every=2)
    fed(session, ROWS[:7])
    saved, twin, again = session.save(), session.clone(), model.session()
    again.restore(saved)
    wanted = fed(session, ROWS[7:])
    for found in (fed(twin, ROWS[7:]), fed(again, ROWS[7:])):
        for a, b in zip(found, wanted, strict=True):
            assert (a is None and b is None) or np.array_equal(a, b)
    with pytest.raises(ProgramError, match="damaged"):
        again.restore(saved[:-2])


@pytest.mark.parametrize(
    "row",
    [
        {"x": ROWS[0]},
        {"x": ROWS[:2], "gain": np.ones(2)},
        {"x": ROWS[0], "gain": np.ones(3)},
        {"x": ROWS[0], "gain": np.ones(2), "z": 1},
        {"x": np.array(["a", "b"]), "gain": np.ones(2)},
        ROWS[0],
    ],
    ids=["missing", "two rows", "wide", "unknown", "text", "one array"],
)
def test_bad_rows_change_nothing(row: object) -> None:
    session = runtime.load(program()).session()
    fed(session, ROWS[:3])
    before = session.save()
    with pytest.raises(ProgramError):
        session.step(row)  # type: ignore[arg-type]
    assert session.save() == before


def test_windows_do_not_step_together() -> None:
    session = runtime.load(program()).session()
    with pytest.raises(ProgramError, match="recurrent"):
        runtime.step_many([session], ROWS[:1])  # type: ignore[list-item]


def test_every_must_be_a_number_of_rows() -> None:
    with pytest.raises(ProgramError, match="1 or more"):
        runtime.load(program()).session(every=0)
