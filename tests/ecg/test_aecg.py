"""HL7 aECG in detail, against BioSig's and files with elements changed by hand."""

from pathlib import Path

import numpy as np
import pytest
from ecg_files import AECG_LEAD, read_both_ways, simulated_signal, write_aecg

from cardiov.ecg.leads import read_ecg
from cardiov.errors import SignalError

SIGNAL = simulated_signal(seconds=5)


def text_of(tmp_path, signal=SIGNAL):
    write_aecg(tmp_path / "ecg.xml", signal)
    return (tmp_path / "ecg.xml").read_text(encoding="utf-8")


def read(text, **settled):
    return read_ecg({"ecg.xml": text.encode()}, **settled)


def part(text, tag):
    """The first element with this tag, as text."""
    return text[text.index(f"<{tag}>") : text.index(f"</{tag}>") + len(tag) + 3]


def assert_read(text, signal=SIGNAL, warnings=(), **settled):
    ecg = read(text, **settled)
    np.testing.assert_allclose(ecg.signal, signal / 1000, atol=1e-6)
    assert ecg.warnings == warnings
    return ecg


def refused(text, match):
    with pytest.raises(SignalError, match=match) as error:
        read(text)
    assert "truncated" not in str(error.value)


def test_aecg_written_by_biosig():
    ecg = read_ecg(Path(__file__).parents[1] / "fixtures/simulated-aecg.xml")
    np.testing.assert_allclose(ecg.signal, simulated_signal(seconds=5, fs=257, seed=7) / 1000, atol=1e-6)
    assert ecg.fs == pytest.approx(257, rel=1e-5)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(tmp_path, encoding):
    text = text_of(tmp_path).replace('encoding="UTF-8"', f'encoding="{encoding[:6].upper()}"')
    (tmp_path / "ecg.xml").write_bytes(text.encode(encoding))
    np.testing.assert_allclose(read_both_ways(tmp_path / "ecg.xml").signal, SIGNAL / 1000, atol=1e-6)


@pytest.mark.parametrize(("scale", "factor"), [("2,5", 2.5), ("2.5", 2.5), ("25E-1", 2.5), (" 2.5 ", 2.5), ("-1", -1), ("0,001", 0.001)])
def test_scales(tmp_path, scale, factor):
    text = text_of(tmp_path).replace('<scale value="1" unit="uV"', f'<scale value="{scale}" unit="{"mV" if factor == 0.001 else "uV"}"')
    assert_read(text, SIGNAL * (1 if factor == 0.001 else factor))


@pytest.mark.parametrize("scale", ["abc", "", "0", "1.2.3", "2 5"])
def test_an_unreadable_scale_is_an_error(tmp_path, scale):
    refused(text_of(tmp_path).replace('<scale value="1"', f'<scale value="{scale}"', 1), "gives no scale for I|could not convert")
    refused(text_of(tmp_path).replace('<scale value="1" unit="uV"/>', "", 1), "gives no scale for I")


def test_origins(tmp_path):
    for origin, unit, offset in (("-20,5", "uV", -20.5), ("0.5", "mV", 500), ("", "uV", 0), ("3", "", 3)):
        text = text_of(tmp_path).replace('<origin value="0" unit="uV"/>', f'<origin value="{origin}" unit="{unit}"/>')
        assert_read(text, SIGNAL + offset)
    for origin, unit in (("abc", "uV"), ("5", "mmHg")):
        refused(text_of(tmp_path).replace('<origin value="0" unit="uV"/>', f'<origin value="{origin}" unit="{unit}"/>'), "cannot be read as HL7")


