"""Write masks and overlays for images, with a trained model."""

import argparse
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxseg.commands.assemble import windowed_note
from jaxseg.commands.large import is_large, predict_large
from jaxseg.commands.overrides import check_overrides, file_name
from jaxseg.commands.paths import check_folder, path_argument
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.data.decode import IMAGE_SUFFIXES, read_image
from jaxseg.data.listing import describe_skipped, list_images
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.visualize import overlay, save_image, save_index_png
from jaxseg.errors import InputError, printable


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--input', required=True,
                        help='an image, or a folder of images (and of folders)')
    parser.add_argument('--output', required=True,
                        help='folder that receives NAME.png and NAME_overlay.png')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')
    parser.add_argument('--from-disk', action='store_true',
                        help='read TIFF and .npy images piece by piece and write masks as tiled '
                             'TIFF and .npy, as is done anyway with those above 1/8 of the memory')
    parser.epilog = ('Keys of the config that change predictions: '
                     '--config.inference.type=sliding.SlidingWindow')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand; files that cannot be read or written are listed at the end."""
    check_overrides('predict', overrides,
                    ('inference', 'eval_batch_size', 'model', 'task', 'preprocess'))
    path_argument(arguments.workdir, '--workdir')
    source = path_argument(arguments.input, '--input')
    output = path_argument(arguments.output, '--output')
    run = open_workdir(arguments.workdir, overrides, trust=arguments.trust, ensembles=True)
    images, skipped = find_images(source)
    check_output(images, source, output, run.spec)
    variables = run.place(run.variables(arguments.checkpoint)[1])
    problems: list[str] = []
    large = [path for path in images if arguments.from_disk or is_large(path)]
    written = _predict_large(run, variables, {path: output / images[path] for path in large},
                             problems)
    windowed = len(run.parts.inference.windowed)
    inputs = _read(run, {path: images[path] for path in images if path not in large}, problems)
    try:
        for job, mask in run.parts.inference.predictions(variables, inputs):
            problem = _write(output / job.target, job.image, mask, run.spec)
            problems += [problem] if problem else []
            written += not problem
            if len(run.parts.inference.windowed) > windowed:
                windowed += 1
                print(f'{printable(str(job.target))}: {windowed_note([job.image.shape[:2]])}')
    except MemoryError as error:
        problems.append(f'{source}: out of memory ({error}) after {written} of {len(images)} '
                        f'images; cut large images into tiles')
    left_out = f' ({describe_skipped(skipped)})' if skipped else ''
    print(f'{written} of {len(images)} images: masks and overlays in {output}{left_out}')
    if problems:
        raise InputError(f'{len(problems)} failed: ' + '; '.join(problems))


def _predict_large(run: Workdir, variables: Any, images: Mapping[pathlib.Path, pathlib.Path],
                   problems: list[str]) -> int:
    """How many of these images were predicted from disk to disk; the others are `problems`."""
    before = len(problems)
    for path, place in images.items():
        try:
            print(predict_large(run, variables, path, place), flush=True)
        except InputError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f'{place}: cannot be written ({error.strerror})')
    return len(images) - (len(problems) - before)


class _Job(NamedTuple):
    """An image that was read, and where its results go."""

    target: pathlib.Path
    image: np.ndarray


def _read(run: Workdir, images: Mapping[pathlib.Path, pathlib.Path], problems: list[str]
          ) -> Iterator[tuple[_Job, np.ndarray]]:
    """The images that can be read; the others are added to `problems`."""
    for path, target in images.items():
        try:
            image = read_image(path, run.spec.channels, run.record.value_range)
        except InputError as error:
            problems.append(str(error))
            continue
        yield _Job(target, image), image


def _write(place: pathlib.Path, image: np.ndarray, mask: np.ndarray, spec: DatasetSpec) -> str:
    """Writes the results of an image; the problem, or an empty text."""
    try:
        write_results(place, image, mask, spec)
    except OSError as error:
        return f'{place}: cannot be written ({error.strerror})'
    except MemoryError as error:
        return f'{place}: out of memory ({error}); cut the image into tiles'
    return ''


def find_images(path: pathlib.Path) -> tuple[dict[pathlib.Path, pathlib.Path], Mapping[str, int]]:
    """Image files with their results' place in the output folder, without suffix; what is left out.

    Raises:
      InputError: nothing there, or no image in the folder.
    """
    if path.is_file():
        return {path: pathlib.Path(path.stem)}, {}
    if not path.is_dir():
        raise InputError(f'--input={path}: no such file or folder')
    files, skipped = list_images(path, recursive=True)
    if not files:
        raise InputError(f'--input={path}: no image in this folder; '
                         f'known: {", ".join(sorted(IMAGE_SUFFIXES))}')
    return {file: file.relative_to(path).with_suffix('') for file in files}, skipped


def check_output(images: Mapping[pathlib.Path, pathlib.Path], source: pathlib.Path,
                 output: pathlib.Path, spec: DatasetSpec):
    """Raises InputError if results would overwrite an image or each other, or be inputs later."""
    check_folder(output, '--output')
    if output.resolve().is_relative_to(source.resolve()):
        raise InputError(f'--output={output} is in --input={source}, so the masks would be taken '
                         f'for images the next time; give a folder outside')
    owners = {file.resolve(): f'the image {file}' for file in images}
    for file, target in images.items():
        for result in results(output / target, spec):
            owner = owners.setdefault(result.resolve(), f'the result of {file}')
            if owner != f'the result of {file}':
                raise InputError(f'--output={output}: {result.name}, a result of {file}, '
                                 f'would overwrite {owner}; give another folder, or rename one')


def results(place: pathlib.Path, spec: DatasetSpec) -> list[pathlib.Path]:
    """The files of an image: its masks, one a class where they overlap, and its overlay."""
    masks = [f'{place.name}.png']
    if spec.overlapping:
        masks = [f'{place.name}_{file_name(name)}.png' for name in spec.classes]
    return [place.with_name(name) for name in (*masks, f'{place.name}_overlay.png')]


def write_results(place: pathlib.Path, image: np.ndarray, mask: np.ndarray, spec: DatasetSpec):
    """Writes mask and overlay."""
    *masks, overlay_file = results(place, spec)
    place.parent.mkdir(parents=True, exist_ok=True)
    if spec.overlapping:
        for index, path in enumerate(masks):
            save_image(path, Image.fromarray(255 * mask[..., index]))
    else:
        save_index_png(masks[0], mask, spec)
    save_image(overlay_file, Image.fromarray(overlay(image, mask, spec)))
