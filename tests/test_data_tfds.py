"""Data sets of TensorFlow Datasets, prepared and read without TensorFlow."""

import pathlib
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxseg.build import build
from jaxseg.commands.config import from_file
from jaxseg.data import tfds as tfds_module
from jaxseg.data.camvid import Camvid
from jaxseg.data.folds import Fold
from jaxseg.data.mappings import KNOWN
from jaxseg.data.splits import check_source
from jaxseg.data.tfds import Tfds
from jaxseg.errors import InputError
from tests.encodings import pillow, png

pytestmark = pytest.mark.filterwarnings(
    'ignore::DeprecationWarning:(etils|tensorflow_datasets|importlib).*')
PET = np.array([[1, 2, 3], [2, 2, 1]], np.uint8).repeat(4, 0).repeat(4, 1)
CITY = np.arange(34, dtype=np.uint8)[None].repeat(3, 0)
RED, GREEN = (255, 0, 0), (0, 255, 0)


def prepare(folder: pathlib.Path, dataset: str, splits: dict[str, int], keys: tuple[str, str],
            *masks: np.ndarray | bytes, image: bytes | None = None, more: dict | None = None
            ) -> str:
    """A data set of a few pictures in the format of a registered one; masks repeat in turn.

    Image i is grey i, or the file `image`; `more` are features besides, each with its value.
    """
    more = more or {}
    raw = folder / 'raw'
    raw.mkdir(parents=True)
    for i in range(max(splits.values())):
        mask = masks[i % len(masks)]
        shape = mask.shape[:2] if isinstance(mask, np.ndarray) else (1, 2)
        encoded = mask if isinstance(mask, bytes) else pillow(mask, 'PNG')
        (raw / f'mask_{i}.png').write_bytes(encoded)
        (raw / f'{i}.png').write_bytes(image or png(np.full((*shape, 3), i, np.uint8)))

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = dataset
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            features = tfds.features.FeaturesDict({
                keys[0]: tfds.features.Image(), keys[1]: tfds.features.Image(shape=(None, None, 1)),
                'file_name': tfds.features.Text(),
                **{name: feature for name, (feature, _) in more.items()}})
            return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=features)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(count) for split, count in splits.items()}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {keys[0]: str(raw / f'{i}.png'), keys[1]: str(raw / f'mask_{i}.png'),
                          'file_name': f'{i}.png',
                          **{name: value for name, (_, value) in more.items()}}

    Builder(data_dir=folder, file_format='array_record').download_and_prepare()
    return str(folder / dataset / '1.0.0')


def toys(folder: pathlib.Path, *masks: np.ndarray | bytes, count: int = 3, **options) -> str:
    return prepare(folder, 'toys', {'train': count}, ('image', 'mask'), *masks, **options)


