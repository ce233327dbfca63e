"""Forward and train step of whole models, beside the same network in PyTorch if installed.

    python experiments/benchmarks/step.py [--repeats 15] [--csv experiments/benchmarks/step.csv]
        [--models NAME,NAME]

Measures whole models of several families at 4x256x256 with 11 classes, and the three CamVid models
at 480x360. PyTorch has the same networks from segmentation_models_pytorch, with as many parameters
(which is checked), but for the two CamVid models with context. The variants of one network take
turns, one repetition each, so that other load on the machine affects them alike; figures are
medians, and ratios compare within one run. Temporary memory is that of XLA's `memory_analysis`.
Close everything else first.
"""

import functools
import importlib.util
import os
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import add_names, argument_parser, machine, take_turns, write  # noqa: E402

from jaxseg.build import build, build_losses  # noqa: E402
from jaxseg.commands import config as configs  # noqa: E402
from jaxseg.tasks.semantic import Semantic  # noqa: E402
from jaxseg.training.layout import init_key, step_key  # noqa: E402
from jaxseg.training.optimizer import adamw  # noqa: E402
from jaxseg.training.schedule import constant  # noqa: E402
from jaxseg.training.supervised import Supervised  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
CLASSES = 11
SQUARES = (4, 256, 256)  # batch, height, width
ALIGNED = dict(head=dict(type='head.Head', kernel=1), align_corners=True)


def network(encoder: dict, decoder: dict, **fields) -> dict:
    """The config of a model without context."""
    return dict(type='segmentation_model.SegmentationModel', encoder=encoder, decoder=decoder,
                **fields)


UNET = network(dict(type='resnet.ResNet', depth=18),
               dict(type='unet.UNet', widths=[256, 128, 64, 32, 16]))
NETWORKS = {
    'resnet18_unet': UNET,
    'mobilenetv3_deeplab': network(dict(type='mobilenet.MobileNetV3', output_stride=16),
                                   dict(type='deeplab.DeepLabV3Plus'), **ALIGNED),
    'mit_b0_segformer': network(dict(type='mit.MiT', variant='b0'),
                                dict(type='segformer.SegFormer'), **ALIGNED),
    'convnext_tiny_upernet': network(
        dict(type='convnext.ConvNeXt', variant='tiny'),
        dict(type='upernet.UPerNet', features=256, norm_stages=True), **ALIGNED)}
MODELS = (*NETWORKS, 'camvid_convolutional', 'camvid_recurrent', 'camvid_attention')
COLUMNS = ('model', 'library', 'work', 'batch', 'height', 'width', 'milliseconds',
           'images_per_second', 'compile_seconds', 'temporary_mib')


def jax_works(model_config: dict, images: np.ndarray, labels: np.ndarray
              ) -> dict[str, tuple[Callable, float, float]]:
    """`{work: (function of nothing, compile seconds, temporary MiB)}`: forward and train step."""
    model = build('model', model_config, classes=CLASSES)
    rule = adamw(learning_rate=1e-3, schedule=constant(steps=1000))
    losses = build_losses({'cross_entropy': {'type': 'cross_entropy.cross_entropy'}})
    algorithm = Supervised(model, Semantic(tuple(map(str, range(CLASSES))), losses, False),
                           lambda batch, key: batch, rule)
    batch = {'image': jnp.asarray(images), 'label': jnp.asarray(labels),
             'valid': jnp.ones(labels.shape, bool)}
    state = jax.jit(lambda batch: algorithm.init(init_key(0), batch))(batch)

    def forward(state, batch):
        return model.apply(algorithm.variables(state), batch['image'], train=False)['logits']

    def train_step(state, batch):
        return algorithm.step(state, batch, step_key(0, 0))

    found = {}
    for work, function in (('forward', forward), ('train step', train_step)):
        start = time.perf_counter()
        compiled = jax.jit(function).lower(state, batch).compile()
        seconds = time.perf_counter() - start
        memory = compiled.memory_analysis().temp_size_in_bytes / 2 ** 20
        call = functools.partial(lambda run: jax.block_until_ready(run(state, batch)), compiled)
        found[work] = call, seconds, memory
    return found


