"""A work directory: all files of a run, from which every subcommand can continue."""

import dataclasses
import functools
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxseg.commands import config as configs
from jaxseg.commands.assemble import ModelRecord, Parts, assemble
from jaxseg.commands.ensemble import Ensemble, is_crossvalidation, member_folders
from jaxseg.commands.paths import command, expanded
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.trust import check_trusted
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.inference.postprocess import decide
from jaxseg.inference.predictor import Predictor
from jaxseg.records import read_record, write_record
from jaxseg.training.restore import restore_variables


@dataclasses.dataclass(frozen=True)
class Workdir:
    """An opened work directory: config, description of data and model, and the parts built.

    Of a cross-validation it is the ensemble of the folds, `members`: their variables are a tuple,
    and the parts' inference method takes it.
    """

    path: pathlib.Path
    config: RunConfig
    spec: DatasetSpec
    record: ModelRecord
    parts: Parts
    members: tuple[pathlib.Path, ...] = ()

    def variables(self, which: str) -> tuple[int | tuple[int, ...], Any]:
        """Step and variables of the checkpoint called 'best', 'latest' or by its number.

        Of an ensemble both are tuples, with one item a member.
        """
        shapes = self.parts.variables(self.record.input_shape)
        found = [restore_variables(folder.absolute() / 'checkpoints', which, shapes)
                 for folder in self.members or (self.path,)]
        return tuple(zip(*found, strict=True)) if self.members else found[0]

    def predictor(self, variables: Any) -> Predictor:
        """The model as a function of images of any size."""
        return Predictor(self.parts.inference, self.place(variables), self.spec.channels,
                         self.record.dtypes, self.spec.classes, self.spec.overlapping)

    def place(self, variables: Any) -> Any:
        """Variables on all devices."""
        return self.parts.layout.put_variables(variables)


def read_config(workdir: str | pathlib.Path) -> dict[str, Any]:
    """The config that a work directory was trained with; its parts may be anyone's code.

    Raises:
      InputError: the folder does not exist or holds no run, or its config.json is damaged.
    """
    path = expanded(workdir) / 'config.json'
    train = command('train', config='FILE', workdir=workdir)
    if is_crossvalidation(path.parent):
        raise InputError(f'--workdir={workdir} holds a cross-validation, and this needs one run; '
                         f'give one of its folds: --workdir={path.parent / "fold0"}')
    if not path.is_file():
        exists = path.parent.is_dir()
        problem = 'holds no run (config.json is missing)' if exists else 'does not exist'
        raise InputError(f'--workdir={workdir} {problem}; train first: {train}')
    try:
        config = read_record(path)
        RunConfig.from_mapping(config)
    except InputError as error:
        raise InputError(f'{path} is not the config of a run ({error}); '
                         f'remove it, and give the experiment again: {train}') from error
    return config


def trusted_config(workdir: str | pathlib.Path, trust: Collection[str]) -> dict[str, Any]:
    """The same, if all of its parts are the library's or of packages in `trust`.

    Raises:
      InputError: a part is not, or one of the errors of `read_config`.
    """
    config = read_config(workdir)
    check_trusted(config, trust, pathlib.Path(workdir) / 'config.json')
    return config


def merged_config(config: str | None, workdir: str | None, overrides: Sequence[str],
                  trust: Collection[str]) -> dict[str, Any]:
    """An experiment file's config, or without one that of a work directory, with overrides."""
    base = trusted_config(workdir, trust) if config is None else configs.from_file(config)
    return configs.override({**RunConfig.defaults(), **base}, overrides)


def open_workdir(workdir: str | pathlib.Path, overrides: Sequence[str] = (), *,
                 trust: Collection[str] = (), ensembles: bool = False) -> Workdir:
    """Opens a run that was trained, with config overrides such as another inference method.

    Args:
      trust: packages outside of jaxseg whose code the run may use.
      ensembles: opens a cross-validation, too.

    Raises:
      InputError: no run there, a part of a package that is not trusted, a damaged config.json,
        dataset.json or model.json, or overrides that do not fit.
    """
    path, members = expanded(workdir), ()
    if ensembles and is_crossvalidation(path):
        members = member_folders(path, read_config)
    run = members[0] if members else path
    before = trusted_config(run, trust)
    if members:  # together they have seen all that was pooled
        before = {**before, 'data': {**before['data'], 'fold': None}}
    config = RunConfig.from_mapping(configs.override(before, overrides))
    try:
        spec = DatasetSpec.load(run / 'dataset.json')
        record = ModelRecord.load(run / 'model.json')
    except InputError as error:
        raise InputError(f'{error}; or write the file again: {command("train", workdir=run)}'
                         ) from error
    parts = assemble(config, spec, record.normalization)
    if members:
        parts = dataclasses.replace(parts, inference=Ensemble(
            parts.inference, functools.partial(decide, parts.inference, parts.task)))
    return Workdir(path, config, spec, record, parts, members)


def write_description(path: pathlib.Path, config: RunConfig, spec: DatasetSpec, record: ModelRecord,
                      splits: Mapping[str, Any]):
    """Writes dataset.json, model.json, splits.json and config.json."""
    path.mkdir(parents=True, exist_ok=True)
    spec.save(path / 'dataset.json')
    write_record(path / 'model.json', dataclasses.asdict(record))
    write_record(path / 'splits.json', splits)
    # config.json is written last: if it exists, there is a run to continue.
    write_record(path / 'config.json', config.to_dict())
