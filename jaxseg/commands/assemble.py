"""From a config and the description of its data to the objects of a run; nothing is compiled."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.build import build, build_losses
from jaxseg.commands.origin import Origin
from jaxseg.commands.pieces import Pieces
from jaxseg.commands.run_config import RunConfig
from jaxseg.data.pipeline import eval_samples
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError
from jaxseg.fields import Positive, PositiveInt, Probability, check_fields
from jaxseg.inference.images import DTYPES
from jaxseg.inference.postprocess import decide
from jaxseg.processes import gathered
from jaxseg.records import read_fields
from jaxseg.training.evaluation import evaluate
from jaxseg.training.layout import JitLayout, make_layout
from jaxseg.training.parallel import Parallel
from jaxseg.training.variables import init_variables


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """What a model expects of its input, saved as model.json: valid wherever the data are.

    Args:
      mean, std: one a channel, of pixel values after `value_range` was mapped to 0-1.
      value_range: the pixel values that are mapped to 0 and 1.
      input_shape: (H, W, C) for which the parameters were initialised.
      dtype: of the images as the source of the training data reads them.
      pretrained: the weights that it began with, if it did not begin with random values.
    """

    mean: tuple[Probability, ...]
    std: tuple[Positive, ...]
    value_range: tuple[float, float]
    input_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    dtype: Literal[tuple(DTYPES)]
    pretrained: Origin | None = None

    def __post_init__(self):
        check_fields(self, 'model.json')
        for name in ('mean', 'std', 'value_range', 'input_shape'):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, 'pretrained', Origin.from_record(self.pretrained))
        channels = self.input_shape[-1]
        for name in ('mean', 'std'):
            values = getattr(self, name)
            if len(values) != channels:
                raise InputError(f'model.json.{name}: {values} for {channels} channels of '
                                 f'input_shape; give one for each, or restore the file')
        low, high = self.value_range
        if low >= high:
            raise InputError(f'model.json.value_range: {self.value_range} is empty; '
                             f'give low below high, or restore the file')

    @classmethod
    def load(cls, path: Any) -> 'ModelRecord':
        """Reads model.json.

        Raises:
          InputError: the file is missing or damaged.
        """
        return read_fields(cls, path, optional=('pretrained',))

    @property
    def normalization(self) -> dict[str, tuple]:
        """What a preprocess part is given."""
        return {'mean': self.mean, 'std': self.std, 'value_range': self.value_range}

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Those that images may have: a range such as 16-235 fits files of 8 and 16 bits."""
        both = (self.dtype != 'float32' and self.value_range != (0, 255)
                and self.value_range[1] <= 255)
        return ('uint8', 'uint16') if both else (self.dtype,)


def image_dtype(sample: Mapping[str, Any]) -> str:
    """The dtype of the image of a sample.

    Raises:
      InputError: one that models are not made for.
    """
    name = sample['image'].dtype.name
    if name not in DTYPES:
        raise InputError(f'data: the source gives images of {name}; give {", ".join(DTYPES)}, such '
                         f'as image.astype(np.float32)')
    return name


@dataclasses.dataclass(frozen=True)
class Parts:
    """The model and all that surrounds it."""

    model: nn.Module
    task: Any
    preprocess: Callable
    layout: JitLayout
    inference: Any

    def forward(self, variables: Any, images: jax.Array) -> Any:
        """Outputs of the model for pixel values (B, H, W, C), as the data were read."""
        return _forward(self.model, self.preprocess, variables, images)

    def variables(self, input_shape: tuple[int, int, int]) -> Any:
        """Shapes of the variables of the model, for images of this shape."""
        def init() -> Any:
            streams = {name: jax.random.key(0) for name in ('params', 'dropout', 'drop_path')}
            return init_variables(self.model, streams, jnp.zeros((1, *input_shape)))

        return jax.eval_shape(init)

    def score(self, variables: Any, source: Source, spec: DatasetSpec, *,
              with_probabilities: bool = False, **options: Any) -> Any:
        """The metric state of a source; `options` and the result are those of `evaluate`.

        Each process scores its share of the source, and the state is that of all.

        Args:
          with_probabilities: `observe` gets samples with `probabilities` (H, W, channels) float32,
            from which the task then decides. They are computed and held for one image at a time.
        """
        method = self._decided if with_probabilities else self.inference.predictions
        predictions = functools.partial(method, self.layout.put_variables(variables))
        share = eval_samples(source, spec=spec, process_index=jax.process_index(),
                             process_count=jax.process_count())
        return evaluate(predictions, share, self.task.scores(), **options)

    def windowed(self) -> list[tuple[int, int]]:
        """Sizes of the images that were too large in one piece since the last call, of all
        processes.
        """
        sizes = list(self.inference.windowed)
        if sizes:
            self.inference.windowed.clear()
        return [size for share in gathered(sizes) for size in share]

    def _decided(self, variables: Any, images: Iterable[tuple[dict, np.ndarray]]
                 ) -> Iterator[tuple[dict, np.ndarray]]:
        """(sample, image) pairs -> (sample with probabilities, mask) pairs."""
        for sample, image in images:
            probabilities = self.inference.probabilities(variables, image)
            mask = decide(self.inference, self.task, probabilities)
            yield {**sample, 'probabilities': probabilities}, mask


def make_algorithm(config: RunConfig, parts: Parts, **fields: Any) -> Any:
    """The algorithm of a run.

    Args:
      fields: other values than those of the parts, such as another `model`.

    Raises:
      InputError: algorithm, schedule or optimizer cannot be built.
    """
    schedule = build('schedule', config.schedule, steps=config.steps)
    optimizer = build('optimizer', config.optimizer, schedule=schedule)
    given = {'model': parts.model, 'axis_name': None, 'steps': config.steps, **fields}
    return build('algorithm', config.algorithm, task=parts.task, optimizer=optimizer,
                 preprocess=parts.preprocess, **given)


def windowed_note(sizes: Sequence[tuple[int, int]]) -> str:
    """Which images were too large for the memory in one piece, of an inference method."""
    height, width = max(sizes)
    return (f'{len(sizes)} image(s) of up to {height}x{width} need more memory in one piece than '
            f'there is, and went through windows; --config.inference.type=sliding.SlidingWindow '
            f'uses windows for all')


def assemble(config: RunConfig, spec: DatasetSpec, normalization: Mapping[str, Any],
             parallel: Parallel | None = None) -> Parts:
    """Builds task, model, preprocess and inference.

    Args:
      normalization: mean, std and value range of the model's input.
      parallel: of training; None where there is no step, on any number of devices.

    Raises:
      InputError: a part that cannot be built.
    """
    task = build('task', config.task, classes=spec.classes, overlapping=spec.overlapping,
                 terms=build_losses(config.losses))
    model = build('model', config.model, classes=task.channels)
    preprocess = build('preprocess', config.preprocess, classes=spec.classes, **normalization)
    layout = make_layout(parallel or Parallel())
    forward = functools.partial(_forward, model, preprocess)
    inference = build('inference', config.inference, forward=forward, task=task,
                      place=layout.put_images, devices=jax.local_device_count(),
                      pieces=Pieces(model, preprocess, normalization['value_range']),
                      batch_size=config.batch_size_of_evaluations // jax.process_count())
    return Parts(model, task, preprocess, layout, inference)


def _forward(model: nn.Module, preprocess: Callable, variables: Any, images: jax.Array) -> Any:
    return model.apply(variables, preprocess({'image': images}, None)['image'], train=False)
