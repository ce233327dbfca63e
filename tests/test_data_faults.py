"""Files damaged while training: the run ends and names the file, or takes another sample."""

import itertools

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.faults import Faults, ReadableMasks
from jaxseg.data.folder import Folder
from jaxseg.data.pipeline import train_batches
from jaxseg.data.sampling import class_pixels
from jaxseg.data.splits import listed_bytes, split_identity
from jaxseg.data.transforms import RandomCrop, RandomFlip
from jaxseg.errors import InputError

COUNT = 100


def write(folder, name, size=(6, 4)):
    rng = np.random.default_rng(int(name))
    for part, array, end in (('images', rng.integers(0, 256, (*size[::-1], 3)), 'png'),
                             ('masks', rng.integers(0, 2, size[::-1]), 'png')):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(folder / part / f'{name}.{end}')


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pairs')
    for index in range(COUNT):
        write(folder / 'train', f'{index:03d}')
    return folder


@pytest.fixture
def source(original, tmp_path):
    """A data set whose files are links, so that a test can replace them."""
    for path in original.rglob('*.png'):
        link = tmp_path / path.relative_to(original)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    dataset = Folder(str(tmp_path), classes=['a', 'b'])
    return dataset.source('train'), dataset.spec, tmp_path / 'train'


def stream(source, count=COUNT // 4, damaged='skip', **options):
    source, spec, _ = source
    options = {'transforms': (RandomFlip(),), **options}
    batches = train_batches(source, spec=spec, batch_size=4, seed=0, damaged=damaged, size=(4, 6),
                            **options)
    return list(itertools.islice(batches, count))


def delete(folder, name):
    (folder / 'images' / f'{name}.png').unlink()


def truncate(folder, name):
    path = folder / 'images' / f'{name}.png'
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:len(content) // 2])


def resize(folder, name):
    for part in ('images', 'masks'):
        (folder / part / f'{name}.png').unlink()
    write(folder, name, (7, 4))


def resize_image(folder, name):
    mask = folder / 'masks' / f'{name}.png'
    content = mask.read_bytes()
    resize(folder, name)
    mask.write_bytes(content)


DAMAGES = (delete, truncate, resize, resize_image)


@pytest.mark.parametrize('damage', DAMAGES)
def test_by_default_the_sample_is_named(source, damage):
    damage(source[2], '007')
    with pytest.raises(InputError, match='007'):
        stream(source, damaged='raise')


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_sample_is_replaced_and_logged_once(source, damage, capfd):
    whole = stream(source)
    damage(source[2], '007')
    found = stream(source, 2 * COUNT // 4)  # two epochs
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and '007' in lines[0] and '(1 of 100 samples so far)' in lines[0]
    names = [name for batch in found for name in batch['name']]
    assert len(names) == 2 * COUNT and '007' not in names
    for batch, before in zip(found, whole, strict=False):
        assert batch['image'].shape == (4, 4, 6, 3)
        for i, name in enumerate(before['name']):
            same = np.array_equal(batch['image'][i], before['image'][i])
            assert same == (name != '007') == (batch['name'][i] == name)


def test_a_pair_of_another_size_is_a_damage_where_it_is_cropped_too(source, capfd):
    listed = listed_bytes(source[0], split_identity(source[0]))
    options = {'listed': listed, 'transforms': (RandomCrop((4, 6)),)}
    assert len(stream(source, damaged='raise', **options)) == COUNT // 4
    resize(source[2], '007')
    with pytest.raises(InputError, match=f'^007: its files have .* and had {listed[7]} when'):
        stream(source, damaged='raise', **options)
    assert '007' not in [name for batch in stream(source, **options) for name in batch['name']]
    assert 'skipped (1 of 100 samples so far): 007' in capfd.readouterr().err


def test_a_restarted_run_and_several_processes_take_the_same_samples(source):
    truncate(source[2], '007')
    whole = stream(source)
    later = stream(source, start_step=10, count=15)
    halves = [stream(source, process_index=i, process_count=2) for i in range(2)]
    for batch, one, two in zip(whole, *halves, strict=True):
        np.testing.assert_array_equal(batch['image'],
                                      np.concatenate([one['image'], two['image']]))
    for batch, again in zip(whole[10:], later, strict=True):
        np.testing.assert_array_equal(batch['image'], again['image'])


def test_more_than_one_per_cent_is_refused(source):
    for name in ('001', '007'):
        truncate(source[2], name)
    with pytest.raises(InputError, match=r'damaged_samples: 2 of 100 .* more than 1%.*\.png'):
        stream(source)


def test_a_mask_that_cannot_be_read_shows_no_class(source, capsys):
    pairs, spec, folder = source
    expected = class_pixels(pairs, spec)
    (folder / 'masks' / '007.png').unlink()
    with pytest.raises(InputError, match='007'):
        class_pixels(pairs, spec)
    found = class_pixels(ReadableMasks(pairs, spec), spec)
    assert not found[7].any() and expected[7].any()
    np.testing.assert_array_equal(np.delete(found, 7, 0), np.delete(expected, 7, 0))
    assert capsys.readouterr().err.count('skipped (1 of 100') == 1
    (folder / 'masks' / '001.png').unlink()
    with pytest.raises(InputError, match='damaged_samples: 2 of 100'):
        class_pixels(ReadableMasks(pairs, spec), spec)


def test_the_limit_is_exact_and_counts_every_sample_once(capsys):
    faults = Faults('skip', 200)
    for index in (5, 6, 5, 6):
        faults(index, InputError(f'file {index}'))
    assert capsys.readouterr().err.count('skipped') == 2
    with pytest.raises(InputError, match='3 of 200.*file 7'):
        faults(7, InputError('file 7'))
    with pytest.raises(InputError, match='1 of 99'):
        Faults('skip', 99)(0, InputError('file'))
    with pytest.raises(OSError, match='gone'):
        Faults('raise', 200)(0, OSError('gone'))
