"""The fingerprint of a data set, on masks worked out by hand."""

import numpy as np
import pytest

from jaxseg.data.fingerprint import fingerprint, measure_objects
from jaxseg.data.pairs import Pair
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError

SPEC = DatasetSpec('data', ('back', 'strip', 'spot'))


class Samples:
    """Samples from arrays; None is one that cannot be read."""

    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        if self.samples[index] is None:
            raise InputError(f'{index}.png: damaged')
        image, mask = self.samples[index]
        return {'image': image, 'mask': mask, 'name': f'image{index}'}


def image(value, height=8, width=12):
    return np.full((height, width, 3), value, np.uint8)


def mask(height=8, width=12, **boxes):
    """Zeros, with boxes (top, bottom, left, right) of the classes c1, c2 and c255."""
    found = np.zeros((height, width), np.uint8)
    for name, (top, bottom, left, right) in boxes.items():
        found[top:bottom, left:right] = int(name[1:])
    return found


def test_frequencies_objects_and_halves_are_counted():
    first = mask(c1=(1, 3, 0, 12), c2=(6, 8, 0, 2), c255=(4, 5, 0, 12))
    first[7, 4] = 2  # an object of one pixel
    second = mask(10, 20, c2=(0, 4, 0, 4))
    found = fingerprint({'train': Samples((image(10), first), (image(200, 10, 20), second)),
                         'val': Samples((image(7, 30, 6), mask(30, 6)))}, SPEC)
    assert found.counts == {'train': 2, 'val': 1}
    assert found.sizes == ((8, 6), (10, 12), (30, 20)) and found.distinct_sizes == 3
    counts = found.frequencies
    assert counts.pixels.tolist() == [96 - 24 - 5 - 12 + 200 - 16, 24, 5 + 16]
    assert counts.images.tolist() == [2, 1, 2] and counts.area.tolist() == [296, 96, 296]
    assert counts.void == 12 and counts.labelled == 296 - 12
    assert counts.value_range == (10, 200) and counts.samples == 2
    assert [objects.count for objects in found.objects] == [4, 1, 3]
    assert found.objects[1].areas == (24, 24, 24) and found.objects[1].thickness == 2
    assert found.objects[2].areas == pytest.approx((1.6, 4, 13.6))
    assert found.top[1] == 1 and found.top[2] == 16 / 21
    assert not found.duplicates and not found.problems
    text = found.table()
    assert 'images: 2 train, 1 val' in text and 'size: 6x8 to 20x30, median 12x10 (3 sizes)' in text
    assert 'duplicates between splits: none' in text


@pytest.mark.parametrize('width', [2, 4, 8])
def test_thickness_is_the_width_of_a_strip_at_any_length(width):
    layer = np.zeros((40, 400), np.uint8)
    layer[10:10 + width] = 1
    areas, thickness = measure_objects(layer)
    assert areas.tolist() == [400 * width] and thickness == width
    assert measure_objects(layer.T.copy())[1] == width


def test_neighbours_on_the_diagonal_are_one_object():
    assert measure_objects(np.eye(4, dtype=np.uint8))[0].tolist() == [4]
    assert measure_objects(np.ones((4, 6), np.uint8)) == (24, 4.0)


def test_equal_images_in_two_splits_are_duplicates():
    source = Samples((image(1), mask()), (image(2), mask()), (image(2), mask()))
    found = fingerprint({'train': source, 'val': Samples((image(2), mask(c1=(0, 1, 0, 1)))),
                         'test': Samples((image(3), mask()), (image(2, 12, 8), mask(12, 8)))}, SPEC)
    assert found.duplicates == (('train', 'image2', 'val', 'image0'),)
    assert 'image2 of train = image0 of val' in found.table()


class Files(Samples):
    """Samples with files, whose bytes are given."""

    def __init__(self, folder, files):
        super().__init__(*((image(index), mask()) for index in range(len(files))))
        folder.mkdir()
        self.pairs = [Pair(folder / f'{index}.png', (), f'image{index}')
                      for index in range(len(files))]
        for pair, data in zip(self.pairs, files, strict=True):
            pair.image.write_bytes(data)


def test_equal_files_are_found_beyond_the_images_that_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr('jaxseg.data.fingerprint.SAMPLES', 2)
    long = bytes(100_000)
    changed = [long[:place] + b'x' + long[place + 1:] for place in (0, 50_000)]
    train = Files(tmp_path / 'train', [b'a', b'twice', long, b'twice', b'b'])
    val = Files(tmp_path / 'val', [b'c', b'twice', *changed, b'twice'])
    test = Files(tmp_path / 'test', [b'd', changed[0], b'twice'])
    (tmp_path / 'test/0.png').unlink()
    for source, value in ((val, 100), (test, 200)):
        source.samples = [(image(value + index), mask()) for index in range(len(source))]
    found = fingerprint({'train': train, 'val': val, 'test': test}, SPEC)
    assert sorted(found.duplicates) == [
        ('train', 'image3', 'test', 'image2'), ('train', 'image3', 'val', 'image1'),
        ('train', 'image3', 'val', 'image4'), ('val', 'image2', 'test', 'image1')]
    assert 'splits: 4 (files of all 13 images, pixels of 6)' in found.table()
    val.samples[0] = (image(0), mask())  # as image0 of train, in another file
    assert fingerprint({'train': train, 'val': val}, SPEC).duplicates[0] == (
        'train', 'image0', 'val', 'image0')


def test_of_sources_without_files_the_number_of_images_is_said(monkeypatch):
    source = Samples((image(1), mask()), (image(2), mask()), (image(3), mask()))
    found = fingerprint({'train': source, 'val': Samples((image(4), mask()))}, SPEC)
    assert found.table().endswith('duplicates between splits: none')
    monkeypatch.setattr('jaxseg.data.fingerprint.SAMPLES', 2)
    found = fingerprint({'train': source, 'val': Samples((image(2), mask()))}, SPEC)
    assert found.table().endswith('duplicates between splits: none (among 3 of 4 images)')


def test_samples_that_cannot_be_read_are_problems():
    found = fingerprint({'train': Samples(None, (image(1), mask())), 'val': Samples(None)}, SPEC)
    assert found.problems == ('0.png: damaged', '0.png: damaged')
    assert found.frequencies.samples == 1
    nothing = fingerprint({'train': Samples(None)}, SPEC)
    assert nothing.frequencies.labelled == 0 and nothing.table()


def test_of_overlapping_masks_each_class_counts_alone():
    spec = DatasetSpec('data', ('a', 'b'), overlapping=True)
    layers = np.stack([mask(c1=(0, 4, 0, 12)), mask(c1=(2, 4, 0, 12), c255=(7, 8, 0, 12))], -1)
    found = fingerprint({'train': Samples((image(1), layers))}, spec)
    assert found.frequencies.pixels.tolist() == [48, 24] and found.frequencies.void == 12
    assert [objects.areas[1] for objects in found.objects] == [48, 24] and found.top == (1, 1)
