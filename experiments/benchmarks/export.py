"""Which models export to StableHLO and ONNX, how far they deviate, and their time in onnxruntime.

    python experiments/benchmarks/export.py [--repeats 5] [--only WORD]
        [--csv experiments/benchmarks/export.csv]

Every encoder with one decoder, every decoder with one encoder and every context layer, with random
weights, on an image of 250x250. The deviation is the largest of a probability of the file from
that of the model; times are medians in float32, on two threads. Models that the table has are not
measured again. Close everything else first. Needs the extra `[export]`.
"""

import functools
import inspect
import pathlib
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, read, take_turns, write  # noqa: E402

from jaxseg.build import build, fields_of, parts_of  # noqa: E402
from jaxseg.export import onnx, stablehlo  # noqa: E402
from jaxseg.export.images import Images, export_most_general  # noqa: E402
from jaxseg.layers.platform import traced_for  # noqa: E402

SIZE, CLASSES, THREADS, FEATURES = 250, 5, 2, 32
# Module, and the platform that models are traced for.
FORMATS = {'stablehlo': (stablehlo, 'cpu'), 'onnx': (onnx, 'onnx')}
COLUMNS = ('encoder', 'decoder', 'context', 'format', 'images', 'deviation', 'megabytes',
           'export_seconds', 'milliseconds', 'our_milliseconds', 'reason', 'machine')
# The smallest variants; the others are larger, not different.
VARIANTS = {'vgg.VGG': {'depth': 11}, 'resnet.ResNet': {'depth': 18},
            'mobilenet.MobileNetV3': {'variant': 'small'},
            'efficientnet.EfficientNet': {'variant': 'b0'},
            'efficientnet_v2.EfficientNetV2': {'variant': 'b0'},
            'hardnet.HarDNet': {'variant': '39ds'}, 'convnext.ConvNeXt': {'variant': 'atto'},
            'mit.MiT': {'variant': 'b0'}, 'vit.ViT': {'variant': 'tiny'}}


def models() -> list[dict]:
    """Entries of models for `build`."""
    encoders = [{'encoder': {'type': name, **VARIANTS.get(name, {})},
                 'decoder': {'type': 'fcn.FCN'}} for name in parts_of('encoder')]
    decoders = [{'encoder': {'type': 'resnet.ResNet', 'depth': 18}, 'decoder': {'type': name}}
                for name in parts_of('decoder') if name != 'fcn.FCN']
    contexts = [{'encoder': {'type': 'vgg_like.VGGLike'}, 'decoder': {'type': 'fcn.FCN'},
                 'context': _context(name, symbol)}
                for name, symbol in parts_of('context').items()]
    return [*encoders, *decoders, *contexts]


def _context(name: str, symbol: Callable) -> dict:
    features = fields_of(symbol).get('features')
    needed = features is not None and features.default is inspect.Parameter.empty
    return {'type': name, **({'features': FEATURES} if needed else {})}


def probabilities(entry: dict) -> Callable[[jax.Array], jax.Array]:
    """A model with random weights as a function of pixel values."""
    model = build('model', {'type': 'segmentation_model.SegmentationModel', **entry},
                  classes=CLASSES)
    keys = {name: jax.random.key(0) for name in ('params', 'dropout', 'drop_path')}
    shapes = jax.eval_shape(lambda: model.init(keys, jnp.zeros((1, 64, 64, 3)), train=False))
    random = np.random.default_rng(0)

    def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        centre = 1.0 if path[-1].key in ('scale', 'var') else 0.0
        if leaf.ndim < 2:
            return (centre + random.uniform(-0.1, 0.1, leaf.shape)).astype(leaf.dtype)
        deviation = np.prod(leaf.shape[:-1]) ** -0.5
        return (deviation * random.normal(size=leaf.shape)).astype(leaf.dtype)

    # Without what layers sow for training.
    kept = {name: shapes[name] for name in ('params', 'batch_stats') if name in shapes}
    variables = jax.tree_util.tree_map_with_path(fill, kept)

    def function(images: jax.Array) -> jax.Array:
        logits = model.apply(variables, images.astype(jnp.float32) / 64 - 2, train=False)['logits']
        # Those of random weights are up to hundreds in deep networks, and so are their roundings.
        return jax.nn.softmax(logits / jnp.std(logits))

    return function


def loaded(name: str, path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
    """The file as a function."""
    if name == 'stablehlo':
        with zipfile.ZipFile(path) as file:
            program = jax.export.deserialize(bytearray(file.read('model.bin')))
        return jax.jit(program.call)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = THREADS, 3
    session = onnxruntime.InferenceSession(path, options)
    return lambda images: session.run(None, {'images': images})[0]


def measure(entry: dict, repeats: int) -> list[dict]:
    """The rows of a model, one a format, without the machine; `reason` where it is not general."""
    function, images = probabilities(entry), Images(None, None, None, 3, 'uint8')
    batch = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    ours, rows = jax.jit(function), []
    wanted = np.asarray(ours(batch))
    for name, (module, platform) in FORMATS.items():
        row, start = {'format': name}, time.perf_counter()
        rows.append(row)
        try:
            with traced_for(platform):
                exported = export_most_general(functools.partial(module.convert, function), images,
                                               (SIZE, SIZE))
        except NotImplementedError as error:
            row.update(images='none', reason=str(error))
            continue
        row.update(images=str(exported.images), reason=exported.reason,
                   export_seconds=round(time.perf_counter() - start, 1))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'model'
            module.write(path, exported.program, {})
            size, run = path.stat().st_size, loaded(name, path)
        row.update(megabytes=round(size / 1e6, 1),
                   deviation=f'{np.abs(np.asarray(run(batch)) - wanted).max():.1e}')
        times = take_turns({'file': lambda run=run: jax.block_until_ready(run(batch)),
                            'ours': lambda: jax.block_until_ready(ours(batch))}, repeats, warm=1)
        row.update(milliseconds=round(1000 * times['file'], 1),
                   our_milliseconds=round(1000 * times['ours'], 1))
    return rows


def main():
    """Measures every row and prints it."""
    parser = argument_parser(__doc__, repeats=5)
    parser.add_argument('--only', default='', help='rows that hold this word')
    arguments = parser.parse_args()
    rows = read(arguments.csv)
    done = {tuple(row[key] for key in COLUMNS[:3]) for row in rows}
    for entry in models():
        parts = {key: entry.get(key, {}).get('type', '') for key in COLUMNS[:3]}
        if tuple(parts.values()) in done or arguments.only not in ' '.join(parts.values()):
            continue
        for found in measure(entry, arguments.repeats):
            rows.append({**parts, **found, 'machine': machine()})
            print(*(rows[-1].get(column, '') for column in COLUMNS[:-1]), flush=True)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
