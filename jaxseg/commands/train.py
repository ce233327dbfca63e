"""Train the model of a config, or go on where a run was stopped."""

import argparse
import contextlib
import functools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxseg.build import build, build_losses, check_call
from jaxseg.commands import config as configs
from jaxseg.commands.evaluate import score, verified
from jaxseg.commands.workdir import (
    check_folder,
    check_same_data,
    check_same_run,
    command,
    described,
    read_config,
    write_description,
)
from jaxseg.data.device_transforms import normalize
from jaxseg.data.pipeline import train_batches
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError
from jaxseg.metrics.confusion import confusion_counts
from jaxseg.training.checkpoint import Checkpoints
from jaxseg.training.loop import Every, train
from jaxseg.training.parallel import Spread, check_batch, spread
from jaxseg.training.report import Report
from jaxseg.training.state import count_parameters, make_init
from jaxseg.training.step import make_eval_step, make_train_step


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this verb."""
    parser.add_argument('--config', help='experiment file; without it the run in --workdir goes on')
    parser.add_argument('--workdir', required=True, help='folder that receives all of the run')
    parser.epilog = 'Any key of the config: --config.optimizer.learning_rate=3e-4'


def main(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the verb."""
    base = configs.from_file(arguments.config) if arguments.config else read_config(arguments.workdir)
    config = configs.override(base, overrides)
    check_call(run, {**config, 'workdir': arguments.workdir}, 'config')
    return 0 if run(**config, workdir=arguments.workdir) else 130


def run(*, seed: int, steps: int, batch_size: int, data: Mapping, transforms: Sequence, model: Mapping, losses: Mapping,
        optimizer: Mapping, schedule: Mapping, evaluate_every: int, save_every: int | None = None,
        report_every: int = 20, eval_batch_size: int | None = None, parallel: str = 'jit', workers: int = 0,
        workdir: str) -> bool:
    """Trains; everything that can fail on input fails before anything is compiled.

    Args:
      seed: of the initial parameters, the order of the samples, their augmentation and dropout.
      steps: number of train steps in all.
      batch_size: global number of images a step; `eval_batch_size` is that of the evaluations (default: the same).
      data, transforms, model, losses, optimizer, schedule: entries for `jaxseg.build`.
      evaluate_every: steps between evaluations of the split 'val'; each is saved as a checkpoint.
      save_every: steps between checkpoints without evaluation; None saves at evaluations only.
      report_every: steps between lines of metrics.csv.
      parallel: 'jit' or 'pmap'.
      workers: processes that read data; 0 reads in threads of this one.
      workdir: receives config.json, dataset.json, checkpoints, metrics.csv and curves.png. Where it holds a stopped run
        of the same config, training goes on from its last checkpoint and ends with the same parameters, bit for bit.

    Returns:
      True when all steps are done, False when Ctrl-C or SIGTERM stopped the run (which is saved).

    Raises:
      InputError: something in the config or the data cannot be used.
      FloatingPointError: a loss is not finite.
    """
    config = _with_absolute_paths(configs.plain({name: value for name, value in locals().items() if name != 'workdir'}))
    check_call(run, {**config, 'workdir': str(workdir)}, 'config')
    _check_ranges(config)
    directory = pathlib.Path(workdir)
    check_folder(directory, '--workdir')
    check_same_run(directory, config)
    plan = _plan(config)
    check_same_data(directory, described(directory, plan.spec), plan.spec, 'classes', 'ignore_index', 'mean', 'std')
    with contextlib.closing(Checkpoints(directory / 'checkpoints')) as checkpoints:
        first = checkpoints.latest() or 0
        batches = train_batches(plan.sources['train'], spec=plan.spec, transforms=plan.transforms, seed=seed,
                                batch_size=batch_size, start_step=first, workers=workers,
                                process_index=jax.process_index(), process_count=jax.process_count())
        state = plan.init(seed) if not first else checkpoints.restore_state(first, jax.eval_shape(plan.init, seed))
        write_description(directory, config, plan.spec)
        print(f'{count_parameters(state.params) / 1e6:.2f} M parameters, {len(plan.sources["train"])} training images, '
              f'{jax.device_count()} {jax.default_backend()} device(s), steps {first} to {steps}', flush=True)
        started = time.perf_counter()
        with contextlib.closing(Report(directory, first_step=first, steps=steps, batch_size=batch_size)) as report:
            state, finished = train(
                state, batches, spread=plan.spread, steps=steps, report=report, save=checkpoints.save,
                every=Every(report_every, evaluate_every, save_every or evaluate_every),
                evaluate=lambda now: plan.evaluate(now.variables).summary())
    print(f'{time.perf_counter() - started:.0f} s of training and validation', flush=True)
    if finished:
        split = 'test' if 'test' in plan.spec.splits else 'val'
        print(f'done: {workdir}; score it: {command("evaluate", workdir=workdir, split=split)}', flush=True)
    else:
        print(f'stopped and saved step {int(state.step)}; go on with: {command("train", workdir=workdir)}', flush=True)
    return finished


