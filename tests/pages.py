"""Reads pages: their elements, texts and images."""

import base64
import html.parser
import io

import numpy as np
from PIL import Image


class Elements(html.parser.HTMLParser):
    """All elements of a page, each a name and its attributes, and the text inside."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def pixels(address):
    """The image that a data address holds."""
    head, _, data = address.partition(',')
    assert head in ('data:image/png;base64', 'data:image/jpeg;base64')
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    return np.array(image.convert('RGBA') if image.mode == 'P' else image)
