"""Sessions: steps alone and together, states kept, threads, bad input, memory."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime.cases import HIDDEN, INPUTS, VARIANTS, apart, program, sequences

from lstmkit import runtime
from lstmkit.lowprecision import lower
from lstmkit.operations import ProgramError
from lstmkit.program import Builder, Program
from lstmkit.runtime import plan

STREAMED = [name for name in VARIANTS if not VARIANTS[name].get("bidirectional")]
ROWS = sequences(1, 20)[0]


def bits(a: Any, b: Any) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


def two_ports() -> Program:
    """Two inputs, two outputs, a slot that begins at 2: y = a + b * s, z = s' = s * 0.5 + a."""
    b = Builder("recurrent")
    x, w = b.input("a", ("B", 3)), b.input("b", ("B", 3))
    s = b.slot("s", (3,), initial=2.0)
    b.output("y", b.op("add", x, b.op("multiply", w, s)), ("B", 3))
    z = b.op("add", b.op("affine", s, scale=0.5), x)
    b.output("z", z, ("B", 3))
    b.write(s, "z")
    b.entry("step")
    return b.build()


# --- alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", STREAMED)
def test_steps_are_those_of_the_program(variant: str) -> None:
    p = program(variant)
    session, state = runtime.load(p).session(), None
    for row in ROWS:
        wanted, state = p.run("step", {"x": row[None]}, state)
        assert apart(session.step(row), wanted["y"][0]) < 1e-6
    for name, value in session.state.items():
        assert apart(value, state[name][0]) < 1e-6


def test_the_door_is_lstmkit_runtime() -> None:
    code = "import lstmkit; assert lstmkit.runtime.load and lstmkit.runtime.step_many"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_run_is_the_steps_and_leaves_the_state_there() -> None:
    model = runtime.load(program("deep"))
    one, other = model.session(), model.session()
    stepped = np.stack([one.step(row) for row in ROWS])
    assert bits(other.run(ROWS[:7]), stepped[:7])
    assert bits(other.run(ROWS[7:]), stepped[7:])
    assert bits(one.step(ROWS[0]), other.step(ROWS[0]))


@pytest.mark.parametrize("variant", ["plain", "layer_norm"])
def test_no_steps_are_no_answers(variant: str) -> None:
    session = runtime.load(program(variant)).session()
    before = session.save()
    assert session.run(ROWS[:0]).shape == (0, HIDDEN)
    assert session.save() == before


def test_out_takes_the_answer_in_place() -> None:
    model = runtime.load(program("plain"))
    one, other, out = model.session(), model.session(), np.full(HIDDEN, np.nan, np.float32)
    for row in ROWS[:3]:
        assert one.step(row, out) is out
        assert bits(out, other.step(row))
    kept = other.step(ROWS[3])
    before = kept.copy()
    other.step(ROWS[4])
    assert bits(kept, before)  # an answer is the caller's own


@pytest.mark.parametrize(
    "row",
    [
        ROWS[0].astype(np.float64),
        ROWS[0].tolist(),
        ROWS[0][None],
        np.repeat(ROWS[0], 2)[::2],
        {"x": ROWS[0]},
        np.asfortranarray(np.stack([ROWS[0]] * 2, 1))[:, 0],
    ],
    ids=["float64", "list", "batch of one", "strided", "by name", "column"],
)
def test_rows_of_any_kind(row: Any) -> None:
    model = runtime.load(program("plain"))
    assert bits(model.session().step(row), model.session().step(ROWS[0]))


@pytest.mark.parametrize(
    "row",
    [ROWS[0][:4], ROWS[0][0], ROWS[:2], "abc", None, {"y": ROWS[0]}, {}, [ROWS[0]] * 3],
    ids=["short", "scalar", "two", "text", "none", "name", "empty", "three"],
)
def test_bad_rows_change_nothing(row: Any) -> None:
    session = runtime.load(program("plain")).session()
    session.step(ROWS[0])
    before = session.save()
    with pytest.raises(ValueError):  # ProgramError, or what numpy says of such rows
        session.step(row)
    assert session.save() == before


def test_a_bad_out_is_refused() -> None:
    session = runtime.load(program("plain")).session()
    before, frozen = session.save(), np.empty(HIDDEN, np.float32)
    frozen.flags.writeable = False
    for out in (np.empty(HIDDEN), np.empty((2, HIDDEN), np.float32), [0.0] * HIDDEN, frozen):
        with pytest.raises(ProgramError, match="out does not fit"):
            session.step(ROWS[0], out)
        with pytest.raises(ProgramError, match="out does not fit"):
            runtime.step_many([session], ROWS[:1], out)
    assert session.save() == before
    strided = np.empty(2 * HIDDEN, np.float32)[::2]
    assert bits(session.step(ROWS[0], strided), strided)


