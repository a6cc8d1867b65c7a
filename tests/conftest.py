"""Settings that all tests share."""

from hypothesis import settings

# the same examples on every machine and every run; no deadline, since machines are noisy
settings.register_profile("sparsefield", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("sparsefield")
