"""Tables of scores, and confusion matrices of any number of classes."""

import math
from collections.abc import Sequence

import numpy as np

from jaxseg.report.markup import Markup, element
from jaxseg.report.pictures import matrix_image

LARGEST_TABLE = 24  # classes of a confusion matrix whose numbers can still be read
CONFUSIONS = 12


def percent(value: float) -> str:
    """A share in per cent with one decimal; a dash where it is not known."""
    return '\u2013' if math.isnan(value) else f'{100 * value:.1f}'


def sortable(columns: Sequence[str], rows: Sequence[Sequence], *, bars: str = '',
             swatches: Sequence[Sequence[int]] = (), label: str = '') -> Markup:
    """A table that a click on a column's name sorts; shares (floats) are shown in per cent.

    Args:
      columns: names; the first column holds texts.
      bars: the column whose values are also drawn as bars.
      swatches: one color a row, shown before its name.
      label: what the table holds, for those who do not see it.
    """
    head = element('tr', [element('th', element('button', name, type='button'), scope='col')
                          for name in columns])
    body = []
    for index, (name, *values) in enumerate(rows):
        color = swatches[index] if swatches else None
        swatch = color and element('i', style='background:#{:02x}{:02x}{:02x}'.format(*color))
        cells = [element('th', swatch, name, scope='row')]
        cells += [_cell(value, column == bars)
                  for column, value in zip(columns[1:], values, strict=True)]
        body.append(element('tr', cells))
    table = element('table', element('thead', head), element('tbody', body), class_='sortable',
                    aria_label=label)
    return scrolled(table)


def scrolled(table: Markup) -> Markup:
    """Wide content that scrolls by itself, so that the page does not."""
    return element('div', table, class_='scrolled', tabindex=0)


def _cell(value: object, bar: bool) -> Markup:
    if not isinstance(value, float):
        if isinstance(value, int):
            return element('td', f'{value:,}', data_value=value)
        return element('td', value, class_='text')
    number = -1 if math.isnan(value) else value
    drawn = element('span', class_='bar', style=f'--share:{max(number, 0):.3f}')
    return element('td', drawn if bar else None, percent(value), data_value=f'{number:.6g}',
                   class_='barred' if bar else None)


def confusion_matrix(matrix: np.ndarray, classes: Sequence[str]) -> Markup:
    """Rows are true classes, columns predicted ones, in per cent of the row.

    Of more than `LARGEST_TABLE` classes it is an image whose cells are named under the pointer.
    """
    shares = row_shares(matrix)
    if len(classes) > LARGEST_TABLE:
        return element('div', element('img', src=matrix_image(shares), class_='matrix-image pixels',
                                      alt='confusion matrix, the main confusions are listed below',
                                      id='matrix-image'),
                       element('output', 'Point at a cell.', id='matrix-cell'))
    head = element('tr', element('td', 'true \u2193 predicted \u2192'),
                   [element('th', element('span', name), scope='col') for name in classes])
    rows = [element('tr', element('th', name, scope='row'), [
        _share_cell(shares[i, j], int(matrix[i, j]), name, classes[j], i == j)
        for j in range(len(classes))]) for i, name in enumerate(classes)]
    return scrolled(element('table', element('thead', head), element('tbody', rows),
                            class_='matrix', aria_label='confusion matrix'))


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """Each row divided by its sum; NaN in rows without pixels."""
    total = matrix.sum(1, keepdims=True)
    return np.divide(matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)


def _share_cell(share: float, pixels: int, true: str, predicted: str, right: bool) -> Markup:
    if math.isnan(share):
        return element('td')
    text = f'{100 * share:.0f}' if share >= 0.005 else '\u00b7' if pixels else ''
    color = share if right else share ** 0.5  # small shares of wrong pixels are seen, too
    return element('td', text, style=f'--share:{100 * color:.1f}%', title=(
        f'true {true}, predicted {predicted}: {pixels:,} pixels, {share:.1%} of {true}'),
        class_=('right' if right else 'wrong') + (' strong' if color > 0.55 else ''))


def top_confusions(matrix: np.ndarray, classes: Sequence[str]) -> Markup:
    """The pairs of classes with the most wrong pixels."""
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    shares, total = row_shares(matrix), max(int(wrong.sum()), 1)
    order = np.argsort(-wrong, axis=None, kind='stable')[:CONFUSIONS]
    pairs = [divmod(int(place), len(classes)) for place in order]
    rows = [(classes[i], classes[j], int(wrong[i, j]), float(wrong[i, j] / total),
             float(shares[i, j])) for i, j in pairs if wrong[i, j]]
    if not rows:
        return element('p', 'No pixel is wrong.')
    return sortable(('true class', 'predicted as', 'pixels', '% of all wrong pixels',
                     '% of the true class'), rows, bars='% of all wrong pixels',
                    label='main confusions')
