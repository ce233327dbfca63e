"""A run: planned, checked before anything is compiled, then trained or continued."""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.build import build
from jaxseg.commands import config as configs
from jaxseg.commands import resume
from jaxseg.commands.assemble import ModelRecord, Parts, assemble, image_dtype, make_algorithm
from jaxseg.commands.caller import check_no_worker, next_command
from jaxseg.commands.initial_state import InitialState
from jaxseg.commands.lock import locked
from jaxseg.commands.origin import Origin
from jaxseg.commands.paths import check_workdir, path_argument, with_absolute_paths
from jaxseg.commands.provenance import record_start
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.signals import stop_deferred
from jaxseg.commands.stop import Stop
from jaxseg.commands.validation import check_selection, validate
from jaxseg.commands.workdir import write_description
from jaxseg.data.faults import ReadableMasks
from jaxseg.data.inspection import split_to_score
from jaxseg.data.pipeline import check_batches, train_batches
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.data.splits import check_source, listed_bytes, split_identity
from jaxseg.errors import InputError
from jaxseg.memory import check_memory, device_bytes, share_bytes
from jaxseg.processes import gathered, is_first
from jaxseg.training.checkpoint import Checkpoints, progress_at, restore_state
from jaxseg.training.layout import JitLayout, step_key
from jaxseg.training.loop import Intervals, train
from jaxseg.training.report import Report
from jaxseg.training.selection import Best, Progress

# Columns of metrics.csv that no algorithm may use.
RESERVED = ('step', 'images_per_second', 'data_wait')


def run(*, workdir: str | pathlib.Path, **config: Any) -> bool:
    """Trains; everything that can fail on input fails before anything is compiled.

    A script calls it under `if __name__ == '__main__':`, as workers import the script again.

    Args:
      workdir: receives config.json, dataset.json, model.json, splits.json, checkpoints, metrics.csv
        and curves.png. Where it holds a stopped run of the same config, training continues from its
        last checkpoint and ends with the same parameters, bit for bit on one device.
      config: the keys of `jaxseg.commands.run_config.RunConfig`.

    Returns:
      True when all steps are done or early stopping ended them, False when Ctrl-C, the interrupt of
      a notebook or SIGTERM stopped the run (which is saved).

    Raises:
      InputError: something in the config or the data cannot be used.
      FloatingPointError: a loss is not finite.
      KeyboardInterrupt: a second signal, which loses the steps since the last checkpoint. It ends
        the process instead in the console script, and where several processes train.
    """
    check_no_worker()
    directory = path_argument(workdir, 'workdir')
    record = RunConfig.from_mapping(with_absolute_paths(configs.plain(config)))
    trained = train_in(directory, record)
    if not trained.finished:
        following = next_command('continue with', 'train', record.to_dict(), workdir=workdir)
        print(f'stopped and saved step {trained.done}; {following}', flush=True)
        return False
    following = next_command('score it', 'evaluate', record.to_dict(), workdir=workdir,
                             split=split_to_score(trained.dataset))
    print(f'done: {workdir}; {following}', flush=True)
    return True


class Trained(NamedTuple):
    """The data, the number of steps done, and whether these are all."""

    dataset: Any
    done: int
    finished: bool


def train_in(directory: pathlib.Path, config: RunConfig,
             stopping: Callable[[], contextlib.AbstractContextManager] = stop_deferred) -> Trained:
    """Trains a run, or continues it.

    Args:
      config: with absolute paths.
      stopping: opened while training; it yields the `Stop` that may be requested.

    Raises:
      InputError, FloatingPointError: as `run`.
    """
    check_workdir(directory)
    resume.check_same_run(directory, config)
    plan = _plan(config, resume.model_of_run(directory))
    resume.check_same_processes(config, plan.splits)
    with locked(directory):
        resume.check_same_run(directory, config)  # another run may have ended there meanwhile
        plan = plan._replace(splits=resume.check_same_data(
            directory, plan.spec, plan.splits, config.damaged_samples))
        with stopping() as stop:
            trained = _train(plan, directory, stop)
            gathered(None)  # what the first process has written is there for all
            return trained


class _Plan(NamedTuple):
    """The parts of a run, built and checked; nothing is compiled."""

    config: RunConfig
    dataset: Any
    sources: dict[str, Source]
    splits: dict[str, Any]  # their identities; those of a run that continues when it began
    read: Callable  # `train_batches` of this run
    parts: Parts
    algorithm: Any
    record: ModelRecord
    batch: dict[str, np.ndarray]  # the first one; of several processes the first share of it
    state: Any  # its shapes
    initial: InitialState
    step: Callable  # of the algorithm outside of `pmap`; traced once, for the check and the run

    @property
    def spec(self) -> DatasetSpec:
        return self.dataset.spec


