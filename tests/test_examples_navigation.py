"""The example navigation: its worlds, teacher and words are right, and the test worlds are new."""

from __future__ import annotations

import re
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import tolerances

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

from examples.common import Integers, Run  # noqa: E402
from examples.navigation import training  # noqa: E402
from examples.navigation.instructions import WORDS, describe, split  # noqa: E402
from examples.navigation.model import Agent  # noqa: E402
from examples.navigation.routes import Routes, make_routes, shortest_paths  # noqa: E402
from examples.navigation.teacher import FAR  # noqa: E402
from examples.navigation.worlds import (  # noqa: E402
    COLOURS,
    DOOR,
    FORWARD,
    FREE,
    LEFT,
    RIGHT,
    SIGHT,
    SIZE,
    STOP,
    THINGS,
    WALL,
    make_world,
    move,
    passable,
    views,
)

ROUTES = make_routes(30, 4, np.random.default_rng(5))
STEPS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def code(colour: str, thing: str) -> int:
    return DOOR + THINGS.index(thing) * len(COLOURS) + COLOURS.index(colour)


def room(things: dict[tuple[int, int], int]) -> Integers:
    """Return a world that is one room, with things in it."""
    world = np.full((SIZE, SIZE), WALL)
    world[1:-1, 1:-1] = FREE
    for place, thing in things.items():
        world[place] = thing
    return world


def act(world: Integers, state: Integers, action: int) -> Integers:
    return move(world[None], state[None], np.array([action]))[0]


def moves_by_search(world: Integers, target: tuple[int, ...], start: tuple[int, ...]) -> int:
    """Return the moves from a state to the target, by a search forward; FAR if there is no way."""
    seen, queue = {start}, deque([(start, 0)])
    while queue:
        state, count = queue.popleft()
        if state[:2] == target:
            return count
        for action in (FORWARD, LEFT, RIGHT):
            after = tuple(act(world, np.array(state), action).tolist())
            if after not in seen:
                seen.add(after)
                queue.append((after, count + 1))
    return FAR


def test_nine_rooms_have_doors_that_nothing_blocks() -> None:
    world = make_world(np.random.default_rng(1))
    doors = np.argwhere((world >= DOOR) & (world < DOOR + len(COLOURS)))
    assert 6 <= len(doors) <= 12
    for row, column in doors:
        beside = world[[row - 1, row + 1, row, row], [column, column, column - 1, column + 1]]
        assert sorted(beside) in ([FREE, FREE, WALL, WALL],)
    assert (world[[0, -1]] == WALL).all()
    assert (world[:, [0, -1]] == WALL).all()


