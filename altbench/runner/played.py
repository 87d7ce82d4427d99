"""The episodes of a cell that is being played.

They are kept until the cell is written, so that a worker that dies costs the episode
that it was in, and no other.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping

from altbench.results import cells
from altbench.results.folder import RunFolder
from altbench.rollout.records import CellHeader, EpisodeRecord


class Played:
    """The episodes that workers of this run have played of one cell, a file each."""

    def __init__(self, folder: RunFolder, header: CellHeader) -> None:
        # A folder for each cell: with a thousand workers one would hold 50,000 files.
        self._root, self._header = folder.progress / header.key, header

    def keep(self, record: EpisodeRecord) -> None:
        """Keep an episode."""
        key = f"{self._header.key}-{record.episode}"
        cells.write_cell(self._root, dataclasses.replace(self._header, key=key), [record])

    def outcomes(self) -> Mapping[int, EpisodeRecord]:
        """Return the episodes kept so far that are final, by number."""
        found: dict[int, EpisodeRecord] = {}
        for path in sorted((self._root / cells.CELLS).glob(f"{self._header.key}-*.parquet")):
            found.update(cells.outcomes(self._root, path.stem))
        return found

    def forget(self) -> None:
        """Delete what was kept, as the cell is written."""
        shutil.rmtree(self._root, ignore_errors=True)
