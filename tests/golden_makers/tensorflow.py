"""Layers and operators of TensorFlow 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers


def cases() -> list[dict[str, Any]]:
    import tensorflow as tf

    version, x = f"tensorflow {tf.__version__}", numbers(T, B, I, seed=0)
    v1 = tf.compat.v1
    cells = v1.nn.rnn_cell
    made = [
        (
            "BasicLSTMCell, LSTMCell, LSTMBlockCell",
            lambda: cells.BasicLSTMCell(H),
            {"forget_offset": 1.0, "cell_clip": 0.0},
        ),
        (
            "BasicLSTMCell, LSTMCell, LSTMBlockCell",
            lambda: cells.LSTMCell(H, forget_bias=0.0, cell_clip=0.5),
            {"forget_offset": 0.0, "cell_clip": 0.5},
        ),
        (
            "LSTMCell(use_peepholes=True)",
            lambda: cells.LSTMCell(H, use_peepholes=True),
            {"forget_offset": 1.0, "cell_clip": 0.0},
        ),
        ("GRUCell, GRUBlockCell", lambda: cells.GRUCell(H), {}),
        ("BasicRNNCell", lambda: cells.BasicRNNCell(H), {"activation": "tanh"}),
    ]
    result = []
    for layers, make, facts in made:
        with tf.Graph().as_default(), v1.Session() as session:
            y, _ = v1.nn.dynamic_rnn(make(), tf.constant(x), dtype=tf.float32, time_major=True)
            weights = {}
            for k, variable in enumerate(v1.global_variables()):
                value = numbers(*variable.shape, seed=k + 1)
                session.run(variable.assign(value))
                weights[variable.name] = value
            result.append(case(version, "tensorflow1", layers, weights, session.run(y), **facts))
    w, b, zeros = (
        numbers(I + H, 4 * H, seed=1),
        numbers(4 * H, seed=2),
        np.zeros((B, H), np.float32),
    )
    peepholes = {name: numbers(H, seed=k) for k, name in enumerate(("wci", "wcf", "wco"))}
    for use_peephole in (False, True):
        given = peepholes if use_peephole else dict.fromkeys(peepholes, np.zeros(H, np.float32))
        of = tf.raw_ops.BlockLSTM(seq_len_max=T, x=x, cs_prev=zeros, h_prev=zeros, w=3 * w, b=b,
                                  use_peephole=use_peephole, **given)  # fmt: skip
        layers = (
            "BlockLSTM(use_peephole=True)"
            if use_peephole
            else "the operators BlockLSTM, LSTMBlockCell"
        )
        weights = {"lstm.w": 3 * w, "lstm.b": b}
        weights |= {f"lstm.{n}": p for n, p in peepholes.items()} if use_peephole else {}
        result.append(case(version, "tensorflow-block", layers, weights, of.h, forget_offset=1.0,
                           cell_clip=3.0))  # fmt: skip
    given = dict.fromkeys(peepholes, np.zeros(H, np.float32))
    of = tf.raw_ops.BlockLSTMV2(seq_len_max=T, x=x, cs_prev=zeros, h_prev=zeros, w=w, b=b, **given)
    result.append(case(version, "tensorflow-block-v2", "the operator BlockLSTMV2",
                       {"lstm.w": w, "lstm.b": b}, of.h, cell_clip=0.0))  # fmt: skip
    gru = {"w_ru": numbers(I + H, 2 * H, seed=1), "w_c": numbers(I + H, H, seed=2),
           "b_ru": numbers(2 * H, seed=3), "b_c": numbers(H, seed=4)}  # fmt: skip
    h, ys = zeros, []
    for step in x:
        h = tf.raw_ops.GRUBlockCell(x=step, h_prev=h, **gru).h
        ys.append(h)
    result.append(case(version, "tensorflow-block", "the operator GRUBlockCell", gru, np.stack(ys)))
    return result
