"""Handwritten digits, 10 000 training rows: three layers trained first as autoencoders, or not."""

from functools import partial

from mnist_layers import CASES, main, make

if __name__ == "__main__":
    main("Handwritten digits, 10 000 training rows", partial(make, CASES[3:]))
