"""Comparison of two runs, episode by episode: did anything get worse?

`compare(base, new)` returns a `Comparison`; `judge` turns it into an exit status.
"""

from altbench.report.compare.gate import Gate, Verdict, judge
from altbench.report.compare.main import compare, compare_frames
from altbench.report.compare.records import Comparison, PairedResult

__all__ = ["Comparison", "Gate", "PairedResult", "Verdict", "compare", "compare_frames", "judge"]
