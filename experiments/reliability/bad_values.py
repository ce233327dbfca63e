"""Values of a wrong kind and numbers out of range, by what a field may be."""

from typing import Any

NAN, INF = float('nan'), float('inf')
NOT_NUMBERS = (True, '3', [1], {}, NAN, INF, -INF)
BIG = 10 ** 21


def integers(low: int, high: int = 2 ** 31 - 1) -> tuple:
    """Values that are no integer of this range."""
    return (*NOT_NUMBERS, None, 2.5, low - 1, low - 10 ** 9, high + 1, BIG, -BIG)


def floats(*outside: float) -> tuple:
    """Values that are no finite float, and some that are out of its range."""
    return (*NOT_NUMBERS, None, 10 ** 400, 1e39, -1e39, *outside)


def optional(values: tuple) -> tuple:
    """The same where None is allowed."""
    return tuple(value for value in values if value is not None)


def items(values: tuple, good: Any) -> tuple:
    """Lists of which one item is bad, and what is no list."""
    return (*([good, value] for value in values), 3, 'x', True, None, {'a': good})


def pairs(values: tuple, good: Any) -> tuple:
    """The same of a pair of numbers."""
    return (*items(values, good), *([value, good] for value in values), [], [good], [good] * 3)


def choices(*near: Any) -> tuple:
    """Values that are no choice, `near` misses among them."""
    return (*near, 'x', '', 3.5, True, None, [], {}, NAN, BIG)


POSITIVE, COUNT = integers(1), integers(0)
ABOVE_ZERO, NOT_NEGATIVE = floats(0, 0.0, -1e-9, -1, -BIG), floats(-1e-9, -1, -BIG)
SHARE = floats(-0.1, 1.0000001, 2, BIG)
BELOW_ONE = (*SHARE, 1, 1.0)
SHARE_ABOVE_ZERO = (*SHARE, 0, 0.0)
FLAG = (0, 1, 'yes', None, [], {}, NAN)
NAMES = ('x', 3, True, None, [3], [None], {'a': 1})
RANGE = pairs((True, 'x', None, [1], NAN, INF, 10 ** 400), 0.5)
NORM = ('batc', 'instance', '', 3, True, None, [], NAN)
MIX = {'merge': choices('gate'), 'patch': POSITIVE}
SCAN = {'features': POSITIVE, 'cell': choices('gruu', 'GRU'), 'remat': COUNT, **MIX}
TRANSFORMER = {
    'features': POSITIVE, 'heads': POSITIVE, 'layers': POSITIVE, 'mlp_ratio': ABOVE_ZERO,
    'dropout': BELOW_ONE, 'position': choices('sin', 'rotary'),
    'size': optional(pairs(POSITIVE, 8))}
OPTIMIZER = {'learning_rate': ABOVE_ZERO, 'weight_decay': NOT_NEGATIVE,
             'max_grad_norm': optional(ABOVE_ZERO), 'layer_decay': SHARE_ABOVE_ZERO,
             'groups': ('x', 3, None, ['.*'], [['.*']], [[3, 1.0]], [['.*', 'x']], [['.*', 0]])}
BETAS = {**OPTIMIZER, 'b1': BELOW_ONE, 'b2': BELOW_ONE}
STAGE = integers(-2 ** 31, 2 ** 31 - 1)[:9]  # the range depends on the encoder
FCN = {'widths': items(POSITIVE, 4), 'kernel': POSITIVE, 'stage': STAGE, 'norm': NORM,
       'dropout': BELOW_ONE}
UNET = {'widths': items(POSITIVE, 4), 'norm': NORM, 'attention': choices('se')}
LABEL = integers(0, 65535)