def test_an_agent_turns_and_walks_until_something_is_in_its_way() -> None:
    world = room({(4, 5): code("red", "lamp"), (2, 5): code("red", "door")})[None]
    state = np.array([[3, 3, 0]])
    places = []
    for action in (RIGHT, FORWARD, FORWARD, RIGHT, FORWARD, LEFT, LEFT, FORWARD, FORWARD, STOP):
        state = move(world, state, np.array([action]))
        places.append(tuple(state[0].tolist()))
    assert places == [
        (3, 3, 1), (3, 4, 1), (3, 5, 1), (3, 5, 2), (3, 5, 2), (3, 5, 1), (3, 5, 0), (2, 5, 0),
        (1, 5, 0), (1, 5, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("heading", range(4))
def test_a_view_turns_with_the_agent(heading: int) -> None:
    ahead, right = [((-1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 0), (0, -1)), ((0, -1), (-1, 0))][
        heading
    ]
    things = {
        (8 + 2 * ahead[0], 8 + 2 * ahead[1]): code("red", "lamp"),
        (8 + right[0], 8 + right[1]): code("blue", "chair"),
    }
    view = views(room(things)[None], np.array([[8, 8, heading]]))[0]
    expected = np.full((SIGHT, SIGHT), FREE)
    expected[2, 2], expected[0, 3] = code("red", "lamp"), code("blue", "chair")
    np.testing.assert_array_equal(view, expected)


def test_the_moves_that_are_left_are_those_of_a_search() -> None:
    world, left = ROUTES.worlds[0], ROUTES.left[0]
    target = tuple(np.argwhere(left[..., 0] == 0)[0].tolist())
    free = np.argwhere(passable(world))
    for heading, cell in enumerate(free[::9].tolist()):
        state = (*cell, heading % 4)
        assert left[state] == moves_by_search(world, target, state)
    assert (left[~passable(world)] == FAR).all()


def test_a_route_is_a_shortest_path_to_its_target() -> None:
    states = ROUTES.starts
    _, actions = shortest_paths(ROUTES)
    for action in actions.T:
        states = move(ROUTES.worlds, states, action)
    index = np.arange(len(ROUTES))
    assert (ROUTES.left[(index, *states.T)] == 0).all()
    assert ((actions != STOP).sum(axis=1) == ROUTES.left[(index, *ROUTES.starts.T)]).all()


def follow(text: str, world: Integers, state: Integers) -> Integers:
    """Return where a route ends by its instruction, read by rules that know nothing of the teacher.

    A clause ends at the first cell after its beginning that fits.
    """
    for clause in re.split(r", and then |, then | and then | then |, ", text):
        if re.match("(turn|face|first turn) (left|right)$", clause):
            state = act(world, state, LEFT if "left" in clause else RIGHT)
            continue
        passed = re.search(r"(?:through|take) the (?:(\w+) )?door$", clause)
        counted = re.search(r"(\w+) steps?\b", clause)
        thing = re.search(r"the (second |third )?(?:(\w+) )?(door|lamp|chair|plant)\b", clause)
        steps, met = 0, 0
        while True:
            after = act(world, state, FORWARD)
            assert (after != state).any(), f"{clause!r} of {text!r} runs into something"
            state, steps = after, steps + 1
            if passed:
                if DOOR <= world[tuple(state[:2])] < DOOR + len(COLOURS):
                    colours = [passed[1]] if passed[1] else COLOURS
                    assert world[tuple(state[:2])] in [code(colour, "door") for colour in colours]
                    break
            elif counted:
                if steps == STEPS[counted[1]]:
                    break
            elif "the wall" in clause:
                if (act(world, state, FORWARD) == state).all():
                    break
            else:
                assert thing is not None, clause
                colours = [thing[2]] if thing[2] else COLOURS
                codes = [code(colour, thing[3]) for colour in colours]
                view = views(world[None], state[None])[0]
                met += sum(here in codes for here in (view[1, 2], view[0, 1], view[0, 3]))
                if met == {"second ": 2, "third ": 3}.get(thing[1], 1):
                    break
        if side := re.search(r"(?:turn|take a) (left|right)", clause):
            state = act(world, state, LEFT if side[1] == "left" else RIGHT)
    return state


def test_who_follows_the_words_alone_arrives() -> None:
    assert len(ROUTES) > 60
    for i, text in enumerate(ROUTES.texts):
        end = follow(text, ROUTES.worlds[i], ROUTES.starts[i])
        assert ROUTES.left[(i, *end)] == 0, text


def told(world: Integers, state: Integers, actions: Integers) -> set[str]:
    """Return instructions for a path, in all wordings that 200 seeds draw."""
    states = [state]
    for action in actions[:-1]:
        states.append(act(world, states[-1], action))
    seen = views(np.stack([world] * len(states)), np.array(states))
    return {describe(seen, actions, np.random.default_rng(seed)) for seed in range(200)}


def test_an_instruction_counts_things_from_the_clause_before() -> None:
    chairs = {(12, 4): code("red", "chair"), (9, 6): code("blue", "chair")}
    world = room(chairs | {(7, 4): code("red", "lamp"), (6, 9): code("red", "chair")})
    actions = np.array([FORWARD] * 6 + [RIGHT] + [FORWARD] * 4 + [STOP])
    texts = told(world, np.array([13, 5, 0]), actions)
    names = {re.search("(six steps|(?:red )?lamp)", t)[1] for t in texts}  # type: ignore[index]
    assert names == {"six steps", "lamp", "red lamp"}
    assert {re.search("the ([^ ]* ?chair)", t)[1] for t in texts} == {"chair", "red chair"}  # type: ignore[index]
    texts = told(world, np.array([13, 5, 0]), np.array([FORWARD] * 4 + [STOP]))
    assert {re.search("the (.*?chair)", t)[1] for t in texts} == {"second chair", "blue chair"}  # type: ignore[index]


def test_all_words_are_known() -> None:
    used = {word for text in ROUTES.texts for word in split(text)}
    assert used <= set(WORDS)
    assert not {"side", "place", "colour"} & set(WORDS)
    tokens = training.encode(["", "turn left"])
    assert tokens[:, 0].tolist() == [1, 0, 0]
    assert [WORDS[i - 2] for i in tokens[1:, 1]] == ["turn", "left"]


def test_worlds_of_two_generators_differ() -> None:
    others = make_routes(30, 4, np.random.default_rng([5, 1]))
    ours = {world.tobytes() for world in ROUTES.worlds}
    assert len(ours) > 20
    assert not ours & {world.tobytes() for world in others.worlds}


def test_varied_routes_are_the_same_in_other_words() -> None:
    _, actions = shortest_paths(ROUTES)
    kinds = set()
    for seed in range(8):
        varied = ROUTES.varied(np.random.default_rng(seed))
        _, now = shortest_paths(varied)
        mirrored = bool((now != actions).any())
        expected = np.array([FORWARD, RIGHT, LEFT, STOP])[actions] if mirrored else actions
        np.testing.assert_array_equal(now, expected)
        for i, text in enumerate(varied.texts):
            end = follow(text, varied.worlds[i], varied.starts[i])
            assert varied.left[(i, *end)] == 0, text
        assert varied.texts != ROUTES.texts
        kinds.add(mirrored)
    assert kinds == {False, True}


def agents() -> list[Agent]:
    """Return an agent with our layers and one with those of torch.nn, of the same weights."""
    torch.manual_seed(0)
    ours, theirs = training.new_agent(), training.new_agent(torch.nn)
    theirs.load_state_dict(ours.state_dict())
    return [ours.double(), theirs.double()]


def test_the_loss_and_its_gradients_are_those_of_the_layers_of_torch() -> None:
    results = []
    for agent in agents():
        loss = training.imitation_loss(agent, ROUTES[np.arange(8)])
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in agent.parameters())])
    for ours, theirs in zip(*results, strict=True):
        largest = theirs.abs().max()
        assert (ours - theirs).abs().max() <= tolerances.TORCH_RELATIVE_FLOAT64 * largest


