"""Context layers in PyTorch: ReNet and four directions of GRU or LSTM, and fused attention."""

import os
from collections.abc import Callable

import numpy as np
import torch

torch.set_num_threads(len(os.sched_getaffinity(0)))


class ReNet(torch.nn.Module):
    """Rows, then columns, both directions: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, kind: type, channels: int):
        super().__init__()
        self.rows, self.columns = (kind(channels, channels // 2, batch_first=True,
                                        bidirectional=True) for _ in range(2))

    def forward(self, x):
        b, h, w, c = x.shape
        rows, _ = self.rows(x.reshape(b * h, w, c))
        columns = rows.reshape(b, h, w, c).transpose(1, 2).reshape(b * w, h, c)
        columns, _ = self.columns(columns)
        return columns.reshape(b, w, h, c).transpose(1, 2)


class FourWayRNN(torch.nn.Module):
    """Rows and columns of the same map, both directions, summed: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, kind: type, channels: int):
        super().__init__()
        self.rows, self.columns = (kind(channels, channels, batch_first=True, bidirectional=True)
                                   for _ in range(2))

    def forward(self, x):
        b, h, w, c = x.shape
        rows, _ = self.rows(x.reshape(b * h, w, c))
        columns, _ = self.columns(x.transpose(1, 2).reshape(b * w, h, c))
        rows = rows.reshape(b, h, w, 2, c).sum(3)
        columns = columns.reshape(b, w, h, 2, c).sum(3)
        return rows + columns.transpose(1, 2)


def attention(x, heads: int):
    """Dense attention of the map with itself."""
    b, h, w, c = x.shape
    tokens = x.reshape(b, h * w, heads, c // heads).transpose(1, 2)
    y = torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
    return y.transpose(1, 2).reshape(x.shape)


def works(name: str, pixels: np.ndarray, *, heads: int) -> dict[str, Callable]:
    """`{work: function of nothing}`; empty for a layer that PyTorch does not have."""
    layers = {'renet_gru': (ReNet, torch.nn.GRU), 'renet_lstm': (ReNet, torch.nn.LSTM),
              'four_way_rnn_gru': (FourWayRNN, torch.nn.GRU)}
    if name in layers:
        module, kind = layers[name]
        layer = module(kind, pixels.shape[-1])
    elif name == 'attend':
        layer = lambda x: attention(x, heads)  # noqa: E731
    else:
        return {}
    x = torch.from_numpy(pixels).requires_grad_()

    def forward():
        with torch.no_grad():
            return layer(x)

    def both():
        x.grad = None
        if isinstance(layer, torch.nn.Module):
            layer.zero_grad(set_to_none=True)
        layer(x).square().mean().backward()

    return {'forward': forward, 'forward+backward': both}
