"""What a network can be trained for: the paper's ordinal loss, its two rivals and four other ordinal methods.

The paper compares its method with classification and regression. Four later or neighbouring ordinal methods are added:
CORAL and CORN, whose thresholds keep their order, and soft labels (SORD) and the earth mover's distance (EMD), which
penalise a classifier by how far off it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from cardiov.errors import CheckpointError
from cardiov.ordinal import THRESHOLDS, class_probabilities, decode, differences, ordinal_loss, ordinal_targets


def regression_loss(outputs, y):
    """Mean squared error of the single output against the critical value.

    Parameters
    ----------
    outputs : tensor, shape (B, 1)
    y : integer tensor, shape (B,)
        Critical values 0 to 3.

    Returns
    -------
    tensor, shape ()
    """
    return F.mse_loss(outputs[:, 0], y.float())


def regression_scores(outputs):
    """How near the single output is to each critical value, -|value - k|: scores to rank by, no probabilities.

    Parameters
    ----------
    outputs : tensor, shape (B, 1)

    Returns
    -------
    tensor, shape (B, 4)
    """
    return -(outputs - torch.arange(THRESHOLDS + 1, device=outputs.device)).abs()


def corn_loss(logits, y):
    """Mean binary cross-entropy of the questions that arise: "above k?" is asked of the records above k - 1 only.

    The mean is over all questions asked in the batch, as in the paper, so a batch taken in pieces weighs its records a
    little unlike the whole batch.

    Parameters
    ----------
    logits : tensor, shape (B, 3)
        Of the conditional probabilities Pr(y > k | y > k - 1).
    y : integer tensor, shape (B,)
        Critical values 0 to 3.

    Returns
    -------
    tensor, shape ()

    References
    ----------
    Shi, Cao, Raschka (2021), *Deep neural networks for rank-consistent ordinal regression based on conditional
    probabilities*, arXiv:2111.08851.
    """
    targets = ordinal_targets(y)
    asked = F.pad(targets[:, :-1], (1, 0), value=1.0)  # (B, 3): all are asked whether they are above 0
    return F.binary_cross_entropy_with_logits(logits, targets, asked, reduction="sum") / asked.sum()


def corn_probabilities(logits):
    """Class probabilities from CORN's conditional ones: pk = q1 ... qk by the chain rule, then Eq. 6.

    A product of probabilities never grows with another factor, so the thresholds are always monotone.

    Parameters
    ----------
    logits : tensor, shape (B, 3)
        As in `corn_loss`.

    Returns
    -------
    tensor, shape (B, 4)

    Examples
    --------
    >>> corn_probabilities(torch.logit(torch.tensor([[0.8, 0.5, 0.9]])))
    tensor([[0.2000, 0.4000, 0.0400, 0.3600]])
    """
    return differences(torch.sigmoid(logits).cumprod(dim=1))


def soft_label_loss(logits, y):
    """Cross-entropy against soft labels (SORD): softmax over k of -(k - y)^2.

    The paper leaves the metric between two ranks to the task; here it is the squared difference, without a scale.

    Parameters
    ----------
    logits : tensor, shape (B, 4)
    y : integer tensor, shape (B,)
        Critical values 0 to 3.

    Returns
    -------
    tensor, shape ()

    References
    ----------
    Diaz, Marathe (2019), *Soft labels for ordinal regression*, CVPR, doi:10.1109/CVPR.2019.00487.
    """
    ranks = torch.arange(THRESHOLDS + 1, device=y.device)
    labels = -(ranks - y[:, None]).square().to(logits.dtype)  # (B, 4)
    return F.cross_entropy(logits, labels.softmax(1))


def earth_movers_loss(logits, y):
    """Mean squared earth mover's distance (EMD) between the softmax and the label.

    For ordered classes it is the sum, over the thresholds, of the squared difference of the cumulative distributions,
    which for a single label is also the ranked probability score.

    Parameters
    ----------
    logits : tensor, shape (B, 4)
    y : integer tensor, shape (B,)
        Critical values 0 to 3.

    Returns
    -------
    tensor, shape ()
        From 0 to 3.

    References
    ----------
    Hou, Yu, Samaras (2016), *Squared earth mover's distance-based loss for training deep neural networks*,
    arXiv:1611.05916.
    """
    above = 1 - logits.softmax(1).cumsum(1)[:, :-1]  # (B, 3): Pr(y > k)
    return (above - ordinal_targets(y)).square().sum(1).mean()


def _softmax(logits):
    return logits.softmax(1)


@dataclass(frozen=True)
class Objective:
    """What a network is trained for: its head, its loss and what its outputs mean."""

    outputs: int  # of the head
    loss: Callable  # outputs (B, m), critical values (B,) -> mean loss
    probabilities: Callable  # outputs (B, m) -> class scores (B, 4): probabilities, except for regression
    shared_slope: bool = False  # CORAL's head, see `CardioVConfig`


OBJECTIVES = {
    "ordinal": Objective(3, ordinal_loss, class_probabilities),
    "classification": Objective(4, F.cross_entropy, _softmax),
    "regression": Objective(1, regression_loss, regression_scores),
    # Cao, Mirjalili, Raschka (2020), Rank consistent ordinal regression for neural networks, arXiv:1901.07884: the
    # paper's loss, on a head whose thresholds keep their order for every record
    "coral": Objective(3, ordinal_loss, class_probabilities, shared_slope=True),
    "corn": Objective(3, corn_loss, corn_probabilities),
    "sord": Objective(4, soft_label_loss, _softmax),
    "emd": Objective(4, earth_movers_loss, _softmax),
}


def decode_outputs(outputs, objective):
    """Class scores and predicted critical values from a network's outputs.

    Parameters
    ----------
    outputs : tensor, shape (N, m)
    objective : str
        A key of `OBJECTIVES`, that the network was trained for.

    Returns
    -------
    scores : tensor, shape (N, 4)
        Probabilities (those of "ordinal", and of "coral" with unordered biases, may be negative, see
        `class_probabilities`), or the scores of `regression_scores`.
    predicted : integer tensor, shape (N,)
        The class of the highest score, as the paper decodes, for all but regression: there the output, rounded and
        clipped. (The papers of CORAL and CORN count the thresholds above 1/2 instead, which gives the median class.)
    """
    scores = OBJECTIVES[objective].probabilities(outputs)
    if objective == "regression":
        return scores, outputs[:, 0].round().clamp(0, THRESHOLDS).long()
    return scores, decode(scores)


def objective_of(model):
    """The objective that the weights of a network say it was trained for.

    Parameters
    ----------
    model : CardioV
        From `CardioV.from_pretrained`.

    Returns
    -------
    str
        A key of `OBJECTIVES`.

    Raises
    ------
    CheckpointError
        If the weights do not say, or name an objective that is unknown here.
    """
    objective = model.metadata.get("run", {}).get("config", {}).get("objective")
    if objective not in OBJECTIVES:
        raise CheckpointError(
            f"the weights name {objective!r} as their objective, which is none of {', '.join(OBJECTIVES)}: take "
            "weights that `python -m cardiov train` wrote."
        )
    return objective
