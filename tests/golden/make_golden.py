"""Writes what PyTorch computes in float64 for small cases of each differentiable operation.

    pip install torch==2.15.0 numpy safetensors
    python tests/golden/make_golden.py

One file a family, each case under the names of README.md. The random numbers of a case are seeded by its name, so that
a new case leaves the others as they are. Each gradient is also checked here against finite differences.
"""

import json
import math
import pathlib
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
files = {}


def case(file, name, function, inputs, **options):
    """Records one case: `function(**inputs)`, a random cotangent of its output, and the gradient of every input.

    An input is a shape of normal random numbers, a pair (scale, shape), or a tensor.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))

    def normal(shape, scale=1.0):
        return torch.from_numpy(np.asarray(scale * rng.standard_normal(shape)))

    tensors = {}
    for key, given in inputs.items():
        if isinstance(given, torch.Tensor):
            tensor = given.double()
        elif isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], tuple):
            tensor = normal(given[1], given[0])
        else:
            tensor = normal(given)
        tensors[key] = tensor.requires_grad_()
    output = function(**tensors)
    cotangent = normal(tuple(output.shape))
    gradients = torch.autograd.grad(output, list(tensors.values()), cotangent)
    torch.autograd.gradcheck(lambda *values: function(**dict(zip(tensors, values))), tuple(tensors.values()), fast_mode=True)

    arrays, metadata = files.setdefault(file, ({}, {}))
    for (key, tensor), gradient in zip(tensors.items(), gradients):
        arrays[f"{name}.input.{key}"] = tensor.detach().contiguous()
        arrays[f"{name}.grad.{key}"] = gradient.contiguous()
    arrays[f"{name}.output"] = output.detach().contiguous()
    arrays[f"{name}.cotangent"] = cotangent
    metadata[name] = json.dumps(options)


# Pointwise ------------------------------------------------------------------------------------------------------------

POINTS = {"1d": (5,), "2d": (4, 3), "3d": (2, 3, 4)}


def affine(x, w, b=None):
    """y[b, o, p] = sum_i w[o, i] x[b, i, p] + b[o]."""
    y = torch.einsum("oi,bi...->bo...", w, x)
    return y if b is None else y + b.reshape(-1, *[1] * (x.dim() - 2))


def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")


for dim, points in POINTS.items():
    case("pointwise", f"linear.{dim}", affine, {"x": (2, 3, *points), "w": (4, 3), "b": (4,)})
case("pointwise", "linear.no_bias", affine, {"x": (2, 3, 4, 3), "w": (2, 3)})


def mlp(x, w1, b1, w2, b2, v=None, ws=None, act=F.gelu, outer=None):
    """outer(W2 act(W1 x + b1) + b2 + Ws v)."""
    y = affine(act(affine(x, w1, b1)), w2, b2)
    if v is not None:
        y = y + affine(v, ws)
    return y if outer is None else outer(y)


PARAMETERS = {"w1": (6, 3), "b1": (6,), "w2": (4, 6), "b2": (4,)}
SKIP = {"v": (2, 5, 3, 2), "ws": (4, 5)}
for name, act, outer, skip in [
    ("plain", "gelu", None, {}),
    ("outer", "gelu", "gelu", {}),
    ("skip", "gelu", None, SKIP),
    ("outer_skip", "gelu", "gelu", SKIP),
    ("outer_skip_relu", "relu", "relu", SKIP),
]:
    functions = {"act": getattr(F, act), "outer": outer and getattr(F, outer)}
    case(
        "pointwise", f"mlp.{name}", lambda functions=functions, **t: mlp(**t, **functions),
        {"x": (2, 3, 3, 2), **PARAMETERS, **skip}, act=act, outer=outer,
    )

# Both tails, both sides of the origin, no kink.
line = torch.cat([torch.linspace(-8, 8, 48, dtype=torch.float64), torch.tensor([-30.0, -1e-9, 1e-9, 30.0], dtype=torch.float64)])
for name, function in {
    "gelu": F.gelu, "gelu_tanh": gelu_tanh, "relu": F.relu, "silu": F.silu, "tanh": torch.tanh, "sin": torch.sin,
}.items():
    x = line[line.abs() > 1e-6] if name == "relu" else line
    case("pointwise", f"activation.{name}", lambda x, function=function: function(x), {"x": x.clone()})

# Convolution ----------------------------------------------------------------------------------------------------------


def convolution(x, w, b, padding):
    """y[o, p] = b[o] + sum_{i, q} w[o, i, q] x[i, p + q - (k-1)/2]: a correlation, as in all of PyTorch."""
    dims, half = x.dim() - 2, w.shape[-1] // 2
    if padding == "periodic":
        x, half = F.pad(x, [half] * 2 * dims, mode="circular"), 0
    return getattr(F, f"conv{dims}d")(x, w, b, padding=half)


for dims, batch, channels, points in [(1, 2, (2, 3), (7,)), (2, 2, (2, 3), (5, 6)), (3, 1, (2, 2), (3, 4, 2))]:
    for padding in ["periodic", "zero"]:
        for k in [3, 5]:
            c_in, c_out = (1, 2) if dims == 3 and k == 5 else channels
            case(
                "conv", f"conv.{dims}d_{padding}_k{k}",
                lambda x, w, b, padding=padding: convolution(x, w, b, padding),
                {"x": (batch, c_in, *points), "w": (c_out, c_in, *[k] * dims), "b": (c_out,)}, padding=padding,
            )

# Normalisation --------------------------------------------------------------------------------------------------------


def group_norm(x, gain, shift, groups, eps):
    """(x - mean) / sqrt(variance + eps) * gain[c] + shift[c]; both moments (the biased variance) over a sample's group."""
    return F.group_norm(x, groups, gain, shift, eps)


