"""What other libraries have: bare modules, transformers, outputs in containers, tables of torch tensors."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.uses.reconstruct import GaussianData

from .fakes import SCHEDULE, FakeModel, solver_plan

PLAN = solver_plan("deis_tab1", 3)
FLOW = gs.schedules.flow()


class Halve(nn.Module):
    """0.5 x; remembers the dtypes of what it got."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5, dtype=dtype))
        self.label = nn.Embedding(3, 2, dtype=dtype)  # names of the contract that mean something else here
        self.outputs = nn.ModuleList()
        self.seen: list[tuple[torch.dtype, torch.dtype]] = []

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
        self.seen.append((x.dtype, t.dtype))
        return self.weight * x


# --- bare modules


def samples(model: Any) -> Tensor:
    return gs.sample(model, PLAN, shape=(2, 3))


def adaptive(model: Any) -> Tensor:
    return gs.rk45(model, SCHEDULE, shape=(2, 3), rtol=1e-2, atol=1e-2).x


def compared(model: Any) -> Tensor:
    return gs.compare(model, SCHEDULE, ["ddim"], [2], shape=(2, 3), fine_steps=4).cells[0].samples


def guided(model: Any) -> Tensor:
    pair = gs.guidance.classifier_free(model, null={"c": 0})
    return gs.sample(pair, PLAN.guided(2.0), shape=(2, 3), cond={"c": torch.ones(2)})


RUNS = {"sample": samples, "rk45": adaptive, "compare": compared, "classifier_free": guided}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_bare_module_is_a_model(run: Any) -> None:
    assert_same_bits(run(Halve()), run(lambda x, t, **cond: 0.5 * x))


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_bare_module_is_given_x_in_its_own_dtype(run: Any, dtype: torch.dtype) -> None:
    network = Halve(dtype)
    assert run(network).dtype == torch.float32
    assert set(network.seen) == {(dtype, torch.float32)}


# --- what networks return


@dataclass
class Output:
    sample: Tensor
    extra: object = None


class Fields(OrderedDict[str, Tensor]):
    """As diffusers' and transformers' outputs: a mapping with attributes; a slice of it is no slice of the tensor."""

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


RETURNED = {
    "tensor": lambda y: y,
    "list": lambda y: [y],
    "tuple": lambda y: (y,),
    "dataclass": lambda y: Output(y),
    "dict of one": lambda y: {"prediction": y},
    "dict with a sample": lambda y: {"sample": y, "features": [y, y]},
    "dict of two tensors": lambda y: {"features": y[:1], "sample": y},
    "mapping with attributes": lambda y: Fields(sample=y),
}


@pytest.mark.parametrize("form", RETURNED.values(), ids=RETURNED.keys())
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_network_may_return_its_prediction_in_a_container(run: Any, form: Any) -> None:
    expected = run(lambda x, t, **cond: 0.5 * x)
    assert_same_bits(run(lambda x, t, **cond: form(0.5 * x)), expected)
    assert_same_bits(run(gs.models.wrap(lambda x, t, **cond: form(0.5 * x), SCHEDULE)), expected)


NOTHING = {
    "None": (lambda y: None, "a NoneType"),
    "two tensors": (lambda y: {"a": y, "b": y}, "a dict with ['a', 'b']"),
    "number": (lambda y: 0.5, "a float"),
    "array": (lambda y: y.numpy(), "a ndarray"),
}


@pytest.mark.parametrize(("form", "shown"), NOTHING.values(), ids=NOTHING.keys())
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_what_a_wrapped_network_returns_instead_is_named(run: Any, form: Any, shown: str) -> None:
    with pytest.raises(TypeError) as error:
        run(gs.models.wrap(lambda x, t, **cond: form(0.5 * x), SCHEDULE))
    assert str(error.value).startswith(
        f"network: returned {shown} in place of one prediction; pick it with models.wrap"
    )


@pytest.mark.parametrize("form", [f for f, _ in NOTHING.values()], ids=NOTHING.keys())
def test_what_a_bare_function_returns_instead_is_named_with_its_row(form: Any) -> None:
    with pytest.raises(TypeError, match=r"model: returned \w+ in row 0; return a tensor or a tuple of tensors"):
        samples(lambda x, t: form(0.5 * x))


