"""Counts the structure of a checkout: `python benchmarks/structure.py [CHECKOUT]`.

Prints layers, arrows, modules per folder, public names, docstrings that begin with a verb, and duplicated blocks, so that
two commits can be compared. It reads the files; it imports nothing of ours.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("altbench", "envs/altbench_envs", "policies/altbench_policies", "demos/altbench_demos")
BLOCK_LINES = 6
"""A run of so many equal lines of code in two places counts as a duplicated block."""
VERBS = frozenset(Path(__file__).with_name("verbs.txt").read_text(encoding="utf-8").split())
"""Verbs that docstrings begin with; add one where it is missing."""


def main() -> None:
    """Print the figures of a checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, nargs="?", default=Path(__file__).parents[1])
    root = parser.parse_args().checkout
    bench = sorted((root / "altbench").rglob("*.py"))
    arrows = import_arrows(root / "altbench", bench)
    boxes = {box(root / "altbench", path) for path in bench}
    print(f"boxes on the map {len(boxes)}, arrows {len(arrows)}, layers {layers(boxes, arrows)}")
    folders = Counter(str(p.parent.relative_to(root)) for p in sources(root) if p.name != "__init__.py")
    for folder, count in sorted(folders.items()):
        print(f"  {folder}: {count} modules")
    documented = list(docstrings(root))
    verbs = sum(begins_with_verb(text) for _, text in documented)
    print(f"public functions with a docstring {len(documented)}, beginning with a verb {verbs / len(documented):.0%}")
    print(f"public names {len(list(public_names(root)))}")
    print(f"duplicated blocks of {BLOCK_LINES} lines {duplicated_blocks(sources(root))}")


def sources(root: Path) -> list[Path]:
    """Every Python file of the packages that the wheel holds."""
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def box(package: Path, path: Path) -> str:
    """Return a file's box on the map: its folder directly under the package, or itself where it lies there."""
    parts = path.relative_to(package).with_suffix("").parts
    return parts[0]


def import_arrows(package: Path, paths: Iterable[Path]) -> set[tuple[str, str]]:
    """Return the pairs (importing box, imported box) within `package`, lazy imports included."""
    boxes = {box(package, path) for path in package.rglob("*.py")}
    found = set()
    for path in paths:
        own = box(package, path)
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == package.name and len(parts) > 1 and parts[1] in boxes and parts[1] != own:
                found.add((own, parts[1]))
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if "." not in node.module else [node.module]


def layers(boxes: Iterable[str], arrows: set[tuple[str, str]]) -> int:
    """Return the length of the longest chain of imports; boxes that import each other count as one."""
    below = defaultdict(set)
    for one, other in arrows:
        below[one].add(other)
    height: dict[str, int] = {}

    def rise(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            return 0
        if name not in height:
            height[name] = 1 + max((rise(other, (*path, name)) for other in below[name]), default=0)
        return height[name]

    return max(rise(name, ()) for name in boxes)


def docstrings(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, docstring) of each public function and method; properties, which are named like values, are left out."""
    for path in sources(root):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for holder in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
            for node in holder.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                    text = ast.get_docstring(node)
                    if text and not any("property" in ast.unparse(d) for d in node.decorator_list):
                        yield f"{path.relative_to(root)}:{node.lineno} {node.name}", text


def begins_with_verb(docstring: str) -> bool:
    """Tell whether a docstring's first word is a verb, as `Return` or as `Returns`."""
    first = docstring.split()[0].strip("`.,:;").lower()
    forms = {first, first.removesuffix("s"), first.removesuffix("es"), first.removesuffix("ies") + "y"}
    return bool(forms & VERBS)


def public_names(root: Path) -> Iterator[str]:
    """Yield every function, class, method and constant that does not begin with an underscore."""
    for path in sources(root):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            yield from (t.id for t in targets if isinstance(t, ast.Name) and not t.id.startswith("_"))
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield node.name
                inner = node.body if isinstance(node, ast.ClassDef) else []
                yield from (f.name for f in inner if isinstance(f, ast.FunctionDef) and f.name[0] != "_")


def duplicated_blocks(paths: Iterable[Path]) -> int:
    """Count the runs of `BLOCK_LINES` equal lines of code, imports and blank lines aside, that stand in two places."""
    seen: Counter[str] = Counter()
    for path in paths:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        code = [line for line in lines if line and not line.startswith(("import ", "from ", "#", ")", '"'))]
        for start in range(len(code) - BLOCK_LINES + 1):
            seen[hashlib.sha256("\n".join(code[start : start + BLOCK_LINES]).encode()).hexdigest()] += 1
    return sum(count - 1 for count in seen.values() if count > 1)


if __name__ == "__main__":
    main()
