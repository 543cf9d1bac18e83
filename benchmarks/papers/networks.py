"""The networks that classify images: orthogonal chains of FOTON's paper, and operators with their output pooled."""

from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from pdebench_mano.orthogonal import Chain, OrthogonalConvolution, OrthogonalLinear, OrthogonalMLP


class Perceptron(OrthogonalMLP):
    """`OrthogonalMLP` on all pixels of an image."""

    def embed(self, a: Tensor) -> Tensor:
        return a.flatten(1)


class Readout(OrthogonalLinear):
    """The last layer of fields: all channels of all points to the classes, as channels of a single point."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__(channels * side**2, classes, bias=False, constrained=False)
        self.field = channels, side, side

    def forward(self, z: Tensor) -> Tensor:  # annotated as it is, that of other layers keeps the grid
        return self.lin(z)

    def lin(self, z: Tensor) -> Tensor:
        return super().lin(z.flatten(1))[..., None, None]

    def adj(self, v: Tensor) -> Tensor:
        return super().adj(v.flatten(1)).unflatten(1, self.field)

    def param_grad(self, delta: Tensor, z: Tensor) -> dict[str, Tensor]:
        return super().param_grad(delta.flatten(1), z.flatten(1))


class Convolutional(Chain):
    """Orthogonal convolutions on patches of an image, whose pixels are their channels, so that nothing expands."""

    def __init__(self, side: int, patch: int, depth: int, activation: str) -> None:
        lift, *blocks = (OrthogonalConvolution(patch**2, bias=False) for _ in range(depth))
        super().__init__(lift, blocks, Readout(patch**2, side // patch, 10), activation)
        self.patch = patch

    def embed(self, a: Tensor) -> Tensor:
        return pixel_unshuffle(a, self.patch)

    def unembed(self, y: Tensor, a: Tensor) -> Tensor:
        return y.flatten(1)


class Pooled(nn.Module):
    """An operator on patches of an image, its outputs averaged over the grid and normalised, and a linear head."""

    def __init__(self, operator: nn.Module, features: int, patch: int) -> None:
        super().__init__()
        self.operator, self.patch = operator, patch
        self.head = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, 10))

    def forward(self, a: Tensor) -> Tensor:
        return self.head(self.operator(pixel_unshuffle(a, self.patch)).mean((-2, -1)))
