/* The module `shoal.kernels._native`, its table of functions, and how arrays come in. See native.h. */

#include "native.h"

#include <string.h>

static char kind_of(const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    if (*format == '@' || *format == '=')
        format++;
    if (strlen(format) != 1)
        return 0;
    if (*format == 'd' && view->itemsize == 8)
        return 'd';
    if (strchr("lq", *format) && view->itemsize == 8)
        return 'q';
    if (strchr("il", *format) && view->itemsize == 4)
        return 'i';
    if (strchr("B?", *format) && view->itemsize == 1)
        return 'B';
    return 0;
}

static bool array_take(Array *array, PyObject *object, const Want *want)
{
    memset(array, 0, sizeof *array);
    if (object == Py_None && *want->kinds == '?')
        return true;
    int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (want->access == 'w' ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, &array->view, flags) < 0)
        return false;
    char kind = kind_of(&array->view);
    if (array->view.ndim != 1 || !kind || !strchr(want->kinds, kind)) {
        PyErr_Format(PyExc_TypeError, "%s: an array of one dimension and of type %s is needed", want->name, want->kinds);
        PyBuffer_Release(&array->view);
        return false;
    }
    array->data = array->view.buf;
    array->count = array->view.len / array->view.itemsize;
    array->kind = kind;
    return true;
}

void arrays_release(Array *arrays, int count)
{
    for (int i = 0; i < count; i++)
        if (arrays[i].kind)
            PyBuffer_Release(&arrays[i].view);
}

bool arrays_take(Array *arrays, PyObject *args, const Want *wants, int count)
{
    if (PyTuple_Size(args) < count) {
        PyErr_Format(PyExc_TypeError, "%d arrays are needed", count);
        return false;
    }
    for (int i = 0; i < count; i++)
        if (!array_take(&arrays[i], PyTuple_GetItem(args, i), &wants[i])) {
            arrays_release(arrays, i);
            return false;
        }
    return true;
}

bool integer_at(PyObject *args, int position, Py_ssize_t *value)
{
    PyObject *object = PyTuple_GetItem(args, position);
    if (!object)
        return false;
    *value = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    return !(*value == -1 && PyErr_Occurred());
}

bool number_at(PyObject *args, int position, double *value)
{
    PyObject *object = PyTuple_GetItem(args, position);
    if (!object)
        return false;
    *value = PyFloat_AsDouble(object);
    return !(*value == -1.0 && PyErr_Occurred());
}

bool require(bool holds, const char *what)
{
    if (!holds)
        PyErr_SetString(PyExc_ValueError, what);
    return holds;
}

Rows rows_of(const Array *indptr, const Array *neighbours)
{
    Rows rows = {NULL, NULL, neighbours->data, indptr->count - 1, neighbours->count};
    if (indptr->kind == 'i')
        rows.narrow = indptr->data;
    else
        rows.wide = indptr->data;
    return rows;
}

bool row_span(const Rows *rows, Py_ssize_t first, Py_ssize_t last)
{
    if (!require(rows->count >= 0 && 0 <= first && first <= last && last <= rows->count, "no such rows"))
        return false;
    return require(row_start(rows, last) <= rows->edges, "the rows end behind the last neighbour");
}

static const char *rows_fault(const Rows *rows, int64_t width)
{
    if (row_start(rows, 0) != 0 || row_start(rows, rows->count) != rows->edges)
        return "the rows do not begin with the first neighbour and end with the last";
    for (int64_t i = 0; i < rows->count; i++)
        if (row_start(rows, i) > row_start(rows, i + 1))
            return "the starts of the rows do not ascend";
    uint32_t largest = 0; /* a negative index is a very large one */
    for (int64_t k = 0; k < rows->edges; k++) {
        uint32_t neighbour = (uint32_t)rows->neighbours[k];
        largest = neighbour > largest ? neighbour : largest;
    }
    return rows->edges && largest >= width ? "a neighbour is no local index" : NULL;
}

/* check_rows(indptr, neighbours, width): raises ValueError unless the rows tile the neighbours and each is in
   [0, width). Every other function relies on it. */
PyObject *check_rows(PyObject *module, PyObject *args)
{
    (void)module;
    static const Want wants[] = {{"indptr", "iq", 'r'}, {"neighbours", "i", 'r'}};
    Array arrays[2];
    Py_ssize_t width;
    if (!arrays_take(arrays, args, wants, 2))
        return NULL;
    PyObject *result = NULL;
    if (!integer_at(args, 2, &width) || !require(arrays[0].count > 0, "the starts of the rows are missing"))
        goto done;
    Rows rows = rows_of(&arrays[0], &arrays[1]);
    const char *fault;
    Py_BEGIN_ALLOW_THREADS
    fault = rows_fault(&rows, width);
    Py_END_ALLOW_THREADS
    if (require(!fault, fault))
        result = Py_NewRef(Py_None);
done:
    arrays_release(arrays, 2);
    return result;
}

static PyMethodDef functions[] = {
    {"check_rows", check_rows, METH_VARARGS, NULL},
    {"gather", gather, METH_VARARGS, NULL},
    {"count", count, METH_VARARGS, NULL},
    {"rank_step", rank_step, METH_VARARGS, NULL},
    {"sum_all", sum_all, METH_VARARGS, NULL},
    {"sum_rows", sum_rows, METH_VARARGS, NULL},
    {"mode", mode, METH_VARARGS, NULL},
    {"neighbourhoods", neighbourhoods, METH_VARARGS, NULL},
    {"oriented", oriented, METH_VARARGS, NULL},
    {"triangles", triangles, METH_VARARGS, NULL},
    {"cores", cores, METH_VARARGS, NULL},
    {"fallen_cores", fallen_cores, METH_VARARGS, NULL},
    {"components", components, METH_VARARGS, NULL},
    {"breadth_first", breadth_first, METH_VARARGS, NULL},
    {"shortest_paths", shortest_paths, METH_VARARGS, NULL},
    {"tally", tally, METH_VARARGS, NULL},
    {"deal", deal, METH_VARARGS, NULL},
    {"order", order, METH_VARARGS, NULL},
    {"touch", touch, METH_VARARGS, NULL},
    {"plain", plain, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "shoal.kernels._native", "The compiled loops of `shoal.kernels.reductions`.", 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
