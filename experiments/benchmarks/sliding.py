"""Sliding windows over one picture, beside MONAI's `sliding_window_inference` if installed.

    python experiments/benchmarks/sliding.py [--repeats 3] [--side 1024]
        [--csv experiments/benchmarks/sliding.csv]

Both slide the ResNet-18 U-Net of `step.py` (14.33 M parameters, 11 classes, random weights) over
the same picture: windows of 256x256 that overlap by half, Gaussian weights, 4 windows a batch, from
uint8 pixels in memory to a mask. MONAI has its weighted mean of logits, jaxseg that of
probabilities. The libraries take turns, and ratios compare within one run.
"""

import functools
import importlib.util
import os
import pathlib
import sys
from collections.abc import Callable

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, take_turns, write  # noqa: E402
from step import CLASSES, UNET  # noqa: E402

from jaxseg.build import build, build_losses  # noqa: E402
from jaxseg.data.device_transforms import Normalize  # noqa: E402
from jaxseg.inference.sliding import SlidingWindow  # noqa: E402
from jaxseg.tasks.semantic import Semantic  # noqa: E402

WINDOW, BATCH, OVERLAP = 256, 4, 0.5
MEAN, STD = (0.5,) * 3, (0.25,) * 3
COLUMNS = ('library', 'height', 'width', 'windows', 'seconds', 'megapixels_per_second',
           'jaxseg_over_this')


def jaxseg_mask(image: np.ndarray) -> Callable:
    """A function of nothing that predicts the picture."""
    model = build('model', UNET, classes=CLASSES)
    losses = build_losses({'cross_entropy': {'type': 'cross_entropy.cross_entropy'}})
    task = Semantic(tuple(map(str, range(CLASSES))), losses, False)
    normalize = Normalize(MEAN, STD)
    start = np.zeros((1, 64, 64, 3), np.float32)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), start)

    def forward(variables, images):
        return model.apply(variables, normalize({'image': images})['image'], train=False)

    inference = SlidingWindow(forward, task, BATCH, window=(WINDOW, WINDOW), overlap=OVERLAP)
    return lambda: list(inference.predictions(variables, [(0, image)]))


def monai_mask(image: np.ndarray) -> dict[str, Callable]:
    """The same with MONAI, in both layouts; empty where it or PyTorch is missing."""
    if not all(importlib.util.find_spec(name) for name in ('torch', 'monai')):
        print('MONAI or PyTorch is not installed: no ratios')
        return {}
    import torch
    import torch_models
    from monai.inferers import sliding_window_inference

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    found = {}
    for layout, memory_format in (('NCHW', torch.contiguous_format),
                                  ('channels_last', torch.channels_last)):
        network = torch_models.make('resnet18_unet', CLASSES).eval().to(memory_format=memory_format)

        def run(network=network, memory_format=memory_format):
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            x = ((x - mean) / std).contiguous(memory_format=memory_format)
            with torch.no_grad():
                logits = sliding_window_inference(x, (WINDOW, WINDOW), BATCH, network,
                                                  overlap=OVERLAP, mode='gaussian')
            return logits.argmax(1).to(torch.uint8).numpy()

        found[f'MONAI {layout}'] = run
    return found


def main():
    """Measures, prints, writes."""
    parser = argument_parser(__doc__, repeats=3)
    parser.add_argument('--side', type=int, default=1024)
    arguments = parser.parse_args()
    side = arguments.side
    print(machine(), flush=True)
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    functions = {'jaxseg': jaxseg_mask(image), **monai_mask(image)}
    medians = take_turns(functions, arguments.repeats, warm=1)
    across = -(-(side - WINDOW) // int(WINDOW * (1 - OVERLAP))) + 1
    rows = []
    for library, seconds in medians.items():
        ratio = medians['jaxseg'] / seconds
        rows.append(dict(zip(COLUMNS, (
            library, side, side, across ** 2, round(seconds, 2), round(side * side / 1e6 / seconds,
                                                                       3), round(ratio, 2)),
            strict=True)))
        print(f'{library:20} {seconds:8.2f} s  {side * side / 1e6 / seconds:6.3f} megapixels/s  '
              f'jaxseg / this: {ratio:.2f}', flush=True)
    if arguments.csv:
        write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
