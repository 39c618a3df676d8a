"""Parameters of a step, from a YAML file whose names are checked."""

from collections.abc import Collection
from pathlib import Path

import yaml

from cardiov.errors import ParameterError


def read_parameters(path, known: Collection[str]) -> dict:
    """Parameters from a YAML file; a `ParameterError` if it cannot be read, or sets another name than the known ones."""
    try:
        parameters = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}): correct it.") from error
    if not isinstance(parameters, dict):
        raise ParameterError(f"{path} holds no parameters: write one name and value a line, such as 'seed: 0'.")
    check_names(path, parameters, known)
    return parameters


def check_names(where, names: Collection[str], known: Collection[str]) -> None:
    """Refuse names that are not known: a `ParameterError` says where they are, and which names are known."""
    if unknown := sorted(set(map(str, names)) - set(known)):
        raise ParameterError(f"{where} sets {', '.join(unknown)}: correct it to one of {', '.join(sorted(known))}.")
