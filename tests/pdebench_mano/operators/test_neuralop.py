"""An operator of ours trains in neuraloperator's Trainer, on neuraloperator's data."""

import pytest
import torch
from neuralop import LpLoss, Trainer
from torch.utils.data import DataLoader

from pdebench_mano.operators.neuralop import TrainerModel
from pdebench_mano.operators.registry import build_operator


@pytest.mark.thirdparty
@pytest.mark.filterwarnings("ignore:LpLoss")  # it is handed the whole sample, and says so
def test_train_in_neuraloperators_trainer(third_party):
    data = torch.load(third_party / "darcy_train_16.pt", weights_only=True)
    a = 2 * data["x"][:300, None].float().contiguous() - 1
    u = (data["y"][:300, None] / data["y"].std()).contiguous()
    samples = [{"x": x, "y": y} for x, y in zip(a, u, strict=True)]
    torch.manual_seed(0)
    operator = build_operator("unet", 1, 1, width=8)
    operator.grid = "left"
    model = TrainerModel(operator)
    loss = LpLoss(d=2, p=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    Trainer(model=model, n_epochs=6, device="cpu", verbose=False).train(
        train_loader=DataLoader(samples[:250], batch_size=10, shuffle=True),
        test_loaders={},
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6),
        training_loss=loss,
    )
    with torch.no_grad():
        error = loss(operator(a[250:]), u[250:]).item() / 50
    mean_solution = loss(u[:250].mean(0).expand(50, -1, -1, -1), u[250:]).item() / 50
    assert error < 0.7 * mean_solution
