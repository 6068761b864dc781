"""Numbers of a row that are computed while it runs, and the Langevin samplers that live by them."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, PlanState, Program
from genie_samplers.cli import main
from genie_samplers.plan import Combination, Conversion, Gain, Init, Row, Source
from genie_samplers.run import REDUCTIONS, run_rows

from ..plans.langevin_recursion import variances
from .fakes import FakeModel, normals, same_label
from .plan_states import IDS, network, noise_of

SHAPE = (5, 2, 5, 3)
VE, VP = gs.schedules.ve(), gs.schedules.vp_linear()


def made(name: str, schedule: gs.schedules.Schedule = VE, nfe: int = 8, **options: Any) -> Plan:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.UnfitWarning)
        return gs.make_plan(name, schedule, nfe, options=options)


def pc(schedule: gs.schedules.Schedule = VE, **options: Any) -> Plan:
    return made("predictor_corrector", schedule, **options)


def identity(value: Tensor, index: int, out: Tensor) -> None:
    out.copy_(value)


def score(x: Tensor, t: Tensor) -> Tensor:
    """Of data N(0, 1/4) at noise t, as epsilon; elementwise, so that bits do not depend on the batch."""
    sigma = t.reshape(-1, *(1,) * (x.ndim - 1)).to(x.dtype)
    return x * sigma / (0.25 + sigma * sigma)


def run(plan: Plan, operator: Any = identity, **options: Any) -> Tensor:
    named = {name: operator for name in plan.operators}
    return gs.sample(score, plan, **({"shape": SHAPE, "seed": 3, "operators": named} | options))


def begun(plan: Plan, **options: Any) -> PlanState:
    program = Program.of(plan, operators={name: identity for name in plan.operators})
    x = plan.init.scale * normals(IDS, SHAPE[1:], draw=0, stream=0, seed=3)
    return PlanState(program, x, noise_of(IDS, seed=3), **options)


def finished(state: PlanState, **options: Any) -> Tensor:
    def answer(call: Any, state: PlanState) -> Tensor:
        return score(state.model_input, torch.full((len(state.x),), float(VE.sigma(call.time))))

    return run_rows(state, answer, **options).x


# --- the step


def test_the_langevin_step_of_each_sample_is_the_published_formula() -> None:
    epsilon, z = (normals(IDS, (2, 8, 4), draw=draw, stream=1) for draw in (1, 2))  # 64 elements, where none is added
    a, snr, sigma = 0.9, 0.16, 3.0
    norms = [torch.linalg.vector_norm(v.double().flatten(1), dim=1) for v in (z, epsilon / sigma)]
    e = 2.0 * a * (snr * norms[0] / norms[1]) ** 2
    found = REDUCTIONS["langevin_snr"]((epsilon, z), (a, snr, sigma))
    torch.testing.assert_close(found, torch.stack([-e / sigma, (2.0 * e).sqrt()], dim=1), rtol=1e-6, atol=0.0)


def test_the_coupled_step_goes_by_means_over_the_batch() -> None:
    epsilon, z = normals(IDS, SHAPE[1:], draw=1, stream=1).double(), normals(IDS, SHAPE[1:], draw=2, stream=1).double()
    a, snr, sigma = 0.9, 0.16, 3.0
    norms = [torch.linalg.vector_norm(v.flatten(1), dim=1).mean() for v in (z, epsilon / sigma)]
    e = (2.0 * a * (snr * norms[0] / norms[1]) ** 2).expand(len(IDS))
    found = REDUCTIONS["langevin_snr_coupled"]((epsilon, z), (a, snr, sigma))
    torch.testing.assert_close(found, torch.stack([-e / sigma, (2.0 * e).sqrt()], dim=1), rtol=1e-14, atol=0.0)


# --- samples


PLANS = {
    "langevin": pc(), "batch": pc(norm="batch"), "two steps": pc(n_steps=3), "vp": pc(VP), "tdas": pc(filter="tdas"),
    "pds": pc(filter="pds"), "pds raw": pc(filter="pds", snr_norm="raw"), "ald": pc(corrector="ald"),
    "ncsn": made("annealed_langevin", nfe=11),
}  # fmt: skip
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
PER_SAMPLE = {name: plan for name, plan in PLANS.items() if name != "batch"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"n_steps": 3}, {"corrector": "ald"}, {"norm": "batch"}], ids=str)
@pytest.mark.parametrize("mode", ["tdas", "pds"])
@pytest.mark.parametrize("snr_norm", ["filtered", "raw"])
def test_an_identity_filter_gives_the_bits_of_no_filter(
    snr_norm: str, mode: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    with_filter = pc(filter=mode, snr_norm=snr_norm, **options)
    assert_same_bits(run(with_filter, dtype=dtype), run(pc(**options), dtype=dtype))


def test_an_identity_filter_on_annealed_langevin_gives_the_bits_of_no_filter() -> None:
    filtered = made("annealed_langevin", nfe=11, filter="pds")
    assert_same_bits(run(filtered), run(PLANS["ncsn"]))


@pytest.mark.parametrize("plan", PER_SAMPLE.values(), ids=PER_SAMPLE)
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_samples_do_not_depend_on_the_chunks(plan: Plan, batch_size: int) -> None:
    assert_same_bits(run(plan, batch_size=batch_size), run(plan))


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_a_coupled_gain_refuses_chunks_and_padding(batch_size: int) -> None:
    with pytest.raises(
        ValueError, match=f"batch_size={batch_size} for 5 samples: a gain of this plan takes means over"
    ):
        run(PLANS["batch"], batch_size=batch_size)


def test_a_coupled_gain_refuses_shards() -> None:
    with pytest.raises(ValueError, match=r"sample_ids: 5, ..: a gain of this plan takes means over the batch"):
        run(PLANS["batch"], sample_ids=range(5, 10))


def test_the_command_line_makes_coupled_samples_in_one_batch(tmp_path: Path) -> None:
    file, out = tmp_path / "plan.json", tmp_path / "images.png"
    file.write_text(gs.make_plan("predictor_corrector", VP, 4, options={"norm": "batch"}).to_json())
    arguments = ["sample", "--plan", str(file), "--count", "2", "--out", str(out)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code != 0
    assert "takes means over the batch" in " ".join(done.output.split())
    assert CliRunner().invoke(main, [*arguments, "--batch-size", "2"]).exit_code == 0


def test_a_coupled_gain_runs_in_one_batch() -> None:
    assert_same_bits(run(PLANS["batch"], batch_size=5), run(PLANS["batch"]))
    assert not torch.equal(run(PLANS["batch"], shape=(3, *SHAPE[1:])), run(PLANS["batch"])[:3])


@every_plan
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_backends_and_a_second_run_give_the_same_bits(plan: Plan, backend: str) -> None:
    first = run(plan)
    assert_same_bits(run(plan, backend=backend), first)
    assert bool(first.isfinite().all())


@every_plan
def test_out_of_place_gives_the_same_bits(plan: Plan) -> None:
    assert_same_bits(finished(begun(plan, in_place=False)), finished(begun(plan)))


@every_plan
def test_inside_inference_mode_and_after_it(plan: Plan) -> None:
    """What was kept from inside is used again outside."""
    expected = run(plan, backend="reference")
    with torch.inference_mode():
        inside = run(plan).clone()
    assert_same_bits(inside, expected)
    assert_same_bits(run(plan), expected)


def test_a_compiled_function_may_sample() -> None:
    assert_same_bits(torch.compile(lambda: 2.0 * run(PLANS["pds"]), backend="eager")(), 2.0 * run(PLANS["pds"]))


def copied_by_pickle(state: PlanState) -> PlanState:
    return pickle.loads(pickle.dumps(state))


@every_plan
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, copied_by_pickle], ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("until", [1, 2, 5])
@pytest.mark.each_value
def test_a_copy_midway_goes_on_as_the_state(plan: Plan, until: int, copied: Callable[[PlanState], PlanState]) -> None:
    state = begun(plan)
    finished(state, until=until)
    twin = copied(state)
    whole = finished(begun(plan))
    assert_same_bits(finished(state), whole)
    assert_same_bits(finished(twin), whole)


@every_plan
def test_guided_plans_have_the_bits_of_the_mixture(plan: Plan) -> None:
    def pair(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return score(x, t), score(x, t)

    named = {name: identity for name in plan.operators}
    guided = gs.sample(pair, plan.guided(2.0), shape=SHAPE, seed=3, operators=named)
    assert bool(guided.isfinite().all())  # 2 s - s rounds otherwise than s
    torch.testing.assert_close(guided, run(plan), rtol=1e-3, atol=1e-3)


def test_samples_have_the_variance_of_the_recursion() -> None:
    """Of 16 x 4096 numbers; the recursion takes expected norms, from which those of a sample differ by order 1 / d."""
    plan = gs.make_plan("predictor_corrector", VE, 100)
    assert plan.recipe is not None
    exact = variances(VE.sigma(plan.recipe.grid), np.full(1, 0.25), np.ones(1), np.ones(1)).last[0]
    x = gs.sample(score, plan, shape=(16, 1, 64, 64), seed=0)
    assert abs(x.double().square().mean().item() / exact - 1.0) < 4.0 * math.sqrt(2.0 / x.numel()) + 4.0 / 4096


def test_a_score_of_zero_is_reported_with_its_gain() -> None:
    with pytest.raises(gs.NonFiniteError, match=r"became inf or NaN in row 1 .* its gains \(langevin_snr\) are not"):
        gs.sample(lambda x, t: torch.zeros_like(x), PLANS["langevin"], shape=(5, 2, 8, 4))


def test_the_memory_of_gains_and_draws_is_counted() -> None:
    state, plain = begun(PLANS["langevin"]), begun(pc(corrector="none"))
    finished(state)
    finished(plain)
    table = Program.of(PLANS["langevin"]).table
    draws = state.x.nbytes
    assert state.nbytes == _own(state) + draws + table.nbytes * len(IDS)
    assert plain.nbytes == _own(plain)


def _own(state: PlanState) -> int:
    """Of x, of a slot for each value, and of the flags."""
    plan = state.program.plan
    return state.x.nbytes * (1 + plan.slots) + 4 * len(state.x) * (1 + len(plan.rows))


@pytest.mark.parametrize("start", [0, 1])
def test_an_image_is_noised_to_its_time_where_the_plan_starts_in_uniform_noise(start: int) -> None:
    plan, model = PLANS["ncsn"], FakeModel(score)
    gs.sample(model, plan, image=torch.zeros(2, 3, 5), start=start, seed=3)
    assert plan.recipe is not None
    z = normals([0, 1], (3, 5), draw=0, stream=3, seed=3)
    assert_same_bits(model.calls[0].x, float(VE.sigma(plan.recipe.grid[start])) * z)


# --- the second state


def test_a_state_that_begins_where_an_operator_reads_aux_needs_it() -> None:
    plan = pc(VP, filter="pds")
    number = next(n for n, row in enumerate(plan.rows) if row.sources and row.sources[0].of == "aux")
    program = Program.of(plan, operators={name: identity for name in plan.operators})
    with pytest.raises(ValueError, match="aux: missing"):
        PlanState(program, torch.zeros(SHAPE), noise_of([0, 1, 2, 3, 4]), first_row=number)


# --- reductions of the caller's own


def scaled(*gains: Gain) -> Plan:
    """x' = 0.9 x - 0.5 epsilon + 0.3 z with gains."""
    row = Row(
        1.0, Combination(x=0.9, y=(-0.5,), draws=(0.3,)), converted=(Conversion(0.0, (1.0,)),), draws=(0,), gains=gains
    )
    return Plan(Init(1.0), ("epsilon",), "epsilon", (row,))


