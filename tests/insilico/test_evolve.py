"""One call for a closed loop: objectives, lost trials, stopping, saving, comparison."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
import torch

from core.errors import MalformedDataError, UsageError
from core.reading.array_files import read_arrays
from core.utils import CholeskyCMAES, Stop, ask_tell_peer, compare, evolve, objectives
from core.utils.evolution import loop
from core.utils.generators.image_spaces import FourierSpace, PixelSpace
from core.utils.generators.protocol import checked
from tests.closeness import assert_same_pass
from tests.tiny_networks import TinyGenerator, tiny_scorer

QUIET = {"progress": False, "population": 8}


@pytest.fixture(autouse=True)
def _python_hears_ctrl_c():
    """Hear the interrupt that tests send, also in a background job, where it is ignored."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)



def brightness(images):
    """Score images by their mean; a function of one's own."""
    return images.mean((1, 2, 3))


@pytest.fixture
def scorer():
    return tiny_scorer()


def activations(scorer, layer, images):
    scorer = tiny_scorer()
    scorer.set_recording(layer)
    return scorer.respond(images).recordings[layer]


def test_objectives_are_what_their_names_say(scorer, rng):
    """Each against numpy on the recorded layer."""
    images = torch.from_numpy(rng.random((5, 3, 24, 24), dtype=np.float32))
    layer = activations(scorer, "conv2", images)
    weights = rng.standard_normal(layer.shape[1:])
    flat = layer.reshape(5, -1)
    expected = {
        objectives.unit(scorer, "conv2", (3, 1, 2)): layer[:, 3, 1, 2],
        objectives.unit(scorer, "conv2", 3): layer[:, 3, 4, 4],
        objectives.channel(scorer, "conv2", 3): layer[:, 3].mean((1, 2)),
        objectives.population(scorer, "conv2", weights): flat @ weights.ravel(),
        objectives.direction(scorer, "conv2", 7 * weights): flat @ weights.ravel()
        / np.linalg.norm(weights),
        objectives.cosine(scorer, "conv2", weights): flat
        @ weights.ravel()
        / np.linalg.norm(weights)
        / np.linalg.norm(flat, axis=1),
    }
    for objective, values in expected.items():
        assert_same_pass(objective(images), values)


def test_objectives_add_over_layers_and_leave_the_scorer_alone(scorer, rng):
    images = torch.from_numpy(rng.random((4, 3, 24, 24), dtype=np.float32))
    scorer.set_unit("score", "fc", 1)
    parts = [objectives.unit(scorer, "fc", 2), objectives.channel(scorer, "conv1", 3)]
    mixed = parts[0] - 2 * parts[1] + -objectives.unit(scorer, "fc", 0)
    fc = activations(scorer, "fc", images)
    expected = fc[:, 2] - 2 * activations(scorer, "conv1", images)[:, 3].mean((1, 2)) - fc[:, 0]
    assert_same_pass(mixed(images), expected)
    assert_same_pass(scorer.score(images), fc[:, 1])
    with pytest.raises(UsageError, match="different scorers"):
        parts[0] + objectives.unit(tiny_scorer(), "fc", 2)
    with pytest.raises(UsageError, match="an objective is one number"):
        objectives.unit(scorer, "fc", [2, 3])


@pytest.mark.parametrize("optimizer", ["CholCMA", "CholCMA_standard", "Sphere", "Adam"])
def test_every_optimiser_climbs(scorer, optimizer):
    result = evolve(
        objectives.unit(scorer, "fc", 2), TinyGenerator(20), optimizer, 25, **QUIET
    )
    assert result.scores[-1].mean() > result.scores[0].mean() + 0.02
    assert result.best_score == max(scores.max() for scores in result.scores)
    assert result.generations == 25


def test_founders_are_a_generation_of_random_codes(scorer):
    unit, generator = objectives.unit(scorer, "fc", 2), TinyGenerator(20)
    result = evolve(unit, generator, generations=3, founders=30, **QUIET)
    assert [len(codes) for codes in result.codes] == [30, 8, 8]
    assert result.codes[0].std() == pytest.approx(1, rel=0.2)
    assert result.scores[1].mean() > result.scores[0].mean()


def test_minimising_gives_the_lowest(scorer):
    unit = objectives.unit(scorer, "fc", 2)
    result = evolve(unit, TinyGenerator(20), generations=15, maximize=False, **QUIET)
    assert result.best_score == min(scores.min() for scores in result.scores)
    assert result.scores[-1].mean() < result.scores[0].mean()
    assert (result.history["best_so_far"].diff().dropna() <= 0).all()
    image = torch.from_numpy(result.best_image.transpose(2, 0, 1)[None])
    assert float(unit(image)[0]) == pytest.approx(result.best_score, rel=1e-4)


