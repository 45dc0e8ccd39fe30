"""jieba: words and parts of speech of Chinese text, by GRUs of PaddlePaddle.

The package describes its network with paddle.fluid, which PaddlePaddle dropped in 2.5. The
operators remain, so this test describes the same network with them: fc is a product and a sum, and
dynamic_gru is the operator gru.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from comparison import leave_out
from packages import Package

import rnnfast

PADDLE = ("paddlepaddle==2.6.2", "astor==0.8.1", "decorator==5.2.1", "opt-einsum==3.3.0")
PACKAGE = Package("jieba", "0.42.1", "MIT", needs=PADDLE)
SENTENCE = "我来到北京清华大学,他来到了网易杭研大厦"
PARTS = ("w_0", "b_0")


def theirs() -> Any:
    leave_out("httpx", "paddle.fluid")
    import paddle
    from jieba.lac_small.reader_small import Dataset

    paddle.enable_static()
    names = [f"{kind}_{k}.{part}" for k in range(4) for kind in ("fc", "gru") for part in PARTS]
    executor, program = paddle.static.Executor(paddle.CPUPlace()), paddle.static.Program()
    block = program.global_block()
    for name in (*names, "word_emb"):
        block.create_var(name=name, persistable=True, dtype="float32")
        path = f"jieba/lac_small/model_baseline/{name}"
        block.append_op(type="load", outputs={"Out": name}, attrs={"file_path": path})
    *values, embedding = executor.run(program, fetch_list=[*names, "word_emb"])
    weights = dict(zip(names, values, strict=True))
    x = embedding[Dataset().get_vars(SENTENCE)]
    y = network(paddle, program := paddle.static.Program(), weights)
    lengths = [[len(x)]]
    feed = {"x": paddle.base.create_lod_tensor(x, lengths, paddle.CPUPlace())}

    def run() -> Any:
        return np.array(executor.run(program, feed, [y], return_numpy=False)[0])

    return (x, weights), run


def network(paddle: Any, program: Any, weights: dict[str, Any]) -> str:
    """Describe two layers of both directions, and return the name of their output."""
    block = program.global_block()
    with paddle.static.program_guard(program):
        paddle.static.data("x", [-1, 128], "float32", lod_level=1)
    for name, value in weights.items():
        block.create_var(name=name, persistable=True, dtype="float32", shape=value.shape)

    def add(kind: str, output: str, inputs: dict[str, Any], name: str, **attributes: Any) -> str:
        block.create_var(name=name, dtype="float32")
        others = ("BatchGate", "BatchResetHiddenPrev", "BatchHidden") if kind == "gru" else ()
        outputs = {other: block.create_var(name=f"{name}.{other}") for other in others}
        block.append_op(
            type=kind, inputs=inputs, outputs={output: name, **outputs}, attrs=attributes
        )
        return name

    x = "x"
    for layer in range(2):
        ys = []
        for k in (2 * layer, 2 * layer + 1):
            product = add(
                "mul", "Out", {"X": x, "Y": f"fc_{k}.w_0"}, f"product{k}", x_num_col_dims=1
            )
            sums = {"X": product, "Y": f"fc_{k}.b_0"}
            gates = add("elementwise_add", "Out", sums, f"gates{k}", axis=1)
            given = {"Input": gates, "Weight": f"gru_{k}.w_0", "Bias": f"gru_{k}.b_0"}
            ys.append(add("gru", "Hidden", given, f"hidden{k}", is_reverse=bool(k % 2)))
        x = add("concat", "Out", {"X": ys}, f"layer{layer}", axis=1)
    return x


def ours(given: Any) -> Any:
    x, weights = given
    layer = rnnfast.read_layer(weights, update_gate="replaces")
    return lambda: layer(x[:, None])[0][:, 0]


def test_two_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        network="2 GRUs in both directions, 20 letters",
        engine="PaddlePaddle",
    )
