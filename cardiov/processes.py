"""Several processes, each on its own GPU where there are GPUs: started, held together, and told of when one is lost.

`launch` starts them on one machine; for several machines, torchrun does (``torchrun ... -m cardiov train ...``). It
knows nothing of what they compute: see `cardiov.training.run`.
"""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

from cardiov.errors import ParameterError, WorkerError

# One that was killed is noticed at once. This is for one that is stuck, or is lost on another machine, and far above
# what any is ahead of the others: they go through training and validation side by side.
PATIENCE = timedelta(minutes=10)
LAUNCHED = "TORCHELASTIC_RUN_ID"
AGAIN = (
    "run the same command again, with any number of processes: training goes on from its last checkpoint, scoring with "
    "--output where it stopped"
)


def launched() -> bool:
    """Whether this process is one of those that `launch` or torchrun has started, be it the only one."""
    return LAUNCHED in os.environ


def rank() -> int:
    """Which of them this process is; 0 is the one that writes and speaks."""
    return int(os.environ["RANK"]) if launched() else 0


def launch(processes: int, command: list[str]) -> None:
    """Run a command, such as ["train", "--data", ...], in several processes of this machine that work together.

    Raises
    ------
    ParameterError
        If there is no such number of processes.
    WorkerError
        If a process was killed; the others are then ended, at the latest after half a minute.
    SystemExit
        If one of them failed, which has said why, or the job was told to end.
    """
    if processes < 1:
        raise ParameterError(f"{processes} processes cannot do anything: give 1 or more.")
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # on more, sums are rounded in another way
    logging.disable(logging.ERROR)  # of what is lost, the sentence below tells
    config = LaunchConfig(1, 1, processes, run_id="cardiov", rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
    try:
        elastic_launch(config, sys.executable)("-m", "cardiov", *command)
    except ChildFailedError as error:
        number, failure = _cause(error.failures)
        if failure.exitcode > 0:  # it has said why
            raise SystemExit(1) from None
        name = failure.signal_name()
        raise WorkerError(
            f"one of {processes} processes (number {number}) was killed ({name}), perhaps for want of memory: {AGAIN}."
        ) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None
    finally:
        logging.disable(logging.NOTSET)


def _cause(failures):
    """The process that was lost, with how it ended: when one is, others fail, or are ended by SIGTERM."""
    return min(failures.items(), key=lambda item: (item[1].exitcode == -signal.SIGTERM, item[1].exitcode > 0))


@contextmanager
def together():
    """Around every exchange between the processes, which fails where one of them is lost.

    Raises
    ------
    WorkerError
    """
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's
        if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):  # this process's own
            raise
        reason = str(error).splitlines()[0]
        raise WorkerError(f"another process was lost, or did not answer ({reason}): {AGAIN}.") from error


def end_with_launcher() -> None:
    """End this process when the one that started it ends, which cannot tell if it was killed; two jobs would be at work."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
