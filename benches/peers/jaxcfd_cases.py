"""The 2-D Navier-Stokes cases solved by the spectral solver of jax-cfd 0.2.1. See README.md for the protocol.

Its equation is ours: psi = -lap^-1 w, (u, v) = (psi_y, -psi_x), axis 0 is x, drag -mu w, and the forcing
(A sin(k_f y), 0) on the velocity, of which it takes the curl. Its 2/3 rule drops one row more than ours
(integer modes -21..20 of axis 0 and 0..21 of axis 1 for n = 64).

Order 4 is `crank_nicolson_rk4` (Carpenter-Kennedy, five stages; second order in the viscous term), order 2
`crank_nicolson_rk2`, both inside its own `funcutils.repeated`, a scan.
"""

import server

args = server.start(__doc__.splitlines()[0])

import functools
import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
from jax_cfd.base import forcings, funcutils, grids
from jax_cfd.spectral import equations, time_stepping

SCHEMES = {2: time_stepping.crank_nicolson_rk2, 4: time_stepping.crank_nicolson_rk4}


def build(r):
    if r["case"] != "ns2d":
        raise ValueError(f"case {r['case']!r}: jax-cfd is measured on 'ns2d' only")
    n, batched = r["n"], r.get("batch", 1) > 1
    grid = grids.Grid((n, n), domain=((0, 2 * np.pi), (0, 2 * np.pi)))
    forcing = functools.partial(
        forcings.kolmogorov_forcing,
        scale=r.get("amplitude", 1.0), k=r.get("k_f", 4), offsets=((0, 0), (0, 0)),
    )
    equation = equations.NavierStokes2D(
        r.get("nu", 1e-3), grid, drag=r.get("mu", 0.1), smooth=True, forcing_fn=forcing
    )
    step = SCHEMES[r["order"]](equation, r["dt"])
    if batched:
        step = jax.vmap(step)
    return server.Problem(
        run=funcutils.repeated(step, r["steps"]),
        load=lambda w: jnp.fft.rfftn(w[:, 0] if batched else w[0, 0], axes=(-2, -1)),
        store=lambda w_hat: jnp.fft.irfftn(w_hat, axes=(-2, -1)),
        channels=1,
        dims=2,
    )


versions = {"jax-cfd": importlib.metadata.version("jax-cfd"), "jax": jax.__version__}
server.serve(args, server.compiled(args, build), versions)
