"""The native engine is built, says what it is, and its absence is said, or refused."""

from __future__ import annotations

import os
import subprocess
import sys

from lstmkit import engine


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **env}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


HIDDEN = "import sys; sys.modules['lstmkit._native'] = None\n"


def test_engine_is_there_and_names_instruction_sets() -> None:
    status = engine.status()
    assert status["available"]
    assert status["instruction_sets"][0] == "baseline"
    assert status["compiler"].split()[0] in {"gcc", "clang", "msvc"}


def test_absent_engine_says_why_and_how_to_get_it() -> None:
    code = HIDDEN + "from lstmkit import engine; print(engine.status())"
    done = run(code, LSTMKIT_REQUIRE_NATIVE="0")
    assert done.returncode == 0, done.stderr
    assert "'available': False" in done.stdout
    assert "C++ compiler" in done.stdout


def test_absent_engine_is_an_error_where_it_is_required() -> None:
    done = run(HIDDEN + "import lstmkit.engine", LSTMKIT_REQUIRE_NATIVE="1")
    assert done.returncode != 0
    assert "LSTMKIT_REQUIRE_NATIVE=1" in done.stderr
