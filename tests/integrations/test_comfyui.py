"""The ComfyUI nodes in a ComfyUI that is written from its description (fake_comfy.py)."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.integrations import comfyui
from genie_samplers.integrations import k_diffusion as K
from genie_samplers.integrations.comfyui import nodes
from genie_samplers.integrations.comfyui.model_sampling import schedule_of

from .denoisers import denoiser
from .fake_comfy import Guider, Inpaint, ModelEPS, ModelFlow, Patcher, modules

SHAPE = (3, 4, 6, 5)
KINDS = {"eps": ModelEPS, "flow": ModelFlow}
both_paths = pytest.mark.parametrize("kind", KINDS)
POINT = torch.linspace(-1.0, 1.0, 4 * 6 * 5).reshape(1, 4, 6, 5).expand(SHAPE)


@pytest.fixture(autouse=True)
def comfy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)


def node(key: str) -> Any:
    return comfyui.NODE_CLASS_MAPPINGS[key]()


def sampler(solver: str = "auto", options: str = "{}", s_noise: float = 1.0, path: str = "auto") -> Any:
    return node("GenieSampler").execute(solver=solver, options=options, s_noise=s_noise, path=path)[0]


def sigmas_for(sampling: Any, grid: str = "auto", steps: int = 6, denoise: float = 1.0) -> Tensor:
    return node("GenieSigmas").execute(model=Patcher(sampling), grid=grid, steps=steps, denoise=denoise)[0]


def noise(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def run(of: Any, sampling: Any, sigmas: Tensor, denoise: Any = denoiser, callback: Any = None, **more: Any) -> Tensor:
    arguments = {"noise": noise(), **more}
    return of.sample(Guider(sampling, denoise), sigmas, {"model_options": {}, "seed": 17}, callback, **arguments)


def to_the_point(x: Tensor, sigma: Tensor) -> Tensor:
    return POINT[: len(x)].clone()


# --- samples


@both_paths
@pytest.mark.parametrize("solver", ["auto", "euler", "ddpm", "dpmpp_2m_sde", "edm_heun", "unipc3", "deis_tab3"])
def test_a_model_of_one_picture_gives_that(kind: str, solver: str) -> None:
    """To the rounding of float32: the last step is x_0 itself, or a sum of some ten terms that cancel from sigma 14."""
    sampling = KINDS[kind]()
    sigmas = sigmas_for(sampling)
    x = run(sampler(solver), sampling, sigmas, to_the_point, latent=POINT)
    assert float((x - POINT).abs().max()) < 1e-4


@both_paths
def test_the_samples_are_those_of_k_diffusions_door(kind: str) -> None:
    sampling = KINDS[kind]()
    sigmas = sigmas_for(sampling, "karras")
    x = sampling.noise_scaling(sigmas[0], noise(), torch.zeros(SHAPE), True)
    expected = K.sample("dpmpp_2m", denoiser, x, sigmas, flow=kind == "flow")
    assert_same_bits(run(sampler("dpmpp_2m"), sampling, sigmas), expected)


def test_flow_starts_at_one_itself() -> None:
    sigmas = sigmas_for(ModelFlow())
    asked = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma[0]))
        return denoiser(x, sigma)

    assert bool(run(sampler(), ModelFlow(), sigmas, model).isfinite().all())
    assert asked[0] == 1.0


@both_paths
def test_previews_see_every_step(kind: str) -> None:
    seen = []
    sampling = KINDS[kind]()
    run(sampler("heun"), sampling, sigmas_for(sampling), callback=lambda *each: seen.append(each))
    assert [(i, total) for i, _, _, total in seen] == [(i, 6) for i in range(6)]
    assert {each.shape for _, denoised, x, _ in seen for each in (denoised, x)} == {SHAPE}


def test_noise_follows_from_the_seed_and_the_place_in_the_batch() -> None:
    sampling = ModelEPS()
    sigmas, of = sigmas_for(sampling), sampler("dpmpp_2m_sde", '{"eta": 0.7}')
    torch.manual_seed(1)
    x = run(of, sampling, sigmas)
    torch.manual_seed(2)
    assert_same_bits(run(of, sampling, sigmas), x)
    assert_same_bits(run(of, sampling, sigmas, noise=noise()[:1]), x[:1])
    other = of.sample(Guider(sampling, denoiser), sigmas, {"model_options": {}, "seed": 2**64 - 1}, None, noise())
    assert not torch.equal(other, x)


def test_s_noise_multiplies_the_noise() -> None:
    """At 0 the ancestral step keeps its mean alone."""
    sampling = ModelEPS()
    sigmas = sigmas_for(sampling)
    x = sampling.noise_scaling(sigmas[0], noise(), torch.zeros(SHAPE), True)
    expected = K.sample("euler_ancestral", denoiser, x, sigmas, noise_sampler=lambda a, b: torch.zeros(SHAPE))
    assert_same_bits(run(sampler("euler_ancestral", s_noise=0.0), sampling, sigmas), expected)


def test_without_a_seed_torchs_generator_draws() -> None:
    sampling = ModelEPS()
    given = (Guider(sampling, denoiser), sigmas_for(sampling), {"model_options": {}}, None, noise())
    torch.manual_seed(1)
    x = sampler("ddpm").sample(*given)
    assert not torch.equal(sampler("ddpm").sample(*given), x)


def test_the_models_own_arguments_reach_it() -> None:
    guider = Guider(ModelEPS(), denoiser)
    sampler("heun").sample(guider, sigmas_for(ModelEPS()), {"model_options": {}, "seed": 5}, None, noise())
    assert guider.seeds == [5] * 11


# --- part of a run


@both_paths
def test_denoise_takes_the_last_steps_of_a_longer_grid(kind: str) -> None:
    sampling = KINDS[kind]()
    part, whole = sigmas_for(sampling, "karras", 4, 0.5), sigmas_for(sampling, "karras", 8)
    assert torch.equal(part, whole[-5:])
    x = run(sampler(), sampling, part, to_the_point, latent=POINT)
    assert float((x - POINT).abs().max()) < 1e-5


@both_paths
def test_no_denoising_leaves_the_latent(kind: str) -> None:
    sampling = KINDS[kind]()
    assert sigmas_for(sampling, denoise=0.0).shape == (0,)
    x = noise()
    assert nodes.sample(Inpaint(Guider(sampling, denoiser), x, x), x, sigmas_for(sampling)[:1]) is x


@both_paths
def test_a_run_may_be_split(kind: str) -> None:
    """With a method without memory the parts are the whole, to the scaling that ComfyUI does in between."""
    sampling, of = KINDS[kind](), sampler("flow_heun")
    sigmas = sigmas_for(sampling, "shifted_t" if kind == "flow" else "karras")
    latent = run(of, sampling, sigmas[:4])
    rest = run(of, sampling, sigmas[3:], noise=torch.zeros(SHAPE), latent=latent)
    whole = run(of, sampling, sigmas)
    assert float((rest - whole).abs().max()) < 1e-6 * float(whole.abs().max())


@both_paths
def test_a_mask_keeps_what_it_covers(kind: str) -> None:
    sampling, mask = KINDS[kind](), torch.zeros(1, 1, 6, 5)
    mask[..., 3:, :] = 1.0
    x = run(sampler("dpmpp_2m"), sampling, sigmas_for(sampling), latent=POINT, denoise_mask=mask)
    assert torch.equal(x[..., :3, :], POINT[..., :3, :])
    assert not torch.isclose(x[..., 3:, :], POINT[..., 3:, :]).any(dim=-1).all()


# --- what kind of model it is


class Proxy:
    """Forwards all attributes, as wrappers of models do."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.wrapped(*args, **kwargs)


