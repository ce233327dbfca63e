"""CamVid as a TensorFlow Datasets builder that needs no TensorFlow.

    Camvid(data_dir=DIR, file_format='array_record').download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=FOLDER))

`file_format` must be given: the default, TFRecord, is written by TensorFlow.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from jaxseg.errors import InputError


class Camvid(tfds.core.GeneratorBasedBuilder):
    """Road scenes, 367/101/233 pairs of 480x360, 11 classes and void (Brostow et al. 2009).

    The split is that of SegNet (Badrinarayanan et al. 2015).
    """

    VERSION = tfds.core.Version('1.0.0')
    MANUAL_DOWNLOAD_INSTRUCTIONS = ('A folder {train,val,test}/{images,masks}/STEM.{jpg,png}; '
                                    'masks hold 0-10, and 11 for void.')

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict({
            'image': tfds.features.Image(),
            'segmentation_mask': tfds.features.Image(shape=(None, None, 1)),
            'file_name': tfds.features.Text()})
        # Video frames: shuffled records would lose their order, and training shuffles anyway.
        return tfds.core.DatasetInfo(
            builder=self, features=features, disable_shuffling=True,
            description='CamVid road scenes', citation='doi:10.1016/j.patrec.2008.04.005')

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        root = pathlib.Path(dl_manager.manual_dir)
        return {split: self._generate_examples(root / split) for split in ('train', 'val', 'test')}

    def _generate_examples(self, folder: pathlib.Path) -> Iterator[tuple[int, dict[str, Any]]]:
        masks = {path.stem: path for path in (folder / 'masks').glob('*.png')}
        # Encoded files go in as they are: arrays would be encoded by TensorFlow.
        for index, image in enumerate(sorted((folder / 'images').iterdir())):
            if image.stem not in masks:
                raise InputError(f'{image}: no mask {folder}/masks/{image.stem}.png; add it or '
                                 f'remove the image')
            yield index, {'image': str(image), 'segmentation_mask': str(masks[image.stem]),
                          'file_name': image.stem}
