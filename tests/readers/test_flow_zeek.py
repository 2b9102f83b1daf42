"""Zeek's conn.log: tables, JSON, labels, and what comes in between."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.readers.flows.schema import Flows
from lstmkit.readers.flows.zeek import ZeekDecoder

FIELDS = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service",
          "duration", "orig_bytes", "resp_bytes", "conn_state", "history", "orig_pkts",
          "orig_ip_bytes", "resp_pkts", "resp_ip_bytes", "tunnel_parents"]  # fmt: skip
ROW = ["1655071198.444458", "CHLX", "147.32.81.167", "62771", "40.74.108.123", "443", "tcp", "ssl",
       "1.135424", "1596", "4039", "SF", "ShADdaFf", "14", "1016", "16", "1226",
       "(empty)"]  # fmt: skip
HEAD = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"


def table(*rows: list[str], fields: list[str] = FIELDS) -> str:
    lines = ["#fields\t" + "\t".join(fields), *("\t".join(row) for row in rows)]
    return HEAD + "\n".join(lines) + "\n"


def read(text: str) -> tuple[Flows, ZeekDecoder]:
    decoder = ZeekDecoder()
    return decoder.feed(text.encode()), decoder


def changed(**cells: str) -> list[str]:
    return [cells.get(name.replace(".", "_"), cell)
            for name, cell in zip(FIELDS, ROW, strict=True)]  # fmt: skip


def test_a_row_is_a_flow() -> None:
    found, decoder = read(table(ROW))
    assert found.row(0) == {
        "time": 1655071198.444458, "duration": 1.135424, "src_packets": 14.0, "dst_packets": 16.0,
        "src_ip_bytes": 1016.0, "dst_ip_bytes": 1226.0, "src_bytes": 1596.0, "dst_bytes": 4039.0,
        "sport": 62771, "dport": 443, "src": "147.32.81.167", "dst": "40.74.108.123",
        "proto": "tcp", "service": "ssl", "state": "SF", "label": "", "record": "CHLX",
    }  # fmt: skip
    assert found.extra["history"].tolist() == ["ShADdaFf"]
    assert (decoder.answered, decoder.refused) == (1, 0)


def test_unset_and_empty_fields() -> None:
    row = changed(duration="-", orig_bytes="-", service="-", id_orig_p="-", history="(empty)")
    found, _ = read(table(row, ROW))
    assert np.isnan(found["duration"][0]) and found["duration"][1] == 1.135424
    assert np.isnan(found["src_bytes"][0])
    assert found["sport"].tolist() == [-1, 62771]
    assert found["service"].tolist() == ["", "ssl"]
    assert found.extra["history"].tolist() == ["", "ShADdaFf"]


def test_several_services_stay_as_they_are() -> None:
    found, _ = read(table(changed(service="gssapi,smb,ntlm")))
    assert found["service"].tolist() == ["gssapi,smb,ntlm"]


def test_separators_of_the_header() -> None:
    text = (
        table(ROW)
        .replace("\\x09", "\\x7c")
        .replace("\t", "|")
        .replace("unset_field|-", "unset_field|NIL")
    )
    found, decoder = read(text.replace("|ssl|", "|NIL|"))
    assert decoder.refusals == []
    assert found["service"].tolist() == [""]


@pytest.mark.parametrize("time", ["2022-06-12T21:59:58.444458Z", "2022-06-12T23:59:58.444458+0200",
                                  "2022-06-12T21:59:58.444458", "1655071198.444458",
                                  "1655071198444.458"])  # fmt: skip
def test_times(time: str) -> None:
    found, _ = read(table(changed(ts=time), changed(ts="7.5")))
    assert found["time"].tolist() == pytest.approx([1655071198.444458, 7.5])


@pytest.mark.parametrize("time", ["-", "-1", "1e20", "yesterday", "2022-13-01T00:00:00Z", ""])
def test_no_times(time: str) -> None:
    found, decoder = read(table(changed(ts=time), ROW))
    assert (len(found), decoder.refused) == (1, 1)


LABELS = [("Benign", "-", "benign"), ("benign", "Microsoft", "benign"),
          ("Malicious", "C&C", "C&C"), ("Malicious", "-", "malicious"),
          ("MALICIOUS", "(empty)", "malicious"), ("Malicious DDoS", "-", "DDoS"),
          ("Background", "x", ""), ("-", "-", ""), ("(empty)", "DDoS", "")]  # fmt: skip


@pytest.mark.parametrize("name", ["detailedlabel", "detailed-label"])
@pytest.mark.parametrize("first", [True, False])
def test_labels_anywhere(name: str, first: bool) -> None:
    told = [[label, detail] for label, detail, _ in LABELS]
    if first:
        text = table(*([*t, *ROW] for t in told), fields=["label", name, *FIELDS])
    else:
        text = table(*([*ROW, *t] for t in told), fields=[*FIELDS, "label", name])
    found, _ = read(text)
    assert found["label"].tolist() == [expected for *_, expected in LABELS]


def test_labels_that_stand_in_the_last_field_of_iot_23() -> None:
    fields = [*FIELDS[:-1], "tunnel_parents   label   detailed-label"]
    rows = [[*ROW[:-1], f"-   {label}   {detail}"] for label, detail, _ in LABELS]
    found, decoder = read(table(*rows, fields=fields))
    assert decoder.refusals == []
    assert found["label"].tolist() == [expected for *_, expected in LABELS]
    assert found["record"].tolist() == ["CHLX"] * len(LABELS)


def test_labels_in_one_field_below_a_header_that_is_in_order() -> None:
    fields = [*FIELDS[:-1], "tunnel_parents", "label", "detailedlabel"]
    found, _ = read(
        table([*ROW, "Benign", "-"], [*ROW[:-1], "-   Malicious   DDoS"], fields=fields)
    )
    assert found["label"].tolist() == ["benign", "DDoS"]


def test_a_header_that_comes_again_with_other_columns() -> None:
    text = table(ROW) + "#close\t2022-06-17\n" + table(ROW[::-1], fields=FIELDS[::-1])
    found, decoder = read(text + "#close\t2022-06-18\n")
    assert len(found) == 2 and decoder.refused == 0
    assert found.row(0) == found.row(1)


def test_rows_with_other_numbers_of_cells_are_refused() -> None:
    found, decoder = read(table(ROW, ROW[:-1], [*ROW, "more"], ROW))
    assert len(found) == 2
    assert [number for number, _ in decoder.refusals] == [8, 9]
    assert f"{len(FIELDS) - 1} cells instead of {len(FIELDS)}" in decoder.refusals[0].why


def json_line(**changes: str) -> str:
    row = {"ts": "1575413096.05", "uid": '"CH5"', "id.orig_h": '"10.18.20.97"',
           "id.orig_p": "49187", "id.resp_h": '"10.18.20.8"', "id.resp_p": "88", "proto": '"tcp"',
           "service": '"krb_tcp"', "duration": "0.25", "orig_bytes": "242",
           "conn_state": '"RSTR"', "history": '"ShAD"', "orig_pkts": "4"}  # fmt: skip
    row |= changes
    return "{" + ",".join(f'"{name}":{value}' for name, value in row.items() if value) + "}\n"


def test_json() -> None:
    found, decoder = read(json_line() + json_line(ts='"2019-12-03T22:44:56.05Z"', duration=""))
    assert decoder.refusals == []
    assert found["time"].tolist() == pytest.approx([1575413096.05] * 2)
    assert found["src"].tolist() == ["10.18.20.97"] * 2
    assert found["dport"].tolist() == [88, 88]
    assert found["duration"][0] == 0.25 and np.isnan(found["duration"][1])
    assert np.isnan(found["dst_bytes"]).all()
    assert found["state"].tolist() == ["RSTR", "RSTR"]
    assert found.extra["history"].tolist() == ["ShAD", "ShAD"]


def test_json_with_labels() -> None:
    found, _ = read(json_line(label='"Malicious"', detailedlabel='"DDoS"'))
    assert found["label"].tolist() == ["DDoS"]


def test_json_of_other_logs() -> None:
    found, decoder = read(json_line(_path='"dns"') + json_line(_path='"conn"'))
    assert (len(found), decoder.skipped, decoder.refused) == (1, 1, 0)
    other = '{"ts":1,"id.orig_h":"a","id.resp_h":"b","proto":"udp","query":"x"}\n'
    found, decoder = read(other)
    assert (len(found), decoder.refused) == (0, 1)


@pytest.mark.parametrize("change", [
    {"ts": ""}, {"ts": "null"}, {"ts": "NaN"}, {"ts": "true"}, {"ts": "[1]"},
    {"id.orig_h": ""}, {"id.orig_h": "5"}, {"id.resp_h": '"a b"'}, {"id.resp_h": '"\\u00e4"'},
    {"id.orig_h": f'"{"a" * 65}"'}, {"id.orig_h": '"-"'}, {"proto": "6"}, {"service": '["a"]'},
    {"id.orig_p": "1.5"}, {"id.orig_p": "-2"}, {"orig_pkts": "-1"}, {"orig_pkts": "Infinity"},
    {"orig_pkts": "1e19"},
])  # fmt: skip
def test_json_that_cannot_be_used(change: dict[str, str]) -> None:
    found, decoder = read(json_line(**change) + json_line())
    assert (len(found), decoder.refused) == (1, 1)
    assert decoder.refusals[0].number == 1 and decoder.refusals[0].why


def test_tables_and_json_in_turn() -> None:
    text = json_line() + table(ROW) + json_line() + "\n\n" + "\t".join(ROW) + "\n" + json_line()
    found, decoder = read(text)
    assert found["record"].tolist() == ["CH5", "CHLX", "CH5", "CHLX", "CH5"]
    assert decoder.refused == 0


def test_a_table_without_its_header() -> None:
    found, decoder = read("\t".join(ROW) + "\n")
    assert len(found) == 0
    assert "#fields" in decoder.refusals[0].why


@pytest.mark.parametrize("text", [
    "#path\tdns\n", "#fields\tts\tuid\n", "#fields\tts\tid.orig_h\tid.resp_h\tproto\tquery\n",
    "#fields\tts\tts\tid.orig_h\tid.resp_h\tproto\tduration\n",
])  # fmt: skip
def test_other_logs(text: str) -> None:
    with pytest.raises(UserError, match="Zeek log"):
        read(text)


def test_windows_lines_and_a_mark_of_byte_order() -> None:
    text = table(ROW[:12], fields=FIELDS[:12])
    found, decoder = read("\ufeff" + text.replace("\n", "\r\n"))
    assert decoder.refused == 0
    assert found["state"].tolist() == ["SF"]


def test_equal_words_are_one_object() -> None:
    found, _ = read(table(*[ROW] * 50))
    for name in ("src", "dst", "proto", "service", "state"):
        assert len({id(word) for word in found[name]}) == 1, name
