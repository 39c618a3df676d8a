"""The reader study: packets that betray nothing, sheets that are checked, and what selection does to agreement."""

import os
import re
import shutil
import zlib

import numpy as np
import pandas as pd
import pytest
from ecg_files import simulated_signal, write_data_set, write_record
from predictions import simulated

from cardiov.__main__ import main
from cardiov.analysis import agreement
from cardiov.errors import DataSetError, ParameterError, ReviewError, SignalError
from cardiov.experiments import review
from cardiov.mapping import LEVELS
from cardiov.plots.paper import ecg_paper
from cardiov.store import results

RECORDS = 6  # of 5 s, the least that is read


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Records with telling names and numbers, which must not be found in a packet."""
    folder = tmp_path_factory.mktemp("data")
    table = write_data_set(folder, RECORDS)
    names = [f"secret{name:07d}" for name in range(9100001, 9100001 + RECORDS)]
    for k, name in enumerate(names):
        write_record(folder / "records500/00000", name, simulated_signal(5, seed=k), comments=["secret comment"])
    table["ecg_id"] = range(7654301, 7654301 + RECORDS)
    table["patient_id"] = range(8765401, 8765401 + RECORDS)
    table["filename_hr"] = [f"records500/00000/{name}" for name in names]
    table.to_csv(folder / "ptbxl_database.csv", index=False)
    return folder


@pytest.fixture
def predictions(root):
    """Of the six records, all but the first predicted wrongly."""
    table = pd.DataFrame({
        "ecg_id": range(7654301, 7654301 + RECORDS), "patient_id": range(8765401, 8765401 + RECORDS), "split": "test",
        "critical_value": [0, 1, 2, 3, 0, 1], "predicted": [0, 2, 1, 0, 3, 0],
    })  # fmt: skip
    store(table, "clinic")
    return table


def store(predictions, dataset):
    """Store them as those of the run whose network is shipped, beside another run of all records right."""
    for seed, loss in enumerate((0.5, 0.4)):
        folder = results.run_dir(dataset, f"ordinal-{seed}")
        table = predictions if seed else predictions.assign(predicted=predictions["critical_value"])
        results.write_table(table, folder / "predictions.csv")
        results.write_table(pd.DataFrame({"phase": ["ordinal"], "validation_loss": [loss]}), folder / "history.csv")


def exported(root, data, name="packet", **more):
    cases = review.export("clinic", data, root / name, root / f"{name}.key.csv", **more)
    return root / name, cases


def inflated(pdf):
    """The bytes of a PDF with its compressed streams opened."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, flags=re.DOTALL)
    opened = [zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"\x78"]
    assert len(opened) > RECORDS  # a content stream for each page at least
    return pdf + b"".join(opened), opened


def shown_texts(opened):
    """What is written on the pages: the strings of the operators Tj and TJ, joined by text object."""
    texts = []
    for stream in opened:
        for block in re.findall(rb"BT(.*?)ET", stream, flags=re.DOTALL):
            texts.append(b"".join(re.findall(rb"\(((?:[^()\\]|\\.)*)\)", block)).decode("latin-1"))
    return [text.replace("\\(", "(").replace("\\)", ")") for text in texts]


def test_a_packet_betrays_nothing(root, predictions, data):
    packet, cases = exported(root, data)
    assert sorted(path.name for path in packet.iterdir()) == ["README.txt", "cases.pdf", "sheet.csv"]
    everything, opened = inflated((packet / "cases.pdf").read_bytes())
    everything += b"".join((packet / name).read_bytes() for name in ("README.txt", "sheet.csv"))
    secrets = ("secret", "76543", "87654", "91000", "records500", "ordinal", str(data), "matplotlib", "CreationDate")
    for secret in secrets:
        assert secret.encode() not in everything, secret
    # nothing but these words is on the pages, so neither is a label or a prediction
    assert set(shown_texts(opened)) >= {f"case {case}" for case in range(1, RECORDS)}
    leads = {"I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"}
    others = {text for text in shown_texts(opened) if not re.fullmatch(r"case \d+", text)} - leads
    assert len(others) == 1 and re.fullmatch(r"25 mm/s .* 10 mm/mV", others.pop())
    assert (packet / "sheet.csv").read_text() == "case,critical_value,comment\n1,,\n2,,\n3,,\n4,,\n5,,\n"
    assert sorted(cases["ecg_id"]) == predictions["ecg_id"].tolist()[1:]
    text = (packet / "README.txt").read_text()
    assert "5 ECGs" in text and all(f"{k}  {name}: " in text for k, name in enumerate(LEVELS))


