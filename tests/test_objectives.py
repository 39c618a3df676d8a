"""Training objectives against literal values, other implementations and gradients."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cardiov.errors import CheckpointError
from cardiov.model import CardioV, CardioVConfig, SharedSlope
from cardiov.objectives import OBJECTIVES, corn_loss, corn_probabilities, decode_outputs, earth_movers_loss
from cardiov.objectives import objective_of, regression_loss, soft_label_loss
from cardiov.ordinal import ordinal_loss, ordinal_targets, violation_rate

P = torch.tensor([[0.9, 0.6, 0.2], [0.55, 0.82, 0.27]], dtype=torch.float64)
Y = torch.tensor([2, 0, 1, 3])
THREE = torch.tensor([[2, -1, 0.5], [-0.5, 1.5, -2], [1, 0.5, -0.25], [3, 2, 1]], dtype=torch.float64)  # outputs
FOUR = torch.tensor([[0.5, -1, 2, 0], [1, 0, -2, 0.25], [-1, 0.5, 1.5, 0], [0, -0.5, 1, 3]], dtype=torch.float64)


def sample(objective, n=500, scale=1.0):
    """Random outputs (n, m)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, OBJECTIVES[objective].outputs, generator=generator, dtype=torch.float64) * scale


def certain(objective):
    """Outputs (4, m), of which row k gives k with certainty."""
    y = torch.arange(4)
    answers = {1: y[:, None].double(), 3: 20 * ordinal_targets(y).double() - 10, 4: 10 * F.one_hot(y).double()}
    return answers[OBJECTIVES[objective].outputs]


def test_decoding_of_each_objective():
    scores, predicted = decode_outputs(torch.tensor([[2.0, 1.0, -1.0]]), "ordinal")
    p1, p2, p3 = torch.sigmoid(torch.tensor([2.0, 1.0, -1.0]))
    assert torch.allclose(scores[0], torch.tensor([1 - p1, p1 - p2, p2 - p3, p3]))
    assert predicted.tolist() == [2]
    scores, predicted = decode_outputs(torch.tensor([[1.6], [-0.7], [8.0]]), "regression")
    assert predicted.tolist() == [2, 0, 3]
    assert np.allclose(scores[0], [-1.6, -0.6, -0.4, -1.4], atol=1e-6)


def test_regression_loss_is_the_squared_error():
    assert regression_loss(torch.tensor([[1.5], [3.0]]), torch.tensor([1, 1])).item() == pytest.approx((0.25 + 4) / 2)


def test_corn_counts_only_records_above_the_threshold_before():
    q = torch.tensor([[0.9, 0.6, 0.2], [0.5, 0.8, 0.3], [0.7, 0.4, 0.1]], dtype=torch.float64)
    answers = [0.9, 0.6, 1 - 0.2, 1 - 0.5, 0.7, 1 - 0.4]  # three for y = 2, one for 0, two for 1
    loss = corn_loss(torch.logit(q), torch.tensor([2, 0, 1]))
    assert loss.item() == pytest.approx(-np.log(answers).sum() / 6, abs=1e-6)


def test_corn_probabilities_by_hand_and_by_the_chain_rule():
    probabilities = corn_probabilities(torch.logit(P))
    expected = [[1 - a, a * (1 - b), a * b * (1 - c), a * b * c] for a, b, c in P.tolist()]
    assert expected[0] == pytest.approx([0.1, 0.36, 0.432, 0.108])
    assert np.allclose(probabilities, expected, atol=1e-12)


def test_soft_labels_by_hand():
    """Uniform logits cost log 4 for every label; one logit of 1 saves the share of its class in the soft label."""
    assert soft_label_loss(torch.zeros(4, 4), torch.arange(4)).item() == pytest.approx(np.log(4))
    weights = np.exp([0.0, -1, -4, -9])  # of a difference of 0, 1, 2, 3
    shares = weights[2] / weights.sum(), weights[1] / weights[[1, 0, 1, 2]].sum()  # of class 2 for y = 0 and y = 1
    for y, share in enumerate(shares):
        loss = soft_label_loss(torch.eye(4)[[2]], torch.tensor([y])).item()
        assert loss == pytest.approx(np.log(3 + np.e) - share, abs=1e-6)


