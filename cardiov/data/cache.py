"""A data set's signals, filtered and resampled once, in a cache on disk."""

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from cardiov.data.records import open_records
from cardiov.ecg.filters import BAND, FADE, ORDER, prepare_signal, to_microvolts
from cardiov.ecg.leads import MIN_RATE
from cardiov.errors import DataSetError, ParameterError
from cardiov.store.files import check_room, locked, storing

log = logging.getLogger(__name__)
CACHE_FORMAT = 2  # raised when the prepared signals change for the same input
SIGNALS, DESCRIPTION = "signals.npy", "cache.json"
CHUNK = 16  # records per task


@dataclass(frozen=True)
class Cache:
    """Prepared signals of a data set on disk: int16 of 1 µV, (N, 12, n)."""

    folder: Path
    rate: float  # Hz
    ecg_ids: np.ndarray  # (N,)
    shape: tuple[int, int, int]  # (N, 12, n)
    digest: str  # of the records' files and the settings; the same on any machine
    warnings: dict[int, list[str]]  # named warnings of those records that have any, by `ecg_id`

    def read(self, rows) -> np.ndarray:
        """Signals of the given rows (positions in ``ecg_ids``): float32 (len(rows), 12, n) in mV."""
        return np.multiply(self.stored(rows), 1e-3, dtype=np.float32)

    def stored(self, rows) -> np.ndarray:
        """Signals of the given rows as stored: int16 (len(rows), 12, n) of 1 µV."""
        # mapped during the call only, so that resident memory does not grow with the data set
        return np.load(self.folder / SIGNALS, mmap_mode="r")[np.asarray(rows)]


def open_cache(cache_dir) -> Cache:
    """Open a finished cache; raise a DataSetError if it is missing or damaged."""
    folder = Path(cache_dir)
    content = _description(folder)
    warnings = {int(ecg_id): names for ecg_id, names in content["warnings"].items()}
    return Cache(folder, content["rate"], np.array(content["ecg_ids"]), tuple(content["shape"]), content["digest"], warnings)


