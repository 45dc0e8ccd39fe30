#!/usr/bin/env bash
# torchdata: a StatefulDataLoader that shuffles with a `generator` of the caller's and has no workers
# does not resume the run it was saved in. The rest of the pass that was cut short comes back as it
# was, but every later pass has another order than in the run that was not interrupted. With the
# loader's own generator, with a generator that only the sampler gets, or with a worker, the later
# passes agree. The cause: each pass draws its permutation and then a seed for workers from the one
# generator; loading restores the state before the permutation and leaves the second draw out.
# Seen with torchdata 0.11.0 and torch 2.13.0: rest True and later passes False for `generator`
# without workers; True and True for the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchdata==0.11.0 numpy==2.4.6
cat >"$folder/resume.py" <<'PYTHON'
import torch
from torchdata.stateful_dataloader import StatefulDataLoader
from torchdata.stateful_dataloader.sampler import RandomSampler

data = list(range(20))


def loader(generator, workers):
    seeded = torch.Generator().manual_seed(5)
    options = {
        "own": {"shuffle": True},
        "loader": {"shuffle": True, "generator": seeded},
        "sampler": {"sampler": RandomSampler(data, generator=seeded)},
    }[generator]
    return StatefulDataLoader(data, batch_size=4, num_workers=workers, **options)


def order(batches):
    return torch.cat(list(batches)).tolist()


def resumes(generator, workers):
    """Return whether the rest of the saved pass, and the two passes after it, come back."""
    run = loader(generator, workers)
    batches = iter(run)
    next(batches)
    state = run.state_dict()
    expected = [order(batches), order(run), order(run)]
    resumed = loader(generator, workers)
    resumed.load_state_dict(state)
    found = [order(resumed) for _ in range(3)]
    assert all(sorted(x) == data for x in expected[1:] + found[1:])
    return found[0] == expected[0], found[1:] == expected[1:]


if __name__ == "__main__":
    cases = [(g, w) for g in ("own", "sampler", "loader") for w in (0, 1)]
    seen = {case: resumes(*case) for case in cases}
    for (generator, workers), (rest, later) in seen.items():
        print(f"generator: {generator}, workers: {workers}: rest {rest}, later passes {later}")
    assert seen.pop(("loader", 0)) == (True, False)
    assert all(outcome == (True, True) for outcome in seen.values())
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/resume.py"