def test_earth_movers_distance_by_hand():
    uniform = torch.zeros(1, 4)  # above 0, 1, 2: 0.75, 0.5, 0.25
    for y, distance in enumerate([0.75**2 + 0.5**2 + 0.25**2, 0.25**2 + 0.5**2 + 0.25**2]):
        assert earth_movers_loss(uniform, torch.tensor([y])).item() == pytest.approx(distance, abs=1e-6)
        assert earth_movers_loss(uniform, torch.tensor([3 - y])).item() == pytest.approx(distance, abs=1e-6)
    for k in range(4):  # all earth moves by k classes, over k thresholds
        assert earth_movers_loss(torch.tensor([[60.0, 0, 0, 0]]), torch.tensor([k])).item() == pytest.approx(k, abs=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_scores_are_probabilities_except_for_regression(objective):
    scores, predicted = decode_outputs(sample(objective, scale=5), objective)
    assert scores.shape == (500, 4) and predicted.shape == (500,)
    assert set(predicted.tolist()) == {0, 1, 2, 3}
    if objective != "regression":
        assert torch.allclose(scores.sum(1), torch.ones(500, dtype=torch.float64))
        assert torch.equal(predicted, scores.argmax(1))
    if objective not in ("regression", "ordinal", "coral"):
        assert scores.min() >= 0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_certain_outputs_decode_to_their_label_where_they_cost_least(objective):
    assert decode_outputs(certain(objective), objective)[1].tolist() == [0, 1, 2, 3]
    costs = torch.stack([costs_of_certainty(objective, y) for y in range(4)], dim=1)  # (outputs, labels)
    assert costs.argmin(1).tolist() == [0, 1, 2, 3]


def costs_of_certainty(objective, y):
    """Loss of a record of critical value y for certain outputs of 0, 1, 2 and 3."""
    loss = OBJECTIVES[objective].loss
    return torch.stack([loss(row[None], torch.tensor([y])) for row in certain(objective)])


@pytest.mark.parametrize("objective", ["ordinal", "coral", "sord", "emd", "regression"])
def test_an_error_of_one_more_step_costs_more(objective):
    assert (costs_of_certainty(objective, 0).diff() > 1e-3).all()
    assert (costs_of_certainty(objective, 3).diff() < -1e-3).all()


def test_the_size_of_an_error_does_not_matter_to_classification_nor_to_corn_without_risk():
    """CORN uses only "above 0?" of a record without risk, but all three answers of a record of high risk."""
    for objective in ("classification", "corn"):
        assert torch.allclose(*costs_of_certainty(objective, 0)[[1, 3]])
    assert (costs_of_certainty("corn", 3).diff() < -1).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 200.0])
def test_gradients_are_finite_at_any_certainty(objective, scale):
    outputs = sample(objective, scale=scale).float().requires_grad_()
    loss = OBJECTIVES[objective].loss(outputs, torch.arange(500) % 4)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(outputs.grad).all()
    assert outputs.grad.abs().max() > 0


@pytest.mark.parametrize("objective", ["ordinal", "classification", "coral", "corn", "emd"])
def test_without_evidence_the_class_frequencies_are_the_best_prediction(objective):
    """These losses are proper: their gradient vanishes at the frequencies 4, 3, 2, 1 of 10."""
    q = {"corn": [6 / 10, 3 / 6, 1 / 3]}.get(objective, [0.6, 0.3, 0.1])
    four = OBJECTIVES[objective].outputs == 4
    best = torch.tensor([0.4, 0.3, 0.2, 0.1]).log() if four else torch.logit(torch.tensor(q))
    best.requires_grad_()
    OBJECTIVES[objective].loss(best.expand(10, -1), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])).backward()
    assert best.grad.abs().max() < 1e-6
    scores, _ = decode_outputs(best.detach()[None], objective)
    assert torch.allclose(scores[0], torch.tensor([0.4, 0.3, 0.2, 0.1]), atol=1e-6)


