"""Models of transformers under the names of their files, which are not those in memory."""

from typing import Any


def as_saved(model: Any) -> Any:
    """A module with the model as `model`; its state dict is what `save_pretrained` writes."""
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    class Saved(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def state_dict(self):
            tensors = revert_weight_conversion(self.model, dict(self.model.state_dict()))
            return dict(sorted(tensors.items()))

        def load_state_dict(self, tensors):
            self.model = type(self.model).from_pretrained(
                None, config=self.model.config, state_dict=tensors)

    return Saved()