def test_the_packet_of_simulated_data_says_so(root, predictions, data):
    store(predictions, "demo")
    review.export("demo", data, root / "packet", root / "key.csv")
    _, opened = inflated((root / "packet/cases.pdf").read_bytes())
    assert "case 1 (simulated ECG)" in shown_texts(opened)
    assert "(simulated)" in (root / "packet/README.txt").read_text()


def test_a_case_shows_its_own_record(root, predictions, data, monkeypatch):
    drawn = []
    draw = ecg_paper
    monkeypatch.setattr(review, "ecg_paper", lambda *arguments: drawn.append((arguments[2], arguments[0])) or draw(*arguments))
    _, cases = exported(root, data)
    assert [title for title, _ in drawn] == [f"case {case}" for case in cases.index]
    for (_, signal), ecg_id in zip(drawn, cases["ecg_id"], strict=True):
        np.testing.assert_allclose(signal, simulated_signal(5, seed=ecg_id - 7654301) / 1000, atol=1e-6)


def test_the_order_depends_on_the_seed_and_on_nothing_else():
    ids = np.arange(100, 160)
    first = review.shuffled_cases(ids, seed=1)
    assert first.equals(review.shuffled_cases(ids[::-1], seed=1))
    assert not first.equals(review.shuffled_cases(ids, seed=2))
    assert first.index.tolist() == list(range(1, 61)) and sorted(first["ecg_id"]) == ids.tolist()
    ranks = [np.corrcoef(review.shuffled_cases(ids, seed)["ecg_id"], range(60))[0, 1] for seed in range(200)]
    assert abs(np.mean(ranks)) < 0.03  # case numbers do not follow record numbers