def _plan(config: RunConfig, model: ModelRecord | None) -> _Plan:
    """The plan of a run; `model` is that of a run which continues."""
    dataset = build('data', config.data)
    spec = dataset.spec
    weights = build('pretrained', config.pretrained) if config.pretrained is not None else None
    # A run that continues needs the file of its weights no more.
    begins = model or weights
    known = begins if begins and spec.channels == len(begins.mean) else spec
    normalization = {'mean': known.mean, 'std': known.std, 'value_range': spec.value_range}
    parts = assemble(config, spec, normalization, config.parallel)
    if weights:
        weights.check(parts.model)
    origin = (model.pretrained if model else
              weights and Origin.of(weights, config.pretrained['type'], parts.model))
    algorithm = make_algorithm(config, parts, axis_name=parts.layout.axis_name)
    if parts.layout.axis_name and not hasattr(algorithm, 'axis_name'):
        raise InputError(f"config.parallel.strategy: 'pmap' needs an algorithm with a field "
                         f"axis_name, which {config.algorithm['type']} is not; use 'jit'")
    transforms = build('transforms', config.transforms)
    sampling = build('sampling', config.sampling) if config.sampling is not None else None
    parts.layout.check_batch_size(config.batch_size)
    # Every split that the run will read; 'val' may be missing.
    # A run that continues has checked them, and may go on although some were damaged since.
    skipping = model is not None and config.damaged_samples == 'skip'
    sources = {split: check_source(dataset, split, files=split == 'val' or not skipping)
               for split in ('train', 'val') if split in ('train', *spec.splits)}
    read = functools.partial(train_batches, sources['train'], spec=spec, transforms=transforms,
                             seed=config.seed)
    if skipping:
        read = functools.partial(read, damaged='skip', size=tuple(model.input_shape[:2]))
    else:
        check_batches(sources['train'], spec=spec, transforms=transforms)
    batch = _first_batch(config, read, parts.layout)
    parts.layout.check_height(batch['image'].shape[1])
    masks = ReadableMasks(sources['train'], spec) if skipping else sources['train']
    read = functools.partial(read, draw=sampling and sampling(masks, spec),
                             damaged=config.damaged_samples, size=batch['image'].shape[1:3])
    record = ModelRecord(**normalization, input_shape=batch['image'].shape[1:], pretrained=origin,
                         dtype=model.dtype if model else image_dtype(sources['train'][0]))
    splits = {split: split_identity(source) for split, source in sources.items()}
    initial = InitialState(config, parts, weights)
    state = initial.shapes(batch)
    check_selection(config, parts, algorithm, state, sources)
    _check_state(state, parts.layout)
    step = jax.jit(make_algorithm(config, parts).step, inline=True)
    plan = _Plan(config, dataset, sources, splits, read, parts, algorithm, record, batch, state,
                 initial, step)
    _trace(plan)
    return plan


def _first_batch(config: RunConfig, read: Callable, layout: JitLayout) -> dict[str, np.ndarray]:
    """The first share of the first batch, without its names, after a look at one sample of it."""
    _, shares = layout.share_of_batch()
    share, devices = config.batch_size // shares, layout.mesh.size // shares
    for batch_size in (1, share):
        batch = next(read(batch_size=batch_size))
        batch.pop('name')
        check_memory('batch_size: a batch', share // batch_size * share_bytes(batch, devices),
                     'lower it, or the size of the images that transforms return')
    return batch


def _check_state(state: Any, layout: JitLayout):
    """Raises InputError if a device has too little memory for what it keeps of the state."""
    remedy, devices = 'make the model smaller', layout.mesh.size
    if layout.fsdp < devices:
        remedy += f', or split it over more of the {devices} devices with parallel.fsdp={devices}'
    check_memory('model: its parameters and the state of the optimizer',
                 device_bytes(layout.place(state)), remedy)


