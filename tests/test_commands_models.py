"""`jaxseg models`: every part that is found in the packages, with exact sizes."""

import pytest

from jaxseg.build import parts_of
from jaxseg.commands import main, models
from tests.runs import refused


def shown(capsys, *arguments):
    assert main(['models', *arguments]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= models.WIDTH
    return text


def test_every_part_has_a_row_with_its_variants(capsys, monkeypatch):
    monkeypatch.setattr(models, '_size', lambda part, fields: f'size of {part.name}')
    text = shown(capsys)
    for kind in ('encoder', 'context', 'decoder'):
        assert parts_of(kind) and all(f'size of {name}' in text for name in parts_of(kind))
    assert all(name in text for name in parts_of('pretrained') if not name.startswith('convert.'))
    assert '  convert.' not in text
    assert 'depth: 18, ' in text and 'variant: b0, b1, b2,' in text
    assert '  torchvision.ResNet  ' in text and 'encoder: ResNet, ResNeXt and wide' in text


def test_a_name_shows_every_variant_with_its_parameters_and_stages(capsys):
    text = shown(capsys, 'VGG.vgg')
    assert text.count('depth=') == 5  # a row for each, and the field
    assert 'depth=11 9.23 M strides 1 2 4 8 16 32, channels 64 128 256 512 512 512' in (
        ' '.join(text.split()))
    assert 'fields: depth=16' in text and 'decoder' not in text


@pytest.mark.parametrize('name, size', [
    ('fcn.fcn', '0.13 M'),  # 128 channels to 64 by 3x3, and their norm: what FCN takes by default
    ('attention_pooling.', '0.26 M'),  # 512 x 512 values
    ('renet.', '2.36 M')])
def test_decoders_and_context_layers_have_a_size_where_their_defaults_decide_it(capsys, name, size):
    assert size in shown(capsys, name)
    part = models._Part('encoder', 'vgg.VGG', None)
    assert models._size(part, {'depth': 12}).strip() == '-'


def test_a_name_of_no_part_is_refused(capfd):
    refused(['models', 'resnett'], ["'resnett'", "did you mean 'resnet'"], capfd)
    refused(['models', '--config.model.type=3'], ['no effect in models'], capfd)
