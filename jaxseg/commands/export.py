"""Write a trained model as a file that runs without jaxseg: pixel values in, masks out."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from jaxseg.commands.overrides import check_overrides
from jaxseg.commands.paths import check_file, path_argument
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.errors import InputError
from jaxseg.export import onnx, stablehlo
from jaxseg.export.images import Exported, Images, export_most_general
from jaxseg.export.onnx_graph import NotSupported
from jaxseg.layers.platform import traced_for

FORMATS = {'stablehlo': (stablehlo, '.zip'), 'onnx': (onnx, '.onnx')}
OUTPUTS = ('mask', 'probabilities')
# Of a probability, or as a share of the pixels of a mask, between onnxruntime and the model.
LARGEST_DIFFERENCE = 1e-3


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--format', required=True, choices=FORMATS,
                        help='stablehlo runs with JAX alone, onnx with onnxruntime and in browsers')
    parser.add_argument('--output', required=True, help='file, .zip (stablehlo) or .onnx')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')
    parser.add_argument('--outputs', default='mask', choices=OUTPUTS,
                        help='class indices, or the probabilities of all classes (default: mask)')
    parser.add_argument('--size', help='H,W of the images (default: any, where the model can)')
    parser.add_argument('--batch', type=int, help='images at once (default: any)')
    parser.epilog = ('The file takes images in one piece, whatever config.inference says. Keys of '
                     'the config that change it: --config.model.dtype=bfloat16')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    check_overrides('export', overrides, ('model', 'task', 'preprocess'))
    path_argument(arguments.workdir, '--workdir')
    output = path_argument(arguments.output, '--output')
    module, suffix = FORMATS[arguments.format]
    if output.suffix != suffix:
        raise InputError(f'--output={output}: a file of --format={arguments.format} ends in '
                         f'{suffix}; give such a name')
    check_file(output, '--output')
    height, width = parse_size(arguments.size)
    if arguments.batch is not None and arguments.batch < 1:
        raise InputError(f'--batch={arguments.batch}: give 1 or more, or leave it out for any')
    module.check_packages()
    run = open_workdir(arguments.workdir, overrides, trust=arguments.trust)
    dtype = getattr(run.parts.model, 'dtype', 'float32')
    if arguments.format == 'onnx' and dtype != 'float32':
        raise InputError(f'--format=onnx: the model computes in {dtype}, which onnxruntime cannot '
                         f'on all processors; add --config.model.dtype=float32')
    *size, channels = run.record.input_shape
    images = Images(arguments.batch, height, width, channels, run.record.dtype)
    step, variables = run.variables(arguments.checkpoint)
    function = _function(run, variables, arguments.outputs)
    # Not the platform of this machine: a file runs on all of them, and only what is traced for CPUs
    # takes images of any size.
    with traced_for('onnx' if arguments.format == 'onnx' else 'cpu'):
        try:
            exported = export_most_general(lambda images: module.convert(function, images), images,
                                           tuple(size))
        except NotSupported as error:
            raise InputError(f'--format=onnx: this model has {error}; use --format=stablehlo'
                             ) from error
    if arguments.format == 'onnx':
        _compare(function, exported, run, tuple(size))
    output.parent.mkdir(parents=True, exist_ok=True)
    module.write(output, exported.program, _metadata(run, step, arguments.outputs, exported))
    print(f'checkpoint {step}: {exported.images} -> {arguments.outputs}, '
          f'{output.stat().st_size / 1e6:.1f} MB: {output}')
    if exported.reason:
        print(f'the model does not take {images}: {exported.reason}')


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """Height and width; None for both without a text.

    Raises:
      InputError: something else than two positive integers.
    """
    if text is None:
        return None, None
    sides = [side.strip() for side in text.split(',')]
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() and len(side) < 6
                                  and int(side) for side in sides):
        raise InputError(f'--size={text}: give height and width in pixels, such as --size=480,640, '
                         f'or leave it out')
    return int(sides[0]), int(sides[1])


def _function(run: Workdir, variables: Any, outputs: str) -> Callable[[jax.Array], jax.Array]:
    """Pixel values (B, H, W, C) -> masks or probabilities, preprocessing included."""
    task = run.parts.task
    finish = task.predictions if outputs == 'mask' else task.probabilities
    return lambda images: finish(run.parts.forward(variables, images))


def _compare(function: Callable, exported: Exported, run: Workdir, size: tuple[int, int]):
    """Prints how far onnxruntime is from the model on noise of the size of the training images.

    Raises:
      InputError: it does not run the model, or computes something else.
    """
    batch, height, width, channels = exported.images.shape
    shape = (batch or 1, height or size[0], width or size[1], channels)
    noise = np.random.default_rng(0).uniform(*run.record.value_range, shape)
    pixels = noise.astype(exported.images.dtype)
    found, wanted = onnx.run(exported.program, pixels), np.asarray(jax.jit(function)(pixels))
    if wanted.dtype.kind == 'f':
        far = float(np.abs(found - wanted).max())
        text = f'by at most {far:.1e}'
    else:
        far = float((found != wanted).mean())
        text = f'in {far:.3%} of the pixels'
    print(f'onnxruntime differs from the model {text}, on noise of {"x".join(map(str, shape))}')
    if not far <= LARGEST_DIFFERENCE:
        raise InputError(f'--format=onnx: onnxruntime differs from the model {text}, more than '
                         f'{LARGEST_DIFFERENCE:g}; use --format=stablehlo, and report it')


def _metadata(run: Workdir, step: int, outputs: str, exported: Exported) -> dict[str, Any]:
    """What the file says of itself; numbers that may be any are None."""
    spec, record = run.spec, run.record
    return {'jaxseg': version('jaxseg'), 'outputs': outputs, 'classes': spec.classes,
            'colors': spec.colors, 'overlapping': spec.overlapping,
            'images': dataclasses.asdict(exported.images), 'value_range': record.value_range,
            'checkpoint': step, 'run': run.path.absolute().name,
            'pretrained': record.pretrained and dataclasses.asdict(record.pretrained)}
