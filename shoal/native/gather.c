/* Reductions over the neighbours of every row: sum, least and greatest, with or without weights; counts; PageRank.

   The time goes into fetching the neighbours' values, which lie anywhere. Asking for them AHEAD edges early, across
   the ends of rows, hides most of it; short rows cost a mispredicted branch each and no more. */

#include "native.h"

#include <math.h>

enum { SUM, LEAST, GREATEST, PRODUCT_SUM, LEAST_PATH, GREATEST_PATH };

#define ASK(k) __builtin_prefetch(&values[neighbours[(k) + AHEAD]], 0, 3)
#define NOTHING(k) ((void)0)

/* One pass over rows: STEP takes the value at edge k into `total`. The last edges have nobody left to ask for. */
#define PASS(T, FIRST, LAST, AHEAD_OF, STEP)                                                                           \
    for (int64_t i = (FIRST); i < (LAST); i++) {                                                                       \
        int64_t end = row_start(rows, i + 1);                                                                          \
        T total = identity;                                                                                            \
        bool strange = false;                                                                                          \
        for (; k < end; k++) {                                                                                         \
            AHEAD_OF(k);                                                                                               \
            STEP;                                                                                                      \
        }                                                                                                              \
        out[i] = strange ? (T)NAN : total + (T)0;                                                                      \
    }

#define LOOP(T, NAME, STEP)                                                                                            \
    static void NAME(const Rows *rows, int64_t first, int64_t last, const T *restrict values,                          \
                     const T *restrict weights, T identity, T *restrict out)                                           \
    {                                                                                                                  \
        const int32_t *restrict neighbours = rows->neighbours;                                                         \
        (void)weights;                                                                                                 \
        int64_t k = row_start(rows, first), near = row_near_end(rows, first, last);                                    \
        PASS(T, first, near, ASK, STEP)                                                                                \
        PASS(T, near, last, NOTHING, STEP)                                                                             \
    }

/* The first row from which an edge might ask for one behind the last neighbour. */
static int64_t row_near_end(const Rows *rows, int64_t first, int64_t last)
{
    while (last > first && row_start(rows, last) + AHEAD > rows->edges)
        last--;
    return last;
}

#define VALUE values[neighbours[k]]

/* As numpy has it, one value that is not a number makes the result such. It is looked for beside the comparison, not in
   it, so that both stay free of branches; of integers it is never true. Which of 0.0 and -0.0 is taken is an accident;
   PASS turns the latter into the former by adding 0 to each total (`shoal/kernels/merging.py`). */
#define TAKE(IS, CANDIDATE)                                                                                            \
    {                                                                                                                  \
        __typeof__(total) candidate = CANDIDATE;                                                                       \
        total = total IS candidate ? total : candidate;                                                                \
        strange |= candidate != candidate;                                                                             \
    }

/* Integers wrap around, as numpy's do: signed overflow would be undefined, so they are added as unsigned ones. */
#define PLUS(a, b) (int64_t)((uint64_t)(a) + (uint64_t)(b))

LOOP(double, sum_d, total += VALUE)
LOOP(int64_t, sum_q, total = PLUS(total, VALUE))
LOOP(double, product_sum_d, total += VALUE * weights[k])
LOOP(int64_t, product_sum_q, total = PLUS(total, (uint64_t)VALUE * (uint64_t)weights[k]))
LOOP(double, least_d, TAKE(<, VALUE))
LOOP(int64_t, least_q, TAKE(<, VALUE))
LOOP(double, greatest_d, TAKE(>, VALUE))
LOOP(int64_t, greatest_q, TAKE(>, VALUE))
LOOP(double, least_path_d, TAKE(<, VALUE + weights[k]))
LOOP(int64_t, least_path_q, TAKE(<, PLUS(VALUE, weights[k])))
LOOP(double, greatest_path_d, TAKE(>, VALUE + weights[k]))
LOOP(int64_t, greatest_path_q, TAKE(>, PLUS(VALUE, weights[k])))

typedef void Floats(const Rows *, int64_t, int64_t, const double *, const double *, double, double *);
typedef void Integers(const Rows *, int64_t, int64_t, const int64_t *, const int64_t *, int64_t, int64_t *);

static Floats *const floats[] = {sum_d, least_d, greatest_d, product_sum_d, least_path_d, greatest_path_d};
static Integers *const integers[] = {
    sum_q, least_q, greatest_q, product_sum_q, least_path_q, greatest_path_q,
};

