"""Does `altbench adapt` find planted faults? `python benchmarks/planted_faults.py POLICY=FOLDER ...`.

Each trained policy is put behind one to three drawn conventions that are not ours
(`altbench.adapters.foreign`). The doctor sees only the outside. A fault counts as named if
the adapter has it, or if its value is among those that the report lists as ones that the
evidence cannot tell apart; a change that was not planted, and that the report does not
list so, counts against the case. Sound policies must get no adapter.

Every case is appended to OUT/cases.jsonl, and a second call goes on where the first
stopped. `--workers 0` uses this process. `--only` runs the cases of one policy, so that
several calls can share the work and OUT.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from altbench.adapters.foreign import ForeignPolicy
from altbench.adapters.policy import AdaptedPolicy
from altbench.adapters.spec import Actions, Adapter
from altbench.adapting import lattice
from altbench.adapting.diagnosis import Diagnosis, diagnose, silent
from altbench.adapting.targets import base_of
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError
from altbench.core.policy import Policy
from altbench.dataset.files import read
from altbench.results.checkpoints import load_checkpoint
from altbench.system.devices import set_threads

FAULTS: Mapping[str, Sequence[Any]] = {
    "images.order": ("bgr",),
    "images.layout": ("chw",),
    "images.range": ("0..1", "-1..1"),
    "images.flip_vertical": (True,),
    "images.flip_horizontal": (True,),
    "images.size": ((96, 96), (128, 128)),
    "cameras": ("swapped",),
    "state.order": (("rotation", "position", "fingers"), ("fingers", "position", "rotation")),
    "state.rotation": ("rot6d_rows", "rot6d_interleaved", "quat_xyzw", "quat_wxyz", "rotvec", "euler_xyz"),
    "state.fingers": ("width",),
    "state.unit": ("cm", "mm"),
    "state.frame": ("base",),
    "state.tool": ("hand",),
    "actions.reference": ("pose", "previous"),
    "actions.position": ("cm", "mm", "min_max"),
    "actions.rotation": ("rot6d_rows", "rot6d_interleaved", "quat_xyzw", "quat_wxyz", "rotvec", "euler_xyz"),
    "actions.frame": ("base", "end_effector"),
    "actions.tool": ("hand",),
    "actions.gripper": ((1.0, -1.0), (0.0, 1.0), (1.0, 0.0)),
    "actions.offset": (-2, -1, 1, 2),
    "actions.frequency": (0.5, 2.0),
}
"""Each convention -> the values that are planted."""
RUNTIME: Mapping[str, Mapping[str, Any]] = {"diffusion": {"scheduler": "ddim", "inference_steps": 5}}
"""How a policy decides here, if not as in its checkpoint: an answer of 10 steps costs twice as much."""
SHARES: Mapping[str, int] = {"diffusion": 1}
"""Cases of a policy in each turn, if not 2: an answer of diffusion costs as much as four of the others."""
LIMIT_S = 20.0
"""Seconds that a case should take at most, on one core."""
LATE = ("actions.frame", "actions.position")
"""What is planted after the reference, on which it depends. The draw hardly ever takes it, so
`--more` cases begin with one of the two.
"""


@dataclass(frozen=True)
class Case:
    """A case: `faults` 0 is a sound policy. `seed`: of its draws and of the frames.

    `first`: the convention that is planted whatever is drawn; empty: none.
    """

    number: int
    policy: str
    faults: int
    seed: int
    first: str = ""

    @property
    def key(self) -> str:
        """The case's name in the file of results."""
        return f"{'sound' if self.faults == 0 else 'planted'}-{self.number}"


@dataclass(frozen=True)
class Setup:
    """What all cases share, as a worker process needs it. `episodes`: that prove a case."""

    checkpoints: dict[str, str]
    demos: tuple[str, ...]
    episodes: int


@dataclass(frozen=True)
class Shared:
    """What a worker has read once."""

    policies: dict[str, Policy[Any]]
    demonstrations: list[tuple[Demonstration, ...]]
    base: tuple[float, float, float] | None


_SHARED: dict[str, Shared] = {}


def shared(setup: Setup) -> Shared:
    """Return checkpoints and demonstrations, read once in this process."""
    if "it" not in _SHARED:
        set_threads(1)
        policies = {
            name: load_checkpoint(Path(folder), "cpu", RUNTIME.get(name)) for name, folder in setup.checkpoints.items()
        }
        task = next(iter(policies.values())).task.name
        files = [read(path, task).demonstrations for path in setup.demos]
        _SHARED["it"] = Shared(policies, files, base_of(task))
    return _SHARED["it"]


