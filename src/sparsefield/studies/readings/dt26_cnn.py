"""The question of dt26-dnn asked of convolutional networks; its reading fits as it stands."""

from sparsefield.studies.readings.dt26_dnn import read as read
