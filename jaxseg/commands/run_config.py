"""The schema of a run."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import jax

from jaxseg.errors import InputError
from jaxseg.fields import LARGEST, NonNegativeInt, PositiveInt, Range, check_fields, nearest
from jaxseg.training.parallel import Parallel
from jaxseg.training.selection import Best

Entry = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that a run is made of: names, types, defaults and ranges of the keys of a config.

    Args:
      seed: of the initial parameters, the order of the samples, their augmentation and dropout.
      steps: number of training steps in all.
      batch_size: global number of images a step.
      eval_batch_size: the same in evaluations, which share it between all devices and round it up
        to a multiple of them, so that a run may be used on any number; None means `batch_size`.
      data, transforms, model, losses, optimizer, schedule: entries for `jaxseg.build`.
      task: what the outputs of the model mean.
      preprocess: what happens to a batch on the device before the model.
      algorithm: what a training step does.
      pretrained: weights of another library that a part of the model begins with.
      inference: how images of any size go through the model, in validation, `evaluate`, `predict`
        and `jaxseg.load`.
      evaluate_every: steps between evaluations of the split 'val', each saved as a checkpoint.
      save_every: steps between checkpoints without an evaluation; None saves with evaluations only.
      best: by which score of a validation the best checkpoint is chosen, the keys of `Best`.
      early_stopping: number of validations without a better one, after which training ends; None
        trains all steps.
      report_every: steps between lines of metrics.csv.
      parallel: how a step is divided among the devices, the keys of `Parallel`.
      workers: processes that read data; 0 reads in threads of this one.
      sampling: which training images come more often; None shows each once an epoch.
      damaged_samples: whether a training sample whose file was damaged meanwhile ends the run,
        which saves its steps, or is replaced by another one (`jaxseg.data.faults`).
    """

    steps: PositiveInt
    batch_size: PositiveInt
    data: Entry
    model: Entry
    losses: Entry
    optimizer: Entry
    schedule: Entry
    evaluate_every: PositiveInt
    seed: Annotated[int, Range(0, LARGEST)] = 0
    transforms: Sequence[Entry] = dataclasses.field(default_factory=list)
    task: Entry = dataclasses.field(default_factory=lambda: {'type': 'semantic.Semantic'})
    algorithm: Entry = dataclasses.field(default_factory=lambda: {'type': 'supervised.Supervised'})
    preprocess: Entry = dataclasses.field(
        default_factory=lambda: {'type': 'device_transforms.Normalize'})
    pretrained: Entry | None = None
    inference: Entry = dataclasses.field(default_factory=lambda: {'type': 'whole.Whole'})
    eval_batch_size: PositiveInt | None = None
    save_every: PositiveInt | None = None
    best: Best = Best()
    early_stopping: PositiveInt | None = None
    report_every: PositiveInt = 20
    parallel: Parallel = Parallel()
    workers: NonNegativeInt = 0
    sampling: Entry | None = None
    damaged_samples: Literal['raise', 'skip'] = 'raise'

    def __post_init__(self):
        check_fields(self, 'config')
        if not isinstance(self.parallel, Parallel):
            object.__setattr__(self, 'parallel', Parallel.from_mapping(self.parallel))
        if not isinstance(self.best, Best):
            object.__setattr__(self, 'best', Best.from_mapping(self.best))

    @property
    def batch_size_of_evaluations(self) -> int:
        """`eval_batch_size`, or `batch_size`, rounded up to a multiple of the devices."""
        devices = jax.device_count()
        return -(-(self.eval_batch_size or self.batch_size) // devices) * devices

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> 'RunConfig':
        """A config from its keys and values.

        Raises:
          InputError: an unknown or a missing key (with the nearest known one), a wrong type, a
            value out of range.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in config:
            if name not in fields:
                raise InputError(f'config.{name}: a run has no such key; '
                                 f'{nearest(name, list(fields))}')
        missing = [name for name, field in fields.items() if name not in config
                   and field.default is dataclasses.MISSING
                   and field.default_factory is dataclasses.MISSING]
        if missing:
            raise InputError(f'config: a run needs {", ".join(missing)}; add config.{missing[0]}')
        return cls(**config)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The keys that may be left out, with their plain values."""
        found = {}
        for field in dataclasses.fields(cls):
            if field.default is not dataclasses.MISSING:
                found[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
        return {**found, **{name: dataclasses.asdict(found[name]) for name in ('parallel', 'best')}}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with every default written out."""
        return dataclasses.asdict(self)
