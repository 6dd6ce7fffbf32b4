/* Breadth-first search within one shard's piece, from nodes that have depths already, until nothing changes any more.

   Levels are done in ascending order, those of the given nodes merged in, so each depth is written at most once and the
   nodes reached stand in the result level by level: it is the queue as well. Where a level has many edges, it pays to
   ask the nodes that are still deeper whether they have a neighbour on it, and to stop at the first (Beamer, Asanovic
   and Patterson, "Direction-Optimizing Breadth-First Search", SC 2012; the two thresholds are theirs, section 5).

   Ghosts get a depth and are not gone on from: their owner does that. Nor are levels beyond a limit, up to which depths may
   yet fall elsewhere: their nodes are left waiting. */

#include "native.h"

/* Upwards, once the level has more than 1 / ALPHA of the edges left; downwards again below 1 / BETA of the nodes. */
#define ALPHA 14
#define BETA 24

typedef struct {
    Rows out;
    Rows in;
    bool upwards;     /* whether there are in-edges to go along */
    bool ghosts;      /* whether there are any */
    int64_t *depth;   /* by local index */
    int32_t *reached; /* one more than local indices: the slot behind the last is written, and not used */
    int64_t end;      /* of those reached */
    uint8_t *waiting; /* by own node: not gone on from with the depth that it has */
    int64_t limit;
    int64_t left;     /* edges of nodes not gone on from yet */
} Search;

static void relax_row(Search *s, int64_t node, int64_t next)
{
    const int32_t *neighbours = s->out.neighbours;
    int64_t end = s->end, last = row_start(&s->out, node + 1);
    for (int64_t k = row_start(&s->out, node); k < last; k++) {
        int32_t neighbour = neighbours[k];
        bool deeper = s->depth[neighbour] > next;
        s->reached[end] = neighbour;
        end += deeper;
        s->depth[neighbour] = deeper ? next : s->depth[neighbour];
    }
    s->end = end;
}

static void relax_ghosts(Search *s, int64_t node, int64_t next)
{
    int64_t last = row_start(&s->out, node + 1);
    for (int64_t k = row_start(&s->out, node); k < last; k++) {
        int32_t neighbour = s->out.neighbours[k];
        if (neighbour < s->out.count || s->depth[neighbour] <= next)
            continue;
        s->depth[neighbour] = next;
        s->reached[s->end++] = neighbour;
    }
}

/* Every own node that is deeper than `next` looks for a neighbour on the level above. */
static void relax_upwards(Search *s, int64_t next)
{
    for (int64_t node = 0; node < s->in.count; node++) {
        if (s->depth[node] <= next)
            continue;
        int64_t last = row_start(&s->in, node + 1);
        for (int64_t k = row_start(&s->in, node); k < last; k++) {
            int32_t neighbour = s->in.neighbours[k];
            if (neighbour < s->in.count && s->depth[neighbour] == next - 1) {
                s->depth[node] = next;
                s->reached[s->end++] = (int32_t)node;
                break;
            }
        }
    }
}

typedef void Visit(Search *, int64_t node, int64_t next);

/* Nodes of one level: those reached from `head` to `tail`, and the given ones from `first` to `last` that are still so
   deep as they were. */
typedef struct {
    int64_t head, tail, first, last, depth;
} Level;

static void visit_level(Search *s, const Level *level, const int32_t *given, Visit *visit)
{
    for (int64_t i = level->head; i < level->tail; i++) {
        if (i + 4 < level->tail && s->reached[i + 4] < s->out.count)
            __builtin_prefetch(&s->out.neighbours[row_start(&s->out, s->reached[i + 4])], 0, 3);
        if (s->reached[i] < s->out.count)
            visit(s, s->reached[i], level->depth + 1);
    }
    for (int64_t i = level->first; i < level->last; i++)
        if (s->depth[given[i]] == level->depth)
            visit(s, given[i], level->depth + 1);
}

static void wait_no_more(Search *s, const Level *level, const int32_t *given)
{
    for (int64_t i = level->head; i < level->tail; i++)
        if (s->reached[i] < s->out.count)
            s->waiting[s->reached[i]] = 0;
    for (int64_t i = level->first; i < level->last; i++)
        s->waiting[given[i]] = 0;
}

/* The level that has been reached waits, and of the nodes given those that nothing has come to meanwhile. */
static void leave_waiting(Search *s, const Level *level, const int32_t *given, const int64_t *given_depth, int64_t count)
{
    for (int64_t i = level->head; i < level->tail; i++)
        if (s->reached[i] < s->out.count)
            s->waiting[s->reached[i]] = 1;
    for (int64_t i = level->first; i < count; i++)
        if (s->depth[given[i]] == given_depth[i])
            s->waiting[given[i]] = 1;
}

