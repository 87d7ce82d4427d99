"""When a cell is given up: after so many failures of the policy in a row."""

from __future__ import annotations

from altbench.rollout.records import NOT_COUNTED, OF_THE_POLICY, EpisodeRecord


class Series:
    """The latest episodes of a cell, in order, that all ended by the policy's own fault.

    `most`: how many are too many; 0: any number is allowed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._episodes: list[EpisodeRecord] = []

    @property
    def is_over(self) -> bool:
        """True if the cell is to be given up."""
        return bool(self._most) and len(self._episodes) >= self._most

    @property
    def reason(self) -> str:
        """What the record of an episode that is not played says."""
        last = self._episodes[-1]
        return (
            f"not played after {self._most} failures in a row (give_up_after), the last: {last.status}, {last.message}"
        )

    def add(self, record: EpisodeRecord) -> None:
        """Add the next episode. One that does not count neither ends nor prolongs the series."""
        if record.status in OF_THE_POLICY:
            if not self.is_over:
                self._episodes.append(record)
        elif record.status not in NOT_COUNTED:
            self._episodes.clear()
