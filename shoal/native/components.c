/* Weakly connected components of one shard's piece, by union-find (Tarjan and van Leeuwen, "Worst-Case Analysis of Set
   Union Algorithms", JACM 1984) with path halving.

   The root of a set is its least index, so a parent is never greater than its child, and one pass upwards turns parents
   into numbers. Linking by index instead of by rank costs nothing measurable on graphs of small diameter. An edge with
   both ends here stands in the rows of its source, so of the in-edges only those from ghosts are looked at. */

#include "native.h"

static int32_t root_of(int32_t *parents, int32_t node)
{
    while (parents[node] != node) {
        parents[node] = parents[parents[node]];
        node = parents[node];
    }
    return node;
}

static void unite_rows(const Rows *rows, int32_t least, int32_t *parents)
{
    const int32_t *restrict neighbours = rows->neighbours;
    int64_t asked = rows->edges - AHEAD, k = 0;
    for (int64_t i = 0; i < rows->count; i++) {
        int64_t end = row_start(rows, i + 1);
        if (k == end)
            continue;
        int32_t root = root_of(parents, (int32_t)i);
        for (; k < end; k++) {
            if (k < asked)
                __builtin_prefetch(&parents[neighbours[k + AHEAD]], 0, 3);
            if (neighbours[k] < least || parents[neighbours[k]] == root)
                continue;
            int32_t other = root_of(parents, neighbours[k]);
            int32_t greater = other > root ? other : root;
            root = other < root ? other : root;
            parents[greater] = root;
        }
    }
}

static int64_t number_sets(int32_t *parents, int64_t width)
{
    int64_t count = 0;
    for (int64_t i = 0; i < width; i++)
        parents[i] = parents[i] == i ? (int32_t)count++ : parents[parents[i]]; /* which has its number already */
    return count;
}

/* components(out_indptr, out_neighbours, in_indptr, in_neighbours, labels, width) -> how many. Both adjacencies are of the same
   rows; labels, one a local index, become the components' numbers, from 0, in the order of their first index. */
PyObject *components(PyObject *module, PyObject *args)
{
    (void)module;
    enum { OUT_INDPTR, OUT_NEIGHBOURS, IN_INDPTR, IN_NEIGHBOURS, LABELS, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"out_indptr", "iq", 'r'},  {"out_neighbours", "i", 'r'}, {"in_indptr", "iq", 'r'},
        {"in_neighbours", "i", 'r'}, {"labels", "i", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t width;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Rows out = rows_of(&a[OUT_INDPTR], &a[OUT_NEIGHBOURS]), in = rows_of(&a[IN_INDPTR], &a[IN_NEIGHBOURS]);
    int32_t *labels = a[LABELS].data;
    if (!integer_at(args, ARRAYS, &width) || !row_span(&out, 0, out.count) || !row_span(&in, 0, in.count) ||
        !require(out.count == in.count, "the rows of both directions have to be the same nodes") ||
        !require(a[LABELS].count == width && width >= out.count, "there is not one label a local index"))
        goto done;
    int64_t count;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < width; i++)
        labels[i] = (int32_t)i;
    unite_rows(&out, 0, labels);
    if (width > in.count)
        unite_rows(&in, (int32_t)in.count, labels);
    count = number_sets(labels, width);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLongLong(count);
done:
    arrays_release(a, ARRAYS);
    return result;
}