static int64_t level_edges(const Search *s, const Level *level, const int32_t *given)
{
    int64_t edges = 0;
    for (int64_t i = level->head; i < level->tail; i++)
        if (s->reached[i] < s->out.count)
            edges += row_start(&s->out, s->reached[i] + 1) - row_start(&s->out, s->reached[i]);
    for (int64_t i = level->first; i < level->last; i++)
        edges += row_start(&s->out, given[i] + 1) - row_start(&s->out, given[i]);
    return edges;
}

static void search(Search *s, const int32_t *given, const int64_t *given_depth, int64_t given_count)
{
    Level level = {0, 0, 0, 0, 0};
    bool upwards = false;
    for (;;) {
        level.head = level.tail;
        level.tail = s->end;
        level.first = level.last;
        bool reached = level.head < level.tail;
        if (!reached && level.first == given_count)
            return;
        level.depth = reached ? s->depth[s->reached[level.head]] : given_depth[level.first];
        if (level.depth > s->limit) {
            leave_waiting(s, &level, given, given_depth, given_count);
            return;
        }
        while (level.last < given_count && given_depth[level.last] == level.depth)
            level.last++;
        wait_no_more(s, &level, given);
        if (s->upwards) {
            int64_t edges = level_edges(s, &level, given), nodes = level.tail - level.head + level.last - level.first;
            upwards = upwards ? nodes * BETA > s->out.count : edges * ALPHA > s->left;
            s->left -= edges;
        }
        if (!upwards) {
            visit_level(s, &level, given, relax_row);
            continue;
        }
        relax_upwards(s, level.depth + 1);
        if (s->ghosts)
            visit_level(s, &level, given, relax_ghosts);
    }
}

static const char *given_fault(const Search *s, const int32_t *given, const int64_t *given_depth, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (given[i] < 0 || given[i] >= s->out.count)
            return "a given node is none of the own ones";
        if (given_depth[i] == INT64_MAX || (i && given_depth[i] < given_depth[i - 1]))
            return "the depths of the given nodes do not ascend";
    }
    return NULL;
}

/* breadth_first(out_indptr, out_neighbours, in_indptr, in_neighbours, depth, given, given_depth, reached, waiting, width,
   limit) -> how many were reached. The in-edges may be None: then every level goes downwards. `given` are own nodes by ascending
   depth; `reached` has room for one more than `width`. Those own nodes wait afterwards that got a depth beyond the limit. */
PyObject *breadth_first(PyObject *module, PyObject *args)
{
    (void)module;
    enum { OUT_INDPTR, OUT_NEIGHBOURS, IN_INDPTR, IN_NEIGHBOURS, DEPTH, GIVEN, GIVEN_DEPTH, REACHED, WAITING, ARRAYS };
    static const Want wants[ARRAYS] = {
        {"out_indptr", "iq", 'r'},    {"out_neighbours", "i", 'r'}, {"in_indptr", "?iq", 'r'},
        {"in_neighbours", "?i", 'r'}, {"depth", "q", 'w'},          {"given", "i", 'r'},
        {"given_depth", "q", 'r'},    {"reached", "i", 'w'},        {"waiting", "B", 'w'},
    };
    Array a[ARRAYS];
    Py_ssize_t width, limit;
    if (!arrays_take(a, args, wants, ARRAYS))
        return NULL;
    PyObject *result = NULL;
    Search s = {.out = rows_of(&a[OUT_INDPTR], &a[OUT_NEIGHBOURS]), .depth = a[DEPTH].data, .reached = a[REACHED].data};
    s.left = s.out.edges;
    s.upwards = a[IN_INDPTR].kind && a[IN_NEIGHBOURS].kind;
    if (s.upwards)
        s.in = rows_of(&a[IN_INDPTR], &a[IN_NEIGHBOURS]);
    if (!integer_at(args, ARRAYS, &width) || !integer_at(args, ARRAYS + 1, &limit) ||
        !row_span(&s.out, 0, s.out.count) || (s.upwards && (!row_span(&s.in, 0, s.in.count) ||
                       !require(s.in.count == s.out.count, "the rows of both directions have to be the same nodes"))) ||
        !require(a[DEPTH].count == width && width >= s.out.count, "there is not one depth a local index") ||
        !require(a[WAITING].count >= s.out.count, "there is no room for those who wait") ||
        !require(a[GIVEN].count == a[GIVEN_DEPTH].count, "there is not one depth a given node") ||
        !require(a[REACHED].count > width, "there is no room for all nodes"))
        goto done;
    s.ghosts = width > s.out.count;
    s.waiting = a[WAITING].data;
    s.limit = limit;
    const char *fault = given_fault(&s, a[GIVEN].data, a[GIVEN_DEPTH].data, a[GIVEN].count);
    if (!require(!fault, fault))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    search(&s, a[GIVEN].data, a[GIVEN_DEPTH].data, a[GIVEN].count);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLongLong(s.end);
done:
    arrays_release(a, ARRAYS);
    return result;
}
