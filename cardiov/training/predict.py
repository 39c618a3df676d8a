"""Per-record predictions of a trained network."""

import numpy as np
import torch

from cardiov.objectives import decode_outputs
from cardiov.training.batches import in_pieces, signals_of


def predict(fabric, model, cache, metadata, config):
    """Per-record predictions of the validation and test records; of a final fit, the test records.

    They are computed in the precision of the weights, which is single also after training in bf16-mixed, so that they can be
    repeated on any processor.

    Returns
    -------
    pandas.DataFrame
        ecg_id, patient_id, split, critical_value (the label), output_1... (logits), p0 to p3 and predicted. For the ordinal
        network p0 to p3 are Eq. 6's, which may be negative; for classification the softmax; for regression -|value - k|,
        which ranks and is no probability.
    """
    rows = np.flatnonzero(metadata["split"].isin(["test"] if config.final_fit else ["validation", "test"]))
    model.eval()
    outputs = []
    parts = in_pieces(rows, config.micro_batch)
    with torch.inference_mode():
        for x in signals_of(cache, parts, fabric.device):
            x = x.to(model.head.weight)  # (B, 12, n)
            windows = _windows(x, round(config.crop * cache.rate), config.windows)
            outputs.append(torch.stack([model(window).float() for window in windows]).mean(0).cpu())
    return tabulate(metadata.iloc[rows], torch.cat(outputs), config.objective)


def _windows(x, length, count):
    """Evenly spread stretches of the records (B, 12, n), each of `length` samples; a single one is the whole record."""
    if count == 1:
        return [x]
    starts = torch.linspace(0, x.shape[-1] - length, count).round().int()
    return [x[..., start : start + length] for start in starts]


def tabulate(metadata, outputs, objective):
    """The table of `predict`, from the network's outputs (N, m)."""
    scores, predicted = decode_outputs(outputs, objective)
    table = metadata.reset_index()[["ecg_id", "patient_id", "split", "critical_value"]].copy()
    for i in range(outputs.shape[1]):
        table[f"output_{i + 1}"] = outputs[:, i].double().numpy().round(6)
    for k in range(4):
        table[f"p{k}"] = scores[:, k].double().numpy().round(6)
    table["predicted"] = predicted.numpy()
    return table
