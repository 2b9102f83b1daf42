"""Zeek's conn.log, tab separated with its own header or as JSON lines.

https://docs.zeek.org/en/master/logs/conn.html. Labels stand in the columns `label` and
`detailedlabel` (or `detailed-label`), as in the logs of the Stratosphere Laboratory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lstmkit.errors import UserError
from lstmkit.readers.flows.cells import addresses, counts, parsed, ports, texts, times
from lstmkit.readers.flows.schema import BENIGN, Flows, empty, joined
from lstmkit.readers.flows.textual import Cells, Columns, LineDecoder, split

NEEDED = ("ts", "id.orig_h", "id.resp_h", "proto")
TOLD = ("conn_state", "orig_pkts", "duration", "orig_bytes")  # a log of flows has one of them
DETAILS = ("detailedlabel", "detailed-label")
COUNTS = {
    "duration": "duration",
    "src_bytes": "orig_bytes",
    "dst_bytes": "resp_bytes",
    "src_packets": "orig_pkts",
    "dst_packets": "resp_pkts",
    "src_ip_bytes": "orig_ip_bytes",
    "dst_ip_bytes": "resp_ip_bytes",
}
NAMES = (*NEEDED, *COUNTS.values(), "id.orig_p", "id.resp_p", "uid", "service", "conn_state",
         "history", "label", *DETAILS)  # fmt: skip
GLUE = "   "  # between the last fields of IoT-23's logs, which stand in one
PATH = "conn"


class ZeekDecoder(LineDecoder):
    """conn.log to flows; see `Decoder`. JSON of other logs (`_path`) is skipped; of a key that
    comes twice in an object, the last counts."""

    FORMAT = "zeek"

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[str] = []
        self.separator, self.unset, self.blank = "\t", "-", "(empty)"

    def header(self) -> Any:
        """Names of the fields and how they are written."""
        return [self.fields, self.separator, self.unset, self.blank]

    def set_header(self, header: Any) -> None:
        """Take what `header` gave."""
        self.fields, self.separator, self.unset, self.blank = header

    def marks(self, lines: Sequence[str]) -> Sequence[int]:
        """See `LineDecoder`."""
        return [k for k, line in enumerate(lines) if line[:1] == "#"]

    def mark(self, line: str, number: int) -> None:
        """See `LineDecoder`."""
        if line.startswith("#separator"):
            self.separator = _unescaped(line[len("#separator") :].strip()) or "\t"
            return
        name, _, value = line[1:].partition(self.separator)
        if name == "unset_field":
            self.unset = value
        elif name == "empty_field":
            self.blank = value
        elif name == "fields":
            self.fields = _fields(value.replace(GLUE, self.separator).split(self.separator))
        elif name == "path" and not value.strip().startswith(PATH):
            raise UserError("this Zeek log holds no flows", got=line[:40], expected=f"#path {PATH}")

    def rows(self, lines: list[str], first: int) -> Flows:
        """See `LineDecoder`."""
        numbers: Sequence[int] = range(first, first + len(lines))
        heads = {line[:1] for line in lines}
        if heads == {"{"}:
            return self._objects(lines, numbers)
        if "{" not in heads and "" not in heads:
            return self._table(lines, numbers)
        return self._mixed(lines, first)

    def _mixed(self, lines: Sequence[str], first: int) -> Flows:
        found: list[Flows] = []
        run: list[str] = []
        numbers: list[int] = []
        for number, line in enumerate(lines, first):
            if not line.strip():
                continue
            if run and (run[-1][0] == "{") != (line[0] == "{"):
                found.append(self._run(run, numbers))
                run, numbers = [], []
            run.append(line)
            numbers.append(number)
        found.append(self._run(run, numbers))
        kept = [f for f in found if len(f)]
        return joined(kept) if kept else empty(self.FORMAT)

    def _run(self, lines: Sequence[str], numbers: Sequence[int]) -> Flows:
        """Lines of one kind."""
        if not lines:
            return empty(self.FORMAT)
        kind = self._objects if lines[0][0] == "{" else self._table
        return kind(lines, numbers)

    def _table(self, lines: Sequence[str], numbers: Sequence[int]) -> Flows:
        """Lines of one header."""
        if not self.fields:
            for number, line in zip(numbers, lines, strict=True):
                if line.strip():
                    self.reject(number, f"no JSON, and no #fields line above: {line[:40]}")
            return empty(self.FORMAT)
        columns, numbers = split(self, lines, numbers, len(self.fields), self.separator, GLUE)
        cells = dict(zip(self.fields, columns, strict=True))
        return self.converted({name: cells[name] for name in NAMES if name in cells}, numbers)

    def _objects(self, lines: Sequence[str], numbers: Sequence[int]) -> Flows:
        """Lines of JSON."""
        objects, kept = [], []
        for number, line in zip(numbers, lines, strict=True):
            try:
                found = parsed(line)
            except ValueError as error:
                self.reject(number, f"no JSON: {str(error)[:80]}")
                continue
            if found.get("_path", PATH) != PATH:
                self.skipped += 1
                continue
            if not any(name in found for name in TOLD):
                self.reject(number, f"no flow: none of {', '.join(TOLD)}")
                continue
            objects.append(found)
            kept.append(number)
        cells = {name: [found.get(name, self.unset) for found in objects] for name in NAMES}
        return self.converted(cells, kept)

    def columns(self, cells: Cells, n: int) -> Columns:
        """See `LineDecoder`."""
        nothing = [self.unset] * n

        def column(name: str) -> Sequence[Any]:
            return cells.get(name, nothing)

        def words(name: str) -> list[str]:
            return texts(column(name), self._word)

        found: Columns = {
            ours: counts(column(name), name, self.unset) for ours, name in COUNTS.items()
        }
        found["time"] = times(column("ts"), "ts")
        found["sport"] = ports(column("id.orig_p"), "id.orig_p", self.unset)
        found["dport"] = ports(column("id.resp_p"), "id.resp_p", self.unset)
        found["src"] = addresses(column("id.orig_h"), "id.orig_h")
        found["dst"] = addresses(column("id.resp_h"), "id.resp_h")
        found["proto"] = texts(words("proto"), str.lower)
        found["service"], found["state"] = words("service"), words("conn_state")
        found["record"] = self._identities(column("uid"))
        if "label" in cells:
            details = zip(words(DETAILS[0]), words(DETAILS[1]), strict=True)
            pairs = zip(words("label"), (a or b for a, b in details), strict=True)
            found["label"] = texts(list(pairs), _label)
        found["extra"] = {"history": words("history")}
        return found

    def _identities(self, cells: Sequence[Any]) -> list[str]:
        """Words that differ from row to row."""
        given = set(map(type, cells)) == {str}
        if given and self.unset not in cells and self.blank not in cells:
            return list(cells)
        return [self._word(cell) for cell in cells]

    def _word(self, cell: Any) -> str:
        if cell is None or cell in (self.unset, self.blank):
            return ""
        if not isinstance(cell, str):
            raise ValueError(f"no word: {str(cell)[:40]}")
        return cell


def _fields(names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    missing = [name for name in NEEDED if name not in names]
    if missing or not any(name in names for name in TOLD):
        raise UserError(
            "this Zeek log has no flows' columns",
            got=", ".join(names)[:120],
            expected=f"{', '.join(NEEDED)}, and {' or '.join(TOLD)}",
        )
    if len(set(names)) < len(names):
        raise UserError("this Zeek log names a column twice", got=", ".join(names)[:120])
    return names


def _unescaped(text: str) -> str:
    r"""`\x09` as the character."""
    if text.startswith("\\x") and len(text) == 4:
        try:
            return chr(int(text[2:], 16))
        except ValueError:
            return ""
    return text[:1]


def _label(said: tuple[str, str]) -> str:
    """Benign, the attack's name, or nothing for background and what is not said."""
    label, detail = said
    kind = label.lower()
    if kind == BENIGN:
        return BENIGN
    if not kind.startswith("malicious"):
        return ""
    return detail or label[len("malicious") :].strip(" -") or "malicious"
