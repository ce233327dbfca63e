"""Write masks and overlays for images, with a trained model."""

import argparse
import pathlib
from collections.abc import Mapping, Sequence

from PIL import Image

from jaxseg.commands.workdir import check_folder, open_workdir
from jaxseg.data.decode import IMAGE_SUFFIXES, read_image
from jaxseg.data.pictures import overlay, save_index_png
from jaxseg.errors import InputError


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this verb."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--input', required=True, help='an image, or a folder of images (and of folders)')
    parser.add_argument('--output', required=True, help='folder that receives NAME.png and NAME_overlay.png')
    parser.add_argument('--checkpoint', default='best', help='best, latest, or a step (default: best)')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the verb; what cannot be read is named at the end, and the rest is written all the same."""
    run = open_workdir(arguments.workdir, overrides)
    source, output = pathlib.Path(arguments.input), pathlib.Path(arguments.output)
    images = find_images(source)
    check_output(images, source, output)
    _, variables = run.variables(arguments.checkpoint)
    predict = run.predictor(variables)
    output.mkdir(parents=True, exist_ok=True)
    problems = []
    for path, target in images.items():
        try:
            image = read_image(path, run.spec.channels)
        except InputError as error:
            problems.append(str(error))
            continue
        mask = predict(image)
        mask_file, overlay_file = results(output / target)
        mask_file.parent.mkdir(parents=True, exist_ok=True)
        save_index_png(mask_file, mask, run.spec)
        Image.fromarray(overlay(image, mask, run.spec)).save(overlay_file)
    print(f'{len(images) - len(problems)} of {len(images)} images: masks and overlays in {output}')
    if problems:
        raise InputError(f'{len(problems)} not read: ' + '; '.join(problems))


def find_images(path: pathlib.Path) -> dict[pathlib.Path, pathlib.Path]:
    """Image files and, relative to the output folder and without a suffix, where their results go.

    Hidden files and folders are left out, as they are in training.

    Raises:
      InputError: nothing there, or no image in the folder.
    """
    if path.is_file():
        return {path: pathlib.Path(path.stem)}
    if not path.is_dir():
        raise InputError(f'--input={path}: no such file or folder')
    targets = {file: file.relative_to(path).with_suffix('') for file in sorted(path.rglob('*'))
               if file.suffix.lower() in IMAGE_SUFFIXES
               and not any(part.startswith('.') for part in file.relative_to(path).parts)}
    if not targets:
        raise InputError(f'--input={path}: no image in this folder; known: {", ".join(sorted(IMAGE_SUFFIXES))}')
    return targets


def check_output(images: Mapping[pathlib.Path, pathlib.Path], source: pathlib.Path, output: pathlib.Path):
    """Raises InputError where results would overwrite an image or each other, or be among the images of the next time."""
    check_folder(output, '--output')
    if output.resolve().is_relative_to(source.resolve()):
        raise InputError(f'--output={output} lies in --input={source}, so the masks would be taken for images the next time; '
                         f'give a folder outside')
    owners = {file.resolve(): f'the image {file}' for file in images}
    for file, target in images.items():
        for result in results(output / target):
            owner = owners.setdefault(result.resolve(), f'the result of {file}')
            if owner != f'the result of {file}':
                raise InputError(f'--output={output}: {result.name}, a result of {file}, would overwrite {owner}; give another '
                                 f'folder, or rename one')


def results(place: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The files of mask and overlay."""
    return place.with_name(place.name + '.png'), place.with_name(place.name + '_overlay.png')
