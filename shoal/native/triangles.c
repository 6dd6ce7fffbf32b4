/* Triangles, by the forward algorithm (Latapy, "Main-memory triangle computations for very large (sparse (power-law))
   graphs", Theoretical Computer Science 2008, section 3.1): every row holds its neighbours of higher rank alone, and for
   each of those, what both hold closes a triangle. So each is found once, from its lowest corner, and hubs, which rank
   highest, hold little.

   A row marks what it holds; its members' rows are then looked up, in any order. A mark and what is due to the third
   corner share eight bytes, so that a step is a load, a few additions and a store, without a branch. Ranks number the
   nodes densely and hubs alike, and so nearly all that is looked up stays in the nearest cache. */

#include "native.h"

#include <stdlib.h>

/* An entry is a rank and, in the lowest bit, whether edges lead both ways. A slot's low byte is the number of arcs from
   the marking row, 0 if it holds no such member; the rest is due to that member. */
#define RANK(entry) ((entry) >> 1)
#define ARCS(entry) ((uint64_t)((entry)&1) + 1)
#define DUE_SHIFT 8

typedef struct {
    Rows rows; /* by row; entries in place of neighbours */
    const int32_t *row_of; /* by rank */
    uint64_t *slots;       /* by rank */
    uint64_t *credits;     /* by rank */
} Count;

/* Look up all that `u` holds; returns what is due to the marking row, and adds what is due to the others. */
static uint64_t close_pair(const Count *c, int64_t row, int32_t pair)
{
    const int32_t *restrict entries = c->rows.neighbours;
    uint64_t *restrict slots = c->slots;
    uint64_t lowest = 0, middle = 0, due = ARCS(pair) << DUE_SHIFT;
    for (int64_t k = row_start(&c->rows, row), end = row_start(&c->rows, row + 1); k < end; k++) {
        uint64_t slot = slots[RANK(entries[k])], arcs = slot & 3, found = -(uint64_t)(arcs != 0);
        lowest += found & ARCS(entries[k]);
        middle += arcs;
        slots[RANK(entries[k])] = slot + (found & due);
    }
    c->credits[RANK(pair)] += middle;
    return lowest;
}

static void count_row(const Count *c, int64_t row, int32_t rank)
{
    const int32_t *entries = c->rows.neighbours;
    int64_t first = row_start(&c->rows, row), last = row_start(&c->rows, row + 1);
    if (last - first < 2)
        return;
    for (int64_t k = first; k < last; k++)
        c->slots[RANK(entries[k])] = ARCS(entries[k]);
    uint64_t lowest = 0;
    for (int64_t k = first; k < last; k++)
        lowest += close_pair(c, c->row_of[RANK(entries[k])], entries[k]);
    c->credits[rank] += lowest;
    for (int64_t k = first; k < last; k++) {
        c->credits[RANK(entries[k])] += c->slots[RANK(entries[k])] >> DUE_SHIFT;
        c->slots[RANK(entries[k])] = 0;
    }
}

static bool all_below(const int32_t *numbers, Py_ssize_t count, int64_t bound)
{
    uint32_t largest = 0; /* a negative number is a very large one */
    for (Py_ssize_t k = 0; k < count; k++)
        largest = (uint32_t)numbers[k] > largest ? (uint32_t)numbers[k] : largest;
    return !count || largest < bound;
}

/* triangles(starts, entries, row_of, rank_of, credits, first, last): for each triangle whose lowest corner is one of the
   rows first .. last - 1, credits, by rank, grow at each corner by the arcs between the other two. An entry is
   rank * 2 + (arcs - 1); rank_of and row_of turn rows into ranks and back. What a row holds is distinct. */
PyObject *triangles(PyObject *module, PyObject *args)
{
    (void)module;
    enum { STARTS, ENTRIES, ROW_OF, RANK_OF, CREDITS, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"starts", "q", 'r'}, {"entries", "i", 'r'}, {"row_of", "i", 'r'}, {"rank_of", "i", 'r'}, {"credits", "q", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t first, last;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Count c = {.rows = rows_of(&a[STARTS], &a[ENTRIES]), .row_of = a[ROW_OF].data};
    int64_t width = c.rows.count;
    if (!integer_at(args, ARRAYS, &first) || !integer_at(args, ARRAYS + 1, &last) || !row_span(&c.rows, first, last) ||
        !require(a[ROW_OF].count == width && a[RANK_OF].count == width && a[CREDITS].count == width,
                 "there is not one rank and one credit a row") ||
        !require(all_below(a[ENTRIES].data, a[ENTRIES].count, 2 * width) && all_below(a[ROW_OF].data, width, width) &&
                     all_below(a[RANK_OF].data, width, width),
                 "there is no such rank"))
        goto done;
    c.slots = calloc(width ? (size_t)width : 1, sizeof *c.slots);
    c.credits = calloc(width ? (size_t)width : 1, sizeof *c.credits);
    if (!c.slots || !c.credits) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (int64_t row = first; row < last; row++)
        count_row(&c, row, ((int32_t *)a[RANK_OF].data)[row]);
    Py_END_ALLOW_THREADS
    for (int64_t i = 0; i < width; i++) /* under the GIL again, since other threads do so as well */
        ((uint64_t *)a[CREDITS].data)[i] += c.credits[i];
    result = Py_NewRef(Py_None);
done:
    free(c.slots);
    free(c.credits);
    arrays_release(a, ARRAYS);
    return result;
}