def draw(case: Case, policy: Policy[Any], base: tuple[float, float, float] | None) -> Adapter:
    """Return the conventions of a case: as many faults as it has, each of another convention."""
    rng = np.random.default_rng([7, case.seed, case.number])
    made = Adapter.model_validate({"base": base, "actions": {}})
    cameras = policy.requirements.cameras
    made = made.model_copy(update={"cameras": {name: name for name in cameras}})
    names = [str(name) for name in rng.permutation(list(FAULTS))]
    planted = 0
    ordered = sorted(names, key=lambda one: one in LATE and names.index(one) < len(names) // 2)
    if case.first:
        # Steps have frames of their own; so they are planted before, in every second case.
        steps = case.first == "actions.frame" and case.faults > 1 and case.number % 4 == 0
        before = ["actions.reference"] if steps else []
        chosen = [*before, case.first]
        ordered = [*chosen, *(one for one in ordered if one not in (*chosen, "actions.reference"))]
    for name in ordered:
        if planted == case.faults:
            break
        value = FAULTS[name][int(rng.integers(len(FAULTS[name])))]
        changed = _planted(made, name, value, policy)
        if changed is None and name == case.first:
            value = next(one for one in FAULTS[name] if one != value)
            changed = _planted(made, name, value, policy)
        if changed is not None:
            made, planted = changed, planted + 1
    return made


def _planted(adapter: Adapter, name: str, value: Any, policy: Policy[Any]) -> Adapter | None:
    """Return the adapter with one more fault; None if it cannot have it."""
    how = adapter.actions or Actions()
    if name == "cameras":
        own = policy.requirements.cameras
        return lattice.with_value(adapter, name, dict(zip(own, own[::-1], strict=True)))
    if name == "actions.position":
        low, high = policy.task.workspace or ((-1.0,) * 3, (1.0,) * 3)
        if value == "min_max" and how.reference != "absolute":
            return None
        scaled = {"position": value, **({"low": low, "high": high} if value == "min_max" else {})}
        return lattice.with_value(adapter, name, scaled)
    if name == "actions.frame" and value == "end_effector" and how.reference == "absolute":
        return None
    if name == "actions.frame" and value == "base" and how.reference != "absolute":
        return None
    if name == "actions.reference" and how.frame == "base":
        return None
    made = lattice.with_value(adapter, name, value)
    if made is not None and made.actions is not None:
        steps = policy.requirements.action_horizon
        try:
            foreign = ForeignPolicy(policy, made).requirements
        except ConfigError:
            return None
        return made if foreign.action_horizon >= 2 and steps >= 2 else None
    return made


def run_case(case: Case, setup: Setup) -> dict[str, Any]:
    """Play one case; return its row."""
    known = shared(setup)
    policy = known.policies[case.policy]
    demonstrations = known.demonstrations[case.number % len(known.demonstrations)]
    planted = draw(case, policy, known.base)
    foreign: Policy[Any] = ForeignPolicy(policy, planted, demonstrations) if case.faults else policy
    cpu, wall = time.process_time(), time.perf_counter()
    found = diagnose(foreign, demonstrations, base=known.base, seed=case.number)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    sound = sound_error(policy, demonstrations, known.base, case.number)
    return {
        **asdict(case),
        "key": case.key,
        "seconds_cpu": cpu,
        "seconds_wall": wall,
        "rows": found.rows,
        "error": found.error,
        "sound_error": sound,
        "unadapted": found.unadapted,
        "nearest": found.nearest,
        "explained": found.explained,
        "identity": found.is_identity,
        "adapter": found.adapter.tables(),
        **judged(planted, found, policy),
    }


def prove_case(case: Case, row: dict[str, Any], setup: Setup) -> dict[str, Any]:
    """Play a case's adapter in episodes of `recall`, and the sound policy in the same ones; return the row with both."""
    from altbench.runner.evaluate import evaluate

    known = shared(setup)
    policy = known.policies[case.policy]
    demonstrations = known.demonstrations[case.number % len(known.demonstrations)]
    foreign: Policy[Any] = ForeignPolicy(policy, draw(case, policy, known.base))
    adapted = AdaptedPolicy(foreign, Adapter.parse(row["adapter"], case.key)) if row["adapter"] else foreign
    proved = {**row, "episodes": setup.episodes}
    for name, one in (("adapted", adapted), ("sound", policy)):
        played = evaluate(
            one,
            policy.task.name,
            split="recall",
            episodes=setup.episodes,
            demonstrations=list(demonstrations),
            seed=case.number,
            quiet=True,
        )
        proved[f"succeeded_{name}"] = int(played["success"].sum())
    return proved


def sound_error(policy: Policy[Any], demonstrations: Sequence[Demonstration], base: Any, seed: int) -> float:
    """Return the held-out error of the policy itself, on the frames that the doctor judged by."""
    from altbench.adapting.asking import Asker
    from altbench.adapting.diagnosis import FRAMES, LIBRARY
    from altbench.adapting.errors import Judge, nearest_actions
    from altbench.adapting.evidence import gather
    from altbench.adapting.search import SLOW, Search

    evidence = gather(demonstrations, policy.task, policy.requirements.obs_horizon, FRAMES, seed=seed, base=base)
    library = gather(demonstrations, policy.task, 1, LIBRARY, seed=seed, base=base)
    judge = Judge.of(evidence, nearest_actions(evidence, library))
    facts = lattice.facts_of(policy.task, policy.requirements, demonstrations, base)
    asker = Asker(policy, evidence)
    search = Search(asker, judge, facts, np.flatnonzero(~evidence.held_out), silent)
    search.measure_pace()
    held = np.flatnonzero(evidence.held_out)
    errors = search.error(lattice.ours(facts), held[: SLOW.most] if search.pace == SLOW else held)
    assert errors is not None
    return float(errors.mean())


def judged(planted: Adapter, found: Diagnosis, policy: Policy[Any]) -> dict[str, Any]:
    """Return which planted faults were named outright, which are tied, which were missed."""
    own = planted.model_copy(update={"actions": Actions(), "images": Adapter().images, "state": Adapter().state})
    own = own.model_copy(update={"cameras": {name: name for name in policy.requirements.cameras}})
    wanted = {name: lattice.value_of(planted, name) for name in lattice.changed(planted, own)}
    findings = {one.convention: one for one in found.findings}
    named, tied, missed = [], [], []
    for name, value in wanted.items():
        words, finding = _words(name, value), findings.get(name)
        if finding is not None and finding.value.startswith(words):
            named.append(name)
        elif finding is not None and any(one.startswith(words) for one in finding.ties):
            tied.append(name)
        else:
            missed.append(name)
    extra = [
        one.convention
        for one in found.findings
        if one.convention not in wanted and one.value != one.ours and one.ours not in one.ties
    ]
    return {
        "planted": {name: _words(name, value) for name, value in wanted.items()},
        "named": named,
        "tied": tied,
        "missed": missed,
        "extra": extra,
    }


def _words(name: str, value: Any) -> str:
    """Return a value in the report's words; of bounds, only that they are bounds."""
    if name == "actions.position" and value["position"] == "min_max":
        return "min_max of"
    return lattice.said(name, value)


def cases(policies: Sequence[str], planted: int, sound: int, seed: int, more: int = 0) -> Iterator[Case]:
    """Yield all cases: policies in turn, with one, two, three faults in turn; sound ones between, `more` last."""
    every = max(1, planted // max(sound, 1))
    made = 0
    turn = [name for k in range(2) for name in policies if k < SHARES.get(name, 2)]
    for number in range(planted):
        yield Case(number, turn[number % len(turn)], 1 + (number // len(turn)) % 3, seed)
        if number % every == every - 1 and made < sound:
            yield Case(made, turn[made % len(turn)], 0, seed)
            made += 1
    for number in range(made, sound):
        yield Case(number, turn[number % len(turn)], 0, seed)
    for number in range(planted, planted + more):
        yield Case(number, turn[number % len(turn)], 1 + (number // len(turn)) % 3, seed, LATE[number % 2])


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows that were written; a line that was cut off is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def latest(path: Path) -> list[dict[str, Any]]:
    """Return the last row of each case in the file."""
    return list({row["key"]: row for row in read_rows(path)}.values())


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables in Markdown."""
    frame = pd.DataFrame([{"first": "", **row} for row in rows])
    every, sound = frame[frame["faults"] > 0], frame[frame["faults"] == 0]
    planted, more = every[every["first"] == ""], every[every["first"] != ""]
    named = (every["missed"].str.len() == 0) & (every["extra"].str.len() == 0)
    good, more_good = planted[named[planted.index]], more[named[more.index]]
    within = planted["error"] <= 1.1 * planted["sound_error"]
    false = sound[~sound["identity"]]
    lines = [
        "| what | target | measured |",
        "|:--|:--|:--|",
        f"| combinations named in full, and nothing else | at least 95 % | {_share(len(good), len(planted))} |",
        f"| adapter's held-out error within 1.1 x the sound policy's | | {_share(int(within.sum()), len(planted))} |",
        f"| false alarms on sound policies | 0 of 50 | {len(false)} of {len(sound)} |",
    ]
    if len(more):
        lines.append(f"| {len(more)} more with a frame or a unit of actions | | {_share(len(more_good), len(more))} |")
    for kind in ("cpu", "wall"):
        times = frame[f"seconds_{kind}"]
        text = f"p50 {times.quantile(0.5):.1f} s, p95 {times.quantile(0.95):.1f} s, most {times.max():.1f} s"
        text += f"; {int((times > LIMIT_S).sum())} of {len(times)} longer"
        lines.append(f"| time of a case, {kind} | at most 20 s | {text} |")
    if "episodes" in frame:
        played = frame[frame["episodes"].notna()]
        sums = {name: int(played[f"succeeded_{name}"].sum()) for name in ("adapted", "sound")}
        text = f"{sums['adapted']} of {int(played['episodes'].sum())} adapted; the sound policies {sums['sound']}"
        lines.append(f"| rollouts of {len(played)} cases, `recall` | | {text} |")
    lines += ["", "| policy | planted | named | time p50, cpu | p95 |", "|:--|--:|--:|--:|--:|"]
    for name, group in every.groupby("policy"):
        times = group["seconds_cpu"]
        count = int(named[group.index].sum())
        lines.append(
            f"| {name} | {len(group)} | {count} | {times.quantile(0.5):.1f} s | {times.quantile(0.95):.1f} s |"
        )
    lines += ["", "| fault | planted | named | tied | missed |", "|:--|--:|--:|--:|--:|"]
    for name in FAULTS:
        counts = [
            int(every[kind].map(lambda found, name=name: name in found).sum()) for kind in ("named", "tied", "missed")
        ]
        lines.append(f"| `{name}` | {sum(counts)} | {counts[0]} | {counts[1]} | {counts[2]} |")
    return "\n".join(lines) + "\n"


def _share(count: int, total: int) -> str:
    return f"{count} of {total}" + (f" ({100 * count / total:.1f} %)" if total else "")


def write(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write OUT/table.md and OUT/cases.csv."""
    ordered = sorted(rows, key=lambda row: (row["faults"] == 0, row["number"]))
    (out / "table.md").write_text(summary(ordered))
    texts = [{k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()} for row in ordered]
    pd.DataFrame(texts).to_csv(out / "cases.csv", index=False)


def main() -> None:
    """Run the cases that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="POLICY=FOLDER")
    parser.add_argument("--demos", action="append", required=True, help="a file of demonstrations; repeatable")
    parser.add_argument("--out", type=Path, default=Path("results/adapt"))
    parser.add_argument("--planted", type=int, default=200)
    parser.add_argument("--sound", type=int, default=50)
    parser.add_argument("--more", type=int, default=0, help="further cases, with a frame or a unit of actions planted")
    parser.add_argument("--rollouts", type=int, default=20, help="cases that are proved in episodes")
    parser.add_argument("--episodes", type=int, default=5, help="episodes of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a policy whose cases are run now; repeatable; default: all")
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    named = dict(one.split("=", 1) for one in given.checkpoints)
    wanted = given.only or list(named)
    own = {name: folder for name, folder in named.items() if name in wanted}
    setup = Setup(own, tuple(given.demos), given.episodes)
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "cases.jsonl"
    rows = {row["key"]: row for row in latest(file)}
    every = cases(list(named), given.planted, given.sound, given.seed, given.more)
    left = [case for case in every if case.key not in rows]
    left = [case for case in left if case.policy in wanted]
    print(f"{len(rows)} cases are done, {len(left)} left", flush=True)

    def keep(row: dict[str, Any]) -> None:
        rows[row["key"]] = row
        with file.open("a") as opened:
            opened.write(json.dumps(row) + "\n")
        write(latest(file), given.out)

    for row in _rows(left, setup, given.workers):
        print(row["key"], row["policy"], row["planted"], "missed", row["missed"], "extra", row["extra"], flush=True)
        keep(row)
    # The rollouts come last: what a case costs is known without them.
    first = [case for case in cases(list(named), given.planted, 0, given.seed) if case.number < given.rollouts]
    for case in first:
        row = rows.get(case.key)
        if case.policy in wanted and row is not None and "episodes" not in row:
            proved = prove_case(case, row, setup)
            print(case.key, "succeeded", proved["succeeded_adapted"], proved["succeeded_sound"], flush=True)
            keep(proved)
    write(latest(file), given.out)
    print(summary(latest(file)))


def _rows(left: Sequence[Case], setup: Setup, workers: int) -> Iterator[dict[str, Any]]:
    if workers == 0:
        yield from (run_case(case, setup) for case in left)
        return
    with ProcessPoolExecutor(workers) as pool:
        for done in [pool.submit(run_case, case, setup) for case in left]:
            yield done.result()


if __name__ == "__main__":
    main()
