"""How a regime's updates align with backpropagation's, layer by layer, at the same weights."""

import torch
from torch import Tensor, nn

from pdebench_mano.fields.normalized import NormalizedOperator
from pdebench_mano.training.losses import Inputs, Loss, Targets
from pdebench_mano.training.regimes.backprop import Backprop
from pdebench_mano.training.regimes.base import TrainingRegime


def alignment(
    operator: nn.Module, regime: TrainingRegime, a: Inputs, u: Targets, loss: Loss
) -> dict[str, tuple[float, float]]:
    """Compare the update of every layer with the gradient of the loss.

    Weights, `.grad` and random state are as they were afterwards.

    Parameters
    ----------
    operator : nn.Module
        Plain or normalised.
    regime : TrainingRegime
    a, u : (batch, *shape) tensors
        Inputs and targets, in physical units where the operator is normalised.
    loss : Loss

    Returns
    -------
    dict
        Name of each module that has parameters of its own → cosine of the angle between the regime's update
        and the gradient, and the ratio of their norms, all parameters of the module together.
        The cosine is 0 where one of them vanishes, the ratio infinite where the gradient does.
    """
    inner = operator.operator if isinstance(operator, NormalizedOperator) else operator
    layers = {
        name: list(module.parameters(recurse=False))
        for name, module in inner.named_modules()
        if any(p.requires_grad for p in module.parameters(recurse=False))
    }
    kept = [(p, p.grad) for p in operator.parameters()]
    devices = [a.device] if a.device.type == "cuda" else []
    updates = []
    try:
        for rule in (regime, Backprop()):
            for p, _ in kept:
                p.grad = None
            with torch.random.fork_rng(devices=devices), torch.enable_grad():
                rule.gradients(operator, a, u, loss)
            updates.append({name: _vector(parameters) for name, parameters in layers.items()})
    finally:
        for p, gradient in kept:
            p.grad = gradient
    return {name: _compare(update, updates[1][name]) for name, update in updates[0].items()}


def _vector(parameters: list[nn.Parameter]) -> Tensor:
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.cat([g.flatten().double() for g in gradients])


def _compare(update: Tensor, gradient: Tensor) -> tuple[float, float]:
    size, reference = update.norm(), gradient.norm()
    product = size * reference
    cosine = torch.dot(update, gradient) / product if product > 0 else product
    return cosine.item(), (size / reference).item() if reference > 0 else float("inf")