def _trace(plan: _Plan):
    """Traces the whole step without compiling it, which finds parts that do not fit together."""
    layout = plan.parts.layout
    with jax.set_mesh(layout.mesh):  # and with all that `compile_step` has, as it is traced once
        after, metrics = jax.eval_shape(
            lambda state, batch, index: plan.step(state, batch, step_key(0, index)),
            plan.state, layout.batch_shapes(plan.batch), np.int32(0))
    reserved = [name for name in metrics if name in RESERVED or name.startswith('val_')]
    if reserved:
        raise InputError(f'algorithm {plan.config.algorithm["type"]}: the name of metric '
                         f'{reserved[0]!r} is reserved, as are {", ".join(RESERVED)} '
                         f'and all names that begin with val_; rename it')
    if jax.tree.structure(after) != jax.tree.structure(plan.state):
        raise InputError(f'algorithm {plan.config.algorithm["type"]}: a step returns a state of '
                         f'another structure than init; return the same pytree')


def _train(plan: _Plan, directory: pathlib.Path, stop: Stop) -> Trained:
    """Trains from the last checkpoint on, until a stop is requested."""
    config, layout, algorithm = plan.config, plan.parts.layout, plan.algorithm
    folder = directory / 'checkpoints'
    # Before anything of the run is written: checkpoints that are damaged, or do not fit.
    restored = restore_state(folder, layout.place(plan.state), algorithm.variables)
    first = restored[0] if restored else 0
    progress = progress_at(folder, first)
    parameters = jax.eval_shape(algorithm.variables, plan.state).get('params', {})
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    print(f'{count / 1e6:.2f} M parameters, {len(plan.sources["train"])} training images, '
          f'{jax.device_count()} {jax.default_backend()} device(s), '
          f'steps {first} to {config.steps}', flush=True)
    trained = _trained(plan, first, progress)
    if trained.finished:  # nothing to compile; but a description may have been lost
        _describe(plan, directory)
        return trained
    share, shares = layout.share_of_batch()
    batches = plan.read(batch_size=config.batch_size, start_step=first, workers=config.workers,
                        process_index=share, process_count=shares,
                        listed=listed_bytes(plan.sources['train'], plan.splits['train']))
    # In a list, so that the loop holds the only reference.
    state = [restored[1] if restored else plan.initial(plan.batch, plan.state, plan.record)]
    del restored
    step = algorithm.step if layout.axis_name else plan.step
    step = layout.compile_step(step, config.seed, plan.state, plan.batch,
                               _memory_remedy(plan.parts.model))
    _describe(plan, directory)  # only now: a step that needs too much memory leaves nothing behind
    if is_first() and first < config.steps:
        record_start(directory, config, first)

    started = time.perf_counter()
    intervals = Intervals(config.report_every,
                          config.evaluate_every if 'val' in plan.sources else None,
                          config.save_every or config.evaluate_every)
    with (contextlib.closing(Checkpoints(folder, progress)) as checkpoints,
          contextlib.closing(Report(directory, first_step=first, steps=config.steps,
                                    batch_size=config.batch_size,
                                    metric=config.best.metric)) as report):
        _, done = train(
            state.pop(), batches, layout=layout,
            step=step, first=first, steps=config.steps, report=report,
            save=functools.partial(_save, checkpoints, algorithm, config.best),
            intervals=intervals, stop_requested=stop.after_step,
            stalled=lambda: checkpoints.progress.stalled(config.early_stopping),
            validated=progress.validated,
            evaluate=lambda state: validate(plan.parts, algorithm, state, plan.sources['val'],
                                            plan.spec, stop))
        progress = checkpoints.progress
    print(f'{time.perf_counter() - started:.0f} s of training and validation', flush=True)
    return _trained(plan, done, progress)


def _describe(plan: _Plan, directory: pathlib.Path):
    if is_first():
        write_description(directory, plan.config, plan.spec, plan.record, plan.splits)


def _memory_remedy(model: Any) -> str:
    """Of a step that needs too much memory, where the encoder has this choice left."""
    remat = getattr(getattr(model, 'encoder', None), 'remat', None)
    return 'set model.encoder.remat=True' if remat is False else ''


def _trained(plan: _Plan, done: int, progress: Progress) -> Trained:
    stalled = progress.stalled(plan.config.early_stopping)
    if stalled:
        print(f'early stopping at step {done}: {progress.stale} validations without a better '
              f'{plan.config.best.metric}', flush=True)
    scored = 'val' not in plan.sources or progress.validated == done
    finished = done == plan.config.steps and scored or stalled
    return Trained(plan.dataset, done, finished)


def _save(checkpoints: Checkpoints, algorithm: Any, best: Best, step: int, state: Any,
          scores: Mapping[str, float] | None):
    checkpoints.save(step, state, algorithm.variables, scores and best.score(scores))