def row(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def test_pet_is_read_with_its_mapping(tmp_path):
    keys = ('image', 'segmentation_mask')
    directory = prepare(tmp_path, 'oxford_iiit_pet', {'train': 10, 'test': 2}, keys, PET)
    data = Tfds(directory, mapping='oxford_iiit_pet')
    assert [len(data.source(split)) for split in ('train', 'val', 'test')] == [9, 1, 2]
    sample = data.source('val')[0]
    assert sample['name'] == '9' and (sample['image'] == 9).all()
    expected = np.select([PET == 1, PET == 2], [1, 0], 255)
    np.testing.assert_array_equal(sample['mask'], expected)


def test_the_experiment_on_pets_reads_all_features_and_three_classes(tmp_path):
    more = {'label': (tfds.features.ClassLabel(num_classes=37), 5),
            'species': (tfds.features.ClassLabel(names=['Cat', 'Dog']), 1),
            'head_bbox': (tfds.features.BBoxFeature(), tfds.features.BBox(0.0, 0.0, 1.0, 1.0)),
            # As in version 4.0.0 of the data set: a mask with a palette for TFDS to show it.
            'segmentation_mask': (tfds.features.Image(shape=(None, None, 1), use_colormap=True),
                                  str(tmp_path / 'trimap.png'))}
    (tmp_path / 'trimap.png').write_bytes(pillow(PET, 'PNG'))
    photo = pillow(np.full((*PET.shape, 3), 90, np.uint8), 'JPEG')
    directory = prepare(tmp_path, 'oxford_iiit_pet', {'train': 10, 'test': 2},
                        ('image', 'trimap'), PET, image=photo, more=more)
    config = from_file('experiments/pets/convolutional.py')
    data = build('data', {**config['data'], 'directory': directory})
    assert [len(data.source(split)) for split in ('train', 'val', 'test')] == [9, 1, 2]
    assert data.spec.classes == ('background', 'pet', 'border')
    sample = data.source('test')[1]
    np.testing.assert_array_equal(sample['mask'], np.select([PET == 1, PET == 2], [1, 0], 2))
    assert sample['image'].shape == (*PET.shape, 3) and data.source('val')[0]['name'] == '9'


def test_cityscapes_keeps_its_19_classes_and_voids_the_rest(tmp_path):
    splits, keys = {'train': 2, 'validation': 1, 'test': 1}, ('image_left', 'segmentation_label')
    data = Tfds(prepare(tmp_path, 'cityscapes', splits, keys, CITY), mapping='cityscapes')
    mask = data.source('val')[0]['mask'][0]
    named = {data.spec.classes[label]: raw for raw, label in enumerate(mask) if label != 255}
    assert len(named) == 19
    scored = [named[name] for name in ('road', 'person', 'train', 'bicycle')]
    assert scored == [7, 24, 31, 33]
    assert mask[[0, 9, 18, 29, 30]].tolist() == [255] * 5


def test_a_source_of_records_can_be_sent_to_another_process(tmp_path):
    source = Tfds(toys(tmp_path, row(0, 1)), classes=('a', 'b')).source('train')
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == 3 and copy.names == ('0', '1', '2') and copy.sizes() == {(1, 2)}
    np.testing.assert_array_equal(copy[1]['image'], source[1]['image'])
    assert copy[0]['mask'].tolist() == [[0, 1]]


def test_names_and_sizes_are_known_without_decoding(tmp_path):
    broken = bytearray(png(np.zeros((1, 2, 3), np.uint8)))
    broken[-20:-12] = bytes(8)  # the end of the compressed pixels
    directory = toys(tmp_path, row(0, 1), image=bytes(broken))
    source = Tfds(directory, classes=('a', 'b')).source('train')
    assert source.names == ('0', '1', '2') and source.sizes() == {(1, 2)}
    with pytest.raises(InputError, match=f'{directory} 0: cannot be decoded'):
        source[0]


def test_16_bit_images_keep_their_values(tmp_path):
    deep = np.array([[[300, 5, 65535], [1, 2, 3]]], np.uint16)
    directory = toys(tmp_path, row(0, 1), image=png(deep, 16))
    data = Tfds(directory, classes=('a', 'b'), value_range=(0, 65535))
    assert data.spec.value_range == (0, 65535)
    np.testing.assert_array_equal(data.source('train')[0]['image'], deep)
    with pytest.raises(InputError, match='16-bit pixels.*data.value_range'):
        Tfds(directory, classes=('a', 'b')).source('train')[0]


def test_masks_of_colors_and_palettes_in_another_order_are_read_by_color(tmp_path):
    colors = np.array([[RED, GREEN]], np.uint8)
    moved = pillow(Image.fromarray(colors).quantize(2), 'PNG')
    directory = toys(tmp_path, colors, moved)
    data = Tfds(directory, classes=('red', 'green'), colors=(RED, GREEN))
    assert [sample['mask'].tolist() for sample in data.source('train')] == [[[0, 1]]] * 3
    assert (Tfds(directory, classes=('red', 'green'), colors=(RED, GREEN), encoding='colors')
            .source('train')[1]['mask'].tolist()) == [[0, 1]]
    with pytest.raises(InputError, match='a mask of colors.*data.colors'):
        Tfds(directory, classes=('red', 'green')).source('train')[0]


def test_0_and_255_in_records_are_refused_where_nobody_states_what_255_is(tmp_path):
    directory, classes = toys(tmp_path, row(0, 255)), ('a', 'b')
    with pytest.raises(InputError, match='data.label_map={0: 0, 255: 1} with tfds.Tfds'):
        Tfds(directory, classes=classes).source('train')[0]
    for options, expected in (({'label_map': {0: 0, 255: 1}}, [0, 1]),
                              ({'ignore_index': 255}, [0, 255])):
        sample = Tfds(directory, classes=classes, **options).source('train')[0]
        assert sample['mask'].tolist() == [expected]


def test_records_are_checked_before_training(tmp_path):
    data = Tfds(toys(tmp_path / 'good', row(0, 1)), classes=('a', 'b'))
    assert len(check_source(data, 'train')) == 3
    assert data.source('train').mask(1).tolist() == [[0, 1]]
    for masks, message in (((row(0, 1), row(0, 7)), '1: label 7'),
                           ((row(255, 255),), "split 'train': .*no pixel of 3 masks is labelled")):
        directory = toys(tmp_path / f'{len(masks)}', *masks)
        with pytest.raises(InputError, match=message):
            check_source(Tfds(directory, classes=('a', 'b'), ignore_index=255), 'train')
        with pytest.raises(InputError, match=message):
            data = Tfds(directory, classes=('a', 'b'), ignore_index=255)
            check_source(Fold(data, None, 2), 'train')  # all are in the split


def test_what_a_label_map_does_not_name_is_void(tmp_path):
    directory = toys(tmp_path, row(0, 1, 7, 254, 255))
    data = Tfds(directory, classes=('a', 'b'), label_map={'1': 0, '7': 1})
    assert data.source('train')[0]['mask'].tolist() == [[255, 0, 1, 255, 255]]


@pytest.mark.parametrize('fields, words', [
    ({'image_key': 'picture'}, ("no feature 'picture'", 'data.image_key', 'known: ')),
    ({'mapping': 'pets'}, ('data.mapping', "'pets'", 'oxford_iiit_pet')),
    ({'splits': {'train': 'nope'}}, ("'nope'", 'data.splits')),
    ({'splits': {'train': 'train[:200%]'}}, ("'train[:200%]'", 'data.splits')),
    ({'splits': {'val': 'train'}}, ("no split 'train'", 'known: val', 'data.splits')),
    ({'classes': None}, ('data.classes', 'oxford_iiit_pet')),
    ({'label_map': {'a': 1}}, ('data.label_map', "{'a': 1}")),
    ({'label_map': {0: 5}}, ('label_map', '0 becomes 5')),
    ({'channels': 0}, ('data.channels', '0')), ({'encoding': 'rgb'}, ('data.encoding', "'rgb'")),
    ({'directory': '/nowhere'}, ('data.directory', '/nowhere', 'dataset_info.json')),
])
def test_fields_that_do_not_fit_are_named_with_their_remedy(tmp_path, fields, words):
    directory = toys(tmp_path, row(0, 1), count=1)
    with pytest.raises(InputError) as error:
        Tfds(**{'directory': directory, 'classes': ('a', 'b'), **fields}).source('train')
    assert all(word in str(error.value) for word in words) and '\n' not in str(error.value)


def test_a_label_outside_the_classes_is_named_with_its_record(tmp_path):
    directory = toys(tmp_path, row(0, 7), count=1)
    with pytest.raises(InputError, match=rf'{directory} 0: label 7 \(1 px\) .* 2 classes'):
        Tfds(directory, classes=('a', 'b')).source('train')[0]


def test_parts_of_a_parquet_data_set_are_refused(tmp_path, monkeypatch):
    """TFDS gives the whole split instead, so that training would see the validation images."""
    info = types.SimpleNamespace(file_format=tfds.core.FileFormat.PARQUET, splits=('train',),
                                 features=('image', 'mask'))
    monkeypatch.setattr(tfds_module, 'open_builder', lambda _: types.SimpleNamespace(info=info))
    with pytest.raises(InputError, match=r"parquet.*'train\[:80%\]'.*file_format='array_record'"):
        Tfds(str(tmp_path), classes=('a',), splits={'train': 'train[:80%]'}).source('train')


@pytest.mark.parametrize('text', ['{}', '['])
def test_a_damaged_description_of_a_prepared_data_set_is_named(tmp_path, text):
    (tmp_path / 'dataset_info.json').write_text(text)
    with pytest.raises(InputError, match='dataset_info.json: .*damaged'):
        Tfds(str(tmp_path), mapping='camvid').source('train')


def fake_camvid(folder: pathlib.Path):
    for split in ('train', 'val', 'test'):
        for stem, label in (('b', 10), ('a', 11)):
            for part, value, suffix in (('images', np.full((6, 8, 3), 90, np.uint8), 'jpg'),
                                        ('masks', np.full((6, 8), label, np.uint8), 'png')):
                path = folder / split / part / f'{stem}.{suffix}'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(value).save(path)


def test_camvid_is_built_and_read_without_tensorflow(tmp_path):
    fake_camvid(tmp_path / 'manual')
    code = f'''
import sys, tensorflow_datasets as tfds
from jaxseg.data.camvid import Camvid
from jaxseg.data.tfds import Tfds
config = tfds.download.DownloadConfig(manual_dir={str(tmp_path / "manual")!r})
builder = Camvid(data_dir={str(tmp_path)!r}, file_format='array_record')
builder.download_and_prepare(download_config=config)
source = Tfds({str(tmp_path / "camvid" / "1.0.0")!r}, mapping='camvid').source('val')
assert [source[i]['name'] for i in range(2)] == ['a', 'b']
assert [int(source[i]['mask'].max()) for i in range(2)] == [255, 10]
assert 'tensorflow' not in sys.modules
'''
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


def test_camvid_names_an_image_without_a_mask(tmp_path):
    fake_camvid(tmp_path)
    (tmp_path / 'train' / 'masks' / 'b.png').unlink()
    with pytest.raises(InputError, match='b.jpg: no mask'):
        list(Camvid._generate_examples(None, tmp_path / 'train'))


def test_mappings_name_a_color_for_each_class_and_only_classes():
    for known in KNOWN.values():
        assert len(known.classes) == len(known.colors) == len(set(known.colors))
        assert set(known.label_map.values()) == set(range(len(known.classes)))
