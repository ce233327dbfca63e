"""Charts as SVG elements: lines over steps, bars, and a reliability diagram.

Colors are those of the classes s0, s1, ... of page.css (Okabe & Ito, 2008), which a color-blind
reader can tell apart and which change with the color scheme; lines differ in their dashes, too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jaxseg.report.markup import Markup, element

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 20, 40
NAMES, ROW, NAME_LETTERS = 130, 20, 19  # of rows with names
DASHES = ('', '7 3', '2 3', '9 3 2 3', '4 2', '1 2')
MOST_POINTS = 400  # points of a line that are drawn; a chart has fewer pixels
MARKED = 60  # points that are marked, each with its value


class Scale(NamedTuple):
    """From values to pixels, linear."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def line_chart(title: str, series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str,
               y_range: tuple[float, float] | None = None, mark: float | None = None,
               mark_label: str = '') -> Markup:
    """Lines through points (x, y), with a legend below.

    Args:
      y_range: of the axis; by default that of the values.
      mark: an x at which a vertical line is drawn, with `mark_label` in the legend.
    """
    series = {name: thinned(points) for name, points in series.items()}
    xs = [x for points in series.values() for x, _ in points] + ([] if mark is None else [mark])
    ys = [y for points in series.values() for _, y in points]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(*(y_range or (min(ys), max(ys))))
    x, y = _scales((min(xs), max(xs)), (y_ticks[0], y_ticks[-1]))
    parts = [_axes(x, y, x_ticks, y_ticks, x_label)]
    if mark is not None:
        parts.append(element('line', x1=x(mark), x2=x(mark), y1=TOP, y2=HEIGHT - BOTTOM,
                             class_='mark'))
    for index, (name, points) in enumerate(series.items()):
        path = ' '.join(f'{x(a)},{y(b)}' for a, b in points)
        dash = DASHES[index % len(DASHES)]
        parts.append(element('polyline', points=path, stroke_dasharray=dash or None,
                             class_=f'line s{index % 6}'))
        if len(points) <= MARKED:
            parts += [element('circle', element('title', f'{name}, {x_label} {a:g}: {b:.4g}'),
                              cx=x(a), cy=y(b), r=3, class_=f'dot s{index % 6}')
                      for a, b in points]
    entries = [(name, f's{index % 6}', DASHES[index % len(DASHES)])
               for index, name in enumerate(series)]
    marks = [] if mark is None else [(mark_label, 'mark', '3 3')]
    summary = '; '.join(f'{name}: {points[0][1]:.4g} at first, {points[-1][1]:.4g} at last'
                        for name, points in series.items())
    return figure(title, parts, f'{title} by {x_label}. {summary}.', _legend(entries + marks))


