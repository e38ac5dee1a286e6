"""Estimators: autoencoders with scikit-learn's interface."""
