"""What the Makefile works on, from the settings it was given: names and folders, or one sentence that says what is wrong.

It needs nothing but Python, for make asks it before there is an environment: ``python plan.py DATASET=demo PARAMS= LUDB=
VERSION= PTBXL= STEPS=`` prints one ``NAME=value`` a line.
"""

import sys
from pathlib import Path

SAMPLE = "ptbxl-sample"  # comes with the repository, and so does what is published of it
STEPS = ("exact", "replayed", "retrained")  # in which `make paper` rebuilds it
VERSIONS = ("1.0.3", "1.0.1")  # of PTB-XL; the second is the paper's
FILES = ("runs.yaml", "search.yaml", "analysis.yaml")


class SettingError(Exception):
    """A setting that cannot be followed."""


def plan(DATASET=SAMPLE, PARAMS="", LUDB="", VERSION="", PTBXL="", STEPS=""):
    """Resolve the settings of ``make paper``, which are named as there; a `SettingError` if one cannot be followed.

    Returns
    -------
    dict
        ``NAME`` of the results; ``SOURCE`` of the signals ("sample", "demo", "download", "copy" or "folder"); ``DATA``, their
        folder; ``PARAMS``, the folder of parameters; ``VERSION`` of PTB-XL; ``STEPS`` of rebuilding the sample.
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
    if PARAMS and source == "sample":
        raise SettingError(f"{SAMPLE} has parameters of its own, notebooks/params/{SAMPLE}: leave PARAMS out.")
    _check_data(source, data, name)
    if LUDB and not Path(LUDB, "1.hea").is_file():
        raise SettingError(f"{LUDB}/1.hea is missing: give LUDB=<folder with the records of LUDB> or leave it out.")
    settings = {"NAME": name, "SOURCE": source, "DATA": data, "PARAMS": _parameters(PARAMS.rstrip("/"), name), "VERSION": version}
    return settings | {"STEPS": _steps(STEPS, source)}


def _source(dataset, version, copy):
    """Where the signals come from, their folder, and the name of the results."""
    if dataset == SAMPLE or Path(dataset).resolve() == Path("data", SAMPLE).resolve():
        return "sample", f"data/{SAMPLE}", SAMPLE
    if dataset in ("demo", "data/demo"):
        return "demo", "data/demo", "demo"
    if dataset == "data/ptbxl" or dataset == "ptbxl" and not Path(dataset).is_dir():
        name = "ptbxl" if version == VERSIONS[0] else f"ptbxl-{version}"
        return ("copy", str(Path(copy).resolve()), name) if copy else ("download", f"data/{name}", name)
    return "folder", str(Path(dataset).resolve()), Path(dataset).resolve().name


def _check_data(source, data, name):
    there = Path(data, "ptbxl_database.csv").is_file()
    if source == "sample" and not there:
        raise SettingError(f"{data}/ptbxl_database.csv is missing: restore {data}, which comes with the repository.")
    if source not in ("folder", "copy"):
        return
    if not there:
        raise SettingError(f"{data}/ptbxl_database.csv is missing: give DATASET={SAMPLE}, demo, ptbxl or a folder in PTB-XL's layout.")
    if ("demo" in name) != Path(data, "SIMULATED.txt").is_file():  # results are labelled by the name alone
        raise SettingError(f'the name of a folder must contain "demo" if, and only if, its data are simulated: rename {data}.')
    if name == SAMPLE:
        raise SettingError(f"results of a folder {name} would replace those of the sample in the repository: rename {data}.")


def _steps(chosen, source):
    """The steps that are asked for, in their order; by default all."""
    if chosen and source != "sample":
        raise SettingError(f"STEPS chooses how {SAMPLE} is rebuilt: leave it out with another data set.")
    if unknown := set(chosen.split()) - set(STEPS):
        raise SettingError(f'STEPS="{chosen}" has the unknown step {min(unknown)}: choose among {", ".join(STEPS)}.')
    return " ".join(step for step in STEPS if step in (chosen.split() or STEPS))


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
