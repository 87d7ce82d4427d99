"""A policy file may import the modules beside it; their bytes are part of its key."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from altbench.core import neighbours, policy_files, registry
from altbench.core.errors import ConfigError

POLICY = "import helper\nfrom nets.mlp import WIDTH\n\ndef answer():\n    return helper.VALUE, WIDTH\n"


def lay(folder: Path, **files: str) -> Path:
    """Write modules (`nets_mlp` is nets/mlp.py); return the policy's, `mine.py`."""
    for name, text in files.items():
        path = folder / f"{name.replace('_', '/').replace('INIT', '__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "mine.py"


def loaded(file: Path) -> ModuleType:
    return neighbours.load(neighbours.find_neighbours(file))


def digest(file: Path) -> str:
    return policy_files.digest(f"{file}:Mine")


@pytest.mark.parametrize(
    "text",
    [
        "import helper\nX = helper.VALUE",
        "import helper as h\nX = h.VALUE",
        "from helper import VALUE as X",
        "from helper import *\nX = VALUE",
        "from . import helper\nX = helper.VALUE",
        "from .helper import VALUE as X",
        "import math, helper, json\nX = helper.VALUE + math.floor(0.5)",
        "def late():\n    import helper\n    return helper.VALUE\nX = late()",
        "try:\n    from no_such_thing import X\nexcept ImportError:\n    from helper import VALUE as X",
        "import nets.deep.mlp\nX = nets.deep.mlp.VALUE",
        "import nets.deep.mlp as m\nX = m.VALUE",
        "from nets.deep import mlp\nX = mlp.VALUE",
        "from .nets.deep.mlp import VALUE as X",
        "from bare.part import VALUE as X",
        "import middle\nX = middle.VALUE",
    ],
)
def test_every_way_to_import_a_neighbour_works_and_is_part_of_the_key(tmp_path: Path, text: str) -> None:
    value = "VALUE = 41\n"
    others = {
        "nets_INIT": "",
        "nets_deep_INIT": "from .mlp import VALUE",
        "middle": "from helper import VALUE",
    }
    file = lay(tmp_path, mine=text, helper=value, nets_deep_mlp="from helper import VALUE", bare_part=value, **others)
    assert loaded(file).X == 41
    before = digest(file)
    for path in tmp_path.rglob("*.py"):
        if "VALUE = 41" in path.read_text():
            path.write_text("VALUE = 42\n")
    assert digest(file) != before
    assert loaded(file).X == 42  # also in the same process


def test_a_file_without_neighbours_keeps_its_key(tmp_path: Path) -> None:
    file = lay(
        tmp_path, mine="import json, numpy\nfrom altbench.api import Policy\n", unrelated="", json="raise SystemExit"
    )
    shutil.copytree(Path(neighbours.__file__).parents[2] / "altbench" / "stats", tmp_path / "altbench")
    assert digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert loaded(file).Policy is sys.modules["altbench.api"].Policy and loaded(file).json.dumps(1) == "1"


