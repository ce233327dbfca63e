"""Draw what a prediction depends on: for one image, a class and a region or a position."""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from jaxseg.commands.explanations import Explainer
from jaxseg.commands.overrides import check_overrides, file_name
from jaxseg.commands.paths import check_folder, path_argument
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.data.decode import read_image
from jaxseg.data.visualize import as_rgb, save_image
from jaxseg.errors import InputError, printable
from jaxseg.explain.heatmap import blend, blend_signed, outlined
from jaxseg.explain.receptive_field import logarithmic
from jaxseg.fields import nearest
from jaxseg.files import replacing

# Options of each method.
METHODS = {'grad_cam': ('class', 'region', 'position', 'layer'),
           'integrated_gradients': ('class', 'region', 'position', 'steps'),
           'attention': ('position', 'layer'), 'receptive_field': ('position',)}
OPTIONS = ('class', 'region', 'position', 'layer', 'steps')
Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]
STEPS, MARK = 64, 4  # MARK: pixels around a position that are outlined
MIN_SIDE = 256  # pixels, the shorter side of a picture


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--input', required=True, help='an image')
    parser.add_argument('--output', required=True, help='folder that receives .png and .npy')
    parser.add_argument('--method', default='grad_cam', choices=list(METHODS),
                        help='default: grad_cam')
    parser.add_argument('--class', metavar='NAME', help='whose logits are explained (grad_cam, '
                                                        'integrated_gradients)')
    parser.add_argument('--region', metavar='TOP,LEFT,BOTTOM,RIGHT',
                        help='pixels that are explained, BOTTOM and RIGHT not included (default: '
                             'all that are predicted as the class)')
    parser.add_argument('--position', metavar='ROW,COLUMN',
                        help='one pixel instead; of attention the query, of the receptive field '
                             'the prediction (default there: the centre)')
    parser.add_argument('--layer', metavar='NAME',
                        help='of grad_cam the features (default: context, the output of the '
                             'context layers, or the deepest stage), of attention one layer')
    parser.add_argument('--steps', type=int, metavar='N',
                        help=f'of integrated_gradients (default: {STEPS})')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    check_overrides('explain', overrides, ('model', 'preprocess'))
    _check_options(arguments)
    path_argument(arguments.workdir, '--workdir')
    source = path_argument(arguments.input, '--input')
    output = path_argument(arguments.output, '--output')
    check_folder(output, '--output')
    if not source.is_file():
        raise InputError(f'--input={source}: no such file; give an image')
    run = open_workdir(arguments.workdir, overrides, trust=arguments.trust)
    label = _label(getattr(arguments, 'class'), run.spec.classes, arguments.method)
    image = read_image(source, run.spec.channels, run.record.value_range)
    box = _box(arguments, image.shape[:2])
    _, variables = run.variables(arguments.checkpoint)
    explainer = Explainer(run, variables, image)
    region = _region(run, variables, image, box, label)
    output.mkdir(parents=True, exist_ok=True)
    for name, values, draw in _maps(explainer, arguments, label, box, region):
        named = '' if label is None else file_name(run.spec.classes[label])
        parts = (source.stem, arguments.method, file_name(name.replace('/', '.')), named)
        path = output / f'{"_".join(filter(None, parts))}.png'
        rgb = as_rgb(image, run.spec.value_range)
        if not values.any():
            print(f'{printable(path.stem)}: zero everywhere, nothing here speaks for the class')
        write(path, values, np.concatenate([outlined(rgb, _visible(region)), draw(rgb, values)], 1))
        print(printable(str(path)), flush=True)


def _check_options(arguments: argparse.Namespace):
    for name in OPTIONS:
        value, used = getattr(arguments, name), METHODS[arguments.method]
        if value is not None and name not in used:
            raise InputError(f'--{name}={value}: has no effect with --method={arguments.method}, '
                             f'whose options are {", ".join(f"--{each}" for each in used)}; '
                             f'remove it')
    if arguments.region is not None and arguments.position is not None:
        raise InputError('--region and --position exclude each other; remove one')
    if arguments.steps is not None and arguments.steps < 1:
        raise InputError(f'--steps={arguments.steps}: give 1 or more')


