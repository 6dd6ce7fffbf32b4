/* Grouping by a small number: stable counting sorts, which keep canonical order, and who sees which node at a boundary.

   `tally` counts the items of each key, `deal` lays values into piles by their keys, and `order` says which item lies
   where. A key outside [0, piles) is left out. Each is one pass without a comparison; the cursors are 32 bits wide, for
   there is one a pile, and they should fit into a cache. */

#include "native.h"

#include <stdlib.h>

typedef struct {
    uint32_t *next; /* where the next item of each pile goes */
    uint64_t piles;
    uint64_t room;  /* items that fit into the output */
} Cursors;

static bool cursors_take(Cursors *cursors, const Array *starts, Py_ssize_t room)
{
    const int64_t *from = starts->data;
    if (!require(starts->count > 0, "the starts of the piles are missing") ||
        !require(room <= INT32_MAX, "more than 2147483647 items cannot be dealt"))
        return false;
    cursors->piles = starts->count - 1;
    cursors->room = room;
    cursors->next = malloc((cursors->piles + 1) * sizeof *cursors->next);
    if (!cursors->next) {
        PyErr_NoMemory();
        return false;
    }
    for (uint64_t pile = 0; pile < cursors->piles; pile++) /* nonsense becomes `room`, and so an error */
        cursors->next[pile] = 0 <= from[pile] && from[pile] < room ? from[pile] : room;
    return true;
}

/* A negative key is a very large one. */
#define KEY(K, i) ((uint64_t)(int64_t)((const K *)keys->data)[i])

#define TALLY(K)                                                                                                       \
    static void tally_##K(const Array *keys, int64_t *counts, uint64_t piles)                                          \
    {                                                                                                                  \
        for (int64_t i = 0; i < keys->count; i++) {                                                                    \
            uint64_t key = KEY(K, i);                                                                                  \
            if (key < piles)                                                                                           \
                counts[key]++;                                                                                         \
        }                                                                                                              \
    }

/* Gives false if there is no room for an item, or some is left: then these are not the starts of these keys. */
#define DEAL(K, V)                                                                                                     \
    static bool deal_##K##_##V(const Array *keys, const Cursors *cursors, const V *values, V *out)                     \
    {                                                                                                                  \
        uint64_t dealt = 0;                                                                                            \
        for (int64_t i = 0; i < keys->count; i++) {                                                                    \
            uint64_t key = KEY(K, i);                                                                                  \
            if (key >= cursors->piles)                                                                                 \
                continue;                                                                                              \
            uint32_t place = cursors->next[key]++;                                                                     \
            if (place >= cursors->room)                                                                                \
                return false;                                                                                          \
            out[place] = values[i];                                                                                    \
            dealt++;                                                                                                   \
        }                                                                                                              \
        return dealt == cursors->room;                                                                                 \
    }

#define ORDER(K)                                                                                                       \
    static bool order_##K(const Array *keys, const Cursors *cursors, const Array *through, int32_t *out)               \
    {                                                                                                                  \
        const uint32_t *way = through->kind ? through->data : NULL;                                                    \
        int64_t count = way ? through->count : keys->count;                                                            \
        uint64_t dealt = 0;                                                                                            \
        for (int64_t n = 0; n < count; n++) {                                                                          \
            uint32_t i = way ? way[n] : (uint32_t)n;                                                                   \
            if (i >= keys->count)                                                                                      \
                return false;                                                                                          \
            uint64_t key = KEY(K, i);                                                                                  \
            if (key >= cursors->piles)                                                                                 \
                continue;                                                                                              \
            uint32_t place = cursors->next[key]++;                                                                     \
            if (place >= cursors->room)                                                                                \
                return false;                                                                                          \
            out[place] = i;                                                                                            \
            dealt++;                                                                                                   \
        }                                                                                                              \
        return dealt == cursors->room;                                                                                 \
    }

#define FOR_KEYS(K) TALLY(K) DEAL(K, uint8_t) DEAL(K, uint32_t) DEAL(K, uint64_t) ORDER(K)
FOR_KEYS(uint8_t)
FOR_KEYS(int32_t)
FOR_KEYS(int64_t)

/* Calls FUNCTION for the kind of key that there is. */
#define BY_KEY(FUNCTION, ...)                                                                                          \
    (keys->kind == 'B'   ? FUNCTION(uint8_t)(__VA_ARGS__)                                                              \
     : keys->kind == 'i' ? FUNCTION(int32_t)(__VA_ARGS__)                                                              \
                         : FUNCTION(int64_t)(__VA_ARGS__))
#define TALLY_OF(K) tally_##K
#define ORDER_OF(K) order_##K
#define DEAL_1(K) deal_##K##_uint8_t
#define DEAL_4(K) deal_##K##_uint32_t
#define DEAL_8(K) deal_##K##_uint64_t

static bool deal_any(const Array *keys, const Cursors *cursors, const Array *values, Array *out)
{
    switch (values->view.itemsize) {
    case 1:
        return BY_KEY(DEAL_1, keys, cursors, values->data, out->data);
    case 4:
        return BY_KEY(DEAL_4, keys, cursors, values->data, out->data);
    default:
        return BY_KEY(DEAL_8, keys, cursors, values->data, out->data);
    }
}

/* tally(keys, starts): starts[p] becomes the number of keys below p, for p from 0 to the number of piles. */
PyObject *tally(PyObject *module, PyObject *args)
{
    (void)module;
    static const Want wants[] = {{"keys", "Biq", 'r'}, {"starts", "q", 'w'}};
    Array a[2];
    if (!arrays_take(a, args, wants, 2))
        return NULL;
    PyObject *result = NULL;
    if (!require(a[1].count > 0, "the starts of the piles are missing"))
        goto done;
    const Array *keys = &a[0];
    int64_t *starts = a[1].data, piles = a[1].count - 1, before = 0;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t pile = 0; pile <= piles; pile++)
        starts[pile] = 0;
    BY_KEY(TALLY_OF, keys, starts, piles);
    for (int64_t pile = 0; pile <= piles; pile++) {
        int64_t count = starts[pile];
        starts[pile] = before;
        before += count;
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_release(a, 2);
    return result;
}

