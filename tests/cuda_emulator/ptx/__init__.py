"""Translate nvcc's PTX to C++ for the emulator, with one C++ statement per instruction.

    python -m ptx kernels.sm_90.ptx kernels.sm_90.cpp     # with tests/cuda_emulator on PYTHONPATH

`parser` reads the text. `opcodes` and `arithmetic` are the table of instructions, and `special`
handles those that need more than an expression. `operands` writes values and addresses, and
`translate` joins the parts. `nvcc` goes all the way from a .cu file. The generated code calls the
functions of the headers in this folder; `launch.h` finds and starts a translated kernel.
"""

from .parser import PtxError
from .translate import translate

__all__ = ["PtxError", "translate"]
