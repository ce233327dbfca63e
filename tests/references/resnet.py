"""ResNets in plain numpy, as torchvision computes them (He et al. 2016; arXiv:1512.03385).

Weights are a dict with torchvision's names and layout: `layer1.0.conv1.weight` is (out, in, height,
width), norms have `weight`, `bias`, `running_mean` and `running_var`. Images are (B, C, H, W), and
so are the five stages.
"""

import numpy as np

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
Weights = dict[str, np.ndarray]


def random_weights(depth: int, width: int, channels: int = 3, seed: int = 0) -> Weights:
    """A checkpoint of random values; no scale, shift or statistic is 0 or 1."""
    rng, weights = np.random.default_rng(seed), {}

    def convolution(name: str, features: int, inputs: int, kernel: int):
        shape, deviation = (features, inputs, kernel, kernel), (2 / (inputs * kernel ** 2)) ** 0.5
        weights[f'{name}.weight'] = rng.normal(size=shape, scale=deviation)

    def norm(name: str, features: int):
        weights[f'{name}.weight'] = rng.uniform(0.5, 1.5, features)
        weights[f'{name}.bias'] = rng.normal(size=features, scale=0.3)
        weights[f'{name}.running_mean'] = rng.normal(size=features, scale=0.3)
        weights[f'{name}.running_var'] = rng.uniform(0.5, 2, features)

    convolution('conv1', width, channels, 7)
    norm('bn1', width)
    inputs = width
    for layer, blocks in enumerate(BLOCKS[depth]):
        inner = width * 2 ** layer
        features = inner * (4 if depth == 50 else 1)
        for block in range(blocks):
            name = f'layer{layer + 1}.{block}'
            kernels = (1, 3, 1) if depth == 50 else (3, 3)
            sides = [inputs] + [inner] * (len(kernels) - 1) + [features]
            for index, kernel in enumerate(kernels):
                convolution(f'{name}.conv{index + 1}', sides[index + 1], sides[index], kernel)
                norm(f'{name}.bn{index + 1}', sides[index + 1])
            if block == 0 and (layer > 0 or inputs != features):
                convolution(f'{name}.downsample.0', features, inputs, 1)
                norm(f'{name}.downsample.1', features)
            inputs = features
    return {name: value.astype(np.float32) for name, value in weights.items()}


def resnet(weights: Weights, images: np.ndarray, depth: int, output_stride: int = 32,
           shortcuts: bool = True, pool_margin: tuple[int, int] = (1, 1)) -> list[np.ndarray]:
    """The stem and layer1 to layer4, before the average pooling.

    `output_stride` 8 and 16 are torchvision's `replace_stride_with_dilation`, and for the blocks
    with two 3x3 convolutions timm's: the first 3x3 of a dilated layer, which strode, keeps the
    dilation of the layer before. `shortcuts` and `pool_margin` (positions
    before and after) make wrong networks.
    """
    x = relu(norm(weights, 'bn1', convolve(images, weights['conv1.weight'], 2, 3)))
    stages = [x]
    x = max_pool(x, pool_margin)
    stride, dilation = 4, 1
    for layer, blocks in enumerate(BLOCKS[depth]):
        first_stride, first_dilation = (1 if layer == 0 else 2), dilation
        if stride * first_stride > output_stride:
            dilation, first_stride = dilation * first_stride, 1
        stride *= first_stride
        for block in range(blocks):
            name = f'layer{layer + 1}.{block}'
            strides = first_stride if block == 0 else 1
            dilations = (first_dilation if block == 0 else dilation), dilation
            residual = bottleneck if depth == 50 else basic
            y = residual(weights, name, x, strides, dilations)
            if f'{name}.downsample.0.weight' in weights:
                x = convolve(x, weights[f'{name}.downsample.0.weight'], strides, 0)
                x = norm(weights, f'{name}.downsample.1', x)
            x = relu(y + x) if shortcuts else relu(y)
        stages.append(x)
    return stages


def basic(weights: Weights, name: str, x: np.ndarray, stride: int, dilations: tuple[int, int]
          ) -> np.ndarray:
    first, dilation = dilations
    y = convolve(x, weights[f'{name}.conv1.weight'], stride, first, first)
    y = relu(norm(weights, f'{name}.bn1', y))
    y = convolve(y, weights[f'{name}.conv2.weight'], 1, dilation, dilation)
    return norm(weights, f'{name}.bn2', y)


def bottleneck(weights: Weights, name: str, x: np.ndarray, stride: int, dilations: tuple[int, int]
               ) -> np.ndarray:
    dilation = dilations[0]
    y = relu(norm(weights, f'{name}.bn1', convolve(x, weights[f'{name}.conv1.weight'], 1, 0)))
    y = convolve(y, weights[f'{name}.conv2.weight'], stride, dilation, dilation)
    y = relu(norm(weights, f'{name}.bn2', y))
    return norm(weights, f'{name}.bn3', convolve(y, weights[f'{name}.conv3.weight'], 1, 0))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """Batch norm with running statistics; torch's epsilon is 1e-5."""
    scale, bias, mean, var = (weights[f'{name}.{part}'][:, None, None]
                              for part in ('weight', 'bias', 'running_mean', 'running_var'))
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int, padding: int, dilation: int = 1
             ) -> np.ndarray:
    """`padding` zeros on all four sides, as torch's Conv2d."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((side - dilation * (k - 1) - 1) // stride + 1
                     for side, k in zip(x.shape[2:], kernel.shape[2:], strict=True))
    y = np.zeros((len(x), len(kernel), rows, columns))
    for i in range(kernel.shape[2]):
        for j in range(kernel.shape[3]):
            seen = x[:, :, i * dilation:, j * dilation:][:, :, ::stride, ::stride]
            seen = seen[:, :, :rows, :columns]
            y += np.einsum('oc,bchw->bohw', kernel[:, :, i, j], seen)
    return y


def max_pool(x: np.ndarray, margin: tuple[int, int] = (1, 1)) -> np.ndarray:
    """3x3 at stride 2, padded with -inf."""
    x = np.pad(x, ((0, 0), (0, 0), margin, margin), constant_values=-np.inf)
    rows, columns = ((side - 3) // 2 + 1 for side in x.shape[2:])
    return np.max([x[:, :, i:, j:][:, :, ::2, ::2][:, :, :rows, :columns]
                   for i in range(3) for j in range(3)], axis=0)
