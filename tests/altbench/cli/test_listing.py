"""`altbench list` and `altbench show`: what there is, and what each of it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fakes
import pytest
from typer.testing import CliRunner

from altbench import experiments
from altbench.cli import app
from altbench.cli.listing import KINDS, names
from altbench.cli.show import options_text, type_text
from altbench.core import registry
from altbench.core.docstrings import first_line, meanings
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.spec import Spec
from altbench.sweeps.spec import list_sweeps


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app.app, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def flat(*arguments: str) -> str:
    return " ".join(shown(*arguments).replace("│", " ").split())


def test_every_name_is_listed_with_a_sentence() -> None:
    for kind, known in (
        ("tasks", registry.BUILT_IN["task"]),
        ("policies", registry.BUILT_IN["policy"]),
        ("perturbations", registry.BUILT_IN["perturbation"]),
        ("sweeps", list_sweeps()),
        ("experiments", experiments.EXPERIMENTS),
    ):
        found = names(kind)
        assert set(known) <= set(found)
        assert [name for name in known if len(found[name]) < 10] == []


def test_the_list_of_everything_is_short_and_imports_no_policy() -> None:
    code = (
        "import sys; from altbench.cli.listing import list_everything; list_everything(None);"
        "print(*[m for m in ('torch', 'robosuite', 'pandas', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []
    lines = done.stdout.splitlines()
    assert len(lines) < 120
    built_in = [name for kind in ("task", "policy", "perturbation") for name in registry.BUILT_IN[kind]]
    every = [*built_in, *list_sweeps(), *experiments.EXPERIMENTS]
    assert [name for name in every if not any(line.split()[:1] == [name] for line in lines)] == []


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_has_a_table_of_its_own(kind: str) -> None:
    text = shown("list", kind)
    assert [name for name in names(kind) if name not in text] == []


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown kind of names 'polices'; did you mean 'policies'"):
        shown("list", "polices")


def test_a_package_that_cannot_be_loaded_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._REGISTERED["policy"], "broken", "no_such_module:Policy")
    text = flat("list", "policies")
    assert "broken" in text and "cannot be loaded" in text and "diffusion" in text
    assert "broken" in shown("list")


@pytest.mark.parametrize("policy", list(registry.BUILT_IN["policy"]))
def test_every_setting_of_a_built_in_policy_has_a_meaning(policy: str) -> None:
    said = meanings(registry.policy(policy).config_type)
    assert [setting for setting, meaning in said.items() if len(meaning) < 8] == []


def test_a_policys_settings_are_shown_with_type_default_and_meaning() -> None:
    text = flat("show", "kdtree")
    assert 'observation "pixels" | "pose" | "both" "pixels" what is compared.' in text
    assert "side int >= 1 21" in text and "top_k* int >= 1 3 number of matches reported." in text
    assert "* serves one fit at every value." in text
    assert "compact width = 0.5" not in text and "encoder = " in flat("show", "alt")


def test_a_policy_of_ones_own_is_shown(tmp_path: Path) -> None:
    from altbench.cli.starting_points import write

    (path, _), _ = write("policy", "OwnPolicy", tmp_path)
    assert "action_horizon int 8 Ta, the actions that are executed" in flat("show", f"{path}:OwnPolicy")


def test_a_task_is_shown_with_spaces_ranges_splits_and_its_rule_of_success() -> None:
    text = flat("show", "Lift")
    for told in (
        "the cube's centre is 4 cm above the table",
        "80 control steps, 4 s at 20 Hz",
        "float32 (11,)",
        "ee_pose, float32 (10,)",
        "x -0.14 to 0.14, y -0.14 to 0.14, yaw -0.785 to 0.785",
        "replay, recall, uniform, grid, interpolate",
    ):
        assert told in text


def test_a_task_that_states_no_ranges_is_shown_without() -> None:
    fakes.register()
    text = flat("show", "Fake")
    assert "40 control steps" in text and "range" not in text


def test_a_perturbations_options_are_those_that_it_takes() -> None:
    assert options_text(registry.perturbation("photograph")) == "folder"
    assert options_text(registry.perturbation("fog")) == "none"
    text = flat("show", "camera_pose")
    assert "changes the scene" in text and "those that the sweep names" in text


def test_a_sweep_and_an_experiment_are_shown_by_rows_and_columns(tmp_path: Path) -> None:
    text = flat("show", "quick")
    assert "alt-hold alt small 30 train_steps = 150, when_ood" in text
    assert "recall brightness 2, 5 10 alt, alt-hold, bc, diffusion; n = 30" in text
    assert "`altbench experiments plan E3`" in shown("show", "main-table")
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\ntasks = ["Lift"]\npolicies = [{policy = "bc"}]\nevaluations = [{split = "grid"}]\n')
    assert "grid clean 40 all rows" in flat("show", str(path))


def test_a_name_of_two_kinds_is_shown_as_both() -> None:
    text = shown("show", "alt_plus")
    assert "policy alt_plus" in text and "sweep alt_plus" in text


@pytest.mark.parametrize(
    ("name", "near"),
    [("liftt", "Lift"), ("difusion", "diffusion"), ("bright", "brightness"), ("main-tabel", "main-table")],
)
def test_an_unknown_name_gets_the_nearest_of_any_kind(name: str, near: str) -> None:
    with pytest.raises(
        ConfigError, match=f"unknown name '{name}'; did you mean '{near}'.*`altbench list` shows all names"
    ):
        shown("show", name)


class _Base(Spec):
    """Settings. `first`, `second`: two of a kind. `third` is said in a sentence."""

    first: int = 1
    second: int = 2
    third: float = 3.0


class _Derived(_Base):
    """More settings; `first` is mentioned here.

    `own`: "a" does one thing. "b" does `other` things. `other` counts.
    """

    own: str = "a"
    other: int = 0
    silent: bool = False


def test_meanings_come_from_definitions_then_mentions_and_may_be_missing() -> None:
    assert meanings(_Derived) == {
        "first": "two of a kind.",
        "second": "two of a kind.",
        "third": "`third` is said in a sentence.",
        "own": '"a" does one thing. "b" does `other` things.',
        "other": '"b" does `other` things.',
        "silent": "",
    }


def test_types_are_written_as_one_reads_them() -> None:
    fields = registry.policy("diffusion").config_type.model_fields
    assert type_text(fields["train_steps"]) == "int | none >= 0"
    assert type_text(fields["dropout"]) == "float >= 0, < 1"
    assert type_text(fields["widths"]) == "list of int"
    assert type_text(fields["betas"]) == "[float, float]"


def test_first_lines_are_read_from_the_source_or_the_class() -> None:
    assert first_line("fakes:FakeTask") == "A point in a cube that must reach a target."
    assert first_line(fakes.FakeTask) == first_line("fakes:FakeTask")
    assert first_line("no_such_module:X") == "" and first_line("fakes:NoSuchClass") == ""
