"""Any prepared TensorFlow Datasets data set with images and masks, read without TensorFlow."""

import contextlib
import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data.damage import first_line
from jaxseg.data.decode import read_image
from jaxseg.data.file_info import file_info
from jaxseg.data.labels import Encoding, Labels
from jaxseg.data.mappings import KNOWN, VOID, Known
from jaxseg.data.masks import RawMask, read_mask
from jaxseg.data.sample_check import check_samples, reading
from jaxseg.data.spec import IMAGENET_MEAN, IMAGENET_STD, Color, DatasetSpec, VoidLabel
from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, check_fields, nearest
from jaxseg.records import read_json

FEATURES = 'tensorflow_datasets.core.features.'
# Keys of features.json whose values TFDS imports.
CLASS_KEYS = ('pythonClassName', 'python_class_name', 'type')


@dataclasses.dataclass(frozen=True)
class Tfds:
    """A data set prepared with `file_format='array_record'`: TFRecord needs TensorFlow to be read.

    Attributes:
      directory: the folder of one version, which holds dataset_info.json.
      mapping: a data set of `mappings.KNOWN`, which gives feature names, classes and `label_map`.
      classes, colors: names and RGB colors of the classes, where no mapping gives them.
      image_key, mask_key: names of the features.
      label_map: raw label -> class, where raw labels are not class indices; what it does not name
        is void.
      ignore_index: the void label, 255 by default. Unless it is stated, masks of two classes that
        hold only 0 and 255 are refused, as 255 may be a class.
      encoding: whether masks store 'indices' or 'colors'; by default decided from the first masks
        of the first split, see `jaxseg.data.labels.Labels`.
      splits: expressions of TFDS, such as `{'train': 'train[:80%]', 'val': 'train[80%:]'}`.
      channels: of the images.
      value_range: pixel values that stand for black and white.

    Raises:
      InputError: nothing prepared there, an unknown mapping, split or feature, or a label map that
        cannot be used.
    """

    directory: str
    mapping: str | None = None
    classes: Sequence[str] | None = None
    colors: Sequence[Color] | None = None
    image_key: str | None = None
    mask_key: str | None = None
    label_map: Mapping[int, int] | None = None
    ignore_index: VoidLabel | None = None
    encoding: Encoding | None = None
    splits: Mapping[str, str] | None = None
    channels: PositiveInt = 3
    value_range: tuple[float, float] = (0, 255)

    def __post_init__(self):
        check_fields(self, 'data')

    @property
    def spec(self) -> DatasetSpec:
        """The description, from the fields and the mapping."""
        known = self._known()
        classes = self.classes or known.classes
        if not classes:
            raise InputError(f'data.classes: not given; give the class names in the order of their '
                             f'indices, or a data.mapping of {", ".join(KNOWN)}')
        rgb = self.channels == 3
        return DatasetSpec(
            name=self.mapping or pathlib.Path(self.directory).parent.name, classes=classes,
            colors=self.colors or known.colors,
            ignore_index=VOID if self.ignore_index is None else self.ignore_index,
            mean=IMAGENET_MEAN if rgb else (0.5,) * self.channels,
            std=IMAGENET_STD if rgb else (0.25,) * self.channels,
            splits=tuple(self._splits()), value_range=self.value_range)

    def source(self, split: str) -> 'TfdsSource':
        """Random access to a split."""
        if split not in self._splits():
            raise InputError(
                f'data tfds.Tfds: no split {split!r}; known: {", ".join(self._splits())}; give an '
                f"expression of TFDS in data.splits, such as {{'train': 'train[:90%]', "
                f"'val': 'train[90%:]'}}")
        known, features = self._known(), open_builder(self.directory).info.features
        keys = (self.image_key or known.image, self.mask_key or known.mask)
        missing = [key for key in keys if key not in features]
        if missing:
            raise InputError(f'{self.directory}: no feature {missing[0]!r}; known: '
                             f'{", ".join(features)}; set data.image_key and data.mask_key')
        return TfdsSource(self.directory, split, self._splits()[split], keys,
                          self._labels(keys))

    def _labels(self, keys: tuple[str, str]) -> Labels:
        """How masks become class indices, the same for every split."""
        known = self._known()
        labels = Labels(
            self.spec, label_map=self.label_map or known.label_map, unnamed_is_void=True,
            binary=None if self.ignore_index is None else False, encoding=self.encoding,
            stated_colors=bool(self.colors or known.colors))
        source = TfdsSource(self.directory, *next(iter(self._splits().items())), keys, labels)
        return labels.survey(source.raw_mask(index) for index in range(min(len(source), 8)))

    def _known(self) -> Known:
        if self.mapping is None:
            splits = {split: split for split in open_builder(self.directory).info.splits}
            return Known('image', 'mask', (), (), {}, splits)
        if self.mapping not in KNOWN:
            raise InputError(f'data.mapping: {self.mapping!r} is unknown; '
                             f'{nearest(self.mapping, KNOWN)}')
        return KNOWN[self.mapping]

    def _splits(self) -> Mapping[str, str]:
        return self.splits or self._known().splits


