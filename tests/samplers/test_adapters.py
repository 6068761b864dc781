"""Networks whose time, sign or scale are another library's, and the networks of pipelines with their schedulers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_ext.testing import assert_same_bits

from .tiny_transformers import CASES, diffusers, network_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array:DeprecationWarning")

FLOW = gs.schedules.flow()


# --- time from noise to data


POINT = torch.tensor([0.5, -2.0, 3.0])


def from_noise_to_data(t: Tensor, x: Tensor) -> Tensor:
    """The velocity to one point of data along (1 - t) noise + t data."""
    return (POINT - x) / (1.0 - t.reshape(-1, 1))


ADAPTED = {
    "torchcfm": lambda: gs.models.torchcfm(from_noise_to_data),
    "torchcfm, one time": lambda: gs.models.torchcfm(from_noise_to_data, scalar_time=True),
    "flow_matching": lambda: gs.models.flow_matching(lambda x, t: from_noise_to_data(t, x)),
}


@pytest.mark.parametrize("make", ADAPTED.values(), ids=ADAPTED.keys())
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m"])
def test_a_point_is_reached_along_reversed_time(solver: str, make: Callable[[], gs.models.WrappedModel]) -> None:
    model = make()
    x = gs.sample(model, gs.make_plan(solver, model.schedule, 4, model=model), shape=(5, 3))
    # four steps of some roundings of numbers of up to 4
    torch.testing.assert_close(x, POINT.expand(5, 3), rtol=0, atol=40 * 2.0**-22)


@pytest.mark.parametrize("adapter", [gs.models.torchcfm, gs.models.flow_matching])
def test_the_time_is_reversed_and_the_sign_turned(adapter: Any) -> None:
    model = adapter(lambda first, second: torch.full_like(first if first.ndim > 1 else second, 2.0))
    assert_same_bits(model(torch.zeros(2, 3), torch.zeros(2)), torch.full((2, 3), -2.0))
    np.testing.assert_array_equal(model.label(np.array([1.0, 0.75, 0.0])), [0.0, 0.25, 1.0])
    assert (model.prediction, model.schedule) == ("flow", FLOW)


def test_conditioning_reaches_a_reversed_network() -> None:
    model = gs.models.torchcfm(lambda t, x, y: y[:, None] * x)
    assert_same_bits(
        model(torch.ones(2, 3), torch.zeros(2), y=torch.tensor([1.0, 2.0])), -torch.tensor([[1.0], [2.0]]).expand(2, 3)
    )


def test_one_time_for_all_is_a_number() -> None:
    seen: list[Tensor] = []
    model = gs.models.torchcfm(lambda t, x: (seen.append(t), x)[1], scalar_time=True)
    model(torch.ones(2, 3), torch.tensor([0.25, 0.25]))
    assert (seen[0].ndim, float(seen[0])) == (0, 0.25)


# --- EDM


def raw(x: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(x) * torch.cos(t).reshape(-1, 1)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma", [0.01, 1.0, 60.0])
def test_preconditioning_is_that_of_diffusers(sigma: float, prediction_type: str) -> None:
    scheduler = diffusers.EDMEulerScheduler(sigma_data=0.7, prediction_type=prediction_type)
    model = gs.models.from_diffusers(raw, scheduler)  # type: ignore[arg-type]
    x, level = sigma * torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor(sigma)
    output = raw(scheduler.precondition_inputs(x, level), scheduler.precondition_noise(level).expand(4))
    expected = scheduler.precondition_outputs(x, output, level)
    # a dozen roundings of terms of at most |x| + sigma
    assert float((model(x, level.expand(4)) - expected).abs().max()) <= 12 * 2.0**-24 * (float(x.abs().max()) + sigma)
    assert model.prediction == "x0"


def test_a_preconditioned_network_runs_in_its_own_dtype() -> None:
    seen: list[torch.dtype] = []

    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, dtype=torch.bfloat16)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append(x.dtype)
            return self.layer(x)

    model = gs.models.edm(Raw())
    assert model(torch.ones(2, 3), torch.ones(2)).dtype == model.dtype == torch.float32
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize("option", [{"sigma_data": 0.0}, {"prediction": "x0"}])
def test_options_of_preconditioning_are_checked(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"sigma_data=0\.0: give|prediction='x0'; choose one of epsilon, v"):
        gs.models.edm(raw, **option)


# --- a pipeline's network and scheduler


def test_a_transformer_is_read_with_the_shift_of_its_scheduler() -> None:
    network = network_of(CASES["flux with guidance"])
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    model = gs.models.from_diffusers(network, scheduler, guidance=3.5)
    assert model.schedule == gs.schedules.flow(shift=3.0)
    assert (model.prediction, float(np.asarray(model.label(np.array(1.0))))) == ("flow", 1.0)
    assert model.defaults == {"guidance": 3.5}


def test_a_unet_is_read_with_the_table_and_prediction_of_its_scheduler() -> None:
    network = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",), layers_per_block=1, norm_num_groups=4,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    model = gs.models.from_diffusers(network, scheduler)
    assert (model.prediction, model.schedule) == ("v", gs.schedules.from_diffusers(scheduler))
    np.testing.assert_array_equal(model.label(np.array([999.0, 3.0])), [999.0, 3.0])


def test_the_folder_of_an_edm_pipeline_is_not_read_without_its_scaling(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    diffusers.EDMEulerScheduler().save_pretrained(tmp_path / "scheduler")
    with pytest.raises(ValueError, match=r"EDMEulerScheduler scales what .* to models\.from_diffusers"):
        gs.models.load(tmp_path)


def test_a_guidance_for_a_network_without_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"guidance=3\.5: function takes none; guide with models\.guidance"):
        gs.models.from_diffusers(raw, diffusers.DDIMScheduler(), guidance=3.5)  # type: ignore[arg-type]


def test_the_scheduler_of_another_space_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="scheduler: VQDiffusionScheduler"):
        gs.models.from_diffusers(raw, {"_class_name": "VQDiffusionScheduler"})  # type: ignore[arg-type]