def test_a_packet_is_the_same_for_the_same_seed(root, predictions, data):
    first, cases = exported(root, data, "first", seed=4)
    second, same = exported(root, data, "second", seed=4)
    assert cases.equals(same)
    for name in (review.PAGES, review.SHEET, review.INSTRUCTIONS):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_failure_leaves_neither_packet_nor_key(root, predictions, data, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    for path in (broken / "records500/00000").glob("secret9100004.dat"):
        path.write_bytes(path.read_bytes()[:100])
    before = sorted(root.iterdir())
    with pytest.raises(SignalError):
        exported(root, broken)
    assert sorted(root.iterdir()) == before


def test_a_packet_or_key_that_is_there_is_not_overwritten(root, predictions, data):
    packet, _ = exported(root, data)
    filled = packet / "sheet.csv"
    filled.write_text("case,critical_value,comment\n1,3,\n")
    with pytest.raises(ReviewError, match="exists already"):
        exported(root, data)
    assert filled.read_text().endswith("1,3,\n")
    with pytest.raises(ReviewError, match="key of another packet"):
        review.export("clinic", data, root / "other", root / "packet.key.csv", seed=9)
    assert not (root / "other").exists()
    review.export("clinic", data, root / "again", root / "packet.key.csv")  # the very same key


def test_a_key_inside_the_packet_is_refused(root, predictions, data):
    with pytest.raises(ReviewError, match="where the reader would find it"):
        review.export("clinic", data, root / "packet", root / "packet/key.csv")
    assert not (root / "packet").exists()


def test_what_cannot_be_exported_is_said(root, predictions, data, tmp_path):
    with pytest.raises(DataSetError, match="train the run other-0"):
        exported(root, data, run="other-0")
    with pytest.raises(ReviewError, match="no record of this run and split is predicted wrongly"):
        exported(root, data, run="ordinal-0")
    with pytest.raises(ReviewError, match="check the run, and the split"):
        exported(root, data, split="tset")
    write_data_set(tmp_path / "others")
    with pytest.raises(ReviewError, match="5 wrongly predicted records are not in"):
        exported(root, tmp_path / "others")


@pytest.fixture
def key(root):
    path = root / "key.csv"
    pd.DataFrame({"case": [1, 2, 3, 4], "ecg_id": [40, 10, 30, 20], "dataset": "clinic"}).to_csv(path, index=False)
    return path


def sheet(root, text, encoding="utf-8"):
    path = root / "sheet.csv"
    path.write_bytes(text.encode(encoding))
    return path


GOOD = "case,critical_value,comment\n1,0,\n2,3,\"AF, fast\"\n3,1,\n4, 2 ,\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace('"AF, fast"', "Vorhofflimmern?").replace(",", ";"),
        "\ufeff" + GOOD.replace("\n", "\r\n") + ",,\r\n",
        "comment,case,critical_value\n,4,2\n,3,1\n,2,3\n,1,0\n",
        GOOD.replace("1,0", "1.0,0.0").replace("3,1", "3,1.") + ",,\n ,,\n",
        "sep=;\r\ncase;critical_value;comment;;\r\n1;0,0;;;\r\n2,0;3;\"AF; fast\nor flutter\";;\r\n3;1\r\n4;2;;;\r\n;;;;\r\n",
        GOOD.replace("\n", "\r"),
        "\n" + GOOD.replace(",", "\t"),
    ],
    ids=["as exported", "semicolons", "from Windows", "other order", "as numbers", "Excel", "old Macintosh", "tabs"],
)
def test_a_filled_sheet_becomes_readings(root, key, text):
    path = review.import_sheet(sheet(root, text), key, "dr-a")
    assert path == root / "results/clinic/reviews/dr-a.csv"
    assert path.read_text() == "ecg_id,critical_value\n10,3\n20,2\n30,1\n40,0\n"  # no comments
    readings = results.read_reviews("clinic")
    assert readings.to_dict("list") == {"reader": ["dr-a"] * 4, "ecg_id": [10, 20, 30, 40], "reading": [3, 2, 1, 0]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_sheet_may_have_any_unicode_encoding(root, key, encoding):
    text = ("\ufeff" if encoding == "utf-16-be" else "") + GOOD.replace("AF, fast", "Wärme").replace(",", "\t")
    path = review.import_sheet(sheet(root, text, encoding), key, "dr-a")
    assert path.read_text() == "ecg_id,critical_value\n10,3\n20,2\n30,1\n40,0\n"


@pytest.mark.parametrize(("text", "problem"), [
    ("case,critical_value,critical_value\n1,0,1\n", "has the column critical_value more than once"),
    ("case,critical_value,comment\n1,0,AF, fast\n", "more values than columns in the row '1, 0, AF, fast': put texts with commas"),
    ("PK\x03\x04", "is a workbook: save it as CSV"),
    ("case,critical_value\n1,\u0662\n2,1,\n3,1\n4,1\n", "values that are not 0, 1, 2 or 3 (1)"),
])  # fmt: skip
def test_a_sheet_that_can_be_read_in_two_ways_is_refused(root, key, text, problem):
    with pytest.raises(ReviewError) as error:
        review.import_sheet(sheet(root, text), key, "dr-a")
    assert problem in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("rows", "problem"), [
    ("1,40,clinic\n2,10,\n", "data sets instead of one (2): clinic, ; names that no data set has (1): ''"),
    ("1,40,\n2,10,\n", "names that no data set has (1): ''"),
    ("1,40,../../x\n2,10,../../x\n", "names that no data set has (1): '../../x'"),
    ("1,40,/tmp/x\n2,10,/tmp/x\n", "names that no data set has (1): '/tmp/x'"),
    ("1,40,a\\b\n2,10,a\\b\n", "names that no data set has (1)"),
    ("1,40,..\n2,10,..\n", "names that no data set has (1): '..'"),
    ("1,40,clinic\n2,10,other\n", "data sets instead of one (2): clinic, other"),
    ("1,40,clinic\n2,40,clinic\n", "records listed more than once (1): 40"),
    ("1,40,clinic\n1,10,clinic\n", "cases listed more than once (1): 1"),
    ("1,40.0,clinic\n2,010,clinic\n", "records that are no whole numbers (2): '40.0', '010'"),
    ("one,40,clinic\n2,99999999999999999999,clinic\n", "cases that are no whole numbers (1): 'one'; records that are no whole numbers"),
])  # fmt: skip
def test_a_key_that_points_elsewhere_is_refused(root, rows, problem):
    (root / "key.csv").write_text("case,ecg_id,dataset\n" + rows)
    before = sorted(root.rglob("*"))
    with pytest.raises(ReviewError) as error:
        review.import_sheet(sheet(root, "case,critical_value\n1,0\n2,1\n"), root / "key.csv", "dr-a")
    assert problem in str(error.value) and str(error.value).endswith("give the key as export wrote it.")
    assert sorted({*root.rglob("*")} - {root / "sheet.csv"}) == before


def test_a_key_with_a_column_twice_is_refused(root):
    (root / "key.csv").write_text("case,ecg_id,dataset,dataset\n1,10,clinic,other\n")
    with pytest.raises(ReviewError, match="has the column dataset more than once"):
        review.import_sheet(sheet(root, "case,critical_value\n1,0\n"), root / "key.csv", "dr-a")


