"""Write masks, overlays, probabilities and polygons of images, with a trained model."""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import get_args

from jaxseg.commands.overrides import check_overrides
from jaxseg.commands.paths import check_folder, path_argument
from jaxseg.commands.postprocessing import postprocessed
from jaxseg.commands.predict_record import PredictRecord, settings_of
from jaxseg.commands.prediction import Prediction
from jaxseg.commands.results import (
    OUTPUTS,
    ProbabilityFormat,
    Results,
    parse_outputs,
    write_coco,
)
from jaxseg.commands.workdir import open_workdir
from jaxseg.data.decode import IMAGE_SUFFIXES
from jaxseg.data.listing import describe_skipped, list_images
from jaxseg.errors import InputError
from jaxseg.inference.uncertainty import has_variance


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--input', required=True,
                        help='an image, or a folder of images (and of folders)')
    parser.add_argument('--output', required=True,
                        help='folder that receives NAME.png, NAME_overlay.png and so on')
    parser.add_argument('--outputs', default='indices,overlays',
                        help=f'what is written: {", ".join(OUTPUTS)} (default: indices,overlays)')
    parser.add_argument('--probabilities', choices=get_args(ProbabilityFormat),
                        help='one float32 array, or a 16-bit image for each class, of the output '
                             'probabilities (default: npy)')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')
    parser.add_argument('--postprocess', action='store_true',
                        help='post-processes masks with the areas that evaluate '
                             '--choose_postprocessing has chosen')
    parser.add_argument('--resume', action='store_true',
                        help='leaves out images that a prediction which was stopped has done')
    parser.add_argument('--from_disk', action='store_true',
                        help='read TIFF and .npy images piece by piece and write masks as tiled '
                             'TIFF and .npy, as is done anyway with those above 1/8 of the memory')
    parser.epilog = ('Keys of the config that change predictions: '
                     '--config.inference.type=sliding.SlidingWindow')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand; files that cannot be read or written are listed at the end."""
    check_overrides('predict', overrides,
                    ('inference', 'eval_batch_size', 'model', 'task', 'preprocess'))
    outputs = parse_outputs(arguments.outputs)
    if arguments.probabilities and 'probabilities' not in outputs:
        raise InputError(f'--probabilities={arguments.probabilities}: has no effect without '
                         f'--outputs=probabilities; name them there, or remove it')
    path_argument(arguments.workdir, '--workdir')
    source = path_argument(arguments.input, '--input')
    output = path_argument(arguments.output, '--output')
    run = open_workdir(arguments.workdir, overrides, trust=arguments.trust, ensembles=True)
    images, skipped = find_images(source)
    results = Results(run.spec, outputs, arguments.probabilities or 'npy',
                      has_variance(run.parts.inference))
    check_output(images, source, output, results)
    step, variables = run.variables(arguments.checkpoint)
    settings = {**results.settings, 'postprocess': None}
    if arguments.postprocess:
        run, settings['postprocess'] = postprocessed(run, step)
    record = PredictRecord(output, settings_of(run, step, variables, settings),
                           resume=arguments.resume)
    prediction = Prediction(run, results, output, record, images,
                            from_disk=arguments.from_disk)
    try:
        prediction.run(run.place(variables))
    except MemoryError as error:
        prediction.problems.append(
            f'{source}: out of memory ({error}) after {len(prediction.done)} of {len(images)} '
            f'images; cut large images into tiles')
    if 'polygons' in outputs and prediction.done:
        write_coco(output, prediction.polygons(), run.spec)
    left_out = f' ({describe_skipped(skipped)})' if skipped else ''
    print(f'{len(prediction.done)} of {len(images)} images: {", ".join(outputs)} in {output}'
          f'{prediction.speed}{left_out}')
    if prediction.problems:
        raise InputError(f'{len(prediction.problems)} failed: ' + '; '.join(prediction.problems))


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
                 output: pathlib.Path, results: Results):
    """Raises InputError if results would overwrite an image or each other, or be inputs later."""
    check_folder(output, '--output')
    if output.resolve().is_relative_to(source.resolve()):
        raise InputError(f'--output={output} is in --input={source}, so the masks would be taken '
                         f'for images the next time; give a folder outside')
    owners = {file.resolve(): f'the image {file}' for file in images}
    for file, target in images.items():
        for result in results.files(output / target):
            owner = owners.setdefault(result.resolve(), f'the result of {file}')
            if owner != f'the result of {file}':
                raise InputError(f'--output={output}: {result.name}, a result of {file}, '
                                 f'would overwrite {owner}; give another folder, or rename one')
