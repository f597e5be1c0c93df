"""The little of CUDA's driver interface that the checks need, by ctypes: nothing to install."""

from __future__ import annotations

import ctypes

# Adds one to each of the words at an address; at address 0 that is the fault of a program.
_ADD_ONE = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry add_one(.param .u64 words)
{
  .reg .u64 %address, %offset;
  .reg .u32 %thread, %block, %size, %index, %value;
  ld.param.u64 %address, [words];
  mov.u32 %thread, %tid.x;
  mov.u32 %block, %ctaid.x;
  mov.u32 %size, %ntid.x;
  mad.lo.u32 %index, %block, %size, %thread;
  mul.wide.u32 %offset, %index, 4;
  add.u64 %address, %address, %offset;
  ld.global.u32 %value, [%address];
  add.u32 %value, %value, 1;
  st.global.u32 [%address], %value;
  ret;
}
"""
THREADS = 256


class CudaError(Exception):
    """A call of the driver's interface that failed; `code` is CUresult."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: CUresult {code}")
        self.code = code


class Device:
    """A context on the first device that this process sees."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        context, device = ctypes.c_void_p(), ctypes.c_int()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuCtxCreate_v2", ctypes.byref(context), 0, device)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code != 0:
            raise CudaError(name, code)

    def free_bytes(self) -> int:
        """How much of the device's memory is free."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, size: int) -> ctypes.c_uint64:
        """Device memory, as it comes: nobody has written to it for us."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address

    def fill(self, address: ctypes.c_uint64, word: int, size: int) -> None:
        """Write the 32-bit word all over it."""
        self._call("cuMemsetD32_v2", address, ctypes.c_uint(word), ctypes.c_size_t(size // 4))
        self._call("cuCtxSynchronize")

    def read(self, address: int, size: int) -> bytes:
        """Copy device memory to here."""
        buffer = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH_v2", buffer, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return buffer.raw

    def add_one(self, address: ctypes.c_uint64, words: int) -> None:
        """Run a kernel over `words` words (a multiple of THREADS) and wait for it."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(_ADD_ONE))
        self._call("cuModuleGetFunction", ctypes.byref(function), module, b"add_one")
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(address))
        grid, block = (words // THREADS, 1, 1), (THREADS, 1, 1)
        self._call("cuLaunchKernel", function, *grid, *block, 0, None, parameters, None)
        self._call("cuCtxSynchronize")