enum { INDPTR, NEIGHBOURS, VALUES, WEIGHTS, OUT, ARRAYS };

static void run(int merge, const Rows *rows, Py_ssize_t first, Py_ssize_t last, Array *a)
{
    double none = merge == LEAST ? Py_HUGE_VAL : merge == GREATEST ? -Py_HUGE_VAL : 0.0;
    int64_t nothing = merge == LEAST ? INT64_MAX : merge == GREATEST ? INT64_MIN : 0;
    int which = merge + (a[WEIGHTS].data ? PRODUCT_SUM : 0);
    if (a[VALUES].kind == 'd')
        floats[which](rows, first, last, a[VALUES].data, a[WEIGHTS].data, none, a[OUT].data);
    else
        integers[which](rows, first, last, a[VALUES].data, a[WEIGHTS].data, nothing, a[OUT].data);
}

/* gather(indptr, neighbours, values, weights, out, merge, width, first, last): for rows first .. last - 1, out[i]
   becomes the sum (merge 0), least (1) or greatest (2) of the neighbours' values; of value * weight for a sum and
   value + weight else, if there are weights, one an edge in row order. A row without neighbours gets 0, the greatest or
   the least number. */
PyObject *gather(PyObject *module, PyObject *args)
{
    (void)module;
    static const Want wants[ARRAYS] = {
        {"indptr", "iq", 'r'}, {"neighbours", "i", 'r'}, {"values", "dq", 'r'}, {"weights", "?dq", 'r'}, {"out", "dq", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t merge, width, first, last;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    if (!integer_at(args, ARRAYS, &merge) || !integer_at(args, ARRAYS + 1, &width) ||
        !integer_at(args, ARRAYS + 2, &first) || !integer_at(args, ARRAYS + 3, &last))
        goto done;
    Rows rows = rows_of(&a[INDPTR], &a[NEIGHBOURS]);
    if (!row_span(&rows, first, last) || !require(SUM <= merge && merge <= GREATEST, "no such merge") ||
        !require(a[VALUES].count >= width, "there are fewer values than local indices") ||
        !require(a[OUT].count == rows.count, "the result needs a value a row") ||
        !require(a[OUT].kind == a[VALUES].kind, "the result is of another type than the values") ||
        !require(!a[WEIGHTS].data || a[WEIGHTS].count == rows.edges, "there is not one weight an edge") ||
        !require(!a[WEIGHTS].kind || a[WEIGHTS].kind == a[VALUES].kind, "the weights are of another type"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    run((int)merge, &rows, first, last, a);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_release(a, ARRAYS);
    return result;
}

#define IS_SET(T, values) (((const T *)(values))[rows->neighbours[k]] != 0)
#define COUNT_LOOP(T)                                                                                                  \
    for (int64_t i = first, k = row_start(rows, first); i < last; i++) {                                               \
        int64_t total = 0;                                                                                             \
        for (int64_t end = row_start(rows, i + 1); k < end; k++)                                                       \
            total += IS_SET(T, flags->data);                                                                           \
        out[i] = total;                                                                                                \
    }

static void count_set(const Rows *rows, int64_t first, int64_t last, const Array *flags, int64_t *out)
{
    switch (flags->kind) {
    case 'd':
        COUNT_LOOP(double)
        break;
    case 'q':
        COUNT_LOOP(int64_t)
        break;
    default:
        COUNT_LOOP(uint8_t)
    }
}

/* count(indptr, neighbours, values, out, width, first, last): out[i] becomes the number of neighbours of row i whose
   value is not zero. Flags of a byte each are fetched fastest. */
PyObject *count(PyObject *module, PyObject *args)
{
    (void)module;
    enum { INDPTR, NEIGHBOURS, VALUES, OUT, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"indptr", "iq", 'r'}, {"neighbours", "i", 'r'}, {"values", "dqB", 'r'}, {"out", "q", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t width, first, last;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    if (!integer_at(args, ARRAYS, &width) || !integer_at(args, ARRAYS + 1, &first) ||
        !integer_at(args, ARRAYS + 2, &last))
        goto done;
    Rows rows = rows_of(&a[INDPTR], &a[NEIGHBOURS]);
    if (!row_span(&rows, first, last) || !require(a[VALUES].count >= width, "there are fewer values than local indices") ||
        !require(a[OUT].count == rows.count, "the result needs a value a row"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    count_set(&rows, first, last, &a[VALUES], a[OUT].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_release(a, ARRAYS);
    return result;
}
