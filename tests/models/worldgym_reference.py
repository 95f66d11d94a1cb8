"""The published formulas once more, slowly, in NumPy and float64; written from the description.

published_method.md 2.1 to 2.3: one frame, one patch, one head at a time; no cache, no batching.
"""

from itertools import pairwise

import numpy as np


def linear(w, name, x):
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def turn(x, position, kind):
    """Rotate pair (2i, 2i+1) of one axis' share of a head."""
    pairs = len(x) // 2
    out = np.empty_like(x)
    for i in range(pairs):
        if kind == "standard":
            angle = position * 10000 ** (-i / pairs)
        else:
            angle = position * np.pi * (1 + 127 * i / (pairs - 1))
        a, b = x[2 * i], x[2 * i + 1]
        out[2 * i] = a * np.cos(angle) - b * np.sin(angle)
        out[2 * i + 1] = b * np.cos(angle) + a * np.sin(angle)
    return out


def turn_patch(x, row, column, side, kind):
    if kind == "pixel":
        row, column = (-1 + 2 * v / (side - 1) for v in (row, column))
    half = len(x) // 2
    return np.concatenate([turn(x[:half], row, kind), turn(x[half:], column, kind)])


def attend(q, k, v, allowed):
    scores = q @ k.T / np.sqrt(q.shape[-1])
    scores = np.where(allowed, scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True) @ v


def attention(w, name, x, heads, turned, allowed):
    """x (n, E); turned(vector, index) applies the positions."""
    width = x.shape[-1] // heads
    q, k, v = np.split(linear(w, f"{name}.qkv_proj", x), 3, axis=-1)
    found = np.empty_like(x)
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        qh = np.stack([turned(vector, i) for i, vector in enumerate(q[:, part])])
        kh = np.stack([turned(vector, i) for i, vector in enumerate(k[:, part])])
        found[:, part] = attend(qh, kh, v[:, part], allowed)
    return linear(w, f"{name}.out_proj", found)


def block(w, name, x, c, over):
    """x (T, P, E), c (T, E); over(y) is the attention over one axis."""
    m = np.split(linear(w, f"{name}.adaLN_modulation.1", silu(c))[:, None], 6, axis=-1)
    x = x + over(norm(x) * (1 + m[1]) + m[0]) * m[2]
    hidden = gelu_tanh(linear(w, f"{name}.ffwd.0", norm(x) * (1 + m[4]) + m[3]))
    return x + linear(w, f"{name}.ffwd.2", hidden) * m[5]


def predict(w, config, latents_TCHW, levels_T, actions_TA, *, leaking=False):
    """Return v (T, C, H, W) of one rollout."""
    T, C, H, W = latents_TCHW.shape
    p, side = config.patch, H // config.patch
    x = np.empty((T, side * side, config.embedding))
    for t in range(T):
        for i in range(side * side):
            r, s = divmod(i, side)
            patch = latents_TCHW[t, :, r * p : (r + 1) * p, s * p : (s + 1) * p]
            x[t, i] = (w["x_proj.weight"] * patch).sum((1, 2, 3)) + w["x_proj.bias"]
    frequency = np.exp(-np.log(10000) * np.arange(128) / 128)
    angles = levels_T[:, None] * frequency
    c = np.concatenate([np.cos(angles), np.sin(angles)], -1)
    c = linear(w, "timestep_mlp.2", silu(linear(w, "timestep_mlp.0", c)))
    c = c + linear(w, "action_embedder", actions_TA)
    age = np.arange(T)[:, None] - np.arange(T)[None]
    seen = np.ones_like(age, bool) if leaking else (age >= 0) & (age < config.window)
    everything = np.ones((side * side,) * 2, bool)

    def in_space(vector, i):
        return turn_patch(vector, *divmod(i, side), side, config.rotary)

    def in_time(vector, t):
        return turn(vector, t, "standard")

    for n in range(config.depth):
        s, t = f"blocks.{n}.s_block", f"blocks.{n}.t_block"
        x = block(w, s, x, c, lambda y, s=s: np.stack(
            [attention(w, f"{s}.attn", f, config.heads, in_space, everything) for f in y]
        ))  # fmt: skip
        x = block(w, t, x, c, lambda y, t=t: np.stack(
            [attention(w, f"{t}.attn", y[:, i], config.heads, in_time, seen)
             for i in range(y.shape[1])], axis=1
        ))  # fmt: skip
    shift, scale = np.split(
        linear(w, "final_layer.adaLN_modulation.1", silu(c))[:, None], 2, axis=-1
    )
    x = linear(w, "final_layer.linear", norm(x) * (1 + scale) + shift)
    out = np.empty((T, C, H, W))
    for t in range(T):
        for i in range(side * side):
            r, s = divmod(i, side)
            patch = x[t, i].reshape(p, p, C).transpose(2, 0, 1)
            out[t, :, r * p : (r + 1) * p, s * p : (s + 1) * p] = patch
    return out


def signal_shares():
    """Cumulative alpha of the sigmoid schedule, start -3, end 3, tau 1."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    t = np.linspace(0, 1, 1001)
    share = (sigmoid(3) - sigmoid(t * 6 - 3)) / (sigmoid(3) - sigmoid(-3))
    beta = np.clip(1 - share[1:] / share[:-1], 0, 0.999)
    return np.cumprod(1 - beta)


def sample(w, config, start_CHW, actions_TA, noise_TCHW, *, steps=10, guidance=3.0, window=None):
    """Return frames 1 .. T of one rollout, everything computed again at every step.

    `actions_TA` (T + 1, A): the action of slot t leads to frame t. Causal; with a `window` frames
    before it are cut off, as the published code does.
    """
    shares = signal_shares()
    grid = np.linspace(-1, 999, steps + 1).astype(int)[::-1]
    frames = [start_CHW]
    null = np.zeros_like(actions_TA)
    null[:, -1] = 1
    for n, noise in enumerate(noise_TCHW, start=1):
        first = max(0, n + 1 - window) if window else 0
        x = noise
        for level, lower in pairwise(grid):
            past = np.sqrt(shares[14]) * np.stack(frames[first:])
            latents = np.concatenate([past, x[None]])
            levels = np.array([14] * len(past) + [level])
            slots = slice(first, n + 1)
            v = predict(w, config, latents, levels, actions_TA[slots])[-1]
            if guidance != 1:
                v_null = predict(w, config, latents, levels, null[slots])[-1]
                v = (1 - guidance) * v_null + guidance * v
            a, b = shares[level], shares[lower] if lower >= 0 else 1.0
            clean = np.sqrt(a) * x - np.sqrt(1 - a) * v
            dirt = (np.sqrt(1 / a) * x - clean) / np.sqrt(1 / a - 1)
            x = np.sqrt(b) * clean + np.sqrt(1 - b) * dirt
        frames.append(x)
    return np.stack(frames[1:])
