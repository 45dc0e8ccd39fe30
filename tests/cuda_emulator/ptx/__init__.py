"""nvcc's PTX as C++ for the emulator: one C++ statement per instruction.

    python -m ptx kernels.sm_90.ptx kernels.sm_90.cpp     # with tests/cuda_emulator on PYTHONPATH

`parser` reads the text, `opcodes` and `arithmetic` are the table of instructions, `special` has
those that are more than an expression, `operands` writes values and addresses, `translate` joins
them; `nvcc` goes all the way from a .cu file. What the
generated code calls is in the headers beside; `launch.h` finds and starts a translated kernel.
"""

from .parser import PtxError
from .translate import translate

__all__ = ["PtxError", "translate"]