def test_a_comment_in_another_encoding_does_no_harm(root, key):
    text = GOOD.replace("AF, fast", "Wärme")
    assert review.import_sheet(sheet(root, text, "cp1252"), key, "dr-a").exists()


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("1,0,\n2,3,\n3,1,\n4,2,\n77,1,\n", "unknown cases (1): '77'"),
        ("1,0,\n2,3,\n3,1,\n4,2,\n2,3,\n", "cases listed more than once (1): 2"),
        ("1,0,\n2,4,\n3,1,\n4,2,\n", "values that are not 0, 1, 2 or 3 (1): '4' for case 2"),
        ("1,0,\n2,1.5,\n3,-1,\n4,high,\n", "(3): '1.5' for case 2, '-1' for case 3, 'high' for case 4"),
        ("1,0,\n2,,\n3,1,\n", "cases without a value (2): 2, 4"),
        ("1,,\n,2,\n3,1,\n3,2,\n4,9,\n", "unknown cases (1): ''; cases listed more than once (1): 3; values that are "
         "not 0, 1, 2 or 3 (1): '9' for case 4; cases without a value (2): 1, 2"),
    ],
    ids=["unknown", "twice", "outside", "no whole number", "gaps", "all at once"],
)  # fmt: skip
def test_everything_wrong_with_a_sheet_is_named(root, key, rows, problem):
    with pytest.raises(ReviewError) as error:
        review.import_sheet(sheet(root, "case,critical_value,comment\n" + rows), key, "dr-a")
    assert problem in str(error.value) and "\n" not in str(error.value)
    assert results.read_reviews("clinic").empty


def test_long_lists_are_cut(root, key):
    rows = "".join(f"{case},1,\n" for case in range(1, 40))
    with pytest.raises(ReviewError, match=r"unknown cases \(35\): '5', .*'24' and 15 more"):
        review.import_sheet(sheet(root, "case,critical_value,comment\n" + rows), key, "dr-a")


def test_what_is_no_sheet_is_said(root, key):
    with pytest.raises(ReviewError, match="cannot be read as a sheet"):
        review.import_sheet(root / "absent.csv", key, "dr-a")
    with pytest.raises(ReviewError, match="lacks the column critical_value"):
        review.import_sheet(sheet(root, "case,value\n1,2\n"), key, "dr-a")
    with pytest.raises(ReviewError, match="lacks any row"):
        review.import_sheet(sheet(root, "case,critical_value\n"), key, "dr-a")
    with pytest.raises(ReviewError, match="lacks the column ecg_id, dataset: give the key"):
        review.import_sheet(sheet(root, GOOD), root / "sheet.csv", "dr-a")
    with pytest.raises(ParameterError, match="cannot name a reader"):
        review.import_sheet(sheet(root, GOOD), key, "../dr-a")


def test_the_command_line_goes_the_whole_way(root, predictions, data, monkeypatch, capsys):
    monkeypatch.chdir(root)
    arguments = ["review", "export", "packet", "key.csv", "--dataset", "clinic", "--data", str(data)]
    assert main(arguments) == 0
    assert "5 cases" in capsys.readouterr().out
    table = pd.read_csv("packet/sheet.csv", dtype=str)
    table["critical_value"] = ["0", "1", "2", "3", "0"]
    table.to_csv("filled.csv", index=False)
    assert main(["review", "import", "filled.csv", "key.csv", "--reader", "dr-a"]) == 0
    assert capsys.readouterr().out.strip() == os.path.join("results", "clinic", "reviews", "dr-a.csv")
    cases = pd.read_csv("key.csv").set_index("ecg_id")["case"]
    read = results.read_reviews("clinic").set_index("ecg_id")["reading"]
    assert {cases[ecg_id]: value for ecg_id, value in read.items()} == {1: 0, 2: 1, 3: 2, 4: 3, 5: 0}
    assert main(["review", "import", "packet/sheet.csv", "key.csv", "--reader", "dr-b"]) == 1
    assert "cases without a value (5): 1, 2, 3, 4, 5" in capsys.readouterr().err


def test_without_reviews_the_table_is_empty(root):
    assert results.read_reviews("clinic").columns.tolist() == ["reader", "ecg_id", "reading"]
    assert len(results.read_reviews("clinic")) == 0


def test_a_simulated_reader_goes_through_the_sheet_and_reads_only_wrong_predictions(root):
    table = simulated(1)
    path = review.simulate_review("demo", table, accuracy=1.0, seed=3)
    assert path == root / "results/demo/reviews/simulated-reader.csv"
    read = results.read_reviews("demo").merge(table, on="ecg_id")
    assert read["ecg_id"].tolist() == sorted(agreement.wrong(table)["ecg_id"])
    assert (read["reading"] == read["critical_value"]).all()
    with pytest.raises(ParameterError, match="is not simulated"):
        review.simulate_review("ptbxl", table, accuracy=1.0)
