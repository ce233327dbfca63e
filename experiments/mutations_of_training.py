"""More faults of `mutation_check.py`: those that only training, or its first step, shows."""

from experiments.mutations import MIXING, OPTIMIZER, RULES, SUPERVISED, TRAINING, Mutation

DEVICE_COLOR, DEVICE_GEOMETRY = 'jaxseg/data/device_color.py', 'jaxseg/data/device_geometry.py'
CHANGED = 'tests/test_data_chance.py::test_as_many_images_are_changed_as_p_says'
AFFINE = 'tests/test_data_augmentation.py::test_affine_maps_by_hand'
AUGMENTS = 'test_a_step_and_its_statistics_see_the_batch_as_augmented_and_nothing_else_does'
ZOO, CONTEXTS = 'tests/test_zoo.py', 'tests/test_context_recurrent.py'

MUTATIONS = [
    # Of what only training or the first step shows.
    Mutation('statistics of an encoder never move', 'jaxseg/encoders/densenet.py',
             'functools.partial(norm_layer, self.norm, train)',
             'functools.partial(norm_layer, self.norm, False)',
             (f'{ZOO}::test_every_layer_of_an_encoder_is_told_that_it_trains'
              '[densenet.DenseNet]',)),
    Mutation('stochastic depth drops nothing', 'jaxseg/layers/transformer_block.py',
             "self._scaled(y, 'scale2'), train=train)", "self._scaled(y, 'scale2'), train=False)",
             (f'{ZOO}::test_every_layer_of_an_encoder_is_told_that_it_trains[vit.ViT]',)),
    Mutation('dropout of a decoder drops nothing', 'jaxseg/decoders/pspnet.py',
             'broadcast_dims=(1, 2))(x, train=train)', 'broadcast_dims=(1, 2))(x, train=False)',
             (f'{ZOO}::test_logits_have_the_size_of_the_images_and_every_layer_is_told_that_it_'
              'trains[pspnet.PSPNet]',)),
    Mutation('a recurrence starts by forgetting', 'jaxseg/context/mdrnn.py',
             'chrono_bias_init((0, 1, 0))', 'chrono_bias_init((0, -1, 0))',
             (f'{CONTEXTS}::test_a_corner_starts_with_half_lives_of_up_to_a_side_of_the_map',)),
    # Of what a step does with its batch and its options.
    Mutation('no augmentation on the device in training', SUPERVISED,
             "batch = self.preprocess(batch, streams.pop('preprocess'))\n        gradients",
             "streams.pop('preprocess'); batch = self.preprocess(batch, None)\n        gradients",
             (f'{TRAINING}::{AUGMENTS}',)),
    Mutation('statistics of SWA without the augmentation', SUPERVISED,
             "batch = self.preprocess(batch, streams.pop('preprocess'))\n        collections",
             "streams.pop('preprocess'); batch = self.preprocess(batch, None)\n        collections",
             (f'{TRAINING}::{AUGMENTS}',)),
    Mutation('the schedule is ignored', OPTIMIZER,
             'scale_by_rate(lambda step: learning_rate * schedule(step))',
             'scale_by_rate(lambda step: learning_rate)',
             (f'{RULES}::test_every_optimizer_applies_the_rate_of_its_schedule_at_every_step'
              f'[muon]',)),
    Mutation('gradients are not clipped', OPTIMIZER, 'optax.chain(_clip(max_grad_norm), ',
             'optax.chain(',
             (f'{RULES}::test_every_optimizer_takes_the_gradients_as_they_are_after_clipping'
              f'[schedule_free_adamw]',)),
    Mutation('of equal scores the oldest is the best', 'jaxseg/training/restore.py',
             'key=lambda step: (checkpoints[step].score, step)',
             'key=lambda step: checkpoints[step].score',
             (f'{TRAINING}::test_of_equal_scores_the_latest_is_the_best',)),
    # Of the random numbers of an augmentation.
    Mutation('every epoch augments alike', 'jaxseg/data/pipeline.py',
             'for transform in self._transforms:',
             'rng = np.random.default_rng(index)\n        for transform in self._transforms:',
             ('tests/test_data_pipeline.py::test_a_sample_is_augmented_anew_in_every_epoch',)),
    Mutation('the colors of every image change', DEVICE_COLOR,
             '(chosen, self.p)', '(chosen, float(self.p > 0))', (CHANGED,)),
    Mutation('every image is moved and bent', DEVICE_GEOMETRY,
             '(chosen, self.p)', '(chosen, float(self.p > 0))', (CHANGED,)),
    Mutation('every image is flipped', DEVICE_GEOMETRY,
             '(across, self.horizontal)', '(across, float(self.horizontal > 0))', (CHANGED,)),
    Mutation('every image is mixed', MIXING,
             '(chosen, p)', '(chosen, float(p > 0))', (CHANGED,)),
    Mutation('maps about the centre of a square', DEVICE_GEOMETRY,
             '(jnp.array(size, jnp.float32) - 1) / 2', 'jnp.full(2, (size[0] - 1) / 2)', (AFFINE,)),
    Mutation('a translation by a share of the height both ways', DEVICE_GEOMETRY,
             'shape=(2,)) * jnp.array(size, jnp.float32)', 'shape=(2,)) * size[0]', (AFFINE,)),
    Mutation('brightness and contrast of one factor', DEVICE_COLOR,
             'factors, (4,)', 'factors, (1,)',
             ('tests/test_data_chance.py::test_brightness_and_contrast_are_drawn_apart',)),
]