@torch.no_grad()
def test_what_an_agent_does_does_not_depend_on_the_others() -> None:
    agent = agents()[0]
    together = training.walk(agent, ROUTES[np.arange(6)], training.likeliest)
    shortest = min(range(6), key=lambda i: len(ROUTES.texts[i]))
    alone = training.walk(agent, ROUTES[np.array([shortest])], training.likeliest)
    steps = len(alone.actions)
    torch.testing.assert_close(together.scores[:steps, shortest], alone.scores[:, 0])


def scripted(routes: Routes, actions: list[list[int]]) -> training.Walk:
    """Return a walk on which agents do what a list says for each step."""
    left = iter(actions)
    with torch.no_grad():
        return training.walk(training.new_agent(), routes, lambda *_: torch.tensor(next(left)))


def test_rewards_are_for_coming_closer_and_for_the_right_stop() -> None:
    route = ROUTES[np.array([0, 0])]
    _, actions = shortest_paths(route)
    count = int((actions[0] != STOP).sum())
    first, rest = int(actions[0, 0]), actions[0, 1:count].tolist()
    done = scripted(route, [[first, STOP], *([a, LEFT] for a in rest), [STOP, STOP]])
    assert done.success.tolist() == [True, False]
    assert done.moves.tolist() == [count, 0]
    assert done.going[:, 1].tolist() == [True] + [False] * count
    returns = done.returns().numpy()
    assert returns[-1, 0] == pytest.approx(training.ARRIVED)
    expected = training.ARRIVED
    for _ in range(count):
        expected = training.CLOSER + training.DISCOUNT * expected
    assert returns[0, 0] == pytest.approx(expected)
    assert not returns[:, 1].any()


def test_the_loss_of_reinforcement_is_that_of_its_formula() -> None:
    agent = agents()[0]
    torch.manual_seed(3)
    loss = training.reinforcement_loss(agent, ROUTES[np.arange(8)])
    torch.manual_seed(3)
    done = training.walk(agent, ROUTES[np.arange(8)], training.draw)
    terms, returns = [], done.returns()
    for b in range(8):
        for t in range(len(done.actions)):
            surprise = -done.scores[t, b].log_softmax(dim=0)[done.actions[t, b]]
            gap = returns[t, b] - done.expected[t, b]
            terms.append(gap.detach() * surprise + gap**2)
            if done.actions[t, b] == STOP:
                break
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(loss, expected)
    gradients = [
        torch.autograd.grad(value, list(agent.parameters()), retain_graph=True)
        for value in (loss, expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_comparison_of_layers_prints_both_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.compare_layers(Run("navigation", True, 0, tmp_path), ROUTES)
    assert re.fullmatch(
        r"a training step: torch.nn [\d.]+ ms, rnnfast.torch [\d.]+ ms, [\d.]+ times as fast\n",
        capsys.readouterr().out,
    )
