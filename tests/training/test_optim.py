"""The learning rate by step, and which parameter is changed by how much."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlecnn.config import Config, OptimConfig
from paddlecnn.data.pipeline.loader import Batch
from paddlecnn.errors import ConfigError
from paddlecnn.models import create_model, freeze
from paddlecnn.training.optim import build_optimizer, build_schedule, optimizer_arrays, parameter_groups
from paddlecnn.training.state import StepSums, TrainState

STEPS, EPOCHS = 4, 5


def rates(schedule: dict, done: int = 0) -> list[float]:
    made = build_schedule(OptimConfig(lr=0.1, schedule=schedule), STEPS, EPOCHS, done)
    result = []
    for _ in range(STEPS * EPOCHS - done):
        result.append(made())  # get_lr() of a cosine applies its recursion once more
        made.step()
    return result


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, lambda k: 0.1),
        ({"name": "step", "step_size": 2}, lambda k: 0.1 * 0.1 ** (k // 8)),
        ({"name": "multistep", "milestones": [1, 3], "gamma": 0.5}, lambda k: 0.1 * 0.5 ** ((k >= 4) + (k >= 12))),
        ({"name": "exponential", "gamma": 0.5}, lambda k: 0.1 * 0.5 ** (k / 4)),
        ({"name": "cosine"}, lambda k: 0.1 * (1 + np.cos(np.pi * k / 20)) / 2),
        ({"name": "cosine", "final_factor": 0.1}, lambda k: 0.01 + 0.09 * (1 + np.cos(np.pi * k / 20)) / 2),
        ({"name": "constant", "warmup": 1}, lambda k: 0.1 * min(k / 4, 1)),
        ({"name": "step", "step_size": 2, "warmup": 1}, lambda k: 0.1 * min(k / 4, 1) * 0.1 ** (k // 8)),
        ({"name": "multistep", "milestones": [3], "warmup": 2}, lambda k: 0.1 * min(k / 8, 1) * 0.1 ** (k >= 12)),
        ({"name": "exponential", "gamma": 0.5, "warmup": 1}, lambda k: 0.1 * min(k / 4, 1) * 0.5 ** (k / 4)),
        ({"name": "cosine", "warmup": 1}, lambda k: 0.1 * (k / 4 if k < 4 else (1 + np.cos(np.pi * (k - 4) / 16)) / 2)),
    ],
)
def test_a_schedule_follows_its_formula(schedule, expected):
    np.testing.assert_allclose(rates(schedule), [expected(step) for step in range(STEPS * EPOCHS)], rtol=1e-6)


def test_one_cycle_rises_to_lr_and_falls_to_almost_nothing():
    values = rates({"name": "onecycle", "warmup_fraction": 0.3, "initial_factor": 0.04, "final_factor": 1e-4})
    assert values[0] == pytest.approx(0.004)
    assert max(values) == pytest.approx(0.1)
    assert values.index(max(values)) in (5, 6)
    assert values[-1] == pytest.approx(1e-5)


def test_one_cycle_can_be_a_triangle():
    values = rates(
        {"name": "onecycle", "shape": "linear", "warmup_fraction": 0.25, "initial_factor": 0.2, "final_factor": 0.07}
    )
    rise = np.linspace(0.02, 0.1, 5)  # Paddle reaches the top one step before the quarter is over
    np.testing.assert_allclose(values[:5], rise, rtol=1e-6)
    assert np.allclose(np.diff(values[5:], n=2), 0, atol=1e-9)
    assert values[-1] == pytest.approx(0.007)


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 20])
@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.99])
def test_one_cycle_of_a_few_steps_has_rates(steps, fraction):
    spec = {"name": "onecycle", "warmup_fraction": fraction}
    config = OptimConfig.model_validate({"lr": 0.1, "schedule": spec})
    schedule = build_schedule(config, steps, 1)
    values = []
    for _ in range(steps):
        values.append(schedule())
        schedule.step()
    assert min(values) >= 0
    assert max(values) <= 0.1 * (1 + 1e-9)


@pytest.mark.parametrize(
    "schedule", [{"name": "cosine", "warmup": 1}, {"name": "onecycle"}, {"name": "step", "step_size": 1}]
)
def test_a_schedule_replayed_to_a_step_is_the_whole_one_from_there(schedule):
    assert rates(schedule, done=7) == rates(schedule)[7:]


def change_by_decay_alone(**options) -> dict[str, float]:
    """The factor by which one step changes the first number of each parameter when all gradients are zero."""
    model = create_model("vgg11_bn_cifar")
    config = OptimConfig(name=options.pop("name", "momentum"), lr=0.1, weight_decay=0.5, **options)
    for parameter in model.parameters():
        if not parameter.stop_gradient:
            parameter.set_value(paddle.ones_like(parameter))
    optimizer = build_optimizer(model, config, build_schedule(config, 1, 1))
    sum((parameter * 0).sum() for parameter in model.parameters() if not parameter.stop_gradient).backward()
    optimizer.step()
    return {
        name: float(parameter.numpy().ravel()[0])
        for name, parameter in model.named_parameters()
        if not parameter.stop_gradient
    }


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adamw"])
def test_weight_decay_spares_biases_and_norms_by_a_switch(name):
    spared = change_by_decay_alone(name=name, decay_biases_and_norms=False)
    kept = {parameter for parameter, factor in spared.items() if factor == 1}
    assert kept == {
        parameter
        for parameter in spared
        if parameter.endswith("bias") or ("norm" in parameter and parameter.endswith("weight"))
    }
    assert kept < spared.keys()
    assert 1 not in change_by_decay_alone(name=name).values()


def test_a_run_that_is_all_warm_up_says_that_nothing_is_learned(tool, tiny, tmp_path, capsys):
    few = ["-o", "data.limit=5"]
    assert tool("train", "-c", tiny, "--run", tmp_path / "one", *few, "-o", "train.epochs=1", "--dry-run") == 0
    said = capsys.readouterr().err
    assert "the learning rate is 0 at every step of this run (1), so nothing is learned" in said
    assert "train.batch_size: 32 is more than the 5 training images" in said
    assert tool("train", "-c", tiny, "--run", tmp_path / "two", *few, "-o", "train.epochs=2", "--dry-run") == 0
    assert "learning rate is 0" not in capsys.readouterr().err
    assert tool("train", "-c", tiny, "--run", tmp_path / "whole", "--dry-run") == 0
    assert capsys.readouterr().err == ""


def test_a_layer_has_its_own_share_of_the_learning_rate():
    factors = change_by_decay_alone(lr_scale={"features": 0.1, "features.conv1": 0.0})
    for name, factor in factors.items():
        scale = 0.0 if name.startswith("features.conv1") else 0.1 if name.startswith("features") else 1.0
        assert factor == pytest.approx(1 - scale * 0.1 * 0.5), name


def test_a_pattern_names_parameters_and_the_longest_key_counts():
    factors = change_by_decay_alone(lr_scale={"features": 0.5, "features.norm*.bias": 2.0})
    for name, factor in factors.items():
        scale = 2.0 if "norm" in name and name.endswith("bias") else 0.5 if name.startswith("features") else 1.0
        assert factor == pytest.approx(1 - scale * 0.1 * 0.5), name


def test_a_scale_can_leave_the_decay_alone():
    factors = change_by_decay_alone(lr_scale={"features": 64.0}, lr_scale_decay=False)
    assert list(factors.values()) == pytest.approx([1 - 0.1 * 0.5] * len(factors))


def test_a_parameter_with_scale_0_has_no_optimizer_state():
    model = create_model("lenet5")
    config = OptimConfig(lr_scale={"features.conv1": 0})
    optimizer = build_optimizer(model, config, build_schedule(config, 1, 1))
    model(paddle.ones([1, 3, 32, 32])).sum().backward()
    optimizer.step()
    owners = {name.partition("/")[0] for name in optimizer_arrays(model, optimizer)}
    assert owners == {name for name, _ in model.named_parameters() if not name.startswith("features.conv1")}


def test_gradients_of_parameters_with_scale_0_do_not_pile_up():
    """A step must depend on its batch alone, and leave no memory in use."""
    config = Config(
        data={"name": "digits"},
        model={"name": "lenet5"},
        train={"epochs": 1},
        optim={"name": "sgd", "lr": 1e-9, "lr_scale": {"features.conv1": 0}},
    )
    state = TrainState(create_model("lenet5"), config, steps_per_epoch=3)
    batch = Batch(paddle.ones([4, 3, 32, 32]), paddle.to_tensor([0, 1, 2, 3]), np.arange(4))
    norms = [state.step(batch, 4, StepSums(), want_norm=True).item() for _ in range(3)]
    assert norms == pytest.approx(norms[:1] * 3, rel=1e-4)
    assert all(parameter.grad is None for parameter in state.model.parameters())


def test_a_scale_for_a_short_name_is_answered_with_the_full_one():
    with pytest.raises(ConfigError, match=r"write the layer's full name: features\.conv1$"):
        parameter_groups(create_model("lenet5"), OptimConfig(lr_scale={"conv1": 0.1}))


def test_a_scale_for_no_layer_is_an_error():
    model = create_model("lenet5")
    config = OptimConfig(lr_scale={"featurs": 0.1})
    with pytest.raises(ConfigError, match="no parameter's name starts with 'featurs'"):
        build_optimizer(model, config, build_schedule(config, 1, 1))


def test_frozen_convolutions_do_not_move():
    model = create_model("lenet5")
    freeze(model, "features")
    before = [parameter.numpy() for parameter in model.features.parameters()]
    config = OptimConfig(lr=0.1, weight_decay=0.5)
    optimizer = build_optimizer(model, config, build_schedule(config, 1, 1))
    model(paddle.ones([2, 3, 32, 32])).sum().backward()
    optimizer.step()
    for old, new in zip(before, model.features.parameters(), strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_an_average_copies_what_changes_without_gradient_and_no_frozen_weights():
    model = create_model("vgg11_bn_cifar", hidden=[])
    freeze(model, "pool4")
    config = Config(data={"name": "digits"}, model={"name": "vgg11_bn_cifar"}, train={"epochs": 1, "ema": 0.9})
    state = TrainState(model, config, steps_per_epoch=2)
    before = dict(state.average)
    model.train()
    state.step(Batch(paddle.randn([4, 3, 32, 32]), paddle.arange(4), np.arange(4)), 4, StepSums())
    now = model.state_dict()
    kept = [name for name in now if name.startswith("features.conv1_1.") or name.startswith("features.norm4_2.")]
    assert len(kept) == 6
    for name in kept:
        assert state.average[name] is before[name], name
    followed = [name for name in now if name.startswith("features.norm5") and name.endswith(("_mean", "_variance"))]
    assert len(followed) == 4
    for name in followed:
        np.testing.assert_array_equal(state.average[name].numpy(), now[name].numpy())
        assert (now[name].numpy() != before[name].numpy()).any()


@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_clipping_scales_all_gradients_to_the_norm_and_only_when_it_is_exceeded(clip):
    model = create_model("lenet5")
    config = Config(
        data={"name": "digits"},
        model={"name": "lenet5"},
        train={"epochs": 1},
        optim={"name": "sgd", "lr": 1.0, "clip_norm": clip},
    )
    state = TrainState(model, config, steps_per_epoch=1)
    before = [parameter.numpy() for parameter in model.parameters()]
    batch = Batch(paddle.ones([4, 3, 32, 32]) * 20, paddle.to_tensor([0, 1, 2, 3]), np.arange(4))
    norm = state.step(batch, 4, StepSums(), want_norm=True).item()
    moved = np.sqrt(
        sum(
            ((new.numpy() - old).astype(np.float64) ** 2).sum()
            for old, new in zip(before, model.parameters(), strict=True)
        )
    )
    assert norm > 0.5
    assert moved == pytest.approx(min(clip, norm), rel=1e-4)
