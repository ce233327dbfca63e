"""Which context layer helps when: every layer on distant cues and on CamVid, in one table.

    python experiments/context_study.py --workdir=runs/context_study
        [--camvid=../shared/data/camvid] [--csv=experiments/results/context_study.csv]
        [--plot=docs/context_study.png] [--fields=docs/receptive_fields.png]
        [--layers=NAME,NAME] [--datasets=corner,corner_slow,line,camvid]

Small models that differ in one layer: an encoder to stride 4, the context (64 channels), a U-Net
step back to stride 2. `corner` and `line` are the kinds of `synthetic.DistantCue` (48x64 pixels, a
cue at least 20 pixels away from the object that it labels, while encoder and decoder alone reach
18.4): `identity` cannot exceed the ceiling, which is computed. `camvid` is CamVid downsampled to
90x120, trained and scored there. `corner` needs two hops, along a row and along a column;
`corner_slow` trains the layers that stay below 0.95 there again, with a learning rate of 1.5e-3
instead of 4e-3 and 16 images a step instead of 8. Score: test mIoU after the last step, one seed.
Beside it is the effective receptive field of the model trained on `corner`, as the radius that
contains 95 % of it. Rows that are in the CSV are not trained again, so a stopped study can
continue. At the end, one after the other: milliseconds and temporary memory of the whole model for
one image of 90x120.
"""

import argparse
import contextlib
import csv
import functools
import io
import itertools
import pathlib
import sys
import time

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]),
                str(pathlib.Path(__file__).parent / 'benchmarks')]

from measure import machine, take_turns, write  # noqa: E402

from experiments.contexts import FAMILIES, contexts  # noqa: E402
from jaxseg.build import build  # noqa: E402
from jaxseg.commands.training import run  # noqa: E402
from jaxseg.commands.workdir import open_workdir  # noqa: E402
from jaxseg.explain import receptive_field as fields  # noqa: E402

FEATURES = 64
REDUCED = 90, 120
GOAL = 0.95
FAST = dict(steps=1200, batch_size=8, learning_rate=4e-3)
RECIPES = {'corner': FAST, 'corner_slow': dict(steps=1200, batch_size=16, learning_rate=1.5e-3),
           'line': FAST, 'camvid': dict(steps=500, batch_size=8, learning_rate=4e-3)}
COLUMNS = ('dataset', 'context', 'family', 'miou', 'local_ceiling', 'parameters', 'train_seconds',
           'radius', 'milliseconds', 'temporary_mib')
SHOWN = ('identity', 'large_kernel_attention', 'renet_gru', 'four_way_rnn_mingru', 'mdrnn_linear',
         'self_attention', 'criss_cross', 'window_attention')


def config_of(entry: dict, dataset: str, data: dict) -> dict:
    """The experiment of one row."""
    recipe = RECIPES[dataset]
    return dict(
        seed=0, steps=recipe['steps'], batch_size=recipe['batch_size'], data=data,
        transforms=[dict(type='transforms.RandomFlip')] if dataset == 'camvid' else [],
        model=dict(type='segmentation_model.SegmentationModel',
                   encoder=dict(type='vgg_like.VGGLike', widths=[32], stem_stride=2),
                   context=[entry], decoder=dict(type='unet.UNet', widths=[32])),
        losses=dict(cross_entropy=dict(type='cross_entropy.cross_entropy')),
        optimizer=dict(type='optimizer.adamw', learning_rate=recipe['learning_rate'],
                       weight_decay=1e-4, max_grad_norm=1.0),
        schedule=dict(type='schedule.cosine', warmup=50), evaluate_every=recipe['steps'],
        eval_batch_size=16, report_every=100)


