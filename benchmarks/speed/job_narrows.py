"""The job with narrows: five ranked components of the digits, a model file.

python job_narrows.py EPOCHS FILE [same]
"""

import sys
import warnings

from sklearn.datasets import load_digits

from narrows import Dense, HierarchicalAutoencoder, Training


def main(n_epochs, path, same_network):
    dense = Dense(linear_path=False, init="random") if same_network else None
    model = HierarchicalAutoencoder(
        5,
        ordering="collective",
        architecture=dense,
        max_epochs=n_epochs,
        random_state=0,
        training=Training(patience=None),
    )
    warnings.filterwarnings("ignore", message=".*features are constant")
    model.fit(load_digits().data).save(path)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:] == ["same"])
