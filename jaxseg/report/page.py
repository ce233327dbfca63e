"""A whole page: style, script and data in one file, which asks no network for anything."""

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.report.markup import Markup, element, joined


def page(title: str, sections: Sequence[tuple[str, str, Markup]], data: Mapping[str, Any]) -> str:
    """An HTML document.

    A policy in its head lets the browser load nothing but data addresses and run nothing but the
    script of this package, whatever texts of a data set may hold.

    Args:
      sections: (id, heading, content) in order; an empty heading has no entry in the contents.
      data: plain values that the script reads, and programs can.
    """
    files = importlib.resources.files(__package__)
    style, script = ((files / f'page.{kind}').read_text(encoding='utf-8') for kind in ('css', 'js'))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
              f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    head = element(
        'head', element('meta', charset='utf-8'),
        element('meta', http_equiv='Content-Security-Policy', content=policy),
        element('meta', name='viewport', content='width=device-width, initial-scale=1'),
        element('meta', name='color-scheme', content='light dark'),
        element('link', rel='icon', href='data:,'), element('title', title),
        element('style', Markup(style)))
    contents = element('nav', [element('a', heading, href=f'#{key}')
                               for key, heading, _ in sections if heading], aria_label='contents')
    body = [element('section', element('h2', heading) if heading else None, content, id=key)
            for key, heading, content in sections]
    # No `<` in the data, so that no text of it can end the element.
    text = Markup(json.dumps(data, allow_nan=False).replace('<', '\\u003c'))
    main = element('body', element('header', element('h1', title), contents), element('main', body),
                   element('script', text, type='application/json', id='data'),
                   element('script', Markup(script)))
    return f'<!DOCTYPE html>\n{element("html", joined(head, main), lang="en")}\n'