def reduced_camvid(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """A copy at 90x120 in the work directory: images by area, masks by the nearest label."""
    if (target / 'dataset.json').exists():
        return target
    size = REDUCED[::-1]
    for path in sorted(source.glob('*/images/*')):
        out = target / path.parent.parent.name
        for folder in ('images', 'masks'):
            (out / folder).mkdir(parents=True, exist_ok=True)
        image = cv2.resize(cv2.imread(str(path)), size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out / 'images' / f'{path.stem}.png'), image)
        mask = np.array(Image.open(path.parent.parent / 'masks' / f'{path.stem}.png'))
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        Image.fromarray(mask).save(out / 'masks' / f'{path.stem}.png')
    # Written last: if it exists, the copy is complete.
    (target / 'dataset.json').write_bytes((source / 'dataset.json').read_bytes())
    return target


def train_row(name: str, dataset: str, data: dict, workdir: pathlib.Path) -> dict:
    """Trains and scores one model."""
    (family, entry), folder = contexts(FEATURES)[name], workdir / f'{dataset}_{name}'
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        finished = run(**config_of(entry, dataset, data), workdir=str(folder))
    if not finished:
        sys.exit(f'stopped; the same command continues with {dataset} {name}')
    seconds = time.perf_counter() - started
    opened, source = open_workdir(folder), build('data', data)
    _, variables = opened.variables('latest')
    confusion = opened.parts.score(variables, source.source('test'), opened.spec)
    row = dict(dataset=dataset, context=name, family=family,
               miou=round(confusion.summary()['miou'], 4),
               parameters=sum(leaf.size for leaf in jax.tree.leaves(variables['params'])),
               train_seconds=round(seconds))
    if dataset != 'camvid':
        row['local_ceiling'] = round(source.ceiling('test'), 4)
    if dataset == 'corner':
        field = receptive_field(opened, variables, source.source('test'))
        np.save(workdir / f'receptive_field_{name}.npy', field)
        fields.save_heatmap(workdir / f'receptive_field_{name}.png', field)
        row['radius'] = round(fields.radius(field), 1)
    return {column: row.get(column, '') for column in COLUMNS}


def receptive_field(opened, variables, source) -> np.ndarray:
    """The effective receptive field of the middle, averaged over 32 held-out images."""
    images = jnp.stack([source[i]['image'] for i in range(32)])
    batch = opened.parts.preprocess({'image': images}, None)
    return np.asarray(fields.effective_receptive_field(
        lambda images: opened.parts.model.apply(variables, images, train=False)['logits'],
        batch['image']))


def measure(name: str) -> tuple[float, float]:
    """Milliseconds and MiB of temporaries of the whole model with this layer, one 90x120 image."""
    entry = config_of(contexts(FEATURES)[name][1], 'camvid', {})['model']
    model, images = build('model', entry, classes=11), jnp.zeros((1, *REDUCED, 3))
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), images)
    forward = jax.jit(functools.partial(model.apply, train=False))
    forward = forward.lower(variables, images).compile()
    call = {name: lambda: jax.block_until_ready(forward(variables, images))}
    mib = forward.memory_analysis().temp_size_in_bytes / 2 ** 20
    return round(1000 * take_turns(call, 50, warm=5)[name], 2), round(mib, 2)


def table(rows: list[dict]) -> str:
    """The rows as Markdown, one line a layer."""
    datasets = [name for name in RECIPES if any(row['dataset'] == name for row in rows)]
    lines = [f'| layer | {" | ".join(datasets)} | radius | parameters | ms | MiB |',
             '|---' * (len(datasets) + 5) + '|']
    for name in dict.fromkeys(row['context'] for row in rows):
        found = {row['dataset']: row for row in rows if row['context'] == name}
        last = found[next(reversed(found))]
        scores = ' | '.join(f'{float(found[dataset]["miou"]):.3f}' if dataset in found else ''
                            for dataset in datasets)
        reach = found['corner']['radius'] if 'corner' in found else ''
        lines.append(f'| `{name}` | {scores} | {reach} | {int(last["parameters"]):,} | '
                     f'{last["milliseconds"]} | {last["temporary_mib"]} |')
    return '\n'.join(lines)


