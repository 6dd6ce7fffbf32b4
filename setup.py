"""The one thing that pyproject.toml can't say in a stable way: what is compiled. Everything else stands there."""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("shoal", "native")

setup(
    ext_modules=[
        Extension(
            "shoal.kernels._native",
            sources=sorted(path.as_posix() for path in NATIVE.glob("*.c")),
            depends=sorted(path.as_posix() for path in NATIVE.glob("*.h")),
            # The same bits on every machine: nothing is fused or reordered, and no machine's own instructions are used.
            extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-fno-fast-math", "-Wall", "-Wextra"],
            py_limited_api=True,
        ),
        Extension(
            "daemon.runtime._guard",
            sources=["daemon/native/guard.c"],
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-pthread"],
            extra_link_args=["-pthread"],
            py_limited_api=True,
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
