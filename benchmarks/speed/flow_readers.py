"""Readers of flow logs: flows a second of each format on one core, from bytes in memory.

    OMP_NUM_THREADS=1 python benchmarks/speed/flow_readers.py [--flows 50000 --rounds 7]

A log of each format is generated (hosts, ports, sizes and states drawn at random, half of the
optional cells unset) and decoded in pieces of 1 MiB. Every round decodes each once: median, lowest
and highest of the rounds. `utf8 bytes a flow` says how long the lines are.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from timing import write

from lstmkit.readers.flows.files import decoder
from lstmkit.readers.flows.opening import AT_ONCE
from lstmkit.readers.flows.records import KDD

STATES = ("SF", "S0", "REJ", "RSTO", "OTH")
SERVICES = ("-", "dns", "ssl", "http")
START = 1655071198.444458
ZEEK = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service",
        "duration", "orig_bytes", "resp_bytes", "conn_state", "local_orig", "local_resp",
        "missed_bytes", "history", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes",
        "tunnel_parents")  # fmt: skip
NFDUMP = ("ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out,sas,das,smk,dmk,dtos,"
          "dir,nh,nhb,svln,dvln,ismc,odmc,idmc,osmc,mpls1,mpls2,mpls3,mpls4,mpls5,mpls6,mpls7,"
          "mpls8,mpls9,mpls10,cl,sl,al,ra,eng,exid,tr")  # fmt: skip
FEATURES = 70  # numeric columns of CICFlowMeter
UNSW = ("id,dur,proto,service,state,spkts,dpkts,sbytes,dbytes,"
        + ",".join(f"f{k}" for k in range(34)) + ",attack_cat,label")  # fmt: skip


class Drawn:
    """Values of one flow after the other."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def host(self) -> str:
        """An address of a network of 4,096."""
        return f"10.0.{self.draw.randrange(16)}.{self.draw.randrange(256)}"

    def number(self, largest: int) -> int:
        """A whole number."""
        return self.draw.randrange(largest)

    def one_of(self, words: tuple[str, ...]) -> str:
        """A word."""
        return self.draw.choice(words)


def zeek(draw: Drawn, n: int) -> str:
    """conn.log as a table."""
    lines = ["#separator \\x09", "#unset_field\t-", "#path\tconn", "#fields\t" + "\t".join(ZEEK)]
    lines += ["\t".join(map(str, _zeek_row(draw, k))) for k in range(n)]
    return "\n".join(lines) + "\n"


def _zeek_row(draw: Drawn, k: int) -> list[Any]:
    known = draw.number(2)
    sizes = [draw.number(9999) / 1000, draw.number(5000), draw.number(90000)] if known else "---"
    return [f"{START + k / 100:.6f}", f"C{k:017x}", draw.host(), draw.number(65536), draw.host(),
            draw.number(1024), "tcp", draw.one_of(SERVICES), *sizes, draw.one_of(STATES), "T", "F",
            0, "ShADadFf", draw.number(50), draw.number(9000), draw.number(50), draw.number(9000),
            "-"]  # fmt: skip


def zeek_json(draw: Drawn, n: int) -> str:
    """conn.log as JSON lines."""
    rows = []
    for k in range(n):
        row = {name: cell for name, cell in zip(ZEEK, _zeek_row(draw, k), strict=True)
               if cell != "-"}  # fmt: skip
        rows.append(json.dumps({**row, "ts": START + k / 100}, separators=(",", ":")))
    return "\n".join(rows) + "\n"


