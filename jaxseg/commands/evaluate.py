"""Score a trained model on a split: a table in the terminal, JSON, CSV and images in its folder."""

import argparse
from collections.abc import Sequence

import numpy as np

from jaxseg.commands.assemble import windowed_note
from jaxseg.commands.overrides import check_overrides, file_name, override_names
from jaxseg.commands.paths import check_folder, path_argument
from jaxseg.commands.postprocessing import check_split, choose, postprocessed
from jaxseg.commands.score_files import Chosen, Scored, write_scores
from jaxseg.commands.scoring import (
    EVALUATION_KEYS,
    METRICS,
    ObservedMetrics,
    checkpoint_selection,
    metric_names,
    scored_data,
)
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.data.splits import FilteredSource, split_identity
from jaxseg.errors import InputError
from jaxseg.processes import check_agreed, is_first

# Number of compiled programs, one for each image size, above which a hint is printed.
MANY_SIZES = 8


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--split', default='val', help='split of the data set (default: val)')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')
    parser.add_argument('--match', default='',
                        help='only the images whose name begins with this, such as Seq05VD')
    parser.add_argument('--num_images', type=int, default=8,
                        help='images written to predictions/ (default: 8)')
    parser.add_argument('--metrics', default='', metavar='NAME,NAME',
                        help=f'more metrics: {", ".join(METRICS)}, or all (default: none); all but '
                             f'boundary take the probabilities of every image, computed one image '
                             f'at a time instead of in batches; thresholds are for two classes or '
                             f'overlapping ones')
    cleaning = parser.add_mutually_exclusive_group()
    cleaning.add_argument('--choose_postprocessing', action='store_true',
                          help='only tries post-processing on the validation split, and writes the '
                               'areas that help to postprocess.json')
    cleaning.add_argument('--postprocess', action='store_true',
                          help='post-processes masks with these areas')
    parser.epilog = ('Keys of the config that change an evaluation: '
                     '--config.inference.type=sliding.SlidingWindow')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    if arguments.num_images < 0:
        raise InputError(f'--num_images={arguments.num_images} is negative; give 0 or more')
    if arguments.choose_postprocessing:
        check_split(arguments.split)
    check_overrides('evaluate', overrides, EVALUATION_KEYS)
    path_argument(arguments.workdir, '--workdir')
    run = open_workdir(arguments.workdir, overrides, trust=arguments.trust, ensembles=True)
    names = metric_names(arguments.metrics, run.spec)
    check_folder(run.path, '--workdir')
    _, source = scored_data(run, arguments.split)
    if arguments.match:
        source = FilteredSource(source, arguments.match)
        if not len(source):
            raise InputError(f'--match={arguments.match}: no image of {arguments.split!r} begins '
                             f'with {arguments.match!r}')
    step, variables = run.variables(arguments.checkpoint)
    check_agreed('--checkpoint', step)
    check_agreed('images', split_identity(source)['sha256'])
    if arguments.choose_postprocessing:
        print(choose(run, step, variables, source))
        return
    if arguments.postprocess:
        run, _ = postprocessed(run, step)
    chosen = Chosen(len(source), arguments.num_images)
    metrics = ObservedMetrics(run.spec.classes, names)

    def observe(sample: dict, prediction: np.ndarray):
        chosen(sample, prediction)
        metrics(sample, prediction)

    scores = run.parts.score(variables, source, run.spec, observe=observe,
                             with_probabilities=metrics.probabilities)
    metrics.merge_processes()
    chosen.merge_processes()
    windowed = run.parts.windowed()
    if is_first():
        selection = checkpoint_selection(run, arguments.checkpoint, step)
        result = {'split': arguments.split, 'match': arguments.match, 'checkpoint': step,
                  'checkpoint_selection': selection, 'images': len(source),
                  'windowed': len(windowed), 'overrides': list(overrides),
                  **scores.json(), **metrics.json()}
        _write(run, arguments, Scored(arguments.split, result, scores.table(), metrics, chosen,
                                      f'checkpoint {step} ({selection})'))
        _print_notes(run, windowed)


def _write(run: Workdir, arguments: argparse.Namespace, scored: Scored):
    changes = override_names(scored.result['overrides'], without=('eval_batch_size',))
    match = arguments.match and file_name(arguments.match)
    # The scores of another checkpoint than the best do not replace those of the best.
    checkpoint = arguments.checkpoint != 'best' and file_name(f'checkpoint={arguments.checkpoint}')
    name = '_'.join(filter(None, (file_name(arguments.split), match, checkpoint, changes,
                                  'postprocess' * arguments.postprocess)))
    write_scores(run.path, name, run.spec, scored)


def _print_notes(run: Workdir, windowed: Sequence[tuple[int, int]]):
    if windowed:
        print(windowed_note(windowed))
    if run.parts.inference.compilations > MANY_SIZES:
        print('the images have many sizes, each compiled by itself; '
              '--config.inference.type=sliding.SlidingWindow compiles one program for all')
