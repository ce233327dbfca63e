"""The recurrent pyramid in numpy: one line of the map after the other."""

import numpy as np

from tests.references.attention import gelu, linear, norm
from tests.references.recurrence import recur


def pyramid(x: np.ndarray, params: dict, widths: tuple, depths: tuple, cell: str) -> list:
    """Images (B, H, W, C) -> the features of every stage."""
    stages, index = [], 0
    for stage, depth in enumerate(depths):
        stride, margin = (4, 3) if stage == 0 else (2, 1)
        patches = params[f'patches{stage}']
        x = convolve(x, patches['kernel'], stride, margin) + patches['bias']
        x = norm(x, params[f'patches{stage}_norm'])
        assert x.shape[-1] == widths[stage]
        for place in range(depth):
            x = block(x, params[f'stage{stage}_block{place}'], cell, columns=index % 2 == 1)
            index += 1
        stages.append(norm(x, params[f'stage{stage}_norm']))
    return stages


def block(x: np.ndarray, params: dict, cell: str, columns: bool) -> np.ndarray:
    y, lines = norm(x, params['norm_scan']), []
    along = y.swapaxes(1, 2) if columns else y
    for line in range(along.shape[1]):
        lines.append(np.concatenate([
            recur(cell, along[:, line], params['forward']),
            recur(cell, along[:, line], params['backward'], reverse=True)], -1))
    scanned = np.stack(lines, 1)
    scanned = scanned.swapaxes(1, 2) if columns else scanned
    gate = linear(y, params['gate'])
    x = x + linear(scanned * gate / (1 + np.exp(-gate)), params['out'])
    y = linear(norm(x, params['norm_mlp']), params['mlp_in'])
    return x + linear(gelu(y), params['mlp_out'])


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int, margin: int) -> np.ndarray:
    """Zeros around the image, one output pixel after the other."""
    x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    size = kernel.shape[0]
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    out = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    for i, j in np.ndindex(height, width):
        seen = x[:, i * stride:i * stride + size, j * stride:j * stride + size]
        out[:, i, j] = np.tensordot(seen, kernel, 3)
    return out
