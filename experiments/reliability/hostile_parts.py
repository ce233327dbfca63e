"""Work directories from somebody else: no command may run or import what they name."""

import contextlib
import io
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jaxseg
from experiments.reliability.bad_inputs import changes, contents, run
from experiments.reliability.cases import changed, write_image
from experiments.reliability.trials import Trial, finish, wrong_refusal
from jaxseg.errors import InputError
from jaxseg.records import write_record

# A module that leaves a file when it is imported, and what else must not run.
MODULE = 'hostile_marker'
CODE = "import os, pathlib\npathlib.Path(os.environ['MARKER']).touch()\n\n\nclass Part:\n    pass\n"
FOREIGN = (
    f'{MODULE}:Part', f'{MODULE}:', f' {MODULE}:Part', f'{MODULE}::Part', f'{MODULE}.deeper:Part',
    f'.{MODULE}:Part', f'..{MODULE}:Part', ':Part', ':', 'os:system', 'os.path:join',
    'subprocess:run', 'builtins:exec', 'pathlib:Path', 'jaxseg.commands.training:run',
    'jaxseg.build:_symbol', 'jaxseg.training.checkpoint:Checkpoints', 'jaxseg:run',
    'importlib:import_module', f'JAXSEG.{MODULE}:x')
# Without a colon they are sought in jaxseg alone.
INSIDE = (
    f'{MODULE}.Part', 'os.system', 'builtins.exec', f'..{MODULE}.Part', f'../../{MODULE}.Part',
    'checkpoint.Checkpoints', 'restore.restore', 'decode.read_image', 'folder_source.FolderSource',
    'pairs.Listing', 'train.run', 'restore._read', 'folder._check_names', '__init__.__name__',
    'transforms.np', 'optimizer.optax', 'tfds.open_builder', 'tfds.pathlib.Path')
# Keys that the tiny config has, or can have, a part under.
KEYS = ('data', 'transforms.0', 'model', 'model.encoder', 'model.context.0', 'model.decoder',
        'model.auxiliary', 'model.head', 'losses.cross_entropy', 'losses.type', 'optimizer',
        'schedule', 'task', 'algorithm', 'preprocess', 'inference', 'inference.window')
_MODEL = ('model', 'losses', 'task', 'preprocess', 'inference')
# What each command builds; a part of jaxseg elsewhere is not even looked up.
BUILT = {'train': KEYS, 'evaluate': ('data', *_MODEL), 'predict': _MODEL,
         'inspect': ('data', 'transforms')}
COMMANDS = {
    'evaluate': ('evaluate', '--workdir=work'),
    'predict': ('predict', '--workdir=work', '--input=images', '--output=new'),
    'train': ('train', '--workdir=work'),
    'inspect': ('inspect', '--workdir=work', '--output=new')}