def eve(draw: Drawn, n: int) -> str:
    """eve.json, every event a flow."""
    rows = []
    for k in range(n):
        second = f"2022-02-23T19:22:{k % 60:02}.405139+0100"
        flow = {"pkts_toserver": draw.number(50), "pkts_toclient": draw.number(50),
                "bytes_toserver": draw.number(9000), "bytes_toclient": draw.number(90000),
                "start": second, "end": second, "age": 0, "state": "closed", "reason": "timeout",
                "alerted": False}  # fmt: skip
        tcp = {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b", "syn": True}
        rows.append(json.dumps({
            "timestamp": second, "flow_id": k, "event_type": "flow", "src_ip": draw.host(),
            "src_port": draw.number(65536), "dest_ip": draw.host(), "dest_port": 443,
            "proto": "TCP", "app_proto": "tls", "flow": flow, "tcp": tcp,
        }, separators=(",", ":")))  # fmt: skip
    return "\n".join(rows) + "\n"


def netflow(draw: Drawn, n: int) -> str:
    """nfdump -o csv of 1.6, with all its 48 columns."""
    rest = "0,0,0,0,0,0,0,0,0,0.0.0.0,0.0.0.0," + ",".join(["0"] * 23)
    rows = [NFDUMP]
    for _ in range(n):
        rows.append(f"2022-06-13 08:14:02,2022-06-13 08:14:03,1.000,{draw.host()},{draw.host()},"
                    f"{draw.number(65536)},{draw.number(1024)},TCP,...AP.SF,0,0,{draw.number(50)},"
                    f"{draw.number(9000)},0,{rest}")  # fmt: skip
    return "\n".join(rows) + "\n"


def cicflow(draw: Drawn, n: int) -> str:
    """CICFlowMeter's CSV with 80 columns."""
    head = ("Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Tot Fwd Pkts,"
            "Tot Bwd Pkts," + ",".join(f"F {k}" for k in range(FEATURES)) + ",Label")  # fmt: skip
    rows = [head]
    for k in range(n):
        numbers = ",".join(f"{draw.number(10**6) / 100}" for _ in range(FEATURES))
        rows.append(f"flow {k},{draw.host()},{draw.number(65536)},{draw.host()},443,6,"
                    f"22/06/2021 03:07:{k % 60:02} PM,{draw.number(10**6)},{draw.number(50)},"
                    f"{draw.number(50)},{numbers},BENIGN")  # fmt: skip
    return "\n".join(rows) + "\n"


def nsl_kdd(draw: Drawn, n: int) -> str:
    """NSL-KDD."""
    rates = len(KDD) - 6
    return "".join(f"0,tcp,http,SF,{draw.number(5000)},{draw.number(5000)},"
                   + ",".join(f"{draw.number(100) / 100}" for _ in range(rates))
                   + ",normal,20\n" for _ in range(n))  # fmt: skip


def unsw_nb15(draw: Drawn, n: int) -> str:
    """A partition of UNSW-NB15."""
    rows = [UNSW]
    for k in range(n):
        numbers = ",".join(f"{draw.number(10**6) / 100}" for _ in range(34))
        rows.append(f"{k},0.5,tcp,-,FIN,{draw.number(50)},{draw.number(50)},{draw.number(9000)},"
                    f"{draw.number(9000)},{numbers},Normal,0")  # fmt: skip
    return "\n".join(rows) + "\n"


LOGS: dict[str, tuple[str, Callable[[Drawn, int], str]]] = {
    "zeek": ("zeek", zeek),
    "zeek json": ("zeek", zeek_json),
    "eve": ("eve", eve),
    "netflow": ("netflow", netflow),
    "cicflow": ("cicflow", cicflow),
    "nsl-kdd": ("nsl-kdd", nsl_kdd),
    "unsw-nb15": ("unsw-nb15", unsw_nb15),
}


def seconds(format: str, data: bytes, expected: int) -> float:
    """How long decoding takes."""
    reader = decoder(format)
    start = time.perf_counter()
    found = sum(len(reader.feed(data[k : k + AT_ONCE])) for k in range(0, len(data), AT_ONCE))
    found += len(reader.finish())
    took = time.perf_counter() - start
    if found != expected or reader.refused:
        raise RuntimeError(f"{format}: {found} of {expected} flows: {reader.refusals[:1]}")
    return took


def measure(flows: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each log."""
    logs = {name: make(Drawn(0), flows).encode() for name, (_, make) in LOGS.items()}
    times: dict[str, list[float]] = {name: [] for name in LOGS}
    for _ in range(rounds):
        for name, (kind, _) in LOGS.items():
            times[name].append(seconds(kind, logs[name], flows))
    return [{"log": name, "flows": flows, "rounds": rounds,
             "utf8_bytes_a_flow": round(len(logs[name]) / flows),
             "flows_a_second": flows / statistics.median(took),
             "lowest": flows / max(took), "highest": flows / min(took)}
            for name, took in times.items()]  # fmt: skip


def main() -> None:
    """Measure, print and write benchmarks/results/flow_readers.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", default="flow_readers", help="of the file of results")
    given = parser.parse_args()
    rows = measure(given.flows, given.rounds)
    for row in rows:
        print(f"{row['log']:<10} {row['flows_a_second']:>9,.0f} flows/s "
              f"({row['lowest']:,.0f} to {row['highest']:,.0f}), "
              f"{row['utf8_bytes_a_flow']} bytes a flow")  # fmt: skip
    print(write(given.name, rows))


if __name__ == "__main__":
    main()
