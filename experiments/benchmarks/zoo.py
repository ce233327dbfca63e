"""Parameters, GFLOP and forward time of encoders and decoders.

    python experiments/benchmarks/zoo.py [--repeats 5] [--only WORD]
        [--csv experiments/benchmarks/zoo.csv]

Encoders take an image of 1x256x256, decoders the stages of a ResNet-18 of this image. GFLOP are the
compiler's, two for a multiplication with an addition; figures are medians in float32. Close
everything else first.
"""

import pathlib
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, take_turns, write  # noqa: E402

from jaxseg.build import build  # noqa: E402

SIZE = 256
CLASSES = 19
COLUMNS = ('kind', 'part', 'fields', 'parameters', 'gflop', 'milliseconds', 'compile_seconds',
           'machine')
ENCODERS = (
    dict(type='vgg_like.VGGLike'),
    *(dict(type='vgg.VGG', depth=depth) for depth in (11, 16)),
    *(dict(type='resnet.ResNet', depth=depth) for depth in (18, 34, 50, 101, 152)),
    dict(type='resnet.ResNet', depth=50, output_stride=8),
    dict(type='densenet.DenseNet', depth=121),
    dict(type='mobilenet.MobileNetV2'),
    *(dict(type='mobilenet.MobileNetV3', variant=variant) for variant in ('small', 'large')),
    *(dict(type='efficientnet.EfficientNet', variant=variant)
      for variant in ('lite0', 'lite4', 'b0', 'b4')),
    *(dict(type='efficientnet_v2.EfficientNetV2', variant=variant) for variant in ('b0', 's')),
    *(dict(type='hrnet.HRNet', variant=variant) for variant in ('w18', 'w48')),
    *(dict(type='hardnet.HarDNet', variant=variant) for variant in ('39ds', '68ds', '68', '85')),
    *(dict(type='convnext.ConvNeXt', variant=variant) for variant in ('atto', 'tiny', 'base')),
    *(dict(type='swin.Swin', variant=variant) for variant in ('tiny', 'base')),
    *(dict(type='mit.MiT', variant=variant) for variant in ('b0', 'b1', 'b2', 'b5')),
    *(dict(type='vit.ViT', variant=variant) for variant in ('tiny', 'small', 'base')),
    dict(type='dinov3.DINOv3'),
    dict(type='recurrent_pyramid.RecurrentPyramid'),
)
DECODERS = tuple(dict(type=name) for name in (
    'fcn.FCN', 'unet.UNet', 'unet_plus_plus.UNetPlusPlus', 'manet.MAnet', 'linknet.LinkNet',
    'fpn.FPN', 'pspnet.PSPNet', 'pan.PAN', 'deeplab.DeepLabV3', 'deeplab.DeepLabV3Plus',
    'upernet.UPerNet', 'segformer.SegFormer', 'dpt.DPT',
    'mask_transformer.MaskTransformer'))


def measure(kind: str, entry: dict, inputs: object, repeats: int) -> dict:
    """The row of a part, without the machine."""
    part = build(kind, entry, classes=CLASSES)
    shapes = jax.eval_shape(lambda: part.init(jax.random.key(0), inputs, train=False))
    # The time does not depend on the values; a compiled `init` would take longer than all else.
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.02, leaf.dtype), shapes)

    def forward(variables: object, inputs: object) -> object:
        return part.apply(variables, inputs, train=False)

    start = time.perf_counter()
    compiled = jax.jit(forward).lower(variables, inputs).compile()
    seconds = time.perf_counter() - start
    run = {'forward': lambda: jax.block_until_ready(compiled(variables, inputs))}
    fields = ' '.join(f'{name}={value}' for name, value in entry.items() if name != 'type')
    return {'kind': kind, 'part': entry['type'], 'fields': fields,
            'parameters': sum(leaf.size for leaf in jax.tree.leaves(variables['params'])),
            'gflop': round(compiled.cost_analysis()['flops'] / 1e9, 2),
            'milliseconds': round(1000 * take_turns(run, repeats, warm=1)['forward'], 1),
            'compile_seconds': round(seconds, 1)}


def stages(entry: dict, image: jax.Array) -> Callable:
    """The stages of an encoder with random weights."""
    encoder = build('encoder', entry)

    def encode(image: jax.Array) -> object:
        return encoder.init_with_output(jax.random.key(0), image, train=False)[0]

    return jax.jit(encode)(image)


def main():
    """Measures every row and prints it."""
    parser = argument_parser(__doc__, repeats=5)
    parser.add_argument('--only', default='', help='parts whose type holds this word')
    arguments = parser.parse_args()
    image = jax.random.normal(jax.random.key(1), (1, SIZE, SIZE, 3), jnp.float32)
    maps = stages(dict(type='resnet.ResNet', depth=18), image)
    rows = []
    for kind, entries in (('encoder', ENCODERS), ('decoder', DECODERS)):
        for entry in entries:
            if arguments.only not in entry['type']:
                continue
            inputs = image if kind == 'encoder' else maps
            row = {**measure(kind, entry, inputs, arguments.repeats), 'machine': machine()}
            rows.append(row)
            print(f'{row["part"]:36} {row["fields"]:28} {row["parameters"] / 1e6:8.2f} M '
                  f'{row["gflop"]:8.2f} GFLOP {row["milliseconds"]:8.1f} ms', flush=True)
            if arguments.csv:
                write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
