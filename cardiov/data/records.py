"""Signals of a data set: a WFDB record for each ECG, as PTB-XL has them, or one for each fold, as the repository's sample."""

import hashlib
import os
import threading
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from cardiov.data.ptbxl import TABLE, read_table
from cardiov.ecg.leads import ECG, LEADS, LIMB, as_ecg, read_ecg
from cardiov.ecg.recording import Recording, meta_of
from cardiov.ecg.wfdb_files import read_wfdb
from cardiov.errors import DataSetError, SignalError

STORED = tuple(lead for lead in LEADS if lead not in LIMB)  # the eight leads that a fold's record has; the others follow
_DECODING = threading.Lock()  # threads that need a fold at the same time wait for one of them to decode it
SAMPLES = 1000  # of each ECG in a fold's record, 10 s at 100 Hz


class Files:
    """ECGs that have a WFDB record each."""

    def __init__(self, paths):
        self.paths = {int(ecg_id): Path(path) for ecg_id, path in paths.items()}  # without suffix

    def state(self) -> list:
        """Names, sizes and times of all files; a DataSetError names those that are missing."""
        entries, absent = [], []
        for ecg_id, base in self.paths.items():
            try:
                stats = [os.stat(f"{base}{suffix}") for suffix in (".hea", ".dat")]
                entries.append((ecg_id, base.name, [(s.st_size, s.st_mtime_ns) for s in stats]))
            except OSError:
                absent.append(base)
        if absent:
            cause = f"{len(absent)} of the {len(self.paths)} records listed in {TABLE} lack their .hea or .dat file"
            raise DataSetError(f"{cause}, the first being {', '.join(map(str, absent[:3]))}: unpack or download them.")
        return entries

    def read(self, ecg_id) -> ECG:
        """An ECG as `cardiov.read_ecg` reads it."""
        return read_ecg(self.paths[ecg_id])

    def read_with_digest(self, ecg_id) -> tuple[ECG, str]:
        """An ECG, and the SHA-256 digest of its files."""
        base = self.paths[ecg_id]
        try:
            header, data = Path(f"{base}.hea").read_bytes(), Path(f"{base}.dat").read_bytes()
        except OSError as error:
            raise SignalError(f"{base} cannot be read ({error.strerror}): restore its .hea and .dat files.") from error
        recording = read_wfdb(header, {f"{base.name}.dat": data}.get, base)
        return as_ecg(recording), hashlib.sha256(header + data).hexdigest()


class Folds:
    """ECGs that lie end to end in a WFDB record for each fold, in the order of the table."""

    def __init__(self, folder, folds):
        self.folder, self.places = Path(folder), {}  # ecg_id: (path of the fold's record, position in it)
        self.counts = dict.fromkeys(map(self._path, sorted(set(folds))), 0)
        for ecg_id, fold in folds.items():
            path = self._path(fold)
            self.places[int(ecg_id)] = path, self.counts[path]
            self.counts[path] += 1
        self.paths = {ecg_id: path for ecg_id, (path, _) in self.places.items()}

    def _path(self, fold):
        return self.folder / f"fold{fold:02d}"

    def state(self) -> list:
        """Names, sizes and times of all files; a DataSetError if a fold's record has not the table's length."""
        for path, count in self.counts.items():
            if _from_wfdb("rdheader", path).sig_len != count * SAMPLES:
                raise DataSetError(f"{path}.hea has not the {count} ECGs that {TABLE} lists: restore the data set's own files.")
        files = [f"{path}{suffix}" for path in self.counts for suffix in (".hea", ".dat")]
        return [(self.places, [(os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in files])]

    def read(self, ecg_id) -> ECG:
        """An ECG with its twelve leads, of which III, aVR, aVL and aVF are computed."""
        return self.read_with_digest(ecg_id)[0]

    def read_with_digest(self, ecg_id) -> tuple[ECG, str]:
        """An ECG, and the SHA-256 digest of its samples."""
        path, place = self.places[ecg_id]
        with _DECODING:
            samples = _samples(path)
        stored = np.ascontiguousarray(samples[place * SAMPLES : (place + 1) * SAMPLES].T)  # (8, n) in µV
        leads = dict(zip(STORED, stored.astype(np.float32), strict=True))
        leads |= {lead: first * leads["I"] + second * leads["II"] for lead, (first, second) in LIMB.items()}
        where = f"record {ecg_id} of {self.folder}"
        recording = Recording(list(leads), list(leads.values()), ["uV"] * len(leads), 100.0, where, meta_of(str(ecg_id)))
        return as_ecg(recording), hashlib.sha256(stored.tobytes()).hexdigest()


@lru_cache(maxsize=10)
def _samples(path):
    """All samples of a fold's record: int16 (n, 8) in µV."""
    return _from_wfdb("rdrecord", path, physical=False).d_signal.astype(np.int16)


def _from_wfdb(function, path, **settings):
    """A fold's record, or its header, as a function of wfdb reads it."""
    import wfdb

    try:
        record = getattr(wfdb, function)(str(path), **settings)
    except Exception as error:  # of many kinds
        raise DataSetError(f"{path} cannot be read ({error}): restore the data set's own files.") from error
    if tuple(record.sig_name) != STORED or set(record.adc_gain) != {1000.0}:
        raise DataSetError(f"{path}.hea has not the leads {', '.join(STORED)} in µV: restore the data set's own files.")
    return record


def open_records(folder) -> Files | Folds:
    """The signals of a data set, by ``ecg_id`` in the order of its table; a DataSetError if the table cannot be followed."""
    table = read_table(folder)
    if Path(folder, "fold01.hea").exists():
        return Folds(folder, table["strat_fold"].astype(int))
    names = table["filename_hr"].astype(str)
    strange = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if strange:
        raise DataSetError(f"{TABLE} names the record {strange[0]!r} outside the data folder: correct filename_hr.")
    return Files({ecg_id: Path(folder) / name for ecg_id, name in names.items()})
