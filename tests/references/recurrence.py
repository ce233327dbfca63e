"""Recurrences as their papers write them: one position after the other, one gate after the other."""

import numpy as np


def gru(x: np.ndarray, params: dict) -> list:
    """States of a GRU with the reset after the product: (B, L, C) -> L times (B, hidden)."""
    w_r, w_z, w_n = np.split(params['input_kernel'], 3, -1)
    b_r, b_z, b_n = np.split(params['input_bias'][None], 3, -1)
    u_r, u_z, u_n = np.split(params['recurrent_kernel'], 3, -1)
    h, states = np.zeros((x.shape[0], u_r.shape[0]), x.dtype), []
    for t in range(x.shape[1]):
        r = sigmoid(x[:, t] @ w_r + b_r + h @ u_r)
        z = sigmoid(x[:, t] @ w_z + b_z + h @ u_z)
        n = np.tanh(x[:, t] @ w_n + b_n + r * (h @ u_n + params['recurrent_bias'][None]))
        h = (1 - z) * n + z * h
        states.append(h)
    return states


def lstm(x: np.ndarray, params: dict) -> list:
    """States h of an LSTM: (B, L, C) -> L times (B, hidden)."""
    w, u = np.split(params['input_kernel'], 4, -1), np.split(params['recurrent_kernel'], 4, -1)
    b = np.split(params['input_bias'][None], 4, -1)
    h = c = np.zeros((x.shape[0], u[0].shape[0]), x.dtype)
    states = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w[gate] + b[gate] + h @ u[gate] for gate in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return states


CELLS = {'gru': gru, 'lstm': lstm}


def recur(cell: str, x: np.ndarray, params: dict, *, reverse: bool = False) -> np.ndarray:
    """(B, L, C) -> (B, L, hidden); `reverse` reads from the end, the outputs stay in the order of the inputs."""
    states = CELLS[cell](x[:, ::-1] if reverse else x, params)
    return np.stack(states[::-1] if reverse else states, 1)


def renet(cell: str, x: np.ndarray, params: dict, *, layers: int = 1) -> np.ndarray:
    """(B, H, W, C) -> (B, H, W, 2 hidden): every row by itself, then every column by itself."""
    for layer in range(layers):
        rows = [sweep(cell, x[:, i], params, f'rows{layer}') for i in range(x.shape[1])]
        x = np.stack(rows, 1)
        columns = [sweep(cell, x[:, :, j], params, f'columns{layer}') for j in range(x.shape[2])]
        x = np.stack(columns, 2)
    return x


def sweep(cell: str, line: np.ndarray, params: dict, name: str) -> np.ndarray:
    """One line in both directions, (B, L, C) -> (B, L, 2 hidden)."""
    return np.concatenate([recur(cell, line, params[f'{name}_forward']),
                           recur(cell, line, params[f'{name}_backward'], reverse=True)], -1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
