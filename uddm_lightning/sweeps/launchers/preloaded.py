"""Modules that every run imports, for the fork server; pyarrow imports pandas in every run."""

from uddm_lightning.core.imports import import_quickly

for _name in ("uddm_lightning.cli.lightning", "pandas"):
    import_quickly(_name)
