"""Post-processing by hand, and areas that are chosen on the validation split only."""

import types

import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.commands import main, postprocessing
from jaxseg.commands.workdir import open_workdir
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.inference.postprocess import Postprocess, clean, decide, small_components, small_holes
from jaxseg.inference.uncertainty import has_variance
from jaxseg.metrics.confusion import Confusion
from jaxseg.records import read_record
from tests import runs


def pixels(*rows):
    return np.array([[int(value) for value in row] for row in rows], np.uint8)


def drawn(mask):
    return [''.join(map(str, row)) for row in np.asarray(mask, int).tolist()]


def test_components_touch_in_corners_and_those_of_the_area_stay():
    present = pixels('1100100', '0010000', '0000011', '1000010') == 1
    assert drawn(small_components(present, 3)) == ['0000100', '0000000', '0000000', '1000000']
    assert drawn(small_components(present, 4)) == ['1100100', '0010000', '0000011', '1000010']
    assert not small_components(present, 1).any()
    assert not small_components(present & False, 9).any()


def test_holes_are_closed_by_corners_and_do_not_reach_the_border():
    present = pixels('0110000', '1001110', '0110101', '0001001', '0001111') == 1
    one, two, three = (['0000000', row, *rows, '0000000'] for row, *rows in (
        ('0000000', '0001000', '0000000'), ('0110000', '0001000', '0000000'),
        ('0110000', '0001010', '0000110')))
    assert drawn(small_holes(present, 1)) == one
    assert drawn(small_holes(present, 2)) == two
    assert drawn(small_holes(present, 3)) == drawn(small_holes(present, 35)) == three
    assert not small_holes(present & False, 9).any()


def test_a_small_component_gets_the_class_of_the_nearest_pixel_that_stays():
    mask = pixels('00002', '01002', '00022')
    assert drawn(clean(mask, [(0, 0), (2, 0), (0, 0)])) == ['00002', '00002', '00022']
    mask = pixels('00122', '00122')
    assert drawn(clean(mask, [(0, 0), (3, 0), (0, 0)]))[0] in ('00022', '00222')
    assert drawn(mask) == ['00122', '00122']  # it is not changed itself
    # Two small components side by side: neither is replaced by the other.
    assert drawn(clean(pixels('000012'), [(0, 0), (2, 0), (2, 0)])) == ['000000']


def test_nothing_is_removed_where_nothing_would_stay():
    mask = pixels('0011')
    assert drawn(clean(mask, [(9, 0), (9, 0)])) == ['0011']


def test_holes_are_filled_in_the_order_of_the_classes():
    mask = pixels('11111', '12221', '12021', '12221', '11111')
    assert drawn(clean(mask, [(0, 0), (0, 0), (0, 1)])) == [
        '11111', '12221', '12221', '12221', '11111']
    assert drawn(clean(mask, [(0, 0), (0, 9), (0, 1)])) == ['11111'] * 5
    assert drawn(clean(mask, [(0, 0), (0, 8), (0, 0)])) == drawn(mask)


def test_classes_that_overlap_are_cleaned_by_themselves():
    mask = np.stack([pixels('1000', '0000', '0011'), pixels('1110', '1010', '1110')], -1)
    found = clean(mask, [(2, 0), (0, 1)])
    assert drawn(found[..., 0]) == ['0000', '0000', '0011']
    assert drawn(found[..., 1]) == ['1110', '1110', '1110']


CLASSES = ('a', 'b', 'c')


class Fixed:
    """A method that finds the mask which is the image's first channel."""

    compilations, windowed = 3, ((4, 5),)

    def predictions(self, variables, images):
        for key, image in images:
            yield key, image[..., 0]

    def probabilities(self, variables, image):
        return np.eye(3, dtype=np.float32)[image[..., 0]]


TASK = types.SimpleNamespace(classes=CLASSES, decide=lambda probabilities: probabilities.argmax(-1))


def test_masks_are_cleaned_and_probabilities_are_not():
    inference = Postprocess(None, TASK, 1, smallest={'b': 2}, method=Fixed())
    image = pixels('00002', '01002', '00022')[..., None]
    (key, mask), = inference.predictions(None, [('key', image)])
    assert (key, drawn(mask)) == ('key', ['00002', '00002', '00022'])
    probabilities = inference.probabilities(None, image)
    assert drawn(probabilities.argmax(-1)) == ['00002', '01002', '00022']
    assert drawn(decide(inference, TASK, probabilities)) == drawn(mask)
    assert drawn(decide(Fixed(), TASK, probabilities)) == ['00002', '01002', '00022']
    assert (inference.compilations, inference.windowed) == (3, ((4, 5),))
    assert not has_variance(inference) and not hasattr(inference, 'rows')


