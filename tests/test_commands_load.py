"""`jaxseg.load` of runs, and of folders that other libraries saved."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
import safetensors.numpy

import jaxseg
from jaxseg.build import build
from jaxseg.commands.load import _normalization
from jaxseg.errors import InputError
from jaxseg.pretrained import saved_smp, saved_transformers
from tests.algorithms import RUN
from tests.extension.data import Gradients
from tests.references import parity
from tests.torch_files import encode

UNET = {'_model_class': 'Unet', 'activation': None, 'aux_params': None, 'classes': 5,
        'decoder_attention_type': None, 'decoder_channels': [256, 128, 64, 32, 16],
        'decoder_interpolation': 'nearest', 'decoder_use_norm': 'batchnorm', 'encoder_depth': 5,
        'encoder_name': 'resnet18', 'encoder_weights': None, 'in_channels': 3}
PLUS = {'_model_class': 'DeepLabV3Plus', 'classes': 5, 'decoder_aspp_dropout': 0.5,
        'decoder_aspp_separable': True, 'decoder_atrous_rates': [12, 24, 36],
        'decoder_channels': 256, 'encoder_name': 'resnet18', 'encoder_output_stride': 16,
        'upsampling': 4}
SEGFORMER = {'architectures': ['SegformerForSemanticSegmentation'], 'model_type': 'segformer',
             'depths': [2, 2, 2, 2], 'hidden_sizes': [32, 64, 160, 256], 'sr_ratios': [8, 4, 2, 1],
             'decoder_hidden_size': 256, 'drop_path_rate': 0.1, 'torch_dtype': 'float32',
             'id2label': {'1': 'road', '0': 'sky', '2': 'c', '3': 'd', '4': 'e'}}
CONVNEXT = {'model_type': 'convnext', 'depths': [2, 2, 6, 2], 'hidden_sizes': [40, 80, 160, 320],
            'hidden_act': 'gelu', 'layer_norm_eps': 1e-12, 'num_channels': 3, 'patch_size': 4,
            'out_features': ['stage1', 'stage2', 'stage3', 'stage4'], 'image_size': 224}
UPERNET = {'architectures': ['UperNetForSemanticSegmentation'], 'model_type': 'upernet',
           'auxiliary_channels': 32, 'backbone_config': CONVNEXT, 'hidden_size': 32,
           'pool_scales': [1, 2, 3, 6], 'use_auxiliary_head': True,
           'id2label': {str(index): f'LABEL_{index}' for index in range(5)}}
SWIN = UPERNET | {'backbone_config': {
    'model_type': 'swin', 'depths': [2, 2, 6, 2], 'embed_dim': 96, 'encoder_stride': 32,
    'hidden_act': 'gelu', 'hidden_size': 768, 'layer_norm_eps': 1e-05, 'mlp_ratio': 4.0,
    'num_channels': 3, 'num_heads': [3, 6, 12, 24], 'patch_size': 4, 'qkv_bias': True,
    'out_features': ['stage1', 'stage2', 'stage3', 'stage4'], 'use_absolute_embeddings': False,
    'window_size': 7}}
DPT = {'architectures': ['DPTForSemanticSegmentation'], 'model_type': 'dpt',
       'backbone_out_indices': [0, 1, 2, 3], 'fusion_hidden_size': 24, 'hidden_size': 96,
       'id2label': UPERNET['id2label'], 'image_size': 64, 'intermediate_size': 384,
       'is_hybrid': False, 'neck_hidden_sizes': [8, 12, 16, 20], 'num_attention_heads': 3,
       'num_hidden_layers': 4, 'patch_size': 16, 'readout_type': 'project',
       'reassemble_factors': [4, 2, 1, 0.5], 'use_batch_norm_in_fusion_residual': True}
SMP_DPT = {'_model_class': 'DPT', 'activation': None, 'classes': 5, 'decoder_fusion_channels': 24,
           'decoder_intermediate_channels': [8, 12, 16, 20], 'decoder_readout': 'cat',
           'dynamic_img_size': True, 'encoder_depth': 4, 'encoder_output_indices': None,
           'encoder_name': 'tu-vit_tiny_patch16_384.augreg_in21k_ft_in1k', 'in_channels': 3}
PREPROCESSOR = {'do_rescale': True, 'rescale_factor': 1 / 255, 'image_mean': [0.1, 0.2, 0.3],
                'image_std': [0.5, 0.6, 0.7], 'size': 512}


def saved(folder, config, record, weights='model.safetensors'):
    """A folder as `save_pretrained` writes it; `record` has the tensors."""
    tensors = parity.tensors_of(parity.load(record))
    (folder / 'config.json').write_text(json.dumps(config))
    if weights.endswith('.bin'):
        (folder / weights).write_bytes(encode(tensors))
    else:
        safetensors.numpy.save_file(tensors, folder / weights)
    return tensors


def kept(entry):
    """The fields of a part that are not its defaults."""
    part = build('model', entry, classes=5)
    return {name: str(getattr(part, name)) for name in ('encoder', 'decoder', 'head')}


@pytest.mark.parametrize('config, record, describe', [
    (UNET, 'smp_unet', saved_smp.describe),
    (UNET | {'encoder_name': 'efficientnet-b0', 'decoder_channels': [48, 32, 24, 20, 16]},
     'smp_unet_efficientnet', saved_smp.describe), (PLUS, 'smp_deeplabv3plus', saved_smp.describe),
    (SEGFORMER, 'transformers_segformer_b0', saved_transformers.describe),
    (UPERNET, 'transformers_upernet_convnext', saved_transformers.describe),
    (SWIN, 'transformers_upernet_swin', saved_transformers.describe),
    (DPT, 'transformers_dpt', saved_transformers.describe)])
def test_a_config_becomes_the_model_that_is_equal(config, record, describe):
    found, wanted = describe(config, 'x'), parity.load(record)
    assert found.source == wanted['source']
    if 'dpt' in record:  # there they are the default
        assert found.model['encoder'].pop('taps') == [0, 1, 2, 3]
    assert kept(found.model) == kept(wanted['config'])
    assert found.model.get('align_corners', False) == wanted['config'].get('align_corners', False)
    assert len(found.classes) == 5


def test_a_transformer_of_smp_is_the_one_of_its_record_at_the_size_of_its_name():
    found, wanted = saved_smp.describe(SMP_DPT, 'x'), parity.load('smp_dpt_cat')
    assert found.source == wanted['source']
    assert found.model['encoder'] == wanted['config']['encoder'] | {
        'variant': 'tiny', 'grid': [24, 24]}
    assert {**found.model, 'encoder': None} == {**wanted['config'], 'encoder': None}
    taken = saved_smp.describe(SMP_DPT | {'encoder_output_indices': [0, 1, 2, 3],
                                          'decoder_readout': 'ignore'}, 'x').model['encoder']
    assert (taken['taps'], taken['class_features']) == ([0, 1, 2, 3], False)


def test_efficientnets_of_smp_have_its_stages_and_its_zeros():
    """Those of b1 to b7 end with the second, third, fifth and last of seven groups of blocks."""
    depths, blocks = (1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1), (1, 2, 2, 3, 3, 4, 1)
    sides = (240, 260, 300, 380, 456, 528, 600)
    for size, (depth, side) in enumerate(zip(depths, sides, strict=True), 1):
        config = UNET | {'encoder_name': f'efficientnet-b{size}'}
        encoder = saved_smp.describe(config, 'x').model['encoder']
        ends = np.cumsum([math.ceil(depth * count) for count in blocks])
        assert encoder['variant'] == f'b{size}' and encoder['padding_side'] == side
        assert encoder['taps'] == [0, *ends[[1, 2, 4, 6]]]


def test_a_folder_of_smp_becomes_a_predictor(tmp_path):
    tensors = saved(tmp_path, UNET, 'smp_unet', 'pytorch_model.bin')
    file = tmp_path / 'preprocessor_config.json'
    assert _normalization(file) is None  # then it is that of the table of names
    file.write_text(json.dumps({'do_normalize': False}))
    assert _normalization(file) == ((0, 0, 0), (1, 1, 1))
    file.write_text(json.dumps(PREPROCESSOR))
    predict = jaxseg.load(tmp_path)
    assert (predict.channels, predict.dtypes) == (3, ('uint8',))
    np.testing.assert_array_equal(
        predict.variables['params']['encoder']['conv1']['kernel'],
        tensors['encoder.conv1.weight'].transpose(2, 3, 1, 0))
    image = np.random.default_rng(0).integers(0, 256, (32, 40, 3)).astype(np.uint8)
    found = predict.probabilities(image)
    model = build('model', parity.load('smp_unet')['config'], classes=found.shape[-1])
    mean, std = PREPROCESSOR['image_mean'], PREPROCESSOR['image_std']
    inputs = ((image[None] / 255 - np.array(mean)) / np.array(std)).astype(np.float32)
    outputs = jax.jit(lambda v: model.apply(v, inputs, train=False))(predict.variables)
    np.testing.assert_allclose(found, jax.nn.softmax(outputs['logits'])[0], atol=1e-5)


def test_a_folder_of_transformers_becomes_a_predictor(tmp_path):
    tensors = saved(tmp_path, SEGFORMER, 'transformers_segformer_b0')
    predict = jaxseg.load(tmp_path)
    classifier = predict.variables['params']['head']
    assert predict.classes == ('sky', 'road', 'c', 'd', 'e')  # in the order of the indices
    np.testing.assert_array_equal(classifier['kernel'][0, 0],
                                  tensors['decode_head.classifier.weight'][:, :, 0, 0].T)
    for bad in ({'rescale_factor': 1.0}, {'do_rescale': False}, {'image_mean': 0.5}):
        (tmp_path / 'preprocessor_config.json').write_text(json.dumps(PREPROCESSOR | bad))
        with pytest.raises(InputError, match=f'preprocessor_config.json: {min(bad)}'):
            jaxseg.load(tmp_path)


@pytest.mark.parametrize('config, words', [
    (UNET | {'_model_class': 'Unett'}, "_model_class is 'Unett'.*did you mean 'Unet'"),
    (UNET | {'encoder_name': 'resnet17'}, "encoder_name is 'resnet17'.*did you mean 'resnet1"),
    (UNET | {'decoder_channels': 3}, 'decoder_channels is 3'),
    (UNET | {'in_channels': 4}, 'in_channels is 4, and our model has 3'),
    (UNET | {'activation': 'sigmoid'}, "activation is 'sigmoid'"),
    (UNET | {'decoder_new': 1}, 'decoder_new is not known'),
    (UNET | {'classes': True}, 'classes is True'),
    (PLUS | {'encoder_name': 'mit_b0'}, "encoder_name is 'mit_b0'"),
    (PLUS | {'encoder_output_stride': 8}, 'encoder_output_stride is 8'),
    (SEGFORMER | {'architectures': ['Other']}, r"architectures is \['Other'\]"),
    (UPERNET | {'pool_scales': [1]}, r'pool_scales is \[1\]'),
    (UPERNET | {'backbone_config': CONVNEXT | {'model_type': 'resnet'}},
     "backbone_config: model_type is 'resnet'.*known: convnext"),
    (UPERNET | {'backbone_config': CONVNEXT | {'depths': [1, 1, 1, 1]}},
     'backbone_config: hidden_sizes and depths are'),
    (SWIN | {'backbone_config': SWIN['backbone_config'] | {'num_heads': [1]}},
     'backbone_config: embed_dim, num_heads and depths are'),
    (DPT | {'is_hybrid': True}, 'is_hybrid is True'),
    (DPT | {'intermediate_size': 100}, 'intermediate_size is 100'),
    (DPT | {'readout_type': 'sum'}, "readout_type is 'sum'.*known: add, ignore, project"),
    (SMP_DPT | {'encoder_name': 'tu-vit_tiny_patch16_224.mae'}, 'encoder_name is'),
    (SMP_DPT | {'encoder_depth': 3}, 'encoder_depth is 3, and our model has 4'),
    (SMP_DPT | {'img_size': 512}, 'img_size is not known'),
    (SEGFORMER | {'depths': [2, 2, 2, 9]}, r'depths and hidden_sizes are \[2, 2, 2, 9\]'),
    (SEGFORMER | {'strides': [4, 2, 2, 1]}, r'strides is \[4, 2, 2, 1\]'),
    (SEGFORMER | {'id2label': {'1': 'a'}}, 'id2label')])
def test_a_model_without_a_counterpart_is_refused_by_its_key(tmp_path, config, words):
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(InputError, match=f'config.json: {words}'):
        jaxseg.load(tmp_path)


@pytest.mark.parametrize('options, words', [
    ({'checkpoint': 'latest'}, "checkpoint='latest': .*one set of weights; leave checkpoint out"),
    ({'checkpoint': 4}, 'checkpoint=4: '),
    ({'trust': ['tests']}, r"trust=\['tests'\]: .*leave trust out")])
def test_what_only_a_work_directory_has_is_refused_for_another_folder(tmp_path, options, words):
    (tmp_path / 'config.json').write_text(json.dumps(UNET))
    with pytest.raises(InputError, match=words):
        jaxseg.load(tmp_path, **options)


def test_a_folder_without_weights_is_named(tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps(UNET))
    with pytest.raises(InputError, match='no weights beside config.json; known are model.safet'):
        jaxseg.load(tmp_path)


@dataclasses.dataclass(frozen=True)
class Floats(Gradients):
    """The same images with values between 0 and 1."""

    @property
    def spec(self):
        return dataclasses.replace(super().spec, value_range=(0.0, 1.0))

    def source(self, split):
        source = super().source(split)
        return [{**source[index], 'image': np.float32(source[index]['image']) / 255}
                for index in range(len(source))]


def test_a_model_takes_images_of_the_dtype_that_it_was_trained_with(tmp_path):
    config = {**RUN, 'data': dict(type=f'{__name__}:Floats'), 'steps': 1, 'evaluate_every': 1}
    jaxseg.run(**config, workdir=tmp_path / 'run')
    predict = jaxseg.load(tmp_path / 'run', trust={'tests'})
    assert predict(np.zeros((9, 7, 3), np.float32)).shape == (9, 7)
    with pytest.raises(InputError, match=r'takes float32.* image.astype\(np.float32\)'):
        predict(np.zeros((9, 7, 3), np.uint8))
