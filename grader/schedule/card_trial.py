"""Have a card compute, by NVIDIA's driver alone: `python card_trial.py`, where CUDA_VISIBLE_DEVICES names the card.

Prints the card's memory in MB. It ends with an error where the card does not compute, and where torch might not be able
to use what the driver can: then torch itself must be asked, which takes about four seconds (an H100) to be imported.
"""

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

# Every build of torch for CUDA 12 and 13 has kernels for these: A100, A10, L4, H100, H200 and what lies between.
_OLDEST, _NEWEST = (8, 0), (9, 0)
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_BLOCKS, _THREADS = 256, 256
# The square of each thread's number, modulo 2**32.
_PTX = b"""
.version 7.0
.target sm_80
.address_size 64
.visible .entry square(.param .u64 numbers)
{
    .reg .b32 %r<6>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [numbers];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.s32 %r4, %r1, %r2, %r3;
    mul.lo.s32 %r5, %r4, %r4;
    mul.wide.u32 %rd3, %r4, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r5;
    ret;
}
"""


class Unsure(Exception):
    """The driver alone cannot say that torch will train on this card."""


def tried(driver: Any, torch_cuda: str) -> int:
    """The card's memory in MB, once it has computed.

    Args:
        driver: libcuda, loaded.
        torch_cuda: The version of CUDA that torch was built for; empty for a build without CUDA.

    Raises:
        Unsure: The card is not there, does not compute, or is one that only torch can tell about.
    """
    version, card, major, minor = (ctypes.c_int() for _ in range(4))
    _call(driver, "cuInit", 0)
    _call(driver, "cuDriverGetVersion", ctypes.byref(version))
    if not torch_cuda or version.value // 1000 < int(torch_cuda.split(".")[0]):
        raise Unsure(f"a driver for CUDA {version.value // 1000}, and torch for {torch_cuda or 'none'}")
    _call(driver, "cuDeviceGet", ctypes.byref(card), 0)
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, card)
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, card)
    if not _OLDEST <= (major.value, minor.value) <= _NEWEST:
        raise Unsure(f"compute capability {major.value}.{minor.value}")
    memory = ctypes.c_size_t()
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), card)
    if _squares(driver, card) != [number * number % 2**32 for number in range(_BLOCKS * _THREADS)]:
        raise Unsure("the card computes wrongly")
    return memory.value >> 20


def _squares(driver: Any, card: ctypes.c_int) -> list[int]:
    context, module, function = (ctypes.c_void_p() for _ in range(3))
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), card)
    _call(driver, "cuCtxSetCurrent", context)
    _call(driver, "cuModuleLoadData", ctypes.byref(module), _PTX)
    _call(driver, "cuModuleGetFunction", ctypes.byref(function), module, b"square")
    here, there = (ctypes.c_uint32 * (_BLOCKS * _THREADS))(), ctypes.c_uint64()
    size = ctypes.c_size_t(ctypes.sizeof(here))
    _call(driver, "cuMemAlloc_v2", ctypes.byref(there), size)
    arguments = (ctypes.c_void_p * 1)(ctypes.addressof(there))
    _call(driver, "cuLaunchKernel", function, _BLOCKS, 1, 1, _THREADS, 1, 1, 0, None, arguments, None)
    _call(driver, "cuMemcpyDtoH_v2", here, there, size)
    return list(here)


def _call(driver: Any, name: str, *arguments: Any) -> None:
    """Call one of the driver's functions, all of which return 0 where they succeed."""
    if error := getattr(driver, name)(*arguments):
        raise Unsure(f"{name} gave {error}")


def torch_cuda() -> str:
    """The version of CUDA that the installed torch was built for, without importing it; empty where there is none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    found = re.search(r"^cuda\b.*= '([\d.]+)'", Path(spec.origin).with_name("version.py").read_text(), re.MULTILINE)
    return found[1] if found else ""


if __name__ == "__main__":
    print(tried(ctypes.CDLL("libcuda.so.1"), torch_cuda()))
