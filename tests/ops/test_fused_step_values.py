"""fused_step on values that break careless kernels: zeros, NaN, inf, subnormals, ties."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

import genie_ext
from genie_ext.testing import BY_DTYPE, StepCase, assert_same_bits, assert_step_agrees, run_step

# the interpreter computes with numpy, which reports what is meant here
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
INF, NAN = float("inf"), float("nan")

SPECIAL = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e-45, -1e-40, 1.1754942e-38, 6e-8, -3e-8, 6.1e-5,
     65504.0, 65519.996, 65520.0, -65520.0, 3.4028235e38, -3.4e38, 3.39e38, 1.0039062, 1.0117188],
    dtype=torch.float64,
)  # fmt: skip
COEFFICIENTS = [1.0, -1.0, 0.5, 1e-42, -1e30, INF, NAN]
PAIRS = torch.cartesian_prod(SPECIAL, SPECIAL)
TERMS = {
    "x": ("p1", "W0.x", "W1.x"),
    "outputs": ("Q1.1",),
    "aux": ("W0.aux", "W1.aux"),
    "history": ("W0.h1", "W1.h1"),
    "draws": ("C0.d1", "C1.d1"),
}
ALL = StepCase(history=1, draws=(F32,), aux=True, aux_out=True, store=(True,), x_in=F32)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_special_values_in_every_pair(backend, device, state, coefficient):
    case = StepCase(
        state=state,
        outputs=(state,),
        store=(True,),
        x_in=F16,
        batch=1,
        length=len(PAIRS),
        coefficients=(("p1", 1.0), ("Q1.1", coefficient), ("b1", 1e5), ("W0.x", coefficient)),
    )
    x, output = (PAIRS[None, :, i].to(state) for i in (0, 1))
    assert_step_agrees(case, backend, device, x=x, outputs=[output])


@pytest.mark.parametrize("bound", [0.0, 1e-42, 1.0, INF])
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_clamping_of_special_values(backend, device, state, bound):
    case = StepCase(
        state=state,
        store=(True,),
        batch=1,
        length=len(SPECIAL),
        coefficients=(("p1", 1.0), ("Q1.1", 0.0), ("b1", bound), ("r1", 1.0)),
    )
    y = assert_step_agrees(case, backend, device, x=SPECIAL[None].to(state))["stored[0]"]
    inside = y.abs() <= bound
    assert bool((inside == ~SPECIAL[None].to(state).isnan()).all())


@pytest.mark.parametrize("x_in", [F16, BF16], ids=["f16", "bf16"])
def test_float64_is_rounded_to_16_bits_once(backend, device, x_in):
    value = torch.tensor(DOUBLE_ROUNDED[x_in], dtype=F64)
    pass_on = (("W0.x", 1.0), ("W0.y1", 0.0), ("e", 1.0))
    case = StepCase(state=F64, x_in=x_in, batch=1, length=len(value), coefficients=pass_on)
    written = assert_step_agrees(case, backend, device, x=value[None, :])["x_in"]
    once = torch.tensor(ROUNDED_ONCE[x_in], dtype=F64)
    assert_same_bits(written.to(F64), once[None, :])
    assert not bool((value.float().to(x_in).to(F64) == once).any())


# a hair off the middle of two neighbours: float32 lands on the middle, its tie goes the wrong way
DOUBLE_ROUNDED = {
    F16: [1 + 2.0**-11 + 2.0**-40, -1 - 3 * 2.0**-11 + 2.0**-40, 2.0**-25 + 2.0**-60],
    BF16: [1 + 2.0**-8 + 2.0**-40, -1 - 3 * 2.0**-8 + 2.0**-40, 257 - 2.0**-30 + 2],
}
ROUNDED_ONCE = {
    F16: [1 + 2.0**-10, -1 - 2.0**-10, 2.0**-24],
    BF16: [1 + 2.0**-7, -1 - 2.0**-7, 258.0],
}


def test_the_reference_rounds_float64_to_float16_like_numpy():
    generator = torch.Generator().manual_seed(3)
    value = torch.randn(1, 100_000, dtype=F64, generator=generator)
    value *= 10 ** torch.empty_like(value).uniform_(-9, 6, generator=generator)
    pass_on = (("W0.x", 1.0), ("W0.y1", 0.0), ("e", 1.0))
    case = StepCase(state=F64, x_in=F16, batch=1, length=100_000, coefficients=pass_on)
    with np.errstate(over="ignore"):
        expected = torch.from_numpy(value.numpy().astype(np.float16))
    assert_same_bits(run_step(case, "reference", x=value)["x_in"], expected)


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
@pytest.mark.parametrize("argument", TERMS)
def test_nan_behind_a_zero_coefficient_is_not_seen(backend, device, argument, per_sample, zero):
    unused = tuple((name, zero) for name in TERMS[argument])
    case = replace(ALL, per_sample=per_sample, coefficients=unused)
    nan = torch.full((case.batch, case.length), NAN)
    changed = {argument: [nan] if argument in ("outputs", "history", "draws") else nan}
    written = assert_step_agrees(case, backend, device, **changed)
    assert bool(torch.isfinite(torch.cat([t.flatten() for t in written.values()])).all())


@pytest.mark.parametrize("state", [F32, F64, BF16], ids=["f32", "f64", "bf16"])
def test_a_zero_coefficient_of_one_sample_hides_nan_from_that_sample_only(backend, device, state):
    case = replace(ALL, state=state, per_sample=True, outputs=(state,))
    row = case.inputs()["row"]
    row[1, case.columns().index("Q1.1")] = 0.0
    nan = torch.full((case.batch, case.length), NAN, dtype=state)
    written = assert_step_agrees(case, backend, device, row=row, outputs=[nan])
    assert written["out"].isnan().all(1).tolist() == [True, False, True]
    assert written["nonfinite"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_a_row_of_zeros_gives_positive_zeros(backend, device, state, zero):
    case = replace(ALL, state=state, coefficients=tuple((name, zero) for name in ALL.columns()))
    negative = -torch.ones(case.batch, case.length, dtype=state)
    written = assert_step_agrees(case, backend, device, x=negative, aux=negative)
    assert_same_bits(written["out"], torch.zeros_like(negative))
    assert_same_bits(written["aux"], torch.zeros_like(negative))


@pytest.mark.parametrize("state", **BY_DTYPE)
def test_a_negative_zero_survives_a_single_term(backend, device, state):
    case = StepCase(state=state, coefficients=(("W0.x", 1.0), ("W0.y1", 0.0)))
    zeros = -torch.zeros(case.batch, case.length, dtype=state)
    assert_same_bits(assert_step_agrees(case, backend, device, x=zeros)["out"], zeros)


@pytest.mark.parametrize("element", [0, 4098])
@pytest.mark.parametrize("bad", [INF, -INF, NAN])
@pytest.mark.parametrize("argument", ["x", "aux"])
def test_a_nonfinite_state_is_flagged_for_its_sample(backend, device, argument, bad, element):
    keep_apart = (("p1", 0.0), ("W0.aux", 0.0), ("W1.x", 0.0))
    case = replace(ALL, length=4099, coefficients=keep_apart)
    state = case.inputs()[argument]
    state[2, element] = bad
    written = assert_step_agrees(case, backend, device, **{argument: state})
    assert written["nonfinite"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "state, value, flag",
    [(F16, 65519.0, 0), (F16, 65520.0, 1), (F64, 1e300, 0), (BF16, 3.39e38, 0), (BF16, 3.4e38, 1)],
    ids=str,
)
def test_flags_are_about_values_as_stored(backend, device, state, value, flag):
    only_output = (("p1", 0.0), ("Q1.1", 1.0), ("W0.x", 0.0), ("W0.y1", 1.0))
    case = StepCase(state=state, outputs=(F64,), coefficients=only_output)
    output = torch.full((case.batch, case.length), value, dtype=F64)
    written = assert_step_agrees(case, backend, device, outputs=[output])
    assert written["nonfinite"].tolist() == [flag] * 3


def test_flags_already_set_stay_set(backend, device):
    case = StepCase()
    flags = torch.tensor([0, 1, 4], dtype=torch.int32, device=device)
    inputs = case.inputs(device)
    genie_ext.fused_step(**inputs, nonfinite=flags, backend=backend)
    assert flags.tolist() == [0, 1, 4]


@pytest.mark.parametrize("length", [4099, 20011], ids=["one_thread", "threads"])
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_subnormals_survive_a_process_that_flushes_them(backend, device, obeys_flush_denormal, flushing, state, length):
    if obeys_flush_denormal:
        pytest.skip("the interpreter computes with numpy, which the flag governs")
    tiny = (("p1", 0.0), ("Q1.1", 1e-39), ("W0.x", 0.0), ("W0.y1", 1.0))
    case = StepCase(state=state, outputs=(F32,), length=length, coefficients=tiny)
    inputs, expected = case.inputs(device), run_step(case, "reference")["out"]
    with flushing():
        actual = genie_ext.fused_step(**inputs, backend=backend).out
    assert_same_bits(actual, expected)
    assert bool((expected != 0).any()) or state == F16  # float16 has no number that small


@pytest.fixture
def flushing():
    """A context in which this process flushes subnormals to zero, which it proves on entry."""

    @contextmanager
    def flush():
        torch.set_flush_denormal(True)
        try:
            assert torch.tensor(1e-40) * 0.5 == 0
            yield
        finally:
            torch.set_flush_denormal(False)

    return flush