def draw(rows: list[dict], path: pathlib.Path):
    """mIoU of every layer, a panel a data set, with the ceiling of a local model."""
    from matplotlib.figure import Figure

    datasets = [name for name in RECIPES if any(row['dataset'] == name for row in rows)]
    colors = dict(zip(FAMILIES, ('0.5', 'tab:blue', 'tab:red', 'tab:green'), strict=True))
    figure = Figure(figsize=(4 * len(datasets), 6), layout='constrained')
    panels = np.atleast_1d(figure.subplots(1, len(datasets), sharey=True))
    for axes, dataset in zip(panels, datasets, strict=True):
        chosen = [row for row in rows if row['dataset'] == dataset]
        for family, color in colors.items():
            bars = [row for row in chosen if row['family'] == family]
            axes.barh([row['context'] for row in bars], [float(row['miou']) for row in bars],
                      color=color, label=family)
        if chosen[0]['local_ceiling'] != '':
            axes.axvline(float(chosen[0]['local_ceiling']), color='k', linestyle='--',
                         label='ceiling of a local model')
            axes.set_xlim(0, 1)
        axes.set_title(f'{dataset}: test mIoU')
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center',
                  ncols=len(colors) + 1)
    figure.savefig(path, dpi=110)


def draw_fields(workdir: pathlib.Path, path: pathlib.Path):
    """The receptive fields of some layers side by side, four decades each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout='constrained')
    for axes, name in zip(figure.subplots(2, len(SHOWN) // 2).flat, SHOWN, strict=True):
        file = workdir / f'receptive_field_{name}.npy'
        axes.set_axis_off()
        if file.exists():
            field = np.load(file)
            decades = np.log10(np.maximum(field / field.max(), 1e-4))
            axes.imshow(decades, cmap='inferno', vmin=-4, vmax=0)
            axes.set_title(f'{name}: {fields.radius(field):.0f} pixels', fontsize=10)
    figure.savefig(path, dpi=110)


def main():
    """Trains what is missing, writes the table after every row, measures, draws."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('workdir', 'camvid', 'csv', 'plot', 'fields'):
        parser.add_argument(f'--{name}', type=pathlib.Path, required=name == 'workdir')
    parser.add_argument('--layers', type=lambda text: text.split(','),
                        default=list(contexts(FEATURES)))
    parser.add_argument('--datasets', type=lambda text: text.split(','), default=list(RECIPES))
    arguments = parser.parse_args()
    for option, known in (('layers', contexts(FEATURES)), ('datasets', RECIPES)):
        if unknown := set(getattr(arguments, option)) - set(known):
            parser.error(f'--{option}: {", ".join(sorted(unknown))} is not known; '
                         f'known: {", ".join(known)}')
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    path = arguments.csv or arguments.workdir / 'context_study.csv'
    datasets = {name: dict(type='synthetic.DistantCue', kind=name.split('_')[0])
                for name in ('corner', 'corner_slow', 'line')}
    if arguments.camvid:
        root = reduced_camvid(arguments.camvid, arguments.workdir / 'camvid')
        datasets['camvid'] = dict(type='folder.Folder', root=str(root))
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    print(machine(), flush=True)
    for dataset, name in itertools.product(arguments.datasets, arguments.layers):
        scores = {row['dataset']: float(row['miou']) for row in rows if row['context'] == name}
        learned = dataset == 'corner_slow' and ('corner' not in scores or scores['corner'] >= GOAL)
        if dataset in datasets and dataset not in scores and not learned:
            rows.append(train_row(name, dataset, datasets[dataset], arguments.workdir))
            write(path, rows, COLUMNS)
            print('  '.join(map(str, rows[-1].values())), flush=True)
    for name in dict.fromkeys(row['context'] for row in rows):
        figures = dict(zip(('milliseconds', 'temporary_mib'), measure(name), strict=True))
        rows = [{**row, **figures} if row['context'] == name else row for row in rows]
    write(path, rows, COLUMNS)
    print(table(rows))
    if arguments.plot:
        draw(rows, arguments.plot)
    if arguments.fields:
        draw_fields(arguments.workdir, arguments.fields)


if __name__ == '__main__':
    main()
