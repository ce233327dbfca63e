"""Which images of an output folder are done, and with what, and which files `predict` wrote."""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxseg.commands import config as configs
from jaxseg.commands.workdir import Workdir
from jaxseg.errors import InputError
from jaxseg.files import naming, replacing
from jaxseg.records import sealed, unsealed

FILE = 'predict.jsonl'
# Keys of the config on which predictions depend.
KEYS = ('inference', 'model', 'task', 'preprocess')


class PredictRecord:
    """The file predict.jsonl of an output folder, one line of JSON each.

    The first line is all that the results depend on, the second names the files that this and
    earlier predictions write, the others the images that are done, with their size in bytes and the
    time of their last change. A line is added when all results of its image are written, so that
    whatever ends the process, an image with a line is done.

    Args:
      output: the folder.
      settings: what the results depend on.
      resume: whether the images that are done with these settings stay so.

    Raises:
      InputError: results to be resumed were written with other settings, or the file is damaged.
    """

    def __init__(self, output: pathlib.Path, settings: Mapping[str, Any], *, resume: bool):
        self._path, self._settings = output / FILE, json.loads(json.dumps(settings))
        self._done: dict[str, list] = {}
        self._files: set[str] = set()
        self._started = False
        if self._path.exists():
            with contextlib.nullcontext() if resume else contextlib.suppress(InputError):
                before, self._files, done = self._read()
                if resume:
                    self._check_same(before)
                    self._done = done

    def claim(self, files: Iterable[pathlib.Path]):
        """Notes files that will be written, in the folder.

        Raises:
          InputError: one of them is there, and no prediction has written it.
        """
        for file in files:
            name = file.relative_to(self._path.parent).as_posix()
            # A folder in the place of a result is reported where the result is written.
            if name not in self._files and (file.is_symlink() or file.exists()
                                            and not file.is_dir()):
                raise InputError(f'--output={self._path.parent}: a result would overwrite {file}, '
                                 f'which {FILE} does not name as a result; give another folder, '
                                 f'or move the file')
            self._files.add(name)

    def done(self, name: str, image: pathlib.Path) -> bool:
        """Whether an image is done, and was not changed since."""
        return self._done.get(name) == _stamp(image)

    def start(self, redo: Sequence[str]):
        """Writes the file without the images that are to be done: before any of their results."""
        if self._started:
            return
        for name in redo:
            self._done.pop(name, None)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path, durable=False) as partial:
            lines = [sealed(self._settings), sorted(self._files),
                     *([name, *stamp] for name, stamp in self._done.items())]
            partial.write_text(''.join(map(_line, lines)), encoding='ascii')
        self._started = True

    def add(self, name: str, image: pathlib.Path):
        """Notes that all results of an image are written."""
        stamp = _stamp(image)
        try:
            with naming(self._path), self._path.open('a', encoding='ascii') as file:
                file.write(_line([name, *stamp]))
        except OSError:
            self._started = False  # a part of the line may be there: the file is written again
            raise
        self._done[name] = stamp

    def _read(self) -> tuple[dict[str, Any], set[str], dict[str, list]]:
        """Settings, files that were written, and the images that are done."""
        try:
            first, second, *lines = self._path.read_text(encoding='ascii').split('\n')
            # What follows the last end of line is the beginning of a line, or nothing.
            done = {name: stamp for name, *stamp in map(json.loads, lines[:-1])}
            files = json.loads(second)
            if not all(isinstance(name, str) for name in files):
                raise ValueError('its second line names no files')
            return unsealed(json.loads(first)), set(files), done
        except (ValueError, TypeError, AttributeError, OSError, InputError) as error:
            raise InputError(f'--resume: {self._path} cannot be read ({error}); give another '
                             f'--output') from None

    def _check_same(self, before: Mapping[str, Any]):
        for key, (old, new) in configs.difference(before, self._settings).items():
            raise InputError(f'--resume: the results in {self._path.parent} were written with '
                             f'{key} {old!r}, and now it is {new!r}; give another --output, or '
                             f'leave out --resume to write all of them again')


def settings_of(run: Workdir, step: int, variables: Any, more: Mapping[str, Any]
                ) -> dict[str, Any]:
    """All that the predictions of a run depend on; `more` is what its results depend on besides."""
    config = run.config.to_dict()
    return {'checkpoint': step, 'weights': _digest(variables),
            'config': {**{key: config[key] for key in KEYS},
                       'eval_batch_size': run.config.batch_size_of_evaluations},
            'classes': run.spec.classes, 'colors': run.spec.colors,
            'value_range': run.record.value_range, 'mean': run.record.mean, 'std': run.record.std,
            'devices': [jax.default_backend(), jax.device_count()], **more}


def _digest(variables: Any) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _stamp(image: pathlib.Path) -> list[int]:
    try:
        found = image.stat()
    except OSError:  # reading the image will tell
        return [-1, -1]
    return [found.st_size, found.st_mtime_ns]


def _line(values: Any) -> str:
    return json.dumps(values) + '\n'
