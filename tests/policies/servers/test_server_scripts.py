"""Server scripts: one text serves them all, they speak with the bench's client, and say in a line what is wrong."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
import types
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from altbench.remote import codec
from altbench.remote.connection import Address, Connection, ServerFailed, ServerRefused
from altbench.remote.launch import free_port

FOLDER = Path(__file__).parents[3] / "policies/servers"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py"))
BEGIN = "serving: the same text in every script of this folder"
END = re.compile(r"# -+ end of serving\n")


def serving(path: Path) -> str:
    text = path.read_text()
    return END.split(text[text.index(BEGIN) :])[0]


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"server_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Echo:
    """Answers with the slot's seed and how many decisions it has made."""

    metadata = {"supports_reset": True, "deterministic": True, "horizon": 2, "action_space": "ee_pose"}  # noqa: RUF012

    def __init__(self) -> None:
        self.slots: dict[Any, list[int]] = {}

    def begin(self, slot: Any, seed: int) -> None:
        self.slots[slot] = [seed, 0]

    def act(self, slot: Any, observation: dict[str, Any]) -> Any:
        if observation["observation/state"][0] < 0:
            raise ValueError("negative")
        self.slots[slot][1] += 1
        return np.tile([*self.slots[slot], 0.0], (2, 1))

    def end(self, slot: Any) -> None:
        del self.slots[slot]


@pytest.fixture(scope="module")
def script() -> Any:
    return load("torchscript_or_onnx")