def learned_variance(x: Tensor, t: Tensor) -> Tensor:
    return torch.cat([0.5 * x, x], dim=1)


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_output_with_a_learned_variance_says_how_to_drop_it(wrapped: bool) -> None:
    model: Any = gs.models.wrap(learned_variance, SCHEDULE) if wrapped else learned_variance
    with pytest.raises(ValueError, match=r"shape \(2, 6, 4, 4\).*learned variance.*\.chunk\(2, dim=1\)\[0\]"):
        gs.sample(model, PLAN, shape=(2, 3, 4, 4))


def test_the_way_to_drop_a_learned_variance_drops_it() -> None:
    model = gs.models.wrap(
        learned_variance, SCHEDULE, call=lambda network, x, t, **cond: network(x, t, **cond).chunk(2, dim=1)[0]
    )
    expected = gs.sample(lambda x, t: 0.5 * x, PLAN, shape=(2, 3, 4, 4))
    assert_same_bits(gs.sample(model, PLAN, shape=(2, 3, 4, 4)), expected)


# --- signatures


def by_name(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Any:
    return network(hidden_states=x, timestep=t, **cond)


class Transformer(nn.Module):
    """Arguments in the order of diffusers' transformers: the text second, the time by name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        pooled_projections: Tensor | None = None,
        timestep: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        assert encoder_hidden_states is not None and timestep is not None
        mean = encoder_hidden_states.mean((1, 2)).reshape(-1, *(1,) * (hidden_states.ndim - 1))
        return Output(self.weight * hidden_states * mean)


TEXT = torch.stack([torch.full((7, 4), 1.0 + i) for i in range(3)])


def test_a_network_that_takes_the_time_by_name_is_adapted_by_a_call() -> None:
    model = gs.models.wrap(Transformer(), FLOW, prediction="flow", call=by_name)
    plan = gs.make_plan("ddim", FLOW, 3, prediction="flow")
    x = gs.sample(model, plan, shape=(3, 2, 4, 4), cond={"encoder_hidden_states": TEXT}, batch_size=2)
    scale = torch.tensor([1.0, 2.0, 3.0]).reshape(-1, 1, 1, 1)
    expected = gs.sample(lambda x, t, scale: 0.5 * x * scale, plan, shape=(3, 2, 4, 4), cond={"scale": scale})
    assert_same_bits(x, expected)


def test_without_a_call_python_says_that_the_arguments_collide() -> None:
    model = gs.models.wrap(Transformer(), FLOW, prediction="flow")
    plan = gs.make_plan("ddim", FLOW, 3, prediction="flow")
    with pytest.raises(TypeError, match="multiple values for argument 'encoder_hidden_states'"):
        gs.sample(model, plan, shape=(3, 2, 4, 4), cond={"encoder_hidden_states": TEXT})


@pytest.mark.parametrize("name", ["call", "label"])
def test_a_call_or_label_that_is_no_function_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: Halve; give a function"):
        gs.models.wrap(Halve(), SCHEDULE, **{name: Halve()})  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float16", torch.int32])
def test_a_dtype_that_is_no_floats_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"dtype=.*; give a float dtype of torch"):
        gs.models.wrap(Halve(), SCHEDULE, dtype=dtype)


def test_a_model_is_not_wrapped_again() -> None:
    with pytest.raises(TypeError, match="network: WrappedModel is a model already; pass the network that it holds"):
        gs.models.wrap(gs.models.wrap(Halve(), SCHEDULE), SCHEDULE)


def test_dtype_and_device_may_be_given() -> None:
    seen: list[torch.dtype] = []
    model = gs.models.wrap(lambda x, t: seen.append(x.dtype) or 0.5 * x, SCHEDULE, dtype=torch.float16, device="cpu")
    assert (model.dtype, model.device) == (torch.float16, torch.device("cpu"))
    samples(model)
    assert set(seen) == {torch.float16}


def test_a_real_sd3_transformer_runs() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=2,
        joint_attention_dim=8, caption_projection_dim=8, pooled_projection_dim=6, out_channels=4, pos_embed_max_size=8,
    ).eval()  # fmt: skip
    model = gs.models.wrap(network, FLOW, prediction="flow", call=by_name)
    pair = gs.guidance.classifier_free(
        model, null={"encoder_hidden_states": torch.zeros(5, 8), "pooled_projections": torch.zeros(6)}
    )
    cond = {"encoder_hidden_states": torch.randn(3, 5, 8), "pooled_projections": torch.randn(3, 6)}
    plan = gs.make_plan("ddim", FLOW, 2, prediction="flow")
    x = gs.sample(pair, plan.guided(3.0), shape=(3, 4, 8, 8), cond=cond, batch_size=2)
    assert x.shape == (3, 4, 8, 8)
    first = gs.sample(
        pair, plan.guided(3.0), shape=(2, 4, 8, 8), cond={k: v[:2] for k, v in cond.items()}, batch_size=2
    )
    assert_same_bits(x[:2], first)


def test_a_real_flux_transformer_runs() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, pooled_projection_dim=6, axes_dims_rope=(4, 4, 8),
    ).eval()  # fmt: skip
    model = gs.models.wrap(network, FLOW, prediction="flow", label=lambda t: t, call=by_name)
    cond = {"encoder_hidden_states": torch.randn(2, 5, 8), "pooled_projections": torch.randn(2, 6)}
    shared = {"img_ids": torch.zeros(9, 3), "txt_ids": torch.zeros(5, 3)}
    plan = gs.make_plan("ddim", FLOW, 2, prediction="flow")
    x = gs.sample(model, plan, shape=(2, 9, 4), cond=cond, shared=shared)
    assert x.shape == (2, 9, 4)


# --- the prediction of a wrapped model


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_rk45_and_compare_read_the_prediction_of_the_model(prediction: str) -> None:
    model = GaussianData(SCHEDULE, 0.5, prediction=prediction)
    epsilon = GaussianData(SCHEDULE, 0.5)
    tight: dict[str, Any] = {"shape": (2, 3), "rtol": 1e-6, "atol": 1e-6, "dtype": torch.float64}
    own, other = (gs.rk45(network, SCHEDULE, **tight).x for network in (model, epsilon))
    # some tens of steps, each off by 1e-6 (1 + |v|), |v| below 3 once it is of the size of the data
    assert (own - other).abs().max() < 100 * 4e-6
    fine, cells = (gs.compare(m, SCHEDULE, ["ddim"], [5], shape=(2, 3), fine_steps=40) for m in (model, epsilon))
    assert (fine.fine - cells.fine).abs().max() < 0.01 * cells.cells[0].rmse


def test_rk45_runs_models_that_return_more() -> None:
    network = gs.models.wrap(lambda x, t: 0.5 * x, SCHEDULE)
    assert_same_bits(adaptive(gs.genie.exact(network)), adaptive(network))


# --- tables of torch


BETAS = torch.linspace(1e-4, 0.02, 50, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("parameter", [True, False])
def test_betas_may_be_a_tensor_of_any_float_dtype(dtype: torch.dtype, parameter: bool) -> None:
    betas = BETAS.to(dtype)
    schedule = gs.schedules.from_betas(nn.Parameter(betas) if parameter else betas)  # type: ignore[arg-type]
    assert schedule == gs.schedules.from_betas(betas.double().numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parameter", [True, False])
def test_alphas_cumprod_may_be_a_tensor_of_any_float_dtype(dtype: torch.dtype, parameter: bool) -> None:
    table = torch.cumprod(1.0 - BETAS, 0).to(dtype)
    schedule = gs.schedules.from_alphas_cumprod(nn.Parameter(table) if parameter else table)  # type: ignore[arg-type]
    assert schedule == gs.schedules.from_alphas_cumprod(table.double().numpy())


def test_a_table_of_booleans_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="betas has dtype bool: give real numbers"):
        gs.schedules.from_betas(torch.ones(5, dtype=torch.bool))  # type: ignore[arg-type]


def test_a_function_may_carry_what_the_contract_names() -> None:
    own = FakeModel(label=SCHEDULE.log_gamma, outputs=("epsilon",), dtype=torch.bfloat16, device="cpu")
    model = gs.models.as_model(own)
    assert (model.outputs, model.dtype, model.device) == (("epsilon",), torch.bfloat16, torch.device("cpu"))
    samples(own)
    expected = torch.from_numpy(np.asarray(SCHEDULE.log_gamma(PLAN.times))).float()
    assert torch.equal(torch.stack([call.t[0] for call in own.calls]), expected)


def test_a_model_stays_itself_at_the_door() -> None:
    model = gs.models.wrap(Halve(), SCHEDULE)
    assert gs.models.as_model(model) is model
