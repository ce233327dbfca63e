"""List the parts that models are made of, with their variants, sizes and strides."""

import argparse
import functools
import inspect
import textwrap
import typing
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax

from jaxseg.build import build, fields_of, parts_of
from jaxseg.commands.overrides import check_overrides
from jaxseg.errors import InputError
from jaxseg.fields import nearest

WIDTH = 100
SIDE, CHANNELS, FEATURES, CLASSES = 64, 512, 256, 19
KINDS = {
    'encoder': 'parameters for RGB images, strides and channels of the stages',
    'context': f'parameters from {CHANNELS} to {FEATURES} channels',
    'decoder': f'parameters over ResNet-18 and {CLASSES} classes',
    'pretrained': 'names of the weights of other libraries, and the part that they fill'}
# The field that states the variants of a part.
VARIANTS = ('variant', 'depth', 'size')


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('name', nargs='?', default='',
                        help='only the parts whose name holds this, with every variant')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand; nothing is compiled."""
    check_overrides('models', overrides, ())
    found = [part for part in _all_parts() if arguments.name.lower() in part.name.lower()]
    if not found:
        files = {part.name.partition('.')[0] for part in _all_parts()}
        raise InputError(f'{arguments.name!r} is in the name of no part; '
                         f'{nearest(arguments.name, list(files))}')
    for kind, line in KINDS.items():
        rows = [part for part in found if part.kind == kind]
        if rows:
            print(f'\n{kind}: {line}')
        width = max((len(part.name) for part in rows), default=0) + 2
        for part in rows:
            print(_details(part) if arguments.name else _line(part, width), flush=True)
    if not arguments.name:
        print('\njaxseg models NAME shows every variant and field')


class _Part(NamedTuple):
    """A class of the library, by its key in a config and its type there."""

    kind: str
    name: str
    symbol: Any

    @property
    def variants(self) -> tuple[str, tuple]:
        """The field that states them, and its values; no field where there is none."""
        fields = fields_of(self.symbol)
        for name in VARIANTS:
            hint = fields[name].annotation if name in fields else None
            hints = (hint, *typing.get_args(hint))
            choices = next((typing.get_args(one) for one in hints
                            if typing.get_origin(one) is Literal), ())
            if choices:
                return name, choices
        return '', ()


def _all_parts() -> list[_Part]:
    # `convert.py` holds the classes that tables of names are made from.
    return [_Part(kind, name, symbol) for kind in KINDS for name, symbol in parts_of(kind).items()
            if not name.startswith('convert.')]


def _line(part: _Part, width: int) -> str:
    """A part in a row: its size by default; its variants in another."""
    start, (field, values) = f'  {part.name:<{width}}', part.variants
    if part.kind == 'pretrained':
        return _wrapped(start, _summary(part))
    rows = [_wrapped(start, _size(part, {}))]
    if values:
        rows.append(_wrapped(' ' * len(start), f'{field}: ' + ', '.join(map(str, values))))
    return '\n'.join(rows)


def _details(part: _Part) -> str:
    """A part with a row for each variant, and its fields."""
    field, values = part.variants
    rows = [_wrapped('  ', f'{part.name}: {inspect.getdoc(part.symbol).splitlines()[0]}')]
    if part.kind != 'pretrained':
        rows += [_wrapped(f'    {f"{field}={value}" if values else "":<18}',
                          _size(part, {field: value} if values else {}))
                 for value in values or (None,)]
    fields = ', '.join(name if field.default is field.empty else f'{name}={field.default!r}'
                       for name, field in fields_of(part.symbol).items())
    return '\n'.join([*rows, _wrapped('    fields: ', fields)] if fields else rows)


def _wrapped(start: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=' ' * len(start),
                         break_long_words=False) if text else start.rstrip()


def _summary(part: _Part) -> str:
    line = inspect.getdoc(part.symbol).splitlines()[0]
    return f'{part.symbol.part or "model"}: {line}'


def _size(part: _Part, fields: dict[str, Any]) -> str:
    """Parameters, and of an encoder the stages; '-' where other fields must be given."""
    if part.kind == 'context' and 'features' in fields_of(part.symbol):
        fields = {'features': FEATURES, **fields}
    try:
        module = build(part.kind, {'type': part.name, **fields}, classes=CLASSES)
        inputs = {'encoder': lambda: _images(module), 'context': lambda: _features(CHANNELS),
                  'decoder': _stages}[part.kind]()
        outputs, variables = _shapes(module, inputs)
    except InputError:
        return f'{"-":>9}'
    count = sum(leaf.size for leaf in jax.tree.leaves(variables.get('params', {})))
    text = f'{count / 1e6:7.2f} M'
    if part.kind == 'encoder':
        strides = ' '.join(str(stage.stride) for stage in outputs)
        channels = ' '.join(str(stage.features.shape[-1]) for stage in outputs)
        text += f'  strides {strides}, channels {channels}'
    return text


def _shapes(module: Any, inputs: Any) -> tuple[Any, Any]:
    """Shapes of outputs and variables."""
    def init(inputs: Any) -> Any:
        keys = {name: jax.random.key(0) for name in ('params', 'dropout', 'drop_path')}
        return module.init_with_output(keys, inputs, train=False)

    return jax.eval_shape(init, inputs)


def _images(encoder: Any) -> jax.ShapeDtypeStruct:
    side = -(-SIDE // encoder.stride) * encoder.stride
    return jax.ShapeDtypeStruct((1, side, side, 3), 'float32')


def _features(channels: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, SIDE // 8, SIDE // 8, channels), 'float32')


@functools.cache
def _stages() -> Any:
    encoder = build('encoder', {'type': 'resnet.ResNet', 'depth': 18})
    return _shapes(encoder, _images(encoder))[0]
