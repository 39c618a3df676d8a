"""Several files at once: limits, and which files are one ECG."""

import pytest

from cardiov.app.uploads import check_upload, sort_into_ecgs
from cardiov.errors import SignalError


@pytest.mark.parametrize(("contents", "sentence"), [
    ([], "these are 0 files: give 1 to 200"), ([b""] * 201, "these are 201 files: give 1 to 200, or score a folder by"),
    ([bytes(9 * 2**20), bytes(8 * 2**20)], "the upload has 17.0 MiB: give at most 16 MiB"),
])  # fmt: skip
def test_python_checks_uploads_too(contents, sentence):
    with pytest.raises(SignalError, match=sentence):
        check_upload(["a"] * len(contents), contents)


def test_files_are_sorted_into_ecgs():
    files = {
        "b.dat": b"", "a.csv": b"I,II", "A.HEA": b"\xef\xbb\xbf# a comment\nA 2 500 10\nb.dat 16\nA.mat 16\n", "A.mat": b"",
        "long.hea": b"long/2 12 500 20\n~ 5\nfirst 10\nlong.hea 10\n", "first.hea": b"first 12 500 10\nfirst.dat 16\n", "first.dat": b"",
        "orphan.dat": b"", "lost.hea": b"lost 1 500 10\nlost.dat 16\n", "empty.hea": b"",
    }  # fmt: skip
    assert [sorted(ecg) for ecg in sort_into_ecgs(files)] == [
        ["A.HEA", "A.mat", "b.dat"], ["first.dat", "first.hea", "long.hea"], ["lost.hea"], ["empty.hea"], ["a.csv"], ["orphan.dat"],
    ]  # fmt: skip
    assert sort_into_ecgs(files)[0] == {name: files[name] for name in ("A.HEA", "A.mat", "b.dat")}