def _label(name: str | None, classes: Sequence[str], method: str) -> int | None:
    """The index of a class; None for methods without one."""
    if 'class' not in METHODS[method]:
        return None
    if name not in classes:
        problem = '--class is missing' if name is None else f'--class={name}: no such class'
        raise InputError(f'{problem}; {nearest(name or "", classes)}')
    return list(classes).index(name)


def _box(arguments: argparse.Namespace, size: tuple[int, int]) -> tuple[int, ...] | None:
    """Top, left, bottom and right of the region or position that was given, or of the centre."""
    height, width = size
    if arguments.region is not None:
        top, left, bottom, right = box = _numbers('region', arguments.region, 4)
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise InputError(f'--region={arguments.region}: not within the image of '
                             f'{height}x{width}, or empty; give 0 <= TOP < BOTTOM <= {height} and '
                             f'0 <= LEFT < RIGHT <= {width}')
        return box
    if arguments.position is not None:
        row, column = _numbers('position', arguments.position, 2)
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(f'--position={arguments.position}: outside of the image of '
                             f'{height}x{width}; give 0,0 to {height - 1},{width - 1}')
    elif 'class' in METHODS[arguments.method]:
        return None
    else:
        row, column = height // 2, width // 2
    return row, column, row + 1, column + 1


def _numbers(name: str, text: str, count: int) -> tuple[int, ...]:
    parts = text.split(',')
    if len(parts) != count or not all(part.strip().isascii() and part.strip().isdigit()
                                      and len(part) < 10 for part in parts):
        raise InputError(f'--{name}={text}: expected {count} integers with commas between them')
    return tuple(map(int, parts))


def _region(run: Workdir, variables: Any, image: np.ndarray, box: tuple[int, ...] | None,
            label: int | None) -> np.ndarray:
    """(H, W) bool, of a box, or where the class is predicted.

    Raises:
      InputError: it is predicted nowhere.
    """
    if box is not None:
        region = np.zeros(image.shape[:2], bool)
        region[box[0]:box[2], box[1]:box[3]] = True
        return region
    mask = run.predictor(variables)(image)
    classes = np.arange(len(run.spec.classes))
    shown = mask == 1 if run.spec.overlapping else mask[..., None] == classes[None, None]
    if not shown[..., label].any():
        others = [run.spec.classes[index] for index in np.flatnonzero(shown.any((0, 1)))]
        raise InputError(f'--class={run.spec.classes[label]}: predicted nowhere in this image; '
                         f'give a --region, or a class that is: {", ".join(others) or "none is"}')
    return shown[..., label]


def _maps(explainer: Explainer, arguments: argparse.Namespace, label: int | None,
          box: tuple[int, ...] | None, region: np.ndarray) -> list[tuple[str, np.ndarray, Draw]]:
    """Name (empty for a single map), values (H, W), and how they are drawn over the image."""
    if arguments.method == 'grad_cam':
        return [('', explainer.grad_cam(label, region, arguments.layer), blend)]
    if arguments.method == 'integrated_gradients':
        values, score, baseline = explainer.integrated_gradients(label, region,
                                                                 arguments.steps or STEPS)
        print(f'attributions add up to {values.sum():.4f}; mean logit {score:.4f} of the image and '
              f'{baseline:.4f} of the mean color differ by {score - baseline:.4f}')
        return [('', values, blend_signed)]
    if arguments.method == 'receptive_field':
        return [('', explainer.receptive_field(box[:2]),
                 lambda image, values: blend(image, logarithmic(values)))]
    found = explainer.attention(box[:2], arguments.layer)
    return [(name, values, blend) for name, values in found.items()]


def _visible(region: np.ndarray) -> np.ndarray:
    """The region; around a single pixel, which would not be seen, some more."""
    if region.sum() != 1:
        return region
    around = np.ones((2 * MARK + 1,) * 2, np.uint8)
    return cv2.dilate(region.astype(np.uint8), around) > 0


def write(path: pathlib.Path, values: np.ndarray, picture: np.ndarray):
    """Writes the values as .npy, then the picture, small ones enlarged by whole pixels."""
    with replacing(path.with_suffix('.npy')) as partial:
        np.save(partial, values.astype(np.float32))
    factor = max(1, -(-MIN_SIDE // min(picture.shape[:2])))
    save_image(path, Image.fromarray(picture.repeat(factor, 0).repeat(factor, 1)))
