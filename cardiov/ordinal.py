"""The paper's method: ordinal targets (Table 4), the loss, class probabilities and decoding (Eqs. 3-6).

Three logits z1, z2, z3 answer the questions "is the critical value above 0, above 1, above 2?". Two printed equations
are wrong and are corrected here: Eq. 5 lacks its minus sign, and Eq. 6 subtracts from Pr(NoRisk) and Pr(LowRisk) where
it means the threshold probabilities Pr(>NoRisk) and Pr(>LowRisk).
"""

import torch
from torch.nn import functional as F

THRESHOLDS = 3  # above no, above low, above medium risk


def ordinal_targets(y):
    """Answers to the threshold questions (Table 4) of critical values (B,): (B, 3), where column k is 1 where y > k.

    Raises
    ------
    ValueError
        If a value lies outside 0 to 3. A GPU does not check, because the check would stop it.
    """
    if y.device.type == "cpu" and y.numel() and not (0 <= int(y.min()) and int(y.max()) <= THRESHOLDS):
        raise ValueError(f"critical values lie between 0 and 3, but these run from {int(y.min())} to {int(y.max())}")
    return (y[:, None] > torch.arange(THRESHOLDS, device=y.device)).float()  # (B, 3)


def ordinal_loss(logits, y):
    """Mean binary cross-entropy of logits (B, 3) over the three thresholds (Eqs. 3-5, corrected); ``y`` (B,) from 0 to 3."""
    return F.binary_cross_entropy_with_logits(logits, ordinal_targets(y))


def class_probabilities(logits):
    """The four class probabilities (B, 4) from logits (B, 3) (Eq. 6, corrected).

    P0 = 1 - p1, P1 = p1 - p2, P2 = p2 - p3, P3 = p3 with pk = sigmoid(zk). They add up to 1, but P1 or P2 is negative
    where p1 < p2 or p2 < p3.

    Examples
    --------
    >>> class_probabilities(torch.logit(torch.tensor([[0.9, 0.6, 0.2]])))
    tensor([[0.1000, 0.3000, 0.4000, 0.2000]])
    """
    return differences(torch.sigmoid(logits))


def monotone_probabilities(logits):
    """Class probabilities (B, 4) that are never negative, from logits (B, 3).

    The nearest non-increasing triple in least squares (isotonic regression) replaces (p1, p2, p3).
    """
    p = torch.sigmoid(logits)  # (B, 3)
    return differences(torch.stack([_largest_tail_mean(p, k) for k in range(THRESHOLDS)], dim=1))


def decode(probabilities):
    """The most probable critical value, as the paper decodes: (B, 4) -> (B,)."""
    return probabilities.argmax(dim=1)


def violation_rate(logits):
    """Share of records (B, 3) whose thresholds are not monotone, so that Eq. 6 gives a negative probability."""
    return (logits.diff(dim=1) > 0).any(dim=1).double().mean().item()


def differences(p):
    """Class probabilities (B, 4) from threshold probabilities (B, 3)."""
    ends = p.new_ones(len(p), 1), p.new_zeros(len(p), 1)
    return -torch.cat([ends[0], p, ends[1]], dim=1).diff(dim=1)  # (B, 5) -> (B, 4)


def _largest_tail_mean(p, k):
    """Threshold k of the non-increasing fit: min over starts a <= k of the max over ends b >= k of mean p[a..b]."""
    means = [torch.stack([p[:, a : b + 1].mean(1) for b in range(k, THRESHOLDS)]).amax(0) for a in range(k + 1)]
    return torch.stack(means).amin(0)
