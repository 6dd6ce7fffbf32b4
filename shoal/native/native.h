/* What the compiled kernels share: arrays that come in through the buffer protocol, and rows of neighbours.

   Everything here speaks CPython's limited API of 3.11, so one build serves every later Python, and the buffer
   protocol instead of numpy's headers. An entry point takes its arrays (`arrays_take`: types and contiguity), checks
   that their lengths fit each other (`row_span`, `require`), releases the GIL for its loop and gives the arrays back.
   Indices inside an array are not looked at there: `check_rows` has done so once, when the kernel was made.

   No loop reorders floating-point operations: the build forbids fused multiply-add and fast-math, and a row's numbers
   are added from left to right. */

#ifndef SHOAL_NATIVE_H
#define SHOAL_NATIVE_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* One array: 'd' is float64, 'q' int64, 'i' int32, 'B' a byte; 0 stands for None, where that is allowed. */
typedef struct {
    Py_buffer view;
    void *data;
    Py_ssize_t count;
    char kind;
} Array;

/* What an entry point expects: the array's name, the kinds it may have ('?' first: None as well), and 'w' to write. */
typedef struct {
    const char *name;
    const char *kinds;
    char access;
} Want;

/* Take `count` arrays from the front of `args`. On failure an exception is set, and nothing is held. */
bool arrays_take(Array *arrays, PyObject *args, const Want *wants, int count);
void arrays_release(Array *arrays, int count);

/* The numbers behind the arrays in `args`. On failure an exception is set. */
bool integer_at(PyObject *args, int position, Py_ssize_t *value);
bool number_at(PyObject *args, int position, double *value);

/* Set a ValueError and return false unless the condition holds. */
bool require(bool holds, const char *what);

/* Rows in CSR form: `neighbours[start(i)] .. neighbours[start(i + 1) - 1]` are those of row i. */
typedef struct {
    const int32_t *narrow;
    const int64_t *wide;
    const int32_t *neighbours;
    int64_t count;
    int64_t edges;
} Rows;

static inline int64_t row_start(const Rows *rows, int64_t i)
{
    return rows->narrow ? rows->narrow[i] : rows->wide[i];
}

/* Rows over an `indptr` and its neighbours, which have been through `check_rows`. */
Rows rows_of(const Array *indptr, const Array *neighbours);

/* Whether 0 <= first <= last <= the rows; an exception is set if not. */
bool row_span(const Rows *rows, Py_ssize_t first, Py_ssize_t last);

/* How many edges ahead a neighbour's value is asked for. Measured on R-MAT 18 and 20: 8 is a little too late, and from 24
   to 64 there is no difference. */
#define AHEAD 32

/* The entry points, by file; what they take is said there and, with types, in _native.pyi. */
PyObject *check_rows(PyObject *module, PyObject *args);
PyObject *gather(PyObject *module, PyObject *args);
PyObject *count(PyObject *module, PyObject *args);
PyObject *rank_step(PyObject *module, PyObject *args);
PyObject *sum_all(PyObject *module, PyObject *args);
PyObject *sum_rows(PyObject *module, PyObject *args);
PyObject *mode(PyObject *module, PyObject *args);
PyObject *neighbourhoods(PyObject *module, PyObject *args);
PyObject *oriented(PyObject *module, PyObject *args);
PyObject *triangles(PyObject *module, PyObject *args);
PyObject *cores(PyObject *module, PyObject *args);
PyObject *fallen_cores(PyObject *module, PyObject *args);
PyObject *components(PyObject *module, PyObject *args);
PyObject *breadth_first(PyObject *module, PyObject *args);
PyObject *shortest_paths(PyObject *module, PyObject *args);
PyObject *tally(PyObject *module, PyObject *args);
PyObject *deal(PyObject *module, PyObject *args);
PyObject *order(PyObject *module, PyObject *args);
PyObject *touch(PyObject *module, PyObject *args);
PyObject *plain(PyObject *module, PyObject *args);

#endif
