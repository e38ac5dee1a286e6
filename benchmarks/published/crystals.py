"""Descriptors of crystals from their composition and lattice."""

import ast
import csv
import sys

import numpy as np
from data import DATA

# Standard atomic weights (IUPAC, abridged) and electronegativities on Pauling's scale.
ELEMENTS = """
1 1.008 2.20, 3 6.94 0.98, 4 9.012 1.57, 5 10.81 2.04, 6 12.011 2.55, 7 14.007 3.04, 8 15.999 3.44,
9 18.998 3.98, 11 22.990 0.93, 12 24.305 1.31, 13 26.982 1.61, 14 28.085 1.90, 15 30.974 2.19,
16 32.06 2.58, 17 35.45 3.16, 19 39.098 0.82, 20 40.078 1.00, 21 44.956 1.36, 22 47.867 1.54,
23 50.942 1.63, 24 51.996 1.66, 25 54.938 1.55, 26 55.845 1.83, 27 58.933 1.88, 28 58.693 1.91,
29 63.546 1.90, 30 65.38 1.65, 31 69.723 1.81, 32 72.630 2.01, 33 74.922 2.18, 34 78.971 2.55,
35 79.904 2.96, 37 85.468 0.82, 38 87.62 0.95, 39 88.906 1.22, 40 91.224 1.33, 41 92.906 1.6,
42 95.95 2.16, 43 98 1.9, 44 101.07 2.2, 45 102.906 2.28, 46 106.42 2.20, 47 107.868 1.93,
48 112.414 1.69, 49 114.818 1.78, 50 118.710 1.96, 51 121.760 2.05, 52 127.60 2.1, 53 126.904 2.66,
55 132.905 0.79, 56 137.327 0.89, 57 138.905 1.10, 72 178.486 1.3, 73 180.948 1.5, 74 183.84 2.36,
75 186.207 1.9, 76 190.23 2.2, 77 192.217 2.20, 78 195.084 2.28, 79 196.967 2.54, 80 200.592 2.00,
81 204.38 1.62, 82 207.2 2.33, 83 208.980 2.02
"""
TABLE = np.array([[float(v) for v in entry.split()] for entry in ELEMENTS.split(",")])
NUMBERS = TABLE[:, 0].astype(int)


def phonons() -> tuple[np.ndarray, np.ndarray]:
    """Return descriptors of 1521 crystals and their phonon densities of states, largest value 1."""
    csv.field_size_limit(sys.maxsize)
    with (DATA / "spectra" / "phonon_dos_data.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    X = np.array([descriptors(**ast.literal_eval(row["structure"])) for row in rows])
    return X, np.array([ast.literal_eval(row["phdos"]) for row in rows])


def descriptors(numbers, positions, cell, pbc):
    """Return numbers that tell of the composition, the cell, and the distances in it.

    Mean, deviation, least and greatest of atomic number, mass, electronegativity and mass to the
    power -1/2; number of atoms and elements; sorted lengths and angles of the cell, volume and mass
    per volume; least and mean distance to the nearest neighbour; share of each element.
    """
    atoms = TABLE[np.searchsorted(NUMBERS, numbers)]
    of_atoms = np.column_stack([atoms, atoms[:, 1] ** -0.5])
    cell, places = np.array(cell), np.array(positions)
    lengths = np.linalg.norm(cell, axis=1)
    cosines = [cell[i] @ cell[j] / lengths[i] / lengths[j] for i, j in ((0, 1), (0, 2), (1, 2))]
    volume = abs(np.linalg.det(cell)) / len(numbers)
    nearest = neighbours(places, cell)
    stiffness = atoms[:, 1] ** -0.5 / nearest**1.5
    return np.concatenate(
        [
            *(function(of_atoms, axis=0) for function in (np.mean, np.std, np.min, np.max)),
            [len(numbers), len(set(numbers))],
            np.sort(lengths),
            np.sort(cosines),
            [volume, atoms[:, 1].mean() / volume],
            [nearest.min(), nearest.mean(), stiffness.mean(), stiffness.max()],
            (atoms[:, :1] == NUMBERS).mean(axis=0),
        ]
    )


def neighbours(places, cell):
    """Return the distance of each atom to its nearest neighbour, images of the cell included."""
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ cell
    apart = places[:, None, None] - places[None, :, None] - shifts
    distance = np.linalg.norm(apart, axis=-1)
    return np.where(distance > 1e-6, distance, np.inf).min(axis=(1, 2))
