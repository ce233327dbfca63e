"""`jaxseg plan`: the file that it writes for each trial folder, and its arguments."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.build import build
from jaxseg.commands import config as configs
from jaxseg.commands import fitting, main, plan, pretrained_choice
from jaxseg.commands.assemble import assemble
from jaxseg.commands.choices import Choice
from jaxseg.commands.experiment_file import experiment_text, literal
from jaxseg.commands.fitting import Budget
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.step_cost import StepCost, step_cost
from tests import runs, torch_files
from tests.references.resnet import random_weights
from tests.trial_folders import TRIALS

BUDGET = Budget(None, 2 ** 40)
TRIED = tuple(TRIALS)


def free(config, spec, size, *, available):
    """A step that costs nothing."""
    return StepCost(1000, 2 ** 20, 0.5, 1.0)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('trials')
    for name in TRIED:
        TRIALS[name](root / name)
    return root


@pytest.fixture(scope='module')
def every_choice():
    """By trial folder, the choices that `planned` has written."""
    return {}


@pytest.fixture(scope='module')
def planned(folders, every_choice):
    """The experiment file of every trial folder."""
    files, write = {}, plan.experiment_text
    with pytest.MonkeyPatch.context() as patch:
        for name in TRIED:
            def keep(*arguments, name=name):
                every_choice[name] = arguments[2]
                return write(*arguments)

            patch.setattr(plan, 'experiment_text', keep)
            files[name] = folders / f'{name}.py'
            assert not plan.plan(str(folders / name), files[name], stated={}, budget=BUDGET,
                                 cost=free)
    return files


@pytest.mark.parametrize('name', TRIED)
def test_the_file_of_a_trial_folder_loads_and_its_parts_fit(planned, name):
    config = RunConfig.from_mapping(configs.from_file(str(planned[name])))
    dataset = build('data', config.data)
    assert {'train', 'val'} <= set(dataset.spec.splits)
    for split in dataset.spec.splits:
        dataset.source(split).check_files()
    spec = dataset.spec
    parts = assemble(config, spec, {'mean': spec.mean, 'std': spec.std,
                                    'value_range': spec.value_range})
    for transform in build('transforms', config.transforms):
        sample = dataset.source('train')[0]
        image, mask = transform(sample['image'], sample['mask'], rng=np.random.default_rng(0),
                                fill=spec.fill)
        assert image.shape[:2] == mask.shape[:2]
    variables = parts.variables((*config.transforms[1]['size'], spec.channels))
    assert variables['params']['head']['kernel'].shape[-1] == len(spec.classes)


@pytest.mark.parametrize('name', TRIED)
def test_every_choice_has_a_reason_and_the_file_is_short(planned, every_choice, name):
    lines = planned[name].read_text().splitlines()
    assert len(lines) < 110
    assert not [line for line in lines if len(line) > 100 and not line.startswith('#   jaxseg')
                and str(planned[name].parent) not in line]
    assert all(choice.reason for choice in every_choice[name])
    comments = sum(line.lstrip().startswith('# ') for line in lines)
    assert comments >= len(every_choice[name]) + 3
    assert [line.split()[2] for line in lines[-4:]] == ['train', 'evaluate', 'report', 'export']


def test_one_folder_gives_one_plan(planned, folders, tmp_path):
    again = tmp_path / 'thin_lines.py'
    plan.plan(str(folders / 'thin_lines'), again, stated={}, budget=BUDGET, cost=free)
    first = planned['thin_lines'].read_text()
    assert again.read_text() == first.replace(str(folders / 'thin_lines.py'), str(again))


def test_the_choices_follow_from_the_fingerprint(planned):
    thin, photos, tiles, nuclei, polygons = (
        configs.from_file(str(planned[name])) for name in
        ('thin_lines', 'large_photos', 'satellite_tiles', 'object_masks', 'json_polygons'))
    assert thin['model']['encoder']['type'] == 'vgg_like.VGGLike'  # lines of 2 pixels
    assert thin['transforms'][2]['vertical'] == 0.5 and thin['data']['channels'] == 1
    assert photos['model']['input_scale'] == 0.5 and photos['transforms'][1]['size'] == [512, 512]
    assert 'vertical' not in photos['transforms'][2]
    assert tiles['data']['channels'] == 6 and tiles['data']['naming'] == {
        'group': r'^.+?(?=(?:[_-][A-Za-z]*\d+)+$)'}
    assert tiles['data']['value_range'] == [0, 9000]
    weights = photos['losses']['cross_entropy']['class_weights']
    assert weights == [pytest.approx(0.139 ** (1 / 3), abs=2e-3),
                       pytest.approx(2.784 ** (1 / 3), abs=2e-3), 1.0]
    assert 'class_weights' not in tiles['losses']['cross_entropy']
    assert nuclei['data']['type'] == 'object_masks.ObjectMasks' and nuclei['data']['channels'] == 1
    assert polygons['data']['type'] == 'labelme.LabelMe' and 'splits' not in polygons['data']
    # 28 images of as many sizes: one program for all.
    assert nuclei['inference'] == {'type': 'sliding.SlidingWindow', 'window': [128, 128]}
    assert polygons['inference'] == {'type': 'whole.Whole'}


def test_a_budget_makes_steps_batches_and_models_smaller(folders, tmp_path, capsys):
    root = str(folders / 'thin_lines')

    def config_within(minutes, gib, cost):
        budget = Budget(minutes, gib * 2 ** 30)
        plan.plan(root, tmp_path / 'a.py', stated={}, budget=budget, cost=cost)
        return configs.from_file(str(tmp_path / 'a.py'))

    short = config_within(5, 1, free)
    # 300 s less 8 of the start and 1.5 of compilation; 8 evaluations of 5 images.
    expected = (300 - 8 - 1.5 - 8 * 0.4 * 5 * 0.5 / 8) / (1.1 * 0.5)
    assert short['steps'] == int(expected) and short['evaluate_every'] == short['steps'] // 8

    def heavy(config, spec, size, *, available):
        return StepCost(1, config.batch_size * 2 ** 28, 0.5, 1.0)

    assert config_within(None, 1, heavy)['batch_size'] == 4

    compiled = []

    def slow(config, spec, size, *, available):
        compiled.append((config.model['encoder']['widths'][0], config.batch_size))
        return StepCost(1, 1, config.model['encoder']['widths'][0] / 8, 1.0)

    found = [config_within(minutes, 1, slow) for minutes in (None, 60, 2)]
    assert [config['model']['encoder']['widths'][0] for config in found] == [16, 16, 8]
    assert [config['batch_size'] for config in found] == [8, 8, 4]
    # About 50 steps of 8 images, so that 200 of 4 are out of reach for the larger model.
    assert compiled == [(16, 8), (16, 8), (16, 8), (8, 4)]
    with pytest.raises(plan.InputError, match='GiB are allowed'):
        config_within(None, 0.001, heavy)


def test_memory_and_time_of_a_step_are_measured():
    config = RunConfig.from_mapping({**runs_config(), 'batch_size': 4})
    spec = build('data', config.data).spec
    cost = step_cost(config, spec, (32, 32), available=2 ** 40)
    assert cost.parameters == 161 and cost.seconds > 0
    assert 4 * 32 * 32 * 8 < cost.bytes < 2 ** 28
    assert step_cost(config, spec, (32, 32), available=0).seconds is None


def test_values_are_written_as_python_that_means_the_same():
    value = {'class': [1, 2.5, None], 'a': {'b': True, '0': 'x"\'\\\n'}, 'c': ()}
    assert eval(literal(value), {'dict': dict}) == {**value, 'c': []}
    long = Choice('data.classes', [f'class, "{index}' for index in range(40)], 'a\nreason"""')
    text = experiment_text('a"""\\', ['b\n'], [long, Choice('steps', 3, 'x')], ['jaxseg'])
    assert max(map(len, text.splitlines())) <= 100
    scope = {}
    exec(text, scope)
    assert scope['get_config']().to_dict() == {'data': {'classes': long.value}, 'steps': 3}


