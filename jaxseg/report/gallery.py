"""Images with layers that are shown one at a time, by click or key."""

import dataclasses
from collections.abc import Mapping, Sequence

from jaxseg.report.markup import Markup, element, joined
from jaxseg.report.pictures import HEAT, RIGHT, WRONG

# Layers whose colors are those of `pictures.error_layer`, `heat_layer` and `marked_layer`.
ERROR, UNCERTAINTY, DIFFERENCE = 'Error', 'Uncertainty', 'Difference'


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of a page.

    Attributes:
      name: of the sample.
      title: what stands in front of the name, such as its mean IoU.
      notes: lines below.
      image: the address of the image (`pictures.photograph`).
      layers: the addresses of what can be laid over it, by name, in the order of their keys.
      size: (height, width), for the form of its frame.
    """

    name: str
    title: str
    notes: Sequence[str]
    image: str
    layers: Mapping[str, str]
    size: tuple[int, int]


def gallery(groups: Mapping[str, Sequence[Picture]], shown: str, hints: Mapping[str, str],
            legend: Sequence[tuple[str, Sequence[int]]], *, wide: bool = False) -> Markup:
    """The controls of all images, the legend, and the images by group.

    Args:
      shown: the layer that is shown at first.
      hints: what each layer shows, by name; their order gives the keys 1, 2, ...
      legend: names and colors of the classes.
      wide: two images side by side instead of four.
    """
    groups = {title: pictures for title, pictures in groups.items() if pictures}
    keys = [_button(name, f'{name} ({index})', name == shown, key=str(index), title=hint)
            for index, (name, hint) in enumerate(hints.items(), 1)]
    plain = _button('', 'Image only (0)', False, key='0', title='the image without a layer')
    opacity = element('label', 'Opacity ', element(
        'input', type='range', id='opacity', min=0, max=100, value=80, aria_label='opacity'))
    bar = element('div', plain, keys, opacity, class_='toolbar', role='group',
                  aria_label='layer of all images')
    swatches = [element('span', element('i', style=f'background:{_rgb(color)}'), name)
                for name, color in legend]
    sections = [element('section', element('h3', title),
                        element('div', [_card(picture, shown) for picture in pictures],
                                class_='cards wide' if wide else 'cards'))
                for title, pictures in groups.items()]
    hint_list = element('ul', [element('li', _sample(name), element('b', name), f': {hint}')
                               for name, hint in hints.items()], class_='hints')
    help_text = element('p', (
        f'Keys 0 to {len(hints)} or the buttons change the layer of all images; the buttons below '
        f'an image that of this one. Click an image to enlarge it, then turn the wheel or press + '
        f'and - to zoom, drag to move, and use the arrow keys for the next image.'), class_='muted')
    return element('div', help_text, bar, hint_list, element('p', swatches, class_='swatches'),
                   sections, _dialog(), class_='gallery')


def _card(picture: Picture, shown: str) -> Markup:
    height, width = picture.size
    small = max(height, width) <= 256
    layers = [element('img', src=address, alt='', data_layer=name, hidden=name != shown,
                      decoding='async') for name, address in picture.layers.items()]
    image = element('img', src=picture.image, alt=f'image {picture.name}', decoding='async')
    stack = element('button', image, layers, type='button',
                    class_='stack pixels' if small else 'stack',
                    style=f'aspect-ratio:{width}/{height}', aria_label=f'enlarge {picture.name}')
    buttons = [_button(name, name, name == shown) for name in picture.layers]
    caption = element('figcaption', element('b', picture.title), ' ',
                      element('span', picture.name, class_='name'),
                      [element('div', line, class_='muted') for line in picture.notes])
    return element('figure', stack, element('div', buttons, class_='layers', role='group',
                                            aria_label=f'layer of {picture.name}'),
                   caption, class_='card')


def _button(layer: str, text: str, pressed: bool, *, key: str | None = None,
            title: str | None = None) -> Markup:
    return element('button', text, type='button', data_show=layer, data_key=key, title=title,
                   aria_pressed='true' if pressed else 'false')


def _sample(layer: str) -> Markup | None:
    """The colors of a layer that are not those of the classes."""
    marks = {ERROR: (WRONG,), DIFFERENCE: (RIGHT, WRONG)}.get(layer, ())
    if marks:
        return joined(*(element('i', style=f'background:{_rgb(color)}') for color in marks))
    stops = ','.join(map(_rgb, HEAT))
    heat = element('i', class_='heat', style=f'background:linear-gradient(90deg,{stops})')
    return heat if layer == UNCERTAINTY else None


def _dialog() -> Markup:
    close = element('button', 'Close (Esc)', type='button', id='close', autofocus=True)
    zoom = [element('button', sign, type='button', data_zoom=factor, aria_label=label)
            for sign, factor, label in (('\u2212', '0.67', 'zoom out'), ('+', '1.5', 'zoom in'))]
    steps = [element('button', sign, type='button', data_step=step, aria_label=label)
             for sign, step, label in (('\u2190', '-1', 'previous image'),
                                       ('\u2192', '1', 'next image'))]
    bar = element('div', element('span', id='enlarged-name'), element('span', id='enlarged-layers'),
                  steps, zoom, close, class_='toolbar')
    return element('dialog', bar, element('div', id='stage'), id='enlarged',
                   aria_labelledby='enlarged-name')


def _rgb(color: Sequence[int]) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*color)
