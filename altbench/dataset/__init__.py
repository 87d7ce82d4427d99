"""Demonstrations: their file format, files, nested subsets, collecting, import and export, the known sets."""

from altbench.dataset.files import Dataset, DatasetInfo, info, read, write
from altbench.dataset.format import DatasetMeta, digest
from altbench.dataset.subsets import subset

__all__ = ["Dataset", "DatasetInfo", "DatasetMeta", "digest", "info", "read", "subset", "write"]
