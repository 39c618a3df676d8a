"""Parameters of a step, from a YAML file."""

from pathlib import Path

import yaml

from cardiov.errors import ParameterError


def read_parameters(path) -> dict:
    """Parameters from a YAML file; none without a path.

    Raises
    ------
    ParameterError
        If the file is missing or holds no names with values.
    """
    if path is None:
        return {}
    try:
        parameters = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ParameterError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}): correct it.") from error
    if not isinstance(parameters, dict):
        raise ParameterError(f"{path} holds no parameters: write one name and value a line, such as 'seed: 0'.")
    return parameters