def test_several_ports_and_a_slot_that_begins_elsewhere() -> None:
    p = two_ports()
    session, state = runtime.load(p).session(), None
    for k in range(3):
        given = {"a": np.full(3, k, np.float32), "b": ROWS[k][:3]}
        wanted, state = p.run("step", {n: v[None] for n, v in given.items()}, state)
        found = session.step(given)
        assert found.keys() == {"y", "z"}
        assert apart(found["y"], wanted["y"][0]) < 1e-6
        assert apart(found["z"], wanted["z"][0]) < 1e-6
    with pytest.raises(ProgramError, match="2 inputs"):
        session.step(ROWS[0][:3])
    with pytest.raises(ProgramError, match="takes other inputs"):
        session.step({"a": ROWS[0][:3]})
    session.reset()
    assert bits(session.state["s"], np.full(3, 2.0))


def test_what_cannot_be_stepped_says_so() -> None:
    model = runtime.load(program("bidirectional"))
    with pytest.raises(ProgramError, match="whole sequences"):
        model.session()
    with pytest.raises(ProgramError, match="no entry point"):
        runtime.load(program("plain")).session("encode")
    with pytest.raises(ProgramError, match="each step"):
        runtime.load(program("plain")).session(every=2)


# --- together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_sessions_that_come_and_go_get_what_they_get_alone(precision: str) -> None:
    model = runtime.load(lower(program("projected", hidden_size=40), precision))
    random = np.random.default_rng(0)
    together = [model.session() for _ in range(9)]
    alone = [model.session() for _ in range(9)]
    for _ in range(12):
        chosen = random.permutation(9)[: random.integers(1, 10)]
        xs = random.standard_normal((len(chosen), INPUTS)).astype(np.float32)
        found = runtime.step_many([together[k] for k in chosen], xs)
        for k, x, y in zip(chosen, xs, found, strict=True):
            assert bits(y, alone[k].step(x))
    assert all(a.save() == b.save() for a, b in zip(together, alone, strict=True))


def counting() -> Program:
    """A slot that counts its steps, and an embedding that may refuse."""
    b = Builder("recurrent")
    i, n = b.input("i", ("B", 1), "int64"), b.slot("n", (1,))
    count = b.op("affine", n, shift=1.0)
    b.write(n, count)
    table = b.weight("table", np.zeros((4, 300), np.float32))
    e = b.op("reshape", b.op("embedding", i, table), shape=[0, 300])
    b.output("y", b.op("add", e, count), ("B", 300))
    b.entry("step")
    return b.build()


def test_one_refused_session_leaves_all_as_they_were() -> None:
    model = runtime.load(counting())
    sessions = [model.session() for _ in range(600)]
    rows = np.zeros((600, 1), np.int64)
    runtime.step_many(sessions, rows)
    rows[590] = 4
    with pytest.raises(ProgramError, match="outside the embedding"):
        runtime.step_many(sessions, rows)
    assert {float(s.state["n"][0]) for s in sessions} == {1.0}


def test_more_sessions_than_fit_a_cache() -> None:
    model = runtime.load(program("plain"))
    sessions, xs = [model.session() for _ in range(700)], sequences(700, 1)[:, 0]
    out = np.empty((700, HIDDEN), np.float32)
    assert runtime.step_many(sessions, xs, out) is out
    assert bits(out, np.stack([model.session().step(x) for x in xs]))


def test_step_many_refuses_what_does_not_go_together() -> None:
    model, other = runtime.load(program("plain")), runtime.load(program("plain"))
    one, two = model.session(), model.session()
    with pytest.raises(ProgramError, match="one model"):
        runtime.step_many([one, other.session()], ROWS[:2])
    with pytest.raises(ProgramError, match="no sessions"):
        runtime.step_many([], ROWS[:0])
    with pytest.raises(ProgramError, match="rows"):
        runtime.step_many([one, two], ROWS[:3])
    before = one.save(), two.save()
    with pytest.raises(RuntimeError, match="given twice"):
        runtime.step_many([one, two, one], ROWS[:3])
    assert (one.save(), two.save()) == before
    runtime.step_many([one, two], ROWS[:2])  # and neither is left seized


