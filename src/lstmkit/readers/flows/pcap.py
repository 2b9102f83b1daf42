"""Flows of a packet capture: pcap or pcapng bytes in, flows as Zeek's conn.log has them out.

The work is done by the native part: native/flowtable.h says what belongs together and when a flow
is over. It comes when it ends by the packets' own clock, not by ours. A flow of one moment has NaN
for its duration and its bytes of payload, as Zeek leaves them out. Packets without IP (ARP and the
like) are no flows and no refusals: `others` counts them.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, ClassVar

import numpy as np

from lstmkit import engine
from lstmkit.errors import UserError
from lstmkit.readers.flows.decoder import Decoder
from lstmkit.readers.flows.schema import NUMBERS, PORTS, Flows, empty, flows, words

TAKEN = ("src", "dst", "proto", "service", "state", "record")
NEITHER, UNREAD_LINK = 3, 4  # Format in native/capture.h
LINKS = "Ethernet, raw IP, loopback or Linux cooked"


class PcapDecoder(Decoder):
    """Bytes of one capture in pieces of any size, flows out.

    Args:
        most: flows that are open at once, about 0.4 kB each; beyond, the one that was quiet longest
            ends early.
        checksums: leave packets with a wrong TCP, UDP or ICMP checksum out of a flow's state, as
            Zeek does (history "C"), and those with a wrong IP checksum out altogether. Checksums
            that the network card was left to fill in are taken as right.

    Raises:
        UserError: the native part is not there; or, of `feed`, this is no capture.
    """

    FORMAT: ClassVar[str] = "pcap"

    def __init__(self, most: int = 1_000_000, checksums: bool = True) -> None:
        super().__init__()
        self.most, self.checksums = most, checksums
        self._reader = _reader(most, checksums)

    @property
    def packets(self) -> int:
        """Packets so far, in the capture's own count."""
        return int(self._reader.packets)

    @property
    def others(self) -> int:
        """Packets without IP."""
        return int(self._reader.others)

    @property
    def open(self) -> int:
        """Flows that have not ended."""
        return int(self._reader.open)

    def feed(self, data: bytes) -> Flows:
        """The flows that end within these bytes."""
        waiting = self._reader.feed(data)
        self._require_capture()
        return self._taken(waiting)

    def finish(self) -> Flows:
        """The flows that were still open, in the order in which they would have ended."""
        return self._taken(self._reader.finish())

    def state(self) -> dict[str, Any]:
        """What was read of the capture, and the open flows, packed as text."""
        packed = base64.b64encode(zlib.compress(self._reader.state(), 1))
        return {"most": self.most, "checksums": self.checksums, "capture": packed.decode()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            ValueError: it is none, or one of another version or kind of machine.
        """
        most, checksums = int(state["most"]), bool(state["checksums"])
        reader = _reader(most, checksums)
        try:
            packed = base64.b64decode(state["capture"], validate=True)
            good = reader.set_state(zlib.decompress(packed))
        except (ValueError, zlib.error):
            good = False
        if not good:
            raise ValueError("no state of a capture, or one of another version of lstmkit")
        self.most, self.checksums, self._reader = most, checksums, reader

    def _require_capture(self) -> None:
        if self._reader.format == NEITHER:
            raise UserError(
                "this is no packet capture",
                expected="pcap or pcapng, not compressed",
                hint="write one with tcpdump -w FILE, or unpack it first: gunzip -c FILE",
            )
        if self._reader.format == UNREAD_LINK:
            raise UserError(
                "the capture has frames of a kind that is not read",
                got=f"link type {self._reader.link}",
                expected=LINKS,
            )

    def _taken(self, n: int) -> Flows:
        self._count_refusals()
        if n == 0:
            return empty(self.FORMAT)
        numbers, ports = np.empty((len(NUMBERS), n)), np.empty((len(PORTS), n), np.int32)
        *texts, history = self._reader.take(numbers.ctypes.data, ports.ctypes.data, n)
        self.answered += n
        columns: dict[str, Any] = dict(zip(NUMBERS, numbers, strict=True))
        columns |= dict(zip(PORTS, ports, strict=True))
        columns |= dict(zip(TAKEN, texts, strict=True))
        return flows(self.FORMAT, n, extra={"history": words(history)}, **columns)

    def _count_refusals(self) -> None:
        count, last = self._reader.refused()
        self.refused += count - len(last)
        for number, why in last:
            self.refuse(number, f"packet {number}: {why}")


def _reader(most: int, checksums: bool) -> Any:
    if engine.NATIVE is None:
        raise UserError(
            "packets are read by the native part of lstmkit, which is not here",
            got=str(engine.status()["reason"]),
            hint=engine.HINT,
        )
    return engine.NATIVE.PcapReader(most, checksums)
