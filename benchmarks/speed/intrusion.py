"""How fast a detector watches: flows a second from conn.log, packets a second from a capture, and
the memory of a million hosts.

    python benchmarks/speed/intrusion.py

All of it on one core, one thread, from bytes to alerts, as `lstmkit stream` does it, with a network
of 64 cells a host. The log and the capture are of a made-up office of 200 hosts, a day long; the
million hosts are addresses that come once each, in Zeek's format. Each figure comes from a process
of its own: seconds are medians of several rounds with the least and the most, memory is the
process's peak. Beside them Kitsune's published rate (Mirsky et al. 2018: about 37,000 packets a
second on one core of a desktop; second-hand, another machine, and packets are not flows). Results:
benchmarks/results/intrusion_speed.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent.parent / "results" / "intrusion_speed.json"
HOSTS, ROUNDS, MILLION = 200, 5, 1_000_000
FIELDS = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service",
          "duration", "orig_bytes", "resp_bytes", "conn_state", "local_orig", "local_resp",
          "missed_bytes", "history", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes",
          "tunnel_parents")  # fmt: skip
HEADER = "#separator \\x09\n#unset_field\t-\n#path\tconn\n#fields\t" + "\t".join(FIELDS) + "\n"


def main() -> None:
    """Make the files, run each part in a process, keep what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default=str(RESULTS))
    parser.add_argument("--part", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        print(json.dumps(PARTS[asked.part[0]](Path(asked.part[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        found = {name: part(name, folder) for name in PARTS}
    from lstmkit.bench.machine import machine
    from lstmkit.modelfile import atomic_write

    found["published"] = {"kitsune, packets a second (second-hand)": 37_300}
    found["machine"] = {**machine(), "command": "python " + " ".join(sys.argv)}
    with atomic_write(Path(asked.output)) as file:
        file.write((json.dumps(found, indent=1) + "\n").encode())


def part(name: str, folder: str) -> Any:
    """One part in a process of its own."""
    words = [sys.executable, __file__, "--part", name, folder]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(name, found, flush=True)
    return found


def prepare(folder: Path) -> None:
    """A capture, its flows as a conn.log, and a model of 64 cells, hardly trained: speed is the
    same."""
    import lstmkit
    from lstmkit.demos import traffic
    from lstmkit.readers.flows import read

    traffic.write(folder / "day.pcap", traffic.scenario(0, HOSTS))
    found = read(folder / "day.pcap").all()
    with (folder / "conn.log").open("w") as file:
        file.write(HEADER)
        file.writelines(_line(found.row(k)) for k in range(len(found)))
    model = lstmkit.IntrusionDetector(home_net=traffic.HOME, epochs=2, threads=1)
    model.fit(found.take(slice(0, 20_000))).save(folder / "ids.safetensors")


def _line(row: dict[str, Any]) -> str:
    def number(x: float) -> str:
        return "-" if x != x else f"{x:.6f}".rstrip("0").rstrip(".")

    cells = [f"{row['time']:.6f}", "CHhAvVGS1DHFjwGM9", row["src"], row["sport"], row["dst"],
             row["dport"], row["proto"], row["service"] or "-", number(row["duration"]),
             number(row["src_bytes"]), number(row["dst_bytes"]), row["state"] or "-", "T", "F", 0,
             "ShADadfF", number(row["src_packets"]), number(row["src_ip_bytes"]),
             number(row["dst_packets"]), number(row["dst_ip_bytes"]), "(empty)"]  # fmt: skip
    return "\t".join(map(str, cells)) + "\n"


def watched(folder: Path, name: str) -> dict[str, Any]:
    """From the bytes of a file to alerts."""
    import lstmkit
    from lstmkit.readers.flows import read

    model: Any = lstmkit.load(folder / "ids.safetensors")
    seconds, flows, alerts = [], 0, 0
    for _ in range(ROUNDS):
        stream = model.stream()
        began = time.perf_counter()
        alerts = sum(len(stream.feed(piece)) for piece in read(folder / name))
        seconds.append(time.perf_counter() - began)
        flows = stream.read
    return {"flows": flows, "alerts": alerts, **rates(flows, seconds, "flows")}


def log(folder: Path) -> dict[str, Any]:
    """Flows a second from conn.log."""
    return watched(folder, "conn.log")


def capture(folder: Path) -> dict[str, Any]:
    """Packets a second from a capture, to alerts and to flows alone."""
    from lstmkit.readers.flows.files import decoder

    found = watched(folder, "day.pcap")
    data, seconds = (folder / "day.pcap").read_bytes(), []
    for _ in range(ROUNDS):
        reader: Any = decoder("pcap")
        began = time.perf_counter()
        for k in range(0, len(data), 1 << 20):
            reader.feed(data[k : k + (1 << 20)])
        reader.finish()
        seconds.append(time.perf_counter() - began)
    packets = int(reader.packets)
    whole = [packets / found["flows"] * r for r in found["flows_per_second"].values()]
    alone = rates(packets, seconds, "packets")
    return {
        "packets": packets,
        "to_alerts_packets_per_second": dict(zip(("median", "least", "most"), whole, strict=True)),
        "to_flows_packets_per_second": alone["packets_per_second"],
        "peak_megabytes": peak(),
    }


def million(folder: Path) -> dict[str, Any]:
    """A million hosts that are all remembered."""
    import lstmkit
    from lstmkit.readers.flows.files import decoder

    model: Any = lstmkit.load(folder / "ids.safetensors")
    before = peak()
    stream, reader = model.stream(hosts=MILLION), decoder("zeek")
    reader.feed(HEADER.encode())
    began, rng = time.perf_counter(), np.random.default_rng(0)
    for first in range(0, MILLION, 10_000):
        lines = []
        for k in range(first, first + 10_000):
            host = f"{20 + (k >> 16) % 90}.{k >> 16 & 255}.{k >> 8 & 255}.{k & 255}"
            lines.append(
                f"{1.7e9 + k * 0.05:.6f}\tC{k}\t{host}\t40000\t10.20.0.10\t{rng.integers(1, 1024)}"
                "\ttcp\t-\t0.1\t0\t0\tS0\tF\tT\t0\tS\t1\t44\t0\t0\t(empty)\n"
            )
        stream.feed(reader.feed("".join(lines).encode()))
    seconds = time.perf_counter() - began
    context = stream.watch.context
    return {
        "hosts": len(context.hosts),
        "hosts_that_left": context.hosts.left,
        "pairs": len(context.pairs),
        "hidden_size": model.facts_["hidden_size"],
        "seconds": round(seconds, 1),
        "peak_megabytes": peak(),
        "before_megabytes": before,
    }


def rates(count: int, seconds: list[float], what: str) -> dict[str, Any]:
    """Median, least and most a second; memory."""
    low, middle, high = (count / s for s in np.quantile(seconds, [1, 0.5, 0]))
    found = {"median": round(middle), "least": round(low), "most": round(high)}
    return {f"{what}_per_second": found, "rounds": len(seconds), "peak_megabytes": peak()}


def peak() -> int:
    """Of this process since it began, in MB; Linux only."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


PARTS = {"conn.log": log, "capture": capture, "a million hosts": million}

if __name__ == "__main__":
    main()
