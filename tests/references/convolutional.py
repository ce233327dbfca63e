"""The convolutional context layers by their formulas: position by position, in float64."""

import numpy as np

from tests.references.attention import gelu, linear, softmax


def convolve(x: np.ndarray, params: dict, dilation: int = 1) -> np.ndarray:
    """Output by output, zero padding; a kernel (h, w, 1, C) on C channels is depthwise."""
    kernel = np.asarray(params['kernel'], np.float64)
    depthwise = kernel.shape[2] == 1 < x.shape[-1]
    out = np.zeros((*x.shape[:3], kernel.shape[3]))
    for i, j, m, n in np.ndindex(*x.shape[1:3], *kernel.shape[:2]):
        row, column = (i + (m - kernel.shape[0] // 2) * dilation,
                       j + (n - kernel.shape[1] // 2) * dilation)
        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
            out[:, i, j] += (x[:, row, column] * kernel[m, n, 0] if depthwise
                             else x[:, row, column] @ kernel[m, n])
    return out + params.get('bias', 0)


def norm(x: np.ndarray, params: dict, statistics: dict) -> np.ndarray:
    """Batch norm of evaluation."""
    params, statistics = params['batch'], statistics['batch']
    return ((x - statistics['mean']) / np.sqrt(statistics['var'] + 1e-5) * params['scale']
            + params['bias'])


def block(x: np.ndarray, variables: dict, name: str, dilation: int = 1) -> np.ndarray:
    """Convolution, norm and ReLU."""
    params, statistics = variables['params'], variables['batch_stats']
    y = convolve(x, params[f'{name}_conv'], dilation)
    return np.maximum(norm(y, params[f'{name}_norm'], statistics[f'{name}_norm']), 0)


def adaptive_average_pool(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(B, H, W, C) -> (B, *size, C): the mean of every cell."""
    x = np.asarray(x, np.float64)
    out = np.zeros((x.shape[0], *size, x.shape[3]))
    for i, j in np.ndindex(*size):
        (top, bottom), (left, right) = (
            (int(np.floor(at * side / cells)), int(np.ceil((at + 1) * side / cells)))
            for at, side, cells in zip((i, j), x.shape[1:3], size, strict=True))
        out[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
    return out


def bilinear(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(B, h, w, C) -> (B, *size, C): linear between the centres of pixels, constant outside."""
    out = np.zeros((x.shape[0], *size, x.shape[3]))
    for i, j in np.ndindex(*size):
        row, column = (np.clip((at + 0.5) * small / large - 0.5, 0, small - 1)
                       for at, small, large in zip((i, j), x.shape[1:3], size, strict=True))
        for m, n in np.ndindex(*x.shape[1:3]):
            out[:, i, j] += max(1 - abs(row - m), 0) * max(1 - abs(column - n), 0) * x[:, m, n]
    return out


def aspp(x: np.ndarray, variables: dict, rates: tuple[int, ...]) -> np.ndarray:
    """(B, H, W, C) -> (B, H, W, features)."""
    mean = x.mean((1, 2), keepdims=True)
    pooled = np.maximum(convolve(mean, variables['params']['pool_conv']), 0)
    branches = [block(x, variables, 'point'),
                *(block(x, variables, f'dilated{i}', rate) for i, rate in enumerate(rates)),
                np.broadcast_to(pooled, (*x.shape[:3], pooled.shape[-1]))]
    return block(np.concatenate(branches, -1), variables, 'project')


def pyramid_pooling(x: np.ndarray, variables: dict, bins: tuple[int, ...]) -> np.ndarray:
    """(B, H, W, C) -> (B, H, W, features)."""
    levels = [x]
    for n in bins:
        pooled, name = adaptive_average_pool(x, (n, n)), f'bin{n}'
        y = (block(pooled, variables, name) if n > 1
             else np.maximum(convolve(pooled, variables['params'][f'{name}_conv']), 0))
        levels.append(bilinear(y, x.shape[1:3]))
    return block(np.concatenate(levels, -1), variables, 'project')


def region_features(x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(B, H, W, C), (B, H, W, K) -> (B, K, C)."""
    out = np.zeros((x.shape[0], logits.shape[-1], x.shape[-1]))
    for b, k in np.ndindex(*out.shape[:2]):
        weights = softmax(np.asarray(logits[b, :, :, k], np.float64))
        for i, j in np.ndindex(*x.shape[1:3]):
            out[b, k] += weights[i, j] * x[b, i, j]
    return out


def ocr(x: np.ndarray, variables: dict) -> tuple[np.ndarray, np.ndarray]:
    """(B, H, W, C) -> (B, H, W, features) and the coarse logits (B, H, W, K)."""
    coarse, pixels = convolve(x, variables['params']['coarse']), block(x, variables, 'pixels')
    regions = region_features(pixels, coarse)[:, :, None]
    query = block(pixels, variables, 'query')
    key, value = (block(regions, variables, name) for name in ('key', 'value'))
    context = np.zeros(query.shape)
    for b, i, j in np.ndindex(*x.shape[:3]):
        scores = np.array([query[b, i, j] @ k / np.sqrt(query.shape[-1]) for k in key[b, :, 0]])
        context[b, i, j] = sum(a * v for a, v in zip(softmax(scores), value[b, :, 0], strict=True))
    joined = np.concatenate([block(context, variables, 'context'), pixels], -1)
    return block(joined, variables, 'project'), coarse


def large_kernel_attention(x: np.ndarray, variables: dict, dilation: int) -> np.ndarray:
    """(B, H, W, C) -> (B, H, W, features)."""
    def point(x: np.ndarray, name: str) -> np.ndarray:
        params = variables['params'][name]
        kernel = np.asarray(params['kernel'], np.float64)[0, 0]
        return linear(x, {'kernel': kernel, 'bias': params['bias']})

    params = variables['params']
    x = point(x, 'project') if 'project' in params else x
    y = gelu(point(norm(x, params['norm'], variables['batch_stats']['norm']), 'in'))
    a = convolve(convolve(y, params['near']), params['far'], dilation)
    return x + point(point(a, 'mix') * y, 'out')
