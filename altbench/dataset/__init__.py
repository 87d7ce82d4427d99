"""Demonstrations: files, nested subsets, collecting, exchange and known sets."""

from altbench.dataset.files import Dataset, DatasetInfo, info, read, write
from altbench.dataset.format import DatasetMeta, digest
from altbench.dataset.subsets import subset

__all__ = ["Dataset", "DatasetInfo", "DatasetMeta", "digest", "info", "read", "subset", "write"]
