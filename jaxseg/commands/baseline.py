"""Score k-means or a random forest on the data of an experiment, as `evaluate` scores models."""

import argparse
import collections
import concurrent.futures
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.build import build, build_losses
from jaxseg.classical.pixels import draw_pixels, features_at, predict_mask, shares
from jaxseg.commands import config as configs
from jaxseg.commands.environment import installed_version
from jaxseg.commands.overrides import check_overrides, file_name
from jaxseg.commands.paths import check_folder, path_argument
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.score_files import Chosen, Scored, write_scores
from jaxseg.commands.scoring import ObservedMetrics
from jaxseg.commands.workdir import merged_config
from jaxseg.cores import cores
from jaxseg.data.pipeline import eval_samples
from jaxseg.data.spec import DatasetSpec, Source, nothing_labelled
from jaxseg.data.splits import Subset, check_source, sample_names
from jaxseg.errors import InputError

# Keys that this command adds to those of an experiment, and all keys that have an effect on it.
PARTS = ('classifier', 'pixel_features')
EFFECTIVE = ('data', 'task', *PARTS)
DEFAULT_FEATURES = 'features.PixelFeatures'
LEAST = {'pixels': 1, 'seed': 0, 'num_images': 0}


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--config', help='experiment file, of which data and task are used')
    parser.add_argument('--workdir', help='or a run, whose data and task are used')
    parser.add_argument('--classifier', required=True,
                        help='kmeans.KMeans, random_forest.RandomForest, or package.module:Symbol')
    parser.add_argument('--output', required=True, help='folder that receives what evaluate writes')
    parser.add_argument('--split', default='val', metavar='NAME,NAME',
                        help='splits that are scored (default: val)')
    parser.add_argument('--match', default='',
                        help='also scores the images whose names begin with this by themselves, '
                             'such as Seq05VD')
    parser.add_argument('--pixels', type=int, default=100_000,
                        help='pixels of the split train from which the classifier learns, the same '
                             'number of every image (default: 100000)')
    parser.add_argument('--seed', type=int, default=0,
                        help='of the pixels and the classifier (default: 0)')
    parser.add_argument('--num_images', type=int, default=8,
                        help='images of each split written to predictions/ (default: 8)')
    parser.epilog = ('Keys: --config.data.root=FOLDER --config.classifier.trees=100 '
                     '--config.pixel_features.scales=[1,4]')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    for name, least in LEAST.items():
        if getattr(arguments, name) < least:
            raise InputError(f'--{name}={getattr(arguments, name)}: give {least} or more')
    check_overrides('baseline', overrides, EFFECTIVE)
    output = _output(arguments.output)
    config = _config(arguments, overrides)
    parts = {key: build(key, config.pop(key)) for key in PARTS}
    run = RunConfig.from_mapping(config)
    dataset = build('data', run.data)
    spec = dataset.spec
    task = _task(run, spec)
    sources = _sources(dataset, arguments)
    clock = _Clock()
    learned = _learn(check_source(dataset, 'train'), spec, arguments, **parts)
    fitting = clock.seconds('fit')
    output.mkdir(parents=True, exist_ok=True)
    fitted = {**{key: _record(part) for key, part in parts.items()}, 'pixels': learned.pixels,
              'training_images': learned.images, 'seed': arguments.seed,
              'scikit_learn': installed_version('scikit-learn'), 'overrides': list(overrides),
              **fitting}
    title = (f'{arguments.classifier}, {learned.pixels} pixels of {learned.images} images in '
             f'{fitting["seconds_of_fit"]:.0f} s')
    for split, source in sources.items():
        counts = {'': _Counts('', spec, task.scores(), Chosen(len(source), arguments.num_images))}
        if arguments.match:
            name = f'_{file_name(arguments.match)}'
            counts[name] = _Counts(arguments.match, spec, task.scores(), Chosen(0, 0))
        clock = _Clock()
        _count(source, learned, spec, counts.values())
        facts = {**fitted, **clock.seconds('prediction')}
        for name, each in counts.items():
            if each.images:
                write_scores(output, file_name(split) + name, spec, each.scored(
                    split, facts, f'{title}, prediction {facts["seconds_of_prediction"]:.0f} s'))


class _Learned(NamedTuple):
    """A fitted classifier as a function of images, and from how much it learned."""

    mask: Callable[[np.ndarray], np.ndarray]
    pixels: int
    images: int


def _output(text: str) -> pathlib.Path:
    output = path_argument(text, '--output')
    check_folder(output, '--output')
    if (output / 'config.json').exists():
        raise InputError(f'--output={output} holds a run, whose scores would be replaced; give '
                         f'another folder')
    return output