class TfdsSource:
    """One split. It can be pickled: another process opens the files again."""

    def __init__(self, directory: str, split: str, expression: str, keys: tuple[str, str],
                 labels: Labels):
        self._directory, self._split, self._expression = directory, split, expression
        self._keys, self._labels = keys, labels
        self._records = self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_records': None}

    def __len__(self) -> int:
        if self._records is None:
            self._records = self._open()
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record, name = self._record(index)
        shown, spec = f'{self._directory} {name}', self._labels.spec
        # Not decoded by TFDS, which would use OpenCV and expand palette masks to colors.
        image = read_image(record[self._keys[0]], spec.channels, spec.value_range, shown)
        mask = self._mask(record, name)
        if image.shape[:2] != mask.shape:
            raise InputError(f'{shown}: mask of {mask.shape[1]}x{mask.shape[0]} pixels for an '
                             f'image of {image.shape[1]}x{image.shape[0]}; prepare both at the '
                             f'same size')
        return {'image': image, 'mask': mask, 'name': name}

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every sample, in order."""
        return tuple(self._record(index)[1] for index in range(len(self)))

    def sizes(self) -> set[tuple[int, int]]:
        """Every (height, width) of an image, from the headers."""
        return {file_info(record[self._keys[0]], name).size
                for record, name in map(self._record, range(len(self)))}

    def mask(self, index: int) -> np.ndarray:
        """The mask of one sample, without its image."""
        return self._mask(*self._record(index))

    def check_files(self):
        """Decodes all records, or a seeded part of 2,000.

        Raises:
          InputError: see `sample_check.check_samples`.
        """
        spec = self._labels.spec
        check_samples(self._split, spec, len(self), reading(self, spec))

    def _mask(self, record: Mapping, name: str) -> np.ndarray:
        shown = f'{self._directory} {name}'
        return self._labels.decode(read_mask(record[self._keys[1]], shown), shown)

    def raw_mask(self, index: int) -> RawMask:
        """The values of one mask, before they become class indices."""
        record, name = self._record(index)
        return read_mask(record[self._keys[1]], f'{self._directory} {name}')

    def _record(self, index: int) -> tuple[Mapping, str]:
        """A record, its image and mask encoded, and its name."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        record = self._records[index]
        for key in ('file_name', 'image_id', 'id'):
            with contextlib.suppress(KeyError):
                name = record[key]
                text = name.decode() if isinstance(name, bytes) else str(name)
                return record, pathlib.PurePath(text).stem
        return record, f'{self._expression}_{index:06d}'

    def _open(self) -> Any:
        import tensorflow_datasets as tfds  # takes a second; only those who read it pay

        builder = open_builder(self._directory)
        if '[' in self._expression and builder.info.file_format.value != 'array_record':
            raise InputError(f'{self._directory}: {builder.info.file_format.value} files cannot be '
                             f'read in parts such as {self._expression!r}; prepare the data set '
                             f"with file_format='array_record'")
        skip = {key: tfds.decode.SkipDecoding() for key in self._keys}
        try:
            return builder.as_data_source(self._expression, decoders=skip)
        except NotImplementedError as error:
            raise InputError(f"{self._directory}: {first_line(error)}; prepare it with "
                             f"file_format='array_record'") from None
        except (ValueError, KeyError) as error:
            raise InputError(f'{self._directory}, split {self._expression!r}: '
                             f'{first_line(error)}; correct the expression in data.splits'
                             ) from None


def open_builder(directory: str) -> Any:
    """The read-only builder of a prepared data set.

    Raises:
      InputError: the folder holds none, or a damaged one.
    """
    import tensorflow_datasets as tfds  # takes a second; only those who read it pay

    folder = pathlib.Path(directory).expanduser()
    if not (folder / 'dataset_info.json').is_file():
        raise InputError(f'data.directory: {directory} holds no prepared data set '
                         f'(dataset_info.json is missing); give the folder of its version, such as '
                         f'.../camvid/1.0.0')
    for file in ('dataset_info.json', 'features.json'):
        _check_features(folder / file)
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # Three libraries parse the file, each with errors of its own.
        raise InputError(f'{folder}/dataset_info.json: {first_line(error)}; the file is damaged, '
                         f'prepare the data set again') from error


def _check_features(path: pathlib.Path):
    """Raises InputError if a feature is of a module that TFDS would import, and so run.

    A data set may come from anybody. What is imported already does no harm: features of your own
    are read once your experiment file has imported them.
    """
    try:
        values = read_json(path) if path.exists() else {}
    except InputError as error:
        raise InputError(f'{error}; or prepare the data set again, as it is damaged') from None
    for name in _class_names(values):
        module = name.rpartition('.')[0]
        if module and not name.startswith(FEATURES) and module not in sys.modules:
            raise InputError(f'{path}: a feature is {name!r}, and to use it would run code from '
                             f'outside of tensorflow_datasets; if you trust it, import {module} in '
                             f'your experiment file')


def _class_names(value: Any) -> Iterator[str]:
    """Every class that features.json names, in its present and its earlier form."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if key in CLASS_KEYS and isinstance(item, str):
            yield item
        if key == 'json' and isinstance(item, str):  # JSON within JSON, of custom features
            with contextlib.suppress(ValueError):
                item = json.loads(item)
        if isinstance(item, (Mapping, list)):
            yield from _class_names(item)
