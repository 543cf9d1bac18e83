"""Where a layer, or a part of one, is one function of Triton kernels, and why not elsewhere.

The kernels read a layer's parameters, so its modules must be the plain ones they were made as:
with another module in their place, or a hook on one, the layer runs module by module. `torch.compile`
leaves these functions as they are.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from data_gen.grid import Kind
from pdebench_mano.fields.convolution import Convolution
from pdebench_mano.mano.kernels.selection import Place, forced, form_of
from pdebench_mano.mano.kernels.wrapping import longer

WIDTHS = (16, 32, 64, 128)


def _obstacle(  # noqa: PLR0911
    place: Place, widths: dict[str, int], modules: list[tuple[str, Any, type[nn.Module]]], products: bool = True
) -> str | None:
    form = forced()
    if form not in (None, "fused"):
        return f"form {form!r} is forced"
    if form is None and place.device.type != "cuda":
        return f"it needs a CUDA device, not {place.device.type}"
    if why := place.obstacle():
        return why
    if form is None and products and place.dtype == torch.float32:
        return "float32 products are exact in cuBLAS"
    for name, width in widths.items():
        if width not in WIDTHS:
            return f"{name} must be one of {', '.join(map(str, WIDTHS))}, not {width}"
    for name, module, kind in modules:
        if type(module) is not kind or module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            return f"{name} is no plain {kind.__name__}"
        if isinstance(module, nn.LayerNorm) and (module.eps != 1e-5 or module.bias is None):
            return f"{name} has another epsilon, or no bias"
    return None


def _refused(why: str) -> None:
    if forced() == "fused":
        raise ValueError(f"form 'fused' cannot serve: {why}")


def _shapes(layer: Any, height: int, width: int) -> list[tuple[int, int]]:
    """Heights and widths of a layer's levels."""
    shapes = [(height, width)]
    for _ in range(layer.depth(height, width) - 1):
        shapes.append((-(-shapes[-1][0] // layer.rate), -(-shapes[-1][1] // layer.rate)))
    return shapes


def attention_obstacle(layer: Any, place: Place, height: int, width: int) -> str | None:
    """Why a `MultipoleAttention` is not fused on a grid, or None."""
    shapes = _shapes(layer, height, width)
    if layer.grid == "periodic" and any(n % layer.rate for shape in shapes[:-1] for n in shape):
        return "a level of a periodic grid is no multiple of the rate"
    if min(height, width) < layer.window or layer.window > 16:
        return f"the grid is smaller than the window, {layer.window}, or that is larger than 16"
    for name, module in (("down", layer.down), ("up", layer.up)):
        learned = isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        square = learned and module.kernel_size == module.stride == (layer.rate, layer.rate) and module.bias is None
        if not (square or isinstance(module, nn.AvgPool2d | nn.Upsample)):
            return f"{name} is another module"
    plain: list[tuple[str, Any, type[nn.Module]]] = [
        ("window_norm", layer.window_norm, nn.LayerNorm),
        ("norm", layer.norm, nn.LayerNorm),
    ]
    plain += [("qkv", layer.qkv, nn.Linear), ("out", layer.out, nn.Linear)]
    plain += [("down", layer.down, type(layer.down)), ("up", layer.up, type(layer.up))]
    if layer.local is not None:
        plain.append(("local", layer.local, Convolution))
    widths = {"channels": layer.out.out_features, "heads · head_dim": layer.out.in_features}
    return _obstacle(place, widths, plain) or _otherwise(layer)


def _otherwise(layer: Any) -> str | None:
    """Which of the plain modules of a `MultipoleAttention` is not as it was made, or None."""
    if layer.qkv.bias is not None or layer.out.bias is None:
        return "qkv has a bias, or out has none"
    if (local := layer.local) is not None:
        geometry = (local.kernel_size, local.stride, local.padding, local.dilation, local.groups)
        if geometry != ((3, 3), (1, 1), (1, 1), (1, 1), 1) or local.bias is None:
            return "local is another convolution"
    return None


@torch.compiler.disable
def fused_attention(layer: Any, x: Tensor, residual: bool) -> Tensor | None:
    """z₀, or x + z₀, of a `MultipoleAttention`, or None where it is not fused."""
    place, (height, width) = Place.of(x), x.shape[1:3]
    if why := attention_obstacle(layer, place, height, width):
        _refused(why)
        return None
    from pdebench_mano.mano.kernels.gpu.multipole import Local, multipole_attention
    from pdebench_mano.mano.kernels.gpu.pointwise import Norms

    shapes, periodic, windows = _shapes(layer, height, width), layer.grid == "periodic", (layer.window, layer.stride)
    seen = [(longer(h, *windows), longer(w, *windows)) for h, w in shapes] if periodic else shapes
    turns = layer.turning(tuple(seen), x.device, torch.float32)
    if isinstance(layer.down, nn.Conv2d):
        down, up = layer.down.weight, layer.up.weight
    else:
        identity = torch.eye(x.shape[-1], device=x.device)[:, :, None, None].expand(-1, -1, layer.rate, layer.rate)
        down, up = identity / layer.rate**2, identity
    same = x.dtype == place.dtype
    z = multipole_attention(
        x.to(place.dtype),
        Norms(layer.window_norm.weight, layer.window_norm.bias, layer.norm.weight, layer.norm.bias),
        layer.qkv.weight,
        layer.out.weight,
        layer.out.bias,
        down,
        up,
        Local(
            None if turns is None else turns.squeeze(2),
            None if layer.local is None else layer.local.weight,
            None if layer.local is None else layer.local.bias,
        ),
        shapes=shapes,
        heads=layer.heads,
        window=layer.window,
        stride=layer.stride,
        rate=layer.rate,
        periodic=periodic,
        residual=residual and same,
    )
    return x + z if residual and not same else z


@torch.compiler.disable
def fused_norms(x: Tensor, *norms: Any) -> Tensor | None:
    """One LayerNorm of x, or two in a row, in the type of products, or None where it is not fused."""
    place = Place.of(x)
    plain: list[tuple[str, Any, type[nn.Module]]] = [("norm", norm, nn.LayerNorm) for norm in norms]
    if why := _obstacle(place, {"channels": x.shape[-1]}, plain, products=False):
        _refused(why)
        return None
    from pdebench_mano.mano.kernels.gpu.pointwise import layer_norms

    return layer_norms(x, [each for norm in norms for each in (norm.weight, norm.bias)], place.dtype)


@torch.compiler.disable
def fused_gather(field: Tensor, lattice: tuple[int, int], grid: Kind) -> tuple[Tensor, Tensor] | None:
    """Moments of a field on a lattice, and the field, or None where it is not fused.

    What else is made of the field is to be made of that: its gradient is added to in the kernel that makes ours.
    """
    place = Place.of(field)
    if why := _obstacle(place, {}, []):
        _refused(why)
        return None
    from pdebench_mano.mano.kernels.gpu.lattice import gather

    return gather(field, lattice, grid, place.dtype)


@torch.compiler.disable
def fused_expand(coefficients: Tensor, shape: tuple[int, int], grid: Kind, onto: Tensor | None) -> Tensor | None:
    """The field of local expansions, plus `onto` if it is given, or None where it is not fused."""
    place = Place.of(coefficients)
    if why := _obstacle(place, {}, []):
        _refused(why)
        return None
    from pdebench_mano.mano.kernels.gpu.lattice import expand

    return expand(coefficients.to(place.dtype), shape, grid, onto)


@torch.compiler.disable
def fused_linear(layer: Any, x: Tensor) -> Tensor | None:
    """A linear layer of x, in the type of products, or None where it is not fused."""
    place = Place.of(x)
    why = _obstacle(place, {}, [("linear", layer, nn.Linear)])
    if why is None and (layer.bias is None or layer.in_features % 16 or layer.out_features % 16):
        why = f"widths are {layer.in_features} and {layer.out_features}, or there is no bias"
    if why:
        _refused(why)
        return None
    from pdebench_mano.mano.kernels.gpu.pointwise import linear

    return linear(x.to(place.dtype), layer.weight, layer.bias)


def mlp_obstacle(norm: Any, fc1: Any, fc2: Any, place: Place) -> str | None:
    """Why LayerNorm, linear, activation, linear are not fused, or None."""
    plain: list[tuple[str, Any, type[nn.Module]]] = [
        ("norm", norm, nn.LayerNorm),
        ("fc1", fc1, nn.Linear),
        ("fc2", fc2, nn.Linear),
    ]
    if why := _obstacle(place, {}, plain):
        return why
    if fc1.in_features not in WIDTHS or fc1.out_features % 16 or fc2.out_features > max(WIDTHS):
        return f"widths are {fc1.in_features}, {fc1.out_features} and {fc2.out_features}"
    return "fc1 or fc2 has no bias" if fc1.bias is None or fc2.bias is None else None


@torch.compiler.disable
def fused_mlp(
    norm: Any, fc1: Any, fc2: Any, x: Tensor, *, activation: Literal["gelu", "tanh"] = "gelu", residual: bool = False
) -> Tensor | None:
    """fc2(activation(fc1(norm(x)))), plus x if `residual`, or None where it is not fused."""
    place = Place.of(x)
    if why := mlp_obstacle(norm, fc1, fc2, place):
        _refused(why)
        return None
    from pdebench_mano.mano.kernels.gpu.pointwise import mlp

    layers = [(layer.weight, layer.bias) for layer in (norm, fc1, fc2)]
    return mlp(x, layers[0], layers[1], layers[2], activation=activation, residual=residual, dtype=place.dtype)


def explain(model: nn.Module, x: Tensor) -> str:
    """Which form every `MultipoleAttention` of a model takes, a line each, and why it is not fused.

    Parameters
    ----------
    model : nn.Module
        Such a layer, or a model that holds some on the grid of its input.
    x : tensor
        What it would be called with; only shape, device and type count: (batch, height, width, channels) for a
        layer, (batch, channels, height, width) for a model.
    """
    place, lines = Place.of(x), []
    layer: Any
    for name, layer in model.named_modules():
        if not hasattr(layer, "window_norm"):
            continue
        height, width = x.shape[1:3] if layer is model else getattr(model, "lattice", lambda *grid: grid)(*x.shape[2:])
        where = f"{str(place.dtype).removeprefix('torch.')} on {place.device.type}"
        why = attention_obstacle(layer, place, height, width)
        forms = [
            f"{h}×{w} {form_of(place, h, w, layer.window, layer.stride)}" for h, w in _shapes(layer, height, width)
        ]
        taken = f"{', '.join(forms)} (not fused: {why})" if why else f"fused, {len(forms)} levels"
        lines.append(f"{name or type(layer).__name__}: {taken}, {where}")
    return "\n".join(lines)
