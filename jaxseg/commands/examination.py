"""What a page tells of a run on a split: scores, a score for every image, and a few images."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.commands.scoring import ObservedMetrics, metric_names
from jaxseg.commands.workdir import Workdir
from jaxseg.data.pipeline import eval_samples
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.data.splits import Subset
from jaxseg.data.visualize import as_rgb, class_indices, reduced
from jaxseg.inference.uncertainty import entropy
from jaxseg.report import pictures

STRETCH = (0.5, 99.5)  # percentiles shown as black and white, where images are not 8-bit
WORST_CLASSES = 3
# Metrics of a page beside those of the task. Boundaries take longer than all others together.
LEFT_OUT = ('boundary',)


@dataclasses.dataclass(frozen=True, eq=False)
class Examination:
    """A run on a split.

    Attributes:
      step: of the checkpoint; of an ensemble a tuple, as the variables.
      variables: of the checkpoint.
      scores: the metric state of all images, as `evaluate` has it.
      metrics: the counts of every image, in the order of the source, and further metric states.
    """

    step: int | tuple[int, ...]
    variables: Any
    scores: Any
    metrics: ObservedMetrics

    @property
    def image_scores(self) -> np.ndarray:
        """The mean IoU of each image over the classes that it has, NaN where none is labelled."""
        return self.metrics.images.image_miou()


def examine(run: Workdir, source: Source, checkpoint: str) -> Examination:
    """Scores a source with all metrics; no image is kept."""
    step, variables = run.variables(checkpoint)
    names = [name for name in metric_names('all', run.spec) if name not in LEFT_OUT]
    metrics = ObservedMetrics(run.spec.classes, names)
    # With probabilities images are answered one by one and in order.
    scores = run.parts.score(variables, source, run.spec, observe=metrics, with_probabilities=True)
    return Examination(step, variables, scores, metrics)


def choose(scores: np.ndarray, count: int) -> dict[str, list[int]]:
    """Indices of the best, median and worst images, each image once; unlabelled ones are left out.

    The groups have a third of `count` each, the median what is left over.
    """
    order = [int(i) for i in np.argsort(scores, kind='stable') if not math.isnan(scores[i])]
    count = min(count, len(order))
    ends = (count + 1) // 3
    middle = count - 2 * ends
    start = (len(order) - middle) // 2
    return {'worst': order[:ends], 'median': order[start:start + middle],
            'best': order[len(order) - ends:][::-1]}


def answers(run: Workdir, variables: Any, source: Source, indices: Sequence[int]
            ) -> Iterator[tuple[int, Mapping, np.ndarray]]:
    """(index, sample, probabilities (H, W, classes)) of some samples, one after the other.

    Args:
      variables: on all devices, as `run.place` returns them.
    """
    for sample in eval_samples(Subset(source, indices), spec=run.spec):
        yield (indices[sample['index']], sample,
               run.parts.inference.probabilities(variables, sample['image']))


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Draws a sample for a page: large images at a lower resolution."""

    spec: DatasetSpec

    def image(self, sample: Mapping) -> str:
        """The address of the image, stretched to the values that it has if it is not 8-bit."""
        image = reduced(sample['image'])
        value_range = self.spec.value_range
        if image.dtype != np.uint8:
            low, high = np.percentile(image[..., :3], STRETCH)
            value_range = (float(low), float(high)) if low < high else value_range
        return pictures.photograph(np.ascontiguousarray(as_rgb(image, value_range)))

    def truth(self, sample: Mapping) -> str:
        """The address of the labels; void is left clear."""
        mask = np.where(reduced(sample['valid']), reduced(sample['label']), self.spec.ignore_index)
        return self.prediction(mask)

    def prediction(self, mask: np.ndarray) -> str:
        """The address of a prediction."""
        return pictures.class_layer(class_indices(reduced(mask), self.spec), self.spec.colors)

    def heat(self, values: np.ndarray) -> str:
        """The address of values between 0 and 1."""
        return pictures.heat_layer(reduced(values))

    def error(self, sample: Mapping, mask: np.ndarray) -> str:
        """The address of what is wrong in a valid pixel, in any class of overlapping ones."""
        wrong = (sample['label'] != mask) & sample['valid']
        return pictures.error_layer(wrong if wrong.ndim == 2 else wrong.any(-1))

    def difference(self, sample: Mapping, mask: np.ndarray, base: np.ndarray) -> str:
        """The address of where one of two predictions is right and the other is wrong."""
        marks = []
        for right, wrong, color in ((mask, base, pictures.RIGHT), (base, mask, pictures.WRONG)):
            better = (sample['label'] == right) & (right != wrong) & sample['valid']
            marks.append((better if better.ndim == 2 else better.any(-1), color))
        return pictures.marked_layer(marks)


def uncertainty(run: Workdir) -> tuple[str, Callable[[Any, np.ndarray, np.ndarray], np.ndarray]]:
    """What is shown as uncertainty, in words, and `(variables, image, probabilities) -> (H, W)`.

    Values are between 0 and 1: where the inference method has a variance, which is summed over the
    classes, twice its square root, at most 1, and otherwise the entropy of the probabilities.
    """
    if hasattr(run.parts.inference, 'variance'):
        return ("square root of the probabilities' variance over augmented copies of the image, or "
                'over the models of an ensemble, summed over the classes: dark is 0, brightest 0.5 '
                'and more',
                functools.partial(_deviation, run))
    brightest = ('every class is as probable as not' if run.spec.overlapping else
                 'all classes are equally probable')
    return (f'entropy of the probabilities: dark is certain, brightest where {brightest}',
            lambda variables, image, probabilities: entropy(
                probabilities, overlapping=run.spec.overlapping))


def _deviation(run: Workdir, variables: Any, image: np.ndarray, probabilities: np.ndarray
               ) -> np.ndarray:
    return np.minimum(2 * np.sqrt(run.parts.inference.variance(variables, image)), 1)


def class_notes(iou: np.ndarray, sample: Mapping, spec: DatasetSpec) -> list[str]:
    """Lines on an image: its size, and the classes with the lowest IoU (classes,)."""
    lowest = [int(k) for k in np.argsort(iou)[:WORST_CLASSES] if not math.isnan(iou[k])]
    height, width = sample['image'].shape[:2]
    return [f'{width}\u00d7{height} pixels; lowest IoU: ' + ', '.join(
        f'{spec.classes[k]} {100 * iou[k]:.0f} %' for k in lowest)]
