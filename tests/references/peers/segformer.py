"""SegFormer of transformers and, over its own encoder, of segmentation_models.pytorch."""

from tests.references.parity import Row
from tests.references.saved_names import as_saved

CLASSES = 5


def _transformers():
    import torch
    import transformers

    config = transformers.SegformerConfig(num_labels=CLASSES)
    module = transformers.SegformerForSemanticSegmentation(config)

    def forward(module, images):
        # As the library's `post_process_semantic_segmentation`, before the argmax.
        return [torch.nn.functional.interpolate(module.model(images).logits, images.shape[2:],
                                                mode='bilinear', align_corners=False)]

    return as_saved(module), forward


def _smp():
    import segmentation_models_pytorch

    module = segmentation_models_pytorch.Segformer('mit_b0', encoder_weights=None, classes=CLASSES,
                                                   decoder_segmentation_channels=48)
    return module, lambda module, images: [module(images)]


def _model(features: int, align_corners: bool) -> dict:
    return dict(type='segmentation_model.SegmentationModel', align_corners=align_corners,
                encoder=dict(type='mit.MiT', variant='b0'),
                decoder=dict(type='segformer.SegFormer', features=features),
                head=dict(type='head.Head', kernel=1))


ROWS = {
    'transformers_segformer_b0': Row('model', _model(256, False), 'transformers.Segformer',
                                     'transformers', _transformers, (64, 96), classes=CLASSES),
    'smp_segformer_mit_b0': Row('model', _model(48, True), 'smp.Segformer',
                                'segmentation_models_pytorch', _smp, (64, 96), classes=CLASSES),
}