def bar_chart(title: str, bars: Sequence[tuple[str, float, str]], *, x_label: str, y_label: str,
              y_range: tuple[float, float] | None = None,
              form: Callable[[float], str] = '{:g}'.format) -> Markup:
    """Bars (label, height, text shown on hover); NaN heights are left out.

    Args:
      form: how a height is written above its bar; bars of more than twelve have no heights.
    """
    known = [height for _, height, _ in bars if not math.isnan(height)]
    y_ticks = ticks(*(y_range or (0, max(known, default=1) or 1)))
    x, y = _scales((0, len(bars)), (y_ticks[0], y_ticks[-1]))
    every = -(-len(bars) // 8)
    parts = [_axes(x, y, (), y_ticks, x_label, y_label)]
    for index, (label, height, note) in enumerate(bars):
        middle = (x(index) + x(index + 1)) / 2
        if index % every == 0:
            parts.append(_text(middle, HEIGHT - BOTTOM + 15, label))
        if math.isnan(height):
            continue
        parts.append(element(
            'rect', element('title', note), x=x(index) + 1.5, y=y(height), class_='bar s0',
            width=max(x(index + 1) - x(index) - 3, 1), height=max(y(y_ticks[0]) - y(height), 0)))
        if len(bars) <= 12:
            parts.append(_text(middle, y(height) - 4, form(height), class_='value'))
    return figure(title, parts, f'{title}. ' + '; '.join(note for _, _, note in bars))


def interval_chart(title: str, rows: Sequence[tuple[str, float, float, float]], *, x_label: str
                   ) -> Markup:
    """A point and its interval in every row (name, value, low, high), beside a line at zero.

    Rows with NaN are left out.
    """
    rows = [row for row in rows if not any(map(math.isnan, row[1:]))]
    values = [value for row in rows for value in row[1:]] or [0.0]
    x_ticks = ticks(min(0.0, *values), max(0.0, *values))
    x = Scale(x_ticks[0], x_ticks[-1], NAMES, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    parts = [element('line', x1=x(value), x2=x(value), y1=TOP, y2=bottom,
                     class_='grid' if value else 'ideal') for value in x_ticks]
    parts += [_text(x(value), bottom + 15, short(value)) for value in x_ticks]
    parts.append(_text((NAMES + WIDTH - RIGHT) / 2, bottom + 34, x_label, class_='label'))
    for index, (name, value, low, high) in enumerate(rows):
        y = TOP + ROW * (index + 0.5)
        note = element('title', f'{name}: {value:+.2f}, interval {low:+.2f} to {high:+.2f}')
        shown = name if len(name) <= NAME_LETTERS else f'{name[:NAME_LETTERS - 1]}\u2026'
        sure = 's0' if low > 0 else 's1' if high < 0 else 'unsure'
        parts += [_text(NAMES - 8, y + 4, shown, class_='end'),
                  element('line', note, x1=x(low), x2=x(high), y1=y, y2=y, class_=f'line {sure}'),
                  element('circle', note, cx=x(value), cy=y, r=4, class_=f'dot {sure}')]
    summary = '; '.join(f'{name} {value:+.2f}' for name, value, _, _ in rows)
    return figure(title, parts, f'{title}: {summary}', height=bottom + 42)


def scatter_chart(title: str, points: Sequence[tuple[float, float, str]], *, x_label: str,
                  y_label: str) -> Markup:
    """Points (x, y, text shown on hover) between 0 and 1, and the diagonal."""
    x, y = _scales((0, 1), (0, 1))
    fifths = [i / 5 for i in range(6)]
    parts = [_axes(x, y, fifths, fifths, x_label, y_label),
             element('line', x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_='ideal')]
    parts += [element('circle', element('title', note), cx=x(a), cy=y(b), r=3.5,
                      class_='dot faint s0') for a, b, note in thinned(points)]
    return figure(title, parts, f'{title}: {len(points)} points')


def reliability_chart(title: str, bins: Sequence[tuple[float, float, float, float]]) -> Markup:
    """Accuracy by confidence (Guo et al. 2017): on the diagonal, 70 % sure is right in 70 %.

    Args:
      bins: (low, high, accuracy, share of the pixels); bins without pixels have accuracy NaN.
    """
    x, y = _scales((0, 1), (0, 1))
    fifths = [i / 5 for i in range(6)]
    parts = [_axes(x, y, fifths, fifths, 'confidence', 'accuracy')]
    most = max(share for _, _, _, share in bins) or 1
    for low, high, accuracy, share in bins:
        if math.isnan(accuracy):
            continue
        note = f'confidence {low:.2f} to {high:.2f}: accuracy {accuracy:.3f}, {share:.1%} of all'
        middle, top = (low + high) / 2, max(accuracy, (low + high) / 2)
        box = {'x': x(low) + 1, 'width': max(x(high) - x(low) - 2, 1)}
        parts.append(element('rect', element('title', note), **box, y=y(accuracy),
                             height=y(0) - y(accuracy), class_='bar s0'))
        parts.append(element('rect', element('title', note), **box, y=y(top), class_='gap',
                             height=abs(y(accuracy) - y(middle))))
        parts.append(element('rect', **box, y=y(0) - 34 * share / most, class_='share',
                             height=34 * share / most))
    parts.append(element('line', x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_='ideal'))
    summary = '; '.join(f'{low:.2f}-{high:.2f}: {accuracy:.3f}' for low, high, accuracy, _ in bins
                        if not math.isnan(accuracy))
    keys = (('bar s0', 'accuracy'), ('gap', 'gap to the confidence'),
            ('share', 'number of pixels'))
    legend = element('p', [element('span', element('i', class_=f'key {css}'), name)
                           for css, name in keys], class_='legend')
    return figure(title, parts, f'{title}; accuracy by confidence: {summary}', legend)


def figure(title: str, parts: Sequence[Markup], description: str, below: Markup | None = None, *,
           height: float = HEIGHT) -> Markup:
    """A drawing with its title, and a description for those who cannot see it."""
    drawing = element('svg', *parts, role='img', aria_label=description,
                      viewBox=f'0 0 {WIDTH} {height:g}')
    return element('figure', element('figcaption', title), drawing, below, class_='chart')


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from at most `low` to at least `high`."""
    if high <= low:
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def thinned(points: Sequence[tuple]) -> list[tuple]:
    """Evenly spaced points of so many that not all can be seen, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def short(value: float) -> str:
    """A number of an axis: 20k, 0.5, 1e-4."""
    if value and not 1e-3 <= abs(value) < 1e9:
        return f'{value:g}'.replace('e-0', 'e-').replace('e+0', 'e')
    for unit, suffix in ((1e6, 'M'), (1e3, 'k')):
        if abs(value) >= 10 * unit or abs(value) >= unit == 1e6:
            return f'{value / unit:.3g}{suffix}'
    return f'{value:g}'


def _scales(x_range: tuple[float, float], y_range: tuple[float, float]) -> tuple[Scale, Scale]:
    low, high = x_range
    if low == high:
        low, high = low - 1, high + 1
    return Scale(low, high, LEFT, WIDTH - RIGHT), Scale(*y_range, HEIGHT - BOTTOM, TOP)


def _axes(x: Scale, y: Scale, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str,
          y_label: str = '') -> list[Markup]:
    parts = [element('line', x1=LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value), class_='grid')
             for value in y_ticks]
    parts += [_text(LEFT - 6, y(value) + 4, short(value), class_='end') for value in y_ticks]
    parts += [_text(x(value), HEIGHT - BOTTOM + 15, short(value)) for value in x_ticks
              if x.low <= value <= x.high]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, class_='label'))
    if y_label:
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(_text(14, middle, y_label, class_='label',
                           transform=f'rotate(-90 14 {middle:g})'))
    return parts


def _text(x: float, y: float, text: str, **attributes: str) -> Markup:
    return element('text', text, x=round(x, 2), y=round(y, 2), **attributes)


def _legend(entries: Sequence[tuple[str, str, str]]) -> Markup:
    lines = [element('line', x1=0, y1=5, x2=26, y2=5, stroke_dasharray=dash or None,
                     class_=f'line {css}') for _, css, dash in entries]
    keys = [element('svg', line, viewBox='0 0 26 10', class_='key', aria_hidden='true')
            for line in lines]
    return element('p', [element('span', key, name) for key, (name, _, _)
                         in zip(keys, entries, strict=True)], class_='legend')
