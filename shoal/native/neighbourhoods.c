/* The distinct neighbours of every row, in or out, without the row itself; and of each pair of neighbours the half that
   one of both keeps, so that a pair is looked at once. */

#include "native.h"

#include <stdlib.h>

enum { OUTWARDS = 1, INWARDS = 2 };

typedef struct {
    int64_t *starts;
    int32_t *members;
    uint8_t *arcs;
    int64_t end;
} Sets;

static void collect_row(const Rows *rows, int64_t i, uint8_t direction, uint8_t *marks, Sets *sets)
{
    int64_t end = row_start(rows, i + 1), asked = rows->edges - AHEAD;
    for (int64_t k = row_start(rows, i); k < end; k++) {
        if (k < asked)
            __builtin_prefetch(&marks[rows->neighbours[k + AHEAD]], 1, 3);
        int32_t neighbour = rows->neighbours[k];
        if (!marks[neighbour] && neighbour != i)
            sets->members[sets->end++] = neighbour;
        marks[neighbour] |= direction;
    }
}

/* Marks become numbers of arcs, and are taken back. The row itself, if it has a loop, is marked and no member. */
static void close_row(int64_t i, uint8_t *marks, Sets *sets)
{
    for (int64_t k = sets->starts[i]; k < sets->end; k++) {
        uint8_t *mark = &marks[sets->members[k]];
        sets->arcs[k] = *mark == (OUTWARDS | INWARDS) ? 2 : 1;
        *mark = 0;
    }
    marks[i] = 0;
    sets->starts[i + 1] = sets->end;
}

static void collect(const Rows *out, const Rows *in, uint8_t *marks, Sets *sets)
{
    sets->starts[0] = 0;
    for (int64_t i = 0; i < out->count; i++) {
        collect_row(out, i, OUTWARDS, marks, sets);
        collect_row(in, i, INWARDS, marks, sets);
        close_row(i, marks, sets);
    }
}

/* neighbourhoods(out_indptr, out_neighbours, in_indptr, in_neighbours, starts, members, arcs, width) -> how many members.
   Row by row the distinct neighbours in the order in which they first come, out-edges first; arcs says whether edges lead
   one way (1) or both (2). `members` and `arcs` have room for all edges of both adjacencies. */
PyObject *neighbourhoods(PyObject *module, PyObject *args)
{
    (void)module;
    enum { OUT_INDPTR, OUT_NEIGHBOURS, IN_INDPTR, IN_NEIGHBOURS, STARTS, MEMBERS, ARCS, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"out_indptr", "iq", 'r'}, {"out_neighbours", "i", 'r'}, {"in_indptr", "iq", 'r'}, {"in_neighbours", "i", 'r'},
        {"starts", "q", 'w'},      {"members", "i", 'w'},        {"arcs", "B", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t width;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    uint8_t *marks = NULL;
    Rows out = rows_of(&a[OUT_INDPTR], &a[OUT_NEIGHBOURS]), in = rows_of(&a[IN_INDPTR], &a[IN_NEIGHBOURS]);
    if (!integer_at(args, ARRAYS, &width) || !row_span(&out, 0, out.count) || !row_span(&in, 0, in.count) ||
        !require(out.count == in.count && out.count <= width, "the rows of both directions have to be the same nodes") ||
        !require(a[STARTS].count == out.count + 1, "there is not one start a row") ||
        !require(a[MEMBERS].count >= out.edges + in.edges && a[ARCS].count >= out.edges + in.edges, "too little room"))
        goto done;
    marks = calloc(width ? (size_t)width : 1, sizeof *marks);
    if (!marks) {
        PyErr_NoMemory();
        goto done;
    }
    Sets sets = {a[STARTS].data, a[MEMBERS].data, a[ARCS].data, 0};
    Py_BEGIN_ALLOW_THREADS
    collect(&out, &in, marks, &sets);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLongLong(sets.end);
done:
    free(marks);
    arrays_release(a, ARRAYS);
    return result;
}

static int64_t keep_upper(const Rows *rows, const int64_t *degree, const int64_t *ordinal, const uint8_t *arcs, Sets *kept)
{
    kept->starts[0] = 0;
    for (int64_t i = 0; i < rows->count; i++) {
        for (int64_t k = row_start(rows, i), end = row_start(rows, i + 1); k < end; k++) {
            int32_t other = rows->neighbours[k];
            bool upper = degree[other] != degree[i] ? degree[other] > degree[i] : ordinal[other] > ordinal[i];
            if (!upper)
                continue;
            kept->members[kept->end] = other;
            kept->arcs[kept->end++] = arcs[k];
        }
        kept->starts[i + 1] = kept->end;
    }
    return kept->end;
}

/* oriented(starts, members, arcs, degree, ordinal, kept_starts, kept_members, kept_arcs, width) -> how many are kept: of
   each row the members with a greater (degree, ordinal) than its own. Both are by local index. */
PyObject *oriented(PyObject *module, PyObject *args)
{
    (void)module;
    enum { STARTS, MEMBERS, ARCS, DEGREE, ORDINAL, KEPT_STARTS, KEPT_MEMBERS, KEPT_ARCS, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"starts", "q", 'r'},  {"members", "i", 'r'},     {"arcs", "B", 'r'},         {"degree", "q", 'r'},
        {"ordinal", "q", 'r'}, {"kept_starts", "q", 'w'}, {"kept_members", "i", 'w'}, {"kept_arcs", "B", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t width;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Rows rows = rows_of(&a[STARTS], &a[MEMBERS]);
    if (!integer_at(args, ARRAYS, &width) || !row_span(&rows, 0, rows.count) ||
        !require(a[ARCS].count == rows.edges, "there is not one number of arcs a member") ||
        !require(a[DEGREE].count == width && a[ORDINAL].count == width && rows.count <= width,
                 "there is not one degree and ordinal a local index") ||
        !require(a[KEPT_STARTS].count == a[STARTS].count, "there is not one start a row") ||
        !require(a[KEPT_MEMBERS].count >= rows.edges && a[KEPT_ARCS].count >= rows.edges, "too little room"))
        goto done;
    Sets kept = {a[KEPT_STARTS].data, a[KEPT_MEMBERS].data, a[KEPT_ARCS].data, 0};
    int64_t count;
    Py_BEGIN_ALLOW_THREADS
    count = keep_upper(&rows, a[DEGREE].data, a[ORDINAL].data, a[ARCS].data, &kept);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLongLong(count);
done:
    arrays_release(a, ARRAYS);
    return result;
}
