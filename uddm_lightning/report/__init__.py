"""Figures, a page and a TensorBoard run of a sweep, read off its tables alone."""

from uddm_lightning.report.writing import write_report as write_report
