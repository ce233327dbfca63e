"""Transforms move image and mask together; batches depend on (seed, step) only; evaluation counts every pixel once."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data import transforms as T
from jaxseg.data.device_transforms import normalize
from jaxseg.data.pictures import as_rgb, contact_sheet, overlay, save_index_png
from jaxseg.data.pipeline import eval_batches, padded_size, train_batches
from jaxseg.data.spec import DatasetSpec, Fill, distinct_colors
from jaxseg.errors import InputError

SPEC = DatasetSpec('toys', ('a', 'b', 'c'), mean=(0.5,) * 3, std=(0.25,) * 3)
FILL = Fill((127.0, 127.0, 127.0), 255)


class Pictures:
    """Samples whose pixels all hold their index."""

    def __init__(self, count, sizes=((8, 10),)):
        self.count, self.sizes = count, sizes

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        size = self.sizes[i % len(self.sizes)]
        mask = np.full(size, i % 3, np.uint8)
        mask[0] = 255
        return {'image': np.full((*size, 3), i, np.uint8), 'mask': mask, 'name': f'p{i}'}


def stream(count=5, source=None, **options):
    options = {'transforms': (T.RandomFlip(), T.RandomRotation(20, 1.0)), 'batch_size': 4, 'seed': 1, **options}
    source = Pictures(6) if source is None else source
    return list(itertools.islice(train_batches(source, spec=SPEC, **options), count))


def same(one, other):
    return all(a['name'] == b['name'] and all((a[key] == b[key]).all() for key in ('image', 'label', 'valid'))
               for a, b in zip(one, other, strict=True))


def test_batches_depend_on_seed_and_step_only():
    whole = stream()
    assert same(whole, stream())
    assert same(whole[3:], stream(2, start_step=3))
    assert not same(whole, stream(seed=2))
    # An epoch of six is no multiple of a batch of four, and the next one has another order.
    names = sum((list(batch['name']) for batch in stream(6)), [])
    assert sorted(names[:6]) == sorted(names[6:12]) == [f'p{i}' for i in range(6)]
    assert names[:6] != names[6:12]


def test_workers_change_nothing():
    assert same(stream(), stream(workers=1))


def test_two_processes_share_each_batch_of_one():
    whole = stream()
    parts = [stream(process_index=i, process_count=2) for i in range(2)]
    for batch, *halves in zip(whole, *parts, strict=True):
        for key in ('image', 'label', 'valid'):
            for i, half in enumerate(halves):
                np.testing.assert_array_equal(half[key], batch[key][i::2])


def test_void_becomes_valid_and_a_small_set_fills_a_batch():
    batch, = stream(1, transforms=(), batch_size=8)
    assert batch['image'].dtype == np.uint8 and batch['label'].dtype == np.int32 and batch['valid'].dtype == bool
    assert not batch['valid'][:, 0].any() and batch['valid'][:, 1:].all() and not batch['label'][:, 0].any()
    for name, image, label in zip(batch['name'], batch['image'], batch['label'], strict=True):
        assert (image == int(name[1:])).all() and (label[1:] == int(name[1:]) % 3).all()


def test_problems_in_the_stream_keep_their_message():
    with pytest.raises(InputError, match='do not make a batch.*RandomCrop'):
        stream(1, source=Pictures(6, ((8, 10), (9, 10))))
    with pytest.raises(InputError, match='training split is empty'):
        stream(1, source=Pictures(0))


def test_evaluation_yields_every_pixel_once_in_few_shapes():
    sizes = [(20 + i, 90 - i) for i in range(40)]
    batches = list(eval_batches(Pictures(40, sizes), spec=SPEC, batch_size=4))
    names = [name for batch in batches for name in batch['name'] if name]
    assert sorted(names) == sorted(f'p{i}' for i in range(40))
    assert len({batch['image'].shape for batch in batches}) <= 4
    assert sum(batch['valid'].sum() for batch in batches) == sum((h - 1) * w for h, w in sizes)
    for batch in batches:
        for name, valid, size in zip(batch['name'], batch['valid'], batch['size'], strict=True):
            assert not valid[size[0]:].any() and not valid[:, size[1]:].any() and valid.any() == bool(name)


def test_the_ladder_of_sizes_is_short_and_close():
    assert padded_size(1, 32) == (32, 32)
    assert padded_size(360, 480) == (384, 480)
    assert padded_size(513, 1025) == (576, 1152)
    sides = {padded_size(side, 1)[0] for side in range(257, 4097)}
    assert len(sides) == 32
    assert all(side <= padded_size(side, 1)[0] <= side * 9 / 8 + 1 for side in range(257, 4097))


def test_normalising_by_hand():
    image = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(normalize(jnp.asarray(image), (0.5, 0.5, 0.2), (0.5, 0.25, 1.0)).ravel(), [-1, 2, 0], atol=1e-6)
    deep = np.array([65535], np.uint16).reshape(1, 1, 1, 1)
    np.testing.assert_allclose(normalize(jnp.asarray(deep), (0.5,), (0.5,)).ravel(), [1], atol=1e-6)


def test_pictures_of_masks(tmp_path):
    from PIL import Image

    mask = np.array([[0, 1], [2, 255]], np.uint8).repeat(4, 0).repeat(4, 1)
    save_index_png(tmp_path / 'a.png', mask, SPEC)
    with Image.open(tmp_path / 'a.png') as saved:
        np.testing.assert_array_equal(np.array(saved), mask)
        assert np.array(saved.convert('RGB'))[0, 7].tolist() == list(SPEC.colors[1])
    deep = mask.astype(np.uint16) * 300
    save_index_png(tmp_path / 'b.png', deep, SPEC)
    with Image.open(tmp_path / 'b.png') as saved:
        np.testing.assert_array_equal(np.array(saved), deep)
    image = np.full((8, 8, 3), 100, np.uint8)
    shown = overlay(image, mask, SPEC)
    assert shown[1, 6].tolist() == [round((100 + c) / 2) for c in SPEC.colors[1]]
    assert shown[6, 6].tolist() == [100] * 3
    for channels, dtype in ((1, np.uint8), (5, np.uint16)):
        assert as_rgb(np.zeros((8, 8, channels), dtype)).shape == (8, 8, 3)
    assert contact_sheet([shown] * 5, list('abcde'), SPEC).size[0] == 4 * 8


def test_the_palette_is_that_of_pascal_voc():
    assert distinct_colors(22)[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert len(set(distinct_colors(256))) == 256


def test_a_description_survives_its_file(tmp_path):
    SPEC.save(tmp_path / 'dataset.json')
    assert DatasetSpec.load(tmp_path / 'dataset.json') == SPEC
    with pytest.raises(InputError, match="ignore_index 1 is also the class 'b'"):
        DatasetSpec('toys', ('a', 'b'), ignore_index=1)
    for text, words in (('[', 'not JSON'), ('{"name": "toys"}', 'holds name, expected classes, colors')):
        (tmp_path / 'dataset.json').write_text(text)
        with pytest.raises(InputError, match=f'dataset.json: {words}'):
            DatasetSpec.load(tmp_path / 'dataset.json')
    with pytest.raises(InputError, match='none.json: cannot be read .*; restore the file'):
        DatasetSpec.load(tmp_path / 'none.json')
