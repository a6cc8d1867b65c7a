"""Fully connected networks with and without a clip, read as in families.py."""

from sparsefield.studies.readings.families import read as read
