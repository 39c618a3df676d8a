"""The errors that this package raises: each message is one sentence that says what, where and how to mend it."""


class CardioVError(Exception):
    """Base of all errors of this package; the command line prints its message and exits with 1."""


class StatementError(CardioVError):
    """SCP-ECG statements that cannot be turned into a critical value."""


class SignalError(CardioVError):
    """An ECG file that cannot be read as twelve leads in mV."""


class DataSetError(CardioVError):
    """A data folder, its metadata or a signal cache that is missing, incomplete or inconsistent."""


class DownloadError(DataSetError):
    """A server that cannot be reached, or that fails time and again; it may serve later."""


class CheckpointError(CardioVError):
    """A checkpoint or weights that are unreadable or belong to another configuration."""


class ParameterError(CardioVError):
    """A parameter that is unknown or out of range."""


class StorageError(CardioVError):
    """No space, or no permission, to write what was asked for."""


class WorkerError(CardioVError):
    """One of several processes that train or score together was lost."""


class NotebookError(CardioVError):
    """A notebook that could not be run to its end."""


class ReviewError(CardioVError):
    """A packet for a reader that cannot be made, or a filled sheet that cannot be taken in."""


class ComparisonError(CardioVError):
    """Regenerated results that differ from the committed ones by more than their tolerances."""
