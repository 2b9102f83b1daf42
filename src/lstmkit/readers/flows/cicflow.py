"""CICFlowMeter's CSV, of both generations of column names, as in CIC-IDS2017 and CSE-CIC-IDS2018.

https://www.unb.ca/cic/datasets/ids-2017.html. What is known of these files: times have no zone
(taken as UTC), are written day first (month first where a date says so: from there on), and in the
files of 2017 and 2018 on a clock of 12 hours that does not say which half it is (kept as written).
Packets' IP headers are not counted: 20 bytes each are added, of IPv6 40. The flags of both ends are
counted together, so that states are rough. Files without addresses are read, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.readers.flows.cells import addresses, counts, ports, texts, times
from lstmkit.readers.flows.netflow import protocol
from lstmkit.readers.flows.schema import BENIGN, Flows
from lstmkit.readers.flows.states import both_ways, merged_state
from lstmkit.readers.flows.textual import LINE, Cells, Columns, CsvDecoder

# Our name of a column, by those of the generations, in lower case.
NAMES = {
    "id": ("flow id",),
    "src": ("source ip", "src ip"),
    "dst": ("destination ip", "dst ip"),
    "sport": ("source port", "src port"),
    "dport": ("destination port", "dst port"),
    "proto": ("protocol",),
    "time": ("timestamp",),
    "duration": ("flow duration",),
    "src_packets": ("total fwd packets", "tot fwd pkts", "total fwd packet"),
    "dst_packets": ("total backward packets", "tot bwd pkts", "total bwd packets"),
    "src_bytes": ("total length of fwd packets", "totlen fwd pkts", "total length of fwd packet"),
    "dst_bytes": ("total length of bwd packets", "totlen bwd pkts", "total length of bwd packet"),
    "src_header": ("fwd header length", "fwd header len"),
    "dst_header": ("bwd header length", "bwd header len"),
    "fin": ("fin flag count", "fin flag cnt"),
    "syn": ("syn flag count", "syn flag cnt"),
    "rst": ("rst flag count", "rst flag cnt"),
    "ack": ("ack flag count", "ack flag cnt"),
    "label": ("label",),
}
OURS = {theirs: ours for ours, names in NAMES.items() for theirs in names}
FLAGS = {"fin": 0x01, "syn": 0x02, "rst": 0x04, "ack": 0x10}
NO_FEATURES = ("id", "src", "dst", "sport", "proto", "time", "label")
NO_NUMBERS = ("", "unnamed: 0", "simillarhttp")  # an index; text in CIC-DDoS2019
UNLABELLED = ("", "needmanuallabel", "no label")
UNKNOWN = ("infinity", "-infinity", "inf", "-inf", "nan", "")
DATE = re.compile(
    r"(\d{1,2})[/-](\d{1,2})[/-](\d{4}) +(\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?)( *[AaPp][Mm])?"
)
MICROSECONDS = 1e6
HEADER, HEADER6 = 20, 40  # bytes of IP


class CicflowDecoder(CsvDecoder):
    """CICFlowMeter's CSV to flows; see `Decoder`.

    Every numeric column stands in `extra` under its own name (the destination's port and the
    duration, too); cells that are infinite or no number are NaN there.
    """

    FORMAT = "cicflow"
    NEEDED = tuple(
        frozenset({"flow duration", name}) for name in ("flow id", *NAMES["dport"])
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.month_first = False

    def header(self) -> Any:
        """Names of the columns, and how dates are written."""
        return [self.names, self.month_first]

    def set_header(self, header: Any) -> None:
        """Take what `header` gave."""
        self.names, self.month_first = list(header[0]), bool(header[1])

    def converted(self, cells: Cells, numbers: Sequence[int]) -> Flows:
        """See `LineDecoder`; dates are put in one order first, since it depends on those above."""
        stamp = next((name for name in cells if name.lower() in NAMES["time"]), None)
        if stamp is not None:
            cells = {**cells, stamp: [self._dated(cell) for cell in cells[stamp]]}
        return super().converted(cells, numbers)

    def _dated(self, cell: str) -> str:
        """A time as ISO 8601, or as it is."""
        found = DATE.fullmatch(cell.strip())
        if not found:
            return cell.strip()
        first, second = int(found[1]), int(found[2])
        if first > 12 or second > 12:
            self.month_first = second > 12
        day, month = (second, first) if self.month_first else (first, second)
        return f"{found[3]}-{month:02}-{day:02}T{_clock(found[4], found[5] or '')}"

    def columns(self, cells: Cells, n: int) -> Columns:
        """See `LineDecoder`."""
        known = {OURS[name.lower()]: name for name in reversed(list(cells))
                 if name.lower() in OURS}  # fmt: skip
        ours: Cells = {name: cells[theirs] for name, theirs in known.items()}
        found: Columns = {name: _count(ours, name, n) for name in
                          ("src_packets", "dst_packets", "src_bytes", "dst_bytes")}  # fmt: skip
        found["duration"] = _count(ours, "duration", n) / MICROSECONDS
        if "time" in ours:
            found["time"] = times(ours["time"], "Timestamp")
        for name in ("src", "dst"):
            found[name] = addresses(ours[name], known[name]) if name in ours else [""] * n
        for name in ("sport", "dport"):
            if name in ours:
                found[name] = ports(ours[name], known[name])
        found["proto"] = texts(ours["proto"], protocol) if "proto" in ours else [""] * n
        found["state"] = _states(ours, found, n)
        found |= _ip_bytes(ours, found, n)
        found["label"] = texts(ours["label"], _label) if "label" in ours else [""] * n
        identity = ours.get("id", [""] * n)
        found["record"] = [cell.strip() or f"line {number}"
                           for cell, number in zip(identity, cells[LINE], strict=True)]  # fmt: skip
        found["extra"] = _features(cells)
        return found


def _clock(clock: str, half: str) -> str:
    """An hour of the day in ISO 8601, of one that may say AM or PM."""
    hour, _, rest = clock.partition(":")
    number = int(hour)
    if half and 1 <= number <= 12:
        number = number % 12 + (12 if half.strip().lower() == "pm" else 0)
    elif half:
        number = -1  # no hour of such a clock
    return f"{number:02}:{rest}"


def _count(ours: Cells, name: str, n: int) -> np.ndarray:
    """Numbers from 0 on; NaN where there is none, or a negative one (old versions overflow)."""
    if name not in ours:
        return np.full(n, np.nan)
    found = _numbers(ours[name], name)
    return np.where(found < 0, np.nan, found)


def _numbers(cells: Sequence[str], name: str) -> np.ndarray:
    """Numbers of any sign; what is infinite or no number is NaN."""
    try:
        return counts(cells, name, unset="", signed=True)
    except ValueError:
        return counts(texts(cells, _bare), name, unset="", signed=True)


def _bare(cell: str) -> str:
    found = cell.strip()
    return "" if found.lower() in UNKNOWN else found


def _states(ours: Cells, found: Columns, n: int) -> list[str]:
    """How the flows went, in Zeek's letters."""
    flags = np.zeros(n, int)
    for name, bit in FLAGS.items():
        flags |= np.where(_count(ours, name, n) > 0, bit, 0)
    rows = zip(found["proto"], flags.tolist(), found["src_packets"], found["dst_packets"],
               strict=True)  # fmt: skip
    return [_state(*row) for row in rows]


def _state(proto: str, flags: int, sent: float, received: float) -> str:
    if not proto:
        return ""
    if proto == "tcp":
        return merged_state(flags, sent, received)
    return both_ways(proto, sent, received)


def _ip_bytes(ours: Cells, found: Columns, n: int) -> Columns:
    """Payload, the transport's headers as counted, and IP's."""
    ip = np.array([HEADER6 if ":" in address else HEADER for address in found["src"]])
    return {
        f"{end}_ip_bytes": found[f"{end}_bytes"]
        + _count(ours, f"{end}_header", n)
        + ip * found[f"{end}_packets"]
        for end in ("src", "dst")
    }


def _label(cell: str) -> str:
    found = cell.strip()
    if found.lower() in UNLABELLED:
        return ""
    return BENIGN if found.lower() == BENIGN else found


def _features(cells: Cells) -> Columns:
    """The numeric columns by their own names."""
    return {
        name: _numbers(column, name)
        for name, column in cells.items()
        if name != LINE
        and name.lower() not in NO_NUMBERS
        and OURS.get(name.lower()) not in NO_FEATURES
    }
