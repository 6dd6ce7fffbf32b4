/* A step of PageRank in one pass over the rows: gather, damp, add the base, and divide among the edges that leave. */

#include "native.h"

typedef struct {
    const double *share;
    const double *per_edge;
    double damping;
    double base;
    double *rank;
    double *next;
} Step;

/* Each product and sum is rounded by itself, in the order in which numpy would do it an array at a time. */
static void step_rows(const Rows *rows, int64_t first, int64_t last, const Step *s)
{
    const int32_t *restrict neighbours = rows->neighbours;
    const double *restrict share = s->share;
    int64_t k = row_start(rows, first), near = rows->edges - AHEAD;
    for (int64_t i = first; i < last; i++) {
        int64_t end = row_start(rows, i + 1);
        double total = 0.0;
        if (end <= near)
            for (; k < end; k++) {
                __builtin_prefetch(&share[neighbours[k + AHEAD]], 0, 3);
                total += share[neighbours[k]];
            }
        else
            for (; k < end; k++)
                total += share[neighbours[k]];
        double rank = total * s->damping;
        rank += s->base;
        s->rank[i] = rank;
        s->next[i] = rank * s->per_edge[i];
    }
}

/* rank_step(indptr, neighbours, share, per_edge, rank, next, damping, base, width, first, last): for rows
   first .. last - 1, rank[i] becomes damping * (sum of the neighbours' shares) + base, and next[i] rank[i] *
   per_edge[i]. `next` may be longer than there are rows, and must not be `share`. */
PyObject *rank_step(PyObject *module, PyObject *args)
{
    (void)module;
    enum { INDPTR, NEIGHBOURS, SHARE, PER_EDGE, RANK, NEXT, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"indptr", "iq", 'r'},  {"neighbours", "i", 'r'}, {"share", "d", 'r'},
        {"per_edge", "d", 'r'}, {"rank", "d", 'w'},       {"next", "d", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t width, first, last;
    double damping, base;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    if (!number_at(args, ARRAYS, &damping) || !number_at(args, ARRAYS + 1, &base) ||
        !integer_at(args, ARRAYS + 2, &width) || !integer_at(args, ARRAYS + 3, &first) ||
        !integer_at(args, ARRAYS + 4, &last))
        goto done;
    Rows rows = rows_of(&a[INDPTR], &a[NEIGHBOURS]);
    if (!row_span(&rows, first, last) || !require(a[SHARE].count >= width, "there are fewer shares than local indices") ||
        !require(a[PER_EDGE].count == rows.count && a[RANK].count == rows.count, "one value a row is needed") ||
        !require(a[NEXT].count >= rows.count, "next needs a value a row") ||
        !require(a[NEXT].data != a[SHARE].data && a[RANK].data != a[SHARE].data, "next has to be an array of its own"))
        goto done;
    Step step = {a[SHARE].data, a[PER_EDGE].data, damping, base, a[RANK].data, a[NEXT].data};
    Py_BEGIN_ALLOW_THREADS
    step_rows(&rows, first, last, &step);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_release(a, ARRAYS);
    return result;
}
