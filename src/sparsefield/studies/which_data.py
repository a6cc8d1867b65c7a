"""Which data a study runs on: what it names, or the embedded digits where that is not at hand."""

from __future__ import annotations

from sparsefield.data import at_hand

AUTO = "auto"
EMBEDDED = "digits"
PREFERRED = {"dnn": "mnist", "cnn": "cifar10"}


def data_for(named: str, network: str, *, anything: bool) -> str:
    """The data to use for ``named``.

    ``auto`` is MNIST, for a CNN CIFAR-10, where it is at hand without a network, else the digits.
    A data set of these two that is named is replaced so only if ``anything`` will do: the runs of
    a paper's own size are not made on other data.

    >>> data_for("digits", "dnn", anything=False)
    'digits'
    """
    wanted = PREFERRED[network] if named == AUTO else named
    replaceable = named == AUTO or (anything and wanted in PREFERRED.values())
    return EMBEDDED if replaceable and not at_hand(wanted) else wanted