def test_gradients_agree_with_finite_differences(scorer):
    """Adam's first step goes lr along the sign of each derivative."""
    unit, generator = objectives.unit(scorer, "conv2", 4), TinyGenerator(6)
    result = evolve(unit, generator, "Adam", 2, population=1, sigma=0.01, progress=False)
    start = result.codes[0][0].astype(np.float64)
    nudged = start + 1e-2 * np.concatenate([np.eye(6), -np.eye(6)])
    scores = unit(generator.visualize(nudged)).numpy()
    slope = scores[:6] - scores[6:]
    np.testing.assert_allclose(result.codes[1][0] - start, 0.01 * np.sign(slope), atol=1e-5)


@pytest.mark.numerics
def test_several_objectives_in_one_batch_are_each_alone(scorer):
    """The same codes and scores as one by one, and one generator call per batch."""
    units = {f"unit {k}": objectives.unit(scorer, "fc", k) for k in range(3)}
    generator = TinyGenerator(20)
    together = evolve(units, generator, generations=4, batch_size=24, **QUIET)
    assert max(generator.batches) == 24
    for name, unit in units.items():
        alone = evolve({name: unit}, TinyGenerator(20), generations=4, **QUIET)[name]
        assert_same_pass(alone.codes[3], together[name].codes[3])
        assert_same_pass(alone.scores[3], together[name].scores[3])


def test_two_spaces_run_side_by_side(scorer):
    spaces = {"pixels": PixelSpace(24, 4), "fourier": FourierSpace(24, 3)}
    results = evolve(objectives.unit(scorer, "fc", 1), spaces, generations=3, **QUIET)
    assert {name: r.codes[2].shape[1] for name, r in results.items()} == {
        name: space.codelen for name, space in spaces.items()
    }


