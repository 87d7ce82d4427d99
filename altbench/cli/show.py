"""`altbench show NAME`: a policy, a server, a checkpoint, a task, a perturbation, a sweep, an experiment."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from rich.console import Console

from altbench.cli.listing import KINDS, names
from altbench.core import registry
from altbench.core.docstrings import meanings
from altbench.core.errors import ConfigError, suggestion
from altbench.core.perturbation import AnyPerturbation, ScenePerturbation
from altbench.core.policy import Policy, Trainable
from altbench.system.console import FittingTable, make_console, one_line, say, show

SERVER_S = 10.0
"""Seconds in which a server must tell what it is."""
STATELESS = " It does not know altbench: it hears nothing of episodes, and gets one frame (stateless)."


def show_name(name: str) -> None:
    """Print what `name` is, for each kind of names that has it.

    Also a sweep's file, and a policy as `file.py:Class`, as a checkpoint's folder or as a
    server's URL. ConfigError with the nearest valid name, of any kind, if nothing has it.
    """
    console = make_console()
    for fits, shown in (
        (name.endswith((".toml", ".json")), _sweep),
        (registry.is_url(name), _server),
        (Path(name).is_dir() and name not in registry.table("policy"), _checkpoint),
        (registry.is_file(name), _policy),
    ):
        if fits:
            shown(console, name)
            return
    found = {kind: key for kind in KINDS if (key := _key(kind, name))}
    if not found:
        every = dict.fromkeys([*(key for kind in KINDS for key in names(kind)), *_experiments()])
        near = suggestion(name, every).partition("? (valid")[0]
        hint = f"{near}?" if near.startswith("; did you mean") else ""
        raise ConfigError(f"unknown name {name!r}{hint}; `altbench list` shows all names")
    for kind, key in found.items():
        _SHOWN[kind](console, key)


def _key(kind: str, name: str) -> str:
    """Return `name` as the kind spells it; empty if it has no such name."""
    known = names(kind)
    if name in known:
        return name
    if kind == "experiments":
        return {word.lower(): key for word, key in _experiments().items()}.get(name.lower(), "")
    return ""


def _experiments() -> dict[str, str]:
    """Return the ids and names of the experiments, each -> the id."""
    from altbench import experiments

    return {word: one.id for one in experiments.listed() for word in (one.id, one.name)}


def _heading(console: Console, what: str, name: str, text: str | None) -> None:
    say(console, (f"{what} {name}", "bold"))
    say(console, inspect.cleandoc(text or "(its class has no docstring)"))


def _policy(console: Console, name: str) -> None:
    cls = registry.policy(name)
    _heading(console, "policy", name, cls.__doc__)
    learns = "It learns from demonstrations." if issubclass(cls, Trainable) else "It learns nothing."
    say(console, f"\n{learns} Version {cls.version}. In a sweep: policy = {written(name)}, config = {{ ... }}.")
    show(console, _settings_table(cls))
    if any(cls.presets.values()):
        show(console, _presets_table(cls))


def _server(console: Console, url: str) -> None:
    """Print what the policy server at `url` tells of itself."""
    import os

    from altbench.remote.connection import Address, Connection, check_url
    from altbench.remote.messages import EXTENSION
    from altbench.remote.settings import RemoteEntry

    check_url(url)
    connection = Connection(Address(url, key=os.environ.get(RemoteEntry().key_from, "")), SERVER_S)
    connection.close()
    info = connection.info
    say(console, (f"policy {url}", "bold"))
    say(console, "The policy of a server, which answers as openpi's do." + ("" if info.extended else STATELESS))
    told = {**info.metadata, **(info.metadata.get(EXTENSION, {}) if info.extended else {})}
    table = FittingTable(("it tells", ""), prose=[1])
    for key, value in told.items():
        if key != EXTENSION:
            table.add(one_line(str(key)), one_line(str(value)))
    show(console, table)
    say(console, f"\nIn a sweep: policy = {written(url)}. `altbench check-policy` asks it, docs/remote.md says how.")


def _checkpoint(console: Console, folder: str) -> None:
    """Print what the checkpoint in `folder` is, from its card."""
    from altbench.results.targets import card_of

    card = card_of(Path(folder))
    say(console, (f"checkpoint {folder}", "bold"), wrap=False)
    table = FittingTable(("", ""), prose=[1])
    shown = (
        "task",
        "policy",
        "preset",
        "n",
        "train_seed",
        "image_size",
        "train_seconds",
        "trained_on",
        "epochs",
        "key",
    )
    for name in shown:
        table.add(name.replace("_", " "), written(getattr(card, name)))
    table.add("settings", ", ".join(f"{key} = {written(value)}" for key, value in card.config.items()))
    show(console, table)
    say(console, "\nTo play it: `altbench run SWEEP --policy FOLDER`; `altbench serve FOLDER` serves it.")


def _settings_table(cls: type[Policy]) -> FittingTable:
    note = "* serves one fit at every value." if cls.runtime_fields else ""
    heads = ("setting", "type", "default", "meaning")
    table, said = FittingTable(heads, "Settings", note, prose=[1, 2, 3]), meanings(cls.config_type)
    for setting, field in cls.config_type.model_fields.items():
        mark = "*" if setting in cls.runtime_fields else ""
        default = "required" if field.is_required() else written(field.get_default(call_default_factory=True))
        table.add(setting + mark, type_text(field), default, said[setting])
    return table


def _presets_table(cls: type[Policy]) -> FittingTable:
    table = FittingTable(("preset", "settings that differ from the defaults"), "Presets", prose=[1])
    for preset, values in zip(cls.preset_names(), cls.presets.values(), strict=True):
        table.add(preset, ", ".join(f"{key} = {written(value)}" for key, value in values.items()) or "none")
    return table


def type_text(field: FieldInfo) -> str:
    """Return a setting's type and limits: `int >= 1`, `l1 | l2`, `float | none, 0 to 1`."""
    limits = {name: getattr(rule, name) for rule in field.metadata for name in _LIMITS if hasattr(rule, name)}
    said = [f"{_LIMITS[name]} {written(value)}" for name, value in limits.items()]
    return " ".join([_type_name(field.annotation), ", ".join(said)]).strip()