def test_the_variance_of_copies_is_that_of_the_method():
    method = build('inference', {'type': 'augmented.TestTimeAugmentation'}, forward=None, task=TASK,
                   batch_size=1)
    assert has_variance(Postprocess(None, TASK, 1, method=method))


@pytest.mark.parametrize('fields, words', [
    ({'smallest': {'d': 3}}, ['inference.smallest', "'d'", 'known: a, b, c']),
    ({'holes': {'a': -1}}, ['inference.holes', 'out of range']),
    ({'smallest': {'a': 1.5}}, ['inference.smallest']),
    ({'method': {'type': 'postprocess.Postprocess'}}, ['inference.method', 'twice'])])
def test_areas_that_mean_nothing_are_refused(fields, words):
    with pytest.raises(InputError) as error:
        build('inference', {'type': 'postprocess.Postprocess', **fields}, forward=None, task=TASK,
              batch_size=1)
    assert all(word in str(error.value) for word in words) and '\n' not in str(error.value)


def test_augmented_copies_are_not_post_processed_one_by_one():
    with pytest.raises(InputError, match='^inference.method: post-processing takes the mean'):
        build('inference', {'type': 'augmented.TestTimeAugmentation',
                            'method': {'type': 'postprocess.Postprocess'}}, forward=None, task=TASK,
              batch_size=1)


def test_the_best_area_of_each_class_is_chosen_without_void_pixels(monkeypatch):
    monkeypatch.setattr(postprocessing, 'AREAS', (2, 4))
    trials = postprocessing.Trials(DatasetSpec('x', CLASSES), Confusion.empty(CLASSES))
    prediction = pixels('0000022', '0100022', '0000022', '1100000')
    truth, valid = prediction.copy(), np.ones(prediction.shape, bool)
    truth[1, 1] = 0
    # To remove more of b is wrong, where it counts; the component of c is void.
    truth[3, :2], truth[:3, 5:], valid[:3, 5:] = 1, 0, False
    trials({'label': truth, 'valid': valid}, prediction)
    assert trials.best() == {'smallest': {'b': 2}, 'holes': {'a': 2}}
    scores = trials.scores()
    assert scores['smallest', 'b', 2] == 1 > trials.plain.summary()['miou']
    assert scores['smallest', 'b', 4] < trials.plain.summary()['miou']
    assert scores['smallest', 'c', 4] == trials.plain.summary()['miou']


def test_areas_are_chosen_on_the_validation_split_and_used_afterwards(copied, tmp_path, capfd):
    runs.write_image(tmp_path / 'in' / 'a.png')
    predict = ['predict', f'--workdir={copied}', f'--input={tmp_path}/in',
               f'--output={tmp_path}/out', '--postprocess', '--checkpoint=4']
    runs.refused(predict, ['--postprocess', 'postprocess.json does not exist', 'evaluate'], capfd)
    for more in (['--split=test', '--choose_postprocessing'],
                 ['--choose_postprocessing', '--postprocess'],
                 ['--choose_postprocessing',
                  '--config.inference.type=postprocess.Postprocess']):
        runs.refused(['evaluate', f'--workdir={copied}', *more], ['postprocess'], capfd)
    assert main(['evaluate', f'--workdir={copied}', '--checkpoint=4',
                 '--choose_postprocessing']) == 0
    assert "mean IoU of 'val'" in capfd.readouterr().out
    record = read_record(copied / 'postprocess.json')
    classes = open_workdir(copied).spec.classes
    assert (record['split'], record['checkpoint']) == ('val', 4)
    assert len(record['tried']) == 2 * len(classes) * len(postprocessing.AREAS)
    assert record['miou'] >= record['miou_before']
    assert main(['evaluate', f'--workdir={copied}', '--checkpoint=4', '--num_images=0',
                 '--postprocess']) == 0
    result = (copied / 'evaluation_val_checkpoint=4_postprocess.json').read_text()
    assert f'"miou": {record["miou"]}' in result
    assert main(predict) == 0
    runs.refused([*predict[:-1], '--checkpoint=2'], ['checkpoint 4, and this is 2'], capfd)
