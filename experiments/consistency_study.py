"""How consistent the predictions of trained models are from one frame of a video to the next.

    python experiments/consistency_study.py RUN [RUN ...] [--split val] [--prefix 0016E5_]
        [--table experiments/results/consistency_study.md]

Every work directory predicts the frames of one clip, whose names end in the number of the frame; by
default CamVid's validation split, 101 frames of 7 seconds. The mask of a frame is moved along the
optical flow (Kroeger et al. 2016, arXiv:1603.03590, DIS) to the next frame and compared with the
mask there: the mean IoU of the two is the temporal consistency of Liu et al. 2020,
arXiv:2002.11433, beside the share of equal pixels. Pixels that are not seen in both frames do not
count: those whose flow there and back differs by more than a pixel, and those of void. The labels
themselves are measured in the same way, which says what a perfect model would have: errors of the
flow, and of the annotators, are in all rows. A model that predicts one class everywhere is
consistent: read the row beside the score.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import cv2
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent / 'benchmarks'))

from measure import machine  # noqa: E402

from jaxseg.commands.load import load  # noqa: E402
from jaxseg.data.folder import Folder  # noqa: E402
from jaxseg.errors import InputError  # noqa: E402
from jaxseg.metrics.confusion import Confusion  # noqa: E402

LARGEST_ERROR = 1.0  # pixels by which the flow there and back may miss its start


def flow_between(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(H, W, 2): how far x and y of the pixels of `image`, uint8 RGB, move to `other`."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (image, other)]
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)


def moved(array: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`array` (H, W, ...) where the pixels of `flow` come from, and which are inside (H, W)."""
    height, width = flow.shape[:2]
    x = np.rint(np.arange(width)[None] + flow[..., 0]).astype(int)
    y = np.rint(np.arange(height)[:, None] + flow[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return array[y.clip(0, height - 1), x.clip(0, width - 1)], inside


def visible(backward: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Pixels of the later frame, (H, W) bool, that the flow back and there returns to their place.

    Args:
      backward: the flow from the later frame to the earlier one.
      forward: that from the earlier one to the later one.
    """
    returned, inside = moved(forward, backward)
    return inside & (np.linalg.norm(backward + returned, axis=-1) <= LARGEST_ERROR)


def consistency(masks: Sequence[np.ndarray], images: Sequence[np.ndarray],
                valid: Sequence[np.ndarray], classes: tuple[str, ...]) -> Confusion:
    """The classes of every pixel in the frame before (rows) and in its own (columns)."""
    counted = Confusion.empty(classes)
    for index in range(1, len(images)):
        backward = flow_between(images[index], images[index - 1])
        forward = flow_between(images[index - 1], images[index])
        seen = visible(backward, forward) & valid[index] & moved(valid[index - 1], backward)[0]
        counted = counted.count(moved(masks[index - 1], backward)[0], masks[index], seen)
    return counted


def clip_of(data: Folder, split: str, prefix: str) -> list[dict]:
    """The samples of the frames whose names begin so, in the order of their names.

    Raises:
      InputError: fewer than two frames, or frames of several sizes.
    """
    source = data.source(split)
    frames = sorted((name, index) for index, name in enumerate(source.names)
                    if name.startswith(prefix))
    if len(frames) < 2:
        raise InputError(f'--prefix: {len(frames)} names of {split} begin with {prefix!r}; a clip '
                         f'has two frames or more')
    samples = [source[index] for _, index in frames]
    if len(sizes := {sample['image'].shape for sample in samples}) > 1:
        raise InputError(f'--prefix: frames of {split} have the sizes {sorted(sizes)}; those of a '
                         f'clip have one')
    return samples


def table(rows: dict[str, Confusion], frames: int, classes: Sequence[str]) -> str:
    """Markdown, with the classes whose consistency is lowest in the labels."""
    truth = rows['labels'].per_class()['iou']
    hardest = np.argsort(np.nan_to_num(truth, nan=np.inf))[:4]
    names = ' | '.join(classes[index] for index in hardest)
    lines = ['# Temporal consistency', '',
             f'`python experiments/consistency_study.py`, {frames} frames. {machine()}.', '',
             f'| masks | mean IoU of frames | equal pixels | {names} |',
             '|---' * (3 + len(hardest)) + '|']
    for name, counted in rows.items():
        summary, ious = counted.summary(), counted.per_class()['iou']
        values = [summary['miou'], summary['pixel_accuracy'], *ious[hardest]]
        lines.append(f'| {name} | ' + ' | '.join(f'{value:.3f}' for value in values) + ' |')
    return '\n'.join(lines) + '\n'


def main():
    """Predicts, compares, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', help='work directories')
    parser.add_argument('--root', default='../shared/data/camvid')
    parser.add_argument('--split', default='val')
    parser.add_argument('--prefix', default='0016E5_')
    parser.add_argument('--table', type=pathlib.Path)
    arguments = parser.parse_args()
    data = Folder(arguments.root)
    clip, spec = clip_of(data, arguments.split, arguments.prefix), data.spec
    images, labels = ([sample[key] for sample in clip] for key in ('image', 'mask'))
    valid = [mask != spec.ignore_index for mask in labels]
    rows = {'labels': consistency(labels, images, valid, spec.classes)}
    for run in arguments.runs:
        predict = load(run)
        rows[pathlib.Path(run).name] = consistency([predict(image) for image in images], images,
                                                   valid, spec.classes)
    text = table(rows, len(images), spec.classes)
    print(text)
    if arguments.table:
        arguments.table.write_text(text)


if __name__ == '__main__':
    main()