def test_an_unreadable_unit_or_increment_is_settled_by_the_user(tmp_path):
    refused(text_of(tmp_path).replace('value="1" unit="uV"', 'value="1" unit="xV"'), "in 'xV'")
    read(text_of(tmp_path).replace('value="1" unit="uV"', 'value="1" unit=""'), unit="uV")
    for increment in ("abc", "", "0", "-1"):
        text = text_of(tmp_path).replace('<increment value="0.002" unit="s"', f'<increment value="{increment}" unit="s"')
        refused(text, "gives no sampling rate")
        assert assert_read(text, fs=500).fs == 500
    assert assert_read(text_of(tmp_path).replace('<increment value="0.002" unit="s"', '<increment value="2,0" unit="ms"')).fs == 500


def test_of_two_series_or_sets_one_is_read_and_the_other_is_said(tmp_path):
    first, second = text_of(tmp_path), text_of(tmp_path, simulated_signal(seconds=5, seed=5))
    said = ("not read: 1 of 2 recordings of the rhythm",)
    series = f"<component>{part(second, 'series')}</component>"
    assert_read(first.replace("</AnnotatedECG>", f"{series}</AnnotatedECG>"), warnings=said)
    assert_read(first.replace("</series>", f"<component>{part(second, 'sequenceSet')}</component></series>"), warnings=said)


def test_the_rhythm_is_read_wherever_it_stands(tmp_path):
    """After a series of another kind, a representative beat, or a set without leads."""
    text, beat = text_of(tmp_path), part(text_of(tmp_path, 3 * SIGNAL), "series")
    for code, said in (("REPRESENTATIVE_BEAT", ("not read: median beats",)), ("PRESSURE", ())):
        other = beat.replace("RHYTHM", code)
        assert_read(text.replace("<component><series>", f"<component>{other}</component><component><series>", 1), warnings=said)
    derived = f"<derivation><derivedSeries>{beat[8:-9]}</derivedSeries></derivation></series>"
    assert_read(text.replace("</series>", derived), warnings=("not read: median beats",))
    refused(text.replace("RHYTHM", "REPRESENTATIVE_BEAT"), "it holds median beats, but no rhythm")
    empty = "<component><sequenceSet><component><sequence><code code=\"OTHER\"/></sequence></component></sequenceSet></component>"
    shorter = text.replace('<code code="RHYTHM"/>', f'<code code="RHYTHM"/>{empty}')
    assert_read(shorter, warnings=("not read: 1 of 2 recordings of the rhythm",))


def test_a_sequence_that_is_no_lead_never_refuses(tmp_path):
    for code in ("MDC_ECG_LEAD_V3R", "MDC_ECG_LEAD_AVRNEG", "MDC_PRESS_BLD", "MDC_ECG_LEAD_X"):
        other = AECG_LEAD.format("?", "not a number").replace("MDC_ECG_LEAD_?", code).replace('<scale value="1"', '<scale value="?"')
        ecg = read(text_of(tmp_path).replace("</sequenceSet>", f"{other}</sequenceSet>"))
        np.testing.assert_allclose(ecg.signal, SIGNAL / 1000, atol=1e-6)


def test_names_of_makers_and_texts(tmp_path):
    assert_read(text_of(tmp_path).replace("MDC_ECG_LEAD", "MINDRAY_ECG_LEAD"))
    assert_read(text_of(tmp_path).replace('<code code="MDC_ECG_LEAD_V2"/>', '<code code="131099" displayName="Lead V2"/>'))


def test_a_reported_age_is_taken_before_the_date_of_birth(tmp_path):
    assert read(text_of(tmp_path)).meta["age"] == 61
    reported = '<controlVariable><relatedObservation><code code="21612-7"/><value value="{}" unit="{}"/></relatedObservation></controlVariable>'
    for value, unit, age in (("60", "a", 60), ("720", "mo", 61), ("", "a", 61)):
        text = text_of(tmp_path).replace("<component><series>", f"{reported.format(value, unit)}<component><series>")
        assert read(text).meta["age"] == age
    meta = read(text_of(tmp_path).replace("<low value=", "<low other=")).meta
    assert (meta["recorded"], meta["age"]) == (None, None)
