"""K-means: pixels form clusters without labels; labels only name the clusters."""

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np

from jaxseg.classical.scikit_learn import check_installed
from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, check_fields


@dataclasses.dataclass(frozen=True)
class KMeans:
    """Clusters of standardised features (Lloyd 1982; k-means++, Arthur & Vassilvitskii 2007).

    The clustering does not see the labels. Afterwards each cluster gets the class that most of its
    training pixels have: so a class can be predicted only where it is the majority of a cluster.

    Attributes:
      clusters: their number; several may have the same class.

    Raises:
      InputError: scikit-learn is not installed; when fitted: fewer pixels than clusters.
    """

    clusters: PositiveInt = 64

    def __post_init__(self):
        check_fields(self, 'classifier')
        check_installed('classifier kmeans.KMeans')

    def fit(self, features: np.ndarray, labels: np.ndarray, *, classes: int, seed: int
            ) -> 'NamedClusters':
        """See the package."""
        from sklearn import cluster
        from threadpoolctl import threadpool_limits

        if len(features) < self.clusters:
            raise InputError(f'classifier.clusters: {self.clusters}, but there are only '
                             f'{len(features)} labelled pixels to cluster; lower it')
        mean, deviation = features.mean(0, np.float64), features.std(0, dtype=np.float64)
        mean, deviation = (np.float32(array) for array in (
            mean, np.where(deviation > 0, deviation, 1)))  # a constant feature is 0
        standard = (features - mean) / deviation
        # Several threads would add up in another order each time.
        with threadpool_limits(1), warnings.catch_warnings():
            # Fewer different pixels than clusters, as in drawings: some clusters are then equal.
            warnings.simplefilter('ignore')
            found = cluster.KMeans(self.clusters, n_init=1, random_state=seed).fit(standard)
        votes = np.zeros((self.clusters, classes), int)
        np.add.at(votes, (found.labels_, labels), 1)
        votes[votes.sum(1) == 0] = votes.sum(0)  # an empty cluster
        return NamedClusters(mean, deviation, found.cluster_centers_, votes.argmax(1))


class NamedClusters(NamedTuple):
    """Means and deviations of the features, centers (K, F) of standardised ones, their labels."""

    mean: np.ndarray
    deviation: np.ndarray
    centers: np.ndarray
    labels: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The label of the nearest center."""
        standard = (features - self.mean) / self.deviation
        # |x - c|^2 = |x|^2 - 2 (x c - |c|^2 / 2)
        nearness = standard @ self.centers.T - (self.centers ** 2).sum(1)[None] / 2
        return self.labels[nearness.argmax(1)]
