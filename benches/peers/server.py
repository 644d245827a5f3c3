"""A measuring server: one JSON request a line on stdin, one JSON answer a line on stdout.

The Rust harness starts one server per peer and precision and alternates: one measurement of ours,
one of theirs, and so on, so that both sides meet the same disturbances of the machine.

`start()` must run before `import jax`: it pins the process to its cores and sets the flags that XLA reads
once. `serve(build)` then answers requests until stdin closes.
"""

import argparse
import json
import os
import resource
import sys
import time
from typing import NamedTuple


class Problem(NamedTuple):
    """One request, made ready to run.

    `run(state)` is compiled ahead of time and returns the new state; `load` takes the physical field
    `[batch, channels, n, ...]` to the peer's state, `store` takes the result of `run` back.
    """

    run: object
    load: object
    store: object
    channels: int
    dims: int


def start(description):
    """Reads the command line, pins the process, sets the flags of XLA. Returns the arguments."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--precision", choices=("f32", "f64"), required=True)
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1)
    args = parser.parse_args()

    cores = sorted(os.sched_getaffinity(0))[: args.threads]
    if len(cores) < args.threads:
        sys.exit(f"--threads {args.threads}: this process may use {len(cores)} core(s) only")
    os.sched_setaffinity(0, cores)

    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_X64"] = "1" if args.precision == "f64" else "0"
    # NPROC sizes the thread pool of the CPU client; the flags keep Eigen from using more.
    os.environ["NPROC"] = str(args.threads)
    if args.threads == 1:
        os.environ["XLA_FLAGS"] = (
            "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
    return args


def serve(args, build, versions):
    """Answers requests until stdin closes. `build(request)` returns the `Problem` of a request."""
    import jax
    import numpy as np

    dtype = np.float64 if args.precision == "f64" else np.float32
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    problems = {}

    def ready(request):
        """The compiled problem and its initial state, built and warmed up on first use."""
        # Where the result goes does not change the problem; everything else does.
        key = json.dumps({k: v for k, v in request.items() if k != "final"}, sort_keys=True)
        if key not in problems:
            problem = build(request)
            shape = (request.get("batch", 1), problem.channels, *[request["n"]] * problem.dims)
            field = initial_field(request, shape).astype(dtype)
            state = jax.block_until_ready(problem.load(field))
            compiled = jax.jit(problem.run).lower(state).compile()
            jax.block_until_ready(compiled(state))  # the warm-up
            problems[key] = compiled, state, problem.store, field.shape
        return problems[key]

    def answer(request):
        if request.get("precision", args.precision) != args.precision:
            raise ValueError(f"this server computes in {args.precision}")
        compiled, state, store, shape = ready(request)

        cpu, wall = time.process_time(), time.perf_counter()
        result = jax.block_until_ready(compiled(state))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

        if "final" in request:
            np.save(request["final"], np.asarray(store(result)).reshape(shape))
        memory = compiled.memory_analysis()
        temporaries = memory.temp_size_in_bytes
        held = temporaries + memory.argument_size_in_bytes + memory.output_size_in_bytes
        return {
            "wall_us_per_step": 1e6 * wall / request["steps"],
            "cpu_us_per_step": 1e6 * cpu / request["steps"],
            "peak_mib": held / 2**20,
            "temp_mib": temporaries / 2**20,
            "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        }

    def say(message):
        print(json.dumps(message), file=answers, flush=True)

    say({"ready": True, "precision": args.precision, "threads": args.threads, "versions": versions})
    for line in sys.stdin:
        try:
            say(answer(json.loads(line)))
        except Exception as error:  # the harness decides what a failed case means
            say({"error": f"{type(error).__name__}: {error}"})


def initial_field(request, shape):
    """The field named by the request, else a smooth random one: the modes 0 <= m_i <= 4, seed 0.

    A file holds `[batch, channels, n, ...]`; axes of length one may be left out. Component i of a random vector
    field does not vary along axis i, so that its divergence is zero.
    """
    import numpy as np

    if "initial" in request:
        return np.load(request["initial"]).reshape(shape)
    batch, channels, n = shape[:3]
    dims = len(shape) - 2
    rng = np.random.default_rng(0)
    x = np.meshgrid(*[2 * np.pi * np.arange(n) / n] * dims, indexing="ij", sparse=True)
    modes = [m for m in np.ndindex(*[5] * dims) if any(m)]
    field = np.zeros(shape)
    for member, channel in zip(field.reshape(-1, *shape[2:]), batch * list(range(channels))):
        for m in modes:
            if channels > 1 and m[channel]:
                continue
            phase = sum(mi * xi for mi, xi in zip(m, x)) + rng.uniform(0, 2 * np.pi)
            member += rng.normal() * np.sin(phase) / len(modes) ** 0.5
    return field
