"""Class-balanced sampling: probabilities by hand, shares of many draws, steps, processes."""

import itertools

import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.data.pipeline import train_batches
from jaxseg.data.sampling import ClassBalanced, class_pixels
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

SPEC = DatasetSpec('toys', ('sky', 'road', 'sign', 'never'), mean=(0.5,), std=(0.25,))


class Scenes:
    """Four images: sky and void; sky; road and a sign; road."""

    masks = ([0] * 6 + [255] * 4, [0] * 10, [1] * 8 + [2] * 2, [1] * 6 + [255] * 4)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        mask = np.array(self.masks[index], np.uint8).reshape(2, 5)
        return {'image': np.full((2, 5, 1), index, np.uint8), 'mask': mask, 'name': str(index)}


def test_pixels_are_counted_without_void_and_without_reading_images():
    counts = [[6, 0, 0, 0], [10, 0, 0, 0], [0, 8, 2, 0], [0, 6, 0, 0]]
    np.testing.assert_array_equal(class_pixels(Scenes(), SPEC), counts)

    class Masks(Scenes):
        def mask(self, index):
            return super().__getitem__(index)['mask']

        def __getitem__(self, index):
            raise AssertionError

    np.testing.assert_array_equal(class_pixels(Masks(), SPEC), counts)


def test_probabilities_and_images_by_hand():
    draw = ClassBalanced(temperature=0.5)(Scenes(), SPEC)
    # Shares of the 32 labelled pixels: 1/2, 14/32, 2/32; the last class is in no image.
    weights = np.exp([(1 - 0.5) / 0.5, (1 - 0.4375) / 0.5, (1 - 0.0625) / 0.5])
    np.testing.assert_allclose(draw.probabilities, [*weights / weights.sum(), 0])
    assert [images.tolist() for images in draw.images] == [[0, 1], [2, 3], [2], []]
    # From 7 pixels on: the sky of one image, the road of one, and no sign.
    draw = ClassBalanced(min_pixels=7)(Scenes(), SPEC)
    assert [images.tolist() for images in draw.images] == [[1], [2], [], []]
    assert draw.probabilities[2] == 0


def test_many_draws_have_these_probabilities():
    draw, rng = ClassBalanced(temperature=0.5)(Scenes(), SPEC), np.random.default_rng(0)
    found = np.bincount([draw(rng) for _ in range(4000)], minlength=4) / 4000
    sky, road, sign, _ = draw.probabilities
    np.testing.assert_allclose(found, [sky / 2, sky / 2, road / 2 + sign, road / 2], atol=0.03)


def names(count=6, start_step=0, **options):
    draw = build('sampling', {'type': 'sampling.ClassBalanced'})(Scenes(), SPEC)
    batches = train_batches(Scenes(), spec=SPEC, transforms=(), batch_size=4, seed=3, draw=draw,
                            start_step=start_step, **options)
    return [batch['name'] for batch in itertools.islice(batches, count)]


def test_batches_depend_on_seed_and_step_only():
    whole = names()
    assert whole == names() and whole[4:] == names(2, start_step=4)
    halves = [names(process_index=i, process_count=2) for i in range(2)]
    for batch, first, second in zip(whole, *halves, strict=True):
        assert first + second == batch
    counts = [sum(batch.count(name) for batch in whole) for name in '0123']
    assert max(counts) == counts[2] > 12  # the sign is in the third of four images


def test_overlapping_masks_count_every_class():
    spec = DatasetSpec('toys', ('a', 'b'), mean=(0.5,), std=(0.25,), overlapping=True)

    class Overlapping(Scenes):
        def __getitem__(self, index):
            mask = np.ones((2, 5, 2), np.uint8)
            mask[0, :, 1], mask[1, 0, 1] = 0, 255
            return {'mask': mask}

    np.testing.assert_array_equal(class_pixels(Overlapping(), spec), [[10, 4]] * 4)


def test_what_nothing_can_be_drawn_from_is_refused():
    with pytest.raises(InputError, match='min_pixels: 11, .* more than 10 pixels'):
        ClassBalanced(min_pixels=11)(Scenes(), SPEC)

    class Void(Scenes):
        masks = ([255] * 10,) * 4

    with pytest.raises(InputError, match='no pixel of 4 masks is labelled'):
        ClassBalanced()(Void(), SPEC)
