"""An office network: a day learnt from packets, the next one watched as a stream.

python examples/intrusion.py    a minute or two; makes its own captures
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import lstmkit
from lstmkit.demos import traffic
from lstmkit.readers.flows import pieces, read


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        monday, tuesday = Path(folder) / "monday.pcap", Path(folder) / "tuesday.pcap"
        traffic.write(monday, traffic.scenario(1000, 30, attacks=False))
        truth = traffic.write(tuesday, traffic.scenario(0, 30, day=1))
        ids = lstmkit.IntrusionDetector(home_net=traffic.HOME, size="tiny", epochs=8)
        ids.fit(str(monday))
        flows = traffic.label(read(tuesday).all(), truth)
    for attack in truth.attacks:
        print(f"{attack.name} from {attack.host} to {attack.peer}")
    print(ids.evaluate(flows))

    stream = ids.stream()
    for piece in pieces(flows, 200):  # as they arrive
        for alert in stream.feed(piece):
            print(alert["time"][:19], alert["severity"], alert["class"], "from", alert["host"])
            print("   ", "; ".join(alert["reasons"]), f"[{alert['record']}]")


if __name__ == "__main__":
    main()
