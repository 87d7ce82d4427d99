"""The episodes of a cell that is being played.

They are kept until the cell is written, so that a worker that dies costs the episode
that it was in, and no other.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence

from altbench.results import cells
from altbench.results.folder import RunFolder
from altbench.rollout.records import CellHeader, EpisodeRecord
from altbench.system.lease import Proof


class Played:
    """The episodes that workers of this run have played of one cell, a file each.

    `proof`: of the claim on the cell; None if no others share the run.
    """

    def __init__(self, folder: RunFolder, header: CellHeader, proof: Proof | None = None) -> None:
        # A folder for each cell: with a thousand workers one would hold 50,000 files.
        self._root, self._header, self._run = folder.progress / header.key, header, folder.root
        self._proof = proof

    def keep(self, record: EpisodeRecord) -> None:
        """Keep an episode; AltbenchError, as `write`."""
        self._check()
        key = f"{self._header.key}-{record.episode}"
        cells.write_cell(self._root, dataclasses.replace(self._header, key=key), [record])

    def outcomes(self) -> Mapping[int, EpisodeRecord]:
        """Return the episodes kept so far that are final, by number."""
        found: dict[int, EpisodeRecord] = {}
        for path in sorted((self._root / cells.CELLS).glob(f"{self._header.key}-*.parquet")):
            found.update(cells.outcomes(self._root, path.stem))
        return found

    def write(self, records: Sequence[EpisodeRecord]) -> None:
        """Write the cell, and delete what was kept.

        AltbenchError if the cell is another worker's by now: a process that was suspended
        has missed its time limits, and its records may say so.
        """
        self._check()
        cells.write_cell(self._run, self._header, records)
        shutil.rmtree(self._root, ignore_errors=True)

    def _check(self) -> None:
        if self._proof is not None:
            self._proof.check()
