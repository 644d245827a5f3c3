"""The learned workloads that every peer and we compute: shapes, start values, hyper-parameters. README.md defines the networks.

The start values follow a formula instead of a generator of random numbers, so that every language makes the same ones.
"""

import math

import numpy as np


def pattern(shape, scale, seed):
    """Values in [-scale, scale): entry i of the flat array is scale (((7919 (i + 131 seed)) mod 1009) / 504.5 - 1)."""
    i = np.arange(math.prod(shape), dtype=np.int64) + 131 * seed
    return (scale * (7919 * i % 1009 / 504.5 - 1)).reshape(shape)


FNO2D = {"width": 32, "modes": 16, "layers": 4, "n": 64, "batch": 16, "channels": 3, "lr": 1e-3}
CONV_TOWER = {"channels": 64, "layers": 6, "n": 64, "batch": 8, "lr": 1e-4}
CONV3D = {"channels": 16, "n": 32, "batch": 2}


def fno2d():
    """Input, target, and the parameters in their order."""
    c, w, m, n, b = (FNO2D[key] for key in ("channels", "width", "modes", "n", "batch"))
    shapes = {"lift.w": (w, c), "lift.b": (w,)}
    for i in range(FNO2D["layers"]):
        shapes |= {f"{i}.spectral": (2, w, w, m, m, 2), f"{i}.w": (w, w), f"{i}.b": (w,)}
    shapes |= {"hidden.w": (128, w), "hidden.b": (128,), "out.w": (1, 128), "out.b": (1,)}
    scales = {"lift.w": 1.0, "spectral": 1 / w, "w": 0.2, "b": 0.1}
    parameters = {
        name: pattern(shape, scales.get(name, scales[name.split(".")[1]]), seed)
        for seed, (name, shape) in enumerate(shapes.items(), 2)
    }
    return pattern((b, c, n, n), 1.0, 0), pattern((b, 1, n, n), 1.0, 1), parameters


def conv_tower():
    """Input and the parameters."""
    c, n, b = CONV_TOWER["channels"], CONV_TOWER["n"], CONV_TOWER["batch"]
    return pattern((b, c, n, n), 1.0, 0), [pattern((c, c, 3, 3), 0.07, 0)] * CONV_TOWER["layers"]


def conv3d():
    """Input and weight."""
    c, n, b = CONV3D["channels"], CONV3D["n"], CONV3D["batch"]
    return pattern((b, c, n, n, n), 1.0, 0), pattern((c, c, 3, 3, 3), 0.07, 0)
