"""Mix Transformers of transformers and segmentation_models.pytorch."""

from tests.references.parity import Row
from tests.references.saved_names import as_saved


def _transformers():
    import transformers

    module = transformers.SegformerForImageClassification(transformers.SegformerConfig())

    def forward(module, images):
        return module.model(images, output_hidden_states=True).hidden_states

    return as_saved(module), forward


def _smp():
    import segmentation_models_pytorch

    module = segmentation_models_pytorch.encoders.get_encoder('mit_b0', weights=None)
    return module, lambda module, images: module(images)[2:]


ENCODER = dict(type='mit.MiT', variant='b0')
ROWS = {
    'transformers_mit_b0': Row('encoder', ENCODER, 'transformers.MiT', 'transformers',
                               _transformers),
    'smp_mit_b0': Row('encoder', ENCODER, 'smp_encoders.MiT', 'segmentation_models_pytorch', _smp),
}