# The small inputs have a variance comparable with eps.
for size, scale, points, eps in [("2d", 1.0, (2, 3), 1e-5), ("2d_small", 6e-3, (2, 3), 1e-5), ("3d", 1.0, (2, 1, 3), 1e-7)]:
    for name, groups in [("layer_norm", 1), ("group_norm", 4), ("instance_norm", 8)]:
        case("norm", f"{name}.{size}", lambda x, gain, shift, o=(groups, eps): group_norm(x, gain, shift, *o),
             {"x": (scale, (2, 8, *points)), "gain": (8,), "shift": (8,)}, groups=groups, eps=eps)
case("norm", "layer_norm.1d", lambda x, gain, shift: group_norm(x, gain, shift, 1, 1e-5),
     {"x": (2, 4, 6), "gain": (4,), "shift": (4,)}, groups=1, eps=1e-5)

# Spectral convolution -------------------------------------------------------------------------------------------------


def corners(points, modes):
    """The kept blocks of a half spectrum: rows 0..m and n-m..n of all axes but the last, signs of the first axis fastest."""
    blocks = [()]
    for n, m in list(zip(points, modes))[-2::-1]:
        blocks = [(rows, *block) for block in blocks for rows in (slice(0, m), slice(n - m, n))]
    return [(..., *block, slice(0, modes[-1])) for block in blocks]


def mix(x, weights, modes, last=None, biases=(), delta=1.0):
    """Spectral convolution `[B, Cin, points] -> [B, Cout, points]`, the last axis changed to `last` samples."""
    points, axes = x.shape[2:], list(range(2, x.dim()))
    x_hat = torch.fft.rfftn(x, dim=axes, norm="forward")
    y_hat = x_hat.new_zeros(x.shape[0], weights[0].shape[1], *x_hat.shape[2:])
    for index, block in enumerate(corners(points, modes)):
        mixed = torch.einsum("bi...,io...->bo...", x_hat[block], torch.view_as_complex(weights[index]))
        if biases:
            mixed = mixed + delta * torch.view_as_complex(biases[index])
        y_hat[block] = mixed
    return torch.fft.irfftn(y_hat, s=[*points[:-1], last or points[-1]], dim=axes, norm="forward")


def numbered(letter, tensors):
    return [value for key, value in sorted(tensors.items()) if key.rstrip("0123456789") == letter]


for name, batch, (c_in, c_out), points, modes in [
    ("1d", 2, (2, 3), (12,), (4,)),
    ("1d_odd", 1, (2, 2), (9,), (3,)),
    ("2d", 2, (2, 3), (8, 6), (3, 2)),
    ("3d", 1, (2, 1), (6, 4, 6), (2, 1, 2)),
]:
    weights = {f"w{i}": (c_in, c_out, *modes, 2) for i in range(2 ** (len(points) - 1))}
    case("spectral", f"spectral_conv.{name}", lambda x, modes=modes, **w: mix(x, numbered("w", w), modes),
         {"x": (batch, c_in, *points), **weights}, modes=modes)


def space_time(x, modes, t_out, delta, **parameters):
    """The same on `[B, C, t, x, y]` with the half axis t: the spectrum in t is cropped or padded to `t_out` samples."""
    last = x.permute(0, 1, 3, 4, 2)
    y = mix(last, numbered("w", parameters), modes, t_out, numbered("b", parameters), delta)
    return y.permute(0, 1, 4, 2, 3)