/* deal(keys, starts, values, out): the values by key, those of one key as they stood; `starts` is from `tally`. */
PyObject *deal(PyObject *module, PyObject *args)
{
    (void)module;
    enum { KEYS, STARTS, VALUES, OUT, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"keys", "Biq", 'r'}, {"starts", "q", 'r'}, {"values", "Bidq", 'r'}, {"out", "Bidq", 'w'}};
    Array a[ARRAYS];
    Cursors cursors = {0};
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    if (!require(a[VALUES].count == a[KEYS].count, "one value a key is needed") ||
        !require(a[VALUES].kind == a[OUT].kind, "the output has to be of the values' type") ||
        !cursors_take(&cursors, &a[STARTS], a[OUT].count))
        goto done;
    bool fits;
    Py_BEGIN_ALLOW_THREADS
    fits = deal_any(&a[KEYS], &cursors, &a[VALUES], &a[OUT]);
    Py_END_ALLOW_THREADS
    if (require(fits, "these are not the starts of these keys"))
        result = Py_NewRef(Py_None);
done:
    free(cursors.next);
    arrays_release(a, ARRAYS);
    return result;
}

/* order(keys, starts, through, out): the positions of the keys by key; those of one key as they stand, or as `through`
   (positions, too) has them. With the order by another key as `through`, it is the order by both. */
PyObject *order(PyObject *module, PyObject *args)
{
    (void)module;
    enum { KEYS, STARTS, THROUGH, OUT, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"keys", "Biq", 'r'}, {"starts", "q", 'r'}, {"through", "?i", 'r'}, {"out", "i", 'w'}};
    Array a[ARRAYS];
    Cursors cursors = {0};
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    if (!require(a[KEYS].count <= INT32_MAX, "more than 2147483647 keys cannot be put in order") ||
        !cursors_take(&cursors, &a[STARTS], a[OUT].count))
        goto done;
    const Array *keys = &a[KEYS];
    bool fits;
    Py_BEGIN_ALLOW_THREADS
    fits = BY_KEY(ORDER_OF, keys, &cursors, &a[THROUGH], a[OUT].data);
    Py_END_ALLOW_THREADS
    if (require(fits, "these are not the starts of these keys"))
        result = Py_NewRef(Py_None);
done:
    free(cursors.next);
    arrays_release(a, ARRAYS);
    return result;
}

typedef struct {
    uint8_t *marks;
    uint64_t room;
    uint64_t width;
    const int32_t *holders;
    const int32_t *places;
    uint64_t nodes;
    uint8_t mark;
} Touch;

/* Gives false at an end that is no node, or a row that there is not. */
#define TOUCH(T)                                                                                                       \
    static bool touch_##T(const T *near, const T *far, int64_t count, const Touch *t)                                  \
    {                                                                                                                  \
        for (int64_t k = 0; k < count; k++) {                                                                          \
            if ((uint64_t)near[k] >= t->nodes || (uint64_t)far[k] >= t->nodes)                                         \
                return false;                                                                                          \
            uint64_t place = (uint64_t)(int64_t)t->places[near[k]], row = (uint64_t)(int64_t)t->holders[far[k]];       \
            if (place >= t->width)                                                                                     \
                continue;                                                                                              \
            if (row > UINT32_MAX || row * t->width + place >= t->room)                                                 \
                return false;                                                                                          \
            t->marks[row * t->width + place] |= t->mark;                                                               \
        }                                                                                                              \
        return true;                                                                                                   \
    }
TOUCH(int32_t)
TOUCH(int64_t)

/* touch(marks, near, far, holders, places, width, mark): for each edge, the bits of `mark` are set in row
   holders[far], column places[near] of `marks`, which has rows of `width`. A place outside of the row is left out. */
PyObject *touch(PyObject *module, PyObject *args)
{
    (void)module;
    enum { MARKS, NEAR, FAR, HOLDERS, PLACES, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"marks", "B", 'w'}, {"near", "iq", 'r'}, {"far", "iq", 'r'}, {"holders", "i", 'r'}, {"places", "i", 'r'}};
    Array a[ARRAYS];
    Py_ssize_t width, mark;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    if (!integer_at(args, ARRAYS, &width) || !integer_at(args, ARRAYS + 1, &mark) ||
        !require(0 <= width && width <= INT32_MAX, "a row is 0 to 2147483647 wide") ||
        !require(a[NEAR].count == a[FAR].count && a[NEAR].kind == a[FAR].kind, "every edge has two ends of one type") ||
        !require(a[HOLDERS].count == a[PLACES].count, "every node has a holder and a place"))
        goto done;
    Touch t = {a[MARKS].data, a[MARKS].count, width, a[HOLDERS].data, a[PLACES].data, a[PLACES].count, mark};
    bool fits;
    Py_BEGIN_ALLOW_THREADS
    fits = a[NEAR].kind == 'i' ? touch_int32_t(a[NEAR].data, a[FAR].data, a[NEAR].count, &t)
                               : touch_int64_t(a[NEAR].data, a[FAR].data, a[NEAR].count, &t);
    Py_END_ALLOW_THREADS
    if (require(fits, "an end of an edge is no node, or nobody holds it"))
        result = Py_NewRef(Py_None);
done:
    arrays_release(a, ARRAYS);
    return result;
}
