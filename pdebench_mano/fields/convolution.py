"""Convolutions that go on beyond the edges of a grid as the grid does: zero, or round where it is periodic."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench_mano.fields.operator import Fields, Operator


class Convolution(nn.Conv2d, Operator):
    """`torch.nn.Conv2d` of (batch, channels, height, width), with the values of the other side for its padding."""

    def forward(self, x: Fields) -> Float[Tensor, "batch _ _ _"]:
        if self.grid != "periodic" or not any(self.padding):
            return super().forward(x)
        around = F.pad(x, self._reversed_padding_repeated_twice, mode="circular")
        return F.conv2d(around, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Refinement(nn.ConvTranspose2d, Operator):
    """`torch.nn.ConvTranspose2d` of a 3 × 3 kernel that puts points 0, 1, 2, … to 0, 2, 4, … of a finer grid."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Fields, output_size: list[int] | None = None) -> Float[Tensor, "batch _ _ _"]:
        if self.grid != "periodic":
            return super().forward(x, output_size)
        around = F.pad(x, (1, 1, 1, 1), mode="circular")
        y = F.conv_transpose2d(around, self.weight, self.bias, stride=2)
        height, width = output_size or [2 * n - 1 for n in x.shape[-2:]]
        return y[..., 3 : 3 + height, 3 : 3 + width]  # point 0 of x is point 1 of what is padded, at 2·1 + 1
