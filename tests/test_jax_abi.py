"""The structs of `bindings/xla_ffi.h` are laid out like those of XLA's header."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ffi = pytest.importorskip("jax.ffi", reason="jax is not installed")

SOURCES = Path(__file__).resolve().parents[1] / "src" / "cpp"
# Ours, XLA's, and pairs of fields.
STRUCTS = {
    ("Extension", "XLA_FFI_Extension_Base"): "struct_size kind:type next",
    ("Version", "XLA_FFI_Api_Version"): "extensions:extension_start major:major_version "
    "minor:minor_version",
    ("ErrorToCreate", "XLA_FFI_Error_Create_Args"): "message code:errc",
    ("Api", "XLA_FFI_Api"): "version:api_version create_error:XLA_FFI_Error_Create",
    ("Buffer", "XLA_FFI_Buffer"): "type:dtype data rank dims",
    ("Buffers", "XLA_FFI_Args"): "count:size kinds:types items:args",
    ("Buffers", "XLA_FFI_Rets"): "count:size kinds:types items:rets",
    ("Bytes", "XLA_FFI_ByteSpan"): "data:ptr size:len",
    ("Scalar", "XLA_FFI_Scalar"): "type:dtype value",
    ("Attributes", "XLA_FFI_Attrs"): "count:size kinds:types names items:attrs",
    ("CallFrame", "XLA_FFI_CallFrame"): "extensions:extension_start api context:ctx stage "
    "arguments:args results:rets attributes:attrs",
    ("Metadata", "XLA_FFI_Metadata"): "version:api_version traits",
    ("MetadataExtension", "XLA_FFI_Metadata_Extension"): "base:extension_base metadata",
}
VALUES = {
    "kMajorVersion": "XLA_FFI_API_MAJOR",
    "kMetadata": "XLA_FFI_Extension_Metadata",
    "kInvalidArgument": "XLA_FFI_Error_Code_INVALID_ARGUMENT",
    "kInternal": "XLA_FFI_Error_Code_INTERNAL",
    "kScalar": "XLA_FFI_AttrType_SCALAR",
    "kString": "XLA_FFI_AttrType_STRING",
    "Type::boolean": "XLA_FFI_DataType_PRED",
    "Type::s32": "XLA_FFI_DataType_S32",
    "Type::s64": "XLA_FFI_DataType_S64",
    "Type::u8": "XLA_FFI_DataType_U8",
    "Type::f32": "XLA_FFI_DataType_F32",
    "Type::f64": "XLA_FFI_DataType_F64",
}


def test_the_layout_is_that_of_the_header_of_jaxlib(tmp_path: Path) -> None:
    checks = [
        f"static_assert(int(xla::{ours}) == int({theirs}));" for ours, theirs in VALUES.items()
    ]
    for (ours, theirs), fields in STRUCTS.items():
        for pair in fields.split():
            mine, other = (pair.split(":") * 2)[:2]
            a, b = f"xla::{ours}, {mine}", f"{theirs}, {other}"
            checks.append(f"static_assert(offsetof({a}) == offsetof({b}));")
            checks.append(
                f"static_assert(sizeof(xla::{ours}::{mine}) == sizeof({theirs}::{other}));"
            )
    source = tmp_path / "layout.cpp"
    headers = '#include "bindings/xla_ffi.h"\n#include "xla/ffi/api/c_api.h"\n'
    source.write_text(headers + "using namespace rnnfast;\n" + "\n".join(checks) + "\n")
    compiler = shutil.which("g++") or shutil.which("clang++") or "c++"
    include = ["-I", str(SOURCES), "-I", ffi.include_dir()]
    command = [
        compiler,
        "-std=c++20",
        "-fsyntax-only",
        "-Wno-invalid-offsetof",
        *include,
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
