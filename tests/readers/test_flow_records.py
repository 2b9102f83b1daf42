"""Single records: NSL-KDD and UNSW-NB15."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.readers.flows.records import KDD, NslKddDecoder, UnswDecoder
from lstmkit.readers.flows.schema import Flows

CELLS = ["13", "tcp", "telnet", "SF", "118", "2425", *("0" for _ in range(33)), "0.12", "0.30"]
HEAD = ("\ufeffid,dur,proto,service,state,spkts,dpkts,sbytes,dbytes,rate,sttl,ct_srv_src,"
        "attack_cat,label\n")  # fmt: skip


def kdd(*rows: str) -> tuple[Flows, NslKddDecoder]:
    decoder = NslKddDecoder()
    return decoder.feed(("\n".join(rows) + "\n").encode()), decoder


def unsw(text: str) -> tuple[Flows, UnswDecoder]:
    decoder = UnswDecoder()
    return decoder.feed(text.encode()), decoder


def test_the_published_names() -> None:
    assert len(KDD) == len(set(KDD)) == 41
    assert KDD[22:24] == ("count", "srv_count") and KDD[-1] == "dst_host_srv_rerror_rate"


def test_a_record_of_nsl_kdd() -> None:
    found, decoder = kdd(",".join([*CELLS, "guess_passwd", "2"]))
    assert decoder.refusals == []
    row = found.row(0)
    assert {k: v for k, v in row.items() if v == v and v not in ("", -1)} == {
        "duration": 13.0, "src_bytes": 118.0, "dst_bytes": 2425.0, "proto": "tcp",
        "service": "telnet", "state": "SF", "label": "guess_passwd", "record": "line 1",
    }  # fmt: skip
    assert np.isnan(row["time"])


def test_all_features_and_not_how_hard_it_is() -> None:
    found, _ = kdd(",".join([*CELLS, "guess_passwd", "2"]))
    assert tuple(found.extra) == KDD
    assert found.extra["dst_host_rerror_rate"].tolist() == [0.12]
    assert found.extra["dst_host_srv_rerror_rate"].tolist() == [0.30]
    assert found.extra["flag"].tolist() == ["SF"] and found.extra["flag"].dtype == object


@pytest.mark.parametrize(("last", "label"), [("normal,20", "benign"), ("normal", "benign"),
                                             ("normal.", "benign"), ("neptune,1", "neptune"),
                                             ("smurf.", "smurf")])  # fmt: skip
def test_classes(last: str, label: str) -> None:
    found, _ = kdd(",".join([*CELLS, last]))
    assert found["label"].tolist() == [label]


@pytest.mark.parametrize(("theirs", "ours"), [("domain_u", "dns"), ("private", ""),
                                              ("http", "http"), ("pop_3", "pop3")])  # fmt: skip
def test_services_have_the_names_of_zeek(theirs: str, ours: str) -> None:
    found, _ = kdd(",".join([*CELLS[:2], theirs, *CELLS[3:], "normal,1"]))
    assert found["service"].tolist() == [ours]
    assert found.extra["service"].tolist() == [theirs]


def test_records_that_are_none() -> None:
    good = ",".join([*CELLS, "normal", "20"])
    found, decoder = kdd(good, good.replace("118", "-118"), good.replace("118", "x"), "1,2", "",
                         good.replace("normal", "0.5"), good)  # fmt: skip
    assert found["record"].tolist() == ["line 1", "line 7"]
    assert [refusal.number for refusal in decoder.refusals] == [2, 3, 4, 6]


@pytest.mark.parametrize("cells", [3, 41, 44])
def test_other_tables(cells: int) -> None:
    with pytest.raises(UserError, match="no records of NSL-KDD"):
        kdd(",".join(["1"] * cells))


def test_a_record_of_unsw_nb15() -> None:
    found, decoder = unsw(HEAD + "7,0.5,tcp,http,FIN,10,8,1000,5000,33.25,62,3, Exploits ,1\n")
    assert decoder.refusals == []
    row = found.row(0)
    assert {k: v for k, v in row.items() if v == v and v not in ("", -1)} == {
        "duration": 0.5, "src_packets": 10.0, "dst_packets": 8.0, "src_ip_bytes": 1000.0,
        "dst_ip_bytes": 5000.0, "proto": "tcp", "service": "http", "state": "SF",
        "label": "Exploits", "record": "id 7",
    }  # fmt: skip
    assert list(found.extra) == ["dur", "proto", "service", "state", "spkts", "dpkts", "sbytes",
                                 "dbytes", "rate", "sttl", "ct_srv_src"]  # fmt: skip
    assert found.extra["state"].tolist() == ["FIN"]


@pytest.mark.parametrize(("cells", "state"), [
    ("udp,dns,CON,2,2", "SF"), ("udp,-,INT,2,0", "S0"), ("tcp,-,CON,2,2", "S1"),
    ("tcp,-,REQ,2,0", "S0"), ("tcp,-,RST,2,2", "RSTO"), ("icmp,-,ECO,2,2", "OTH"),
])  # fmt: skip
def test_states_in_the_letters_of_zeek(cells: str, state: str) -> None:
    found, _ = unsw(HEAD + f"1,0.5,{cells},1000,5000,33.25,62,3,Normal,0\n")
    assert found["state"].tolist() == [state]


@pytest.mark.parametrize(("said", "label"), [("Normal,0", "benign"), ("DoS,1", "DoS"),
                                             (",0", "benign"), (",1", "malicious")])  # fmt: skip
def test_labels(said: str, label: str) -> None:
    found, _ = unsw(HEAD + f"1,0.5,tcp,-,FIN,1,1,1000,5000,33.25,62,3,{said}\n")
    assert found["label"].tolist() == [label]
    assert "attack_cat" not in found.extra and "id" not in found.extra
