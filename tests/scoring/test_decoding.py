"""Decoding in NumPy, as in torch."""

import numpy as np
import pytest
import torch

from cardiov.objectives import OBJECTIVES
from cardiov.ordinal import monotone_probabilities
from cardiov.scoring.decoding import DECODERS


@pytest.mark.parametrize("objective", DECODERS)
def test_probabilities_are_those_of_training_but_never_negative(objective):
    outputs = 3 * np.random.default_rng(0).standard_normal((500, OBJECTIVES[objective].outputs))
    outputs[:2] = [[800], [-800]]  # whose exponentials overflow
    ordered = objective in ("ordinal", "coral")
    expected = (monotone_probabilities if ordered else OBJECTIVES[objective].probabilities)(torch.tensor(outputs))
    np.testing.assert_allclose(DECODERS[objective](outputs), expected, atol=1e-12)


def test_every_objective_but_regression_is_decoded():
    assert set(OBJECTIVES) - set(DECODERS) == {"regression"}
