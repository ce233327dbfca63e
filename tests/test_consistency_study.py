"""`experiments/consistency_study.py`: masks that move with the image, and that do not."""

import cv2
import numpy as np
import pytest

from experiments import consistency_study
from jaxseg.data.folder import Folder
from jaxseg.errors import InputError

CLASSES, SHIFT = ('left', 'right'), 3


def frames(count: int) -> tuple[list, list, list]:
    """Images of a smooth texture that moves to the right, their masks, and what is not void."""
    noise = np.random.default_rng(0).uniform(0, 255, (96, 160, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    images, masks = [], []
    for index in range(count):
        start = 20 - SHIFT * index
        images.append(np.ascontiguousarray(texture[:, start:start + 128].astype(np.uint8)))
        masks.append(np.tile(np.arange(start, start + 128) >= 80, (96, 1)).astype(np.uint8))
    return images, masks, [np.ones(mask.shape, bool) for mask in masks]


def test_a_mask_that_moves_with_the_image_is_consistent():
    images, masks, valid = frames(4)
    counted = consistency_study.consistency(masks, images, valid, CLASSES)
    assert counted.summary()['miou'] > 0.98
    # Most pixels are seen in both frames; the columns that come in are not.
    assert 0.8 * 3 * 96 * 128 < counted.matrix.sum() <= 3 * 96 * (128 - SHIFT)


def test_a_mask_that_stays_while_the_image_moves_is_not():
    images, masks, valid = frames(4)
    stays = consistency_study.consistency(masks[:1] * 4, images, valid, CLASSES)
    moves = consistency_study.consistency(masks, images, valid, CLASSES)
    # Three columns of a frame change their class.
    changed = stays.summary()['pixel_accuracy'] - moves.summary()['pixel_accuracy']
    assert changed == pytest.approx(-SHIFT / 125, abs=0.01)


def test_void_of_either_frame_does_not_count():
    images, masks, valid = frames(3)
    valid[1][:] = False
    assert consistency_study.consistency(masks, images, valid, CLASSES).matrix.sum() == 0


def test_the_flow_back_and_there_tells_what_is_seen():
    backward = np.zeros((2, 4, 2), np.float32)
    backward[..., 0] = -1  # every pixel comes from its left neighbour
    forward = -backward
    forward[0, 1, 0] = 3  # this one went elsewhere
    np.testing.assert_array_equal(consistency_study.visible(backward, forward),
                                  [[False, True, False, True], [False, True, True, True]])


def test_a_clip_needs_two_frames_of_one_size(tmp_path):
    for name, side in (('a_1', 8), ('a_2', 8), ('b_1', 9), ('b_2', 8)):
        for kind in ('images', 'masks'):
            folder = tmp_path / 'val' / kind
            folder.mkdir(parents=True, exist_ok=True)
            channels = 3 if kind == 'images' else 1
            cv2.imwrite(str(folder / f'{name}.png'), np.zeros((side, 8, channels), np.uint8))
    data = Folder(str(tmp_path), classes=('left', 'right'))
    clip = consistency_study.clip_of(data, 'val', 'a_')
    assert [sample['name'] for sample in clip] == ['a_1', 'a_2']
    with pytest.raises(InputError, match="1 names of val begin with 'b_2'"):
        consistency_study.clip_of(data, 'val', 'b_2')
    with pytest.raises(InputError, match='frames of val have the sizes'):
        consistency_study.clip_of(data, 'val', 'b_')
