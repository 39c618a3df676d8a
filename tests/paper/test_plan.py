"""What the Makefile's settings mean, and what it refuses."""

import pytest

from cardiov.paper import plan as module
from cardiov.paper.plan import SettingError, main, plan


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository with its sample, a data folder, LUDB and parameters; the tests run in it."""
    for name in ("data/ptbxl-sample/ptbxl_database.csv", "elsewhere/ecgs/ptbxl_database.csv", "ludb/1.hea"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("demo", "paper", "quick", "ptbxl-sample"):
        (tmp_path / "notebooks/params" / name).mkdir(parents=True)
        for file in module.FILES:
            (tmp_path / "notebooks/params" / name / file).touch()
    (tmp_path / "notebooks/params/half").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL_STEPS = "exact replayed retrained"
PAPER = {"PARAMS": "notebooks/params/paper", "VERSION": "1.0.3", "STEPS": ALL_STEPS}


def of_sample(steps=ALL_STEPS):
    return {"NAME": "ptbxl-sample", "SOURCE": "sample", "DATA": "data/ptbxl-sample", "PARAMS": "notebooks/params/ptbxl-sample",
            "VERSION": "1.0.3", "STEPS": steps}  # fmt: skip


def test_the_sample_is_the_default(tree):
    assert plan() == of_sample()
    for name in ("ptbxl-sample", "ptbxl-sample/", "data/ptbxl-sample", "./data/ptbxl-sample/", str(tree / "data/ptbxl-sample")):
        assert plan(DATASET=name) == of_sample()


@pytest.mark.parametrize(("chosen", "steps"), [
    ("", ALL_STEPS), ("exact", "exact"), ("retrained exact", "exact retrained"), (" replayed  replayed ", "replayed"),
])  # fmt: skip
def test_steps_of_rebuilding_come_in_their_order(tree, chosen, steps):
    assert plan(STEPS=chosen) == of_sample(steps)


@pytest.mark.parametrize("name", ["demo", "demo/", "data/demo", "data/demo/"])
def test_the_demo(tree, name):
    expected = {"NAME": "demo", "SOURCE": "demo", "DATA": "data/demo", "PARAMS": "notebooks/params/demo"}
    assert plan(DATASET=name) == PAPER | expected


def test_a_folder_gives_its_name_to_the_results(tree):
    expected = {"NAME": "ecgs", "SOURCE": "folder", "DATA": str(tree / "elsewhere/ecgs")}
    assert plan(DATASET="elsewhere/ecgs/") == PAPER | expected
    assert plan(DATASET=str(tree / "elsewhere/ecgs"), PARAMS="notebooks/params/quick/")["PARAMS"] == "notebooks/params/quick"


@pytest.mark.parametrize(("version", "name"), [("", "ptbxl"), ("1.0.3", "ptbxl"), ("1.0.1", "ptbxl-1.0.1")])
def test_ptbxl_is_downloaded_or_a_copy_of_it_is_taken(tree, version, name):
    given = {"DATASET": "ptbxl", "VERSION": version}
    expected = PAPER | {"NAME": name, "SOURCE": "download", "DATA": f"data/{name}", "VERSION": version or "1.0.3"}
    assert plan(**given) == expected
    assert plan(**given, PTBXL="elsewhere/ecgs") == expected | {"SOURCE": "copy", "DATA": str(tree / "elsewhere/ecgs")}
    (tree / "data/ptbxl").mkdir()
    assert plan(**given | {"DATASET": "data/ptbxl"}) == expected


def test_a_folder_with_the_name_of_ptbxl_is_a_folder_like_any_other(tree):
    (tree / "elsewhere/ecgs").rename(tree / "ptbxl")
    assert plan(DATASET="ptbxl")["SOURCE"] == "folder"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"DATASET": "no/such/folder/"}, "no/such/folder/ptbxl_database.csv is missing: give DATASET="),
        ({"DATASET": "results/ptbxl-sample"}, "results/ptbxl-sample/ptbxl_database.csv is missing"),
        ({"DATASET": "unknown"}, "unknown/ptbxl_database.csv is missing"),
        ({"DATASET": "a folder"}, 'DATASET="a folder" must be one path without spaces'),
        ({"DATASET": ""}, 'DATASET="" must be one path'),
        ({"DATASET": "ptbxl", "PTBXL": "a folder"}, 'PTBXL="a folder" must be one path without spaces'),
        ({"DATASET": "ptbxl", "PTBXL": "no/copy"}, "no/copy/ptbxl_database.csv is missing"),
        ({"DATASET": "ptbxl", "VERSION": "1.0.2"}, 'VERSION="1.0.2" is not a version .*: give 1.0.3 or 1.0.1'),
        ({"DATASET": "demo", "PTBXL": "elsewhere"}, "give DATASET=ptbxl with them"),
        ({"VERSION": "1.0.1"}, "give DATASET=ptbxl with them"),
        ({"LUDB": "no/ludb"}, "no/ludb/1.hea is missing"),
        ({"PARAMS": "notebooks/params/quick"}, "ptbxl-sample has parameters of its own, .*: leave PARAMS out"),
        ({"DATASET": "demo", "PARAMS": "notebooks/params/half"},
         'the folder "notebooks/params/half" lacks runs.yaml, search.yaml, analysis.yaml'),
        ({"STEPS": "exact trained"}, 'STEPS="exact trained" has the unknown step trained: choose among exact, replayed, retrained'),
        ({"DATASET": "demo", "STEPS": "exact"}, "STEPS chooses how ptbxl-sample is rebuilt: leave it out"),
    ],
)
def test_bad_settings_are_one_sentence(tree, settings, sentence, capsys):
    with pytest.raises(SettingError, match=sentence):
        plan(**settings)
    assert main([f"{name}={value}" for name, value in settings.items()]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1


@pytest.mark.parametrize(("name", "simulated"), [("some-demo", False), ("real", True)])
def test_simulated_data_are_named_so_and_real_data_are_not(tree, name, simulated):
    folder = (tree / "elsewhere/ecgs").rename(tree / name)
    if simulated:
        (folder / "SIMULATED.txt").touch()
    with pytest.raises(SettingError, match="if, and only if, its data are simulated"):
        plan(DATASET=name)


def test_a_folder_cannot_take_the_samples_name(tree):
    (tree / "elsewhere/ecgs").rename(tree / "elsewhere/ptbxl-sample")
    with pytest.raises(SettingError, match="would replace those of the sample in the repository: rename"):
        plan(DATASET="elsewhere/ptbxl-sample")


def test_a_sample_without_its_table_is_not_downloaded_but_restored(tree):
    (tree / "data/ptbxl-sample/ptbxl_database.csv").unlink()
    with pytest.raises(SettingError, match="data/ptbxl-sample/ptbxl_database.csv is missing: restore data/ptbxl-sample, which"):
        plan()


def test_it_prints_what_make_reads(tree, capsys):
    assert main(["DATASET=ptbxl-sample", "PARAMS=", "LUDB=", "VERSION=", "PTBXL=", "STEPS=retrained exact"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{name}={value}" for name, value in of_sample("exact retrained").items()]


def test_it_knows_the_versions_that_the_package_knows():
    from cardiov.data.ptbxl import VERSIONS

    assert set(module.VERSIONS) == set(VERSIONS)