_LIMITS = {
    "ge": ">=",
    "gt": ">",
    "le": "<=",
    "lt": "<",
    "multiple_of": "multiple of",
    "min_length": "at least",
    "max_length": "at most",
}


def _type_name(kind: Any) -> str:
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(map(written, inside))
    if origin in (Union, types.UnionType):
        return " | ".join(_type_name(one) for one in inside)
    if kind is type(None):
        return "none"
    if origin in (tuple, list):
        listed = [_type_name(one) for one in inside if one is not Ellipsis]
        return f"list of {listed[0]}" if Ellipsis in inside or origin is list else f"[{', '.join(listed)}]"
    return getattr(kind, "__name__", str(kind))


def written(value: Any) -> str:
    """Return a value as a sweep's file writes it, as far as TOML has it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {written(one)}" for key, one in value.items()) + " }" if value else "{}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _task(console: Console, name: str) -> None:
    cls = registry.task_class(name)
    _heading(console, "task", name, cls.__doc__)
    table = FittingTable(("", name), prose=[1])
    for what, text in task_rows(cls).items():
        table.add(what, text)
    show(console, table)


def task_rows(cls: Any) -> dict[str, str]:
    """Return what a task is: spaces, ranges, splits, its rule of success; name -> text."""
    info = cls.info
    success = re.search(r"Success.*?(?=\n\n|\Z)", inspect.cleandoc(cls.__doc__ or ""), re.DOTALL)
    return {
        "Gymnasium": f'gymnasium.make("{info.env_id}")',
        "version": str(info.version),
        "horizon": f"{info.horizon} control steps, {info.horizon / info.control_hz:g} s at {info.control_hz:g} Hz",
        "success": " ".join(success[0].split()) if success else "info['is_success'] of each step",
        "images": f"{', '.join(info.cameras)}: uint8 (H, W, 3); a sweep's image_size sets H and W",
        "agent_pos": f"float32 ({info.agent_pos_dim},): for each arm the grip site's position (m, world), rot6d, "
        "finger positions (m)",
        "action": f"ee_pose, float32 ({info.action_dim()},): for each arm the grip site's position (m, world), rot6d, "
        f"gripper -1 open to 1 closed; ee_delta, float32 ({info.action_dim('ee_delta')},), -1 to 1",
        "pose": ", ".join(info.pose_names),
        **_ranges(cls),
        "grid": f"{info.grid_size} poses",
        "splits": ", ".join(info.splits),
        "event": "its object can be moved during an episode" if info.movable else "none",
        "expert": "yes: `altbench demos collect`" if info.name in registry.names("expert") else "none",
    }


def _ranges(cls: Any) -> dict[str, str]:
    """Return the ranges that a scene states; empty if it states none."""
    rows = {}
    for name, placement in getattr(cls, "placements", {}).items():
        if hasattr(placement, "low") and hasattr(placement, "high"):
            pairs = zip(cls.info.pose_names, placement.low, placement.high, strict=False)
            rows[f"range, {name}"] = ", ".join(f"{v} {low:.3g} to {high:.3g}" for v, low, high in pairs) + " (m, rad)"
    workspace = getattr(cls, "workspace", None)
    if workspace:
        pairs = zip("xyz", *workspace, strict=False)
        rows["workspace"] = ", ".join(f"{v} {low:g} to {high:g}" for v, low, high in pairs) + " (m, world)"
    return rows


def _perturbation(console: Console, name: str) -> None:
    cls = registry.perturbation(name)
    _heading(console, "perturbation", name, cls.__doc__)
    scene = issubclass(cls, ScenePerturbation)
    table = FittingTable(("", name), prose=[1])
    table.add("changes", "the scene" if scene else "camera images")
    table.add("cameras", "all" if scene and not getattr(cls, "per_camera", False) else "those that the sweep names")
    table.add("severities", "0 (none) to 5; a sweep without `severities` has 1 to 5")
    table.add("options", options_text(cls))
    table.add("version", str(cls.version))
    table.add("in a sweep", f'perturbations = [{{ name = "{name}", severities = [2, 5] }}]')
    show(console, table)


def options_text(cls: type[AnyPerturbation]) -> str:
    """Return the options of a perturbation: those of its signature, or those that its refusal names."""
    parameters = list(inspect.signature(cls).parameters.values())
    own = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "severity"]
    if own:
        return ", ".join(p.name if p.default is p.empty else f"{p.name} = {p.default!r}" for p in own)
    try:
        cls(1, **{"no such option": 0})
    except ConfigError as error:
        valid = re.search(r"\(valid: ([^)]*)\)", str(error))
        return valid[1] if valid else "none"
    return "any"


def _sweep(console: Console, name: str) -> None:
    from altbench.sweeps.kept import load_kept
    from altbench.sweeps.spec import load_sweep

    show_sweep(console, load_kept(Path(name)) if name.endswith(".json") else load_sweep(name))


def show_sweep(console: Console, sweep: Any) -> None:
    """Print a sweep's rows and columns; nothing is planned."""
    say(console, (f"sweep {sweep.name}", "bold"), f" {sweep.description}")
    shown = sweep.demonstrations
    source = f"in {shown.file}" if shown.file else f"{shown.n} from the expert, {shown.placement}"
    sets = f", data seeds {', '.join(map(str, shown.seeds))}" if shown.seeds else ""
    counted = f"training seeds: {len(sweep.train_seeds)}"
    say(console, f"tasks: {', '.join(sweep.tasks)}; demonstrations: {source}{sets}; {counted}")
    rows = FittingTable(("row", "policy", "preset", "n", "settings"), "Rows", prose=[4])
    for entry in sweep.policies:
        settings = ", ".join(f"{key} = {written(value)}" for key, value in entry.config.items())
        rows.add(entry.name, entry.registered, entry.preset, ", ".join(map(str, entry.n)), settings)
    show(console, rows, _columns_table(sweep))


