"""Milliseconds a step of the finite-volume solver of jax-cfd 0.2.1, beside `cargo bench --bench stencil`.

Its `semi_implicit_navier_stokes` has the scheme of our `FiniteVolume`: van Leer's limiter, forward Euler, projection and
implicit diffusion by fast diagonalisation. Kolmogorov flow with drag, n^2 cells, one sample, inside its own
`funcutils.repeated`, a scan. Pin the threads from outside (`taskset -c 0`).

    python jaxcfd_volumes.py [n] [float32|float64]
"""

import sys
import time

import jax

n = int(sys.argv[1]) if len(sys.argv) > 1 else 64
precision = sys.argv[2] if len(sys.argv) > 2 else "float64"
# jax-cfd 0.2.1 calls a name that jax has moved since.
jax.tree_map = jax.tree_util.tree_map
jax.config.update("jax_enable_x64", precision == "float64")

import jax.numpy as jnp
import numpy as np
from jax_cfd.base import equations, finite_differences, forcings, funcutils, grids, initial_conditions

STEPS, ROUNDS = 100, 7
grid = grids.Grid((n, n), domain=((0, 2 * np.pi), (0, 2 * np.pi)))
dt = 0.5 * (2 * np.pi / n) / 7.0
drag = forcings.linear_forcing(grid, -0.1)
kolmogorov = forcings.kolmogorov_forcing(grid, scale=1.0, k=4)
step = equations.implicit_diffusion_navier_stokes(
    density=1.0, viscosity=1e-3, dt=dt, grid=grid, forcing=forcings.sum_forcings(kolmogorov, drag)
)
velocity = initial_conditions.filtered_velocity_field(jax.random.PRNGKey(0), grid, maximum_velocity=7.0)
if precision == "float64":
    velocity = jax.tree_util.tree_map(lambda x: x.astype(jnp.float64), velocity)
run = jax.jit(funcutils.repeated(step, STEPS))
state = jax.block_until_ready(run(velocity))
wall, cpu = [], []
for _ in range(ROUNDS):
    start, used = time.perf_counter(), time.process_time()
    jax.block_until_ready(run(velocity))
    wall.append(time.perf_counter() - start)
    cpu.append(time.process_time() - used)
best = int(np.argmin(cpu))
print(f"jax-cfd FV-{n} {precision}: wall {1e3 * min(wall) / STEPS:.4f} ms, CPU {1e3 * cpu[best] / STEPS:.4f} ms a step")
