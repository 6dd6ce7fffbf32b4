/* Shortest paths within one shard's piece, from nodes that have distances already, until nothing changes any more
   (Dijkstra, "A Note on Two Problems in Connexion with Graphs", 1959), with a heap of four children a node.

   A distance is the least over all paths of the sum of their weights, added from the source on. Adding a weight that is
   not negative never turns an order of two numbers around, rounding included; so the least is the same whatever order
   edges are taken in, here, on other shards, or a tick later.

   Ghosts get a distance and are not gone on from: their owner does that. Nor are nodes beyond a limit, up to which distances
   may yet fall elsewhere: they are left waiting. */

#include "native.h"

#include <stdlib.h>

#define NOWHERE 0 /* in `place`: positions count from one, so that fresh memory says that nothing is in the heap */

typedef struct {
    double key;
    int32_t node;
} Entry;

typedef struct {
    Rows out;
    const double *weights;
    double *distance; /* by local index */
    int32_t *changed; /* own nodes and ghosts, in the order of their first change */
    int64_t changes;
    uint8_t *is_changed; /* by local index */
    uint8_t *waiting;    /* by own node: not gone on from with the distance that it has */
    double limit;
    Entry *heap;
    int32_t *place; /* by own node: where in the heap, plus one */
    int64_t size;
} Search;

static void put(Search *s, int64_t position, Entry entry)
{
    s->heap[position] = entry;
    s->place[entry.node] = (int32_t)(position + 1);
}

static void rise(Search *s, int64_t position, Entry entry)
{
    while (position) {
        int64_t parent = (position - 1) / 4;
        if (s->heap[parent].key <= entry.key)
            break;
        put(s, position, s->heap[parent]);
        position = parent;
    }
    put(s, position, entry);
}

static void sink(Search *s, Entry entry)
{
    int64_t position = 0;
    for (;;) {
        int64_t child = position * 4 + 1, end = child + 4 < s->size ? child + 4 : s->size, least = child;
        if (child >= s->size)
            break;
        for (int64_t other = child + 1; other < end; other++)
            least = s->heap[other].key < s->heap[least].key ? other : least;
        if (s->heap[least].key >= entry.key)
            break;
        put(s, position, s->heap[least]);
        position = least;
    }
    put(s, position, entry);
}

static Entry take_least(Search *s)
{
    Entry least = s->heap[0];
    s->place[least.node] = NOWHERE;
    s->size--;
    if (!s->size)
        return least;
    sink(s, s->heap[s->size]);
    int64_t next = row_start(&s->out, s->heap[0].node); /* most likely gone on from next */
    __builtin_prefetch(&s->out.neighbours[next], 0, 3);
    __builtin_prefetch(&s->weights[next], 0, 3);
    return least;
}

static void enter(Search *s, int32_t node)
{
    int64_t position = s->place[node] == NOWHERE ? s->size++ : s->place[node] - 1;
    rise(s, position, (Entry){s->distance[node], node});
}

/* Whether all weights were ones that a distance can have. */
static bool relax_row(Search *s, Entry from)
{
    int64_t end = row_start(&s->out, (int64_t)from.node + 1);
    for (int64_t k = row_start(&s->out, from.node); k < end; k++) {
        int32_t neighbour = s->out.neighbours[k];
        double weight = s->weights[k], distance = from.key + weight;
        if (!(weight >= 0.0))
            return false;
        if (!(distance < s->distance[neighbour]))
            continue;
        s->distance[neighbour] = distance;
        if (!s->is_changed[neighbour]) {
            s->is_changed[neighbour] = 1;
            s->changed[s->changes++] = neighbour;
        }
        if (neighbour < s->out.count)
            enter(s, neighbour);
    }
    return true;
}

static bool search(Search *s, const int32_t *given, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (s->place[given[i]] == NOWHERE)
            enter(s, given[i]);
    while (s->size && s->heap[0].key <= s->limit) {
        s->waiting[s->heap[0].node] = 0;
        if (!relax_row(s, take_least(s)))
            return false;
    }
    for (int64_t i = 0; i < s->size; i++)
        s->waiting[s->heap[i].node] = 1;
    return true;
}

static const char *given_fault(const Search *s, const int32_t *given, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (given[i] < 0 || given[i] >= s->out.count)
            return "a given node is none of the own ones";
        if (!(s->distance[given[i]] >= 0.0))
            return "a given distance is negative, or not a number";
    }
    return NULL;
}

static bool search_allocate(Search *s, Py_ssize_t width)
{
    size_t own = s->out.count ? (size_t)s->out.count : 1;
    s->is_changed = calloc(width ? (size_t)width : 1, sizeof *s->is_changed);
    s->heap = malloc(own * sizeof *s->heap);
    s->place = calloc(own, sizeof *s->place);
    if (s->is_changed && s->heap && s->place)
        return true;
    PyErr_NoMemory();
    return false;
}

/* shortest_paths(out_indptr, out_neighbours, weights, distance, given, changed, waiting, width, limit) -> how many have
   changed. Weights stand in row order. Those own nodes wait afterwards that got a distance beyond the limit. Raises
   ValueError when it comes upon a weight that is negative or not a number. */
PyObject *shortest_paths(PyObject *module, PyObject *args)
{
    (void)module;
    enum { INDPTR, NEIGHBOURS, WEIGHTS, DISTANCE, GIVEN, CHANGED, WAITING, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"out_indptr", "iq", 'r'}, {"out_neighbours", "i", 'r'}, {"weights", "d", 'r'},
        {"distance", "d", 'w'},    {"given", "i", 'r'},          {"changed", "i", 'w'},
        {"waiting", "B", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t width;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Search s = {
        .out = rows_of(&a[INDPTR], &a[NEIGHBOURS]),
        .weights = a[WEIGHTS].data,
        .distance = a[DISTANCE].data,
        .changed = a[CHANGED].data,
        .waiting = a[WAITING].data,
    };
    if (!integer_at(args, ARRAYS, &width) || !number_at(args, ARRAYS + 1, &s.limit) || !row_span(&s.out, 0, s.out.count) ||
        !require(a[WEIGHTS].count == s.out.edges, "there is not one weight an edge") ||
        !require(a[DISTANCE].count == width && width >= s.out.count, "there is not one distance a local index") ||
        !require(a[WAITING].count >= s.out.count, "there is no room for those who wait") ||
        !require(a[CHANGED].count >= width, "there is no room for all nodes"))
        goto done;
    const char *fault = given_fault(&s, a[GIVEN].data, a[GIVEN].count);
    if (!require(!fault, fault) || !search_allocate(&s, width))
        goto done;
    bool sound;
    Py_BEGIN_ALLOW_THREADS
    sound = search(&s, a[GIVEN].data, a[GIVEN].count);
    Py_END_ALLOW_THREADS
    if (require(sound, "a weight is negative, or not a number"))
        result = PyLong_FromLongLong(s.changes);
done:
    free(s.is_changed);
    free(s.heap);
    free(s.place);
    arrays_release(a, ARRAYS);
    return result;
}
