"""Processes that torchrun starts to train one network together: one sentence when one of them fails, and the end of all.

``torchrun --nproc-per-node 2 -m cardiov train ...`` starts them; `begin` comes first in each.
"""

import os
import select
import signal
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

from cardiov.errors import WorkerError

LOST = (
    "another process was lost, or the job was ended: run the same command again, with any number of processes; training goes on "
    "from its last checkpoint."
)
_printing = threading.Lock()


def _launched():
    return "TORCHELASTIC_RUN_ID" in os.environ


def begin() -> None:
    """Make sure that this process ends when torchrun, or another of its processes, does."""
    if not _launched():
        return
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    signal.signal(signal.SIGTERM, lambda *_: None)  # torchrun sends it when another process has failed
    signal.set_wakeup_fd(sent)
    # a thread, because the main one can be waiting for a GPU whose partner is gone
    threading.Thread(target=_watch, args=(received, os.getppid()), daemon=True).start()


def _watch(signals, launcher):
    while os.getppid() == launcher:
        if select.select([signals], [], [], 0.5)[0] and signal.SIGTERM in os.read(signals, 1):
            report(WorkerError(LOST))
            break
    os._exit(1)


def report(error: Exception) -> None:
    """Print an error on stderr, unless another of the processes has printed one."""
    with _printing:
        if _is_first():
            # below the progress bar that a killed process has left
            print(f"\n{error}" if _launched() else error, file=sys.stderr, flush=True)


def _is_first():
    if not _launched():
        return True
    from torch.distributed import TCPStore

    try:  # torchrun's store outlives the processes
        store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=5))
        return store.add("cardiov/errors", 1) == 1
    except RuntimeError:  # torchrun itself is gone
        return True


@contextmanager
def exchanging():
    """Around what exchanges tensors with the other processes.

    Raises
    ------
    WorkerError
        If one of them is lost, or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        from torch.distributed import DistError

        if isinstance(error, DistError) or "gloo" in str(error):
            raise WorkerError(LOST) from error
        raise
