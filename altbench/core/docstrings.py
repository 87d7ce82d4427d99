"""What classes say of themselves, read from their docstrings.

`first_line` and `keywords` read the source, so that a list of all policies, or of all
experiments, imports none of them.
`meanings` finds what a docstring says of each setting of a `Spec`: the docstring stays
the only place where it is written.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from altbench.core.spec import Spec

NAMES = r"`\w+`(?: \([^)]*\))?"
HEAD = re.compile(rf"({NAMES}(?:(?:, | and |, and ){NAMES})*): ")
"""What begins a definition in a docstring: `name`: or `one`, `two`:."""
SENTENCE = re.compile(r"""(?<=[.)])\s+(?=[A-Z`"])""")
MOST_HOPS = 5
"""How many imports are followed from a registered name to its class."""


def first_line(target: object) -> str:
    """Return the first sentence of a class's docstring; empty without one.

    `target`: the class, or "module:attribute", which is read from its source and not
    imported. What cannot be found in the source is empty, too.
    """
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        text = _docstring(module, attribute)
    else:
        text = getattr(target, "__doc__", None) or ""
    paragraph = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return SENTENCE.split(paragraph)[0]


def module_line(module: str) -> str:
    """Return the first sentence of a module's docstring, read from its source."""
    tree = _parsed(module)
    text = (ast.get_docstring(tree) or "") if tree else ""
    return SENTENCE.split(" ".join(text.partition("\n\n")[0].split()))[0]


def keywords(module: str, name: str) -> dict[str, Any]:
    """Return the keywords of the call that a module assigns to `name`, read from its source.

    Those that are no literals are left out; empty if there is no such call.
    """
    tree = _parsed(module)
    for node in tree.body if tree else ():
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            return {word.arg: value for word in node.value.keywords if word.arg for value in _literal(word.value)}
    return {}


def _literal(node: ast.expr) -> Iterator[Any]:
    """Yield the value of a literal; nothing for other code."""
    with suppress(ValueError):
        yield ast.literal_eval(node)


def _docstring(module: str, attribute: str) -> str:
    """Return the docstring of a class, following the imports of its name."""
    for _ in range(MOST_HOPS):
        tree = _parsed(module)
        if tree is None:
            return ""
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == attribute:
                return ast.get_docstring(node) or ""
        found = _imported_from(tree, attribute)
        if found is None:
            return ""
        module, attribute = found
    return ""


def _imported_from(tree: ast.Module, attribute: str) -> tuple[str, str] | None:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                if (alias.asname or alias.name) == attribute:
                    return node.module, alias.name
    return None


@cache
def _parsed(module: str) -> ast.Module | None:
    """Return the syntax tree of a module; None if its source is not found or cannot be parsed."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name: it imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    roots = [Path(place) for place in spec.submodule_search_locations or ()]
    places = [Path(spec.origin)] if not rest and spec.origin else []
    for root in roots:
        places += [root.joinpath(*rest, "__init__.py"), root.joinpath(*rest).with_suffix(".py")]
    for path in places:
        if path.suffix == ".py" and path.is_file():
            try:
                return ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                return None
    return None


def meanings(kind: type[Spec]) -> dict[str, str]:
    """Return setting -> what the docstring of `kind`, or of a base of it, says of it.

    A definition (`name`: meaning) goes before a sentence that mentions `name`. A
    description of the field itself goes before both. A setting without any is empty.
    """
    texts = [cls.__doc__ or "" for cls in kind.__mro__ if issubclass(cls, Spec) and cls is not Spec]
    parts = [[" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n")] for text in texts]
    found = {}
    for name, field in kind.model_fields.items():
        defined = [d for own in parts for part in own if (d := _definition(part, name))]
        mentioned = [s for own in parts for part in own if (s := _mention(part, name))]
        found[name] = field.description or next(iter([*defined, *mentioned]), "")
    return found


def _definition(paragraph: str, name: str) -> str:
    """Return what follows `name`: in a paragraph, up to the next definition."""
    heads = list(HEAD.finditer(paragraph))
    for i, head in enumerate(heads):
        if f"`{name}`" in head[1]:
            end = heads[i + 1].start() if i + 1 < len(heads) else len(paragraph)
            sentences = SENTENCE.split(paragraph[head.end() : end].strip())
            # A sentence that begins with another name speaks of that one.
            own = [s for j, s in enumerate(sentences) if not any(t.startswith("`") for t in sentences[1 : j + 1])]
            return " ".join(own).rstrip(" ;,(")
    return ""


def _mention(paragraph: str, name: str) -> str:
    return next((s for s in SENTENCE.split(paragraph) if f"`{name}`" in s), "")
