"""Programs as C, compiled into one shared library and called from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from lstmkit.export.c import to_c
from lstmkit.program import EntryPoint, Program

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("c++") or shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
