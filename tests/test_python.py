"""The library from Python: the examples of docs/python.md, and what completion shows."""

import pathlib
import re

import numpy as np

import jaxseg
from tests.small_weights import small_weights
from tests.torch_files import encode

GUIDE = pathlib.Path(__file__).parents[1] / 'docs' / 'python.md'


def test_the_examples_of_the_guide_run(tmp_path):
    _, example, pretrained = re.findall(r'```python\n(.*?)```', GUIDE.read_text(), re.DOTALL)
    scope = {}
    exec(example, scope)
    assert scope['logits'].shape == (2, 32, 32, 2)
    assert scope['losses'][-1] < scope['losses'][0] / 2
    assert scope['scores']['miou'] > 0.7 and scope['confusion'].matrix.sum() == 2 * 32 * 32
    # The same lines with weights that fit the small encoder.
    (tmp_path / 'small.pth').write_bytes(encode(small_weights()))
    entry = "type='torchvision.ResNet', path='resnet18.pth'"
    assert entry in pretrained
    exec(pretrained.replace(
        entry, f"type='tests.small_weights:Small', path={str(tmp_path / 'small.pth')!r}"), scope)
    kernel = scope['variables']['params']['encoder']['stage0_conv0']['kernel']
    np.testing.assert_array_equal(kernel, small_weights()['0.conv.weight'].transpose(2, 3, 1, 0))


def test_completion_shows_public_names_that_were_not_used_yet():
    assert set(jaxseg.__all__) <= set(dir(jaxseg))
