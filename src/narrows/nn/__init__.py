"""Networks: architectures, codes, orderings; batched over restarts and levels."""
