"""Classical baselines: every pixel is classified by itself, from features of its surroundings.

A classifier is one file with this interface, and knows nothing of images:

| | |
|---|---|
| `fit(features, labels, *, classes, seed)` | a function `features -> labels` |

`features` are float32 (N, F), `labels` integers (N,) below `classes`, of which some may not occur.
The same arguments give the same function. Features of pixels are a part, too: `reach`, and
`(image, rows) -> features`, as `features.PixelFeatures` has them.
"""
