"""Windows: children in a job object whose last handle is ours, so that they die with us."""

import sys

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _KILL_ON_JOB_CLOSE = 0x2000
    _EXTENDED_LIMITS = 9
    _SET_QUOTA_AND_TERMINATE = 0x0100 | 0x0001

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    class JobGuard:
        """One job for each child, so that one can be ended alone, with all it started."""

        def __init__(self) -> None:
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            for name in ("CreateJobObjectW", "OpenProcess"):
                getattr(self._kernel, name).restype = wintypes.HANDLE
            self._jobs: dict[int, wintypes.HANDLE] = {}

        async def start(self) -> None:
            """Nothing to prepare."""

        def watch(self, group: int) -> None:
            job = self._kernel.CreateJobObjectW(None, None)
            limits = _ExtendedLimits()
            limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
            self._kernel.SetInformationJobObject(
                wintypes.HANDLE(job),
                _EXTENDED_LIMITS,
                ctypes.byref(limits),
                ctypes.sizeof(limits),
            )
            child = self._kernel.OpenProcess(_SET_QUOTA_AND_TERMINATE, False, group)
            self._kernel.AssignProcessToJobObject(wintypes.HANDLE(job), wintypes.HANDLE(child))
            self._kernel.CloseHandle(wintypes.HANDLE(child))
            self._jobs[group] = wintypes.HANDLE(job)

        def unwatch(self, group: int) -> None:
            job = self._jobs.pop(group, None)
            if job is not None:
                self._kernel.CloseHandle(job)

        async def close(self) -> None:
            for group in list(self._jobs):
                self.unwatch(group)