def test_only_what_is_imported_is_in_the_key_and_where_it_lies_is_not(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    file = lay(one, mine=POLICY, helper="VALUE = 1", nets_mlp="WIDTH = 2", unrelated="1")
    before = digest(file)
    lay(one, unrelated="2", nets_unrelated="3")
    shutil.copytree(one, other)
    assert digest(file) == digest(other / "mine.py") == before
    lay(one, nets_INIT="")
    assert digest(file) != before


def test_neighbours_of_one_name_in_two_folders_do_not_mix(tmp_path: Path) -> None:
    files = [
        lay(tmp_path / f"{value}", mine=POLICY, helper=f"VALUE = {value}", nets_mlp=f"WIDTH = {value}")
        for value in (1, 2)
    ]
    first, second = map(loaded, files)
    assert first.answer() == (1, 1) and second.answer() == (2, 2) and loaded(files[0]) is first
    assert "helper" not in sys.modules and "nets" not in sys.modules


def test_a_rows_key_holds_the_digest_and_a_registered_policys_none(tmp_path: Path) -> None:
    file = lay(tmp_path, mine=POLICY, helper="", nets_mlp="")
    assert registry.source("policy", f"{file}:Mine") == neighbours.find_neighbours(file).digest
    assert registry.source("policy", "alt") == ""


def test_a_folder_is_no_neighbour_of_an_installed_package_of_its_name(tmp_path: Path) -> None:
    file = lay(tmp_path, mine="import yaml, torch\n", torch_notes="", helper="")
    (tmp_path / "yaml").mkdir()
    assert neighbours.find_neighbours(file).modules == {}


def test_a_neighbour_may_import_the_policy_file(tmp_path: Path) -> None:
    file = lay(tmp_path, mine="X = 3\nimport helper", helper="from mine import X as Y")
    module = loaded(file)
    assert module.helper.Y == 3 and list(neighbours.find_neighbours(file).modules) == ["helper"]


def test_classes_find_their_module_and_errors_their_line(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nimport helper\nclass Mine:\n    pass\ndef fail():\n    raise KeyError\n"
    module = loaded(lay(tmp_path, mine=text, helper=""))
    assert sys.modules[module.Mine.__module__] is module
    assert module.fail.__code__.co_filename == str(tmp_path / "mine.py") and module.fail.__code__.co_firstlineno == 5


def test_a_neighbour_that_no_statement_names_is_refused(tmp_path: Path) -> None:
    file = lay(tmp_path, mine="import importlib\nm = importlib.import_module('.helper', __package__)\n", helper="")
    with pytest.raises(
        ConfigError, match=r"'helper' beside mine\.py is not named by an import statement.*`import helper`"
    ):
        policy_files.load(f"{file}:Mine")


@pytest.mark.parametrize(
    "text", ["import helpr", "from helper import missing", "from .. import helper", "import broken"]
)
def test_an_import_that_fails_says_so_and_leaves_nothing(tmp_path: Path, text: str) -> None:
    file = lay(tmp_path, mine=f"{text}\nclass Mine: pass\n", helper="", broken="import no_such_module")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine\.py cannot be loaded: (ModuleNotFound|Import)Error"):
            policy_files.load(f"{file}:Mine")
    package = neighbours.find_neighbours(file).package
    assert not [name for name in sys.modules if name.startswith(package)]


def test_a_missing_module_is_answered_with_what_may_be_imported(tmp_path: Path) -> None:
    file = lay(tmp_path, mine="import helpr\n", helper="")
    with pytest.raises(ConfigError, match=rf"what is installed, and the modules in its own folder, {tmp_path}"):
        policy_files.load(f"{file}:Mine")


def test_pythons_own_cache_of_a_neighbour_is_neither_read_nor_written(tmp_path: Path) -> None:
    file = lay(tmp_path, mine=POLICY, helper="from nets.mlp import WIDTH as VALUE", nets_mlp="WIDTH = 5")
    plain = [sys.executable, "-c", "import mine; print(*mine.answer())"]
    for _ in range(2):
        assert loaded(file).answer() == (5, 5)
        done = subprocess.run(plain, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == "5 5\n"


def test_workers_import_the_same(tmp_path: Path) -> None:
    file = lay(tmp_path, mine=f"{POLICY}\nMine = answer", helper="VALUE = 6", nets_mlp="WIDTH = 7")
    code = f"from altbench.core import policy_files\nprint(*policy_files.load('{file}:Mine')())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "6 7\n" and loaded(file).answer() == (6, 7)


def test_a_file_is_parsed_once_for_the_same_bytes_and_its_folder_is_looked_at_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    parse = neighbours.ast.parse
    monkeypatch.setattr(neighbours.ast, "parse", lambda source: parsed.append(source) or parse(source))
    file = lay(tmp_path, mine="import comes_later\n")
    assert digest(file) == digest(file) == hashlib.sha256(b"import comes_later\n").hexdigest()
    found = {digest(file)}
    (tmp_path / "comes_later.py").write_text("LATER = 1\n")
    found |= {digest(file), digest(file)}
    (tmp_path / "comes_later.py").write_text("LATER = 2\n")
    found |= {digest(file), digest(file)}
    assert len(found) == 3 and parsed == [b"import comes_later\n", b"LATER = 1\n", b"LATER = 2\n"]
