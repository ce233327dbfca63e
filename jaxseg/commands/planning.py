"""What an experiment on a data set should be: every choice follows from its fingerprint."""

import dataclasses
import math
from typing import Any

import numpy as np

from jaxseg.commands.choices import Choice, plural
from jaxseg.data.fingerprint import Fingerprint
from jaxseg.data.spec import DatasetSpec

# Objects of fewer pixels in width are drawn at full resolution: blocks of two pixels show in them.
THIN = 6.0
# Width in pixels that objects keep where large images are made smaller.
KEPT_WIDTH = 8.0
# Channels of the first stage of a U-Net by size; of a ResNet twice as many.
WIDTHS = (8, 16, 32, 64)
MANY_IMAGES = 300
SMALLEST_SIDE = 256  # of an image that was made smaller
# Class weights, where the frequencies of classes differ by more than this factor.
UNEVEN = 5.0
# The share of the upper half in the pixels of a class, beyond which images have an up and a down.
ONE_SIDED = 0.62
# Images of more sizes go through windows of one size: every size compiles a program.
MOST_SIZES = 4
LARGEST_WINDOW = 512


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the machine and the user allow.

    Attributes:
      accelerator: whether there is a GPU or TPU.
      devices: their number, which divides the batch.
      evaluations: in one training.
      smaller: how many times the model was made smaller than the data suggest, to fit the limits.
      batch_size: the largest batch, None without a limit.
      batch_reason: what limits it.
      steps: the largest number of steps, None without a limit.
      steps_reason: what limits them.
      pretrained: the entries `pretrained` and `model.encoder` of a file of weights, or None.
    """

    accelerator: bool = False
    devices: int = 1
    evaluations: int = 8
    smaller: int = 0
    batch_size: int | None = None
    batch_reason: str = ''
    steps: int | None = None
    steps_reason: str = ''
    pretrained: tuple[dict[str, Any], dict[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Planner:
    """Choices from a fingerprint; pure, so that one folder always gives one plan.

    Attributes:
      spec: the data set.
      data: its fingerprint.
      limits: what the machine allows.
    """

    spec: DatasetSpec
    data: Fingerprint
    limits: Limits

    def choices(self) -> list[Choice]:
        """All but those of the data, in the order in which they are written."""
        return [Choice('seed', 0, 'of the first parameters, the order and the augmentation'),
                self._steps(), self._batch(), *self._transforms(), *self._model(),
                *self._losses(), *self._training(), *self._inference()]

    # What the others share.

    @property
    def thickness(self) -> float:
        """The width of the thinnest class, in pixels; that of the most frequent does not count."""
        pixels = self.data.frequencies.pixels
        rest = [objects.thickness for index, objects in enumerate(self.data.objects)
                if objects.count and index != int(pixels.argmax())]
        return min(rest) if rest else math.inf

    @property
    def scale(self) -> float:
        """The input scale: large images shrink while thin objects keep their width."""
        largest = max(self.data.sizes[1])
        fit = [scale for scale in (0.5, 0.25) if largest * scale >= SMALLEST_SIDE
               and self.thickness * scale >= KEPT_WIDTH]
        return min(fit, default=1.0)

    @property
    def thin(self) -> bool:
        """Whether features at full resolution are needed."""
        return self.thickness * self.scale < THIN

    @property
    def size(self) -> int:
        """Which of `WIDTHS` the model has; 0 is the smallest."""
        size = 1 + self.limits.accelerator + (self.images >= MANY_IMAGES) - self.limits.smaller
        return max(0, size)

    @property
    def shrinks(self) -> bool:
        """Whether there is a smaller model."""
        return self.size > 0 and not self.limits.pretrained

    @property
    def images(self) -> int:
        """Number of training images."""
        return self.data.counts['train']

    @property
    def crop(self) -> tuple[int, int]:
        """(height, width): the median image, or the largest window."""
        most = round((512 if self.limits.accelerator else 256) / self.scale)
        return tuple(min(most, -(-side // 32) * 32) for side in self.data.sizes[1])

    @property
    def batch(self) -> int:
        """More images where they are small."""
        pixels = math.prod(self.crop) * self.scale ** 2
        size = 16 if self.limits.accelerator or pixels <= 96 * 96 else 8
        size = min(size, self.limits.batch_size or size)
        return max(size // self.limits.devices, 1) * self.limits.devices

    @property
    def steps(self) -> int:
        """From the number of images: small sets are seen more often."""
        seen = min(max(100 * self.images, 8000), 400_000)
        count = max(math.ceil(seen / self.batch), 1)
        return min(count, self.limits.steps or count)

    @property
    def upright(self) -> bool:
        """Whether images have an up and a down."""
        if self.spec.channels == 3:
            return True
        shares = [share for share, count in zip(self.data.top, self.data.frequencies.images,
                                                strict=True)
                  if count >= 10 and not math.isnan(share)]
        return any(not 1 - ONE_SIDED < share < ONE_SIDED for share in shares)

    # The choices.

    def _steps(self) -> Choice:
        if self.limits.steps == self.steps:
            return Choice('steps', self.steps, self.limits.steps_reason)
        passes = self.steps * self.batch / self.images
        return Choice('steps', self.steps, f'{self.images} training images, each seen '
                                           f'{passes:.0f} times')

    def _batch(self) -> Choice:
        height, width = self.crop
        limited = self.limits.batch_size and self.batch == self.limits.batch_size
        reason = (self.limits.batch_reason if limited else
                  'a GPU is there' if self.limits.accelerator else
                  'small batches: more updates in the same time')
        return Choice('batch_size', self.batch, f'crops of {width}x{height}; {reason}')

    def _transforms(self) -> list[Choice]:
        counts = self.data.frequencies
        share = float(counts.pixels.max() / max(counts.pixels.sum(), 1))
        # Up to ten windows are tried for one that the most frequent class fills less than this.
        most = round(min(max(0.75, share), 0.98), 2)
        crop = {'type': 'transforms.RandomCrop', 'size': list(self.crop), 'max_class_ratio': most}
        name = self.spec.classes[int(counts.pixels.argmax())]
        height, width = self.data.sizes[1]
        found = [
            Choice('transforms.0', {'type': 'transforms.RandomScale', 'low': 0.7, 'high': 1.4},
                   'objects come in several sizes'),
            Choice('transforms.1', crop,
                   f'the median image is {width}x{height}; {100 * share:.0f} % of the pixels are '
                   f'{name!r}: windows with more of the other classes are preferred')]
        if self.upright:
            reason = ('color images may have an up and a down (aerial ones do not: set '
                      'vertical=0.5)' if self.spec.channels == 3 else
                      'classes lie above or below others: images have an up and a down')
            found.append(Choice('transforms.2', {'type': 'transforms.RandomFlip'}, reason))
        else:
            found.append(Choice(
                'transforms.2', {'type': 'transforms.RandomFlip', 'vertical': 0.5},
                f'{plural(self.spec.channels, "channel")}, and no class prefers the upper half: '
                f'no up and down'))
        jitter = {'type': 'transforms.ColorJitter'}
        reason = 'light and color differ from image to image'
        if self.spec.channels == 3:
            jitter['hue'] = 0.02
        else:
            jitter |= {'brightness': 0.2, 'contrast': 0.2, 'saturation': 0.0}
            reason = 'brightness and contrast differ from image to image; there are no RGB colors'
        return [*found, Choice('transforms.3', jitter, reason)]

    def _model(self) -> list[Choice]:
        found = [Choice('model.type', 'segmentation_model.SegmentationModel',
                        'encoder, decoder and head; images of any size')]
        size = (f'{self.images} training images' + (', a GPU' if self.limits.accelerator else
                                                    ', no GPU')
                + (', smaller to fit the limits' if self.limits.smaller else ''))
        if self.limits.pretrained:
            found += [Choice('model.encoder', self.limits.pretrained[1],
                             'the encoder whose weights the file holds'),
                      Choice('model.decoder', {'type': 'unet.UNet', 'widths': [128, 64, 48, 32]},
                             'U-Net with skip connections, features at stride 2')]
        elif self.thin:
            levels = max(2, min(4, int(math.log2(min(self.crop) * self.scale / 8))))
            widths = [WIDTHS[self.size] * 2 ** level for level in range(levels)]
            found += [Choice('model.encoder', {'type': 'vgg_like.VGGLike', 'widths': widths},
                             f'objects {self.thickness:.1f} pixels thick need features at full '
                             f'resolution; {size}'),
                      Choice('model.decoder', {'type': 'unet.UNet', 'widths': widths[::-1]},
                             'U-Net with skip connections down to stride 1')]
        else:
            width = 2 * WIDTHS[self.size]
            widths = [4 * width, 2 * width, width, width]
            found += [Choice('model.encoder', {'type': 'resnet.ResNet', 'depth': 18,
                                               'width': width},
                             f'objects {self.thickness:.1f} pixels thick and more; {size}'),
                      Choice('model.decoder', {'type': 'unet.UNet', 'widths': widths},
                             'U-Net with skip connections, features at stride 2')]
        if self.scale < 1:
            found.append(Choice('model.input_scale', self.scale,
                                f'the thinnest objects keep {self.thickness * self.scale:.0f} '
                                f'pixels; loss and scores stay at full size'))
        if self.limits.pretrained:
            found.append(Choice('pretrained', self.limits.pretrained[0],
                                'weights to begin with'))
        return found

    def _losses(self) -> list[Choice]:
        if self.spec.overlapping:
            return [Choice('task', {'type': 'multilabel.Multilabel'}, 'masks of classes overlap'),
                    Choice('losses.cross_entropy',
                           {'type': 'binary_cross_entropy.binary_cross_entropy', 'weight': 1.0},
                           'of every class by itself'),
                    Choice('losses.dice', {'type': 'binary_dice.binary_dice', 'weight': 1.0},
                           'nearer to the score, IoU')]
        entry = {'type': 'cross_entropy.cross_entropy', 'weight': 1.0}
        weights, (low, high) = self._class_weights()
        reason = f'class frequencies differ by a factor of {high / low:.0f}'
        if high / low > UNEVEN:
            entry['class_weights'] = weights
            reason += ': cube roots of the median-frequency weights'
        else:
            reason += f', no more than {UNEVEN:g}: no class weights'
        return [Choice('losses.cross_entropy', entry, reason),
                Choice('losses.dice', {'type': 'dice.dice', 'weight': 1.0},
                       'nearer to the score, IoU')]

    def _class_weights(self) -> tuple[list[float], tuple[float, float]]:
        """Weights of all classes (1 for those that never occur), and the limits of frequencies."""
        weights = self.data.frequencies.weights()
        found = weights[~np.isnan(weights)]
        limits = (float(found.min()), float(found.max())) if found.size else (1.0, 1.0)
        return [1.0 if math.isnan(weight) else round(float(weight) ** (1 / 3), 3)
                for weight in weights], limits

    def _training(self) -> list[Choice]:
        rate = 1e-3 if self.limits.pretrained else 3e-3
        reason = ('pretrained weights change slowly' if self.limits.pretrained else
                  'a small network from random weights')
        count = self.limits.evaluations
        every = max(1, self.steps // count)
        saved = (f'{count} evaluations, each saved as a checkpoint' if 'val' in self.data.counts
                 else f'{count} checkpoints; there is no val, so nothing is evaluated')
        return [
            Choice('optimizer', {'type': 'optimizer.adamw', 'learning_rate': rate,
                                 'weight_decay': 0.02, 'max_grad_norm': 1.0}, reason),
            Choice('schedule', {'type': 'schedule.cosine', 'warmup': min(100, self.steps // 10)},
                   'a tenth of the steps to warm up, 100 at most'),
            Choice('evaluate_every', every, saved),
            Choice('report_every', max(1, every // 10), 'ten lines of metrics.csv an evaluation')]

    def _inference(self) -> list[Choice]:
        tallest, widest = self.data.sizes[2]
        if self.data.distinct_sizes <= MOST_SIZES:
            return [Choice('inference', {'type': 'whole.Whole'},
                           f'{plural(self.data.distinct_sizes, "size")} of images: each whole')]
        whole = max(tallest, widest) <= LARGEST_WINDOW
        window = ([-(-side // 32) * 32 for side in (tallest, widest)] if whole
                  else list(self.crop))
        reason = (f'{self.data.distinct_sizes} sizes of images, and one program for all: '
                  + ('the window holds the largest' if whole else 'windows of the training crop'))
        return [Choice('inference', {'type': 'sliding.SlidingWindow', 'window': window}, reason)]
