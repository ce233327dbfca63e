"""Tasks: what the outputs of a model mean.

A task turns outputs into losses, probabilities, predictions and scores, and is the only place that
knows which outputs there are (`logits`, in training `auxiliary`). A new kind of task, such as mask
classification, is one new file with this interface:

| | |
|---|---|
| `channels` | number of channels that the head of the model gives |
| `losses(outputs, batch)` | `{name: (sum, count)}`, those of auxiliary outputs included |
| `counts(batch)` | the counts alone, without a model: `{name: count}` |
| `total(parts)` | the scalar to minimize, from sums and counts added over batches and devices |
| `metrics(parts)` | `{name: mean}` for the report |
| `probabilities(outputs)` | float32 at image size, which may be averaged |
| `predictions(outputs)`, `decide(probabilities)` | integer masks |
| `scores()` | an empty metric state with `count`, `add`, `merge`, `summary`, `json`, `table` |

A batch holds `label` and `valid` of the same shape. `jaxseg.build` gives every task `classes`,
`terms` (the losses) and `overlapping` (whether the masks of the data set may overlap).
The best checkpoint is chosen by one of the names in `summary`: `miou`, unless a config names
another in `best`.
"""
