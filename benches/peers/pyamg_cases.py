"""pyamg on a matrix that `cargo bench --bench linsolve -- --peer PYTHON` wrote: pyamg_cases.py DIRECTORY LABEL TOLERANCE.

Smoothed aggregation as a preconditioner of conjugate gradients, pyamg's defaults, one thread. Prints a row of the benchmark's table.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pyamg
import scipy.sparse as sp

directory, label, tolerance = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
data, indices, indptr, b = (np.load(directory / f"{name}.npy") for name in ("data", "indices", "indptr", "b"))
a = sp.csr_matrix((data, indices, indptr), shape=(b.size, b.size))

start = time.perf_counter()
solver = pyamg.smoothed_aggregation_solver(a)
setup = time.perf_counter() - start

residuals = []
start, start_cpu = time.perf_counter(), time.process_time()
x = solver.solve(b, tol=tolerance, accel="cg", maxiter=200, residuals=residuals)
wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu

relative = np.array(residuals) / np.linalg.norm(b)


def first(limit):
    below = np.flatnonzero(relative <= limit)
    return str(below[0]) if below.size else "-"


residual = np.linalg.norm(b - a @ x) / np.linalg.norm(b)
counts = f"{first(1e-4):>4} / {first(1e-6):>4} / {len(residuals) - 1:>4}"
print(f"| {label} | {'pyamg SA + CG':<20} | {counts} | {setup:>8.4f} | {wall:>8.4f} | {cpu:>8.4f} | {residual:>8.1e} |    - |")