def _description(folder):
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        whole = content["format"] == CACHE_FORMAT and (folder / SIGNALS).stat().st_size == content["bytes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataSetError(f"{folder} is no signal cache ({error}): make one with 'python -m cardiov prepare'.") from error
    if not whole:
        raise DataSetError(f"{folder} is damaged or of another version: make it again with 'python -m cardiov prepare'.")
    return content


def _is_current(folder, key):
    try:
        return _description(folder)["inputs"] == key
    except DataSetError:
        return False


def prepare(folder, cache_dir, rate=500, workers=None) -> Cache:
    """Convert a data set's signals, once, into an on-disk cache.

    Each record is read, checked (see `cardiov.ecg.leads.read_ecg`), band-passed and resampled. The cache appears when it is
    complete, and is reused until the record list, a signal file (size or time) or a setting changes. ``folder`` is in PTB-XL's
    layout and only read; ``cache_dir`` holds nothing else; ``rate`` is in Hz; ``workers`` are threads, by default one per core.

    Raises
    ------
    DataSetError, SignalError
        If metadata or records are missing, records differ in length, or one cannot be read.
    ParameterError, StorageError
        If the rate is too low, or ``cache_dir`` holds something else or cannot be written.
    """
    if not rate >= MIN_RATE:
        raise ParameterError(f"the rate is {rate} Hz: give at least {MIN_RATE:g} Hz, which the filter's band needs.")
    records = open_records(folder)
    key = _inputs_key(records, rate)
    cache_dir = Path(cache_dir).absolute()
    _refuse_foreign(cache_dir)
    if not _is_current(cache_dir, key):
        with storing(cache_dir), locked(cache_dir):
            if not _is_current(cache_dir, key):  # another process may have made it meanwhile
                _build(records, cache_dir, rate, workers or os.cpu_count(), key)
    return open_cache(cache_dir)


def cache_at(folder, build, rate) -> Cache:
    """A data set's signals at this rate (see `prepare`), in the folder ``build`` of its caches."""
    return prepare(folder, build / f"cache-{rate:g}", rate)


def _inputs_key(records, rate):
    """Changes with the record list, with a file's size or time, and with the settings."""
    return hashlib.sha256(repr((_settings(rate), records.state())).encode()).hexdigest()


def _settings(rate):
    return {"format": CACHE_FORMAT, "rate": float(rate), "band": BAND, "order": ORDER, "fade": FADE}


def _refuse_foreign(cache_dir):
    if cache_dir.exists() and not (cache_dir.is_dir() and {path.name for path in cache_dir.iterdir()} <= {SIGNALS, DESCRIPTION}):
        raise ParameterError(f"{cache_dir} holds something other than a signal cache: give a new folder for the cache.")


def _build(records, cache_dir, rate, workers, key):
    ecg_ids = list(records.paths)
    shape = (len(ecg_ids), *_prepare_record(records, ecg_ids[0], rate)[0].shape)  # (N, 12, n)
    unfinished = Path(f"{cache_dir}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        offset, size = _allocate(unfinished / SIGNALS, shape)
        digests, warnings = _convert(records, unfinished / SIGNALS, offset, shape, rate, workers)
        digest = hashlib.sha256(repr((_settings(rate), list(zip(ecg_ids, digests, strict=True)))).encode()).hexdigest()
        content = {**_settings(rate), "shape": shape, "bytes": size, "digest": digest, "inputs": key,
                   "warnings": warnings, "ecg_ids": ecg_ids}  # fmt: skip
        (unfinished / DESCRIPTION).write_text(json.dumps(content), encoding="utf-8")
        for name in (DESCRIPTION, SIGNALS):
            (cache_dir / name).unlink(missing_ok=True)
        os.replace(unfinished, cache_dir)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _allocate(path, shape):
    """Make the array's file in its full size at once, so that a full disk is noticed before the work."""
    needed = int(np.prod(shape)) * 2
    check_room(path.parent.parent, needed, "the signal cache")
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": shape})
        offset = file.tell()
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, offset + needed)
        else:
            os.ftruncate(file.fileno(), offset + needed)
    return offset, offset + needed


def _convert(records, path, offset, shape, rate, workers):
    """Prepare all records in parallel; their content digests, and the warnings by ecg_id."""
    ids, digests, warnings = list(records.paths), [None] * shape[0], {}
    task = partial(_convert_chunk, records, path=path, offset=offset, shape=shape[1:], rate=rate)
    with tqdm(total=len(ids), unit=" records", desc="preparing signals") as bar, ThreadPoolExecutor(workers) as pool:
        try:
            futures = [pool.submit(task, start, ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]
            for future in as_completed(futures):
                for row, digest, names in future.result():
                    digests[row] = digest
                    if names:
                        warnings[ids[row]] = names
                    bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if warnings:
        kinds = Counter(name.partition(":")[0] for names in warnings.values() for name in names).items()
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds)
        log.warning("%d of %d records have warnings (%s), see the cache's .warnings", len(warnings), len(ids), counts)
    return digests, dict(sorted(warnings.items()))


def _convert_chunk(records, start, ecg_ids, path, offset, shape, rate):
    """Prepare some records and write them at their places; (row, content digest, warnings) of each."""
    done = []
    with open(path, "r+b") as file:
        for row, ecg_id in enumerate(ecg_ids, start):
            signal, digest, warnings = _prepare_record(records, ecg_id, rate)
            if signal.shape != shape:
                cause = f"record {ecg_id} has {signal.shape[1] / rate:.2f} s where the first record has {shape[1] / rate:.2f} s"
                raise DataSetError(f"{cause}: leave it out of the metadata or cut it to that length.")
            quantised, clipped = to_microvolts(signal)
            if clipped:
                warnings = (*warnings, f"clipped samples: {clipped}")
            file.seek(offset + row * quantised.nbytes)
            file.write(quantised)
            done.append((row, digest, warnings))
    return done


def _prepare_record(records, ecg_id, rate):
    """Prepared signal (12, n) in mV, digest of the record, and warnings."""
    ecg, digest = records.read_with_digest(ecg_id)
    return prepare_signal(ecg.signal, ecg.fs, rate), digest, ecg.warnings
