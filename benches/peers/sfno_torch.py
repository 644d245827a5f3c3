"""The space-time Fourier neural operator of Spectral-Refiner (Cao, Brarda, Li, Xi, ICLR 2025) in PyTorch, as published.

    python sfno_torch.py train --data NSF-32.hdf5 --size S --seed 0       errors after training; --loss l2 for the other loss
    python sfno_torch.py time --size M --precision f32 --threads 1        seconds a training step and a forward pass

Written from the description of the layers, for comparison with ours; its number of parameters is the published one. It keeps what
the published network does where we do otherwise: coordinates that include both ends, unnormalised forward transforms, and
Adam with the one-cycle schedule of PyTorch, which cycles the first moment's weight too.

Fields are `[B, C, x, y, t]`.
"""

import argparse
import math
import os
import statistics
import sys
import time
from typing import NamedTuple


class Size(NamedTuple):
    """A size of the benchmark: points, network, length of the training."""

    n: int
    width: int
    modes: int
    epochs: int
    modes_t: int = 5
    latent: int = 10
    batch: int = 4
    frames_in: int = 10
    frames_out: int = 10


SIZES = {"S": Size(32, 8, 8, 40), "M": Size(64, 10, 12, 20)}
LEARNING_RATE = 1e-2
PARAMETERS = {"S": 663_001, "M": 2_319_391}


