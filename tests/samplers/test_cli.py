"""The command line as a person uses it, on the embedded network at small sizes."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import genie_samplers as gs
from genie_samplers.cli import batches as batches_file
from genie_samplers.cli import images
from genie_samplers.demo.data import CLASS_NAMES

from .command_line import refused, run, write_idx

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")


def test_sample_writes_a_png_with_seed_solver_and_nfe(tmp_path):
    out = tmp_path / "s.png"
    text = run("sample", "--nfe", 2, "--count", 12, "--seed", 5, "--out", out)
    image = Image.open(out)
    chosen = gs.make_plan("auto", gs.schedules.vp_linear(), 2).recipe
    assert chosen is not None
    assert (image.info["seed"], image.info["solver"], image.info["nfe"]) == ("5", chosen.solver, "2")
    names = images.header_height(CLASS_NAMES)
    assert image.size == (2 * (10 * 29 - 1), 2 * names + 2 * (2 * 29 - 1))  # the line below is as high as the names
    assert f"12 images, {chosen.solver}, 2 evaluations" in text and "network" in text and "sampler" in text


def test_same_seed_gives_the_same_picture_and_another_seed_another(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        run("sample", "--nfe", 2, "--count", 2, "--seed", seed, "--out", path)
    first, same, other = (Image.open(path).tobytes() for path in paths)
    assert first == same != other


def test_class_and_guidance_are_accepted_by_name(tmp_path):
    out = tmp_path / "s.png"
    run("sample", "--nfe", 2, "--count", 2, "--class", "Bag", "--guidance", 2.0, "--out", out)
    assert Image.open(out).info["guidance"] == "2.0"


def test_no_guidance_and_guidance_of_zero_are_told_apart(tmp_path):
    plain, zero = tmp_path / "plain.png", tmp_path / "zero.png"
    run("sample", "--nfe", 1, "--count", 1, "--out", plain)
    run("sample", "--nfe", 1, "--count", 1, "--guidance", 0, "--out", zero)
    assert (Image.open(plain).info["guidance"], Image.open(zero).info["guidance"]) == ("none", "0.0")


def test_an_image_has_the_same_bits_for_any_count(tmp_path, monkeypatch):
    batches = []
    real_sample = batches_file.sample

    def spy(*arguments, **options):
        batches.append(real_sample(*arguments, **options))
        return batches[-1]

    monkeypatch.setattr(batches_file, "sample", spy)
    arguments = ("--nfe", 2, "--batch-size", 4, "--out", tmp_path / "s.png")
    run("sample", "--count", 2, *arguments)
    run("sample", "--count", 5, *arguments)
    few, many, rest = batches
    assert len(rest) == 1
    assert np.array_equal(few.numpy().view(np.int32), many[:2].numpy().view(np.int32))


def test_the_time_of_the_sampler_is_without_the_time_of_the_picture(tmp_path, monkeypatch):
    clock, to_pixels = [0.0], images.to_pixels

    def slow_to_pixels(x):
        clock[0] += 100.0
        return to_pixels(x)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(images, "to_pixels", slow_to_pixels)
    text = run("sample", "--nfe", 1, "--count", 1, "--out", tmp_path / "s.png")
    assert "0.00 s (network 0.00 s, sampler 0.0 ms)" in text


def test_sample_runs_a_plan_file_and_the_plan_in_the_png_is_the_one_that_ran(tmp_path):
    file, out = tmp_path / "p.json", tmp_path / "s.png"
    file.write_text(run("plan", "--solver", "ddim", "--nfe", 2, "--json"))
    run("sample", "--plan", file, "--count", 2, "--out", out)
    assert gs.Plan.from_json(Image.open(out).info["plan"]) == gs.Plan.from_json(file.read_text())


@pytest.mark.filterwarnings("ignore::genie_samplers.UnfitWarning")  # edm_heun with 5 evaluations
def test_compare_writes_a_labelled_page_and_the_errors_as_csv(tmp_path):
    out = tmp_path / "c.png"
    arguments = ("--solvers", "ddim,deis_tab1,edm_heun", "--nfe", "4,5", "--count", 2, "--fine", 12)
    text = run("compare", *arguments, "--out", out)
    rows = list(csv.DictReader((tmp_path / "c.csv").open()))
    assert [(r["solver"], r["nfe"]) for r in rows] == [
        ("ddim", "4"), ("ddim", "5"), ("deis_tab1", "4"), ("deis_tab1", "5"), ("edm_heun", "5"),
    ]  # fmt: skip
    assert all(float(r["rmse"]) > 0 for r in rows)
    assert "edm_heun     nfe   4  skipped" in text
    assert Image.open(out).width > 3 * 2 * 57


def test_compare_clips_where_it_is_told_to(tmp_path):
    given = ("--solvers", "ddim", "--nfe", "2", "--count", 1, "--fine", 3, "--seed", 1)
    plain, clipped = tmp_path / "plain.png", tmp_path / "clipped.png"
    run("compare", *given, "--out", plain)
    run("compare", *given, "--clip", 0.1, "--out", clipped)
    assert Image.open(clipped).info["clip"] == "0.1"
    assert plain.with_suffix(".csv").read_text() != clipped.with_suffix(".csv").read_text()


def test_plan_prints_the_table_and_lists_the_registry():
    assert "deis_tab3: 5 rows, nfe 5" in run("plan", "--solver", "deis_tab3", "--nfe", 5)
    listed = run("plan", "--list")
    assert all(name in listed for name in gs.SOLVERS)


def test_plan_is_of_the_schedule_and_the_prediction_that_are_named():
    given = ("--solver", "ddim", "--nfe", 3, "--json")
    found = gs.Plan.from_json(run("plan", *given, "--schedule", "vp_cosine", "--prediction", "v"))
    assert found == gs.make_plan("ddim", gs.schedules.vp_cosine(), 3, prediction="v")


def test_backends_says_why_not():
    text = run("backends")
    assert "fused_step" in text and "normal_fill" in text and "available" in text


def test_train_runs_and_exports(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    write_idx(root / "train-images-idx3-ubyte.gz", np.zeros((8, 28, 28)))
    write_idx(root / "train-labels-idx1-ubyte.gz", np.arange(8))
    arguments = ("--data", root, "--run", tmp_path / "run", "--steps", 1, "--batch-size", 4)
    text = run("train", *arguments, "--export", tmp_path / "model")
    assert "averaged weights after 1 steps" in text
    assert (tmp_path / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sample --solver nonsense", "'--solver': 'nonsense' is no solver; choose"),
        ("sample --nfe 0", "'--nfe': 0 is not in the range 1<=x"),
        ("sample --class hat", "--class 'hat'"),
        ("sample --class ²", "--class '²'; choose 0..9"),
        ("sample --plan file --solver ddim", "--solver with --plan: the plan decides it"),
        ("sample --plan file --nfe 10", "--nfe with --plan: the plan decides it"),
        ("sample --plan file --grid karras", "--grid with --plan: the plan decides it"),
        ("sample --plan file --no-denoise", "--denoise with --plan: the plan decides it"),
        ("sample --count 0", "'--count': 0 is not in the range 1<=x"),
        ("sample --batch-size 0", "'--batch-size': 0 is not in the range 1<=x"),
        ("sample --device gpu", "--device gpu: "),
        ("sample --device cuda:99", "--device cuda:99: "),
        ("sample --out s.jpg", "out='s.jpg'; need a name that ends in .png"),
        ("sample --out folder.png", "out='folder.png'; cannot be written"),
        ("sample --out file/s.png", "file' is not a folder"),
        ("sample --solver ipmdn", "'--solver': 'ipmdn' is no solver; choose ipndm or"),
        ("sample --backend gpu", "'--backend': 'gpu' is not one of 'reference', 'cpu', 'cuda', 'triton'"),
        ("sample --format npz", "--format npz: --out samples.png is one picture; leave it out, or give --out a folder"),
        ("sample --out full/", "--out full: holds files already; give a folder that is empty or not there yet"),
        ("sample --out file/", "--out='file'; 'file' is not a folder, choose another place"),
        ("sample --plan .", "is a directory"),
        ("compare --count 0", "'--count': 0 is not in the range 1<=x"),
        ("compare --solvers ddim,nonsense", "'--solvers': 'nonsense' is no solver; choose"),
        ("compare --nfe 5,0", "'--nfe': '5,0'; give integers of 1 or more"),
        ("compare --nfe abc", "'--nfe': 'abc'; give integers of 1 or more separated by commas"),
        ("compare --nfe=,", "'--nfe': ','; give integers of 1 or more separated by commas"),
        ("compare --solvers=,", "'--solvers': ','; give one or more"),
        ("compare --fine 0", "'--fine': 0 is not in the range 1<=x"),
        ("compare --out c.csv", "out='c.csv'; need a name that ends in .png"),
        ("compare --out taken.png", "out='taken.csv'; cannot be written"),
        ("calibrate grid --seed -1", "'--seed': -1 is not in the range 0<=x<=18446744073709551615"),
        ("calibrate grid --check-seed -1", "'--check-seed': -1 is not in the range"),
        ("calibrate grid --nfe 0", "'--nfe': 0 is not in the range"),
        ("calibrate grid --nfe 21", "--nodes 20: fewer than the steps of deis_tab2 at --nfe 21"),
        ("calibrate grid --runs -1", "'--runs': -1 is not in the range 0<=x"),
        ("calibrate grid --nodes 1", "'--nodes': 1 is not in the range 2<=x"),
        ("calibrate grid --solver ddim,nonsense", "'--solver': 'nonsense' is no solver; choose"),
        ("calibrate grid --solver ddpm", "--solver ddpm: draws noise"),
        ("calibrate grid --solver edm_heun --nfe 4", "nfe=4; edm_heun makes"),
        ("train --run run --data . --export file", "file' is not a folder"),
        ("train --run file/run --data .", "file' is not a folder"),
        ("train --run run --data . --device gpu", "--device gpu: "),
    ],
)
def test_bad_input_ends_with_its_message_before_any_work(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gs.Program, "of", lambda *_, **__: pytest.fail("the sampler was started"))
    monkeypatch.setattr("genie_samplers.calibrate.Reference.record", lambda *_, **__: pytest.fail("work was started"))
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "00000.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "taken.csv").mkdir()
    assert message in refused(*arguments.split())


def test_compare_writes_the_cells_that_ran(tmp_path, monkeypatch):
    real = gs.sample

    def fail_at_five(model, plan, **options):
        if plan.nfe == 5:
            nothing = torch.zeros(0, 1, 28, 28)
            message = "model: the state became inf or NaN"
            raise gs.NonFiniteError(message, row=0, sample_ids=[0], finished=nothing, finished_ids=[])
        return real(model, plan, **options)

    monkeypatch.setattr(sys.modules["genie_samplers.uses.compare"], "sample", fail_at_five)
    arguments = ("--solvers", "ddim", "--nfe", "5,4", "--count", 1, "--fine", 6, "--out", tmp_path / "c.png")
    text = run("compare", *arguments)
    assert "ddim         nfe   5  skipped: model: the state became inf or NaN" in text
    assert [row["nfe"] for row in csv.DictReader((tmp_path / "c.csv").open())] == ["4"]


def test_compare_fails_where_the_network_cannot_run(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(sys.modules["genie_samplers.uses.compare"], "sample", fail)
    assert "out of memory" in refused("compare", "--out", tmp_path / "c.png")


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "genie_samplers", "plan", "--list"], capture_output=True, text=True)
    assert "deis_tab3" in done.stdout, done.stderr


def test_broken_plan_file_is_refused(tmp_path):
    file = tmp_path / "p.json"
    file.write_text("{")
    assert "p.json: cannot be read" in refused("sample", "--plan", file)