def plain(x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
    return denoiser(x, sigma)


@both_paths
def test_the_path_is_found_through_proxies(kind: str) -> None:
    sampling = KINDS[kind]()
    model = Proxy(Proxy(plain))
    model.inner_model = Proxy(Guider(sampling, denoiser))  # type: ignore[attr-defined]
    sigmas = torch.tensor([0.9, 0.5, 0.0])
    expected = K.sample("dpmpp_2m", plain, noise(), sigmas, flow=kind == "flow")
    assert_same_bits(nodes.sample(model, noise(), sigmas, solver="dpmpp_2m"), expected)


@pytest.mark.parametrize("path", ["sigma", "flow"])
def test_a_model_that_hides_its_kind_can_be_told(path: str) -> None:
    sigmas = torch.tensor([0.9, 0.5, 0.0])
    with pytest.raises(
        ValueError, match=r"model: function hides its model_sampling .* set the node's path, 'sigma' or"
    ):
        nodes.sample(plain, noise(), sigmas)
    expected = K.sample("auto", plain, noise(), sigmas, flow=path == "flow")
    assert_same_bits(nodes.sample(plain, noise(), sigmas, path=path), expected)


class ModelEDM:
    """Continuous levels, whose time is a quarter of their logarithm."""

    sigma_min, sigma_max = torch.tensor(0.002), torch.tensor(80.0)

    def timestep(self, sigma: Tensor) -> Tensor:
        return 0.25 * sigma.log()

    def sigma(self, timestep: Tensor) -> Tensor:
        return (4.0 * timestep).exp()


def test_the_schedule_is_the_models() -> None:
    assert schedule_of(ModelFlow(3.0)) == gs.schedules.flow(shift=schedule_of(ModelFlow(3.0)).shift)
    assert schedule_of(ModelFlow(3.0)).shift == pytest.approx(3.0, rel=1e-6)
    edm = schedule_of(ModelEDM())
    assert (edm.name, edm.t_max, edm.t_end) == ("edm", 80.0, pytest.approx(0.002))
    table = schedule_of(ModelEPS())
    assert (table.name, table.t_max) == ("alphas_cumprod", 999.0)
    assert np.allclose(table.gamma([0.0, 500.0, 999.0]), ModelEPS().sigma(torch.tensor([0, 500, 999])), rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("grid", ["auto", "karras", "log_snr", "uniform_t", "shifted_t", "quadratic_t"])
@pytest.mark.parametrize("kind", [ModelEPS, ModelFlow, ModelEDM])
def test_sigmas_fall_from_the_models_largest_to_zero(kind: Any, grid: str, steps: int) -> None:
    sigmas = sigmas_for(kind(), grid, steps)
    assert (sigmas.shape, sigmas.dtype) == ((steps + 1,), torch.float32)
    assert bool((sigmas.diff() < 0).all())
    assert float(sigmas[0]) == pytest.approx(float(kind().sigma_max), rel=1e-6)
    assert float(sigmas[-1]) == 0.0


@pytest.mark.parametrize(("kind", "grid"), [(ModelEPS, "trailing"), (ModelEPS, "beta"), (ModelFlow, "flow_beta")])
def test_grids_of_one_kind_of_model_are_there(kind: Any, grid: str) -> None:
    assert sigmas_for(kind(), grid, 5).shape == (6,)


# --- plans


@both_paths
def test_a_plan_file_gives_its_sampler_and_sigmas(kind: str, tmp_path: Path) -> None:
    schedule = schedule_of(KINDS[kind]())
    plan = gs.make_plan("deis_tab2", schedule, nfe=5, prediction="v")
    (tmp_path / "plan.json").write_text(plan.to_json())
    of, sigmas = node("GeniePlan").execute(file=str(tmp_path / "plan.json"), last_steps=0, path="auto")
    assert torch.equal(sigmas, K.sigmas_of(plan))
    x = run(of, KINDS[kind](), sigmas, to_the_point, latent=POINT)
    assert float((x - POINT).abs().max()) < 1e-4
    _, last = node("GeniePlan").execute(file=str(tmp_path / "plan.json"), last_steps=2, path="auto")
    assert torch.equal(last, sigmas[-3:])
    assert bool(run(of, KINDS[kind](), last, latent=POINT).isfinite().all())


# --- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sampler("dpmpp_sde"), "solver='dpmpp_sde'; choose one of auto, euler"),
        (lambda: sampler("ddim", "eta=1"), "options='eta=1': .* give a JSON object such as"),
        (lambda: sampler("ddim", "[1]"), r"options='\[1\]': give a JSON object"),
        (lambda: sampler(path="vp"), "path='vp'; choose one of auto, sigma, flow"),
        (lambda: sigmas_for(ModelEPS(), "nothing"), "grid='nothing'; choose one of auto"),
        (lambda: sigmas_for(ModelEPS(), "flow_beta"), "schedule=.*flow"),
        (lambda: sigmas_for(ModelFlow(), "trailing"), "schedule=.*"),
        (lambda: sigmas_for(ModelEPS(), steps=0), "steps=0: give 1 or more"),
        (lambda: sigmas_for(ModelEPS(), denoise=1.5), "denoise=1.5; give 0..1"),
        (
            lambda: node("GeniePlan").execute(file="/nowhere/plan.json", last_steps=0, path="auto"),
            "/nowhere/plan.json: ",
        ),
        (lambda: run(sampler("ddim", '{"etta": 1}'), ModelEPS(), sigmas_for(ModelEPS())), "ddim has no 'etta'"),
        (lambda: run(sampler(), ModelFlow(), torch.tensor([14.0, 1.0, 0.0])), r"sigmas\[0\]=14.0 with flow=True"),
    ],
)
def test_bad_input_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_plan_of_the_other_path_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(gs.make_plan("ddim", gs.schedules.flow(), nfe=4, prediction="flow").to_json())
    of, sigmas = node("GeniePlan").execute(file=str(file), last_steps=0, path="auto")
    with pytest.raises(ValueError, match="plan: of schedule 'flow', but the model's path is k-diffusion's"):
        run(of, ModelEPS(), sigmas)
    with pytest.raises(ValueError, match="last_steps=5; the plan has 4 steps"):
        node("GeniePlan").execute(file=str(file), last_steps=5, path="auto")
    file.write_text("{")
    with pytest.raises(ValueError, match=r"plan.json: cannot be read"):
        node("GeniePlan").execute(file=str(file), last_steps=0, path="auto")


