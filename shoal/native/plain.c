/* Whether values are plain and nobody else's, as what a node or an agent keeps from tick to tick has to be.

   It is kept by value. A list that two names lead to would be two lists when the run goes on from a checkpoint, and what
   is put into one would not be in the other: another answer, without an error. That a container is held in one place
   alone is what its count of references says, so nothing has to be remembered on the way: not what other nodes hold,
   nor what hangs on a program, a class or a module. A tuple may be held by many as long as nothing in it can change. */

#include "native.h"

#include <string.h>

/* Deeper than anybody writes by hand, and far from what the packing behind this can do. */
#define DEPTH_MAX 100

typedef struct {
    bool tuples; /* whether tuples and read-only dicts are plain, too */
    bool shared; /* whether others may hold the containers */
    PyObject *path[DEPTH_MAX + 1]; /* keys, borrowed; NULL where it is a place in a list or tuple */
    Py_ssize_t at[DEPTH_MAX + 1];
    int depth;
    const char *fault;
    PyObject *culprit; /* borrowed */
} Walk;

enum { FAULT = -1, FIXED = 0, MUTABLE = 1 };

static int walk(Walk *w, PyObject *value, int held);

/* CPython keeps other things in the upper half from 3.14 on. */
static bool is_held_by(PyObject *value, int held)
{
    return (uint32_t)Py_REFCNT(value) == (uint32_t)held;
}

static int fault(Walk *w, PyObject *culprit, const char *what)
{
    PyErr_Clear();
    w->fault = what;
    w->culprit = culprit;
    return FAULT;
}

static int walk_items(Walk *w, PyObject *value, bool is_list)
{
    int found = FIXED;
    int depth = w->depth++;
    for (Py_ssize_t i = 0; i < (is_list ? PyList_Size(value) : PyTuple_Size(value)); i++) {
        w->path[depth] = NULL;
        w->at[depth] = i;
        int item = walk(w, is_list ? PyList_GetItem(value, i) : PyTuple_GetItem(value, i), 1);
        if (item == FAULT)
            return FAULT;
        found |= item;
    }
    w->depth--;
    return found;
}

static int walk_entries(Walk *w, PyObject *value, PyObject *skip)
{
    int found = FIXED;
    int depth = w->depth++;
    Py_ssize_t position = 0;
    PyObject *key, *item;
    while (PyDict_Next(value, &position, &key, &item)) {
        if (skip && PyUnicode_Check(key) && PyUnicode_Compare(key, skip) == 0)
            continue;
        w->path[depth] = key;
        int kind = walk(w, key, 1);
        if (kind != FAULT)
            kind = walk(w, item, 1);
        if (kind == FAULT)
            return FAULT;
        found |= kind;
    }
    w->depth--;
    return found;
}

static int visit_one(PyObject *value, void *found)
{
    *(PyObject **)found = value;
    return 0;
}

/* The dict behind a read-only one, borrowed; NULL if there is something else. */
static PyObject *dict_behind(PyObject *value)
{
    PyObject *found = NULL;
    traverseproc traverse = (traverseproc)PyType_GetSlot(Py_TYPE(value), Py_tp_traverse);
    if (traverse)
        traverse(value, visit_one, &found);
    return found && Py_IS_TYPE(found, &PyDict_Type) ? found : NULL;
}

static int walk_integer(Walk *w, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow)
        return number == -1 && PyErr_Occurred() ? fault(w, value, "cannot be read as an integer") : FIXED;
    if (overflow > 0) {
        PyLong_AsUnsignedLongLong(value);
        if (!PyErr_Occurred())
            return FIXED;
    }
    return fault(w, value, "does not fit an integer of 64 bits");
}

static int walk(Walk *w, PyObject *value, int held)
{
    PyTypeObject *type = Py_TYPE(value);
    if (value == Py_None || type == &PyFloat_Type || type == &PyBool_Type || type == &PyBytes_Type)
        return FIXED;
    if (type == &PyLong_Type)
        return walk_integer(w, value);
    if (type == &PyUnicode_Type) {
        Py_ssize_t size;
        return PyUnicode_AsUTF8AndSize(value, &size) ? FIXED : fault(w, value, "is text that cannot be encoded");
    }
    if (w->depth >= DEPTH_MAX)
        return fault(w, value, "is nested too deeply, or holds itself");
    if (type == &PyList_Type || type == &PyDict_Type) {
        if (!w->shared && held && !is_held_by(value, held))
            return fault(w, value, "is held elsewhere, too");
        int found = type == &PyList_Type ? walk_items(w, value, true) : walk_entries(w, value, NULL);
        return found == FAULT ? FAULT : MUTABLE;
    }
    if (!w->tuples)
        return fault(w, value, "is not plain");
    int found;
    if (type == &PyTuple_Type) {
        found = walk_items(w, value, false);
    } else if (type == &PyDictProxy_Type) {
        PyObject *behind = dict_behind(value);
        if (!behind)
            return fault(w, value, "is not plain");
        if (!w->shared && !is_held_by(behind, 1))
            return fault(w, value, "is a view of a dict that is held elsewhere, too");
        found = walk_entries(w, behind, NULL);
    } else {
        return fault(w, value, "is not plain");
    }
    if (found == MUTABLE && !w->shared && !is_held_by(value, 1))
        return fault(w, value, "is held elsewhere, too, and what is in it can change");
    return found;
}

static PyObject *path_told(const Walk *w)
{
    PyObject *told = PyUnicode_FromString("");
    for (int i = 0; told && i < w->depth && i < DEPTH_MAX; i++) {
        PyObject *longer = w->path[i] ? PyUnicode_FromFormat("%U[%R]", told, w->path[i])
                                      : PyUnicode_FromFormat("%U[%zd]", told, w->at[i]);
        Py_DECREF(told);
        told = longer;
    }
    return told;
}

/* plain(dicts, held, skip, tuples, shared): None if all of the dicts in a list are plain, and each container in them is
   held there alone; else the place of the first that is not, the way to what is wrong, what is wrong, and it itself.
   `held` is how many hold the dicts themselves (the list is one; 0: it does not matter); the entry `skip` of each is
   not looked at. */
PyObject *plain(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *dicts, *skip;
    int held, tuples, shared;
    if (!PyArg_ParseTuple(args, "OiOpp", &dicts, &held, &skip, &tuples, &shared))
        return NULL;
    if (!require(PyList_Check(dicts), "a list of dicts is needed"))
        return NULL;
    Walk w;
    for (Py_ssize_t i = 0; i < PyList_Size(dicts); i++) {
        PyObject *each = PyList_GetItem(dicts, i);
        if (!require(Py_IS_TYPE(each, &PyDict_Type), "a list of dicts is needed"))
            return NULL;
        memset(&w, 0, sizeof w);
        w.tuples = tuples;
        w.shared = shared;
        int found = held && !shared && !is_held_by(each, held) ? fault(&w, each, "is held elsewhere, too")
                                                               : walk_entries(&w, each, skip == Py_None ? NULL : skip);
        if (found == FAULT) {
            PyObject *path = path_told(&w);
            return path ? Py_BuildValue("nNsO", i, path, w.fault, w.culprit) : NULL;
        }
    }
    Py_RETURN_NONE;
}
