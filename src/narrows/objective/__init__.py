"""Objectives: likelihoods of the data and penalties on the code."""
