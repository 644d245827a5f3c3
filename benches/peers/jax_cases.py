"""The learned workloads by jax, each step one jitted program. See README.md for the protocol."""

import server

args = server.start(__doc__.splitlines()[0])

import jax
import jax.numpy as jnp
import numpy as np
import workloads

DTYPE = jnp.float64 if args.precision == "f64" else jnp.float32


def linear(x, w, b):
    return jnp.einsum("oi,bixy->boxy", w, x) + b[:, None, None]


def spectral(h, weight, m):
    """Spectral convolution; weight `[2, in, out, m, m, 2]`."""
    n = h.shape[-1]
    h_hat = jnp.fft.rfft2(h, norm="forward")
    kept = jnp.stack([h_hat[:, :, :m, :m], h_hat[:, :, -m:, :m]])
    mixed = jnp.einsum("sbixy,sioxy->sboxy", kept, weight[..., 0] + 1j * weight[..., 1])
    zero = jnp.zeros((*mixed.shape[1:3], n - 2 * m, m), mixed.dtype)
    out = jnp.concatenate([mixed[0], zero, mixed[1]], 2)
    return jnp.fft.irfft2(jnp.pad(out, ((0, 0), (0, 0), (0, 0), (0, n // 2 + 1 - m))), s=(n, n), norm="forward")


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


def fno2d():
    x, target, parameters = workloads.fno2d()
    layers, m = workloads.FNO2D["layers"], workloads.FNO2D["modes"]

    def loss(p, data):
        h = linear(data["x"], p["lift.w"], p["lift.b"])
        for i in range(layers):
            h = spectral(h, p[f"{i}.spectral"], m) + linear(h, p[f"{i}.w"], p[f"{i}.b"])
            h = gelu(h) if i < layers - 1 else h
        h = gelu(linear(h, p["hidden.w"], p["hidden.b"]))
        return jnp.mean((linear(h, p["out.w"], p["out.b"]) - data["target"]) ** 2)

    return loss, parameters, {"x": x, "target": target}, workloads.FNO2D["lr"]


def conv_tower():
    x, weights = workloads.conv_tower()

    def loss(p, data):
        h = data["x"]
        for layer, w in enumerate(p):
            h = jnp.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="wrap")
            h = jax.lax.conv_general_dilated(h, w, (1, 1), "VALID")
            h = jax.nn.relu(h) if layer < len(p) - 1 else h
        return jnp.mean(h * h)

    return loss, weights, {"x": x}, workloads.CONV_TOWER["lr"]


def conv3d():
    x, w = workloads.conv3d()

    def loss(p, data):
        return jnp.mean(jax.lax.conv_general_dilated(p["x"], p["w"], (1, 1, 1), "SAME") ** 2)

    return loss, {"x": x, "w": w}, {}, None


CASES = {"fno2d": fno2d, "conv_tower": conv_tower, "conv3d": conv3d}


def adam(p, g, m, v, t, rate, b1=0.9, b2=0.999, eps=1e-8):
    """One step of Adam for one parameter: its new value and moments."""
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    return p - rate * (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t)) + eps), m, v


def prepare(request):
    loss, parameters, data, rate = CASES[request["case"]]()
    cast = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, DTYPE), tree)
    parameters, data = cast(parameters), cast(data)
    zeros = jax.tree.map(jnp.zeros_like, parameters)

    def step(carry, t):
        p, m, v = carry
        value, gradient = jax.value_and_grad(loss)(p, data)
        if rate is None:
            return (p, gradient, v), value
        leaves, tree = jax.tree.flatten(p)
        updated = [adam(*four, t, rate) for four in zip(leaves, *map(jax.tree.leaves, (gradient, m, v)))]
        return tuple(jax.tree.unflatten(tree, part) for part in zip(*updated)), value

    def forward(carry, t):
        return carry, loss(carry[0], data)

    # A loop in Python, as a training has it. Inside lax.scan XLA runs convolutions and products on one thread.
    program = jax.jit(forward if request.get("part", "step") == "forward" else step)
    start = (parameters, zeros, zeros)
    times = [jnp.asarray(t, DTYPE) for t in range(1, request["steps"] + 1)]
    program = program.lower(start, times[0]).compile()

    def run():
        carry, losses = start, []
        for t in times:
            carry, value = program(carry, t)
            losses.append(value)
        return jax.block_until_ready((carry, losses))

    def array(result):
        tree = result[0][0] if rate is not None else result[0][1]
        return np.concatenate([np.ravel(leaf) for leaf in (tree.values() if isinstance(tree, dict) else tree)])

    run()
    memory = program.memory_analysis()
    held = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    return server.Runner(
        reset=lambda: None,
        run=run,
        facts=lambda result: {"peak_mib": held / 2**20, "losses": [float(value) for value in result[1][:3]]},
        array=array,
    )


server.serve(args, prepare, {"jax": jax.__version__})