def test_the_thresholds_of_coral_stay_in_order_and_those_of_the_paper_need_not():
    """Theorem 1 of Cao et al.: the best biases decrease. On labels that are noise, separate slopes soon cross."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 8, generator=generator), torch.randint(4, (40,), generator=generator)
    rates = {}
    for objective, kind in (("coral", SharedSlope), ("ordinal", torch.nn.Linear)):
        torch.manual_seed(0)
        head = kind(8, 3)
        optimizer = torch.optim.Adam(head.parameters(), 0.1)
        for _ in range(100):
            optimizer.zero_grad()
            OBJECTIVES[objective].loss(head(x), y).backward()
            optimizer.step()
        rates[objective] = violation_rate(head(3 * x).detach())
    assert rates["coral"] == 0 < rates["ordinal"]


@pytest.mark.parametrize("metadata", [{}, {"run": {"config": {"objective": "ranking"}}}])
def test_weights_without_a_known_objective_are_an_error(tmp_path, metadata):
    model = CardioV(CardioVConfig(stem_width=16, widths=(16,), depths=(1,)))
    model.save_pretrained(tmp_path / "w", **metadata)
    with pytest.raises(CheckpointError, match="as their objective, which is none of ordinal, .*emd: take weights"):
        objective_of(CardioV.from_pretrained(tmp_path / "w"))
    model.save_pretrained(tmp_path / "w", run={"config": {"objective": "corn"}})
    assert objective_of(CardioV.from_pretrained(tmp_path / "w")) == "corn"


def test_losses_are_those_of_other_implementations():
    """Values of coral-pytorch 1.4.0 and dlordinal 2.7.0, which the tests below compare directly."""
    assert ordinal_loss(THREE, Y).item() == pytest.approx(0.5890616748, abs=1e-7)  # coral_loss / 3
    assert corn_loss(THREE, Y).item() == pytest.approx(0.5182732654, abs=1e-7)
    assert earth_movers_loss(FOUR, Y).item() == pytest.approx(0.2561194888, abs=1e-7)
    assert soft_label_loss(FOUR, Y).item() == pytest.approx(1.1863298008, abs=1e-7)  # ExponentialLoss, p = 2


WHY = "the oracles are not installed: pip install -e .[oracles]"
LABELS = torch.arange(500) % 4


def test_corn_is_coral_pytorchs():
    losses = pytest.importorskip("coral_pytorch.losses", reason=WHY)
    dataset = pytest.importorskip("coral_pytorch.dataset", reason=WHY)
    logits = sample("corn", scale=2).float()
    for y in (LABELS, LABELS.clamp(max=1)):  # in the second no record answers "above 2?"
        assert torch.allclose(corn_loss(logits, y), losses.corn_loss(logits, y, 4), rtol=1e-6)
    above = corn_probabilities(logits).flip(1).cumsum(1).flip(1)[:, 1:]  # (N, 3): Pr(y > k)
    assert torch.equal((above > 0.5).sum(1), dataset.corn_label_from_logits(logits))


def test_corn_earth_movers_distance_and_soft_labels_are_dlordinals():
    losses = pytest.importorskip("dlordinal.losses", reason=WHY)
    three, logits = sample("corn", scale=2).float(), sample("emd", scale=2).float()
    assert torch.allclose(corn_loss(three, LABELS), losses.CORNLoss(4)(three, LABELS), rtol=1e-6)
    assert torch.allclose(earth_movers_loss(logits, LABELS), losses.EMDLoss(4)(logits, LABELS), rtol=1e-6)
    # the SORDLoss of dlordinal uses absolute differences; its ExponentialLoss with p = 2 has our labels
    squared = losses.ExponentialLoss(torch.nn.CrossEntropyLoss(), 4, p=2, tau=1, eta=1)
    assert torch.allclose(soft_label_loss(logits, LABELS), squared(logits, LABELS), rtol=1e-6)