def test_groups_inside_of_groups_are_closed_in_turn():
    keys = ['a', 'data.type', 'data.data.root', 'data.data.x', 'data.folds', 'model.data.y', 'b',
            'transforms.0', 'transforms.1']
    text = experiment_text('', [], [Choice(key, index, 'x') for index, key in enumerate(keys)], [])
    scope = {}
    exec(text, scope)
    assert scope['get_config']().to_dict() == {
        'a': 0, 'data': {'type': 1, 'data': {'root': 2, 'x': 3}, 'folds': 4},
        'model': {'data': {'y': 5}}, 'b': 6, 'transforms': [7, 8]}
    assert text.count('data=dict(') == 3 and '            data=dict(\n' in text


@pytest.mark.parametrize('others', [(), ('test',)])
def test_a_folder_without_val_is_validated_on_a_part_of_train(tmp_path, capfd, others):
    runs.write_folder(tmp_path / 'data')
    (tmp_path / 'data/val').rename(tmp_path / ('data/test' if others else 'elsewhere'))
    output = tmp_path / 'a.py'
    assert not plan.plan(str(tmp_path / 'data'), output, stated={}, budget=BUDGET, cost=free)
    config = configs.from_file(str(output))
    assert config['data']['type'] == 'folds.Fold' and config['data']['data']['root'] == str(
        tmp_path / 'data')
    data = build('data', config['data'])
    assert data.spec.splits == ('train', 'val', *others)
    text = output.read_text()
    assert '# No val given: validated on 1 of 4 training images' in text
    assert f'--split={(*others, "val")[0]}' in text and 'nothing is evaluated' not in text
    plan.plan(str(tmp_path / 'data/train'), output, stated={'splits': {'train': 1.0}},
              budget=BUDGET, cost=free)
    assert 'there is no val, so nothing is evaluated' in output.read_text()


