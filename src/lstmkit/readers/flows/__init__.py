"""Network flows from packets and logs: `read` files, or `files.decoder` one that is fed bytes.

`schema` says what a flow is; one module a format turns bytes into flows (`zeek`, `eve`, `netflow`,
`cicflow`, `records`, `pcap`); `files` opens them, `following` waits for more.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lstmkit.readers.flows.schema import BENIGN, Flows, empty, flows, joined, pieces

if TYPE_CHECKING:
    from lstmkit.readers.flows.decoder import Decoder, Refusal
    from lstmkit.readers.flows.files import FORMATS, Reading, read, sniff
    from lstmkit.readers.flows.following import Follower

_PLACES = {
    "Decoder": "decoder",
    "Refusal": "decoder",
    "FORMATS": "files",
    "Reading": "files",
    "read": "files",
    "sniff": "files",
    "Follower": "following",
}

__all__ = [
    "BENIGN",
    "FORMATS",
    "Decoder",
    "Flows",
    "Follower",
    "Reading",
    "Refusal",
    "empty",
    "flows",
    "joined",
    "pieces",
    "read",
    "sniff",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
