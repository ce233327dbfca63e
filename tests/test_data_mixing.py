"""CutMix, ClassMix and copy-paste: whole pixels of one sample, which are chosen as documented."""

import jax
import numpy as np
import pytest

from jaxseg.data.device_mixing import ClassMix, CopyPaste, CutMix
from tests.batches import CLASSES, COLOR, keys, samples

MIXING = {'cutmix': CutMix(1.0), 'classmix': ClassMix(1.0, CLASSES),
          'copypaste': CopyPaste(('car',), p=1.0, classes=CLASSES, **COLOR)}


@pytest.mark.parametrize('name', MIXING)
@pytest.mark.parametrize('classes', [None, len(CLASSES)])
def test_mixing_takes_a_whole_pixel_of_one_sample(name, classes):
    # The image of sample i shows i, its labels and void can be told, too.
    images, labels, valid = samples(classes=classes)
    images[:] = np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1, 1) * 10
    if name == 'copypaste':  # without a move, so that places stay
        mix = CopyPaste(('car',), 1.0, 1.0, 0.0, 1.0, CLASSES, **COLOR)
    else:
        mix = MIXING[name]
    found = jax.jit(mix.__call__)(images, labels, valid, keys(4))
    count = 0
    for i in range(4):
        old, new = (tuple(x[j] for x in (images, labels, valid)) for j in (i, i - 1))
        pasted = np.asarray(found[0][i, ..., 0] == new[0][0, 0, 0])
        count += pasted.sum()
        for part, a, b in zip(found, old, new, strict=True):
            where = pasted.reshape(pasted.shape + (1,) * (a.ndim - 2))
            np.testing.assert_array_equal(part[i], np.where(where, b, a))
        if name == 'copypaste':
            car = new[1] == 2 if classes is None else new[1][..., 2] > 0
            np.testing.assert_array_equal(pasted, car & (new[2] if classes is None
                                                         else new[2][..., 2]))
        if name == 'classmix' and classes is None:
            taken = {c for c in range(3) if (pasted & (new[1] == c) & new[2]).any()}
            assert len(taken) == 2 and not (pasted & ~new[2]).any()
            np.testing.assert_array_equal(pasted, np.isin(new[1], list(taken)) & new[2])
    assert count


def test_cutmix_pastes_rectangles_of_every_size():
    labels = np.zeros((200, 10, 20), np.int32)
    regions = jax.jit(jax.vmap(CutMix()._region))(labels, labels == 0, keys(200))
    areas = np.asarray(regions.mean((1, 2)))
    for region in np.asarray(regions):
        rows, columns = region.any(1), region.any(0)
        np.testing.assert_array_equal(region, rows[:, None] & columns)
        assert np.abs(np.diff(np.r_[0, rows, 0])).sum() in (0, 2)
    # Its centre is anywhere, so part of it is cut off: E = E[s (1 - s / 4)^2], s = sqrt(area).
    side = np.sqrt(np.linspace(0, 1, 10001))
    assert areas.mean() == pytest.approx((side * (1 - side / 4)).__pow__(2).mean(), abs=0.05)


def test_copies_of_objects_are_moved():
    images, labels, valid = samples(8, 20, 20)
    labels[:], valid[:], images[:] = 0, True, 0
    labels[:, 8:12, 8:12], images[:, 8:12, 8:12] = 2, 255
    found = jax.jit(MIXING['copypaste'].__call__)(images, labels, valid, keys(8))[1]
    assert (found[:, 8:12, 8:12] == 2).all() and (found == 2).sum() > (labels == 2).sum()
