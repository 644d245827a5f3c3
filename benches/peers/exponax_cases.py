"""The benchmark cases solved by exponax 0.2.0. See README.md for the protocol.

Every case is defined by *our* equation (the docstrings below); what is passed to exponax is the
translation. Its fastest form is used: `step_fourier` inside one jitted `lax.scan`, so that no transform is
spent between steps, and `vmap` over a batch.
"""

import server

args = server.start(__doc__.splitlines()[0])

import exponax as ex
import jax
import jax.numpy as jnp
import numpy as np


def dealiasing_fraction(n):
    """The fraction that makes exponax keep the modes |m| <= K of the 2/3 rule, the largest K with 3K < n.

    exponax keeps |m| <= fraction * n/2 - 1. Its default 2/3 gives K - 1; half a mode above K makes the
    comparison safe from rounding.
    """
    k = (n - 1) // 3
    return (k + 1.5) / (n / 2)


def kuramoto_sivashinsky(r):
    """u_t = -(1/2)(u^2)_x - u_xx - u_xxxx on [0, L): the same in exponax."""
    return ex.stepper.KuramotoSivashinskyConservative(
        1, r.get("length", 60.0), r["n"], r["dt"],
        order=r["order"], dealiasing_fraction=dealiasing_fraction(r["n"]),
    )


def korteweg_de_vries(r):
    """u_t - 6 u u_x + u_xxx = 0 on [0, L).

    The default hyper-diffusion of exponax is switched off; its conservative form saves one transform in
    three against its default form.
    """
    return ex.stepper.KortewegDeVries(
        1, r.get("length", 20.0), r["n"], r["dt"],
        convection_scale=-6.0, dispersivity=1.0, diffusivity=0.0, hyper_diffusivity=0.0,
        conservative=True, order=r["order"], dealiasing_fraction=dealiasing_fraction(r["n"]),
    )


def navier_stokes_2d(r):
    """w_t + u.grad w = nu lap w - mu w - A k_f cos(k_f y), -lap psi = w, (u, v) = (psi_y, -psi_x), box 2 pi.

    exponax solves w_t + b (psi'_y w_x - psi'_x w_y) = lambda w + nu lap w - k_f A cos(k_f y) with
    psi' = lap^-1 w = -psi: b = -1 and lambda = -mu make it ours, with no exchange of axes or signs.
    """
    return ex.stepper.KolmogorovFlowVorticity(
        2, 2 * np.pi, r["n"], r["dt"],
        convection_scale=-1.0, diffusivity=r.get("nu", 1e-3), drag=-r.get("mu", 0.1),
        injection_mode=r.get("k_f", 4), injection_scale=r.get("amplitude", 1.0),
        order=r["order"], dealiasing_fraction=dealiasing_fraction(r["n"]),
    )


def navier_stokes_3d(r):
    """u_t = P(u x curl u) + nu lap u, div u = 0, box 2 pi, channels (u, v, w): the same in exponax."""
    return ex.stepper.NavierStokesVelocity(
        3, 2 * np.pi, r["n"], r["dt"],
        diffusivity=r.get("nu", 1e-2), order=r["order"],
        dealiasing_fraction=dealiasing_fraction(r["n"]),
    )


STEPPERS = {
    "ks": kuramoto_sivashinsky,
    "kdv": korteweg_de_vries,
    "ns2d": navier_stokes_2d,
    "ns3d": navier_stokes_3d,
    "ns2d_grad": navier_stokes_2d,
    "ns2d_grad_checkpoint": navier_stokes_2d,
}


def build(r):
    stepper = STEPPERS[r["case"]](r)
    dims, n, steps = stepper.num_spatial_dims, r["n"], r["steps"]
    fft = jax.vmap(lambda u: ex.fft(u, num_spatial_dims=dims))
    ifft = jax.vmap(lambda u: ex.ifft(u, num_spatial_dims=dims, num_points=n))
    batched = r.get("batch", 1) > 1
    step = jax.vmap(stepper.step_fourier) if batched else stepper.step_fourier

    def advance(u_hat, step=step):
        return jax.lax.scan(lambda u, _: (step(u), None), u_hat, None, length=steps)[0]

    if not r["case"].startswith("ns2d_grad"):
        # Without a batch the leading axis of length one is dropped: vmap is not free.
        load = (lambda u: fft(u)) if batched else (lambda u: fft(u)[0])
        store = ifft if batched else (lambda u: ifft(u[None]))
        return server.Problem(advance, load, store, stepper.num_channels, dims)

    if batched:
        raise ValueError("the gradient cases take batch = 1")
    # The lambda because a bound method of a module with arrays inside cannot be hashed.
    one = jax.checkpoint(lambda u: step(u)) if r["case"].endswith("checkpoint") else step

    def loss(w):
        """J(w_0) = (1/2) mean(w_T^2)."""
        w_hat = advance(ex.fft(w, num_spatial_dims=2), one)
        return 0.5 * jnp.mean(ex.ifft(w_hat, num_spatial_dims=2, num_points=n) ** 2)

    return server.Problem(jax.grad(loss), lambda u: jnp.asarray(u[0]), lambda g: g, 1, 2)


server.serve(args, server.compiled(args, build), {"exponax": ex.__version__, "jax": jax.__version__})
