"""`altbench serve`: any policy of the bench for any client that speaks openpi's protocol."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from altbench.core.errors import ConfigError

TARGET = "A checkpoint's folder, ./file.py:Class, or a registered name."


def serve(
    target: Annotated[str, typer.Argument(help=TARGET, show_default=False)],
    task: Annotated[str | None, typer.Option(help="The task that it acts in; a checkpoint knows its own.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0: all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any that is free.")] = 8000,
    batch: Annotated[bool, typer.Option("--batch", help="Decide requests that arrive together at once.")] = False,
    preset: Annotated[str, typer.Option(help="A preset of the policy's.", show_default=False)] = "",
    config: Annotated[str, typer.Option(help="Settings of the policy as JSON.", metavar="JSON")] = "{}",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of a decision.")] = 1,
) -> None:
    """Serve a policy to any openpi client, such as another bench or a robot.

    Each connection has an episode of its own. If the environment variable
    ALTBENCH_API_KEY is set, clients must send that key. Ctrl-C answers what has arrived,
    then ends the server. docs/remote.md has the protocol.

    - `altbench serve random --task Lift`
    - `altbench serve results/quick/checkpoints/lift-bc-n30-s0-... --port 8001 --batch`
    - `altbench serve ./mine.py:MyPolicy --task Lift --host 0.0.0.0`
    """
    import os
    import sys

    from altbench.core import registry
    from altbench.remote.connection import check_extra
    from altbench.remote.server import Serving, serve_policy
    from altbench.remote.service import PolicyService
    from altbench.results.targets import find_target
    from altbench.system.devices import resolve_device, set_threads

    check_extra()
    if registry.is_url(target):
        raise ConfigError(f"{target}: a policy that is served already; expected a checkpoint, a file or a name")
    settings = _settings(config)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # torch takes seconds to load, and a policy may do without.
    chosen = device if device == "cpu" else resolve_device(device)
    found = find_target(target, task, preset=preset, config=settings, device=chosen)
    if "torch" in sys.modules:
        set_threads(threads)
    if found.needs_fit:
        raise ConfigError(f"{target}: a policy that must be fitted first; name the folder of its checkpoint instead")
    service = PolicyService(found.policy, found.identity(), found.image_size)
    needs = found.policy.requirements
    what = f"{target} on {found.policy.task.name} ({needs.control_mode}, {needs.action_horizon} actions an answer)"
    key = os.environ.get("ALTBENCH_API_KEY", "")
    serve_policy(
        service,
        Serving(host, port, key, batch),
        lambda url: typer.echo(f"serving {what} at {url}{', with a key' if key else ''}; Ctrl-C ends it"),
    )
    typer.echo("ended; all that had arrived was answered")


def _settings(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f'--config: expected JSON, such as {{"threads": 2}}, got {text[:60]!r} ({error})') from None
    if not isinstance(found, dict):
        raise ConfigError(f"--config: expected a table in JSON, got {text[:60]!r}")
    return found
