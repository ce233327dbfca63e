"""Write masks and overlays for images, with a trained model."""

import argparse
import pathlib
from collections.abc import Sequence

from PIL import Image

from jaxseg.commands.workdir import load, open_workdir
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
    images, output = find_images(pathlib.Path(arguments.input)), pathlib.Path(arguments.output)
    predict = load(arguments.workdir, arguments.checkpoint)
    output.mkdir(parents=True, exist_ok=True)
    problems = []
    for path, target in images.items():
        try:
            image = read_image(path, run.spec.channels)
        except InputError as error:
            problems.append(str(error))
            continue
        mask = predict(image)
        place = output / target
        place.parent.mkdir(parents=True, exist_ok=True)
        save_index_png(place.with_name(place.name + '.png'), mask, run.spec)
        Image.fromarray(overlay(image, mask, run.spec)).save(place.with_name(place.name + '_overlay.png'))
    print(f'{len(images) - len(problems)} of {len(images)} images: masks and overlays in {output}')
    if problems:
        raise InputError(f'{len(problems)} not read: ' + '; '.join(problems))


def find_images(path: pathlib.Path) -> dict[pathlib.Path, pathlib.Path]:
    """Image files and, relative to the output folder and without a suffix, where their results go.

    Raises:
      InputError: nothing there, no image in the folder, or two images that differ in their suffix only.
    """
    if path.is_file():
        return {path: pathlib.Path(path.stem)}
    if not path.is_dir():
        raise InputError(f'--input={path}: no such file or folder')
    files = sorted(file for file in path.rglob('*') if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise InputError(f'--input={path}: no image in this folder; known: {", ".join(sorted(IMAGE_SUFFIXES))}')
    targets: dict[pathlib.Path, pathlib.Path] = {}
    for file in files:
        target = file.relative_to(path).with_suffix('')
        if target in targets.values():
            raise InputError(f'--input={path}: two images are called {target}; rename one, their results would collide')
        targets[file] = target
    return targets
