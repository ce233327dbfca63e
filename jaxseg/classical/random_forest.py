"""A random forest of decision trees."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxseg.classical.scikit_learn import check_installed
from jaxseg.fields import PositiveInt, check_fields


@dataclasses.dataclass(frozen=True)
class RandomForest:
    """Trees on bootstrap samples, each split among sqrt(F) random features (Breiman 2001).

    The prediction is the class with the largest mean probability of all trees. A class without
    training pixels is never predicted.

    Attributes:
      trees: their number.
      min_samples_leaf: training pixels in a leaf, at least.
      balanced: whether rare classes weigh as much as frequent ones: the mean IoU does so, too.

    Raises:
      InputError: scikit-learn is not installed.
    """

    trees: PositiveInt = 30
    min_samples_leaf: PositiveInt = 4
    balanced: bool = True

    def __post_init__(self):
        check_fields(self, 'classifier')
        check_installed('classifier random_forest.RandomForest')

    def fit(self, features: np.ndarray, labels: np.ndarray, *, classes: int, seed: int
            ) -> 'FittedTrees':
        """See the package."""
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            self.trees, min_samples_leaf=self.min_samples_leaf, random_state=seed, n_jobs=-1,
            class_weight='balanced' if self.balanced else None).fit(features, labels)
        return FittedTrees(tuple(forest.estimators_), forest.classes_)


class FittedTrees(NamedTuple):
    """The trees of a forest, and the labels that occurred, in the order of their probabilities."""

    trees: tuple[Any, ...]
    labels: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The label with the largest mean probability.

        Not by the forest's own `predict`: its threads add up in another order each time, and it
        changes the filters of warnings, which images that are predicted in threads cannot bear.
        """
        total = np.zeros((len(features), len(self.labels)))
        for tree in self.trees:
            total += tree.predict_proba(features, check_input=False)
        return self.labels[total.argmax(1)]