def _config(arguments: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
    """The experiment's keys and those of `PARTS`."""
    if bool(arguments.config) == bool(arguments.workdir):
        raise InputError('give --config=FILE, or the --workdir of a run')
    if arguments.workdir:
        path_argument(arguments.workdir, '--workdir')
    experiment = merged_config(arguments.config or None, arguments.workdir, (), arguments.trust)
    return configs.override({
        **experiment, 'classifier': {'type': arguments.classifier},
        'pixel_features': {'type': DEFAULT_FEATURES}}, overrides)


def _task(run: RunConfig, spec: DatasetSpec) -> Any:
    """The task, which has the scores.

    Raises:
      InputError: masks that may overlap: a classifier gives every pixel one class.
    """
    if spec.overlapping:
        raise InputError(f'data set {spec.name!r}: masks may overlap, and a baseline gives every '
                         f'pixel one class; use data without overlapping masks')
    return build('task', run.task, classes=spec.classes, overlapping=spec.overlapping,
                 terms=build_losses(run.losses))


def _sources(dataset: Any, arguments: argparse.Namespace) -> dict[str, Source]:
    """Every split that is scored."""
    sources = {split: check_source(dataset, split) for split in arguments.split.split(',')}
    if arguments.match and not any(name.startswith(arguments.match)
                                   for source in sources.values()
                                   for name in sample_names(source)):
        raise InputError(f'--match={arguments.match}: no image of {arguments.split!r} begins '
                         f'with {arguments.match!r}')
    return sources


def _learn(source: Source, spec: DatasetSpec, arguments: argparse.Namespace, *, classifier: Any,
           pixel_features: Any) -> _Learned:
    """Fits a classifier to pixels of a source.

    Raises:
      InputError: all of them are void.
    """
    chosen, count = shares(len(source), arguments.pixels)

    def draw(sample: Mapping) -> tuple[np.ndarray, np.ndarray]:
        places = draw_pixels(sample['valid'], count, (arguments.seed, sample['index']))
        found = features_at(pixel_features, sample['image'], spec.value_range, places)
        return found, sample['label'].ravel()[places]

    samples = eval_samples(Subset(source, chosen), spec=spec)
    features, labels = map(np.concatenate, zip(*_in_threads(draw, samples), strict=True))
    if not len(labels):
        raise InputError(nothing_labelled(spec, len(chosen)))
    predict = classifier.fit(features, labels, classes=len(spec.classes), seed=arguments.seed)

    def mask(image: np.ndarray) -> np.ndarray:
        return predict_mask(pixel_features, predict, image, spec.value_range)

    return _Learned(mask, len(labels), len(chosen))


class _Counts:
    """The scores of the images whose names begin with a prefix."""

    def __init__(self, prefix: str, spec: DatasetSpec, scores: Any, chosen: Chosen):
        self._prefix, self._scores, self._chosen = prefix, scores, chosen
        self._metrics, self.images = ObservedMetrics(spec.classes), 0

    def __call__(self, sample: dict, prediction: np.ndarray):
        if sample['name'].startswith(self._prefix):
            self.images += 1
            self._scores = self._scores.count(sample['label'], prediction, sample['valid'])
            self._metrics(sample, prediction)
            self._chosen(sample, prediction)

    def scored(self, split: str, facts: Mapping[str, Any], title: str) -> Scored:
        """For `write_scores`; `facts` are written to the JSON file, too."""
        result = {'split': split, 'match': self._prefix, 'images': self.images, **facts,
                  **self._scores.json(), **self._metrics.json()}
        return Scored(split, result, self._scores.table(), self._metrics, self._chosen, title)


class _Clock:
    """Seconds since it was made, and those of all cores that this process used meanwhile."""

    def __init__(self):
        self._started = time.perf_counter(), time.process_time()

    def seconds(self, what: str) -> dict[str, float]:
        """As they are written to the JSON file."""
        wall, cpu = self._started
        return {f'seconds_of_{what}': time.perf_counter() - wall,
                f'cpu_seconds_of_{what}': time.process_time() - cpu}


def _count(source: Source, learned: _Learned, spec: DatasetSpec, counts: Iterable[_Counts]):
    """Counts every image of a source with its prediction."""
    samples = eval_samples(source, spec=spec)
    for sample, mask in _in_threads(lambda sample: (sample, learned.mask(sample['image'])),
                                    samples):
        for each in counts:
            each(sample, mask)


def _in_threads(function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
    """`map(function, items)` on all cores; only a few items wait, so that memory is bounded."""
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    threads = cores()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def _record(part: Any) -> dict[str, Any]:
    """Name and fields of a part as plain values."""
    name = f'{type(part).__module__.rpartition(".")[2]}.{type(part).__name__}'
    fields = dataclasses.asdict(part) if dataclasses.is_dataclass(part) else {}
    return {'type': name, **fields}
