"""Writes derivatives of small coordinate networks and their gradients by nested automatic differentiation in float64.

    pip install jax==0.10.2 numpy
    python tests/golden/make_jets.py

Each case: parameters in the order of `parseval::jet::Mlp` (`ModifiedMlp`, `PirateNet`), points (x, t), derivatives u, u_x, .., u_xxxx, u_t, u_tt,
random cotangents of them, and the gradient of their inner product.
"""

import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

LENGTH, MODES, FROM, TO, WIDTH, DEPTH, OUTPUTS = 3.0, 2, -0.5, 1.5, 5, 2, 2
FEATURES = 2 * MODES + 1


def unpack(theta, scaled):
    layers, at, inputs = [], 0, FEATURES
    for layer in range(DEPTH + 1):
        hidden = layer < DEPTH
        outputs = WIDTH if hidden else OUTPUTS
        weight = theta[at : at + outputs * inputs].reshape(outputs, inputs)
        at += outputs * inputs
        bias = theta[at : at + outputs]
        at += outputs
        scale = 1.0
        if hidden and scaled:
            scale = theta[at]
            at += 1
        layers.append((weight, bias, scale))
        inputs = outputs
    assert at == len(theta)
    return layers


def network(theta, x, t, function, scaled):
    h = features(x, t)
    layers = unpack(theta, scaled)
    for weight, bias, scale in layers[:-1]:
        h = function(scale * (weight @ h + bias))
    weight, bias, _ = layers[-1]
    return weight @ h + bias


def derivatives(theta, x, t, model):
    u = lambda x, t: model(theta, x, t)
    along_x, along_t = [u], [u]
    for _ in range(4):
        along_x.append(jax.jacfwd(along_x[-1], 0))
    for _ in range(2):
        along_t.append(jax.jacfwd(along_t[-1], 1))
    return jnp.stack([f(x, t) for f in along_x + along_t[1:]])


def features(x, t):
    phase = [2 * math.pi * m / LENGTH * x for m in range(1, MODES + 1)]
    return jnp.stack([f(p) for p in phase for f in (jnp.cos, jnp.sin)] + [2 * (t - FROM) / (TO - FROM) - 1])


class Reader:
    """Takes tensors off theta in order."""

    def __init__(self, theta):
        self.theta, self.at = theta, 0

    def take(self, *shape):
        size = math.prod(shape)
        self.at += size
        return self.theta[self.at - size : self.at].reshape(shape)

    def dense(self, h, outputs, function=lambda z: z):
        weight = self.take(outputs, h.shape[0])
        return function(weight @ h + self.take(outputs))


FOURIER = 6


def modified(theta, x, t):
    reader = Reader(theta)
    h = reader.dense(features(x, t), FOURIER, jnp.sin)
    u = reader.dense(h, WIDTH, jnp.tanh)
    v = reader.dense(h, WIDTH, jnp.tanh)
    for _ in range(DEPTH):
        z = reader.dense(h, WIDTH, jnp.tanh)
        h = z * u + (1 - z) * v
    h = reader.dense(h, OUTPUTS)
    assert reader.at == len(theta)
    return h


def pirate(theta, x, t):
    reader = Reader(theta)
    h = reader.dense(features(x, t), FOURIER, jnp.sin)
    u = reader.dense(h, FOURIER, jnp.tanh)
    v = reader.dense(h, FOURIER, jnp.tanh)
    for _ in range(2):
        z = h
        for layer in range(3):
            z = reader.dense(z, FOURIER, jnp.tanh)
            if layer < 2:
                z = z * u + (1 - z) * v
        alpha = reader.take(1)[0]
        h = alpha * z + (1 - alpha) * h
    h = reader.dense(h, OUTPUTS)
    assert reader.at == len(theta)
    return h


def plain(function, scaled):
    return lambda theta, x, t: network(theta, x, t, function, scaled)


PLAIN = WIDTH * FEATURES + WIDTH + (DEPTH - 1) * (WIDTH * WIDTH + WIDTH) + OUTPUTS * WIDTH + OUTPUTS
EMBEDDING = FOURIER * FEATURES + FOURIER
GATED = 3 * (FOURIER * WIDTH + WIDTH) + (DEPTH - 1) * (WIDTH * WIDTH + WIDTH) + OUTPUTS * WIDTH + OUTPUTS
PIRATE = 8 * (FOURIER * FOURIER + FOURIER) + 2 + OUTPUTS * FOURIER + OUTPUTS

cases = {}
rng = np.random.default_rng(7)
for name, model, count in [
    ("tanh", plain(jnp.tanh, False), PLAIN),
    ("sin", plain(jnp.sin, True), PLAIN + DEPTH),
    ("tanh_scaled", plain(jnp.tanh, True), PLAIN + DEPTH),
    ("modified", modified, EMBEDDING + GATED),
    ("pirate", pirate, EMBEDDING + PIRATE),
]:
    theta = 0.6 * rng.standard_normal(count)
    points = rng.uniform(-1.0, 2.0, (3, 2))
    cotangents = rng.standard_normal((3, 7, OUTPUTS)) / np.array([1, 1, 10, 100, 1000, 1, 1])[:, None]
    jets = lambda theta: jax.vmap(lambda p: derivatives(theta, p[0], p[1], model))(jnp.asarray(points))
    gradient = jax.grad(lambda theta: jnp.sum(jets(theta) * cotangents))(jnp.asarray(theta))
    arrays = dict(theta=theta, points=points, jets=jets(theta), cotangents=cotangents, gradient=gradient)
    cases[name] = {key: np.asarray(value).ravel().tolist() for key, value in arrays.items()}

path = pathlib.Path(__file__).parent / "jets.json"
path.write_text(json.dumps(cases).replace("], ", "],\n") + "\n")
