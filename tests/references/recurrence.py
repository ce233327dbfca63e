"""Recurrences as their papers write them: one position after the other, one gate after the other."""

from types import ModuleType

import numpy as np


def gru(x, params: dict, xp: ModuleType = np) -> list:
    """States of a GRU with the reset after the product: (B, L, C) -> L times (B, hidden). `xp` is numpy or jax.numpy."""
    w_r, w_z, w_n = xp.split(params['input_kernel'], 3, -1)
    b_r, b_z, b_n = xp.split(params['input_bias'][None], 3, -1)
    u_r, u_z, u_n = xp.split(params['recurrent_kernel'], 3, -1)
    h, states = xp.zeros((x.shape[0], u_r.shape[0]), x.dtype), []
    for t in range(x.shape[1]):
        r = sigmoid(x[:, t] @ w_r + b_r + h @ u_r, xp)
        z = sigmoid(x[:, t] @ w_z + b_z + h @ u_z, xp)
        n = xp.tanh(x[:, t] @ w_n + b_n + r * (h @ u_n + params['recurrent_bias'][None]))
        h = (1 - z) * n + z * h
        states.append(h)
    return states


def lstm(x, params: dict, xp: ModuleType = np) -> list:
    """States h of an LSTM: (B, L, C) -> L times (B, hidden)."""
    w, u = xp.split(params['input_kernel'], 4, -1), xp.split(params['recurrent_kernel'], 4, -1)
    b = xp.split(params['input_bias'][None], 4, -1)
    h = c = xp.zeros((x.shape[0], u[0].shape[0]), x.dtype)
    states = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w[gate] + b[gate] + h @ u[gate] for gate in range(4))
        c = sigmoid(f, xp) * c + sigmoid(i, xp) * xp.tanh(g)
        h = sigmoid(o, xp) * xp.tanh(c)
        states.append(h)
    return states


CELLS = {'gru': gru, 'lstm': lstm}


def recur(cell: str, x, params: dict, *, reverse: bool = False, xp: ModuleType = np):
    """(B, L, C) -> (B, L, hidden); `reverse` reads from the end, the outputs stay in the order of the inputs."""
    states = CELLS[cell](x[:, ::-1] if reverse else x, params, xp)
    return xp.stack(states[::-1] if reverse else states, 1)


def renet(cell: str, x, params: dict, *, layers: int = 1, xp: ModuleType = np):
    """(B, H, W, C) -> (B, H, W, 2 hidden): every row by itself, then every column by itself."""
    for layer in range(layers):
        rows = [sweep(cell, x[:, i], params, f'rows{layer}', xp) for i in range(x.shape[1])]
        x = xp.stack(rows, 1)
        columns = [sweep(cell, x[:, :, j], params, f'columns{layer}', xp) for j in range(x.shape[2])]
        x = xp.stack(columns, 2)
    return x


def sweep(cell: str, line, params: dict, name: str, xp: ModuleType):
    """One line in both directions, (B, L, C) -> (B, L, 2 hidden)."""
    return xp.concatenate([recur(cell, line, params[f'{name}_forward'], xp=xp),
                           recur(cell, line, params[f'{name}_backward'], reverse=True, xp=xp)], -1)


def sigmoid(x, xp: ModuleType):
    return 1 / (1 + xp.exp(-x))