for name, batch, (c_in, c_out), t_in, t_out, mt, biased in [
    ("same", 1, (2, 2), 8, 8, 3, False),
    ("shorter", 1, (1, 2), 10, 6, 2, False),
    ("longer", 1, (1, 1), 8, 12, 3, False),
    ("odd", 1, (2, 1), 7, 9, 3, False),
    ("cropped_modes", 1, (1, 1), 10, 5, 4, False),
    ("bias", 2, (1, 1), 6, 8, 2, True),
]:
    points, modes = (4, 6), (1, 2, mt)
    weights = {f"w{i}": (c_in, c_out, *modes, 2) for i in range(4)}
    biases = {f"b{i}": (c_out, *modes, 2) for i in range(4)} if biased else {}
    delta = 0.1 if biased else 1.0
    case("spectral", f"space_time_conv.{name}",
         lambda modes=modes, t_out=t_out, delta=delta, **t: space_time(modes=modes, t_out=t_out, delta=delta, **t),
         {"x": (batch, c_in, t_in, *points), **weights, **biases}, modes=modes, t_out=t_out, delta=delta)

# Structure ------------------------------------------------------------------------------------------------------------

case("structure", "concat.channels", lambda a, b: torch.cat([a, b], 1), {"a": (2, 2, 3, 4), "b": (2, 3, 3, 4)}, axis=1)
case("structure", "concat.last", lambda a, b: torch.cat([a, b], 3), {"a": (2, 2, 3, 4), "b": (2, 2, 3, 1)}, axis=3)
case("structure", "slice.time", lambda x: x[:, :, 1:4], {"x": (2, 2, 5, 3)}, axis=2, start=1, end=4)
case("structure", "slice.last", lambda x: x[..., 4:], {"x": (2, 2, 2, 6)}, axis=3, start=4, end=6)
case("structure", "pad.before", lambda x: F.pad(x, [0, 0, 3, 0]), {"x": (2, 2, 4, 3)}, axis=2, before=3, after=0)
case("structure", "pad.both", lambda x: F.pad(x, [1, 2]), {"x": (2, 2, 3, 4)}, axis=3, before=1, after=2)
case("structure", "roll.forward", lambda x: torch.roll(x, 2, 2), {"x": (2, 2, 5, 3)}, axis=2, shift=2)
case("structure", "roll.backward", lambda x: torch.roll(x, -1, 3), {"x": (2, 2, 3, 4)}, axis=3, shift=-1)
for reduction in ["sum", "mean"]:
    for name, axes in [("all", (0, 1, 2, 3)), ("channels", (1,)), ("points", (2, 3))]:
        case("structure", f"{reduction}.{name}", lambda x, r=reduction, axes=axes: getattr(torch, r)(x, axes),
             {"x": (2, 3, 4, 2)}, axes=axes)

# Losses ---------------------------------------------------------------------------------------------------------------


def relative_l2(x, target):
    """Mean over the samples of |x - target| / |target|, the norms over all channels and points of a sample."""
    norm = lambda u: u.flatten(1).norm(dim=1)
    return (norm(x - target) / norm(target)).mean()


def relative_hs(x, target, s, alpha, lengths):
    """The same in H^s: |u|^2 = sum_k (alpha + |k|^2)^s |u_k|^2, u_k over the last axes, k = 2 pi m / L."""
    dims = len(lengths)
    axes = list(range(-dims, 0))
    waves = [2 * math.pi * torch.fft.fftfreq(n, L / n, dtype=torch.float64) for n, L in zip(x.shape[-dims:], lengths)]
    k2 = sum(k.reshape([-1 if axis == a else 1 for axis in axes]) ** 2 for a, k in zip(axes, waves))
    weight = (alpha + k2) ** s
    norm = lambda u: (weight * torch.fft.fftn(u, dim=axes, norm="forward").abs() ** 2).flatten(1).sum(1).sqrt()
    return (norm(x - target) / norm(target)).mean()


for dim, points in POINTS.items():
    case("loss", f"relative_l2.{dim}", relative_l2, {"x": (2, 2, *points), "target": (2, 2, *points)})
for name, points, s, alpha, lengths in [
    ("h1_1d", (7,), 1.0, 1.0, (2 * math.pi,)),
    ("h1_2d", (6, 4), 1.0, 0.1, (1.0, 2.0)),
    ("h2_2d", (4, 5), 2.0, 1.0, (2 * math.pi, 2 * math.pi)),
    ("h-1_2d", (4, 6), -1.0, 0.1, (1.0, 1.0)),
    ("h0.5_3d", (3, 2, 4), 0.5, 1.0, (1.0, 1.0, 2.0)),
    ("h1_frames", (2, 4, 3), 1.0, 0.1, (1.0, 1.0)),
]:
    case("loss", f"relative_hs.{name}", lambda x, target, o=(s, alpha, lengths): relative_hs(x, target, *o),
         {"x": (2, 2, *points), "target": (2, 2, *points)}, s=s, alpha=alpha, lengths=lengths)

for file, (arrays, metadata) in files.items():
    path = here / f"{file}.safetensors"
    save_file(arrays, path, metadata={"torch": torch.__version__.split("+")[0], **metadata})
    path.chmod(0o644)
    print(f"{file}: {len(metadata)} cases, {path.stat().st_size} bytes")
