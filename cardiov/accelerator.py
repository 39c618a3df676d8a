"""What a GPU needs to be kept busy: signals that are there when it asks for them, and a network compiled for it.

On a CPU neither changes anything: signals are read when they are due, and the network runs as it is written.
"""

import functools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

READERS = 2  # threads, and pieces that are read ahead
log = logging.getLogger(__name__)


def signals_of(cache, pieces: Iterable[np.ndarray], device: torch.device) -> Iterator[torch.Tensor]:
    """Signals of one piece of rows after the other; for a GPU they are read and copied while it computes.

    Parameters
    ----------
    cache : ptbxl.Cache
        Or what else has its `stored`: signals (B, 12, n) as int16 of 1 µV.
    pieces : iterable of ndarray of int
        Rows of the cache.
    device : torch.device

    Yields
    ------
    tensor of float32, shape (B, 12, n), in mV
        On the device.
    """
    if device.type == "cuda":
        stored = _beside(cache, pieces, device)
    else:
        stored = (torch.from_numpy(cache.stored(rows)).to(device) for rows in pieces)
    for x in stored:
        yield x.float().mul_(1e-3)  # on the device, so that half the bytes go there


def _beside(cache, pieces, device):
    """Stored signals of each piece, on the GPU, read and copied beside its computations."""
    copying, computing = torch.cuda.Stream(device), torch.cuda.current_stream(device)

    def fetch(rows):
        with torch.cuda.stream(copying):
            x = torch.from_numpy(cache.stored(rows)).pin_memory().to(device, non_blocking=True)
            return x, copying.record_event()

    for x, copied in _ahead(fetch, pieces):
        computing.wait_event(copied)
        x.record_stream(computing)  # its memory is not given away before the computations that use it are done
        yield x


def _ahead(fetch, items):
    """What `fetch` makes of each item, in order, made by threads a few items ahead of who asks for it."""
    coming = deque()
    with ThreadPoolExecutor(READERS) as readers:
        for item in items:
            coming.append(readers.submit(fetch, item))
            if len(coming) > READERS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def compile_for(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, compiled in place where the device is a GPU that torch can compile for; its parameters keep their names."""
    if device.type == "cuda" and _compiles(device):
        model.compile()
    return model


@functools.cache
def _compiles(device):
    """Whether torch's compiler works here; it needs a C compiler and Python's headers, which not every machine has."""
    try:
        torch.compile(nn.functional.silu)(torch.ones(8, device=device))
    except Exception as error:  # of many kinds
        reason = str(error).strip().splitlines()[0]
        log.warning("networks are not compiled, and so are trained more slowly: torch's compiler does not work here (%s).", reason)
        return False
    return True
