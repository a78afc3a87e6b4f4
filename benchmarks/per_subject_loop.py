"""The paper's algorithm as one would write it first: PyTorch, subject after subject.

What `evaluations.py` compares with. Each function evaluates one labelling on one newly
born subject: fresh stimuli, labels by a 3-16-16-1 network made uniform-like over 512
reference stimuli (``distribution = "standardised"``: as ours; ``"sinkhorn"``: as the
paper, whose meta-loss adds the Sinkhorn divergence of the labels to a uniform sample),
training, relative error on test stimuli. Sizes are those of `simulated_subjects`.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from geomloss import SamplesLoss
from torch import Tensor, nn

TRAINED, TESTED, REFERENCE = 30, 50, 512
SINKHORN = SamplesLoss("sinkhorn", p=2, blur=0.05)


def perceptron(*widths: int) -> nn.Sequential:
    """Layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def sphere(n: int) -> Tensor:
    """Stimuli, ``(n, 3)``."""
    x = torch.randn(n, 3)
    return x / x.norm(dim=1, keepdim=True)


def circle(n: int) -> Tensor:
    """Phase differences as (cos, sin), ``(n, 2)``."""
    angle = (torch.rand(n) - 0.5) * math.pi
    return torch.stack([angle.cos(), angle.sin()], 1)


def evaluate(
    learn: Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]],
    sample: Callable[[int], Tensor],
    labelling: nn.Module,
    reference: Tensor,
    distribution: str,
) -> float:
    """Meta-loss of one labelling, by one subject."""
    with torch.no_grad():
        x = sample(TRAINED + TESTED)
        y = labelling(x)[:, 0]
        if distribution == "standardised":
            of_reference = labelling(reference)[:, 0]
            y = (y - of_reference.mean()) / of_reference.std() / 2
        y = y.clamp(-1, 1)
    answer = learn(x[:TRAINED], y[:TRAINED])
    with torch.no_grad():
        tested = y[TRAINED:]
        answers = answer(x[TRAINED:]).clamp(-1, 1)
        loss = ((answers - tested) ** 2).mean() / tested.var()
        if distribution == "sinkhorn":
            uniform = 2 * torch.rand(len(y), 1) - 1
            loss = loss + 2 * SINKHORN(y[:, None], uniform)
        return float(loss)


def kernel(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """Ridge regression on 100 random ReLU features."""
    with torch.no_grad():
        inputs = torch.randn(x.shape[1], 100)
        hidden = torch.relu(x @ inputs) / 10
        gram = hidden @ hidden.T + 1e-3 * torch.eye(len(x))
        readout = hidden.T @ torch.linalg.solve(gram, y)
    return lambda z: torch.relu(z @ inputs) / 10 @ readout


def relu(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """A 3-20-20-1 network, 200 full-batch steps."""
    network = perceptron(x.shape[1], 20, 20, 1)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.025)
    for _ in range(200):
        optimiser.zero_grad()
        ((network(x)[:, 0] - y) ** 2).mean().backward()
        optimiser.step()
    return lambda z: network(z)[:, 0]


class Spike(torch.autograd.Function):  # type: ignore[misc]
    """A step whose derivative is that of a sigmoid."""

    @staticmethod
    def forward(ctx, excess):  # type: ignore[no-untyped-def]  # noqa: D102
        ctx.save_for_backward(excess)
        return (excess > 0).float()

    @staticmethod
    def backward(ctx, slope):  # type: ignore[no-untyped-def]  # noqa: D102
        smooth = torch.sigmoid(5 * ctx.saved_tensors[0])
        return slope * smooth * (1 - smooth)


def spiking(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """200 Poisson inputs, 30 spiking units, 100 time steps, 50 steps of Adam."""
    offsets = torch.rand(200) * math.pi / 2
    phase = 2 * math.pi * 20 * torch.arange(100) / 1000
    inputs = (2 * torch.rand(200, 30) - 1).requires_grad_()
    readout = (2 * torch.rand(30) - 1).requires_grad_()
    decay = math.exp(-1 / 20)

    def answer(x: Tensor) -> Tensor:
        turned = torch.atan2(x[:, 1], x[:, 0])[:, None].expand(-1, 100)
        difference = torch.cat([torch.zeros(len(x), 100), turned], 1)
        wave = torch.sin(phase[:, None, None] + offsets + difference)
        chances = 0.6 * (0.5 * (1 + wave)) ** 2
        current = (torch.rand_like(chances) < chances).float() @ inputs / 200**0.5
        voltage = fired = torch.zeros(len(x), 30)
        integrated, total = torch.zeros(len(x)), torch.zeros(len(x))
        for now in current:
            voltage = (decay * voltage + now) * (1 - fired)
            fired = Spike.apply(voltage - 1)
            integrated = decay * integrated + fired @ readout / 30**0.5
            total = total + integrated
        return total / len(current)

    optimiser = torch.optim.Adam([inputs, readout], lr=0.03)
    for _ in range(50):
        optimiser.zero_grad()
        ((answer(x) - y) ** 2).mean().backward()
        optimiser.step()
    return answer
