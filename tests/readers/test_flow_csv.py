"""Flows as CSV with a header: nfdump's and CICFlowMeter's."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.readers.flows.cicflow import CicflowDecoder
from lstmkit.readers.flows.netflow import NetflowDecoder, flags_of, protocol
from lstmkit.readers.flows.schema import Flows
from lstmkit.readers.flows.textual import CsvDecoder

OLD = ("ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out,sas,das,smk,dmk,dtos,dir,"
       "nh,nhb,svln,dvln\n")  # fmt: skip
NEW = "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows\n"
TAIL = "Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n2,9,9,9,9,9\n"


def nfdump(text: str) -> tuple[Flows, NetflowDecoder]:
    decoder = NetflowDecoder()
    return decoder.feed(text.encode()), decoder


def old(src: str, sport: str, dst: str, dport: str, proto: str = "TCP", flags: str = "...AP.SF",
        answers: str = "0,0") -> str:  # fmt: skip
    times = "2022-06-13 08:14:02,2022-06-13 08:14:03"
    row = f"{times},1.250,{src},{dst},{sport},{dport},{proto},{flags},0,0,10,1200,{answers}"
    return f"{row},1,2,0,0,24,24,0,0,0.0.0.0,0.0.0.0,0,0\n"


def test_a_flow_of_nfdump() -> None:
    found, decoder = nfdump(OLD + old("10.0.0.5", "51000", "1.2.3.4", "443") + TAIL)
    assert decoder.refusals == []
    row = found.row(0)
    assert np.isnan(row.pop("src_bytes")) and np.isnan(row.pop("dst_bytes"))
    assert row == {
        "time": 1655108042.0, "duration": 1.25, "src_packets": 10.0, "dst_packets": 0.0,
        "src_ip_bytes": 1200.0, "dst_ip_bytes": 0.0, "sport": 51000, "dport": 443,
        "src": "10.0.0.5", "dst": "1.2.3.4", "proto": "tcp", "service": "", "state": "SF",
        "label": "", "record": "line 2",
    }  # fmt: skip


def test_an_answer_has_its_ends_changed_over() -> None:
    found, _ = nfdump(OLD + old("1.2.3.4", "443", "10.0.0.5", "51000"))
    assert (found["src"][0], found["sport"][0]) == ("10.0.0.5", 51000)
    assert (found["dst"][0], found["dport"][0]) == ("1.2.3.4", 443)
    assert (found["src_packets"][0], found["dst_packets"][0]) == (0, 10)
    assert found["dst_ip_bytes"][0] == 1200


def test_who_sends_a_syn_without_ack_began() -> None:
    found, _ = nfdump(OLD + old("1.2.3.4", "20", "10.0.0.5", "51000", flags="......S."))
    assert found["src"][0] == "1.2.3.4"
    assert found["state"][0] == "S0"


@pytest.mark.parametrize(("flags", "answers", "state"), [
    ("......S.", "0,0", "S0"), ("...A..SF", "0,0", "SF"), ("...A..S.", "0,0", "S1"),
    ("...AR.S.", "0,0", "RSTO"), ("...A.RS.", "0,0", "RSTO"), (".....RS.", "0,0", "RSTOS0"),
    ("...A....", "0,0", "OTH"), ("...A..SF", "9,900", "SF"), ("...A.RS.", "1,40", "RSTO"),
    ("", "0,0", ""),
])  # fmt: skip
def test_states_by_the_flags(flags: str, answers: str, state: str) -> None:
    found, decoder = nfdump(OLD + old("10.0.0.5", "51000", "1.2.3.4", "443", "TCP", flags, answers))
    assert decoder.refusals == []
    assert found["state"].tolist() == [state]


def test_states_of_answers_alone() -> None:
    rows = [old("1.2.3.4", "443", "10.0.0.5", "51000", flags=f)
            for f in ("...A.R..", "...A..SF", "...A..S.", "...A.RS.", "...A....")]  # fmt: skip
    found, _ = nfdump(OLD + "".join(rows))
    assert found["state"].tolist() == ["REJ", "SF", "S1", "RSTR", "OTH"]


def test_icmp_in_both_ways_of_writing() -> None:
    rows = [
        old("1.1.1.1", "0", "2.2.2.2", "8.0", "ICMP"),
        old("1.1.1.1", "0", "2.2.2.2", "769", "1"),
    ]
    found, _ = nfdump(OLD + "".join(rows))
    assert found["sport"].tolist() == [8, 3] and found["dport"].tolist() == [0, 1]
    assert found["state"].tolist() == ["OTH", "OTH"]


def test_the_newer_header_and_both_in_turn() -> None:
    row = "2024-11-22 19:50:00.125,0.500,UDP,10.0.0.1,5353,8.8.8.8,53,1,60,1\n"
    text = NEW + row + OLD + old("a", "1", "b", "2") + TAIL + NEW + row
    found, decoder = nfdump(text)
    assert decoder.refusals == []
    assert found["time"].tolist() == [1732305000.125, 1655108042.0, 1732305000.125]
    assert found["state"].tolist() == ["S0", "SF", "S0"]


def test_the_summary_is_left_out_and_bad_lines_are_counted() -> None:
    good = old("a", "1", "b", "2")
    bad = [old("a", "99999", "b", "2"), old("", "1", "b", "2"), old("a", "1", "b", "2", "999"),
           good.replace(",1.250,", ",-1,"), good.replace("2022-06-13 08:14:02", "now"),
           "1,2,3\n"]  # fmt: skip
    found, decoder = nfdump(OLD + good + "".join(bad) + TAIL)
    assert (len(found), decoder.refused) == (1, len(bad))
    assert [refusal.number for refusal in decoder.refusals] == [3, 4, 5, 6, 7, 8]


def test_numbers_in_quotes() -> None:
    row = old("a", "1", "b", "2").replace("a,b", '"a","b"')
    found, decoder = nfdump(OLD + row + old("c", "1", "d", "2") + '"2,\n')
    assert found["src"].tolist() == ["a", "c"]
    assert [refusal.number for refusal in decoder.refusals] == [4]


def test_no_header() -> None:
    with pytest.raises(UserError, match="must name the columns"):
        nfdump(old("a", "1", "b", "2"))


@pytest.mark.parametrize(("cell", "flags"), [("...AP.SF", 0x1B), ("......S.", 2), ("0x12", 0x12),
                                             ("27", 27), ("", None)])  # fmt: skip
def test_flags(cell: str, flags: int | None) -> None:
    assert flags_of(cell) == flags


def test_protocols() -> None:
    found = [protocol(cell) for cell in ("TCP", "17", "ICMP6", "58", "254", " GRE ")]
    assert found == ["tcp", "udp", "icmp", "icmp", "254", "gre"]


# --- CICFlowMeter

FIRST = (" Flow ID, Source IP, Source Port, Destination IP, Destination Port, Protocol, Timestamp,"
         " Flow Duration, Total Fwd Packets, Total Backward Packets,Total Length of Fwd Packets,"
         " Total Length of Bwd Packets,Flow Bytes/s, Fwd Header Length, Bwd Header Length,"
         "FIN Flag Count, SYN Flag Count, RST Flag Count, ACK Flag Count, Fwd Header Length,"
         " Label\n")  # fmt: skip
SECOND = ("Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Tot Fwd Pkts,"
          "Tot Bwd Pkts,TotLen Fwd Pkts,TotLen Bwd Pkts,Flow Byts/s,Fwd Header Len,Bwd Header Len,"
          "FIN Flag Cnt,SYN Flag Cnt,RST Flag Cnt,ACK Flag Cnt,Idle Min,Label\n")  # fmt: skip


def row(time: str = "7/7/2017 3:30", label: str = "BENIGN", duration: str = "1500000",
        rate: str = "12.5", flags: str = "1,1,0,1") -> str:  # fmt: skip
    return (f"id-6,10.0.0.5,51000,1.2.3.4,443,6,{time},{duration},4,3,100,2000,{rate},80,60,"
            f"{flags},80,{label}\n")  # fmt: skip


def cic(text: str) -> tuple[Flows, CicflowDecoder]:
    decoder = CicflowDecoder()
    return decoder.feed(text.encode()), decoder


@pytest.mark.parametrize("head", [FIRST, SECOND])
def test_a_flow_of_cicflowmeter(head: str) -> None:
    found, decoder = cic(head + row())
    assert decoder.refusals == []
    assert found.row(0) == {
        "time": 1499398200.0, "duration": 1.5, "src_packets": 4.0, "dst_packets": 3.0,
        "src_ip_bytes": 100.0 + 80 + 80, "dst_ip_bytes": 2000.0 + 60 + 60, "src_bytes": 100.0,
        "dst_bytes": 2000.0, "sport": 51000, "dport": 443, "src": "10.0.0.5", "dst": "1.2.3.4",
        "proto": "tcp", "service": "", "state": "SF", "label": "benign", "record": "id-6",
    }  # fmt: skip


def test_features_stand_under_their_own_names() -> None:
    found, _ = cic(FIRST + row())
    names = ["Destination Port", "Flow Duration", "Total Fwd Packets", "Total Backward Packets",
             "Total Length of Fwd Packets", "Total Length of Bwd Packets", "Flow Bytes/s",
             "Fwd Header Length", "Bwd Header Length", "FIN Flag Count", "SYN Flag Count",
             "RST Flag Count", "ACK Flag Count", "Fwd Header Length.1"]  # fmt: skip
    assert list(found.extra) == names
    assert found.extra["Flow Bytes/s"].tolist() == [12.5]
    assert "Label" not in found.extra


@pytest.mark.parametrize("cell", ["Infinity", "NaN", "-Infinity", "inf", ""])
def test_infinite_features_are_nan(cell: str) -> None:
    found, decoder = cic(FIRST + row(rate=cell) + row())
    assert decoder.refusals == []
    assert np.isnan(found.extra["Flow Bytes/s"][0]) and found.extra["Flow Bytes/s"][1] == 12.5


@pytest.mark.parametrize(("times", "expected"), [
    (["3/7/2017 8:55"], ["2017-07-03T08:55"]),
    (["03/07/2017 08:55:58"], ["2017-07-03T08:55:58"]),
    (["22/06/2021 03:07:55 PM", "22/06/2021 12:07:55 AM"],
     ["2021-06-22T15:07:55", "2021-06-22T00:07:55"]),
    (["22/06/2021 12:07:55 PM"], ["2021-06-22T12:07:55"]),
    (["06/22/2021 3:07:55 PM", "06/05/2021 3:07:55 PM"],
     ["2021-06-22T15:07:55", "2021-06-05T15:07:55"]),
    (["06/22/2021 1:00", "22/06/2021 1:00", "05/06/2021 1:00"],
     ["2021-06-22T01:00", "2021-06-22T01:00", "2021-06-05T01:00"]),
    (["2021-06-22 15:07:55"], ["2021-06-22T15:07:55"]),
])  # fmt: skip
def test_dates(times: list[str], expected: list[str]) -> None:
    found, decoder = cic(FIRST + "".join(row(time) for time in times))
    assert decoder.refusals == []
    wanted = np.array(expected, "datetime64[s]").astype(np.float64)
    assert found["time"].tolist() == wanted.tolist()


@pytest.mark.parametrize("time", ["13/13/2021 1:00", "32/1/2021 1:00", "1/1/2021 25:00", "soon",
                                  "1/1/2021 13:00 PM", "1/1/2021 0:30 AM", ""])  # fmt: skip
def test_no_dates(time: str) -> None:
    found, decoder = cic(FIRST + row(time) + row())
    assert (len(found), decoder.refused) == (1, 1)


def test_how_dates_are_written_is_kept_in_the_state() -> None:
    one, other = CicflowDecoder(), CicflowDecoder()
    one.feed((FIRST + row("06/22/2021 1:00")).encode())
    other.restore(one.save())
    assert other.feed(row("06/05/2021 1:00").encode())["time"][0] == 1622854800.0


def test_negative_durations_and_header_lengths_are_unknown() -> None:
    found, decoder = cic(FIRST + row(duration="-1").replace(",80,60,", ",-32212234632,60,"))
    assert decoder.refusals == []
    assert np.isnan(found["duration"][0]) and np.isnan(found["src_ip_bytes"][0])
    assert found["dst_ip_bytes"][0] == 2120
    assert found.extra["Flow Duration"][0] == -1


@pytest.mark.parametrize(("said", "label"), [
    ("BENIGN", "benign"), ("Benign", "benign"), ("DoS Hulk", "DoS Hulk"), ("NeedManualLabel", ""),
    ("No Label", ""), ("", ""),
])  # fmt: skip
def test_labels(said: str, label: str) -> None:
    found, _ = cic(FIRST + row(label=said))
    assert found["label"].tolist() == [label]


@pytest.mark.parametrize(("flags", "state"), [("0,1,0,0", "S1"), ("1,1,0,1", "SF"),
                                              ("0,1,1,1", "RSTO"), ("0,0,0,1", "OTH")])  # fmt: skip
def test_states(flags: str, state: str) -> None:
    found, _ = cic(FIRST + row(flags=flags))
    assert found["state"].tolist() == [state]


def test_files_without_addresses() -> None:
    found, decoder = cic(" Destination Port, Flow Duration, Total Fwd Packets, Label\n"
                         "443,1500000,3,BENIGN\n80,5,1,PortScan\n")  # fmt: skip
    assert decoder.refusals == []
    assert found["src"].tolist() == ["", ""] and found["sport"].tolist() == [-1, -1]
    assert found["dport"].tolist() == [443, 80] and np.isnan(found["time"]).all()
    assert found["record"].tolist() == ["line 2", "line 3"]
    assert found["state"].tolist() == ["", ""]


def test_headers_that_come_again_and_empty_rows() -> None:
    found, decoder = cic(FIRST + row() + FIRST + row() + ",,,,,,,,,,,,,,,,,,,,\n")
    assert (len(found), decoder.refused) == (2, 0)


def test_text_columns_are_no_features() -> None:
    head = FIRST.replace(" Label", "SimillarHTTP, Inbound, Label")
    found, decoder = cic(head + row(label="http://x/y,1,DrDoS_DNS"))
    assert decoder.refusals == []
    assert found.extra["Inbound"].tolist() == [1] and "SimillarHTTP" not in found.extra
    assert found["label"].tolist() == ["DrDoS_DNS"]


@pytest.mark.parametrize("decoder", [NetflowDecoder, CicflowDecoder])
def test_a_header_alone_is_no_flow(decoder: type[CsvDecoder]) -> None:
    reader = decoder()
    head = OLD if decoder is NetflowDecoder else FIRST
    assert len(reader.feed(head.encode())) + len(reader.finish()) == 0