@pytest.mark.parametrize("variant", ["layer_norm", "everything"])
def test_what_numpy_steps_goes_together_too(variant: str) -> None:
    model = runtime.load(program(variant))
    sessions = [model.session() for _ in range(3)]
    alone = model.session()
    for t in range(4):
        found = runtime.step_many(sessions, np.stack([ROWS[t]] * 3))
        assert apart(found[2], alone.step(ROWS[t])) < 1e-6
    with pytest.raises(RuntimeError, match="given twice"):
        runtime.step_many([sessions[0]] * 2, ROWS[:2])


# --- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["deep", "everything"])
def test_save_restore_and_clone(variant: str) -> None:
    model = runtime.load(program(variant))
    session = model.session()
    session.run(ROWS[:5])
    saved, twin = session.save(), session.clone()
    wanted = session.run(ROWS[5:])
    again = runtime.load(program(variant)).session()
    again.restore(saved)
    assert bits(again.run(ROWS[5:]), wanted)
    assert bits(twin.run(ROWS[5:]), wanted)
    assert len(saved) == 32 + 4 * model.state_size


def test_states_that_do_not_belong_are_refused() -> None:
    model = runtime.load(program("plain"))
    session = model.session()
    session.step(ROWS[0])
    saved = session.save()
    stranger = runtime.load(lower(program("plain"), "int8")).session()
    with pytest.raises(ProgramError, match="another model"):
        stranger.restore(saved)
    for bad, said in (
        (b"", "no saved state"),
        (saved[:-1], "damaged"),
        (saved[:-1] + b"\x7f", "damaged"),
        (b"x" * len(saved), "no saved state"),
        (saved[:8] + b"\x09\x00" + saved[10:], "newer"),
    ):
        with pytest.raises(ProgramError, match=said):
            session.restore(bad)
    assert session.save() == saved


def test_a_session_costs_at_most_twice_its_state() -> None:
    """Measured: what 20,000 sessions add to this process."""
    model = runtime.load(program("plain", hidden_size=64))
    keep = [model.session() for _ in range(100)]
    gc.collect()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc")
    before = resident()
    keep += [model.session() for _ in range(20_000)]
    assert (resident() - before) / 20_000 <= 2 * 4 * model.state_size
    assert len(keep) == 20_100


# --- threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [8, 200])  # small steps keep the lock of Python, large ones not
def test_threads_with_sessions_of_their_own(hidden: int) -> None:
    model = runtime.load(program("plain", hidden_size=hidden))
    rows = sequences(6, 40)
    wanted = [model.session().run(xs) for xs in rows]
    ready = threading.Barrier(6)

    def work(xs: np.ndarray) -> np.ndarray:
        session = model.session()
        ready.wait()
        return np.stack([session.step(x) for x in xs])

    with ThreadPoolExecutor(6) as pool:
        for found, expected in zip(pool.map(work, rows), wanted, strict=True):
            assert bits(found, expected)


@pytest.mark.parametrize(("variant", "steps"), [("plain", 4000), ("layer_norm", 800)])
def test_one_session_in_two_threads_is_refused(variant: str, steps: int) -> None:
    model = runtime.load(program(variant, hidden_size=300))
    session, errors = model.session(), []
    xs = sequences(1, steps)[0]

    def work() -> None:
        try:
            session.run(xs)
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors
    assert all("another thread" in e for e in errors)


def test_plans_of_many_lengths_do_not_pile_up() -> None:
    model = runtime.load(program("plain"))
    for steps in range(1, 60):
        model.run("sequence", {"x": sequences(1, steps)})
    assert len(model._plans) == 32
    assert model.run("sequence", {"x": sequences(1, 59)})[0]["y"].shape == (1, 59, HIDDEN)


def test_plans_of_all_lengths_share_their_weights() -> None:
    model = runtime.load(program("deep"))
    model.session().step(ROWS[0])
    for steps in (3, 9, 27):
        model.run("sequence", {"x": sequences(1, steps)})
    assert len(model._packed) == 3  # one a layer, stepped and in sequence


def test_without_the_native_engine_numpy_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    p = program("deep")
    wanted = runtime.load(p).session().run(ROWS)
    monkeypatch.setattr(plan, "NATIVE", None)
    session = runtime.load(p).session()
    assert apart(session.run(ROWS), wanted) < 1e-6
    twin = session.clone()
    assert bits(twin.step(ROWS[0]), session.step(ROWS[0]))
