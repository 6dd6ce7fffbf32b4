/* Core numbers within one shard's piece, by peeling (Batagelj and Zaversnik, "An O(m) Algorithm for Cores Decomposition of
   Networks", 2003): the node that has fewest neighbours left is taken away, and what it had left is its number.

   Nodes stand sorted by what they have left; whoever loses a neighbour changes places with the first that has as many,
   and so moves down by one without a search. Ghosts are told when they go (`keys`), for their owners know better.

   Once that is known, and some ghosts' numbers fall, only what leans on them is looked at again (Montresor, De Pellegrini
   and Miorandi, "Distributed k-Core Decomposition", 2013, algorithms 1 and 2). A node's support is how many neighbours
   have numbers of no less than its own; one whose support is less than its number finds the greatest number that
   the others' allow, and may so take support from them in turn. What is left is the same in whatever order that is done. */

#include "native.h"

#include <stdlib.h>
#include <string.h>

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

static void count_support(const Peel *p, int32_t *support)
{
    for (int64_t i = 0; i < p->own; i++) {
        int32_t count = 0, key = p->keys[i];
        for (int64_t k = row_start(&p->rows, i), end = row_start(&p->rows, i + 1); k < end; k++)
            count += p->keys[p->rows.neighbours[k]] >= key;
        support[i] = count;
    }
}

/* cores(starts, members, keys, support, own): a row for each own node and each ghost; keys, by local index, are the lengths
   of own nodes' rows and what ghosts' numbers are thought to be. Those of own nodes become their core numbers, and
   `support` theirs. */
PyObject *cores(PyObject *module, PyObject *args)
{
    (void)module;
    enum { STARTS, MEMBERS, KEYS, SUPPORT, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"starts", "q", 'r'}, {"members", "i", 'r'}, {"keys", "i", 'w'}, {"support", "i", 'w'}};
    Array a[ARRAYS];
    Py_ssize_t own;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Peel p = {.rows = rows_of(&a[STARTS], &a[MEMBERS]), .keys = a[KEYS].data};
    if (!integer_at(args, ARRAYS, &own) || !row_span(&p.rows, 0, p.rows.count) ||
        !require(a[KEYS].count == p.rows.count && 0 <= own && own <= p.rows.count, "there is not one key a row") ||
        !require(a[SUPPORT].count == own, "there is not one support an own node"))
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
    count_support(&p, a[SUPPORT].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(p.first);
    free(p.order);
    free(p.place);
    arrays_release(a, ARRAYS);
    return result;
}

typedef struct {
    Rows rows;
    int32_t *keys;
    int32_t *support;
    int64_t own;
    int32_t *queue;  /* own nodes that are to be looked at, in a ring: each is there once at most */
    uint8_t *queued; /* whether it is */
    int64_t head, waiting;
    int32_t *counts; /* by key: how many neighbours have it */
    int64_t looked;  /* at how many entries of rows */
} Fall;

/* A node has fallen from a key to the one that it has now: whoever's own lies between has lost it. */
static void take_support(Fall *f, int32_t node, int32_t from)
{
    int32_t to = f->keys[node];
    int64_t begin = row_start(&f->rows, node), end = row_start(&f->rows, (int64_t)node + 1);
    f->looked += end - begin;
    for (int64_t k = begin; k < end; k++) {
        int32_t other = f->rows.neighbours[k];
        if (other >= f->own || f->keys[other] <= to || f->keys[other] > from)
            continue;
        if (--f->support[other] >= f->keys[other] || f->queued[other])
            continue;
        f->queued[other] = 1;
        f->queue[(f->head + f->waiting++) % f->own] = other;
    }
}

static void look_again(Fall *f, int32_t node)
{
    int32_t from = f->keys[node], key = from;
    int64_t begin = row_start(&f->rows, node), end = row_start(&f->rows, (int64_t)node + 1);
    f->looked += end - begin;
    memset(f->counts, 0, ((size_t)from + 1) * sizeof *f->counts);
    for (int64_t k = begin; k < end; k++) {
        int32_t other = f->keys[f->rows.neighbours[k]];
        f->counts[other < from ? other : from]++;
    }
    int32_t support = f->counts[key];
    while (support < key)
        support += f->counts[--key];
    f->keys[node] = key;
    f->support[node] = support;
    if (key < from)
        take_support(f, node, from);
}

static bool fall_all(Fall *f, const Array *fallen, const Array *before, int64_t looks)
{
    const int32_t *nodes = fallen->data, *from = before->data;
    for (int64_t i = 0; i < fallen->count; i++)
        take_support(f, nodes[i], from[i]);
    while (f->waiting && f->looked <= looks) {
        int32_t node = f->queue[f->head];
        f->head = f->head + 1 == f->own ? 0 : f->head + 1;
        f->waiting--;
        f->queued[node] = 0;
        look_again(f, node);
    }
    return !f->waiting;
}

static bool are_ghosts(const Array *fallen, int64_t own, int64_t width)
{
    const int32_t *nodes = fallen->data;
    for (int64_t i = 0; i < fallen->count; i++)
        if (nodes[i] < own || nodes[i] >= width)
            return false;
    return true;
}

/* fallen_cores(starts, members, keys, support, fallen, before, own, looks): keys and support as `cores` left them, but for
   the keys of the ghosts `fallen`, which were `before` and are less now. Own nodes' become their core numbers again; false if
   that would take more looks at neighbours, and keys and support are of no use then. */
PyObject *fallen_cores(PyObject *module, PyObject *args)
{
    (void)module;
    enum { STARTS, MEMBERS, KEYS, SUPPORT, FALLEN, BEFORE, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"starts", "q", 'r'},  {"members", "i", 'r'}, {"keys", "i", 'w'},
        {"support", "i", 'w'}, {"fallen", "i", 'r'},  {"before", "i", 'r'},
    };
    Array a[ARRAYS];
    Py_ssize_t own, looks;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Fall f = {.rows = rows_of(&a[STARTS], &a[MEMBERS]), .keys = a[KEYS].data, .support = a[SUPPORT].data};
    if (!integer_at(args, ARRAYS, &own) || !integer_at(args, ARRAYS + 1, &looks) || !row_span(&f.rows, 0, f.rows.count) ||
        !require(a[KEYS].count == f.rows.count && 0 <= own && own <= f.rows.count, "there is not one key a row") ||
        !require(a[SUPPORT].count == own, "there is not one support an own node") ||
        !require(a[BEFORE].count == a[FALLEN].count && are_ghosts(&a[FALLEN], own, f.rows.count), "these are no ghosts"))
        goto done;
    f.own = own;
    int32_t most = greatest(f.keys, f.rows.count);
    if (!require(0 <= most && most < INT32_MAX - 2, "a key is out of bounds"))
        goto done;
    size_t count = own ? (size_t)own : 1;
    f.queue = malloc(count * sizeof *f.queue);
    f.queued = calloc(count, sizeof *f.queued);
    f.counts = malloc(((size_t)most + 1) * sizeof *f.counts);
    if (!f.queue || !f.queued || !f.counts) {
        PyErr_NoMemory();
        goto done;
    }
    bool whole;
    Py_BEGIN_ALLOW_THREADS
    whole = fall_all(&f, &a[FALLEN], &a[BEFORE], looks);
    Py_END_ALLOW_THREADS
    result = PyBool_FromLong(whole);
done:
    free(f.queue);
    free(f.queued);
    free(f.counts);
    arrays_release(a, ARRAYS);
    return result;
}
