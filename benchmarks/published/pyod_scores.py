"""Scores of PyOD's autoencoder, in the environment of the peers: rows.npz scores.npy seed."""

import sys

import numpy as np
from pyod.models.auto_encoder import AutoEncoder

source, target, seed = sys.argv[1:]
with np.load(source) as rows:
    detector = AutoEncoder(random_state=int(seed), verbose=0).fit(rows["train"])
    np.save(target, detector.decision_function(rows["test"]))
