"""The programs of ptx_programs.py and ptx_meetings.py as one PTX text."""

from __future__ import annotations

import ptx_meetings
import ptx_programs

PROGRAMS = (
    ptx_programs.MEMORY
    + ptx_programs.FUNCTIONS
    + "".join(
        program()
        for program in (
            ptx_programs.loads,
            ptx_programs.vectors,
            ptx_programs.orders,
            ptx_programs.hints,
            ptx_programs.moves,
            ptx_programs.control,
            ptx_programs.special,
            ptx_programs.atomics,
            ptx_programs.shared_atomics,
            ptx_meetings.barriers,
            ptx_meetings.warps,
            ptx_meetings.products,
            ptx_meetings.matrices,
            ptx_meetings.copies,
            ptx_meetings.cluster,
            ptx_meetings.phases,
        )
    )
)
