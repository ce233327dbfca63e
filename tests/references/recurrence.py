"""Recurrences as Python loops over one sequence, nothing hoisted, in float64."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x, params):
    """x (L, C) -> (L, hidden); reset after the product."""
    w, b, u, bn = (np.asarray(params[k], float) for k in ('input_kernel', 'input_bias', 'recurrent_kernel', 'recurrent_bias'))
    n = u.shape[0]
    h, out = np.zeros(n), []
    for at in np.asarray(x, float):
        r = sigmoid(at @ w[:, :n] + b[:n] + h @ u[:, :n])
        z = sigmoid(at @ w[:, n:2 * n] + b[n:2 * n] + h @ u[:, n:2 * n])
        c = np.tanh(at @ w[:, 2 * n:] + b[2 * n:] + r * (h @ u[:, 2 * n:] + bn))
        h = (1 - z) * c + z * h
        out.append(h)
    return np.stack(out)


def lstm(x, params):
    """x (L, C) -> (L, hidden)."""
    w, b, u = (np.asarray(params[k], float) for k in ('input_kernel', 'input_bias', 'recurrent_kernel'))
    n = u.shape[0]
    h, c, out = np.zeros(n), np.zeros(n), []
    for at in np.asarray(x, float):
        i, f, g, o = np.split(at @ w + b + h @ u, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out)


def renet(x, params, cell, layers):
    """x (H, W, C): rows from both ends, then columns from both ends, line by line."""
    run = {'gru': gru, 'lstm': lstm}[cell]

    def sweep(x, name):
        return np.stack([np.concatenate([run(line, params[f'{name}_forward']), run(line[::-1], params[f'{name}_backward'])[::-1]],
                                        -1) for line in x])

    for index in range(layers):
        x = sweep(x, f'rows{index}')
        x = sweep(x.swapaxes(0, 1), f'columns{index}').swapaxes(0, 1)
    return x
