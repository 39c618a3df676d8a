"""Publishing: what this machine has made takes the place of what is published."""

import shutil
from pathlib import Path

import torch

from cardiov.model import CardioV
from cardiov.paper.differences import compared_files
from cardiov.scoring.network import heat_path
from cardiov.store import results
from cardiov.store.files import replacing
from cardiov.store.pretrained import packaged_path


def publish(dataset: str) -> list[Path]:
    """Take the report, tables, figures and network that were made here into what is published; what is no longer made goes.

    Returns the files that are now published.

    Raises
    ------
    DataSetError
        If no report was made here; then nothing is changed.
    """
    page = results.existing(results.build_dir(dataset) / "report.html", "run the notebooks and `python -m cardiov report` first")
    copies = [(results.results_dir(dataset) / "report.html", page), *_network_copies(dataset)]
    for kind in results.KINDS:
        copies += compared_files(dataset, kind).values()
    copies += [[path.with_suffix(".png") for path in paths] for paths in compared_files(dataset, "figures").values()]
    return [published for published, made in copies if _copied(made, published)]


def _network_copies(dataset):
    """The network that is shipped and its card, if the package has one of this data set."""
    made, packaged = results.shipped_path(dataset), packaged_path(dataset)
    if made.exists() and packaged.exists():
        yield packaged.with_suffix(".md"), made.with_suffix(".md")
        if not _alike(made, packaged):
            exported = [path.with_suffix(".onnx") for path in (packaged, made)]  # which name the digest of the safetensors
            yield from ((packaged, made), exported, map(heat_path, exported))


def _alike(*paths):
    """Whether two networks are the same; their files differ each time, in the order of the metadata."""
    one, other = map(CardioV.from_pretrained, paths)
    states = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return (one.config, one.metadata) == (other.config, other.metadata) and all(torch.equal(*pair) for pair in states)


def _copied(source, target):
    """Copy a file, or delete its copy if it is gone; whether it is there."""
    if not source.exists():
        target.unlink(missing_ok=True)
        return False
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    return True
