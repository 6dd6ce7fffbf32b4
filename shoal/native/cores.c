/* Core numbers within one shard's piece, by peeling (Batagelj and Zaversnik, "An O(m) Algorithm for Cores Decomposition of
   Networks", 2003): the node that has fewest neighbours left is taken away, and what it had left is its number.

   Nodes stand sorted by what they have left; whoever loses a neighbour changes places with the first that has as many,
   and so moves down by one without a search. Ghosts are told when they go (`keys`), for their owners know better. */

#include "native.h"

#include <stdlib.h>

typedef struct {
    Rows rows;
    int32_t *keys;   /* by local index: neighbours left, never below the number of who was taken last */
    int32_t *first;  /* by key: where in `order` the nodes that have it begin */
    int32_t *order;  /* local indices, by key */
    int32_t *place;  /* by local index: where in `order` */
    int64_t own;
} Peel;

static void sort_by_key(Peel *p, int32_t keys)
{
    for (int64_t i = 0; i < p->rows.count; i++)
        p->first[p->keys[i] + 1]++;
    for (int32_t key = 0; key < keys; key++)
        p->first[key + 1] += p->first[key];
    for (int64_t i = 0; i < p->rows.count; i++) {
        int32_t place = p->first[p->keys[i]]++;
        p->order[place] = (int32_t)i;
        p->place[i] = place;
    }
    for (int32_t key = keys; key > 0; key--)
        p->first[key] = p->first[key - 1];
    p->first[0] = 0;
}

static void lose_one(Peel *p, int32_t node)
{
    int32_t key = p->keys[node]--, front = p->first[key]++;
    int32_t other = p->order[front], place = p->place[node];
    p->order[place] = other;
    p->place[other] = place;
    p->order[front] = node;
    p->place[node] = front;
}

static void peel_all(Peel *p)
{
    for (int64_t i = 0; i < p->rows.count; i++) {
        int32_t node = p->order[i];
        for (int64_t k = row_start(&p->rows, node), end = row_start(&p->rows, (int64_t)node + 1); k < end; k++) {
            int32_t neighbour = p->rows.neighbours[k];
            if (neighbour < p->own && p->keys[neighbour] > p->keys[node])
                lose_one(p, neighbour);
        }
    }
}

static int32_t greatest(const int32_t *keys, int64_t count)
{
    int32_t most = 0;
    for (int64_t i = 0; i < count; i++) {
        if (keys[i] < 0)
            return -1;
        most = keys[i] > most ? keys[i] : most;
    }
    return most;
}

/* cores(starts, members, keys, own): a row for each own node and each ghost; keys, by local index, are the lengths of own
   nodes' rows and what ghosts' numbers are thought to be. Those of own nodes become their core numbers. */
PyObject *cores(PyObject *module, PyObject *args)
{
    (void)module;
    enum { STARTS, MEMBERS, KEYS, ARRAYS };
    static const Want wants[ARRAYS] = {{"starts", "q", 'r'}, {"members", "i", 'r'}, {"keys", "i", 'w'}};
    Array a[ARRAYS];
    Py_ssize_t own;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Peel p = {.rows = rows_of(&a[STARTS], &a[MEMBERS]), .keys = a[KEYS].data};
    if (!integer_at(args, ARRAYS, &own) || !row_span(&p.rows, 0, p.rows.count) ||
        !require(a[KEYS].count == p.rows.count && own <= p.rows.count, "there is not one key a row"))
        goto done;
    p.own = own;
    int32_t most = greatest(p.keys, p.rows.count);
    if (!require(0 <= most && most < INT32_MAX - 2, "a key is out of bounds"))
        goto done;
    size_t count = p.rows.count ? (size_t)p.rows.count : 1;
    p.first = calloc((size_t)most + 2, sizeof *p.first);
    p.order = malloc(count * sizeof *p.order);
    p.place = malloc(count * sizeof *p.place);
    if (!p.first || !p.order || !p.place) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    sort_by_key(&p, most + 1);
    peel_all(&p);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(p.first);
    free(p.order);
    free(p.place);
    arrays_release(a, ARRAYS);
    return result;
}
