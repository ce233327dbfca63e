"""Recurrences as in their papers: one position after the other, one gate after the other."""

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


def mgu(x: np.ndarray, params: dict) -> list:
    """States of an MGU with the reset after the product: (B, L, C) -> L times (B, hidden)."""
    w_f, w_n = np.split(params['input_kernel'], 2, -1)
    b_f, b_n = np.split(params['input_bias'][None], 2, -1)
    u_f, u_n = np.split(params['recurrent_kernel'], 2, -1)
    h, states = np.zeros((x.shape[0], u_f.shape[0]), x.dtype), []
    for t in range(x.shape[1]):
        f = sigmoid(x[:, t] @ w_f + b_f + h @ u_f)
        n = np.tanh(x[:, t] @ w_n + b_n + f * (h @ u_n + params['recurrent_bias'][None]))
        h = (1 - f) * h + f * n
        states.append(h)
    return states


def linear(a: np.ndarray, b: np.ndarray, start: np.ndarray) -> np.ndarray:
    """`h_t = a_t h_(t-1) + b_t` along axis 1."""
    h, states = start, []
    for t in range(b.shape[1]):
        h = a[:, t] * h + b[:, t]
        states.append(h)
    return np.stack(states, 1)


def mingru(x: np.ndarray, params: dict) -> list:
    k, v = np.split(x @ params['input_kernel'] + params['input_bias'][None, None], 2, -1)
    h, states = 0.0, []
    for t in range(x.shape[1]):
        z = sigmoid(k[:, t])
        h = (1 - z) * h + z * positive(v[:, t])
        states.append(h)
    return states


def minlstm(x: np.ndarray, params: dict) -> list:
    f, i, v = np.split(x @ params['input_kernel'] + params['input_bias'][None, None], 3, -1)
    h, states = 0.0, []
    for t in range(x.shape[1]):
        forget, write = sigmoid(f[:, t]), sigmoid(i[:, t])
        h = (forget * h + write * positive(v[:, t])) / (forget + write)
        states.append(h)
    return states


def rglru(x: np.ndarray, params: dict) -> list:
    u = projected(x, params)
    gates = []
    for name in ('recurrence_gate', 'input_gate'):
        kernel = params[f'{name}_kernel']
        width = kernel.shape[1]
        parts = [u[..., n * width:(n + 1) * width] @ kernel[n] for n in range(kernel.shape[0])]
        gates.append(sigmoid(np.concatenate(parts, -1) + params[f'{name}_bias'][None, None]))
    r, i = gates
    h, states = 0.0, []
    for t in range(x.shape[1]):
        a = np.exp(-8 * r[:, t] * np.log1p(np.exp(params['decay']))[None])
        h = a * h + np.sqrt(1 - a ** 2) * i[:, t] * u[:, t]
        states.append(h)
    return states


def s6(x: np.ndarray, params: dict) -> list:
    u = projected(x, params)
    low = rms_norm(u @ params['step_low_kernel'], params['step_scale'])
    step = np.log1p(np.exp(low @ params['step_kernel'] + params['step_bias'][None, None]))
    into, out = np.split(u @ params['in_out_kernel'], 2, -1)
    into, out = rms_norm(into, params['in_scale']), rms_norm(out, params['out_scale'])
    rate = -np.exp(params['log_decay'])
    h, outputs = np.zeros((x.shape[0], *rate.shape), x.dtype), []
    for t in range(x.shape[1]):
        h = (np.exp(step[:, t, :, None] * rate[None]) * h
             + (step[:, t] * u[:, t])[..., None] * into[:, t, None])
        outputs.append((h * out[:, t, None]).sum(-1) + params['skip'][None] * u[:, t])
    return outputs


def lru(x: np.ndarray, params: dict) -> list:
    u = projected(x, params)
    decay = np.exp(-np.exp(params['nu']) + 1j * np.exp(params['theta']))[None]
    into, back = params['in_kernel'], params['out_kernel']
    hidden = into.shape[1] // 2
    h, outputs = 0.0, []
    for t in range(x.shape[1]):
        driven = u[:, t] @ (into[:, :hidden] + 1j * into[:, hidden:])
        h = decay * h + np.exp(params['log_gain'])[None] * driven
        # Re(C h) with C = out[:hidden] - i out[hidden:]
        outputs.append((h @ (back[:hidden] - 1j * back[hidden:])).real
                       + params['skip'][None] * u[:, t])
    return outputs


CELLS = {'gru': gru, 'lstm': lstm, 'mgu': mgu, 'mingru': mingru, 'minlstm': minlstm,
         'rglru': rglru, 's6': s6, 'lru': lru}


def recur(cell: str, x: np.ndarray, params: dict, *, reverse: bool = False) -> np.ndarray:
    """(B, L, C) -> (B, L, hidden); `reverse` scans from the end, outputs in the order of inputs."""
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


def rms_norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x ** 2).mean(-1, keepdims=True) + 1e-6) * scale[None, None]


def projected(x: np.ndarray, params: dict) -> np.ndarray:
    """The input at the width of the state."""
    return (x @ params['project_kernel'] + params['project_bias'][None, None]
            if 'project_kernel' in params else x)


def positive(v: np.ndarray) -> np.ndarray:
    return np.where(v >= 0, v + 0.5, sigmoid(v))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
