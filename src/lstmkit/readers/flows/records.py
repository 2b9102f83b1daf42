"""Single records of connections, without hosts or times: NSL-KDD and UNSW-NB15.

NSL-KDD (Tavallaee et al. 2009) has no header: 41 features, the class, and in most copies how hard
the record is, which is no feature. KDD Cup 99 reads as well. UNSW-NB15 (Moustafa & Slay 2015) is
read in its published partitions, which have a header; the four raw files are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.flows.cells import counts, texts
from lstmkit.readers.flows.schema import BENIGN, Flows, empty
from lstmkit.readers.flows.textual import LINE, Cells, Columns, CsvDecoder

# The names of the 41 features, as published with KDD Cup 99 (kddcup.names).
KDD = (
    "duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land",
    "wrong_fragment", "urgent", "hot", "num_failed_logins", "logged_in", "num_compromised",
    "root_shell", "su_attempted", "num_root", "num_file_creations", "num_shells",
    "num_access_files", "num_outbound_cmds", "is_host_login", "is_guest_login", "count",
    "srv_count", "serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate",
    "same_srv_rate", "diff_srv_rate", "srv_diff_host_rate", "dst_host_count",
    "dst_host_srv_count", "dst_host_same_srv_rate", "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate",
    "dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate",
)  # fmt: skip
KDD_WORDS = ("protocol_type", "service", "flag")
CLASS, DIFFICULTY = "class", "difficulty"
KDD_SERVICES = {"domain_u": "dns", "domain": "dns", "ftp_data": "ftp-data", "pop_3": "pop3",
                "imap4": "imap", "http_443": "ssl", "ntp_u": "ntp", "tftp_u": "tftp",
                "IRC": "irc", "X11": "x11", "private": "", "other": ""}  # fmt: skip
# Argus' states, which UNSW-NB15 has, in Zeek's letters; CON is an exchange that did not end.
ARGUS = {"FIN": "SF", "CON": "S1", "ACC": "S1", "REQ": "S0", "INT": "S0", "RST": "RSTO",
         "CLO": "SF"}  # fmt: skip
NO_FEATURES = ("id", "attack_cat", "label")
UNSW_WORDS = ("proto", "service", "state")


class NslKddDecoder(CsvDecoder):
    """NSL-KDD to flows. All 41 features stand in `extra` under their published names."""

    FORMAT = "nsl-kdd"

    def marks(self, lines: Sequence[str]) -> Sequence[int]:
        """See `LineDecoder`: there are none."""
        return ()

    def rows(self, lines: list[str], first: int) -> Flows:
        """See `LineDecoder`."""
        if not self.names and any(lines):
            self.names = _kdd_names(next(line for line in lines if line))
        return super().rows(lines, first) if self.names else empty(self.FORMAT)

    def columns(self, cells: Cells, n: int) -> Columns:
        """See `LineDecoder`."""
        extra: dict[str, Any] = {}
        for name in KDD:
            is_word = name in KDD_WORDS
            extra[name] = texts(cells[name], _word) if is_word else counts(cells[name], name)
        found: Columns = {"duration": extra["duration"], "proto": extra["protocol_type"]}
        found |= {"src_bytes": extra["src_bytes"], "dst_bytes": extra["dst_bytes"]}
        services = [KDD_SERVICES.get(name, name) for name in extra["service"]]
        found |= {"service": services, "state": extra["flag"], "extra": extra}
        found["label"] = texts(cells[CLASS], _kdd_class)
        found["record"] = [f"line {number}" for number in cells[LINE]]
        return found


class UnswDecoder(CsvDecoder):
    """UNSW-NB15's partitions to flows. All 42 features stand in `extra` under their own names.

    Bytes are of whole packets (as Argus counts them), so that the payload's are not known.
    """

    FORMAT = "unsw-nb15"
    NEEDED = (
        frozenset({"proto", "service", "state", "dur", "sbytes", "dbytes", "spkts", "dpkts"}),
    )

    def columns(self, cells: Cells, n: int) -> Columns:
        """See `LineDecoder`."""
        extra: dict[str, Any] = {}
        for name in cells:
            if name.lower() not in (*NO_FEATURES, LINE):
                is_word = name in UNSW_WORDS
                extra[name] = texts(cells[name], _word) if is_word else counts(cells[name], name)
        found: Columns = {"duration": extra["dur"], "extra": extra}
        found |= {"src_packets": extra["spkts"], "dst_packets": extra["dpkts"]}
        found |= {"src_ip_bytes": extra["sbytes"], "dst_ip_bytes": extra["dbytes"]}
        found |= {"proto": extra["proto"], "service": texts(extra["service"], _service)}
        found["state"] = _argus(extra["state"], extra["proto"], extra["dpkts"])
        found["label"] = _unsw_classes(cells, n)
        found["record"] = _identities(cells)
        return found


def _kdd_names(line: str) -> list[str]:
    """Names of the cells of a first line."""
    cells = line.split(",")
    last = {len(KDD) + 1: (CLASS,), len(KDD) + 2: (CLASS, DIFFICULTY)}.get(len(cells))
    if last is None:
        raise UserError(
            "these are no records of NSL-KDD",
            got=f"{len(cells)} cells: {line[:80]}",
            expected=f"{len(KDD)} features, the class and how hard it is",
        )
    return [*KDD, *last]


def _word(cell: str) -> str:
    found = cell.strip()
    return "" if found == "-" else found


def _service(name: str) -> str:
    return "" if name == "-" else name.lower()


def _kdd_class(cell: str) -> str:
    found = cell.strip().rstrip(".")
    if found.replace(".", "").isdigit():
        raise ValueError(f"no class: {found[:40]}")
    return BENIGN if found == "normal" else found


def _argus(states: Sequence[str], protos: Sequence[str], answers: np.ndarray) -> list[str]:
    """Zeek's letters; what UDP exchanged is whole, as Zeek has it."""
    whole = [proto == "udp" and count > 0 for proto, count in zip(protos, answers, strict=True)]
    return ["SF" if w else ARGUS.get(s, "OTH" if s else "")
            for s, w in zip(states, whole, strict=True)]  # fmt: skip


def _unsw_classes(cells: Cells, n: int) -> list[str]:
    """Names of attacks; of the two columns, one may lack."""
    named = cells.get("attack_cat", [""] * n)
    told = cells.get("label", [""] * n)
    return texts(list(zip(named, told, strict=True)), _unsw_class)


def _unsw_class(said: tuple[str, str]) -> str:
    name, told = (part.strip() for part in said)
    if name.lower() == "normal" or (not name and told == "0"):
        return BENIGN
    return name or ("malicious" if told == "1" else "")


def _identities(cells: Cells) -> list[str]:
    if "id" in cells:
        return [f"id {cell.strip()}" for cell in cells["id"]]
    return [f"line {number}" for number in cells[LINE]]
