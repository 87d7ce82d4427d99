"""Playing the policy of a submission again: on drawn episodes, and on seeds that nobody knew."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from altbench.adapters.policy import adapted
from altbench.adapters.spec import as_adapter
from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.core.policy import Policy
from altbench.report.table import percentage
from altbench.results.checkpoints import build_policy, load_checkpoint, read_card
from altbench.results.targets import find_target
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.records import EpisodeRecord
from altbench.submissions.archive import check_name
from altbench.submissions.cellspec import PlayedCell, names_files
from altbench.submissions.manifest import Point
from altbench.submissions.verdict import Finding, judged
from altbench.submissions.verification import odds
from altbench.submissions.verification.contents import Contents
from altbench.submissions.verification.physics import Progress
from altbench.system.devices import set_threads
from altbench.system.fingerprint import Fingerprint, collect, load_fingerprint

SHARE = 0.05
"""The share of the episodes that is drawn and played again, unless the caller says otherwise."""
LEAST_DRAWN = 5
"""The fewest episodes that are drawn, and the fewest on held-out seeds."""
FRAUDS = (0.1, 0.25, 0.5)
"""The shares of invented episodes for which a verdict prints how likely they are found."""
FRESH_SPLIT = "uniform"
"""The split of the held-out seeds: it draws poses that nobody can have prepared for."""
Play = Callable[[PlayedCell, int, int | None], EpisodeRecord]
"""(cell, episode, root seed or None for the suite's) -> the record of that episode, played now."""


@dataclass(frozen=True)
class Wanted:
    """How the policy is played again. `share` 0: not at all. `draw`: the seed of what is drawn.

    `policy`: a server's URL, a file or a name, in place of the archive's checkpoint.
    """

    share: float
    draw: int
    policy: str = ""


class CannotPlay(AltbenchError):
    """The archive holds nothing that can be played here."""


def policy_findings(contents: Contents, wanted: Wanted, renderer: str, progress: Progress) -> list[Finding]:
    """Play drawn and held-out episodes; return the findings on both."""
    if wanted.share <= 0:
        return [Finding(check=c, state="unknown", text="Not asked for.") for c in ("policy", "held-out seeds")]
    here = collect(renderer=renderer)
    try:
        with _player(contents, wanted.policy) as play:
            drawn = draw(contents, wanted)
            fresh = _fresh_cells(contents)
            held = max(LEAST_DRAWN, math.ceil(len(drawn) / 2)) if fresh else 0
            total = len(drawn) + held * len(fresh)
            played = []
            for done, (cell, record) in enumerate(drawn, 1):
                played.append((cell, record, play(cell, record.episode, None)))
                progress(done, total)
            root = _held_out_root(wanted.draw)
            results = []
            for place, cell in enumerate(fresh):
                for index in range(held):
                    results.append((cell, play(cell, index, root)))
                    progress(len(drawn) + place * held + index + 1, total)
    except CannotPlay as error:
        return [Finding(check=c, state="unknown", text=str(error)) for c in ("policy", "held-out seeds")]
    made_by = load_fingerprint(contents.opened.folder)
    on_cpu = all(cell.spec.device == "cpu" for cell, _, _ in played)
    exact = not wanted.policy and on_cpu and made_by is not None and same_class(made_by, here)
    return [_compared(contents, played, exact), *_held_out(results)]


def same_class(first: Fingerprint, second: Fingerprint) -> bool:
    """Return whether two machines give the same numbers to the bit: processor, packages, system, renderer."""
    names = ("cpu", "os", "renderer", "python", "gpu")
    packages = [{k: v for k, v in one.packages.items() if k != "altbench"} for one in (first, second)]
    return (
        not (first.mixed or second.mixed)
        and packages[0] == packages[1]
        and all(getattr(first, n) == getattr(second, n) for n in names)
    )


def draw(contents: Contents, wanted: Wanted) -> list[tuple[PlayedCell, EpisodeRecord]]:
    """Return the episodes to be played again, drawn from all that the policy played."""
    pool = [(c, e) for c in contents.cells for e in c.episodes if e.status != "unsupported"]
    count = min(len(pool), max(LEAST_DRAWN, math.ceil(wanted.share * len(pool))))
    rng = np.random.default_rng([wanted.draw, 0])
    return [pool[i] for i in sorted(rng.choice(len(pool), count, replace=False).tolist())]


def _held_out_root(seed: int) -> int:
    return int(np.random.default_rng([seed, 1]).integers(1, 2**62))


def _fresh_cells(contents: Contents) -> list[PlayedCell]:
    """Return the cells whose policies play held-out seeds: one per checkpoint."""
    return [cell for cell in contents.cells if cell.is_clean and cell.spec.split == FRESH_SPLIT]


@contextmanager
def _player(contents: Contents, named: str) -> Iterator[Play]:
    """Yield a function that plays an episode of a cell; policies and environments end with the block."""
    made: dict[str, tuple[Policy, gymnasium.Env[Any, Any]]] = {}

    def play(cell: PlayedCell, episode: int, root: int | None) -> EpisodeRecord:
        if cell.header.key not in made:
            made[cell.header.key] = _ready(contents, cell, named)
        policy, env = made[cell.header.key]
        set_threads(cell.spec.threads)
        plans = cell.plans(contents.shown, root, perturbed=True)
        return run_episode(env, policy, plans[episode], cell.spec.timeout)

    try:
        yield play
    finally:
        for policy, env in made.values():
            env.close()
            policy.close()


def _ready(contents: Contents, cell: PlayedCell, named: str) -> tuple[Policy, gymnasium.Env[Any, Any]]:
    """Return a cell's policy, ready to act, and the environment that it needs."""
    manifest = contents.manifest
    point = next(one for one in manifest.points if one.key == cell.spec.checkpoint)
    plain = find_target(named, point.task).policy if named else _from_archive(contents.opened.folder, point, cell)
    policy = adapted(plain, as_adapter(json.loads(point.specification).get("adapter")))
    try:
        env = make_env(
            registry.task(point.task),
            policy.requirements,
            manifest.image_size,
            manifest.render_profile,
            cell.spec.horizon,
        )
    except BaseException:
        policy.close()
        raise
    return policy, env


def _from_archive(folder: Path, point: Point, cell: PlayedCell) -> Policy:
    """Return the policy that an archive holds. Only built-in code runs; CannotPlay if that does not suffice."""
    if point.policy not in registry.BUILT_IN["policy"]:
        raise CannotPlay(
            f"The policy {point.policy!r} is not one of altbench's, and no code of an archive is run; name it with "
            "--policy (a server's URL, or ./file.py:Class that you trust)."
        )
    config = {**point.config, **cell.spec.config}
    if config.get("trust") or names_files(config):
        raise CannotPlay("Its settings name files of a machine, which are not read; name the policy with --policy.")
    runtime = registry.policy(point.policy).runtime_fields
    own = {name: value for name, value in cell.spec.config.items() if name in runtime}
    try:
        if not point.trainable:
            policy = build_policy(point.task, point.policy, cell.spec.config, point.name)
            policy.place("cpu")
            return policy
        if not point.folder:
            raise CannotPlay("The archive holds no checkpoint (`altbench submit pack --with-checkpoint`).")
        return load_checkpoint(_checked_folder(folder, point), "cpu", own)
    except CannotPlay:
        raise
    except (AltbenchError, OSError, ValueError, KeyError) as error:
        raise CannotPlay(f"The checkpoint cannot be loaded: {' '.join(str(error).split())[:300]}") from None


def _checked_folder(folder: Path, point: Point) -> Path:
    """Return a checkpoint's folder in an archive; CannotPlay if it, or a file of it, lies elsewhere."""
    check_name(point.folder, point.name)
    place = folder / point.folder
    card = read_card(place)
    if (card.policy, card.key, card.task) != (point.policy, point.key, point.task):
        raise CannotPlay(f"{point.folder}: the checkpoint of another policy.")
    if names_files(card.config) or card.config.get("trust"):
        raise CannotPlay("Its settings name files of a machine, which are not read; name the policy with --policy.")
    for name in card.files:
        check_name(name, point.folder)
    return place


def _compared(
    contents: Contents, played: Sequence[tuple[PlayedCell, EpisodeRecord, EpisodeRecord]], exact: bool
) -> Finding:
    """Return the finding on drawn episodes: to the bit on the same class of machine, else by a sign test."""
    total, count = contents.episodes, len(played)
    lost = [(c, r) for c, r, p in played if r.success and not p.success]
    gained = [(c, r) for c, r, p in played if p.success and not r.success]
    names = [f"{c.header.name}, episode {r.episode}: recorded as a success, played again it fails" for c, r in lost]
    if exact:
        differ = [
            f"{c.header.name}, episode {r.episode}: played again, it goes otherwise ({_difference(r, p)})"
            for c, r, p in played
            if _difference(r, p)
        ]
        rates = _odds(lambda share: odds.caught_exactly(total, count, share))
        return judged(
            "policy",
            differ,
            f"{count} drawn episodes of {total}, played again, are the same to the bit. {rates}",
        )
    rate = sum(r.success for _, r, _ in played) / count
    rates = _odds(lambda share: odds.caught_statistically(total, count, share, max(0.0, rate - share)))
    p = odds.sign_p(len(lost), len(gained))
    text = (
        f"{count} drawn episodes of {total}, played again on another class of machine: {len(lost)} successes lost, "
        f"{len(gained)} gained (one-sided sign test, p = {p:.3g}). {rates}"
    )
    failed = [text, *names] if p < odds.LEVEL else []
    return judged("policy", failed, text)


def _difference(recorded: EpisodeRecord, played: EpisodeRecord) -> str:
    """Return how two records of one episode differ; empty: to the bit, they do not."""
    if recorded.status != played.status or recorded.success != played.success:
        return f"{recorded.status} {recorded.success}, now {played.status} {played.success}"
    for number, (first, second) in enumerate(zip(recorded.trajectory, played.trajectory, strict=False), 1):
        if not np.array_equal(np.array(first.action, np.float32), np.array(second.action, np.float32)):
            return f"another action at step {number}"
    if len(recorded.trajectory) != len(played.trajectory):
        return f"{len(recorded.trajectory)} steps, now {len(played.trajectory)}"
    scores = [[(d.ood_score, d.is_ood) for d in one.decisions] for one in (recorded, played)]
    return "" if scores[0] == scores[1] else "other scores or flags"


def _odds(caught: Callable[[float], float]) -> str:
    """Say how likely this draw finds a fraud, for some shares of invented episodes."""
    first, *rest = [(f"{percentage(share)} %", f"{percentage(caught(share))} %") for share in FRAUDS]
    more = "".join(f", of {share} with {chance}" for share, chance in rest)
    return f"Such a draw finds a fraud of {first[0]} of the episodes with a probability of {first[1]}{more}."


def _held_out(results: Sequence[tuple[PlayedCell, EpisodeRecord]]) -> list[Finding]:
    """Return the finding on held-out seeds: are recorded episodes easier than fresh ones?"""
    if not results:
        text = f"No unperturbed episodes of {FRESH_SPLIT}."
        return [Finding(check="held-out seeds", state="unknown", text=text)]
    cells = list({cell.header.key: cell for cell, _ in results}.values())
    own = [episode for cell in cells for episode in cell.episodes]
    won, fresh = sum(e.success for e in own), sum(record.success for _, record in results)
    p = odds.higher_p(won, len(own), fresh, len(results))
    rate = won / len(own)
    chances = [
        f"by {100 * share:.0f} points with a probability of "
        f"{percentage(odds.caught_by_fresh(len(own), len(results), rate, rate - share))} %"
        for share in FRAUDS
        if rate >= share
    ]
    found = f" A recorded rate that is too high is found out: {', '.join(chances)}." if chances else ""
    text = (
        f"On {len(results)} held-out seeds of {FRESH_SPLIT}, {fresh} succeed; recorded: {won} of {len(own)} "
        f"(one-sided exact test, p = {p:.3g}).{found}"
    )
    return [judged("held-out seeds", [text] if p < odds.LEVEL else [], text)]
