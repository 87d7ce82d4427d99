"""What each experiment's numbers do not carry, as its report says.

A table is about the checkpoints, demonstrations and episodes that it was made of. These
texts say where a reader would take it for more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

SIZES = {"small": "5.8 million", "paper": "278 million"}
"""Parameters of the diffusion policy at each preset."""
SMALL = f"At `small`, `diffusion` is one checkpoint of {SIZES['small']} parameters; the paper's has {SIZES['paper']}."
"""Stands beside each claim on the diffusion policy."""
ONE = (
    "One checkpoint per row and one set of demonstrations: intervals are about other poses, not about other trainings."
)
TUNED = "Settings of ALT and ALT+ were chosen on seed 0, whose demonstrations and first 50 episodes these are."
FRESH = "No setting was chosen on these demonstrations."
CHOSEN_ON = (0, 1)
"""Data seeds on which settings of lookups were chosen or confirmed."""

LIMITS: Mapping[str, str] = {
    "E1": "One model per cell, one seed. The tolerance of 0.05 is not related to the spacing of the points: with large"
    " data all of the curve is at training points, so that no model could be called a table there.",
    "E2": f"{ONE} {{tuned}} {SMALL} `act` at `small` sees no pose of the arm and predicts chunks of 8: it cannot contradict"
    " the paper's order of diffusion and ACT. The highest S grows with the number of episodes. Motions of whole episodes"
    " are compared; the paper's claim is about chunks of actions.",
    "E3": f"{ONE} {{tuned}} {SMALL} All demonstrations are of one scripted expert with one way of doing the task, one on"
    " each pose. On Lift networks are near the ceiling: it ranks lookups against networks, and"
    " hardly ranks networks. `blind` is told which demonstration is the right one. `act` at `small` sees no pose of"
    " the arm and predicts chunks of 8. `bc_rnn_gmm` does"
    " not fit its own training frames at `small`, and has no row. The rows beside the paper compare under one name what"
    " differs: at `small`, ALT follows the demonstration that a second key finds, which learns to tell demonstrations"
    " apart (the paper looks among all frames at each decision, as the preset `nearest` does); it has chunks of 8 (30"
    " there), a CNN that was not trained on ImageNet, and thumbnails for 30 % of its similarity. The paper's KD-tree is"
    " unknown; its recall is of images, ours of episodes. Times are the median of"
    " few decisions on a shared machine; two such runs differed by up to 1.7 times.",
    "E4": "Each key is one network, trained once: differences between rows are of these networks, and not of `jitter` or"
    " `views side by side`. The perturbations were chosen because keys differed there. `ResNet-18` is a quarter as wide"
    " as the paper's and trained from scratch; the small CNN is not the paper's. The paper's number is of one image per"
    " position, ours of whole episodes.",
    "E5": f"{ONE} {SMALL} Where it solves few episodes, this is no test of whether it recalls; training.json says how"
    " often it saw the frames.",
    "E6": f"{ONE} {{tuned}} A cube that is moved by a distance stands at a new pose. A lookup solves few new poses without"
    " any move (E3, `uniform`), so that its share there says nothing of reactivity. The move between demonstrated poses"
    " tests that, beside `recall`. " + SMALL,
    "E7": "With four demonstrations of each pose and three matches this outcome is close to certain by construction. The"
    " expert has one way of doing the task: nothing here is about multimodal behaviour.",
    "E8": "One key, trained once, on one set of demonstrations.",
    "E9": f"{ONE} {{tuned}} {SMALL} A nearest demonstration always exists, also for the control that does not move at all"
    " (`alt-hold`): the first table does not show that a policy falls back on a demonstration. There are twelve"
    " photographs, so that 100 episodes are fewer than 100 independent images. What ALT's flag owes to its thumbnails is"
    " told of one network; `ood` tells flags at calibrated thresholds.",
    "ood": f"{ONE} {{tuned}} There are twelve photographs, so that 100 episodes are fewer than 100 independent images. An"
    " AUROC of 1.000 with the interval [1.000, 1.000] is separation in this sample. ALT's own threshold is that of a"
    " left-out place, and flags fewer `recall` episodes than asked; the calibrated one is set on episodes of `calibrate`.",
    "robustness": f"{ONE} {{tuned}} {SMALL}",
    "scaling": "Three training seeds share one set of demonstrations. From 30 on, more"
    " demonstrations repeat the same 30 poses, and with 10 there are ten: it shows repetition, not more poses. `recall`"
    " at N = 10 is of ten poses and at 30 of thirty, so that its columns are different tests. " + SMALL,
}
"""Experiment's id -> what its report says of its limits."""
EPISODES = "Every episode is in [episodes.parquet](episodes.parquet)."


def sized(summary: str, preset: str) -> str:
    """Return a report's answer with the size of the diffusion policy, if it names one without it."""
    if "diffusion" not in summary or "million parameters" in summary:
        return summary
    return f"{summary} The diffusion policy has {SIZES[preset]} parameters."


def chosen_on(data_seeds: Collection[int]) -> str:
    """Say whether settings were chosen on the demonstrations of these data seeds."""
    return TUNED if set(data_seeds) & set(CHOSEN_ON) else FRESH


def limits(identity: str, episodes: bool, data_seeds: Collection[int] = (0,)) -> list[str]:
    """Return the paragraphs of a report's section on limits; empty for a new experiment.

    `episodes`: whether the report's folder has them. `data_seeds`: those of the
    demonstrations.
    """
    text = LIMITS.get(identity, "").replace("{tuned}", chosen_on(data_seeds))
    return ["## What this does not carry", text, *([EPISODES] if episodes else [])] if text else []
