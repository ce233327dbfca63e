"""What in a run or its data makes its scores doubtful, each in a sentence."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jaxseg.commands.examination import Examination
from jaxseg.commands.report_sections import label_share
from jaxseg.commands.workdir import Workdir
from jaxseg.data.fingerprint import Fingerprint
from jaxseg.training.restore import list_checkpoints

FEW_IMAGES = 20  # of a split: a score rests on few
RARE_IMAGES = 5  # of training: a class is seen in few
TINY = 64  # pixels of an object
VOID = 0.2  # share of the labels
DIFFERENT_SIDES = 3  # largest side of all images divided by the smallest
NARROW = 0.1  # share of the value range that the pixels use
LISTED = 8


def run_warnings(run: Workdir, examination: Examination, split: str,
                 rows: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """On the training and on the split that is scored."""
    last = int(max((row['step'] for row in rows), default=run.config.steps))
    if last < run.config.steps and not _ended_early(run):
        yield (f'The training was stopped at step {last:,} of {run.config.steps:,}: '
               f'the model may become better.')
    count = len(examination.image_scores)
    if count < FEW_IMAGES:
        yield f'The scores rest on {count} images of {split!r}: others may give other scores.'
    absent = _names(run.spec.classes, label_share(examination.scores) == 0)
    if absent:
        yield (f'In the labels of {split!r} these classes do not occur, so that their IoU is 0 if '
               f'they are predicted anywhere: {absent}.')
    counts = examination.metrics.images
    never = _names(run.spec.classes, (counts.fn.sum(0) > 0) & ((counts.tp + counts.fp).sum(0) == 0))
    if never:
        yield f'These classes occur in {split!r}, but are never predicted: {never}.'
    unlabelled = int(np.isnan(examination.image_scores).sum())
    if unlabelled:
        yield f'{unlabelled} of {count} images of {split!r} have no labelled pixel.'
    windowed = len(run.parts.inference.windowed)
    if windowed:
        yield (f'{windowed} images were too large for the memory in one piece, and went through '
               f'windows.')


def _ended_early(run: Workdir) -> bool:
    """Whether early stopping has ended the training."""
    checkpoints, _ = list_checkpoints(run.path / 'checkpoints')
    return bool(checkpoints) and checkpoints[max(checkpoints)].progress.stalled(
        run.config.early_stopping)


def data_warnings(found: Fingerprint) -> Iterator[str]:
    """On the data, of up to 1,000 images of each split."""
    frequencies, spec = found.frequencies, found.frequencies.spec
    if found.duplicates:
        pairs = '; '.join(f'{a} of {one} and {b} of {other}'
                          for one, a, other, b in found.duplicates[:3])
        yield (f'{len(found.duplicates)} images are in two splits, so the score is too good: '
               f'{pairs}{"..." if found.duplicates[3:] else ""}')
    if found.problems:
        yield f'{len(found.problems)} images cannot be used: {found.problems[0]}'
    unseen = _names(spec.classes, frequencies.images == 0)
    if unseen:
        yield f'No training image shows these classes, so they cannot be learned: {unseen}.'
    seldom = (frequencies.images > 0) & (frequencies.images <= min(
        RARE_IMAGES, frequencies.samples // 2))
    if seldom.any():
        yield (f'At most {RARE_IMAGES} of {frequencies.samples:,} training images show these '
               f'classes: {_names(spec.classes, seldom)}.')
    share = frequencies.void / max(frequencies.void + frequencies.labelled, 1)
    if share > VOID:
        yield f'{share:.0%} of the pixels of the training images are void, without a label.'
    tiny = np.array([bool(each.count and each.areas[1] < TINY) for each in found.objects])
    if tiny.any():
        yield (f'Half of the objects in the training images have fewer than {TINY} pixels in these '
               f'classes, and may be lost at the stride of the encoder: '
               f'{_names(spec.classes, tiny)}.')
    (low, narrow), _, (high, wide) = found.sizes
    if max(high / low, wide / narrow) > DIFFERENT_SIDES:
        yield (f'The sizes of the images differ much, from {narrow}\u00d7{low} to '
               f'{wide}\u00d7{high} pixels: objects of one class may have very different sizes.')
    yield from _value_warnings(found)


def _value_warnings(found: Fingerprint) -> Iterator[str]:
    (lowest, highest), (low, high) = (found.frequencies.value_range,
                                      found.frequencies.spec.value_range)
    if lowest < low or highest > high:
        yield (f'Pixel values of {lowest:g} to {highest:g} exceed data.value_range, {low:g} to '
               f'{high:g}.')
    elif highest - lowest < NARROW * (high - low):
        yield (f'Pixel values of {lowest:g} to {highest:g} are a small part of data.value_range, '
               f'{low:g} to {high:g}: to the model the images have nearly no contrast; state the '
               f'range that they have.')


def _names(classes: Sequence[str], chosen: np.ndarray) -> str:
    names = [name for name, has in zip(classes, chosen, strict=True) if has]
    more = f' and {len(names) - LISTED} more' if len(names) > LISTED else ''
    return ', '.join(names[:LISTED]) + more