class Parts:
    """Trials in this process, of which `OUTSIDE` run once more as a user would start them.

    Args:
      root: an empty folder.
      trained: the work directory of a tiny run.
      environment: of processes.
    """

    OUTSIDE = 8

    def __init__(self, root: pathlib.Path, trained: pathlib.Path, environment: dict[str, str]):
        self._folder, self._marker = root / 'parts', root / 'marker'
        shutil.copytree(trained, self._folder / 'work')
        write_image(self._folder / 'images' / 'a.png')
        modules = root / 'modules'
        modules.mkdir()
        (modules / f'{MODULE}.py').write_text(CODE)
        self._modules = str(modules)
        self._environment = {**environment, 'MARKER': str(self._marker)}
        self._check_marker()

    def trials(self, *, short: bool) -> Iterator[Trial]:
        """Every key, name and command."""
        sys.path.insert(0, self._modules)
        os.environ['MARKER'] = str(self._marker)
        try:
            rows = list(itertools.product(KEYS, (*FOREIGN, *INSIDE)))
            for key, name in rows[::97] if short else rows:
                yield from self._row(key, name)
        finally:
            sys.path.remove(self._modules)
        for key, name in rows[::len(rows) // (1 if short else self.OUTSIDE)]:
            yield self._process(key, name)
        yield self._prepared_data()

    def _check_marker(self):
        """The module must leave its file, or no trial could fail."""
        subprocess.run([sys.executable, '-c', f'import {MODULE}'], check=True,
                       env={**os.environ, **self._environment, 'PYTHONPATH': self._modules})
        self._marker.unlink()

    def _row(self, key: str, name: str) -> Iterator[Trial]:
        self._write(key, name)
        before = contents(self._folder)
        for command, arguments in COMMANDS.items():
            if ':' not in name and not key.startswith(BUILT[command]):
                continue
            status, error = run(arguments, self._folder)
            yield self._judged(command, key, name, wrong_refusal(status, error), before)
        output = io.StringIO()
        with contextlib.redirect_stderr(output), contextlib.chdir(self._folder):
            try:
                jaxseg.load('work')
                found = (['it was loaded'] if ':' in name or key.startswith(BUILT['predict'])
                         else [])
            except InputError as error:
                found = [] if not output.getvalue() else [output.getvalue(), str(error)]
            except Exception as error:
                found = [f'{type(error).__name__}: {error}']
        yield self._judged('jaxseg.load', key, name, found, before)

    def _judged(self, command: str, key: str, name: str, failures: list[str],
                before: dict[str, str]) -> Trial:
        if self._marker.exists() or MODULE in sys.modules:
            failures = [*failures, 'the module was imported']
            self._marker.unlink(missing_ok=True)
            sys.modules.pop(MODULE, None)
        failures += changes(before, contents(self._folder))
        return Trial('parts', f'{command}: {key} is {name!r}', 'refused' if not failures else 'ran',
                     failures)

    def _process(self, key: str, name: str) -> Trial:
        self._write(key, name)
        path = os.pathsep.join([self._modules, str(pathlib.Path(__file__).parents[2])])
        status, _, error = finish(COMMANDS['train'], self._folder,
                                  **{**self._environment, 'PYTHONPATH': path})
        failures = wrong_refusal(status, error)
        if self._marker.exists():
            failures.append('the module was imported')
            self._marker.unlink()
        return Trial('parts, in a process', f'train: {key} is {name!r}', f'status {status}',
                     failures)

    def _prepared_data(self) -> Trial:
        """A data set of TFDS names the modules of its features."""
        folder = self._folder / 'prepared' / 'tiny' / '1.0.0'
        folder.mkdir(parents=True)
        (folder / 'dataset_info.json').write_text(json.dumps(
            {'name': 'tiny', 'version': '1.0.0', 'fileFormat': 'array_record', 'splits': []}))
        (folder / 'features.json').write_text(json.dumps(
            {'pythonClassName': 'tensorflow_datasets.core.features.features_dict.FeaturesDict',
             'featuresDict': {'features': {'image': {
                 'pythonClassName': f'{MODULE}.Part', 'jsonFeature': {'json': '{}'}}}}}))
        self._write('data', 'tfds.Tfds', directory=str(folder), classes=['a', 'b'])
        path = os.pathsep.join([self._modules, str(pathlib.Path(__file__).parents[2])])
        status, _, error = finish(COMMANDS['inspect'], self._folder,
                                  **{**self._environment, 'PYTHONPATH': path})
        failures = wrong_refusal(status, error, 'features.json', MODULE)
        if self._marker.exists():
            failures.append('the module was imported')
            self._marker.unlink()
        return Trial('parts, in a process', 'features of a data set of TFDS', f'status {status}',
                     failures)

    def _write(self, key: str, name: str, **fields: Any):
        """config.json with a part under a key, and a digest that is right."""
        config, (*parents, last) = changed({}), key.split('.')
        place: Any = config
        for parent in parents:
            place = place[parent]
        entry = {'type': name, **fields}
        if last.isdecimal():
            place.append(entry)
        else:
            place[last] = entry
        write_record(self._folder / 'work' / 'config.json', config)
