"""The faults of `mutation_check.py`: what each changes, and the tests that should notice."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One fault: every `old` in `file` becomes `new`; `tests` should fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


LEARNING, TRAINING, SIZES = ('tests/test_learning.py', 'tests/test_training.py',
                             'tests/test_inference_sizes.py')
DEVICES = (f'{TRAINING}::test_four_devices_take_the_gradient_of_one_with_dropout_and_auxiliary'
           f'_decoders',)
FORWARD = f'{LEARNING}::test_the_score_is_that_of_a_plain_forward_pass'
RESUMED = 'tests/test_extending.py::test_an_algorithm_of_ones_own_continues_bit_for_bit'
PARITY = 'tests/test_parity.py::test_outputs_equal_those_of_the_other_library'
CONV = 'tests/test_layers_conv.py'
MODELS, RULES = 'tests/test_models.py', 'tests/test_training_optimizer.py'
RESNET = ('tests/test_resnet_reference.py',)
TRANSFORMS, COLORS = ('tests/test_data_transforms.py',), ('tests/test_data_color_transforms.py',)
OPTIMIZER, SCHEDULE = 'jaxseg/training/optimizer.py', 'jaxseg/training/schedule.py'
SUPERVISED, AUGMENT = 'jaxseg/training/supervised.py', 'jaxseg/data/transforms.py'
SLIDING, LAYOUT = 'jaxseg/inference/sliding.py', 'jaxseg/training/layout.py'
AVERAGING, MIXING = 'jaxseg/training/averaging.py', 'jaxseg/data/device_mixing.py'
INTERPOLATION, ACCUMULATION = 'jaxseg/layers/interpolation.py', 'tests/test_accumulation.py'
AUGMENTED, WHOLE = 'jaxseg/inference/augmented.py', 'jaxseg/inference/whole.py'
AVERAGE = 'tests/test_averaging.py::test_a_moving_average_is_the_weighted_mean_of_all_steps'

# The sixteen that passed the whole suite together before this check existed.
FIRST = [
    Mutation('evaluation predicts argmin', 'jaxseg/tasks/semantic.py',
             'probabilities.argmax(-1)', 'probabilities.argmin(-1)', (FORWARD,)),
    Mutation('evaluation without normalisation', 'jaxseg/commands/assemble.py',
             "preprocess({'image': images}, None)['image']", 'images.astype(jnp.float32)',
             (FORWARD,)),
    Mutation('ResNet without shortcuts', 'jaxseg/layers/residual.py',
             'y + self.shortcut(x)', 'y + 0 * self.shortcut(x)', RESNET),
    Mutation('stem pooling shifted by one', 'jaxseg/encoders/resnet.py',
             'max_pool(x, 3,', 'max_pool(jax.numpy.roll(x, 1, (1, 2)), 3,', RESNET),
    Mutation('RandomBlur does nothing', AUGMENT,
             'cv2.GaussianBlur(part, (0, 0), sigma)', 'part', COLORS),
    Mutation('hue is not shifted', AUGMENT, '+ 360 * hue', '+ 0 * hue', COLORS),
    Mutation('contrast about 0', AUGMENT,
             '(x - mean) * contrast + mean', 'x * contrast', COLORS),
    Mutation('scale uniform, not log-uniform', AUGMENT,
             'np.exp(rng.uniform(np.log(self.low), np.log(self.high)))',
             'rng.uniform(self.low, self.high)', TRANSFORMS),
    Mutation('a crop never reaches the last row', AUGMENT,
             'rng.integers(0, mask.shape[0] - height + 1)',
             'rng.integers(0, max(1, mask.shape[0] - height))', TRANSFORMS),
    Mutation('dropout key constant over steps', LAYOUT,
             "('step',))['step'], index)", "('step',))['step'], 0)",
             (f'{TRAINING}::test_every_step_and_every_stream_has_random_numbers_of_its_own',)),
    Mutation('reported learning rate of another step', OPTIMIZER,
             'RateState(optax.safe_increment(state.count), applied)',
             'RateState(optax.safe_increment(state.count), rate(state.count + 1))',
             (f'{LEARNING}::test_the_rate_reported_is_the_rate_applied',)),
    Mutation('sgd momentum 0', OPTIMIZER,
             'optax.trace(momentum, nesterov)', 'optax.trace(0.0, nesterov)',
             (f'{RULES}::test_momentum_sums_the_gradients_of_earlier_steps',)),
    Mutation('clipping after decay', OPTIMIZER,
             '_clip(max_grad_norm), _decay(weight_decay), optax.trace',
             '_decay(weight_decay), _clip(max_grad_norm), optax.trace',
             (f'{RULES}::test_the_gradient_is_clipped_before_the_decay_is_added',)),
    Mutation('poly power 1', SCHEDULE,
             '(1.0, 0.0, power, steps', '(1.0, 0.0, 1.0, steps',
             (f'{RULES}::test_schedules_have_hand_worked_values',)),
    Mutation('median-frequency by the mean', 'jaxseg/data/inspection.py',
             'np.nanmedian(frequency)', 'np.nanmean(frequency)',
             ('tests/test_data_inspection.py',)),
    Mutation('evaluation padded by zeros', 'jaxseg/layers/resize.py',
             "(0, right), (0, 0)), mode='edge')", "(0, right), (0, 0)), mode='constant')",
             (f'{SIZES}::test_the_padding_to_the_stride_is_the_border_repeated_and_is_cut_off',)),
]
SECOND = [
    Mutation('void pixels are counted', 'jaxseg/metrics/confusion.py',
             'labels, predictions, valid = map(np.asarray, (labels, predictions, valid))',
             'labels, predictions, valid = map(np.asarray, (labels, predictions, valid | True))',
             ('tests/test_metrics.py',)),
    Mutation('a class that never occurs scores 0', 'jaxseg/metrics/report.py',
             'known = values[~np.isnan(values)]', 'known = np.nan_to_num(values)',
             ('tests/test_metrics.py',)),
    Mutation('weights of sliding windows are ignored', SLIDING,
             'weights * probabilities[:, :width]', 'probabilities[:, :width]',
             (f'{SIZES}::test_sliding_windows_equal_plain_loops',)),
    Mutation('small images padded by zeros in windows', SLIDING,
             "mode='edge'", "mode='constant'",
             (f'{SIZES}::test_sliding_windows_equal_plain_loops',)),
    Mutation('the last window is one pixel off the border', SLIDING,
             'last = max(side - window, 0)', 'last = max(side - window - 1, 0)',
             (f'{SIZES}::test_sliding_windows_equal_plain_loops',)),
    Mutation('auxiliary losses dropped', 'jaxseg/tasks/pixelwise.py',
             'total + weight * value, count', 'total, count',
             ('tests/test_tasks.py',)),
    Mutation('void pixels in the count of a loss', 'jaxseg/losses/pixels.py',
             'return valid.astype(jnp.float32)', 'return jnp.ones_like(valid, jnp.float32)',
             ('tests/test_losses.py',)),
    Mutation('evaluation of the student, not of its mean', 'tests/extension/mean_teacher.py',
             "{'params': state.teacher,", "{'params': state.student.params,",
             ('tests/test_extending.py::test_a_teacher_is_the_running_mean_of_its_student',)),
    Mutation('splits ignore the seed', 'jaxseg/data/splits.py', "f'{seed}:{name}'", "f'{name}'",
             ('tests/test_data_splits.py',)),
    Mutation('Normalize ignores the value range', 'jaxseg/data/device_transforms.py',
             'low, high = self.value_range', 'low, high = 0.0, 255.0',
             ('tests/test_data_device_transforms.py',)),
    Mutation('a resumed run starts with the first batch', 'jaxseg/commands/training.py',
             'start_step=first', 'start_step=0', (f'{RESUMED}[mean_teacher]',)),
    Mutation('gradients under pmap are of one device', SUPERVISED,
             'values, gradients = self._sum_over_devices(', 'values, gradients = tuple(', DEVICES),
    Mutation('counts under pmap are of one device', SUPERVISED,
             'counts = self._sum_over_devices({name: count for name, (_, count) in parts.items()})',
             'counts = {name: count for name, (_, count) in parts.items()}', DEVICES),
    Mutation('padding of a crop has class 0', AUGMENT,
             'constant_values=fill.mask', 'constant_values=0', TRANSFORMS),
    Mutation('a flip leaves the mask', AUGMENT,
             'image[:, ::-1], mask[:, ::-1]', 'image[:, ::-1], mask', TRANSFORMS),
    Mutation('dropout of channels drops positions', 'jaxseg/layers/dropout.py',
             'axis in self.broadcast_dims', 'axis not in self.broadcast_dims',
             ('tests/test_layers_dropout.py',)),
    Mutation('evaluation with statistics of the batch', 'jaxseg/layers/norm.py',
             'use_running_average=not train', 'use_running_average=False',
             ('tests/test_layers_norm.py',)),
    Mutation('running statistics are not kept', SUPERVISED,
             'updates.get(name, tree)', 'tree',
             (f'{LEARNING}::test_two_pictures_are_learned_by_heart',)),
    Mutation('decay of biases and scales', OPTIMIZER,
             'weight_decay, mask=is_kernel)', 'weight_decay)',
             (f'{RULES}::test_weight_decay_applies_to_kernels_only',)),
    Mutation('the worst checkpoint is called best', 'jaxseg/training/restore.py',
             'return max(steps, key=', 'return min(steps, key=',
             (f'{TRAINING}::test_checkpoints_keep_the_two_latest_and_the_best_and_never_a_nan',)),
    Mutation('the context stands at the first stage', 'jaxseg/models/segmentation_model.py',
             'range(len(stages))[self.context_stage]', 'range(len(stages))[0]',
             (f'{MODELS}::test_a_context_may_replace_any_stage',)),
    Mutation('a head in the dtype of its features', 'jaxseg/layers/head.py',
             'x.astype(jnp.float32), kernel', 'x, kernel',
             (f'{MODELS}::test_a_head_computes_in_float32_and_starts_near_even_probabilities',)),
    Mutation('a head that starts far from even', 'jaxseg/layers/head.py',
             'INITIAL_DEVIATION = 0.01', 'INITIAL_DEVIATION = 0.2',
             (f'{LEARNING}::test_every_experiment_starts_at_the_loss_of_even_probabilities'
              '[shapes/convolutional.py]',)),
    Mutation('a single augmented copy is the image itself in predictions', AUGMENTED,
             'if len(self._copies) == 1 and self._copies[0] == _Copy(1.0, 0, False):',
             'if len(self._copies) == 1:',
             ('tests/test_inference_augmented.py::'
              'test_a_single_copy_that_is_not_the_image_decides_the_prediction',)),
    Mutation('the focal power has its infinite gradient at zero', 'jaxseg/losses/focal.py',
             'jnp.maximum(-jnp.expm1(-loss), 1e-12)', '-jnp.expm1(-loss)',
             ('tests/test_losses.py::test_extreme_logits_stay_finite[focal]',)),
    Mutation('boundary IoU of a wider band', 'jaxseg/metrics/boundary.py',
             'dilation: Positive = 0.02', 'dilation: Positive = 0.03',
             ('tests/test_boundary.py::'
              'test_boundary_iou_takes_two_hundredths_of_the_diagonal_by_default',)),
    Mutation('a batch that the memory cannot hold ends the run', WHOLE,
             'except MemoryError:\n', 'except ZeroDivisionError:\n',
             (f'{SIZES}::test_what_the_devices_cannot_hold_goes_image_by_image_or_through_windows',)),
]
# Of the encoders, and of the weights of other libraries.
THIRD = [
    Mutation('a GELU by tanh where the reference has the exact one', 'jaxseg/encoders/mit.py',
             'approximate=False', 'approximate=True', (f'{PARITY}[transformers_mit_b0]',)),
    Mutation('ReLU for ReLU6', 'jaxseg/encoders/hardnet.py', 'nn.relu6(', 'nn.relu(',
             (f'{PARITY}[hardnet39ds]',)),
    Mutation('aligned corners that are not', 'jaxseg/layers/resize.py',
             'if align_corners:', 'if align_corners is None:',
             ('tests/test_layers_resize.py::'
              'test_bilinear_resizing_with_aligned_corners_keeps_the_outermost_values',)),
    Mutation('a transposed convolution that is mirrored', 'jaxseg/layers/conv.py',
             'kernel[::-1, ::-1], (self.stride', 'kernel, (self.stride',
             (f'{CONV}::test_a_transposed_convolution_adds_the_kernel_at_every_position',)),
    Mutation('images side by side without zeros between them', 'jaxseg/layers/cpu_conv.py',
             'gap = max(left, right, left + right - reach)', 'gap = 0',
             ('tests/test_layers_cpu_conv.py::test_images_and_strips_side_by_side_do_not_meet',)),
    Mutation('a weight gradient without the last of three images',
             'jaxseg/layers/conv_gradients.py',
             '(slice(-1), slice(-1, None))', '(slice(-1), slice(-2, -1))',
             (f'{CONV}::test_weight_gradients_of_an_odd_batch_are_those_of_an_even_one_and_of_an'
              f'_image',)),
    Mutation('a depthwise weight gradient of the first image alone', 'jaxseg/layers/depthwise.py',
             'part.sum(range(part.ndim - 1))', 'part[0].sum(range(part.ndim - 2))',
             (f'{CONV}::test_a_depthwise_convolution_equals_a_grouped_one',)),
    Mutation('Muon stops after its first iteration', OPTIMIZER,
             'functools.reduce(dot, factors)', 'factors[0]',
             (f'{RULES}::test_muon_is_the_one_of_optax',)),
    Mutation('the largest value of a window without its last position', 'jaxseg/layers/pooling.py',
             '_values(window, stride, padding, x, size))',
             '_values(window, stride, padding, x, size)[:-1])',
             ('tests/test_layers_pooling.py',)),
    Mutation('the gradient of a GRU forgets its reset gate', 'jaxseg/layers/nonlinear_cells.py',
             '(d_r, d_z, d_n * r)', '(d_r, d_z, d_n)',
             ('tests/test_recurrence.py::'
              'test_the_gradient_of_every_cell_equals_the_differences_of_its_loop',)),
    Mutation('what an enlargement takes beyond its edge is lost', 'jaxseg/layers/interpolation.py',
             'total[:, 1:-1] + pad(total[:, :1], 0, old - 1)', 'total[:, 1:-1]',
             ('tests/test_layers_resize.py::'
              'test_bilinear_resizing_has_the_values_and_gradients_of_matrix_products',)),
    Mutation('a strided depthwise convolution of the wrong phase', 'jaxseg/layers/depthwise.py',
             'column:column + sides[1], q]', 'column:column + sides[1], p]',
             (f'{CONV}::test_a_depthwise_convolution_equals_a_grouped_one',)),
    Mutation('a first convolution that is not scaled', 'jaxseg/pretrained/convert.py',
             'np.float32(RGB / channels)', 'np.float32(1)',
             ('tests/test_pretrained_weights.py::'
              'test_the_first_convolution_takes_any_number_of_channels',)),
    Mutation('weights that are loaded and not used', 'jaxseg/training/initialized.py',
             '{**variables, **flatten_dict(self._values)}', '{**variables}',
             ('tests/test_pretrained_weights.py::'
              'test_a_run_starts_from_the_weights_and_keeps_their_normalization',)),
]
# Of training on several devices, and of what the training loop offers around a step.
FOURTH = [
    Mutation('counts of accumulation are of one microbatch', SUPERVISED,
             'gradient(collections, microbatch, keys, counts)',
             'gradient(collections, microbatch, keys)',
             (f'{ACCUMULATION}::test_accumulated_gradients_are_those_of_the_whole_batch',)),
    Mutation('the statistics of the last microbatch alone', SUPERVISED,
             'gradient(collections, microbatch, keys, counts)',
             'gradient(state.collections, microbatch, keys, counts)',
             (f'{ACCUMULATION}::test_running_statistics_take_the_update_of_every_microbatch_in_turn',)),
    Mutation('all microbatches draw the same dropout', SUPERVISED,
             'name: jax.random.fold_in(key, index) for', 'name: key for',
             (f'{ACCUMULATION}::test_every_microbatch_has_random_numbers_of_its_own',)),
    Mutation('a frozen part trains its statistics', 'jaxseg/training/freezing.py',
             "{**options, 'train': False}", 'options', ('tests/test_freezing.py',)),
    Mutation('early stopping forgets what came before', 'jaxseg/training/checkpoint.py',
             'self.progress = progress', 'self.progress = NO_PROGRESS',
             ('tests/test_selection.py::test_early_stopping_counts_on_where_a_run_continues',)),
    Mutation('an average has the bias of its start', AVERAGING,
             '(self.decay - 1) / jnp.expm1(count * jnp.float32(math.log(self.decay)))',
             'jnp.float32(1 - self.decay)', (AVERAGE,)),
    Mutation('the last weights are evaluated, not their average', AVERAGING,
             'return state.average', 'return self.algorithm.variables(state.inner)',
             (AVERAGE,)),
    Mutation('the decay by layers counts one more', 'jaxseg/training/groups.py',
             'decay ** (len(blocks) -', 'decay ** (len(blocks) + 1 -', ('tests/test_groups.py',)),
    Mutation('rare classes are drawn less often', 'jaxseg/data/sampling.py',
             '-shares / self.temperature', 'shares / self.temperature',
             ('tests/test_data_sampling.py::test_probabilities_and_images_by_hand',)),
    Mutation('a mixed image keeps its labels', MIXING,
             'tuple(jnp.roll(x, 1, 0) for x in sources)',
             '(jnp.roll(sources[0], 1, 0), *sources[1:])',
             ('tests/test_data_mixing.py::test_mixing_takes_a_whole_pixel_of_one_sample',)),
    Mutation('the sides of pasted rectangles are uniform, not their areas', MIXING,
             'jnp.sqrt(jax.random.uniform(size))', 'jax.random.uniform(size)',
             ('tests/test_data_mixing.py::test_cutmix_pastes_rectangles_of_every_size',)),
    Mutation('what comes from outside of an image is valid', 'jaxseg/data/device_geometry.py',
             'take(valid, nearest) & inside.reshape(inside.shape + (1,) * (label.ndim - 2))',
             'take(valid, nearest)', ('tests/test_data_augmentation.py::test_a_warp_by_hand',)),
    Mutation('every device has the whole state', LAYOUT, 'if self.fsdp == 1 or', 'if True or',
             ('tests/test_layout.py::'
              'test_the_largest_dimension_that_divides_is_split_of_arrays_that_are_large',)),
    Mutation('every process reads the first share of a batch', LAYOUT,
             'return shares.index(tuple(sorted(rows_of[jax.process_index()])))', 'return 0',
             ('tests/test_processes.py::test_processes_read_the_images_that_their_devices_hold',)),
    Mutation('a device gets the wrong rows of its neighbour', INTERPOLATION,
             'x[:, -plan.before:]', 'x[:, :plan.before]', ('tests/test_split_height.py',)),
    Mutation('a downsampled map is not smoothed', INTERPOLATION,
             'max(1.0, step) if antialias else 1.0', '1.0', ('tests/test_layers_resize.py::'
              'test_downsampling_is_the_antialiased_resizing_of_jax_with_sides_rounded_up',)),
    Mutation('a state passes a device without its decay', 'jaxseg/layers/split_scan.py',
             'decays[device] * state + states[device]', 'state + states[device]',
             ('tests/test_split_height.py',)),
]
MUTATIONS = [*FIRST, *SECOND, *THIRD, *FOURTH]
