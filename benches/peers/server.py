"""A measuring server: one JSON request a line on stdin, one JSON answer a line on stdout.

The Rust harness starts one server per peer and precision and alternates: one measurement of ours,
one of theirs, and so on, so that both sides meet the same disturbances of the machine.

`start()` must run before `import jax` or `import torch`: it pins the process to its cores and sets what XLA and OpenMP read
once. `serve(args, prepare)` then answers requests until stdin closes.
"""

import argparse
import json
import os
import resource
import sys
import time
from typing import NamedTuple


class Problem(NamedTuple):
    """One request of the solvers in jax, made ready to compile.

    `run(state)` is compiled ahead of time and returns the new state; `load` takes the physical field
    `[batch, channels, n, ...]` to the peer's state, `store` takes the result of `run` back.
    """

    run: object
    load: object
    store: object
    channels: int
    dims: int


class Runner(NamedTuple):
    """One request, compiled and warmed up.

    `reset()` goes back to the start, off the clock; `run()` takes the steps and returns when they are done. `facts(result)` are the
    entries of the answer besides the times, `array(result)` is what `final` asks for.
    """

    reset: object
    run: object
    facts: object
    array: object


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

    # OpenMP of PyTorch: one thread a core. Unpinned, both workers of its pool often share one.
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ["OMP_PROC_BIND"] = "true"
    os.environ["OMP_PLACES"] = ",".join(f"{{{core}}}" for core in cores)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_X64"] = "1" if args.precision == "f64" else "0"
    # NPROC sizes the thread pool of the CPU client; the flags keep Eigen from using more.
    os.environ["NPROC"] = str(args.threads)
    if args.threads == 1:
        os.environ["XLA_FLAGS"] = (
            "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
    return args


def serve(args, prepare, versions):
    """Answers requests until stdin closes. `prepare(request)` returns the `Runner` of a request."""
    import numpy as np

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    runners = {}

    def answer(request):
        if request.get("precision", args.precision) != args.precision:
            raise ValueError(f"this server computes in {args.precision}")
        # Where the result goes does not change the problem; everything else does.
        key = json.dumps({k: v for k, v in request.items() if k != "final"}, sort_keys=True)
        if key not in runners:
            runners[key] = prepare(request)
        runner = runners[key]

        runner.reset()
        cpu, wall = time.process_time(), time.perf_counter()
        result = runner.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

        if "final" in request:
            np.save(request["final"], runner.array(result))
        return {
            "wall_us_per_step": 1e6 * wall / request["steps"],
            "cpu_us_per_step": 1e6 * cpu / request["steps"],
            **runner.facts(result),
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


def compiled(args, build):
    """`prepare` of `serve` for the `Problem`s that `build(request)` returns."""
    import numpy as np

    dtype = np.float64 if args.precision == "f64" else np.float32

    def prepare(request):
        problem = build(request)
        shape = (request.get("batch", 1), problem.channels, *[request["n"]] * problem.dims)
        field = initial_field(request, shape).astype(dtype)
        state = problem.load(field)
        return jitted(problem.run, state, lambda result: np.asarray(problem.store(result)).reshape(shape))

    return prepare


def jitted(run, state, array, facts=lambda result: {}):
    """The `Runner` of a pure function of a state in jax, compiled and warmed up."""
    import jax

    state = jax.block_until_ready(state)
    program = jax.jit(run).lower(state).compile()
    jax.block_until_ready(program(state))
    memory = program.memory_analysis()
    temporaries = memory.temp_size_in_bytes
    held = temporaries + memory.argument_size_in_bytes + memory.output_size_in_bytes
    sizes = {"peak_mib": held / 2**20, "temp_mib": temporaries / 2**20}
    return Runner(
        reset=lambda: None,
        run=lambda: jax.block_until_ready(program(state)),
        facts=lambda result: {**sizes, **facts(result)},
        array=array,
    )


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
