/* Sums of floats, in an order that is ours.

   A pairwise sum adds up to 128 numbers in eight lanes, which are then added in pairs, and more than that as two halves.
   All numbers are summed so; a row is its first number plus the pairwise sum of the others. These are the orders of
   numpy 2's `add.reduce` and `add.reduceat`, which numpy does not promise. */

#include "native.h"

#define LANES 8
#define BLOCK 128

static double pairwise(const double *values, int64_t count)
{
    if (count < LANES) {
        double total = -0.0; /* so that nothing but -0.0 gives -0.0 */
        for (int64_t i = 0; i < count; i++)
            total += values[i];
        return total;
    }
    if (count > BLOCK) {
        int64_t half = count / 2;
        half -= half % LANES;
        return pairwise(values, half) + pairwise(values + half, count - half);
    }
    double lane[LANES];
    int64_t i = LANES;
    for (int j = 0; j < LANES; j++)
        lane[j] = values[j];
    for (; i < count - count % LANES; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += values[i + j];
    double total = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    for (; i < count; i++)
        total += values[i];
    return total;
}

/* sum_all(values): the sum of all. */
PyObject *sum_all(PyObject *module, PyObject *args)
{
    (void)module;
    static const Want wants[1] = {{"values", "d", 'r'}};
    Array a[1];
    if (!arrays_take(a, args, wants, 1))
        return NULL;
    double total;
    Py_BEGIN_ALLOW_THREADS
    total = pairwise(a[0].data, a[0].count);
    Py_END_ALLOW_THREADS
    arrays_release(a, 1);
    return PyFloat_FromDouble(total);
}

/* sum_rows(values, starts, sums): sums[i] becomes the sum of values[starts[i] .. starts[i + 1] - 1], and the last one
   that of the rest. Starts ascend, and no row is empty. */
PyObject *sum_rows(PyObject *module, PyObject *args)
{
    (void)module;
    enum { VALUES, STARTS, SUMS, ARRAYS };
    static const Want wants[ARRAYS] = {{"values", "d", 'r'}, {"starts", "q", 'r'}, {"sums", "d", 'w'}};
    Array a[ARRAYS];
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    const double *values = a[VALUES].data;
    const int64_t *starts = a[STARTS].data;
    double *sums = a[SUMS].data;
    int64_t rows = a[STARTS].count, count = a[VALUES].count;
    bool ascend = true;
    for (int64_t i = 0; i < rows; i++)
        ascend &= starts[i] >= 0 && starts[i] < (i + 1 < rows ? starts[i + 1] : count);
    if (!require(a[SUMS].count == rows, "one sum a row is needed") || !require(ascend, "rows ascend, and none is empty"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < rows; i++) {
        int64_t first = starts[i], end = i + 1 < rows ? starts[i + 1] : count;
        sums[i] = end == first + 1 ? values[first] : values[first] + pairwise(values + first + 1, end - first - 1);
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_release(a, ARRAYS);
    return result;
}