@pytest.fixture
def served(script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    made: list[Any] = []
    real = script.serve_websockets

    def kept(*args: Any, **options: Any) -> Any:
        made.append(real(*args, **options))
        return made[0]

    monkeypatch.setattr(script, "serve_websockets", kept)
    monkeypatch.setattr(script.signal, "signal", lambda *_: None)
    port, policy = free_port(), Echo()
    thread = threading.Thread(target=script.serve, args=(policy, "127.0.0.1", port), daemon=True)
    thread.start()
    deadline = time.monotonic() + 5
    while not made and time.monotonic() < deadline:
        time.sleep(0.01)
    yield Address(f"ws://127.0.0.1:{port}"), policy
    made[0].shutdown()
    thread.join(5)


def test_the_serving_part_is_the_same_text_in_every_script() -> None:
    assert len(SCRIPTS) == 4 and len({serving(path) for path in SCRIPTS}) == 1


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_name_their_requirements_and_never_altbench(path: Path) -> None:
    block = re.match(r"# /// script\n((?:# .*\n)+?)# ///\n", path.read_text())
    assert block
    found = tomllib.loads("".join(line[2:] for line in block[1].splitlines(keepends=True)))
    assert {"msgpack", "websockets"} <= {re.split(r"[>=\[]", each)[0] for each in found["dependencies"]}
    assert not re.search(r"^\s*(import|from) altbench", path.read_text(), re.M)


def test_both_codecs_read_each_other(script: Any) -> None:
    message = {"a": np.arange(6, dtype=np.uint8).reshape(1, 2, 3), "b": [1, "x", None], "c": {"d": np.float32([1.5])}}
    for write, read in ((script.encode, codec.decode), (codec.encode, script.decode)):
        found = read(write(message))
        np.testing.assert_array_equal(found["a"], message["a"])
        assert found["a"].dtype == np.uint8 and found["b"] == [1, "x", None] and found["c"]["d"][0] == 1.5


@pytest.mark.parametrize(
    "change",
    [{b"dtype": "|O8"}, {b"shape": [9]}, {b"shape": [-1]}, {b"shape": "x"}, {b"data": 3}, {b"dtype": "<M8[s]"}],
)
def test_frames_that_are_not_arrays_are_refused(script: Any, change: dict[bytes, Any]) -> None:
    good = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f8", b"shape": [1]}
    with pytest.raises(script.Refused, match="expected"):
        script.decode(script.msgpack.packb({"a": {**good, **change}}))
    with pytest.raises(script.Refused, match="expected a frame of msgpack"):
        script.decode(b"\xc1")


def test_the_benchs_client_is_served_with_a_state_for_each_slot(served: Any) -> None:
    address, policy = served
    health = address.url.replace("ws://", "http://") + "/healthz"
    assert urllib.request.urlopen(health, timeout=5).status == 200
    one, two = Connection(address, 5), Connection(address, 5)
    assert one.info.supports_reset and one.info.horizon == 2
    seen = {"observation/state": np.zeros(3, np.float32), "altbench": {"slot": 0, "step": 0, "seed": 7, "reset": False}}
    for connection, seed in ((one, 7), (two, 8)):
        connection.send({"altbench": {"reset": True, "slot": 0, "seed": seed}})
        assert connection.receive(5) == {"altbench": {"reset": True}}
    for connection, expected in ((one, [7, 1]), (one, [7, 2]), (two, [8, 1])):
        connection.send(seen)
        answer = connection.receive(5)
        assert answer["actions"][0, :2].tolist() == expected
        assert answer["server_timing"]["infer_ms"] >= 0 and answer["altbench"]["pid"] > 0
    one.send({**seen, "observation/state": np.full(3, -1, np.float32)})
    with pytest.raises(ServerFailed, match="ValueError: negative"):
        one.receive(5)
    two.close()
    deadline = time.monotonic() + 5
    while policy.slots and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not policy.slots


def test_a_wrong_key_is_refused(script: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("ALTBENCH_API_KEY", "secret")
    address, _ = request.getfixturevalue("served")
    with pytest.raises(ServerRefused):
        Connection(address, 5)
    Connection(Address(address.url, key="secret"), 5).close()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["robomimic_policy.py", "--checkpoint", "{file}"], "a pickle, which can run any code; add --trust"),
        (["diffusion_policy.py", "--checkpoint", "{file}"], "a pickle, which can run any code; add --trust"),
        (["diffusion_policy.py", "--checkpoint", "missing.ckpt"], "missing.ckpt: missing"),
        (["torchscript_or_onnx.py", "--model", "{file}", "--inputs", "{file}"], "expected horizon, obs_horizon"),
        (["lerobot_policy.py", "--checkpoint", "{file}"], "lerobot.configs.policies cannot be imported.*pip install"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, arguments: list[str], reason: str) -> None:
    (tmp_path / "file").write_text("a = 1\n")
    command = [one.replace("{file}", str(tmp_path / "file")) for one in arguments]
    done = subprocess.run(
        [sys.executable, str(FOLDER / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and re.search(reason, done.stderr) and done.stderr.count("\n") == 1, done.stderr


# --------------------------------------------------------------------------------------- against fakes of the packages


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_network_is_served_as_described(script: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Mean(torch.nn.Module):  # type: ignore[misc]
        def forward(self, image, state):  # type: ignore[no-untyped-def]
            return torch.cat([image.mean((2, 3)), state], 1)

    torch.jit.script(Mean()).save(str(tmp_path / "model.pt"))
    (tmp_path / "inputs.toml").write_text(
        'image_size = [8, 8]\n[inputs.image]\nfrom = "agentview"\nrange = [-1.0, 1.0]\n[inputs.low]\nfrom = "state"\n'
    )
    described = script.described_in(tmp_path / "inputs.toml")
    policy = script.ExportedPolicy(str(tmp_path / "model.pt"), described, "cpu", "ee_delta")
    assert policy.metadata["obs_keys"] == ["observation/agentview", "observation/state"]
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 1] = 255
    seen = {"observation/agentview": image, "observation/state": np.float32([5, 6])}
    np.testing.assert_allclose(policy.act(0, seen), [[-1, 1, -1, 5, 6]])
    with pytest.raises(script.Refused, match=r"expected observation/agentview as an array of 3 dimensions, got \["):
        policy.act(0, {})


@pytest.mark.parametrize("name", ["robomimic_policy", "diffusion_policy"])
def test_quaternions_are_those_of_scipy(name: str) -> None:
    from scipy.spatial.transform import Rotation

    down = Rotation.from_quat([[0.9, 0.43, 1e-9, 1e-5], [0.9, -0.43, 0.01, -1e-5], [0.7, 0.7, 0, 0]])
    for turn in [*Rotation.random(50, random_state=0), *down]:
        columns = turn.as_matrix()[:, :2].T.reshape(-1)
        np.testing.assert_allclose(load(name).quaternion(columns, 3), turn.as_quat(canonical=True), atol=1e-7)
        found, expected = load(name).quaternion(columns, 0), turn.as_quat()
        np.testing.assert_allclose(found, expected * np.sign(expected[0]), atol=1e-7)


@pytest.mark.parametrize("name", ["robomimic_policy", "diffusion_policy"])
def test_a_served_policy_gets_the_quaternions_that_the_export_wrote(name: str) -> None:
    from scipy.spatial.transform import Rotation

    from altbench_demos.formats import robomimic_export

    yaw, tilt = np.linspace(-2.8, 2.8, 60), 0.3 * np.sin(np.arange(60.0))
    turns = Rotation.from_euler("zx", np.stack([yaw - np.pi / 2, np.pi + tilt], 1))  # of a hand that points down
    columns = turns.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(-1, 6)
    middle = np.r_[30:60, 0:30][:30]  # an episode begins near the arm's rest
    written = robomimic_export._quaternions(columns[middle])
    found = zip(*(load(name).site_and_hand(one) for one in columns[middle]), strict=True)
    for ours, theirs in zip(found, written, strict=True):
        np.testing.assert_allclose(np.stack(ours), theirs, atol=1e-7)
    jumps = np.sum(written[1][1:] * written[1][:-1], axis=1)
    assert jumps.min() > 0.9 and np.sign(written[0][:, 0]).min() < 0 < written[0][:, 0].max()


def test_robomimics_absolute_commands_become_poses() -> None:
    from altbench_demos.formats import controllers

    rng = np.random.default_rng(0)
    native = np.concatenate([rng.normal(size=(9, 3)), rng.uniform(-2, 2, (9, 3)), rng.uniform(-1, 1, (9, 1))], 1)
    found = np.concatenate([load("robomimic_policy").pose_action(row[None]) for row in native])
    np.testing.assert_allclose(found, controllers.pose_actions_from_native(native), atol=1e-6)


def test_diffusion_policys_rot6d_rows_become_columns() -> None:
    from scipy.spatial.transform import Rotation

    turns = Rotation.random(5, random_state=1).as_matrix()
    rows = np.concatenate([np.zeros((5, 3)), turns[:, 0], turns[:, 1], np.ones((5, 1))], axis=1)
    columns = np.concatenate([np.zeros((5, 3)), turns[:, :, 0], turns[:, :, 1], np.ones((5, 1))], axis=1)
    np.testing.assert_allclose(load("diffusion_policy").columns_from_rows(rows), columns, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"x": [{"_target_": "diffusion_policy.model.a.Model"}], "y": 3}, None),
        ({"x": [{"_target_": "os.system"}]}, "got 'os.system'"),
        ({"_target_": "diffusion_policy.workspace.a.B"}, "got 'diffusion_policy.workspace.a.B'"),
        ({"x": {"_target_": "diffusion_policy.model.a.os.system"}}, "got 'diffusion_policy.model.a.os.system'"),
        ({"x": {"_target_": "diffusion_policy.model.a.Popen"}}, "got 'diffusion_policy.model.a.Popen'"),
        ({"x": {"_target_": "diffusion_policy.model.a.Model.load"}}, "got 'diffusion_policy.model.a.Model.load'"),
        ({"x": {"_target_": ["diffusion_policy.model.a.Model"]}}, "expected classes of"),
        ({"x": ["${eval:'1+1'}"]}, "expected settings without references"),
        ({"${eval:'1+1'}": 3}, "expected settings without references"),
    ],
)
def test_converted_settings_run_only_what_is_trusted(settings: dict[str, Any], reason: str | None) -> None:
    class Model:
        def load(self) -> None:
            """Stand for a function that reads a file."""

    Model.__module__, Model.__qualname__ = "diffusion_policy.model.a", "Model"
    Model.load.__module__, Model.load.__qualname__ = "diffusion_policy.model.a", "Model.load"
    found = {"Model": Model, "os.system": os.system, "Popen": subprocess.Popen, "Model.load": Model.load}
    check = load("diffusion_policy").check
    with pytest.raises(SystemExit, match=reason) if reason else contextlib.nullcontext():
        check(settings, "folder", lambda name: found[name.removeprefix("diffusion_policy.model.a.")])


def test_the_script_finds_the_package_of_its_own_name(tmp_path: Path) -> None:
    for name, text in {
        "torch.py": "",
        "dill.py": "",
        "hydra/utils.py": "",
        "diffusion_policy/__init__.py": "raise SystemExit('the package of the authors')",
        "x.ckpt": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    command = [sys.executable, str(FOLDER / "diffusion_policy.py"), "--checkpoint", str(tmp_path / "x.ckpt"), "--trust"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.stderr == "the package of the authors\n"


class Settings(dict[str, Any]):
    """Settings whose entries are attributes, too, as OmegaConf's."""

    __getattr__ = dict.__getitem__


def test_diffusion_policy_gets_what_its_data_set_holds() -> None:
    torch = pytest.importorskip("torch")
    seen: list[Any] = []

    class Policy:
        def to(self, device: str) -> Any:
            return self

        def eval(self) -> Any:
            return self

        def predict_action(self, observation: dict[str, Any]) -> dict[str, Any]:
            seen.append({key: value.numpy() for key, value in observation.items()})
            action = torch.rand(1, 3, 10)
            action[..., 3:9] = torch.tensor([0.0, -1, 0, 1, 0, 0])  # the rows of a quarter turn about z
            return {"action": action}

    observed = {
        "agentview_image": Settings(type="rgb", shape=[3, 4, 6]),
        "robot0_eef_pos": Settings(shape=[3]),
        "robot0_eef_quat": Settings(shape=[4]),
        "robot0_gripper_qpos": Settings(shape=[2]),
    }
    shapes = Settings(obs=Settings(observed), action=Settings(shape=[10]))
    settings = Settings(policy=Settings(n_action_steps=3), shape_meta=shapes, n_obs_steps=2)
    script = load("diffusion_policy")
    policy = script.DiffusionPolicy(Policy(), settings, "cpu", None, [])
    told = {key: policy.metadata[key] for key in ("horizon", "obs_horizon", "image_size", "action_space", "cameras")}
    assert told == {
        "horizon": 3, "obs_horizon": 2, "image_size": [4, 6], "action_space": "ee_pose", "cameras": ["agentview"]
    }  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)
    state = np.zeros((2, 11), np.float32)
    state[:, :3], state[:, 9:], state[1, 0] = [1, 2, 3], [0.04, -0.04], 9
    state[:, 3:9] = [0, 1, 0, 1, 0, 0]  # the grip site points down, so that the hand does
    policy.begin(0, 7)
    first = policy.act(0, {"observation/agentview": images, "observation/state": state})
    np.testing.assert_array_equal(seen[0]["agentview_image"], images.transpose(0, 3, 1, 2)[None] / np.float32(255))
    np.testing.assert_array_equal(seen[0]["robot0_eef_pos"], np.float32([[[1, 2, 3], [9, 2, 3]]]))
    np.testing.assert_allclose(seen[0]["robot0_eef_quat"], [[[1, 0, 0, 0]] * 2], atol=1e-7)
    np.testing.assert_array_equal(seen[0]["robot0_gripper_qpos"], np.float32([[[0.04, -0.04]] * 2]))
    np.testing.assert_allclose(first[:, 3:9], [[0, 1, 0, -1, 0, 0]] * 3, atol=1e-6)  # the columns
    policy.begin(1, 7)
    np.testing.assert_array_equal(policy.act(1, {"observation/agentview": images, "observation/state": state}), first)
    with pytest.raises(SystemExit, match="expected a policy of an image task, got settings without shape_meta"):
        script.DiffusionPolicy(Policy(), Settings(policy=settings.policy, n_obs_steps=2), "cpu", None, [])


@pytest.mark.parametrize("function", ["matrix", "of_hand", "quaternion", "site_and_hand"])
def test_both_scripts_carry_one_text_of_robosuite_s_quaternions(function: str) -> None:
    texts = {inspect.getsource(getattr(load(name), function)) for name in ("robomimic_policy", "diffusion_policy")}
    assert len(texts) == 1


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize("name", ["robomimic_policy", "diffusion_policy"])
def test_both_quaternions_are_those_of_robosuite(name: str) -> None:
    import gymnasium
    from scipy.spatial.transform import Rotation

    from altbench_demos.formats import robomimic_export

    env = gymnasium.make("altbench/Lift-v0", obs_type="state", disable_env_checker=True)
    seen, _ = env.reset(seed=3)
    columns, native, script = [], [], load(name)
    # Turned and tilted both ways, so that the site's quaternion changes its sign, and MuJoCo's does not.
    for yaw, tilt in ((-150, -0.4), (150, 0.4)):
        turn = Rotation.from_euler("zx", [yaw, 180], degrees=True) * Rotation.from_rotvec([tilt, tilt, 0])
        action = np.concatenate([seen["agent_pos"][:3], turn.as_matrix()[:, :2].T.ravel(), [-1]]).astype(np.float32)
        for _ in range(15):
            columns.append(seen["agent_pos"][3:9].astype(float))
            told = env.unwrapped._simulator.robosuite._get_observations(force_update=True)  # type: ignore[attr-defined]
            native.append((told["robot0_eef_quat_site"], told["robot0_eef_quat"]))
            seen, *_ = env.step(action)
    site, hand = (np.stack(one) for one in zip(*native, strict=True))
    assert site[:, 0].min() < 0 < site[:, 0].max() and hand[:, 0].min() > 0
    for found in (np.stack([script.site_and_hand(one) for one in columns]).transpose(1, 0, 2),
                  robomimic_export._quaternions(np.stack(columns))):  # fmt: skip
        np.testing.assert_allclose(found[0], site, atol=1e-5)
        np.testing.assert_allclose(found[1], hand, atol=1e-5)
    env.close()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_robomimic_gets_a_policy_for_each_slot(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Rollout:
        started = False

        def _prepare_observation(self, ob: Any) -> None:
            """Scale no image, as before 0.5."""

        def start_episode(self) -> None:
            self.started = True

        def __call__(self, ob: dict[str, Any]) -> Any:
            image = ob["agentview_image"]
            assert self.started
            assert (image.shape, image.max()) == (((8, 8, 3), 255) if version == "0.5" else ((3, 8, 8), 1))
            np.testing.assert_allclose(ob["robot0_eef_quat_site"], [0, 0, 0, 1])
            np.testing.assert_allclose(ob["robot0_eef_quat"], [0, 0, 2**-0.5, 2**-0.5])  # the hand's
            return np.arange(7.0)

    class ScalesItself(Rollout):
        def _prepare_observation(self, ob: Any, postprocess_visual_obs: bool = True) -> None:
            """Scale images, as since 0.5."""

    def policy_from_checkpoint(device: Any = None, ckpt_path: Any = None, ckpt_dict: Any = None) -> Any:
        made.append(ScalesItself() if version == "0.5" else Rollout())
        return made[-1], ckpt_dict

    shapes = {"agentview_image": [3, 8, 8], "robot0_eef_pos": [3], "robot0_gripper_qpos": [2]}
    shapes |= {"robot0_eef_quat": [4], "robot0_eef_quat_site": [4]}
    content = {"shape_metadata": {"all_shapes": shapes, "ac_dim": 7}, "algo_name": "bc"}
    files = types.SimpleNamespace(
        maybe_dict_from_checkpoint=lambda ckpt_path: content, policy_from_checkpoint=policy_from_checkpoint
    )
    for name, module in (("robomimic", files), ("robomimic.utils", files), ("robomimic.utils.file_utils", files)):
        monkeypatch.setitem(sys.modules, name, module)
    policy = load("robomimic_policy").RobomimicPolicy("model.pth", "cpu", None, [])
    assert policy.metadata["image_size"] == [8, 8] and policy.metadata["action_space"] == "ee_delta"
    seen = {
        "observation/agentview": np.full((8, 8, 3), 255, np.uint8),
        "observation/state": np.float32([0, 0, 1, 1, 0, 0, 0, 1, 0, 0.02, -0.02]),
    }
    for slot in (0, 1):
        policy.begin(slot, 3)
        np.testing.assert_array_equal(policy.act(slot, seen), [np.arange(7)])
    assert len(made) == 2
