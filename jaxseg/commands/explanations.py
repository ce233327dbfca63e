"""A trained run, an image and a class to the maps of `jaxseg.explain`, at the size of the image."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.commands.workdir import Workdir
from jaxseg.data.folds import natural
from jaxseg.errors import InputError
from jaxseg.explain.attention_maps import attention_weights, rollout_row
from jaxseg.explain.capture import check_layer, layer_maps, shifted
from jaxseg.explain.heatmap import at_image_size
from jaxseg.explain.integrated_gradients import integrated_gradients
from jaxseg.explain.receptive_field import effective_receptive_field
from jaxseg.explain.seg_grad_cam import seg_grad_cam
from jaxseg.layers.attention import AttentionInputs
from jaxseg.memory import check_memory, compile_stated, needed_bytes

CONTEXT = 'context'  # its output is the deepest stage where a model has no context layers
ROLLOUT = 'rollout'


@dataclasses.dataclass(frozen=True)
class Explainer:
    """One image and a model.

    Args:
      run: an opened work directory.
      variables: of the model, on one device.
      image: (H, W, C) as read.
    """

    run: Workdir
    variables: Any
    image: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[:2]

    @property
    def images(self) -> jax.Array:
        """The image as a batch, float32, so that there are gradients by its values."""
        return jnp.asarray(self.image[None], jnp.float32)

    def apply(self, images: jax.Array, *, model: Any = None, **options: Any) -> Any:
        """What the model returns for images as read; `options` of Linen's `apply`.

        `model` stands in for that of the run, with the same variables.
        """
        prepared = self.run.parts.preprocess({'image': images}, None)['image']
        model = model or self.run.parts.model
        return model.apply(self.variables, prepared, train=False, **options)

    def logits(self, images: jax.Array) -> jax.Array:
        """(B, H, W, classes)."""
        return self.apply(images)['logits']

    def grad_cam(self, label: int, region: np.ndarray, layer: str | None) -> np.ndarray:
        """(H, W) of `seg_grad_cam` at a layer, by default the output of the context.

        Raises:
          InputError: there is no such layer.
        """
        apply = functools.partial(self.apply, model=_without_remat(self.run.parts.model))
        maps = layer_maps(apply, jax.ShapeDtypeStruct(self.images.shape, jnp.float32))
        layer = layer or CONTEXT
        check_layer(layer, maps, '--layer')
        run = shifted(apply, layer)

        def found(images: jax.Array, region: jax.Array) -> jax.Array:
            return seg_grad_cam(lambda x, delta: _logits_of(run(x, delta)), images, maps[layer],
                                label, region)

        return self._at_image_size(self._run(found, self.images, jnp.asarray(region)))

    def integrated_gradients(self, label: int, region: np.ndarray, steps: int
                             ) -> tuple[np.ndarray, float, float]:
        """(H, W), the sum over the channels; the score of the image, and of the baseline.

        The score is the mean logit of the class in the region, the baseline an image of the mean
        color of the data set, which the model sees as zeros.
        """
        low, high = self.run.record.value_range
        mean = low + (high - low) * jnp.array(self.run.record.mean, jnp.float32)

        def found(images: jax.Array, region: jax.Array) -> Any:
            def score(images: jax.Array) -> jax.Array:
                logits = self.logits(images)[0, :, :, label]
                return jnp.where(region, logits, 0).sum() / region.sum()

            baseline = jnp.broadcast_to(mean[None, None, None], images.shape)
            return integrated_gradients(score, images, baseline, steps)

        values, *scores = self._run(found, self.images, jnp.asarray(region))
        return np.asarray(values[0]).sum(-1), *map(float, scores)

    def receptive_field(self, position: tuple[int, int]) -> np.ndarray:
        """(H, W) of `effective_receptive_field`."""
        return np.asarray(self._run(lambda images: effective_receptive_field(
            self.logits, images, position, overlapping=self.run.spec.overlapping), self.images))

    def attention(self, position: tuple[int, int], layer: str | None) -> dict[str, np.ndarray]:
        """`{layer: (H, W)}`, the mean over the heads of the weights of the query at the position.

        A layer whose tokens are one sequence through the whole encoder has a `rollout`, too.

        Raises:
          InputError: the model has no attention that states its weights, or none of this name.
        """
        shapes = jax.eval_shape(self._attentions, self.images)
        if not shapes:
            raise InputError(
                'the model has no attention whose weights can be shown; context layers '
                'self_attention.SelfAttention and encoders vit.ViT, dinov3.DINOv3 and mit.MiT have')
        grids = {name: self._grids(shape) for name, shape in shapes.items()}
        sequences = [name for name, shape in shapes.items() if shape.size is None]
        names = [*shapes, *([ROLLOUT] if len(sequences) > 1 else [])]
        if layer is not None:
            check_layer(layer, dict.fromkeys(names), '--layer')
            names = [layer]

        def found(images: jax.Array) -> dict[str, jax.Array]:
            inputs, rows = self._attentions(images), {}
            for name in names:
                one = inputs[sequences[-1] if name == ROLLOUT else name]
                size, key_size = grids[sequences[-1] if name == ROLLOUT else name]
                index = one.query.shape[1] - math.prod(size) + self._token(position, size)
                if name == ROLLOUT:
                    blocks = [(inputs[each].query[0], inputs[each].key[0]) for each in sequences]
                    row = rollout_row(blocks, index)
                else:
                    query, key = one.query[0, index:index + 1], one.key[0]
                    bias = None if one.bias is None else one.bias[0, :, index:index + 1]
                    row = attention_weights(query, key, bias).mean(0)[0]
                rows[name] = row[len(row) - math.prod(key_size):].reshape(key_size)
            return rows

        return {name: self._at_image_size(row) for name, row in self._run(
            found, self.images).items()}

    def _attentions(self, images: jax.Array) -> dict[str, AttentionInputs]:
        """What every attention of the model sows, by the path of its module."""
        _, state = self.apply(images, mutable=['intermediates'])
        found = dict(_sown(state.get('intermediates', {}), ''))
        return {name: found[name] for name in sorted(found, key=natural)}

    def _grids(self, shape: AttentionInputs) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the maps of queries and of keys."""
        stride = getattr(self.run.parts.model.encoder, 'stride', 1)
        grid = tuple(side // stride for side in self._padded())
        return shape.size or grid, shape.key_size or grid

    def _token(self, position: tuple[int, int], size: tuple[int, int]) -> int:
        """The index of the cell of a map that the position is in."""
        row, column = (int((place + 0.5) * cells / length) for place, cells, length in
                       zip(position, size, self._covered(), strict=True))
        return row * size[1] + column

    def _at_image_size(self, values: Any) -> np.ndarray:
        return at_image_size(np.asarray(values), self._covered(), self.size)

    def _scaled(self) -> tuple[int, ...]:
        """Height and width of what the model makes of the image before it pads."""
        scale = getattr(self.run.parts.model, 'input_scale', 1.0)
        return tuple(math.ceil(side * scale) for side in self.size)

    def _padded(self) -> tuple[int, ...]:
        stride = getattr(self.run.parts.model.encoder, 'stride', 1)
        return tuple(-(-side // stride) * stride for side in self._scaled())

    def _covered(self) -> tuple[float, float]:
        """Rows and columns of the image that a map covers, those that the model pads included."""
        return tuple(padded * side / scaled for padded, side, scaled in
                     zip(self._padded(), self.size, self._scaled(), strict=True))

    def _run(self, function: Callable, *arguments: Any) -> Any:
        """Compiles and runs a function, if there is memory for it."""
        compiled = compile_stated(jax.jit(function).lower(*arguments))
        height, width = self.size
        check_memory(f'--input: explaining an image of {height}x{width}', needed_bytes(compiled),
                     'give a part of the image')
        return compiled(*arguments)


def _without_remat(model: Any) -> Any:
    """A model of the same variables whose blocks let out their features, as `shifted` needs it."""
    encoder = getattr(model, 'encoder', None)
    if not getattr(encoder, 'remat', False):
        return model
    return model.clone(encoder=encoder.clone(remat=False))


def _sown(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, AttentionInputs]]:
    """Name and inputs of every attention below a module; numbered where it has several."""
    for name, item in tree.items():
        if isinstance(item, Mapping):
            yield from _sown(item, f'{path}/{name}'.lstrip('/'))
        elif name == 'attention':
            for index, inputs in enumerate(item):
                yield (path if len(item) == 1 else f'{path}/{index}'), inputs


def _logits_of(found: tuple[jax.Array, Mapping]) -> tuple[jax.Array, jax.Array]:
    features, outputs = found
    return features, outputs['logits']
