"""Damaged data sets of LeRobot: whatever happens to them, an import reads them or refuses them in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot_sets import export
from state_viewers import TinyViewer

from altbench.core import registry
from altbench.core.demonstration import ImportOptions
from altbench.core.errors import AltbenchError, DatasetError
from altbench.dataset.recognising import recognise
from altbench_demos.formats import lerobot_film

FILES = (
    "meta/info.json",
    "meta/altbench.json",
    "meta/tasks.parquet",
    "meta/stats.json",
    "meta/episodes/chunk-000/file-000.parquet",
    "data/chunk-000/file-000.parquet",
    "videos/observation.images.agentview/chunk-000/file-000.mp4",
    "videos/observation.images.wrist/chunk-000/file-000.mp4",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lerobot") / "tiny"
    export(folder)
    return folder


def imported(folder: Path) -> str:
    """Import the data set; return the refusal, empty if all of it was read."""
    try:
        recognise(folder, task="Lift")  # the tiny task is not registered
        recording = registry.importer("lerobot")(folder, TinyViewer(), ImportOptions())
        list(recording.demonstrations)
    except AltbenchError as error:
        return str(error)
    return ""


def copied(sound: Path) -> Path:
    folder = sound.with_name("damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    return folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_bytes_that_are_lost_or_changed_are_refused_in_one_line(sound: Path, data: st.DataObject) -> None:
    folder = copied(sound)
    path = folder / data.draw(st.sampled_from(FILES))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(("lost", "cut", "flipped", "replaced", "inserted")))
    if kind == "lost":
        path.unlink()
    else:
        path.write_bytes(
            {
                "cut": content[:place],
                "flipped": content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :],
                "replaced": data.draw(st.binary(max_size=64)),
                "inserted": content[:place] + data.draw(st.binary(min_size=1, max_size=16)) + content[place:],
            }[kind]
        )
    said = imported(folder)
    assert "\n" not in said and len(said) < 2000
    if kind == "lost" and path.suffix == ".mp4":
        assert path.name in said


def test_a_film_that_is_cut_anywhere_is_refused(sound: Path, tmp_path: Path) -> None:
    """Cut within its header, it has a stream that FFmpeg has no decoder for."""
    content = (sound / FILES[-2]).read_bytes()
    for place in range(0, len(content), 5):
        cut = tmp_path / "cut.mp4"
        cut.write_bytes(content[:place])
        with pytest.raises(DatasetError, match=r"cut\.mp4"):
            lerobot_film.read(cut, (16, 16), [0.0, 10.0], 20.0)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_settings_of_any_kind_are_refused_in_one_line(sound: Path, data: st.DataObject) -> None:
    folder = copied(sound)
    path = folder / data.draw(st.sampled_from(("meta/info.json", "meta/altbench.json")))
    content = json.loads(path.read_text())
    table: Any = content
    if "features" in content and data.draw(st.booleans()):
        table = content["features"]
        if data.draw(st.booleans()):
            table = table[data.draw(st.sampled_from(sorted(table)))]
    key = data.draw(st.sampled_from(sorted(table)))
    if data.draw(st.booleans()):
        del table[key]
    else:
        table[key] = data.draw(VALUES)
    path.write_text(json.dumps(content))
    assert "\n" not in imported(folder)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_episodes_that_name_other_places_are_refused_in_one_line(sound: Path, data: st.DataObject) -> None:
    folder = copied(sound)
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    key = data.draw(st.sampled_from(sorted(k for k, v in rows[1].items() if isinstance(v, int | float))))
    kind = int if isinstance(rows[1][key], int) else float
    wrong = st.integers(-3, 2**40) if kind is int else st.floats()
    for row in rows:
        row[key] = kind(data.draw(wrong))
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert "\n" not in imported(folder)


@pytest.mark.parametrize("version", ["v2.1", "v2.0", "v1.6", "v9", 3, None])
def test_another_version_is_named_with_what_converts_it(sound: Path, version: object) -> None:
    folder = copied(sound)
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps({**info, "codebase_version": version}))
    with pytest.raises(DatasetError) as caught:
        registry.importer("lerobot")(folder, TinyViewer(), ImportOptions())
    said = str(caught.value)
    assert "expected codebase_version v3.0" in said and "\n" not in said
    assert ("convert_dataset_v21_to_v30" in said) == (version == "v2.1")
