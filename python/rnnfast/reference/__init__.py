"""The reference: every compiled cell as plain NumPy equations, differentiated by a small tape.

It imports only NumPy. `CELLS` lists the cells in the order of the C++ registry, `Network` runs
them, and `min_char_rnn` is the classic training program.
"""

from rnnfast.reference import gru, gru_reset_before, lstm, mut3, nas, rnn
from rnnfast.reference.cell import Cell
from rnnfast.reference.network import Gradients, Network
from rnnfast.reference.rounding import round_to_bfloat16, round_to_int8

CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        rnn.TANH,
        rnn.RELU,
        lstm.LSTM,
        lstm.PEEPHOLE,
        gru.GRU,
        gru_reset_before.GRU_RESET_BEFORE,
        mut3.MUT3,
        nas.NAS,
    )
}

__all__ = ["CELLS", "Cell", "Gradients", "Network", "round_to_bfloat16", "round_to_int8"]