def configure(threads):
    """Pins the process and sizes the pool. Must run before `import torch`."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    os.environ |= {
        "OMP_NUM_THREADS": str(threads),
        "OMP_PROC_BIND": "true",
        "OMP_PLACES": ",".join(f"{{{core}}}" for core in cores),
    }


def network(size, beta=0.02, delta=0.1):
    """The network of a size, as a module: input `[B, x, y, t]`, output `[B, x, y, frames_out]`."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class SpectralConv(nn.Module):
        """Keeps |kx| < mx, |ky| < my, 0 <= kt < mt in four blocks, one a pair of signs; returns `last` samples in t."""

        def __init__(self, c_in, c_out, biased=False):
            super().__init__()
            m, mt = size.modes, size.modes_t
            scale = 0.5 / (c_in * c_out)
            self.modes = m
            self.modes_t = mt
            self.weight = nn.Parameter(scale * torch.rand(4, c_in, c_out, m, m, mt, 2))
            self.bias = nn.Parameter(torch.zeros(4, c_out, m, m, mt, 2)) if biased else None

        def forward(self, v, last):
            m, mt = self.modes, self.modes_t
            nx, ny = v.shape[2:4]
            v_hat = torch.fft.rfftn(v, dim=(2, 3, 4))
            out = v_hat.new_zeros(v.shape[0], self.weight.shape[2], nx, ny, last // 2 + 1)
            weight = torch.view_as_complex(self.weight)
            rows = [(slice(0, m), slice(0, m)), (slice(-m, None), slice(0, m)),
                    (slice(0, m), slice(-m, None)), (slice(-m, None), slice(-m, None))]
            for index, (kx, ky) in enumerate(rows):
                mixed = torch.einsum("bixyt,ioxyt->boxyt", v_hat[:, :, kx, ky, :mt], weight[index])
                if self.bias is not None:
                    mixed = mixed + delta * torch.view_as_complex(self.bias)[index]
                out[:, :, kx, ky, :mt] = mixed
            return torch.fft.irfftn(out, s=(nx, ny, last), dim=(2, 3, 4))

    def mlp(c):
        return nn.Sequential(nn.Conv3d(c, 4 * c, 1), nn.GELU(), nn.Conv3d(4 * c, c, 1))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            c = size.width
            self.norm = nn.GroupNorm(1, c, eps=1e-7)
            self.lift = nn.Conv3d(c, c, 1)
            self.convs = nn.ModuleList(SpectralConv(c, c) for _ in range(4))
            self.mlps = nn.ModuleList(mlp(c) for _ in range(4))
            self.skips = nn.ModuleList(nn.Conv3d(c, c, 1) for _ in range(3))
            self.reduce = nn.Conv3d(c, 1, 1)
            self.out = SpectralConv(1, 1, biased=True)

        def encoding(self, like):
            """Positions x, y in [0, 1], t = j/100, then exp(beta t) sin or cos of pi (k+1) t."""
            nx, ny, m = like.shape[2:]
            options = {"dtype": like.dtype}
            t = torch.arange(1, m + 1, **options) / 100
            coordinates = [torch.linspace(0, 1, nx, **options)[:, None, None], torch.linspace(0, 1, ny, **options)[:, None], t]
            for k in range(size.width - 3):
                wave = torch.cos if k % 2 else torch.sin
                coordinates.append(torch.exp(beta * t) * wave(math.pi * (k + 1) * t))
            return torch.stack([c.expand(nx, ny, m) for c in coordinates])

        def forward(self, w):
            w = w[:, None]
            v = self.lift(self.norm(w + self.encoding(w)))
            v = F.gelu(v[..., -1:] + self.mlps[0](self.convs[0](v, size.latent)))
            for conv, pointwise, skip in zip(self.convs[1:], self.mlps[1:], self.skips):
                v = F.gelu(pointwise(conv(v, size.latent)) + skip(v))
            # The output operator: the last input frame in front, as many zero frames before that.
            latent = torch.cat([w[..., -1:], self.reduce(v)], -1)
            padding = latent.shape[-1]
            change = self.out(F.pad(latent, (padding, 0)), size.frames_out + 1 + padding)
            return (w[..., -1:] + change[..., -size.frames_out:])[:, 0]

    return Network()


def relative_norm(error, target, order):
    """Mean over the batch of |error| / |target| in L2 (order 0) or H^1 with the weight 0.1 + |k|^2, k = 2 pi m."""
    import torch

    def norm(u):
        if order == 0:
            return u.flatten(1).norm(dim=1)
        n = u.shape[1]
        kx, ky = torch.fft.fftfreq(n, 1 / n, dtype=u.dtype), torch.fft.rfftfreq(n, 1 / n, dtype=u.dtype)
        weight = 0.1 + 4 * math.pi**2 * (kx[:, None] ** 2 + ky**2)
        # Columns of the half spectrum that stand for two.
        weight[:, 1 : (n + 1) // 2] *= 2
        u_hat = torch.view_as_real(torch.fft.rfft2(u, dim=(1, 2)))
        return (weight[..., None, None] * u_hat**2).flatten(1).sum(1).sqrt()

    return (norm(error) / norm(target)).mean()


class Training:
    """The network with its optimiser; `step(inputs, targets)` is one of the training."""

    def __init__(self, size, steps, order=1, dtype=None):
        import torch

        self.order = order
        self.model = network(size).to(dtype or torch.float32)
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, LEARNING_RATE, total_steps=steps, div_factor=1e3, final_div_factor=1e4
        )

    def step(self, inputs, targets):
        self.optimizer.zero_grad()
        loss = relative_norm(self.model(inputs) - targets, targets, self.order)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()


def vorticity(path):
    """The vorticity of a Well+ file, `[sample, x, y, t]`."""
    import h5py
    import numpy as np
    import torch

    with h5py.File(path) as file:
        fields = file["t0_fields"]
        name = "vorticity" if "vorticity" in fields else sorted(fields)[0]
        if "provenance/complete" in file and not np.all(file["provenance/complete"]):
            sys.exit(f"{path}: some samples are not complete")
        data = torch.from_numpy(fields[name][:].astype(np.float32))
    return data.permute(0, 2, 3, 1).contiguous()


def train(args):
    import numpy as np
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    size = SIZES[args.size]
    data = vorticity(args.data)
    samples, n, _, frames = data.shape
    window = size.frames_in + size.frames_out
    if samples - args.test < size.batch or n != size.n or frames <= window + 1:
        sys.exit(f"{args.data}: {samples} samples of {n}^2 x {frames} do not fit --size {args.size} --test {args.test}")
    training, testing = data[: -args.test], data[-args.test :]

    def cut(sample, start):
        return sample[..., start : start + window].split([size.frames_in, size.frames_out], -1)

    epochs, iterations = args.epochs or size.epochs, len(training) // size.batch
    state = Training(size, epochs * iterations, {"h1": 1, "l2": 0}[args.loss])
    wall, cpu = time.perf_counter(), time.process_time()
    for epoch in range(epochs):
        losses = []
        for picks in rng.permutation(len(training))[: iterations * size.batch].reshape(iterations, size.batch):
            windows = [cut(training[i], rng.integers(0, frames - window - 1)) for i in picks]
            losses.append(state.step(*map(torch.stack, zip(*windows))).item())
        print(f"epoch {epoch + 1}/{epochs}  loss {statistics.mean(losses):.4f}  {time.perf_counter() - wall:.1f} s", flush=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    starts = [start for start in (0, 30, 60) if start + window <= frames]
    errors = {"relative L2": [], "relative H^1": [], "persistence, relative L2": []}
    state.model.eval()
    with torch.no_grad():
        for sample in testing:
            inputs, targets = map(torch.stack, zip(*(cut(sample, start) for start in starts)))
            error = state.model(inputs) - targets
            errors["relative L2"].append(relative_norm(error, targets, 0).item())
            errors["relative H^1"].append(relative_norm(error, targets, 1).item())
            errors["persistence, relative L2"].append(relative_norm(inputs[..., -1:] - targets, targets, 0).item())
    print(f"size {args.size}, seed {args.seed}, loss {args.loss}, {epochs * iterations} steps in {wall:.1f} s (cpu {cpu:.1f} s)")
    for name, values in errors.items():
        print(f"test {name}: {statistics.mean(values):.5f}")


def measure(args):
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    size, dtype = SIZES[args.size], {"f32": torch.float32, "f64": torch.float64}[args.precision]
    state = Training(size, 10_000, dtype=dtype)
    shape = (size.batch, size.n, size.n)
    inputs, targets = (torch.randn(*shape, frames, dtype=dtype) for frames in (size.frames_in, size.frames_out))

    def forward():
        with torch.no_grad():
            state.model(inputs)

    for name, work in [("training step", lambda: state.step(inputs, targets)), ("forward", forward)]:
        for _ in range(3):
            work()
        walls, cpus = [], []
        for _ in range(args.repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            walls.append(1e3 * (time.perf_counter() - wall))
            cpus.append(1e3 * (time.process_time() - cpu))
        print(f"sfno {args.size} {name} {args.precision} threads {args.threads}: "
              f"median {statistics.median(walls):.2f} ms, min {min(walls):.2f}, cpu {statistics.median(cpus):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("train", "time"))
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", help="Well+ file of the vorticity")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="instead of those of the size")
    parser.add_argument("--loss", choices=("h1", "l2"), default="h1")
    parser.add_argument("--test", type=int, default=16, help="samples at the end that are only tested on")
    parser.add_argument("--precision", choices=("f32", "f64"), default="f32")
    parser.add_argument("--repeats", type=int, default=21)
    args = parser.parse_args()
    if args.command == "train" and not args.data:
        parser.error("train needs --data")
    configure(args.threads)
    allocator()
    (train if args.command == "train" else measure)(args)


def allocator():
    """Makes the allocator of glibc keep what is freed; by default each large tensor is mapped and its pages cleared anew.

    The same that the PyTorch guide asks jemalloc for: up to twice as fast on these workloads.
    """
    import ctypes

    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


if __name__ == "__main__":
    main()
