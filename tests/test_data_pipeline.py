"""Batches depend on (seed, step) only; evaluation has every sample once, at its own size."""

import itertools
import signal
import threading
from unittest import mock

import grain
import numpy as np
import pytest

from jaxseg.data import pipeline
from jaxseg.data import transforms as T
from jaxseg.data.pipeline import AHEAD, check_batches, eval_samples, train_batches
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

SPEC = DatasetSpec('toys', ('a', 'b', 'c'), mean=(0.5,) * 3, std=(0.25,) * 3)


class Pictures:
    """Samples whose pixels all hold their index."""

    def __init__(self, count, shapes=((8, 10),)):
        self.count, self.shapes = count, shapes

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        size = self.shapes[i % len(self.shapes)]
        mask = np.full(size, i % 3, np.uint8)
        mask[0] = 255
        return {'image': np.full((*size, 3), i, np.uint8), 'mask': mask, 'name': f'p{i}'}


def stream(count=5, source=None, **options):
    options = {'transforms': (T.RandomFlip(), T.RandomRotation(20, 1.0)), 'batch_size': 4,
               'seed': 1, **options}
    source = Pictures(6) if source is None else source
    return list(itertools.islice(train_batches(source, spec=SPEC, **options), count))


def same(one, other):
    return all(a['name'] == b['name']
               and all((a[key] == b[key]).all() for key in ('image', 'label', 'valid'))
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


def test_a_sample_is_augmented_anew_in_every_epoch():
    def fill_with_random(image, mask, *, rng, fill):
        return np.full_like(image, rng.integers(256)), mask

    found = {'p0': set(), 'p1': set()}
    for batch in stream(6, source=Pictures(2), transforms=(fill_with_random,), batch_size=2):
        for name, image in zip(batch['name'], batch['image'], strict=True):
            found[name].add(int(image.max()))
    assert all(len(values) > 4 for values in found.values())


def test_workers_change_nothing():
    assert same(stream(), stream(workers=1))


def test_workers_ignore_ctrl_c_and_end_with_the_process_that_reads_from_them():
    with mock.patch.object(grain.IterDataset, 'mp_prefetch') as prefetch:
        stream(workers=2)
    ended = threading.Event()
    with (mock.patch('signal.signal') as handle, mock.patch('multiprocessing.parent_process') as of,
          mock.patch('os._exit', side_effect=lambda status: ended.set())):
        prefetch.call_args.args[1](0, 2)
        assert ended.wait(60)
    handle.assert_called_once_with(signal.SIGINT, signal.SIG_IGN)
    of.return_value.join.assert_called_once_with()  # returns when that process has ended


def test_two_processes_share_each_batch_of_one():
    whole = stream()
    parts = [stream(process_index=i, process_count=2) for i in range(2)]
    for batch, *halves in zip(whole, *parts, strict=True):
        for key in ('image', 'label', 'valid'):
            for i, half in enumerate(halves):
                np.testing.assert_array_equal(half[key], np.split(batch[key], 2)[i])


def test_void_becomes_valid_and_a_small_set_fills_a_batch():
    batch, = stream(1, transforms=(), batch_size=8)
    types = {key: batch[key].dtype for key in ('image', 'label', 'valid')}
    assert types == {'image': np.uint8, 'label': np.int32, 'valid': bool}
    assert not batch['valid'][:, 0].any() and batch['valid'][:, 1:].all()
    assert not batch['label'][:, 0].any()
    for name, image, label in zip(batch['name'], batch['image'], batch['label'], strict=True):
        assert (image == int(name[1:])).all() and (label[1:] == int(name[1:]) % 3).all()


def test_problems_in_the_stream_keep_their_message():
    with pytest.raises(InputError, match='cannot form a batch.*RandomCrop'):
        stream(1, source=Pictures(6, ((8, 10), (9, 10))))
    with pytest.raises(InputError, match='training split is empty'):
        stream(1, source=Pictures(0))


def test_overlapping_masks_make_labels_of_each_class():
    spec = DatasetSpec('toys', ('a', 'b'), mean=(0.5,), std=(0.25,), overlapping=True)
    mask = np.zeros((4, 5, 2), np.uint8)
    mask[..., 1], mask[0, 0] = 1, 255

    class Overlapping(Pictures):
        def __getitem__(self, i):
            return {'image': np.zeros((4, 5, 1), np.uint8), 'mask': mask, 'name': f'p{i}'}

    batch = next(train_batches(Overlapping(2), spec=spec, transforms=(), batch_size=2, seed=0))
    sample = next(eval_samples(Overlapping(2), spec=spec))
    assert batch['label'].shape == batch['valid'].shape == (2, 4, 5, 2)
    for label, valid in ((batch['label'][1], batch['valid'][1]),
                         (sample['label'], sample['valid'])):
        np.testing.assert_array_equal(valid, mask != 255)
        np.testing.assert_array_equal(label, np.where(mask == 255, 0, mask))


def test_evaluation_yields_every_sample_once_at_its_own_size():
    sizes = [(20 + i, 20 + 3 * AHEAD - i) for i in range(3 * AHEAD)]
    samples = list(eval_samples(Pictures(len(sizes), sizes), spec=SPEC))
    assert [sample['name'] for sample in samples] == [f'p{i}' for i in range(len(sizes))]
    assert [sample['index'] for sample in samples] == list(range(len(sizes)))
    for i, sample in enumerate(samples):
        assert sample['image'].shape == (*sizes[i], 3) and (sample['image'] == i).all()
        assert not sample['valid'][0].any() and sample['valid'][1:].all()
        assert (sample['label'][1:] == i % 3).all()


class Counted(Pictures):
    """Notes which samples were read."""

    def __init__(self, count):
        super().__init__(count)
        self.read = []

    def __getitem__(self, i):
        self.read.append(i)
        return super().__getitem__(i)


def test_an_evaluation_that_stops_early_decodes_only_a_few_ahead():
    source = Counted(100)
    samples = eval_samples(source, spec=SPEC)
    for _ in range(2):
        next(samples)
    samples.close()
    assert len(source.read) <= AHEAD + 2


def test_an_evaluation_holds_few_samples_that_are_large(monkeypatch):
    # A pixel has three values of 8 bits, a label of 32 and `valid`: three samples reach the limit.
    monkeypatch.setattr(pipeline, 'WAITING', 3 * 8 * 10 * (3 + 4 + 1))
    source = Counted(100)
    samples = eval_samples(source, spec=SPEC)
    for count in range(1, 6):
        next(samples)
        assert len(source.read) <= count + 2
    assert [sample['index'] for sample in samples] == list(range(5, 100))


@pytest.mark.parametrize('transforms, sizes, good', [
    ((), {(8, 10)}, True), ((), {(8, 10), (9, 10)}, False),
    ((T.RandomFlip(),), {(8, 10), (9, 10)}, False),
    ((T.RandomCrop((6, 6)),), {(8, 10), (3, 40)}, True),
    ((T.RandomScale(0.5, 2.0),), {(8, 10)}, False),
    ((T.RandomScale(0.5, 2.0), T.RandomCrop((6, 6))), {(8, 10)}, True)])
@pytest.mark.parametrize('value_range', [(0.0, 255.0), (-1000.0, 3000.0)])
def test_sizes_that_make_no_batch_show_before_training(transforms, sizes, good, value_range):
    class Sized(Pictures):
        def sizes(self):
            return sizes

    spec = DatasetSpec('toys', ('a', 'b'), value_range=value_range)
    jitter = (T.ColorJitter(p=1.0), *transforms)
    if good:
        check_batches(Sized(6), spec=spec, transforms=jitter)
    else:
        with pytest.raises(InputError, match="'toys': .*x.* cannot form a batch.*RandomCrop"):
            check_batches(Sized(6), spec=spec, transforms=jitter)