def test_only_optimisers_that_are_named_by_labels_share_threads(scorer, monkeypatch):
    """Those of one's own may share what is not known, such as random numbers: they take turns."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    where = []

    def tell(optimizer, scores):
        where.append(threading.current_thread())
        _tell(optimizer, scores)

    _tell = CholeskyCMAES.tell
    monkeypatch.setattr(CholeskyCMAES, "tell", tell)
    both = {name: objectives.unit(scorer, "conv2", (0, 4, 4)) for name in ("first", "second")}
    own = {"init_code": np.zeros(20), "population_size": 6}
    ways = {"labels": "CholCMA", "own": lambda G, seed: CholeskyCMAES(20, **own)}
    taken = {}
    for way, optimizer in ways.items():
        evolve(both, TinyGenerator(20), optimizer, 2, progress=False)
        taken[way], where = set(where), []
    assert threading.main_thread() not in taken["labels"]
    assert taken["own"] == {threading.main_thread()}


def test_a_generator_may_be_named_and_is_loaded_once(monkeypatch):
    made = []
    monkeypatch.setattr(loop, "generator_named", lambda name: made.append(name) or EightPixels())
    threads = {"a": brightness, "b": brightness}
    results = evolve(threads, "mine:make", generations=1, **QUIET)
    assert made == ["mine:make"]
    assert results["a"].generator is results["b"].generator
    monkeypatch.undo()
    assert evolve(brightness, "PixelSpace", generations=1, **QUIET).codes[0].shape == (1, 768)


class EightPixels(PixelSpace):
    def __init__(self):
        super().__init__(8, 2)


def test_lost_images_are_ranked_out_or_shown_again():
    """Rank: the optimiser never hears of them. Again: only they are shown once more."""
    seen = []

    def flaky(images):
        seen.append(len(images))
        scores = images.mean((1, 2, 3)).numpy().copy()
        if len(images) == 8:
            scores[[2, 5]] = np.nan
        return scores

    ranked = evolve(flaky, PixelSpace(8, 2), generations=3, **QUIET)
    assert ranked.history["lost"].tolist() == [0, 2, 2]
    assert seen == [1, 8, 8]
    seen.clear()
    again = evolve(flaky, PixelSpace(8, 2), generations=3, lost="again", **QUIET)
    assert seen == [1, 8, 2, 8, 2]
    assert again.history["lost"].tolist() == [0, 0, 0]
    whole = evolve(brightness, PixelSpace(8, 2), generations=3, **QUIET)
    np.testing.assert_array_equal(again.codes[2], whole.codes[2])


def test_nobody_is_told_a_first_generation_that_one_cannot_use(scorer):
    """The thread is named, and all stand where they were."""
    optimizers = {name: CholeskyCMAES(12, 6, 0.5, np.zeros(12), random_seed=1) for name in "ab"}

    def breaks(images):
        return np.full(len(images), np.inf)

    before = {name: one.ask() for name, one in optimizers.items()}
    with pytest.raises(UsageError, match=r"thread b: 1 scores are infinite.* Nobody was told"):
        evolve({"a": brightness, "b": breaks}, PixelSpace(8, 2), optimizers, 2, progress=False)
    for name, one in optimizers.items():
        np.testing.assert_array_equal(one.ask(), before[name])


@pytest.mark.parametrize("fault", [np.inf, np.nan, "raises"])
def test_a_thread_that_cannot_go_on_is_set_aside_and_the_others_are_whole(fault, tmp_path, caplog):
    """It keeps its generations; the others are as if alone; a resumed run has the same bytes."""

    def breaks(images):
        breaks.calls += 1
        if breaks.calls > 2:
            if fault == "raises":
                raise ZeroDivisionError("no spikes")
            return np.full(len(images), fault)
        return images.mean((1, 2, 3))

    def run(folder, generations, **more):
        return evolve(
            {"b": breaks, "a": brightness}, PixelSpace(8, 2), generations=generations,
            save=folder, **QUIET, **more,
        )  # fmt: skip

    breaks.calls = 0
    results = run(tmp_path / "whole", 5)
    alone = evolve({"a": brightness}, PixelSpace(8, 2), generations=5, **QUIET)["a"]
    assert results["b"].generations == 2
    assert results["b"].stopped.startswith("failed in generation 2: ")
    assert "the others go on" in caplog.text
    np.testing.assert_array_equal(results["a"].scores[4], alone.scores[4])
    breaks.calls = 0
    run(tmp_path / "parts", 3)
    again = run(tmp_path / "parts", 5, resume=True)
    assert again["b"].stopped == results["b"].stopped
    for path in sorted((tmp_path / "whole").iterdir()):
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes(), path.name


def test_an_error_of_ones_own_names_the_thread():
    def breaks(images):
        raise ZeroDivisionError("no spikes")

    with pytest.raises(ZeroDivisionError) as raised:
        evolve({"a": brightness, "b": breaks}, PixelSpace(8, 2), generations=2, **QUIET)
    assert raised.value.__notes__ == ["In block 0 of b; no optimiser was told of it."]


@pytest.mark.parametrize(
    ("optimizer", "state_every"), [("CholCMA", 1), ("CholCMA", 3), ("Sphere", 1), ("Adam", 5)]
)
def test_a_saved_evolution_goes_on_bit_for_bit(scorer, optimizer, state_every, tmp_path):
    """However seldom its state is written."""
    unit = objectives.unit(scorer, "fc", 2)
    often = {"state_every": state_every, **QUIET}
    whole = evolve(unit, TinyGenerator(9), optimizer, 7, save=tmp_path / "whole", **often)
    for generations in (2, 3, 7):
        part = evolve(
            unit, TinyGenerator(9), optimizer, generations,
            save=tmp_path / "parts", resume=True, **often,
        )  # fmt: skip
    state = read_arrays(tmp_path / "whole" / "state.npz")
    assert state["told"] == 7 - 7 % state_every
    for name in ("codes", "scores"):
        for one, other in zip(getattr(whole, name), getattr(part, name), strict=True):
            np.testing.assert_array_equal(one, other)
    files = {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()}
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "parts").iterdir()}


def test_a_block_that_was_scored_is_told_after_a_crash(tmp_path, monkeypatch):
    """Killed between the block's file and the optimiser's state: the scores are not asked again."""
    calls = []

    def counted(images):
        calls.append(len(images))
        return images.mean((1, 2, 3))

    with monkeypatch.context() as patched:
        patched.setattr(loop, "tell_optimizer", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evolve(counted, PixelSpace(8, 2), generations=3, save=tmp_path, **QUIET)
    result = evolve(counted, PixelSpace(8, 2), generations=3, save=tmp_path, resume=True, **QUIET)
    assert calls == [1, 8, 8]
    assert result.generations == 3


def test_a_folder_of_another_evolution_is_refused(scorer, tmp_path):
    unit = objectives.unit(scorer, "fc", 2)
    evolve(unit, TinyGenerator(9), generations=2, save=tmp_path, **QUIET)
    with pytest.raises(UsageError, match="go on with resume=True"):
        evolve(unit, TinyGenerator(9), generations=2, save=tmp_path, **QUIET)
    other = objectives.unit(scorer, "fc", 3)
    with pytest.raises(UsageError, match=r"holds another evolution: .*objective was 'unit 2"):
        evolve(other, TinyGenerator(9), generations=2, save=tmp_path, resume=True, **QUIET)
    retrained = tiny_scorer()
    with torch.no_grad():
        next(retrained.model.parameters()).mul_(1.01)
    with pytest.raises(UsageError, match="weights of the network was"):
        evolve(
            objectives.unit(retrained, "fc", 2), TinyGenerator(9), generations=2, save=tmp_path,
            resume=True, **QUIET,
        )  # fmt: skip
    (tmp_path / "block000.npz").unlink()
    with pytest.raises(MalformedDataError, match=r"blocks \[1\] and a state after 2"):
        evolve(unit, TinyGenerator(9), generations=2, save=tmp_path, resume=True, **QUIET)


def test_ctrl_c_keeps_what_there_is(scorer):
    """The bar is pressed during the fourth generation; three are kept, and nothing is half told."""
    optimizer = CholeskyCMAES(9, 8, 0.5, np.zeros(9), random_seed=1)
    count = []

    def pressed(images):
        count.append(1)
        if len(count) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return images.mean((1, 2, 3))

    result = evolve(pressed, TinyGenerator(9), optimizer, 50, progress=False)
    assert result.stopped == "interrupted"
    assert result.generations == len(optimizer.history) == 3


def test_ctrl_c_waits_until_all_are_told(monkeypatch):
    """Pressed while optimisers are told, it takes effect when the last has heard."""
    told = []
    real = loop.tell_optimizer

    def tell(optimizer, *given):
        if not told:
            os.kill(os.getpid(), signal.SIGINT)
        told.append(real(optimizer, *given))

    monkeypatch.setattr(loop, "tell_optimizer", tell)
    threads = {"a": brightness, "b": brightness}
    results = evolve(threads, PixelSpace(8, 2), generations=5, **QUIET)
    assert [r.generations for r in results.values()] == [1, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_evolution_runs_outside_the_main_thread():
    found = []
    worker = threading.Thread(
        target=lambda: found.append(evolve(brightness, PixelSpace(8, 2), generations=2, **QUIET))
    )
    worker.start()
    worker.join()
    assert found[0].generations == 2


@pytest.mark.parametrize(
    ("stop", "objective", "reason"),
    [
        (Stop(flat=5), lambda x: np.zeros(len(x)), "flat"),
        (Stop(images=40), brightness, "budget of 40 images"),
        (Stop(score=0.55), brightness, "score 0.55 reached"),
        (Stop(patience=4), lambda x: -np.abs(np.random.default_rng(0).random(len(x))), "no better"),
    ],
)
def test_rules_end_an_evolution(stop, objective, reason):
    result = evolve(objective, PixelSpace(8, 2), generations=60, stop=stop, **QUIET)
    assert result.stopped.startswith(reason)
    assert result.generations < 60
    if stop.images:
        assert result.n_images <= stop.images


def test_a_search_that_stands_still_has_converged():
    optimizer = CholeskyCMAES(12, 8, 1e-2, np.zeros(12), Aupdate_freq=0, random_seed=0)

    def near(images):
        return -((images - 0.5) ** 2).sum((1, 2, 3)).double()

    stop = Stop(converged=0.05)
    result = evolve(near, PixelSpace(8, 2), optimizer, 400, stop=stop, progress=False)
    assert result.stopped.startswith("converged")


def test_results_show_themselves(scorer):
    result = evolve(objectives.unit(scorer, "fc", 2), TinyGenerator(20), generations=6, **QUIET)
    assert "unit 2 of fc in TinyNet: 6 generations, 41 images" in repr(result)
    assert "UNTRAINED" in repr(result)
    assert "data:image/png;base64," in result._repr_html_()
    assert result.montage(4).size[0] == 4 * (16 + 2) + 2
    assert len(result.table) == 41
    axes = result.plot(by="images")
    assert axes.get_xlabel() == "images shown"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), result.history["mean"])


def test_peers_and_ours_compare_within_one_budget(scorer):
    """CMA-ES of two other libraries, ours, gradients and random codes: 120 images each."""
    cma, cmaes = pytest.importorskip("cma"), pytest.importorskip("cmaes")

    def pycma(generator, rng):
        options = {"seed": int(rng.integers(1, 2**31)), "verbose": -9, "popsize": 8}
        return ask_tell_peer(cma.CMAEvolutionStrategy(np.zeros(9), 0.5, options))

    def other(generator, rng):
        seed = int(rng.integers(2**31))
        return ask_tell_peer(cmaes.CMA(np.zeros(9), 0.5, population_size=8, seed=seed))

    found = compare(
        objectives.unit(scorer, "fc", 2),
        TinyGenerator(9),
        {"CholCMA": "CholCMA", "Adam": "Adam", "pycma": pycma, "cmaes": other},
        images=120,
        progress=False,
        population=8,
    )
    table = found.table.set_index("optimizer")
    assert (table["images"] <= 120).all()
    assert set(table.index) == {"CholCMA", "Adam", "pycma", "cmaes", "random codes"}
    random = table.loc["random codes", "last"].mean()
    assert (table.drop("random codes").groupby(level=0)["last"].mean() > random).all()
    labels = [text.get_text() for text in found.plot().get_legend().get_texts()]
    assert labels == ["CholCMA", "Adam", "pycma", "cmaes", "random codes"]


def test_a_peer_refuses_lost_images_and_saving(tmp_path):
    cma = pytest.importorskip("cma")

    def pycma(generator, rng):
        options = {"seed": 1, "verbose": -9}
        return ask_tell_peer(cma.CMAEvolutionStrategy(np.zeros(12), 0.5, options))

    def loses(images):
        return np.where(np.arange(len(images)) == 1, np.nan, 1.0)

    with pytest.raises(UsageError, match='use lost="again"'):
        evolve(loses, PixelSpace(8, 2), pycma, 3, progress=False)
    with pytest.raises(UsageError, match="cannot be resumed; leave out save"):
        evolve(brightness, PixelSpace(8, 2), pycma, 3, progress=False, save=tmp_path)


class Blind:
    codelen, trained, device = 4, True, torch.device("cpu")

    def sample_vector(self, sampn=1, *, device=None, seed=None):
        return torch.zeros(sampn, 4)


class Wild(Blind):
    def visualize(self, codes, scale=1.0):
        return torch.full((len(codes), 3, 4, 4), 7.0)


class Flat(Blind):
    def visualize(self, codes, scale=1.0):
        return torch.zeros(len(codes), 16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"generator": Blind()}, "lacks visualize"),
        ({"generator": Wild()}, "lie between 7 and 7"),
        ({"generator": Flat()}, r"shape \(1, 16\)"),
        ({"optimizer": CholeskyCMAES(5, init_code=np.zeros(5))}, r"takes \(n, 12\)"),
        ({"optimizer": "CholCMAX"}, "Did you mean 'CholCMA'"),
        ({"optimizer": object()}, "lacks ask, tell, maximize"),
        ({"objective": 3.0}, "objective 3.0"),
        ({"objective": lambda x: np.zeros((len(x), 2))}, r"scores of shape \(1, 2\) for 1 images"),
        ({"optimizer": "Adam", "objective": lambda x: x.detach().mean((1, 2, 3))}, "differentiate"),
        ({"generations": 0}, "give 1 or more"),
        ({"lost": "never"}, "one of rank, again"),
        ({"objective": {"a": brightness}, "optimizer": {"b": "CholCMA"}}, "different threads"),
    ],
)
def test_wrong_calls_get_one_sentence(given, message):
    arguments = {"objective": brightness, "generator": PixelSpace(8, 2), "generations": 2} | given
    with pytest.raises(UsageError, match=message):
        evolve(**arguments, progress=False)


def test_a_fourier_code_is_a_cloudy_picture_and_zero_is_grey():
    """Standard deviation of the luminance logits, the fall-off by frequency, and real images."""
    space = FourierSpace(32, 5, contrast=0.35)
    np.testing.assert_allclose(space.visualize(np.zeros((1, space.codelen))), 0.5, atol=1e-6)
    images = space.visualize(space.sample_vector(400, seed=0)).numpy()
    logits = np.log(images / (1 - images)) / 4
    luminance = logits.mean(1) * np.sqrt(3)  # projection on (1, 1, 1) / √3
    assert luminance.std() == pytest.approx(0.35, rel=0.05)
    power = (np.abs(np.fft.fft2(luminance)) ** 2).mean(0)
    assert power[0, 1] / power[0, 4] == pytest.approx(16, rel=0.3)
    assert power[0, 6] < 1e-6 * power[0, 1]
    assert space.codelen == 3 * sum(v * v + h * h <= 25 for v in range(-5, 6) for h in range(-5, 6))


def test_random_codes_are_seeded_and_shapes_refused():
    space = PixelSpace(8, 2)
    np.testing.assert_array_equal(space.sample_vector(3, seed=4), space.sample_vector(3, seed=4))
    with pytest.raises(UsageError, match=r"takes \(n, 12\)"):
        space.visualize(np.zeros((1, 5)))
    with pytest.raises(UsageError, match="hold up to 16"):
        FourierSpace(32, 20)
    assert checked(space) is space
