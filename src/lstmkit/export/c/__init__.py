"""C: one entry point of a program as one header without dependencies, for C99 and C++.

Sizes are fixed, nothing is allocated, no library is called, not even libm; the state is a struct
that the caller holds. For microcontrollers, plug-ins and real-time threads.
"""

from __future__ import annotations

from lstmkit.export.c.files import write
from lstmkit.export.c.header import to_c

__all__ = ["to_c", "write"]
