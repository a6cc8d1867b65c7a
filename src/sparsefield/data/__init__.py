"""Named datasets as tensors: :func:`load` gives a :class:`Dataset`."""

from sparsefield.data.at_hand import at_hand as at_hand
from sparsefield.data.dataset import Dataset as Dataset
from sparsefield.data.loading import Content as Content
from sparsefield.data.loading import content as content
from sparsefield.data.loading import load as load
from sparsefield.data.loading import shared_name as shared_name
from sparsefield.data.splitting import split as split