class _Plan(NamedTuple):
    """All that a run is made of, built and checked, nothing compiled."""

    spec: DatasetSpec
    sources: dict[str, Source]
    transforms: tuple
    init: Callable
    spread: Spread
    evaluate: Callable


def _plan(config: Mapping[str, Any]) -> _Plan:
    dataset = build('data', config['data'])
    spec, batch_size = dataset.spec, config['batch_size']
    model = build('model', config['model'], classes=len(spec.classes))
    losses = build_losses(config['losses'])
    schedule = build('schedule', config['schedule'], steps=config['steps'])
    optimizer = build('optimizer', config['optimizer'], schedule=schedule)
    transforms = build('transforms', config['transforms'])
    sources = {split: verified(dataset, split) for split in ('train', 'val')}
    prepare = functools.partial(normalize, mean=spec.mean, std=spec.std)
    step = make_train_step(model=model, losses=losses, optimizer=optimizer, normalize=prepare, seed=config['seed'],
                           schedule=lambda index: config['optimizer']['learning_rate'] * schedule(index))
    batch = next(train_batches(sources['train'], spec=spec, transforms=transforms, batch_size=batch_size,
                               seed=config['seed']))
    batch.pop('name')
    init = make_init(model, optimizer, batch['image'].shape[1:])
    # Traces the whole step without compiling it: what does not fit together shows here.
    jax.eval_shape(step, jax.eval_shape(init, 0), batch)
    eval_step = make_eval_step(model=model, normalize=prepare, count=functools.partial(
        confusion_counts, classes=len(spec.classes)))
    spreading = spread(step, how=config['parallel'], batch_size=batch_size)
    eval_batch_size = config['eval_batch_size'] or batch_size
    check_batch(eval_batch_size, 'eval_batch_size')
    evaluate = functools.partial(score, jax.jit(eval_step), source=sources['val'], spec=spec, batch_size=eval_batch_size)
    return _Plan(spec, sources, transforms, init, spreading, evaluate)


def _check_ranges(config: Mapping[str, Any]):
    lowest = dict(steps=1, batch_size=1, evaluate_every=1, report_every=1, save_every=1, eval_batch_size=1, workers=0, seed=0)
    for name, low in lowest.items():
        if config[name] is not None and config[name] < low:
            raise InputError(f'{name}: {config[name]} is not at least {low}')
    if config['seed'] >= 2 ** 31:
        raise InputError(f'seed: {config["seed"]} does not fit into 32 bits; give 0 to {2 ** 31 - 1}')


def _with_absolute_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The config with a data root that holds from every folder, so that a work directory can be used from anywhere."""
    data = {key: str(pathlib.Path(value).expanduser().absolute()) if key in ('root', 'directory') and value else value
            for key, value in config['data'].items()}
    return {**config, 'data': data}
