"""One module prints: nothing else calls rich in a way that reads users' text as markup."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

HELPER = Path("system/console.py")
FORBIDDEN_METHODS = {"print", "print_json", "rule", "status", "from_markup", "render_str"}
HARMLESS = {
    "rich.cells.cell_len",
    "rich.cells.chop_cells",
    "rich.console.Group",
    "rich.progress.TaskID",
    "rich.text.Text",
}
"""What other modules may call of rich: neither of them reads markup."""
PACKAGES = ("altbench", "altbench_envs", "altbench_policies", "altbench_demos")


def from_rich(tree: ast.Module) -> dict[str, str]:
    """Return local name -> full name of everything that a module imports from rich."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rich":
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            own = [alias for alias in node.names if alias.name.partition(".")[0] == "rich"]
            found |= {(alias.asname or alias.name.partition(".")[0]): alias.name for alias in own}
    return found


def bare_calls(source: str) -> Iterator[str]:
    """Yield the calls of a module that only the helper may make, with their lines."""
    tree = ast.parse(source)
    names = from_rich(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        first = called
        while isinstance(first, ast.Attribute):
            first = first.value
        rich = isinstance(first, ast.Name) and first.id in names and names[first.id] not in HARMLESS
        method = isinstance(called, ast.Attribute) and called.attr in FORBIDDEN_METHODS
        if rich or method:
            yield f"line {node.lineno}: {ast.unparse(called)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_helper_prints_with_rich(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    root = Path(spec.origin).parent
    helper = root / HELPER if package == "altbench" else None
    found = {
        str(path.relative_to(root)): calls
        for path in sorted(root.rglob("*.py"))
        if path != helper and (calls := list(bare_calls(path.read_text(encoding="utf-8"))))
    }
    assert found == {}, "call altbench.system.console.say, show or FittingTable instead"


@pytest.mark.parametrize(
    "source",
    [
        "console.print(f'{label}')",
        "self.console.print(text)",
        "from rich.console import Console\nConsole()",
        "from rich.table import Table as RichTable\nRichTable(title=name)",
        "from rich import progress as bars\nbars.TextColumn(what)",
        "import rich\nrich.print(name)",
        "from rich import print as show\nshow(name)",
        "from rich.text import Text\nText.from_markup(name)",
        "with console.status(f'{task}'): pass",
    ],
)
def test_the_check_sees_each_way_to_print_with_markup(source: str) -> None:
    assert len(list(bare_calls(source))) == 1


def test_the_check_allows_texts_and_groups() -> None:
    assert not list(
        bare_calls("from rich.console import Group\nfrom rich.text import Text\nGroup(Text('[x]'))\nprint(1)")
    )