def _columns_table(sweep: Any) -> FittingTable:
    table = FittingTable(("split", "perturbation", "severities", "episodes", "for"), "Columns", prose=[4])
    for entry in sweep.evaluations:
        where = f"{entry.split}+{entry.event.title}" if entry.event else entry.split
        whom = _whom(entry.policies, entry.n)
        for one in entry.perturbations or (None,):
            severities = ", ".join(map(str, one.severities)) if one else ""
            table.add(where, one.title if one else "clean", severities, str(entry.episodes), whom)
    return table


def _whom(policies: Sequence[str] | None, n: Sequence[int] | None) -> str:
    said = [", ".join(policies)] if policies is not None else []
    said += [f"n = {', '.join(map(str, n))}"] if n is not None else []
    return "; ".join(said) or "all rows"


def _experiment(console: Console, name: str) -> None:
    from altbench import experiments

    found = experiments.find(name)
    say(console, (f"experiment {found.id}", "bold"), f" {found.name}: {found.title}")
    say(console, found.question)
    for sweep in found.sweeps("small"):
        say(console, "")
        show_sweep(console, sweep)
    say(console, f"\n`altbench experiments plan {found.id}` says what is done, what is left, and how long that takes.")


_SHOWN = {
    "tasks": _task,
    "policies": _policy,
    "perturbations": _perturbation,
    "sweeps": _sweep,
    "experiments": _experiment,
}