def torch_works(name: str, model_config: dict, images: np.ndarray, labels: np.ndarray
                ) -> dict[str, dict[str, Callable]]:
    """`{variant: {work: function of nothing}}` of a model in PyTorch; empty where it has none."""
    if importlib.util.find_spec('torch') is None:
        print('PyTorch is not installed: no ratios')
        return {}
    import torch
    import torch_models

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    found = {}
    for layout, memory_format in (('NCHW', torch.contiguous_format),
                                  ('channels_last', torch.channels_last)):
        network = torch_models.make(name, CLASSES)
        if network is None:
            return {}
        ours, theirs = parameter_count(model_config), sum(
            parameter.numel() for parameter in network.parameters())
        assert theirs == ours, f'{name}: {ours} parameters here, {theirs} there'
        network = network.to(memory_format=memory_format)
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        y = torch.from_numpy(labels).long()
        rule = torch.optim.AdamW(network.parameters(), 1e-3)

        def forward(network=network, x=x):
            network.eval()
            with torch.no_grad():
                return network(x)

        def train(network=network, x=x, y=y, rule=rule):
            network.train()
            rule.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(network(x), y).backward()
            rule.step()

        found[f'torch {layout}'] = {'forward': forward, 'train step': train}
    return found


def parameter_count(model_config: dict) -> int:
    """Of the model, without running it."""
    model = build('model', model_config, classes=CLASSES)
    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda image: model.init(init_key(0), image, train=False), image)
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


def random_batch(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(*shape, 3)).astype(np.float32)
    return images, rng.integers(0, CLASSES, shape).astype(np.int32)


def measure(name: str, model_config: dict, shape: tuple[int, int, int], repeats: int
            ) -> list[dict]:
    """Rows of the table for one model."""
    images, labels = random_batch(shape)
    ours, rows = jax_works(model_config, images, labels), []
    theirs = torch_works(name, model_config, images, labels)
    for work, (function, compile_seconds, memory) in ours.items():
        others = {variant: works[work] for variant, works in theirs.items()}
        medians = take_turns({'jaxseg': function, **others}, repeats)
        for library, seconds in medians.items():
            own = library == 'jaxseg'
            rows.append(dict(zip(COLUMNS, (
                name, library, work, *shape, round(1000 * seconds, 1), round(shape[0] / seconds, 2),
                round(compile_seconds, 1) if own else '', round(memory) if own else ''),
                strict=True)))
            more = (f'compile {compile_seconds:.1f} s, temporary {memory:.0f} MiB' if own else
                    f'jaxseg / this: {medians["jaxseg"] / seconds:.2f}')
            print(f'{name:22} {library:20} {work:11} {1000 * seconds:8.0f} ms '
                  f'{shape[0] / seconds:7.1f} images/s  {more}', flush=True)
    return rows


def main():
    """Measures, prints, writes."""
    parser = argument_parser(__doc__, repeats=15)
    add_names(parser, '--models', MODELS)
    arguments = parser.parse_args()
    # All are read before the first is measured: a mistake in one shows at once.
    works = {name: model_of(name) for name in arguments.models}
    print(machine(), flush=True)
    rows = []
    for name, (model_config, shape) in works.items():
        rows += measure(name, model_config, shape, arguments.repeats)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


def model_of(name: str) -> tuple[dict, tuple[int, int, int]]:
    """The config of a model, and the batch, height and width that it is measured at."""
    if name in NETWORKS:
        return NETWORKS[name], SQUARES
    path = ROOT / 'experiments' / 'camvid' / f'{name.removeprefix("camvid_")}.py'
    return configs.from_file(str(path))['model'], (4, 360, 480)


if __name__ == '__main__':
    main()
