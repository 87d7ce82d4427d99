"""Reading an adapter: what is refused, in which words, and what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from altbench.adapters.spec import Adapter, check_adapter, read_adapter
from altbench.adapters.writing import to_toml, write_adapter
from altbench.core.errors import ConfigError
from altbench.core.policy import Requirements
from altbench.core.task import TaskInfo

TASK = TaskInfo("Any", 1, 10, 1, ("x",))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "adapter.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[images]\nordr = "bgr"\n', "unknown key 'images.ordr'; did you mean 'order'?"),
        ('[imges]\norder = "bgr"\n', "unknown key 'imges'; did you mean 'images'?"),
        ('[images]\norder = "grb"\n', "images.order: expected"),
        ('[state]\norder = ["position", "position"]\n', "expected each part at most once"),
        ("[actions]\ngripper = [1, 1]\n", "expected two different numbers, for open and for closed"),
        ('[actions]\nposition = "min_max"\n', "needs `low` and `high`"),
        ('[actions]\nframe = "end_effector"\n', 'expected reference = "pose"'),
        ('[state]\nframe = "base"\n', "needs `base`"),
        ("[actions]\noffset = 9\n", "actions.offset: expected a number up to 8"),
        ("[images\n", "not valid TOML"),
    ],
)
def test_a_wrong_adapter_is_refused_in_one_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_adapter(written(tmp_path, text))
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_adapter(tmp_path / "none.toml")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read_adapter(written(tmp_path, "")).is_identity


def test_what_is_written_is_read_as_the_same_adapter(tmp_path: Path) -> None:
    adapter = Adapter.model_validate(
        {
            "images": {"order": "bgr", "size": (96, 128), "flip_vertical": True},
            "cameras": {"observation.images.top": "agentview"},
            "state": {"order": ["rotation", "position"], "frame": "base"},
            "actions": {"position": "min_max", "low": (0, 0, 0), "high": (1, 1, 1), "gripper": (1, 0)},
            "base": (-0.56, 0, 0.912),
        }
    )
    write_adapter(tmp_path / "adapter.toml", adapter)
    assert read_adapter(tmp_path / "adapter.toml") == adapter
    assert '"observation.images.top" = "agentview"' in to_toml(adapter)


def test_cameras_that_do_not_exist_are_refused_on_both_sides() -> None:
    needs = Requirements(("front", "hand"))
    with pytest.raises(
        ConfigError, match=r"me: adapter: cameras: the policy takes no image 'frnt'; did you mean 'front'"
    ):
        check_adapter(Adapter(cameras={"frnt": "agentview"}), needs, TASK, "me")
    with pytest.raises(ConfigError, match=r"unknown camera 'wrst'; did you mean 'wrist'"):
        check_adapter(Adapter(cameras={"front": "wrst"}), needs, TASK, "me")
