"""Templates of names: which tensor of another library is which variable of ours, both ways.

A rule is a pair of templates, such as `('layer{i}.{j}.conv{k}.weight',
'params/layer{i}_{j}/conv{k}/kernel')`. `{i}` stands for a number, `{part:q|k|v}` for one of some
words; both templates of a rule have the same fields. A place may be several, `('.../query/kernel',
'.../key/kernel')`: the tensor holds them one after the other along its first axis, in equal parts;
of a part whose place is '' nothing is used.
"""

import functools
import re
from collections.abc import Container, Mapping, Sequence

Places = str | tuple[str, ...]
Rule = tuple[str, Places]
FIELD = re.compile(r'\{(\w+)(?::([^}]*))?\}')


def layer(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a convolution or a linear layer, with or without a bias."""
    return ((f'{name}.weight', f'params/{place}/kernel'), (f'{name}.bias', f'params/{place}/bias'))


def batch_norm(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a `jaxseg.layers.norm.Norm` with batch norm."""
    return ((f'{name}.weight', f'params/{place}/batch/scale'),
            (f'{name}.bias', f'params/{place}/batch/bias'),
            (f'{name}.running_mean', f'batch_stats/{place}/batch/mean'),
            (f'{name}.running_var', f'batch_stats/{place}/batch/var'))


def layer_norm(name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a `flax.linen.LayerNorm`."""
    return ((f'{name}.weight', f'params/{place}/scale'), (f'{name}.bias', f'params/{place}/bias'))


def prefixed(rules: Sequence[Rule], name: str, place: str) -> tuple[Rule, ...]:
    """The rules of a part as those of a whole: `name` before every name.

    `place` comes after the collection of every place: `params/conv1/kernel` becomes
    `params/encoder/conv1/kernel` with the place 'encoder/'.
    """
    def moved(places: Places) -> Places:
        if isinstance(places, tuple):
            return tuple(map(moved, places))
        if not places:
            return places
        collection, rest = places.split('/', 1)
        return f'{collection}/{place}{rest}'

    return tuple((f'{name}{tensor}', moved(places)) for tensor, places in rules)


def places_of(name: str, rules: Sequence[Rule], known: Container[str] | None = None
              ) -> tuple[str, ...]:
    """The places of a tensor by the first rule that matches; none where no rule does.

    With the `known` variables of a model, by the first rule that leads to one: in a VGG
    `features.3` is a convolution or a norm.
    """
    for template, places in rules:
        values = _match(template, (template,), name)
        if values is not None:
            places = places if isinstance(places, tuple) else (places,)
            filled = tuple(_fill(place, values) for place in places)
            if known is None or all(place in known for place in filled if place):
                return filled
    return ()


def name_of(place: str, rules: Sequence[Rule]) -> tuple[str, tuple[str, ...]] | None:
    """The name of the tensor that holds a variable, and the places of all that it holds."""
    for template, places in rules:
        places = places if isinstance(places, tuple) else (places,)
        for candidate in places:
            values = _match(candidate, (template, *places), place)
            if values is not None:
                return _fill(template, values), tuple(_fill(one, values) for one in places)
    return None


def matches(name: str, templates: Sequence[str]) -> bool:
    """Whether a name has the form of one of the templates; `*` in these is any text."""
    return any(_regex(template, (template,)).fullmatch(name) for template in templates)


def _match(template: str, rule: tuple[str, ...], text: str) -> Mapping[str, str] | None:
    match = _regex(template, rule).fullmatch(text)
    return match and match.groupdict()


def _fill(template: str, values: Mapping[str, str]) -> str:
    return FIELD.sub(lambda field: values[field[1]], template)


@functools.lru_cache(maxsize=4096)
def _regex(template: str, rule: tuple[str, ...]) -> re.Pattern:
    """A template as a pattern; the words of a field may stand in any template of the rule."""
    words = {field[1]: field[2] for one in rule for field in FIELD.finditer(one) if field[2]}
    pattern, seen, end = '', set(), 0
    for field in FIELD.finditer(template):
        pattern += _literal(template[end:field.start()])
        name, end = field[1], field.end()
        alternatives = '|'.join(map(re.escape, words.get(name, '').split('|')))
        pattern += (rf'(?P={name})' if name in seen
                    else f'(?P<{name}>{alternatives})' if alternatives else rf'(?P<{name}>\d+)')
        seen.add(name)
    return re.compile(pattern + _literal(template[end:]))


def _literal(text: str) -> str:
    return '.*'.join(map(re.escape, text.split('*')))
