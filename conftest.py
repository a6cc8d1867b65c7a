"""The plugin that every run loads, wherever its first argument points."""

pytest_plugins = ["ledger"]
