"""Sparse execution, and the bench that says what it is worth beside its rivals."""