SOURCES = (Source.state(), Source.output(), Source.draw(0))
MINE = Gain("mine", SOURCES, ("x", "draw0"), (0.25, 0.5))
MODEL = FakeModel(lambda x, t: network(x), label=same_label)


def given(plan: Plan, reduction: Any, **options: Any) -> Tensor:
    return gs.sample(MODEL, plan, shape=SHAPE, seed=3, gains={"mine": reduction}, **options)


def constant(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
    return torch.tensor(parameters).expand(len(sources[0]), -1)


def zeroed(number: int) -> Any:
    """A reduction that spoils one of its sources."""

    def reduction(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
        sources[number].zero_()
        return constant(sources, parameters)

    return reduction


def test_a_gain_replaces_the_numbers_that_it_names() -> None:
    plain = scaled()
    row = dataclasses.replace(plain.rows[0], x=Combination(x=0.25, y=(-0.5,), draws=(0.5,)))
    expected = gs.sample(MODEL, dataclasses.replace(plain, rows=(row,)), shape=SHAPE, seed=3)
    assert_same_bits(given(scaled(MINE), constant), expected)


def test_a_gain_is_given_what_it_names() -> None:
    seen: list[Tensor] = []

    def watched(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
        seen.extend(source.clone() for source in sources)
        return constant(sources, parameters)

    given(scaled(MINE), watched, dtype=torch.float64)
    ids = list(range(SHAPE[0]))
    x, z = (normals(ids, SHAPE[1:], draw=0, stream=stream, seed=3).double() for stream in (0, 1))
    assert_same_bits(seen[0], x)
    assert_same_bits(seen[1], network(x))
    assert_same_bits(seen[2], z)


def test_gradients_go_through_a_gain() -> None:
    def norm(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
        return sources[0].square().flatten(1).sum(1, keepdim=True)

    x = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    row = Row(1.0, Combination(x=1.0), calls=0, gains=(Gain("norm", (Source.state(),), ("x",)),))
    program = Program.of(Plan(Init(1.0), ("epsilon",), "epsilon", (row,)), dtype=torch.float64, gains={"norm": norm})
    state = PlanState(program, x, in_place=False)
    state.advance()
    state.x.sum().backward()
    y = x.detach().clone().requires_grad_()
    (y.square().sum(1, keepdim=True) * y).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-15, atol=0.0)


def moved(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
    sources[0].data = sources[0].clone()
    return torch.zeros(5, 2)


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        (None, "gains: 'mine' is missing, which the plan computes; pass gains={'mine': ...}"),
        ({"mine": constant, "more": constant}, "gains: the plan computes no 'more' (it computes 'mine')"),
        ({"mine": 1.0}, "gains['mine']: float is not callable; pass a function of (sources, parameters)"),
        ({"langevin_snr": constant}, "gains: 'langevin_snr' is a reduction of the library"),
        (constant, "gains: function; pass a mapping of names to functions"),
        ({"mine": lambda sources, parameters: 1.0}, "gains['mine']: made float in row 0; need a float tensor (5, 2)"),
        ({"mine": lambda sources, parameters: torch.zeros(5)}, "gains['mine']: made torch.float32 (5,) in row 0"),
        ({"mine": lambda sources, parameters: torch.zeros(5, 2).long()}, "gains['mine']: made torch.int64 (5, 2)"),
        ({"mine": lambda sources: None}, "gains['mine']: failed in row 0: "),
        ({"mine": lambda sources, parameters: sources[3]}, "gains['mine']: failed in row 0: list index out of range"),
        ({"mine": lambda sources, parameters: {}["x"]}, "gains['mine']: failed in row 0: KeyError 'x'"),
        ({"mine": moved}, "gains['mine']: wrote into its sources in row 0; work on a copy"),
        ({"mine": zeroed(0)}, "gains['mine']: wrote into its sources in row 0; work on a copy"),
        ({"mine": zeroed(1)}, "gains['mine']: wrote into its sources in row 0; work on a copy"),
    ],
)
def test_bad_reductions_are_named(gains: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        gs.sample(MODEL, scaled(MINE), shape=SHAPE, gains=gains)
    assert message in str(error.value)


def test_a_reduction_of_the_library_with_too_few_parameters_is_named() -> None:
    gain = Gain("langevin_snr", SOURCES[:2], ("x", "draw0"), (1.0,))
    with pytest.raises(ValueError, match=r"gains\['langevin_snr'\]: failed in row 0: not enough values"):
        gs.sample(MODEL, scaled(gain), shape=SHAPE)


# --- other doors


def test_comparing_leaves_out_what_needs_operators() -> None:
    table = gs.compare(
        FakeModel(score), VE, ["predictor_corrector", "ddim"], [8], shape=(2, 4), fine_steps=4,
        options={"predictor_corrector": {"filter": "tdas"}},
    )  # fmt: skip
    assert [cell.solver for cell in table.cells] == ["ddim"]
    assert "applies the operators filter" in table.skipped["predictor_corrector", 8]


def test_a_loop_over_levels_refuses_such_plans() -> None:
    from genie_samplers.integrations import k_diffusion

    plan = pc(gs.schedules.edm())
    with pytest.raises(ValueError, match="applies operators, computes gains or starts in uniform noise"):
        k_diffusion.sample(plan, lambda x, sigma: x, torch.ones(1, 1, 4, 4), k_diffusion.sigmas_of(plan))


def test_they_are_no_choice_of_auto() -> None:
    from genie_samplers.solvers.choosing import AUTO, FURTHER

    assert not {"predictor_corrector", "annealed_langevin"} & {candidate.solver for candidate in (*AUTO, *FURTHER)}
