"""Recurrences in the plane as their papers write them: one position after the other."""

import numpy as np

from tests.references.recurrence import recur, sigmoid

# Flipped axes of (B, H, W, C) that bring each corner to the upper left.
CORNERS = ((), (1,), (2,), (1, 2))


def four_way_rnn(cell: str, x: np.ndarray, params: dict) -> list[np.ndarray]:
    """What is read to the right, to the left, down and up: four times (B, H, W, hidden)."""
    rows = [np.stack([recur(cell, x[:, i], params[name], reverse=reverse)
                      for i in range(x.shape[1])], 1)
            for name, reverse in (('right', False), ('left', True))]
    columns = [np.stack([recur(cell, x[:, :, j], params[name], reverse=reverse)
                         for j in range(x.shape[2])], 2)
               for name, reverse in (('down', False), ('up', True))]
    return rows + columns


def path(height: int, width: int, order: str, *, by_columns: bool = False) -> list[tuple[int, int]]:
    """The positions in the order in which a line through the map visits them."""
    if by_columns:
        return [(i, j) for j, i in path(width, height, order)]
    visited = []
    for i in range(height):
        row = [(i, j) for j in range(width)]
        visited += row[::-1] if order == 'snake' and i % 2 else row
    return visited


def flattened_scan(cell: str, x: np.ndarray, params: dict, *, order: str,
                   transposed: bool = True) -> list[np.ndarray]:
    """What each reading of the line gives: two or four times (B, H, W, hidden)."""
    parts = []
    for name in ('rows', 'columns') if transposed else ('rows',):
        visited = path(*x.shape[1:3], order, by_columns=name == 'columns')
        line = np.stack([x[:, i, j] for i, j in visited], 1)
        for way in ('forward', 'backward'):
            y = recur(cell, line, params[f'{name}_{way}'], reverse=way == 'backward')
            part = np.zeros((*x.shape[:3], y.shape[-1]), y.dtype)
            for t, (i, j) in enumerate(visited):
                part[:, i, j] = y[:, t]
            parts.append(part)
    return parts


def mdrnn(cell: str, x: np.ndarray, params: dict) -> list[np.ndarray]:
    """The recurrence from each corner: four of (B, H, W, hidden), by parameters with 4 in front."""
    step = {'linear': linear_step, 'gru': gru_step}[cell]
    parts = []
    for corner, axes in enumerate(CORNERS):
        own = {'kernel': params['input']['kernel'][corner], 'bias': params['input']['bias'][corner],
               **{name: value[corner] for name, value in params.items() if name != 'input'}}
        parts.append(np.flip(from_upper_left(step, np.flip(x, axes), own), axes))
    return parts


def from_upper_left(step, x: np.ndarray, params: dict) -> np.ndarray:
    h = {}
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            h[i, j] = step(x[:, i, j], h.get((i - 1, j), 0.0), h.get((i, j - 1), 0.0), params)
    rows = [np.stack([h[i, j] for j in range(x.shape[2])], 1) for i in range(x.shape[1])]
    return np.stack(rows, 1)


def linear_step(x: np.ndarray, up, left, params: dict) -> np.ndarray:
    a, b, c, value = np.split(x @ params['kernel'] + params['bias'][None], 4, -1)
    total = np.exp(a) + np.exp(b) + np.exp(c)
    return (np.exp(a) * up + np.exp(b) * left + np.exp(c) * value) / total


def gru_step(x: np.ndarray, up, left, params: dict) -> np.ndarray:
    x_r, x_z, x_n = np.split(x @ params['kernel'] + params['bias'][None], 3, -1)
    u_r, u_z, u_n = np.split(params['recurrent_kernel'], 3, -1)
    h = (up + left) / 2 + np.zeros_like(x_r)
    r, z = sigmoid(x_r + h @ u_r), sigmoid(x_z + h @ u_z)
    n = np.tanh(x_n + r * (h @ u_n + params['recurrent_bias'][None]))
    return (1 - z) * n + z * h


def fold(x: np.ndarray, patch: int) -> np.ndarray:
    """Windows of patch x patch positions, the border repeated, one after the other as channels."""
    rows, columns = (-(-side // patch) for side in x.shape[1:3])
    out = np.zeros((x.shape[0], rows, columns, patch * patch * x.shape[3]), x.dtype)
    for i in range(rows):
        for j in range(columns):
            window = [x[:, min(i * patch + di, x.shape[1] - 1), min(j * patch + dj, x.shape[2] - 1)]
                      for di in range(patch) for dj in range(patch)]
            out[:, i, j] = np.concatenate(window, -1)
    return out


def merge(kind: str, x: np.ndarray, y: np.ndarray, params: dict, *, patch: int = 1) -> np.ndarray:
    """y alone or added to x; with patches a position takes the vector of its patch."""
    def linear(name, x):
        return x @ params[name]['kernel'] + params[name]['bias'][None]

    if patch > 1:
        width, windows = y.shape[-1], linear('unfold', y)
        y = np.zeros((*x.shape[:3], width), y.dtype)
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                place = (i % patch) * patch + j % patch
                y[:, i, j] = windows[:, i // patch, j // patch, place * width:(place + 1) * width]
    if kind == 'gated':
        gate = linear('gate', x)
        y = y * gate * sigmoid(gate)
    return y if kind == 'replace' else x + linear('out', y)


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution with zeros around the map, as deep learning has it (no kernel is flipped)."""
    margin = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    out = np.zeros((*x.shape[:3], kernel.shape[-1]), x.dtype)
    for i, j in np.ndindex(x.shape[1:3]):
        for di, dj in np.ndindex(kernel.shape[:2]):
            out[:, i, j] += padded[:, i + di, j + dj] @ kernel[di, dj]
    return out


def conv_gru(x: np.ndarray, params: dict) -> list[np.ndarray]:
    """Outputs of a ConvGRU: (B, T, H, W, C) -> T times (B, H, W, hidden)."""
    w_z, w_r, w_n = np.split(params['input']['kernel'], 3, -1)
    b_z, b_r, b_n = np.split(params['bias'], 3)
    u_z, u_r = np.split(params['state']['kernel'], 2, -1)
    u_n = params['candidate']['kernel']
    h, outputs = np.zeros((x.shape[0], *x.shape[2:4], u_n.shape[-1]), x.dtype), []
    for t in range(x.shape[1]):
        z = sigmoid(convolve(x[:, t], w_z) + convolve(h, u_z) + b_z)
        r = sigmoid(convolve(x[:, t], w_r) + convolve(h, u_r) + b_r)
        n = np.tanh(convolve(x[:, t], w_n) + convolve(r * h, u_n) + b_n)
        h = (1 - z) * h + z * n
        outputs.append(h)
    return outputs


def conv_lstm(x: np.ndarray, params: dict) -> list[np.ndarray]:
    """Outputs of a ConvLSTM: (B, T, H, W, C) -> T times (B, H, W, hidden)."""
    w, u = (np.split(params[name]['kernel'], 4, -1) for name in ('input', 'state'))
    b = np.split(params['bias'], 4)
    h = c = np.zeros((x.shape[0], *x.shape[2:4], u[0].shape[-1]), x.dtype)
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = (convolve(x[:, t], w[gate]) + convolve(h, u[gate]) + b[gate]
                      for gate in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return outputs
