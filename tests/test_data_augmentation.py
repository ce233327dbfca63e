"""Augmentation on the device: exact values, image and labels together, void, keys, devices."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.axis import mapped_over
from jaxseg.build import build, parts_of
from jaxseg.data.device_color import Blur, ColorJitter, Noise, adjust_hsv
from jaxseg.data.device_geometry import Affine, Elastic, Flip, warp
from jaxseg.data.device_mixing import ClassMix, CopyPaste, CutMix
from jaxseg.data.device_transforms import Normalize
from jaxseg.errors import InputError
from tests.batches import CLASSES, COLOR, GIVEN, RANGE, keys, samples

# Each with values that change much.
ALL = {
    'flip': Flip(0.5, 0.5, rotate90=True),
    'affine': Affine(0.6, 1.6, 40, 20, 0.3, **COLOR),
    'elastic': Elastic(3.0, 5.0, 1.0, **COLOR),
    'jitter': ColorJitter(0.5, 0.5, 0.5, 0.2, 0.5, 1.0, **COLOR),
    'noise': Noise(0.2, 1.0, **RANGE),
    'blur': Blur(1.0, 1.0, **RANGE),
    'cutmix': CutMix(1.0),
    'classmix': ClassMix(1.0, CLASSES),
    'copypaste': CopyPaste(('car',), p=1.0, classes=CLASSES, **COLOR),
}
COLORS = ('jitter', 'noise', 'blur')


COMPILED = jax.jit(lambda *batch: {name: part(*batch) for name, part in ALL.items()})


def augmented(images, labels, valid, keys):
    """What each makes of a batch, in one compilation; arrays of numpy."""
    return jax.device_get(COMPILED(images, labels, valid, keys))


def test_without_a_change_no_bit_changes():
    before = samples()
    unchanged = (
        Flip(0.0), Affine(**COLOR), Affine(0.5, 2.0, 90, 30, 0.5, p=0.0, **COLOR),
        Elastic(0.0, 5.0, 1.0, **COLOR), Elastic(p=0.0, **COLOR), ColorJitter(p=0.0, **COLOR),
        Noise(p=0.0, **RANGE), Blur(p=0.0, **RANGE), CutMix(0.0), ClassMix(0.0, CLASSES),
        CopyPaste(('car',), p=0.0, classes=CLASSES, **COLOR))
    after = jax.jit(lambda *sample: {repr(each): each(*sample) for each in unchanged})(
        *before, keys(4))
    jax.tree.map(np.testing.assert_array_equal, after, dict.fromkeys(after, before))


def test_changes_of_nothing_change_colors_by_rounding_only():
    before = samples(2, 5, 7)
    after = ColorJitter(0, 0, 0, 0, 0, 1.0, **COLOR)(*before, keys(2))
    np.testing.assert_allclose(after[0], before[0], atol=1e-4)


@pytest.mark.parametrize('flip, move', [
    (Flip(1.0), lambda x: x[:, :, ::-1]), (Flip(0.0, 1.0), lambda x: x[:, ::-1])])
@pytest.mark.parametrize('classes', [None, 2])
def test_flips_move_image_labels_and_valid(flip, move, classes):
    before = samples(2, 5, 7, classes)
    jax.tree.map(np.testing.assert_array_equal, flip(*before, keys(2)),
                 tuple(map(move, before)))


@pytest.mark.parametrize('width, turns', [(5, {0, 1, 2, 3}), (7, {0, 2})])
def test_rotations_by_90_degrees_are_all_drawn_and_keep_the_size(width, turns):
    image, label, valid = (np.repeat(x[:1], 40, 0) for x in samples(1, 5, width))
    images, labels, valids = jax.jit(Flip(0.0, rotate90=True).__call__)(
        image, label, valid, keys(40))
    found = set()
    for each in zip(images, labels, valids, strict=True):
        found.add(next(k for k in range(4) if all(
            np.array_equal(part, np.rot90(before[0], k))
            for part, before in zip(each, (image, label, valid), strict=True))))
    assert found == turns


def moved(sources, image, fill=(9.0,)):
    image = np.array(image, np.float32)[..., None]
    label = np.arange(1, image.size + 1).reshape(image.shape[:2])
    image, label, valid = warp(image, label, label != 2, jnp.array(sources, jnp.float32),
                               jnp.array(fill))
    return image[..., 0].tolist(), label.tolist(), valid.tolist()


def test_a_warp_by_hand():
    # A quarter to the right, at the border, beyond it, and exactly between two pixels.
    sources = [[[0, 0.25], [0, 2.25], [0, 2.5], [0.5, 0.0]]]
    values, labels, valid = moved(sources, [[10, 20, 30], [40, 50, 60]])
    assert values == [[12.5, 30.0, 9.0, 25.0]]
    assert labels == [[1, 3, 0, 4]] and valid == [[True, True, False, True]]
    # Label 2 is void, and a void pixel stays void.
    assert moved([[[0, 1.0]]], [[10, 20]]) == ([[20.0]], [[0]], [[False]])
    far = [[[1e30, -1e30]]]
    assert moved(far, [[10, 20]]) == ([[9.0]], [[0]], [[False]])


@pytest.mark.parametrize('width, affine, sources', [
    # Of the corners of 3 x 3 pixels: counter-clockwise, the top left shows the top right.
    (3, {'degrees': 90.0}, [(0, 2), (2, 2), (0, 0), (2, 0)]),
    (3, {'low': 2.0, 'high': 2.0}, [(0.5, 0.5), (0.5, 1.5), (1.5, 0.5), (1.5, 1.5)]),
    (3, {'shear': 45.0}, [(0, 1), (0, 3), (2, -1), (2, 1)]),
    (3, {'translation': 1 / 3}, [(-1, -1), (-1, 1), (1, -1), (1, 1)]),
    # Of 3 x 5 pixels, about the centre (1, 2).
    (5, {'degrees': 90.0}, [(-1, 3), (3, 3), (-1, 1), (3, 1)]),
    (5, {'translation': 0.5}, [(-1.5, -2.5), (-1.5, 1.5), (0.5, -2.5), (0.5, 1.5)])])
def test_affine_maps_by_hand(width, affine, sources, monkeypatch):
    # Every number is the largest that may be drawn.
    monkeypatch.setattr(jax.random, 'uniform', lambda key, shape=(), dtype=float, minval=0.0,
                        maxval=1.0: jnp.full(shape, maxval))
    sources_of = jax.jit(lambda key: Affine(**affine)._sources((3, width), key))
    found = np.asarray(sources_of(jax.random.key(0)))
    corners = found[[0, 0, 2, 2], [0, width - 1, 0, width - 1]]
    np.testing.assert_allclose(corners, sources, atol=1e-6)


def test_the_points_of_an_elastic_grid_are_as_far_apart_as_stated_at_any_size():
    key = jax.random.key(3)
    shift = np.asarray(jax.jit(lambda key: Elastic(spacing=64.0)._smooth((361, 101), key))(key))
    # Around the centre of 180, 50; at the points there is nothing to interpolate.
    np.testing.assert_allclose(shift[52::64, 50], jax.random.normal(key, (9, 5, 2))[2:7, 2],
                               atol=1e-5)


@pytest.mark.parametrize('name', ['flip', 'affine', 'elastic'])
def test_image_and_labels_move_together(name):
    # A square of 40 pixels, white and of class 1, on black of class 0.
    label = np.zeros((8, 40, 40), np.int32)
    label[:, 12:24, 8:20] = 1
    image = np.repeat(label[..., None] * 255.0, 3, -1).astype(np.float32)
    images, labels, valid = jax.device_get(jax.jit(ALL[name].__call__)(
        image, label, np.ones(label.shape, bool), keys(8)))
    # A pixel whose value is nearer to white has the label of white: both are sampled at one place.
    white, black = images[..., 0] > 250, images[..., 0] < 5
    assert (labels[white & valid] == 1).all() and (labels[black & valid] == 0).all()
    assert (white.sum((1, 2)) > 20).all() and len(np.unique(white.sum((1, 2)))) > (name != 'flip')
    np.testing.assert_array_equal(images[~valid], np.broadcast_to(
        np.float32([127.5, 63.75, 191.25]), images[~valid].shape))


@pytest.mark.parametrize('classes', [None, len(CLASSES)])
def test_void_pixels_stay_void_and_never_get_a_label(classes):
    before = images, labels, valid = samples(classes=classes)
    clean, other = (augmented(images, x, valid, keys(4))
                    for x in (labels, np.where(valid, labels, 77)))
    nothing = augmented(images, labels, np.zeros_like(valid), keys(4))
    for name in ALL:
        for x, old in zip(clean[name], before, strict=True):
            assert x.dtype == old.dtype and x.shape == old.shape
        for i in (0, 2):
            np.testing.assert_array_equal(clean[name][i], other[name][i])
        kept = clean[name][2]
        np.testing.assert_array_equal(clean[name][1][kept], other[name][1][kept])
        assert kept.any() and not nothing[name][2].any()


def test_keys_determine_the_result_and_colors_leave_labels_alone():
    before = samples()
    first, again, other = (augmented(*before, keys(4, seed)) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    for name in ALL:
        assert not np.array_equal(first[name][0], other[name][0])
    for name in COLORS:
        jax.tree.map(np.testing.assert_array_equal, first[name][1:], before[1:])
        assert first[name][0].min() >= 0 and first[name][0].max() <= 255 + 1e-4
    # Equal samples are changed unlike each other.
    same = augmented(*(np.repeat(x[:1], 4, 0) for x in before), keys(4))
    for name in ('affine', 'elastic', *COLORS):
        assert not np.array_equal(same[name][0][0], same[name][0][1])


@pytest.mark.parametrize('saturation, hue', [(1.0, 0.0), (0.5, 0.0), (3.0, 0.1), (0.0, 0.2),
                                             (1.0, -0.4)])
def test_saturation_and_hue_are_those_of_opencv(saturation, hue):
    x = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32)
    x[0], x[1, :, 1] = 0.5, 0.0  # grey, and without green
    hsv = cv2.cvtColor(x, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * hue) % 360
    hsv[..., 1] = np.minimum(hsv[..., 1] * saturation, 1)
    np.testing.assert_allclose(adjust_hsv(x, saturation, hue),
                               cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), atol=1e-4)


def test_brightness_contrast_and_gamma_by_hand(monkeypatch):
    monkeypatch.setattr(jax.random, 'uniform', lambda key, shape=(), dtype=float, minval=0.0,
                        maxval=1.0: jnp.full(shape, maxval))
    image = np.array([0, 51, 102, 51], np.float32).reshape(1, 2, 2, 1)  # 0, 0.2, 0.4; mean 0.2
    jitter = functools.partial(ColorJitter, saturation=0.0, p=1.0, mean=(0.5,), **RANGE)
    valid = np.ones((1, 2, 2), bool)

    def changed(**fields):
        images = jitter(**{'brightness': 0.0, 'contrast': 0.0, **fields})(
            image, valid * 1, valid, keys(1))[0]
        return (images / 255).ravel().tolist()

    assert changed(brightness=0.5) == pytest.approx([0, 0.3, 0.6, 0.3], abs=1e-6)
    assert changed(contrast=0.5) == pytest.approx([0, 0.2, 0.5, 0.2], abs=1e-6)  # not -0.1
    assert changed(gamma=1.0) == pytest.approx([0, 0.04, 0.16, 0.04], abs=1e-6)


def test_a_blurred_point_is_a_gaussian_and_a_flat_image_stays(monkeypatch):
    monkeypatch.setattr(jax.random, 'uniform', lambda key, shape=(), dtype=float, minval=0.0,
                        maxval=1.0: jnp.full(shape, maxval))
    image = np.zeros((1, 21, 21, 3), np.float32)
    image[0, 10, 10] = 255
    blur = Blur(1.5, 1.0, **RANGE)
    found = blur(image, None, None, keys(1))[0][0, ..., 0]
    np.testing.assert_allclose(found, cv2.GaussianBlur(image[0, ..., 0], (11, 11), 1.5), atol=1e-3)
    np.testing.assert_allclose(blur(image * 0 + 100, None, None, keys(1))[0], 100, rtol=1e-5)


def test_noise_has_the_deviation_that_was_drawn(monkeypatch):
    monkeypatch.setattr(jax.random, 'uniform', lambda key, shape=(), dtype=float, minval=0.0,
                        maxval=1.0: jnp.full(shape, maxval))
    image = np.full((1, 60, 60, 2), 100, np.float32)
    found = Noise(0.1, 1.0, **RANGE)(image, None, None, keys(1))[0]
    assert float(found.std()) == pytest.approx(25.5, rel=0.05)


PREPROCESS = {'type': 'device_transforms.Augment', 'augmentations': [
    {'type': 'device_geometry.Flip', 'vertical': 0.5}, {'type': 'device_geometry.Affine',
                                                       'degrees': 20.0},
    {'type': 'device_color.ColorJitter'}, {'type': 'device_mixing.ClassMix', 'p': 1.0}]}


def batch(count=8):
    image, label, valid = samples(count)
    return {'image': image.astype(np.uint8), 'label': label, 'valid': valid, 'more': np.ones(count)}


def test_an_evaluation_is_not_augmented_and_a_step_draws_by_its_key():
    augment = build('preprocess', PREPROCESS, classes=CLASSES, **GIVEN)
    plain = Normalize(**GIVEN)
    images = {'image': batch()['image']}
    jax.tree.map(np.testing.assert_array_equal, augment(images, None), plain(images, None))
    run = jax.jit(augment)
    first, again, other = (run(batch(), jax.random.key(seed)) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first['image'], other['image'])
    assert first['image'].dtype == jnp.float32 and first['more'].shape == (8,)
    # Normalised at the end: only what is outside of the image is the mean, which is 0.
    np.testing.assert_allclose(first['image'][~np.isclose(first['image'], 0)].std(), 1.2, atol=0.5)


def test_jit_over_devices_and_pmap_augment_as_one_device_does():
    augment = build('preprocess', {**PREPROCESS, 'augmentations': PREPROCESS['augmentations'][:3]},
                    classes=CLASSES, **GIVEN)
    mixing = build('preprocess', PREPROCESS, classes=CLASSES, **GIVEN)
    data, key = batch(), jax.random.key(3)
    sharding = NamedSharding(jax.make_mesh((4,), ('data',), axis_types=(AxisType.Auto,)), P('data'))
    one, whole = jax.jit(augment)(data, key), jax.jit(mixing)(data, key)
    sharded = jax.jit(mixing)(jax.device_put(data, sharding), key)

    def mapped(x):
        with mapped_over('data'):
            return augment(x, key)

    split = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), data)
    parts = jax.pmap(mapped, axis_name='data')(split)
    parts = jax.tree.map(lambda x: x.reshape(8, *x.shape[2:]), parts)
    for found, expected in ((sharded, whole), (parts, one)):
        for name in ('label', 'valid'):
            np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_allclose(found['image'], expected['image'], atol=2e-5)


@pytest.mark.parametrize('entry, message', [
    ({'type': 'device_color.ColorJitter'}, 'saturation 0.3 and hue 0, which need 3 channels.* 1'),
    ({'type': 'device_mixing.CopyPaste', 'pasted': ['cars']}, "'cars'.*did you mean 'car'"),
    ({'type': 'device_geometry.Affine', 'low': 2.0}, 'low 2 above high 1'),
    ({'type': 'device_transforms.Normalize'}, 'augmentations.0.*expects a class called with')])
def test_what_does_not_fit_is_refused_when_it_is_built(entry, message):
    with pytest.raises(InputError, match=message):
        build('preprocess', {'type': 'device_transforms.Augment', 'augmentations': [entry]},
              classes=CLASSES, mean=(0.5,), std=(0.5,), value_range=(0.0, 255.0))


def test_every_part_is_built_with_what_the_run_gives():
    for name in parts_of('augmentations'):
        needed = {'pasted': ['car']} if 'CopyPaste' in name else {}
        part = build('augmentations', {'type': name, **needed}, classes=CLASSES, **GIVEN)
        assert getattr(part, 'value_range', GIVEN['value_range']) == GIVEN['value_range']


def test_images_of_one_and_of_six_channels_pass_without_saturation():
    for channels in (1, 6):
        given = {'mean': (0.5,) * channels, 'value_range': (0.0, 255.0)}
        images, labels, valid = samples(2)
        images = np.repeat(images[..., :1], channels, -1)
        for augmentation in (Affine(degrees=20, **given), Elastic(2.0, 5.0, 1.0, **given),
                             ColorJitter(saturation=0.0, gamma=1.0, p=1.0, **given)):
            found = jax.eval_shape(augmentation.__call__, images, labels, valid, keys(2))
            assert found[0].shape == images.shape
