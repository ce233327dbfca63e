"""EfficientNets in plain numpy, as TensorFlow computes them (arXiv:1905.11946, and Lite).

Weights are a dict with the names of efficientnet-pytorch: kernels are (out, in, height, width).
Images are (B, C, H, W), and so are the five stages.
"""

import math

import numpy as np

Weights = dict[str, np.ndarray]
# b0 and lite0: kernel, stride, expansion and channels of every block.
BLOCKS = ((3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40), (3, 2, 6, 80),
          (3, 1, 6, 80), (3, 1, 6, 80), (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112),
          (5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (3, 1, 6, 320))


def random_weights(lite: bool, seed: int = 0) -> Weights:
    """A checkpoint of random values, with a classifier; no scale, shift or statistic is 0 or 1."""
    rng, weights = np.random.default_rng(seed), {}

    def convolution(name: str, features: int, inputs: int, kernel: int, bias: bool = False):
        shape, deviation = (features, inputs, kernel, kernel), (2 / (inputs * kernel ** 2)) ** 0.5
        weights[f'{name}.weight'] = rng.normal(size=shape, scale=deviation)
        if bias:
            weights[f'{name}.bias'] = rng.normal(size=features)

    def norm(name: str, features: int):
        weights[f'{name}.weight'] = rng.uniform(0.5, 1.5, features)
        weights[f'{name}.bias'] = rng.normal(size=features, scale=0.3)
        weights[f'{name}.running_mean'] = rng.normal(size=features, scale=0.3)
        weights[f'{name}.running_var'] = rng.uniform(0.5, 2, features)
        weights[f'{name}.num_batches_tracked'] = np.array(3.0)

    convolution('_conv_stem', 32, 3, 3)
    norm('_bn0', 32)
    inputs = 32
    for index, (kernel, _, expansion, features) in enumerate(BLOCKS):
        name, inner = f'_blocks.{index}', inputs * expansion
        if expansion > 1:
            convolution(f'{name}._expand_conv', inner, inputs, 1)
            norm(f'{name}._bn0', inner)
        convolution(f'{name}._depthwise_conv', inner, 1, kernel)
        norm(f'{name}._bn1', inner)
        if not lite:
            convolution(f'{name}._se_reduce', inputs // 4, inner, 1, bias=True)
            convolution(f'{name}._se_expand', inner, inputs // 4, 1, bias=True)
        convolution(f'{name}._project_conv', features, inner, 1)
        norm(f'{name}._bn2', features)
        inputs = features
    convolution('_conv_head', 1280, 320, 1)
    norm('_bn1', 1280)
    weights['_fc.weight'], weights['_fc.bias'] = rng.normal(size=(10, 1280)), rng.normal(size=10)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def efficientnet(weights: Weights, images: np.ndarray, lite: bool, output_stride: int = 32
                 ) -> list[np.ndarray]:
    """The five stages, each before the next halving of the size."""
    def activation(x: np.ndarray) -> np.ndarray:
        return np.clip(x, 0, 6) if lite else x / (1 + np.exp(-x))

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        scale, shift, mean, variance = (
            weights[f'{name}.{part}'][:, None, None]
            for part in ('weight', 'bias', 'running_mean', 'running_var'))
        return (x - mean) / np.sqrt(variance + 1e-3) * scale + shift

    x = activation(norm('_bn0', convolve(images, weights['_conv_stem.weight'], 2)))
    stages, reached, dilation = [], 2, 1
    for index, (_, stride, expansion, features) in enumerate(BLOCKS):
        name, before, own = f'_blocks.{index}', x, dilation
        step = stride
        if stride == 2:
            stages.append(x)
            if reached == output_stride:
                step, dilation = 1, dilation * 2
            reached *= step
        if expansion > 1:
            x = convolve(x, weights[f'{name}._expand_conv.weight'])
            x = activation(norm(f'{name}._bn0', x))
        x = convolve(x, weights[f'{name}._depthwise_conv.weight'], step, own)
        x = activation(norm(f'{name}._bn1', x))
        if not lite:
            squeezed = x.mean((2, 3), keepdims=True)
            for part in ('reduce', 'expand'):
                squeezed = convolve(squeezed, weights[f'{name}._se_{part}.weight'])
                squeezed = squeezed + weights[f'{name}._se_{part}.bias'][:, None, None]
                squeezed = (activation(squeezed) if part == 'reduce'
                            else 1 / (1 + np.exp(-squeezed)))
            x = x * squeezed
        x = norm(f'{name}._bn2', convolve(x, weights[f'{name}._project_conv.weight']))
        if stride == 1 and features == before.shape[1]:
            x = x + before
    return [*stages, x]


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """TensorFlow's 'SAME'; a kernel of one input channel is depthwise."""
    margins = []
    for side, length in zip(x.shape[2:], kernel.shape[2:], strict=True):
        out = math.ceil(side / stride)
        total = max(0, (out - 1) * stride + (length - 1) * dilation + 1 - side)
        margins.append((total // 2, total - total // 2))
    sides = [math.ceil(side / stride) for side in x.shape[2:]]
    padded, result = np.pad(x, ((0, 0), (0, 0), *margins)), 0
    equation = 'bchw,c->bchw' if kernel.shape[1] == 1 else 'bchw,oc->bohw'
    for row in range(kernel.shape[2]):
        for column in range(kernel.shape[3]):
            seen = padded[:, :, row * dilation:, column * dilation:]
            seen = seen[:, :, ::stride, ::stride][:, :, :sides[0], :sides[1]]
            weight = kernel[:, :, row, column]
            weight = weight[:, 0] if kernel.shape[1] == 1 else weight
            result = result + np.einsum(equation, seen, weight, optimize=True)
    return result
