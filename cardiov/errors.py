"""The errors that this package raises. Each message is one sentence: what is wrong and where; what to do."""

from contextlib import contextmanager


class CardioVError(Exception):
    """Base of all errors of this package; the command line prints the message and exits with 1."""


class StatementError(CardioVError):
    """SCP-ECG statements that cannot be turned into a critical value."""


class SignalError(CardioVError):
    """An ECG file that cannot be read as twelve leads in mV."""


class DataSetError(CardioVError):
    """A data folder, its metadata or a signal cache that is missing, incomplete or inconsistent."""


class DownloadError(DataSetError):
    """A server that cannot be reached or fails repeatedly; a later attempt may succeed."""


class CheckpointError(CardioVError):
    """A checkpoint or weights that are unreadable or belong to another configuration."""


class ParameterError(CardioVError):
    """A parameter that is unknown or out of range."""


class StorageError(CardioVError):
    """No space or no permission to write."""


class WorkerError(CardioVError):
    """The loss of one of several processes that train or score together."""


class NotebookError(CardioVError):
    """A notebook that fails."""


class ReviewError(CardioVError):
    """A packet for a reader that cannot be made, or a filled sheet that cannot be imported."""


class ComparisonError(CardioVError):
    """Results, made again on this machine, that are not as published."""


@contextmanager
def requiring(extra, purpose):
    """Turn the lack of a package into a ParameterError that names the extra of this package that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] == "cardiov":
            raise
        raise ParameterError(f'{purpose} needs {error.name}, which is not installed: pip install "cardiov[{extra}]".') from error