def test_scores_of_a_test_split_without_labels_are_not_recommended(tmp_path):
    runs.write_folder(tmp_path / 'data')
    runs.write_image(tmp_path / 'data/test/images/a.png', 32, 40, 3)
    runs.write_image(tmp_path / 'data/test/masks/a.png', 32, 40)
    Image.fromarray(np.full((32, 40), 255, np.uint8)).save(tmp_path / 'data/test/masks/a.png')
    plan.plan(str(tmp_path / 'data'), tmp_path / 'a.py', stated={}, budget=BUDGET, cost=free)
    text = (tmp_path / 'a.py').read_text()
    assert text.count('--split=val') == 2 and '--split=test' not in text


def test_bad_arguments_are_refused_and_nothing_is_written(folders, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(plan, 'step_cost', free)
    root, output = f'--data.root={folders}/thin_lines', f'--output={tmp_path}/a.py'
    (tmp_path / 'empty').mkdir()
    for arguments, words in (
            (['--output=a.py'], ['--data.root']),
            ([root], ['--output']),
            ([root, f'--output={tmp_path}/a.txt'], ['a.txt', 'not a Python file']),
            ([root, '--output=/proc/x/a.py'], ['--output', 'cannot be written']),
            ([f'--data.root={tmp_path}/none', output], ['--data.root', 'no such folder']),
            (['--data.root=', output], ['--data.root']),
            ([f'--data.root={tmp_path}/empty', output], ['no folders of images and of masks']),
            ([root, output, '--minutes=-1'], ['--minutes', '-1']),
            ([root, output, '--minutes=nan'], ['--minutes', 'nan']),
            ([root, output, '--memory=0'], ['--memory', '0']),
            ([root, output, '--data.chanels=1'], ['data.chanels', 'channels']),
            ([root, output, '--data.channels'], ['data.channels', 'no value']),
            ([root, output, '--data.type=folder.Foldr'], ['folder.Folder']),
            ([root, output, '--config.steps=3'], ['--config.steps=3'])):
        runs.refused(['plan', *arguments], words, capfd)
    assert not list(tmp_path.glob('*.py'))


def test_a_file_that_exists_is_replaced_only_by_force(folders, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(plan, 'fit', lambda *arguments: fitting.fit(*arguments[:4], free))
    arguments = ['plan', f'--data.root={folders}/thin_lines', f'--output={tmp_path}/a.py',
                 '--data.classes=["cell", "membrane"]']
    (tmp_path / 'a.py').write_text('mine')
    runs.refused(arguments, ['a.py', 'exists', '--force'], capfd)
    assert (tmp_path / 'a.py').read_text() == 'mine'
    assert main([*arguments, '--force']) == 0
    config = configs.from_file(str(tmp_path / 'a.py'))
    assert config['data']['classes'] == ['cell', 'membrane']
    assert '# Stated on the command line' in (tmp_path / 'a.py').read_text()
    assert 'jaxseg train --config=' in capfd.readouterr().out


def test_problems_of_the_data_are_listed_and_no_file_is_written(tmp_path, capfd):
    runs.write_folder(tmp_path / 'data')
    (tmp_path / 'data/val/masks/1.png').unlink()
    arguments = ['plan', f'--data.root={tmp_path}/data', f'--output={tmp_path}/a.py']
    assert main(arguments) == 2
    assert '1 images have no mask' in capfd.readouterr().err
    (tmp_path / 'data/val/images/1.jpg').write_bytes(b'x')
    (tmp_path / 'data/train/images/2.jpg').write_bytes(b'x')
    (tmp_path / 'data/val/images/1.jpg').unlink()
    assert main(arguments) == 2
    captured = capfd.readouterr()
    assert 'train/images/2.jpg' in captured.err and 'images: 4 train, 3 val' in captured.out
    assert not (tmp_path / 'a.py').exists()


def test_the_encoder_of_a_file_of_weights_is_found(folders, tmp_path, monkeypatch):
    small = [[{'type': 'resnet.ResNet', 'depth': depth, 'width': 4} for depth in (18, 50)]]
    monkeypatch.setattr(pretrained_choice, 'ENCODERS', {
        'torchvision.VGG': [[{'type': 'vgg.VGG', 'depth': 11}]], 'torchvision.ResNet': small})
    path = tmp_path / 'weights.pth'
    path.write_bytes(torch_files.encode(random_weights(50, 4)))
    found = pretrained_choice.choose_encoder(str(path), None, 1)
    assert found == ({'type': 'torchvision.ResNet', 'path': str(path)}, small[0][1])
    root, output = str(folders / 'thin_lines'), tmp_path / 'a.py'
    monkeypatch.setattr(fitting, 'choose_encoder', lambda *arguments: found)
    plan.plan(root, output, stated={}, budget=BUDGET._replace(pretrained=str(path)), cost=free)
    config = configs.from_file(str(output))
    assert (config['pretrained'], config['model']['encoder']) == found
    assert config['optimizer']['learning_rate'] == 1e-3  # pretrained weights change slowly
    with pytest.raises(plan.InputError, match='fit no encoder of torchvision.VGG'):
        pretrained_choice.choose_encoder(str(path), 'torchvision.VGG', 3)
    with pytest.raises(plan.InputError, match='torchvision.ResNet'):
        pretrained_choice.choose_encoder(str(path), 'torchvision.ResNe', 3)


def runs_config():
    """A tiny run."""
    return {
        'steps': 2, 'evaluate_every': 1,
        'data': {'type': 'synthetic.Shapes', 'size': [32, 32], 'samples': {'train': 1}},
        'model': {'type': 'segmentation_model.SegmentationModel',
                  'encoder': {'type': 'vgg_like.VGGLike', 'widths': [2], 'depth': 1},
                  'decoder': {'type': 'fcn.FCN', 'widths': [2]}},
        'losses': {'a': {'type': 'cross_entropy.cross_entropy', 'weight': 1.0}},
        'optimizer': {'type': 'optimizer.adamw', 'learning_rate': 0.1},
        'schedule': {'type': 'schedule.constant'}}