# --- how ComfyUI finds them


def test_both_interfaces_offer_the_same_nodes() -> None:
    extension = asyncio.run(comfyui.comfy_entrypoint())
    new = {each.define_schema().node_id: each for each in asyncio.run(extension.get_node_list())}
    assert new.keys() == comfyui.NODE_CLASS_MAPPINGS.keys() == comfyui.NODE_DISPLAY_NAME_MAPPINGS.keys()
    taken = {key: [each.id for each in of.define_schema().inputs] for key, of in new.items()}
    assert taken == {key: list(of.INPUT_TYPES()["required"]) for key, of in comfyui.NODE_CLASS_MAPPINGS.items()}
    given = {key: tuple(each.kind.upper() for each in of.define_schema().outputs) for key, of in new.items()}
    assert given == {key: of.RETURN_TYPES for key, of in comfyui.NODE_CLASS_MAPPINGS.items()}
    made = new["GenieSigmas"].execute(model=Patcher(ModelEPS()), grid="karras", steps=3, denoise=1.0)
    assert torch.equal(made.result[0], sigmas_for(ModelEPS(), "karras", 3))


def test_every_solver_that_is_offered_runs() -> None:
    offered = comfyui.NODE_CLASS_MAPPINGS["GenieSampler"].INPUT_TYPES()["required"]["solver"][0]
    sampling = ModelEPS()
    sigmas = sigmas_for(sampling, steps=3)
    results = torch.stack([run(sampler(name), sampling, sigmas) for name in offered])
    assert bool(results.isfinite().all())


LOAD = """
import importlib.util, sys
for name in ("diffusers", "safetensors", "click", "tqdm", "PIL", "matplotlib", "scipy", "comfy", "comfy_api"):
    sys.modules[name] = None
spec = importlib.util.spec_from_file_location("custom_nodes_x", sys.argv[1] + "/__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules["custom_nodes_x"] = module
spec.loader.exec_module(module)
print(*sorted(module.NODE_CLASS_MAPPINGS), callable(module.comfy_entrypoint))
"""


@pytest.mark.parametrize(
    "how", [shutil.copytree, lambda source, target: target.symlink_to(source)], ids=["copy", "link"]
)
def test_the_folder_loads_from_custom_nodes_with_torch_and_numpy_alone(how: Any, tmp_path: Path) -> None:
    folder = tmp_path / "genie nodes"
    how(Path(comfyui.__path__[0]), folder)
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", LOAD, str(folder)], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("GeniePlan GenieSampler GenieSigmas True\n", 0), done.stderr
