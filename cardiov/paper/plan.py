"""What the Makefile works on, from the settings it was given: names and folders, or one sentence that says what is wrong.

It needs nothing but Python, for make asks it before there is an environment: ``python plan.py DATASET=demo PARAMS= LUDB=
VERSION= PTBXL=`` prints one ``NAME=value`` a line.
"""

import sys
from pathlib import Path

VERSIONS = ("1.0.3", "1.0.1")  # of PTB-XL; the second is the paper's
FILES = ("runs.yaml", "search.yaml", "analysis.yaml")


class SettingError(Exception):
    """A setting that cannot be followed."""


def plan(DATASET="demo", PARAMS="", LUDB="", VERSION="", PTBXL=""):
    """Resolve the settings of ``make paper``, which are named as there; a `SettingError` if one cannot be followed.

    Returns
    -------
    dict
        ``NAME`` of the results; ``SOURCE`` of the signals ("demo", "download", "copy", "folder", or "stored" where only results
        are here); ``DATA``, their folder, empty if stored; ``PARAMS``, the folder of parameters; ``VERSION`` of PTB-XL.
    """
    for name, value in {"DATASET": DATASET, "PARAMS": PARAMS, "LUDB": LUDB, "PTBXL": PTBXL}.items():
        if len(value.split()) > 1 or name == "DATASET" and not value:
            raise SettingError(f'{name}="{value}" must be one path without spaces: rename the folder.')
    if VERSION and VERSION not in VERSIONS:
        raise SettingError(f'VERSION="{VERSION}" is not a version that this project reads: give {" or ".join(VERSIONS)}.')
    version = VERSION or VERSIONS[0]
    source, data, name = _source(DATASET.rstrip("/"), version, PTBXL)
    if (VERSION or PTBXL) and source not in ("download", "copy"):
        raise SettingError("VERSION and PTBXL choose a copy of PTB-XL: give DATASET=ptbxl with them.")
    _check_data(source, data, name)
    _check_ludb(source, LUDB, name)
    return {"NAME": name, "SOURCE": source, "DATA": data, "PARAMS": _parameters(PARAMS.rstrip("/"), name), "VERSION": version}


def _source(dataset, version, copy):
    """Where the signals come from, their folder, and the name of the results."""
    if dataset in ("demo", "data/demo"):
        return "demo", "data/demo", "demo"
    if dataset == "data/ptbxl" or dataset == "ptbxl" and not Path(dataset).is_dir():
        name = "ptbxl" if version == VERSIONS[0] else f"ptbxl-{version}"
        return ("copy", str(Path(copy).resolve()), name) if copy else ("download", f"data/{name}", name)
    if "/" not in dataset and not Path(dataset).is_dir() and Path("results", dataset, "records.csv").is_file():
        return "stored", "", dataset
    return "folder", str(Path(dataset).resolve()), Path(dataset).resolve().name


def _check_data(source, data, name):
    if source not in ("folder", "copy"):
        return
    if not Path(data, "ptbxl_database.csv").is_file():
        raise SettingError(
            f"{data}/ptbxl_database.csv is missing: give DATASET=demo or ptbxl, a folder in PTB-XL's layout, or the name of "
            "stored results."
        )
    if ("demo" in name) != Path(data, "SIMULATED.txt").is_file():  # results are labelled by the name alone
        raise SettingError(f'the name of a folder must contain "demo" if, and only if, its data are simulated: rename {data}.')


def _check_ludb(source, ludb, name):
    if ludb and source == "stored":
        raise SettingError(f"{ludb} is read by a network trained on the signals of {name}, which are not here: leave LUDB out.")
    if ludb and not Path(ludb, "1.hea").is_file():
        raise SettingError(f"{ludb}/1.hea is missing: give LUDB=<folder with the records of LUDB> or leave it out.")


def _parameters(folder, name):
    """The folder of parameters: the one given, the data set's own, or the paper's."""
    own = f"notebooks/params/{name}"
    folder = folder or (own if Path(own).is_dir() else "notebooks/params/paper")
    if missing := [file for file in FILES if not Path(folder, file).is_file()]:
        raise SettingError(f'the folder "{folder}" lacks {", ".join(missing)}: give PARAMS=notebooks/params/paper.')
    return folder


def main(arguments):
    """Print the plan for settings such as ``DATASET=demo``; the exit status is 1 if one of them is wrong."""
    try:
        settings = plan(**dict(argument.split("=", 1) for argument in arguments))
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    print(*(f"{name}={value}" for name, value in settings.items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
