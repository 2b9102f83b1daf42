"""Intrusion detection at the command line: logs and captures in, alerts out, over crashes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmkit.readers.flows import Flows, flows, joined

START = 1_700_000_000.0
FIELDS = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service",
          "duration", "orig_bytes", "resp_bytes", "conn_state", "orig_pkts", "orig_ip_bytes",
          "resp_pkts", "resp_ip_bytes", "label")  # fmt: skip
HEADER = "#separator \\x09\n#unset_field\t-\n#path\tconn\n#fields\t" + "\t".join(FIELDS) + "\n"


def browsing(seed: int, start: float, hosts: int = 6, n: int = 60) -> Flows:
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(hosts):
        size = np.exp(rng.normal(7, 1, n)).round()
        parts.append(flows(
            "zeek", n, time=start + np.sort(rng.uniform(0, 4 * 3600, n)),
            duration=np.exp(rng.normal(-2, 1, n)), src=[f"10.0.1.{k + 1}"] * n,
            dst=rng.choice([f"93.184.1.{j}" for j in range(9)], n).astype(object),
            sport=rng.integers(32768, 60000, n), dport=np.full(n, 443), proto=["tcp"] * n,
            service=["ssl"] * n, state=["SF"] * n, src_packets=np.full(n, 10.0),
            dst_packets=np.full(n, 12.0), src_ip_bytes=size, dst_ip_bytes=8 * size,
            src_bytes=size - 400 * (size > 400), dst_bytes=8 * size, label=["benign"] * n,
            record=[f"C{seed}x{k}x{j}" for j in range(n)],
        ))  # fmt: skip
    return joined(parts)


def scanning(host: str, begin: float, ports: int = 30) -> Flows:
    return flows(
        "zeek", ports, time=begin + 5.0 * np.arange(ports), src=[host] * ports,
        dst=["10.0.0.9"] * ports, sport=np.arange(40000, 40000 + ports),
        dport=np.arange(ports) * 37 + 1, proto=["tcp"] * ports, state=["S0"] * ports,
        src_packets=np.ones(ports), dst_packets=np.zeros(ports), src_ip_bytes=np.full(ports, 44.0),
        dst_ip_bytes=np.zeros(ports), label=["scan"] * ports,
        record=[f"Cscan{host[-1]}x{j}" for j in range(ports)],
    )  # fmt: skip


def lines(found: Flows) -> list[str]:
    """Lines of a conn.log, in order of arrival."""
    order = np.argsort(found["time"] + np.nan_to_num(found["duration"]), kind="stable")
    return [_line(found.row(k)) for k in order]


def _line(row: dict[str, Any]) -> str:
    def number(x: float) -> str:
        return "-" if x != x else repr(x) if x != int(x) else str(int(x))

    label = {"benign": "Benign", "": "-"}.get(row["label"], "Malicious")
    cells = [f"{row['time']:.6f}", row["record"], row["src"], row["sport"], row["dst"],
             row["dport"], row["proto"], row["service"] or "-", number(row["duration"]),
             number(row["src_bytes"]), number(row["dst_bytes"]), row["state"],
             number(row["src_packets"]), number(row["src_ip_bytes"]), number(row["dst_packets"]),
             number(row["dst_ip_bytes"]), label]  # fmt: skip
    return "\t".join(map(str, cells)) + "\n"


def attacked() -> list[str]:
    day = START + 86400
    scans = [scanning(f"10.0.1.{k}", day + 3600 * k) for k in (2, 3, 5)]
    return lines(joined([browsing(1, day), *scans]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained from the command line on a log, in a few seconds."""
    from click.testing import CliRunner

    from lstmkit.cli.main import cli
    from lstmkit.tasks.intrusion import learning

    folder = tmp_path_factory.mktemp("ids")
    (folder / "conn.log").write_text(HEADER + "".join(lines(browsing(0, START))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "STEPS_PER_EPOCH", 25)
        patch.setitem(learning.PRESETS, "tiny", learning.Preset(12, 6, 16, 4, 10, 1.5e-2))
        words = ["train", "intrusion", folder / "conn.log", "--size", "tiny", "-o", folder / "m"]
        found = CliRunner().invoke(cli, [*map(str, words), "--json"])
    assert found.exit_code == 0, found.output
    return folder / "m"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "conn.log"
    path.write_text(HEADER + "".join(attacked()))
    return path


def alerts(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_predict_writes_alerts_scores_and_a_page(lstmkit, model, log, tmp_path):
    found = lstmkit("predict", model, log, "-o", tmp_path / "a.csv", "--scores", tmp_path / "s.csv",
                    "--plot", tmp_path / "a.html", "--fail-on-alert")  # fmt: skip
    assert found.exit_code == 3, found.output
    table = (tmp_path / "a.csv").read_text()
    assert table.startswith("time,host,score,severity,class,reasons,record")
    assert "Cscan2x" in table and "Cscan3x" in table and "Cscan5x" in table
    assert len((tmp_path / "s.csv").read_text().splitlines()) == len(attacked()) + 1
    assert "Cscan2x" in (tmp_path / "a.html").read_text()


def test_predict_writes_lines_of_json_and_events(lstmkit, model, log, tmp_path):
    found = lstmkit("predict", model, log, "-o", tmp_path / "a.jsonl", "--alerts-as", "json")
    assert found.exit_code == 0, found.output
    text = (tmp_path / "a.jsonl").read_text()
    assert text == lstmkit("stream", model, log, "--quiet").stdout
    told = alerts(text)
    assert {"10.0.1.2", "10.0.1.3", "10.0.1.5"} <= {a["host"] for a in told}
    events = lstmkit("predict", model, log, "--alerts-as", "eve", "--quiet").stdout
    assert [e["event_type"] for e in alerts(events)] == ["alert"] * len(told)
    wrong = lstmkit("predict", model, log, "-o", tmp_path / "a.csv", "--alerts-as", "json")
    assert wrong.exit_code == 2 and ".jsonl" in wrong.stderr


def test_evaluate_says_how_good_it_is(lstmkit, model, log):
    found = lstmkit("evaluate", model, log, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["metrics"]["auc_pr_flow"] > 0.8


def test_stream_tells_alerts_only(lstmkit, model, log):
    found = lstmkit("stream", model, log)
    assert found.exit_code == 0, found.output
    told = alerts(found.stdout)
    assert {"10.0.1.2", "10.0.1.3", "10.0.1.5"} <= {a["host"] for a in told}
    assert "450 flows" in found.stderr
    eve = lstmkit("stream", model, log, "--alerts-as", "eve", "--quiet")
    assert [e["event_type"] for e in alerts(eve.stdout)] == ["alert"] * len(told)


def test_broken_lines_are_counted_with_their_number(lstmkit, model, log, tmp_path):
    text = log.read_text().splitlines(keepends=True)
    text.insert(10, "half a line\n")
    text.insert(20, "\x00\xff" * 50 + "\n")
    log.write_text("".join(text))
    found = lstmkit("stream", model, log)
    assert found.exit_code == 0, found.output
    assert "conn.log:11" in found.stderr and "conn.log:21" in found.stderr
    assert "2 records refused" in found.stderr


def test_rules_suppress_alerts(lstmkit, model, log, tmp_path):
    (tmp_path / "rules").write_text("host=10.0.1.2 # ours\nnonsense\n")
    found = lstmkit("stream", model, log, "--suppress", tmp_path / "rules")
    assert found.exit_code == 2 and "rules:2" in found.stderr
    (tmp_path / "rules").write_text("host=10.0.1.2 # ours\n")
    found = lstmkit("stream", model, log, "--suppress", tmp_path / "rules")
    assert "10.0.1.2" not in {a["host"] for a in alerts(found.stdout)}


def test_a_log_is_followed_through_its_rotation(lstmkit, model, log, tmp_path):
    """In three visits, each of which ends: what grew, what was rotated, what came after."""
    whole = alerts(lstmkit("stream", model, log, "--quiet").stdout)
    text, growing = attacked(), tmp_path / "now" / "conn.log"
    growing.parent.mkdir()
    state, out = tmp_path / "s", tmp_path / "alerts.jsonl"

    def visit() -> None:
        words = ["--follow", growing, "--once", "--state", state, "--alerts", out, "--quiet"]
        found = lstmkit("stream", model, *words)
        assert found.exit_code == 0, found.output

    growing.write_text(HEADER + "".join(text[:100]) + text[100][:17])
    visit()
    with growing.open("a") as file:
        file.write(text[100][17:] + "".join(text[101:200]))
    growing.rename(growing.with_name("conn.1.log"))
    growing.write_text(HEADER + "".join(text[200:300]))
    visit()
    with growing.open("a") as file:
        file.write("".join(text[300:]))
    visit()
    assert alerts(out.read_text()) == whole


def test_after_a_crash_no_alert_is_missed_or_told_twice(lstmkit, model, log, tmp_path):
    """The state is older than the file of alerts, whose last line is half."""
    whole = lstmkit("stream", model, log, "--quiet").stdout
    text, growing = attacked(), tmp_path / "now.log"
    state, out = tmp_path / "s", tmp_path / "alerts.jsonl"
    words = ["--follow", growing, "--once", "--state", state, "--alerts", out, "--quiet"]
    growing.write_text(HEADER + "".join(text[:150]))
    lstmkit("stream", model, *words)
    kept = state.read_bytes()
    growing.write_text(HEADER + "".join(text[:400]))
    lstmkit("stream", model, *words)
    state.write_bytes(kept)  # as if the second run had been killed before it saved
    with out.open("a") as file:
        file.write('{"id": 99, "time"')
    growing.write_text(HEADER + "".join(text))
    lstmkit("stream", model, *words)
    assert out.read_text() == whole


def test_stopped_amid_flows_it_keeps_the_state_before_them(
    lstmkit, model, log, tmp_path, monkeypatch
):
    """Ctrl-C comes when some of the flows were taken in, and some alerts told."""
    from lstmkit.tasks.intrusion.stream import IntrusionStream

    whole = lstmkit("stream", model, log, "--quiet").stdout
    text, growing = attacked(), tmp_path / "now.log"
    state, out = tmp_path / "s", tmp_path / "alerts.jsonl"
    words = ["--follow", growing, "--once", "--state", state, "--alerts", out, "--quiet"]
    growing.write_text(HEADER + "".join(text[:150]))
    lstmkit("stream", model, *words)
    feed = IntrusionStream.feed

    def stopped(self, flows):
        list(feed(self, flows))
        raise KeyboardInterrupt

    growing.write_text(HEADER + "".join(text[:400]))
    with monkeypatch.context() as patch:
        patch.setattr(IntrusionStream, "feed", stopped)
        assert lstmkit("stream", model, *words).exit_code != 0
    growing.write_text(HEADER + "".join(text))
    lstmkit("stream", model, *words)
    assert out.read_text() == whole


@pytest.mark.slow
def test_kill_9_again_and_again(lstmkit, model, log, tmp_path):
    whole = lstmkit("stream", model, log, "--quiet").stdout
    text, growing = attacked(), tmp_path / "now.log"
    state, out = tmp_path / "s", tmp_path / "alerts.jsonl"
    code = "import lstmkit.cli.flows as f; f.SAVE_EVERY = 0.02; f.SAVE_SHARE = 0; f.PAUSE = 0.02\n"
    code += "from lstmkit.cli.main import main; main()"
    words = [sys.executable, "-c", code, "stream", model, "--follow", growing, "--state", state,
             "--alerts", out, "--quiet"]  # fmt: skip
    growing.write_text(HEADER)
    at, rng = 0, np.random.default_rng(0)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    while at < len(text):
        process = subprocess.Popen([str(w) for w in words], env=environment)
        time.sleep(0.8)
        for _ in range(8):
            step = int(rng.integers(5, 25))
            with growing.open("a") as file:
                file.write("".join(text[at : at + step]))
            at += step
            time.sleep(float(rng.uniform(0.01, 0.06)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = lstmkit("stream", model, *words[5:], "--once")
    assert found.exit_code == 0, found.output
    assert out.read_text() == whole


def test_packets_come_through_a_pipe(lstmkit, model, tmp_path):
    from lstmkit.demos import traffic

    path = tmp_path / "day.pcap"
    traffic.write(path, traffic.scenario(0, 12, hours=1.0, attacks=["slow scan"]))
    command = [sys.executable, "-m", "lstmkit", "stream", str(model), "--format", "pcap"]
    with path.open("rb") as file:
        found = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert " flows," in found.stderr
    alone = lstmkit("stream", model, path, "--quiet")
    assert found.stdout == alone.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--follow", "x.log", "y.log"], "no such file"),
        (["nothing.log"], "no such file"),
        (["--hosts", "0"], "hosts"),
        (["--alerts-as", "xml"], "alerts_as"),
    ],
)
def test_what_cannot_be_is_said_and_exits_2(lstmkit, model, words, message, tmp_path):
    found = lstmkit("stream", model, *words)
    assert found.exit_code == 2
    assert message in found.stderr.replace("alerts-as", "alerts_as")


def test_a_log_of_no_flows_is_refused(lstmkit, model, tmp_path):
    (tmp_path / "dns.log").write_text("#separator \\x09\n#path\tdns\n#fields\tts\tuid\n")
    found = lstmkit("predict", model, tmp_path / "dns.log")
    assert found.exit_code == 2
    assert "no flows" in found.stderr
    shutil.copy(model, tmp_path / "m")
    found = lstmkit("train", "intrusion", tmp_path / "dns.log", "-o", tmp_path / "x")
    assert found.exit_code == 2
