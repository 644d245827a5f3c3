"""Checks that every case of the servers solves the equation of its docstring. Needs numpy only, about a minute.

Usage: PYTHON benches/peers/verify.py, with the PYTHON of setup.sh.

The reference is written from the equations, not from the peers: integrating-factor Runge-Kutta of order 4 at
a small step, the 2-D nonlinear term in Basdevant's form where the peers use the advective form. Each peer is run
with steps h and h/2: its distance from the reference must fall with the order of its scheme, towards zero.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


# The equations: (linear symbol, nonlinear term of the half spectrum). Fields are `[channels, n, ...]`.


def modes(shape, length):
    """Wavenumbers of the half spectrum, one array an axis, and the mask |m| <= K with 3K < n."""
    n, dims = shape[-1], len(shape) - 1
    m = [np.fft.fftfreq(n, 1 / n)] * (dims - 1) + [np.arange(n // 2 + 1.0)]
    m = np.meshgrid(*m, indexing="ij")
    mask = np.all([np.abs(mi) <= (n - 1) // 3 for mi in m], axis=0)
    return [2 * np.pi / length * mi for mi in m], mask


def transforms(shape):
    axes = tuple(range(1, len(shape)))
    return lambda u: np.fft.rfftn(u, axes=axes), lambda u_hat: np.fft.irfftn(u_hat, shape[1:], axes)


def convection_1d(shape, length, a, linear):
    """u_t + a u u_x = L u, N = -(i a k / 2) (u^2)^."""
    (k,), mask = modes(shape, length)
    fft, ifft = transforms(shape)
    return linear(k), lambda u_hat: -0.5j * a * k * mask * fft(ifft(u_hat) ** 2)


def kuramoto_sivashinsky(shape, length=60.0):
    return convection_1d(shape, length, 1.0, lambda k: k**2 - k**4)


def korteweg_de_vries(shape, length=20.0):
    return convection_1d(shape, length, -6.0, lambda k: 1j * k**3)


def navier_stokes_2d(shape, nu, mu=0.1, k_f=4, amplitude=1.0):
    """w_t + u.grad w = nu lap w - mu w - A k_f cos(k_f y), -lap psi = w, (u, v) = (psi_y, -psi_x).

    N = (k_x^2 - k_y^2) (uv)^ + k_x k_y (v^2 - u^2)^ + f^ (Basdevant 1983).
    """
    (kx, ky), mask = modes(shape, 2 * np.pi)
    fft, ifft = transforms(shape)
    k2 = kx**2 + ky**2
    inverse = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)
    y = 2 * np.pi * np.arange(shape[2]) / shape[2]
    forcing = fft(np.broadcast_to(-amplitude * k_f * np.cos(k_f * y), shape))

    def nonlinear(w_hat):
        psi_hat = inverse * w_hat
        u, v = ifft(1j * ky * psi_hat), ifft(-1j * kx * psi_hat)
        return mask * ((kx**2 - ky**2) * fft(u * v) + kx * ky * fft(v**2 - u**2)) + forcing

    return -nu * k2 - mu, nonlinear


def navier_stokes_3d(shape, nu):
    """u_t = P(u x curl u) + nu lap u, P_ij = delta_ij - k_i k_j / k^2."""
    k, mask = modes(shape, 2 * np.pi)
    k = np.array(k)
    fft, ifft = transforms(shape)
    k2 = np.sum(k**2, axis=0)
    inverse = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)

    def nonlinear(u_hat):
        omega = ifft(1j * np.cross(k, u_hat, axis=0))
        n_hat = mask * fft(np.cross(ifft(u_hat), omega, axis=0))
        return n_hat - k * inverse * np.sum(k * n_hat, axis=0)

    return -nu * k2, nonlinear


def integrate(equation, u0, dt, steps):
    """Classical Runge-Kutta of order 4 on exp(-L t) u^."""
    linear, nonlinear = equation
    fft, ifft = transforms(u0.shape)
    half = np.exp(0.5 * dt * linear)
    u = fft(u0)
    for _ in range(steps):
        a = nonlinear(u)
        b = nonlinear(half * (u + 0.5 * dt * a))
        c = nonlinear(half * u + 0.5 * dt * b)
        d = nonlinear(half * (half * u + dt * c))
        u = half * (half * (u + dt / 6 * a) + dt / 3 * (b + c)) + dt / 6 * d
    return ifft(u)


# The peers.


class Server:
    def __init__(self, script, precision, folder):
        command = [sys.executable, os.path.join(HERE, script), "--precision", precision]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.folder = folder
        self.read()

    def read(self):
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            sys.exit(f"the server says: {answer['error']}")
        return answer

    def run(self, initial, **request):
        """The final field of a request that starts from `initial`."""
        paths = {name: os.path.join(self.folder, name + ".npy") for name in ("initial", "final")}
        np.save(paths["initial"], initial)
        # A file of the same name with other contents is another case.
        request.update(paths, n=initial.shape[-1], seed=hash(initial.tobytes()))
        print(json.dumps(request), file=self.process.stdin, flush=True)
        self.read()
        return np.load(paths["final"]).reshape(initial.shape)


def smooth(shape, seed, scale=1.0):
    """A random field of the modes |m_i| <= 3; component i of a vector field does not vary along axis i."""
    n, dims = shape[-1], len(shape) - 1
    rng = np.random.default_rng(seed)
    x = np.meshgrid(*[2 * np.pi * np.arange(n) / n] * dims, indexing="ij")
    field = np.zeros(shape)
    for channel, component in enumerate(field):
        for m in np.ndindex(*[7] * dims):
            m = np.array(m) - 3
            if not m.any() or (shape[0] > 1 and m[channel]):
                continue
            phase = sum(mi * xi for mi, xi in zip(m, x)) + rng.uniform(0, 2 * np.pi)
            component += rng.normal() * np.cos(phase)
    return scale * field / np.sqrt(np.mean(field**2))


failures = []


def check(claim, holds, numbers):
    print(f"{'ok  ' if holds else 'FAIL'} {claim}: {numbers}", flush=True)
    if not holds:
        failures.append(claim)


def check_order(claim, server, equation, u0, dt, steps, expected, finer=8, **request):
    """The distance to the reference is small at h/2 and falls by 2^expected from h to h/2.

    The reference takes `finer` times smaller steps: its own error must be far below that of the peer.
    """
    exact = integrate(equation, u0, dt / finer, finer * steps)
    error = []
    for refine in (1, 2):
        final = server.run(u0, dt=dt / refine, steps=refine * steps, **request)
        error.append(np.linalg.norm(final - exact) / np.linalg.norm(exact))
    observed = np.log2(error[0] / error[1])
    numbers = f"relative distance {error[0]:.1e}, {error[1]:.1e}, order {observed:.2f}"
    # A wrong sign, axis or scale leaves a distance of order one. The play of 0.5 is for KS, whose stiffness delays
    # the asymptotic order: 3.6 at this step, 3.8 at a quarter of it.
    check(claim, error[1] < 1e-3 and abs(observed - expected) < 0.5, numbers)


def main():
    with tempfile.TemporaryDirectory() as folder:
        exponax = Server("exponax_cases.py", "f64", folder)
        single = Server("exponax_cases.py", "f32", folder)
        jaxcfd = Server("jaxcfd_cases.py", "f64", folder)

        u = smooth((1, 256), seed=1)
        for order in (4, 2):
            check_order(
                f"exponax ks, ETDRK{order}", exponax, kuramoto_sivashinsky(u.shape), u,
                dt=0.05, steps=200, expected=order, finer=40, case="ks", order=order,
            )

        # A soliton and a wave on it. exponax averages the real part of its contour samples, which is wrong for
        # the imaginary symbol of KdV: its ETDRK4 is of first order (and this check shows it).
        x = 20 * np.arange(512) / 512
        u = (-2 / np.cosh(x - 10) ** 2 + 0.1 * np.cos(np.pi * x / 5))[None]
        check_order(
            "exponax kdv, ETDRK4, first order", exponax, korteweg_de_vries(u.shape), u,
            dt=1e-4, steps=1000, expected=1, case="kdv", order=4,
        )

        w = smooth((1, 64, 64), seed=2)
        for order in (4, 2):
            check_order(
                f"exponax ns2d, ETDRK{order}", exponax, navier_stokes_2d(w.shape, nu=1e-2), 3 * w,
                dt=0.02, steps=50, expected=order, case="ns2d", order=order, nu=1e-2,
            )
            # The scheme named 4 is of second order in the viscous term, which needs a large viscosity to show;
            # a smooth field, because the filter of jax-cfd differs from ours in one row.
            check_order(
                f"jax-cfd ns2d, crank_nicolson_rk{order}", jaxcfd, navier_stokes_2d(w.shape, nu=0.1), w,
                dt=0.1, steps=10, expected=2, case="ns2d", order=order, nu=0.1,
            )

        u = smooth((3, 24, 24, 24), seed=3)
        check_order(
            "exponax ns3d, ETDRK4", exponax, navier_stokes_3d(u.shape, nu=1e-2), u,
            dt=0.05, steps=10, expected=4, case="ns3d", order=4, nu=1e-2,
        )

        pair = np.stack([w, smooth(w.shape, seed=4)])
        settings = dict(case="ns2d", dt=0.01, steps=20, order=4)
        for name, server in (("exponax", exponax), ("jax-cfd", jaxcfd)):
            alone = [server.run(member, **settings) for member in pair]
            difference = np.abs(server.run(pair, batch=2, **settings) - alone).max()
            # Round-off of fields of size ten.
            check(f"{name}, a batch equals its members", difference < 1e-12, f"{difference:.1e}")
        difference = np.abs(single.run(w, **settings) - exponax.run(w, **settings)).max()
        # 80 evaluations with an f32 round-off of about 1e-6 of fields of size ten.
        check("exponax in f32 follows f64", difference < 1e-3, f"{difference:.1e}")

        # J(w_0) = (1/2) mean(w_T^2) after 32 steps: <grad J, d> against a central difference of the reference.
        dt, steps, d = 0.01, 32, smooth(w.shape, seed=5)
        equation = navier_stokes_2d(w.shape, nu=1e-2)

        def loss(w0):
            return 0.5 * np.mean(integrate(equation, w0, dt / 2, 2 * steps) ** 2)

        eps = 1e-4
        slope = (loss(w + eps * d) - loss(w - eps * d)) / (2 * eps)
        for case in ("ns2d_grad", "ns2d_grad_checkpoint"):
            gradient = exponax.run(w, case=case, dt=dt, steps=steps, order=4, nu=1e-2)
            error = abs(np.sum(gradient * d) / slope - 1)
            # eps^2 and the step error of both sides are near 1e-8.
            check(f"exponax {case}", error < 1e-6, f"relative error of the slope {error:.1e}")
    if failures:
        sys.exit(f"{len(failures)} check(s) failed")


if __name__ == "__main__":
    main()
