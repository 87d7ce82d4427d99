"""What must be equal on all machines that make one run, so that its numbers are of one kind."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from altbench.core.errors import AltbenchError
from altbench.sweeps.rows import provenance_of
from altbench.system.fingerprint import collect, gpu_name
from altbench.system.precision import choose_precision


@dataclass(frozen=True)
class Machine:
    """A class of machines: two of one class give the same numbers.

    `packages`: those whose versions enter keys. `commit`: of the source, with a mark if
    it was changed; empty if unknown. `precision`: in which policies train by default.
    `gpu`: empty for work on the CPU.
    """

    altbench: str
    commit: str
    packages: str
    cpu: str
    precision: str
    gpu: str = ""

    @classmethod
    @functools.cache
    def here(cls, device: str) -> Machine:
        """Return the class of this machine for work on `device`."""
        found = collect()
        return cls(
            altbench=found.packages.get("altbench", "unknown"),
            commit=f"{(found.commit or '')[:12]}{' + changes' if found.dirty else ''}",
            packages=" ".join(f"{name} {version}" for name, version in provenance_of(device, "", {}).versions.items()),
            cpu=found.cpu,
            precision=choose_precision(device).precision,
            gpu=(gpu_name() or "") if device == "cuda" else "",
        )

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Machine:
        """Return the machine that `as_dict` described; AltbenchError for anything else."""
        try:
            return cls(**values)
        except TypeError:
            raise AltbenchError(
                f"expected a machine's description, got {values}; is it another version of altbench?"
            ) from None

    def as_dict(self) -> dict[str, str]:
        """Return the description as texts."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"altbench {self.altbench}", self.commit, self.cpu, self.gpu, self.precision]
        return ", ".join(part for part in parts if part)


def differences(expected: Machine, found: Machine) -> str:
    """Say in one line how `found` differs from `expected`; empty if it does not."""
    pairs = zip(expected.as_dict().items(), found.as_dict().values(), strict=True)
    return "; ".join(
        f"{name}: expected {old or 'none'}, got {new or 'none'}" for (name, old), new in pairs if old != new
    )


def refuse_mixed(expected: Machine, found: Machine, where: str, allowed: bool) -> None:
    """Raise AltbenchError if the machine `found` is of another class, unless `allowed`.

    Packages that enter keys are refused in any case: their results have other keys.
    """
    told = differences(expected, found)
    if expected.packages != found.packages:
        raise AltbenchError(f"{where}: keys would differ ({told}); install the same versions on all machines")
    if told and not allowed:
        raise AltbenchError(
            f"{where}: another class of machine than the run's ({told}); use one class, or --allow-mixed, "
            "which every table then says"
        )
