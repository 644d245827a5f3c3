"""The learned workloads by PyTorch. See README.md for the protocol and for the forms."""

import server

args = server.start(__doc__.splitlines()[0])

import ctypes
import gc

import sfno_torch

sfno_torch.allocator()

import numpy as np
import torch
import torch.nn.functional as F
import workloads

torch.set_num_threads(args.threads)
DTYPE = torch.float64 if args.precision == "f64" else torch.float32


def tensor(array):
    return torch.tensor(array, dtype=DTYPE)


def linear_as_conv(x, w, b):
    """Pointwise linear map `[B, C, points..] -> [B, C', points..]`."""
    return F.conv2d(x, w[:, :, None, None], b)


def linear_as_product(x, w, b):
    points = x.shape[2:]
    return torch.baddbmm(b[:, None], w.expand(len(x), -1, -1), x.flatten(2)).view(len(x), len(w), *points)


def spectral_classic(h, weight, m):
    """Spectral convolution as the authors write it. Weight `[2, in, out, m, m, 2]`."""
    n = h.shape[-1]
    w0, w1 = torch.view_as_complex(weight)
    h_hat = torch.fft.rfft2(h, norm="forward")
    out = torch.zeros_like(h_hat)
    out[:, :, :m, :m] = torch.einsum("bixy,ioxy->boxy", h_hat[:, :, :m, :m], w0)
    out[:, :, -m:, :m] = torch.einsum("bixy,ioxy->boxy", h_hat[:, :, -m:, :m], w1)
    return torch.fft.irfft2(out, s=(n, n), norm="forward")


def spectral_pruned(h, weight, m):
    """The same: of the second axis only the kept modes are transformed along the first, and the mixing is one batched product.

    Weight `[2 m m, in, out, 2]`, modes first.
    """
    b, c, n = h.shape[:3]
    h_hat = torch.fft.fft(torch.fft.rfft(h, norm="forward")[..., :m], dim=2, norm="forward")
    kept = torch.cat([h_hat[:, :, :m], h_hat[:, :, -m:]], 2).permute(2, 3, 0, 1).reshape(2 * m * m, b, c)
    mixed = torch.bmm(kept, torch.view_as_complex(weight)).view(2 * m, m, b, -1).permute(2, 3, 0, 1)
    zero = mixed.new_zeros(b, mixed.shape[1], n - 2 * m, m)
    out = torch.cat([mixed[:, :, :m], zero, mixed[:, :, m:]], 2)
    return torch.fft.irfft(torch.fft.ifft(out, dim=2, norm="forward"), n=n, norm="forward")


def fno2d(request):
    """The Fourier neural operator, mean square error."""
    x, target, parameters = workloads.fno2d()
    layers, m, w = workloads.FNO2D["layers"], workloads.FNO2D["modes"], workloads.FNO2D["width"]
    classic = request.get("form") == "classic"
    spectral = spectral_classic if classic else spectral_pruned
    linear = linear_as_conv if classic or DTYPE == torch.float64 else linear_as_product
    if not classic:
        for i in range(layers):
            modes_first = parameters[f"{i}.spectral"].transpose(0, 3, 4, 1, 2, 5).reshape(-1, w, w, 2)
            parameters[f"{i}.spectral"] = np.ascontiguousarray(modes_first)
    p = {name: tensor(value).requires_grad_() for name, value in parameters.items()}
    x, target = tensor(x), tensor(target)

    def loss():
        h = linear(x, p["lift.w"], p["lift.b"])
        for i in range(layers):
            h = spectral(h, p[f"{i}.spectral"], m) + linear(h, p[f"{i}.w"], p[f"{i}.b"])
            h = F.gelu(h) if i < layers - 1 else h
        h = F.gelu(linear(h, p["hidden.w"], p["hidden.b"]))
        return F.mse_loss(linear(h, p["out.w"], p["out.b"]), target)

    return loss, list(p.values()), workloads.FNO2D["lr"]


def conv_tower(request):
    """Periodic 3x3 convolutions, ReLU between them, mean square of the output."""
    x, weights = workloads.conv_tower()
    x, weights = tensor(x), [tensor(w).requires_grad_() for w in weights]

    def loss():
        h = x
        for layer, w in enumerate(weights):
            h = F.conv2d(F.pad(h, (1, 1, 1, 1), mode="circular"), w)
            h = F.relu(h) if layer < len(weights) - 1 else h
        return (h * h).mean()

    return loss, weights, workloads.CONV_TOWER["lr"]


def conv3d(request):
    """One 3-D convolution, zero padding, mean square of the output; gradients of input and weight, no optimiser."""
    x, w = (tensor(array).requires_grad_() for array in workloads.conv3d())
    return lambda: F.conv3d(x, w, padding=1).square().mean(), [x, w], None


def sfno(request):
    """The published space-time operator, H^1 loss, on random data."""
    size = sfno_torch.SIZES[request["case"][-1].upper()]
    torch.manual_seed(0)
    training = sfno_torch.Training(size, 1, dtype=DTYPE)
    shape = (size.batch, size.n, size.n)
    inputs, target = (torch.randn(*shape, frames, dtype=DTYPE) for frames in (size.frames_in, size.frames_out))
    loss = lambda: sfno_torch.relative_norm(training.model(inputs) - target, target, 1)
    return loss, list(training.model.parameters()), 1e-3


CASES = {"fno2d": fno2d, "conv_tower": conv_tower, "conv3d": conv3d, "sfno_s": sfno, "sfno_m": sfno}


def resident(field):
    """A line of /proc/self/status in MiB: the resident size now (VmRSS) or at its highest (VmHWM)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 2**10 for line in status if line.startswith(field))


def prepare(request):
    forward_only = request.get("part", "step") == "forward"
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator kept from other requests
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as reset_highest:
        reset_highest.write("5")

    loss, parameters, rate = CASES[request["case"]](request)
    start = [p.detach().clone() for p in parameters]
    state = {}

    def reset():
        with torch.no_grad():
            for p, s in zip(parameters, start):
                p.copy_(s)
        state["optimizer"] = torch.optim.Adam(parameters, rate, fused=True) if rate else None

    def step():
        for p in parameters:
            p.grad = None
        value = loss()
        value.backward()
        if state["optimizer"]:
            state["optimizer"].step()
        return value.detach()

    def run():
        if forward_only:
            with torch.no_grad():
                return [loss() for _ in range(request["steps"])]
        return [step() for _ in range(request["steps"])]

    for _ in range(2):
        reset()
        run()
    # The copy of the start is the harness's, not the training's.
    peak = resident("VmHWM") - before - sum(s.nbytes for s in start) / 2**20

    return server.Runner(
        reset=reset,
        run=run,
        facts=lambda losses: {"peak_mib": peak, "losses": [float(value) for value in losses[:3]]},
        array=lambda losses: torch.cat([(p if rate else p.grad).detach().flatten() for p in parameters]).numpy(),
    )


server.serve(args, prepare, {"torch": torch.__version__})
