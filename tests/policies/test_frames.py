"""Windows over demonstrations, and normalisation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from altbench.core.errors import DatasetError
from altbench_policies.frames import action_rows, draw_rows, join, observation_rows
from altbench_policies.normalize import MinMax


@pytest.fixture
def frames(demonstrations):
    return join(demonstrations, ["wrist"])


def test_frames_are_the_demonstrations_one_after_the_other(frames, demonstrations):
    assert len(frames) == sum(len(d) for d in demonstrations)
    begin = len(demonstrations[0])
    second = slice(begin, begin + len(demonstrations[1]))
    np.testing.assert_array_equal(frames.pixels["wrist"][second].numpy(), demonstrations[1].pixels["wrist"])
    assert set(frames.episode[second].tolist()) == {5}
    assert set(frames.pixels) == {"wrist"}


def test_windows_never_leave_their_episode(frames, demonstrations):
    seen, following = observation_rows(frames, 3), action_rows(frames, 6, past=2)
    begin = 0
    for demo in demonstrations:
        for t in range(len(demo)):
            expected = [begin + max(0, t + k) for k in (-2, -1, 0)]
            assert seen[begin + t].tolist() == expected
            expected = [begin + min(max(0, t + k), len(demo) - 1) for k in range(-2, 4)]
            assert following[begin + t].tolist() == expected
        begin += len(demo)


def test_rows_of_a_batch_differ():
    rows = draw_rows(50, 20, torch.Generator().manual_seed(0))
    assert len(set(rows.tolist())) == 20
    assert sorted(draw_rows(5, 20, torch.Generator()).tolist()) == list(range(5))


def test_demonstrations_that_do_not_fit_are_refused(demonstrations):
    with pytest.raises(
        DatasetError, match=r"demonstration 3: expected the camera 'front', it has \['agentview', 'wrist'\]"
    ):
        join(demonstrations, ["front"])
    short = dataclasses.replace(demonstrations[1], agent_pos=demonstrations[1].agent_pos[:-1])
    with pytest.raises(DatasetError, match=r"demonstration 5: expected agent_pos of shape \(17, 11\)"):
        join([demonstrations[0], short], ["wrist"])
    small = dataclasses.replace(demonstrations[1], pixels={"wrist": demonstrations[1].pixels["wrist"][:, ::2]})
    with pytest.raises(DatasetError, match=r"expected 'wrist' as uint8 \(17, 40, 40, 3\), got uint8 \(17, 20, 40, 3\)"):
        join([demonstrations[0], small], ["wrist"])


def test_min_max_maps_to_unit_range_and_back():
    values = torch.tensor([[0.0, 5.0, 2.0], [4.0, 5.0, 3.0], [1.0, 5.0, 8.0]])
    scale = MinMax(3).fit(values)
    unit = scale.normalize(values)
    torch.testing.assert_close(unit[:, 0], torch.tensor([-1.0, 1.0, -0.5]))
    torch.testing.assert_close(scale.restore(unit), values)
    assert unit[:, 2].min() == -1
    assert unit[:, 2].max() == 1


def test_a_constant_dimension_stays_constant():
    scale = MinMax(2).fit(torch.tensor([[1.0, 7.0], [2.0, 7.0]]))
    assert scale.normalize(torch.tensor([1.5, 9.0])).tolist() == [0, 0]
    assert scale.restore(torch.tensor([0.0, 0.8])).tolist() == [1.5, 7.0]


def test_ranges_are_saved_with_the_weights():
    scale = MinMax(2).fit(torch.tensor([[1.0, 7.0], [2.0, 9.0]]))
    other = MinMax(2)
    other.load_state_dict(scale.state_dict())
    assert other.restore(torch.ones(2)).tolist() == [2, 9]
