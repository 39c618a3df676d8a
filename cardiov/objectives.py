"""Training objectives: the paper's ordinal loss, its two rivals and four other ordinal methods.

The paper compares its method with classification and regression. CORAL and CORN keep the thresholds' order; SORD and EMD
penalise a classifier by its distance from the label. Every loss takes the outputs (B, m) and the critical values ``y``
(B,), integers from 0 to 3.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from cardiov.errors import CheckpointError
from cardiov.ordinal import THRESHOLDS, class_probabilities, decode, differences, ordinal_loss, ordinal_targets


def regression_loss(outputs, y):
    """Mean squared error of the single output (B, 1) against the critical value."""
    return F.mse_loss(outputs[:, 0], y.float())


def regression_scores(outputs):
    """Scores (B, 4) to rank by, not probabilities: -|output - k| for each critical value k, from outputs (B, 1)."""
    return -(outputs - torch.arange(THRESHOLDS + 1, device=outputs.device)).abs()


def corn_loss(logits, y):
    """CORN's mean binary cross-entropy, where only records above k - 1 answer "above k?".

    The logits (B, 3) are those of Pr(y > k | y > k - 1); the mean is over all answers of the batch. Source: Shi, Cao, Raschka
    (2021), *Deep neural networks for rank-consistent ordinal regression based on conditional probabilities*, arXiv:2111.08851.
    """
    targets = ordinal_targets(y)
    answered = F.pad(targets[:, :-1], (1, 0), value=1.0)  # (B, 3): every record answers "above 0?"
    return F.binary_cross_entropy_with_logits(logits, targets, answered, reduction="sum") / answered.sum()


def corn_probabilities(logits):
    """Class probabilities (B, 4) from the logits (B, 3) of `corn_loss`: pk = q1 ... qk by the chain rule, then Eq. 6.

    Examples
    --------
    >>> corn_probabilities(torch.logit(torch.tensor([[0.8, 0.5, 0.9]])))
    tensor([[0.2000, 0.4000, 0.0400, 0.3600]])
    """
    return differences(torch.sigmoid(logits).cumprod(dim=1))


def soft_label_loss(logits, y):
    """Cross-entropy of logits (B, 4) against soft labels (SORD): softmax over k of -(k - y)^2, without a scale.

    Source: Diaz, Marathe (2019), *Soft labels for ordinal regression*, CVPR, doi:10.1109/CVPR.2019.00487.
    """
    ranks = torch.arange(THRESHOLDS + 1, device=y.device)
    labels = -(ranks - y[:, None]).square().to(logits.dtype)  # (B, 4)
    return F.cross_entropy(logits, labels.softmax(1))


def earth_movers_loss(logits, y):
    """Mean squared earth mover's distance (EMD), 0 to 3, between the softmax of logits (B, 4) and the label.

    For a single label it is also the ranked probability score. Source: Hou, Yu, Samaras (2016), *Squared earth mover's
    distance-based loss for training deep neural networks*, arXiv:1611.05916.
    """
    above = 1 - logits.softmax(1).cumsum(1)[:, :-1]  # (B, 3): Pr(y > k)
    return (above - ordinal_targets(y)).square().sum(1).mean()


def _softmax(logits):
    return logits.softmax(1)


@dataclass(frozen=True)
class Objective:
    """A training objective: the head's size, the loss and the meaning of the outputs."""

    outputs: int  # of the head
    loss: Callable  # outputs (B, m), critical values (B,) -> mean loss
    probabilities: Callable  # outputs (B, m) -> class scores (B, 4): probabilities, except for regression
    shared_slope: bool = False  # for CORAL's head, see `CardioVConfig`


OBJECTIVES = {
    "ordinal": Objective(3, ordinal_loss, class_probabilities),
    "classification": Objective(4, F.cross_entropy, _softmax),
    "regression": Objective(1, regression_loss, regression_scores),
    # thresholds in order for every record: Cao, Mirjalili, Raschka (2020), Rank consistent ordinal regression, arXiv:1901.07884
    "coral": Objective(3, ordinal_loss, class_probabilities, shared_slope=True),
    "corn": Objective(3, corn_loss, corn_probabilities),
    "sord": Objective(4, soft_label_loss, _softmax),
    "emd": Objective(4, earth_movers_loss, _softmax),
}


def decode_outputs(outputs, objective):
    """Class scores (N, 4) and predicted critical values (N,) from outputs (N, m) of a network with an objective.

    The prediction is the class of the highest score, as the paper decodes (CORAL's and CORN's papers take the median class),
    but for regression, whose scores are no probabilities, the output, rounded and clipped.
    """
    scores = OBJECTIVES[objective].probabilities(outputs)
    if objective == "regression":
        return scores, outputs[:, 0].round().clamp(0, THRESHOLDS).long()
    return scores, decode(scores)


def objective_of(model):
    """The objective that a network's weights name, a key of `OBJECTIVES`; `CheckpointError` if they name none."""
    objective = model.metadata.get("run", {}).get("config", {}).get("objective")
    if objective not in OBJECTIVES:
        cause = f"the weights name {objective!r} as their objective, which is none of {', '.join(OBJECTIVES)}"
        raise CheckpointError(f"{cause}: take weights of `python -m cardiov train`.")
    return objective
