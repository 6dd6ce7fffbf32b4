/* A thread that needs no interpreter, and sees to it that a program which holds the interpreter does not silence the
   daemon for ever. See daemon/runtime/guard.py, which has the layout of the page too.

   It wakes every so often and looks at a page of 64-bit words that Python threads write to. One word is a pulse, which
   a small Python thread raises ten times a second; so it stands still if and only if no Python runs at all. While it
   does and a program's code is being run, this thread counts its own wakes: a process that is stopped, or a machine that
   sleeps, does not count. Over the bound, it has the stack of the guilty thread written down (faulthandler's handler for
   a signal needs no interpreter either), notes in the page who it was, and executes the process anew, under the same
   number and with the same environment: for whoever supervises it nothing has ended. If it was asked to end, it ends.
   The daemon may ask for the same because of a program that lets others run and never comes back. */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LIFE = 1, PULSE = 3, STOPPED = 4, GUILTY = 5, HELD_NS = 6, MAIN_THREAD = 7, ASKED_TO_END = 8, START_AGAIN = 10, SLOTS = 16 };
enum { SLOT_COUNT = 8, SLOT_WORDS = 4, WHERE = 0, THREAD = 3 };
#define STACK_NS 300000000
#define SIGNALS_MAX 65
#define FAILED_STATUS 70

typedef struct {
    volatile uint64_t *page;
    uint64_t wake_ns, held_ns_max;
    int signal;
    char **argv;
    struct sockaddr_un manager; /* where the service manager listens; of no length if there is none */
    socklen_t manager_bytes;
} Guard;

/* A signal that asks for an end is taken by the interpreter's own handler, and lost with it if nobody runs any more. */
static volatile uint64_t *asked_to_end;
static struct sigaction before_ours[SIGNALS_MAX];

static void take_note(int number)
{
    if (asked_to_end)
        *asked_to_end = 1;
    if (before_ours[number].sa_handler)
        before_ours[number].sa_handler(number);
}

static void listen_too(int number)
{
    struct sigaction ours;
    if (sigaction(number, NULL, &before_ours[number]) || before_ours[number].sa_flags & SA_SIGINFO)
        return;
    if (before_ours[number].sa_handler == SIG_DFL || before_ours[number].sa_handler == SIG_IGN)
        return;
    ours = before_ours[number];
    ours.sa_handler = take_note;
    sigaction(number, &ours, NULL);
}

static uint64_t cpu_ns(uint64_t thread)
{
    clockid_t clock;
    struct timespec spent;
    if (!thread || pthread_getcpuclockid((pthread_t)thread, &clock) || clock_gettime(clock, &spent))
        return 0;
    return (uint64_t)spent.tv_sec * 1000000000u + (uint64_t)spent.tv_nsec;
}

static void pause_ns(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    nanosleep(&time, NULL);
}

static volatile uint64_t *slot(const Guard *guard, int i)
{
    return guard->page + SLOTS + i * SLOT_WORDS;
}

static bool anything_runs(const Guard *guard)
{
    for (int i = 0; i < SLOT_COUNT; i++)
        if (slot(guard, i)[WHERE])
            return true;
    return false;
}

/* What the threads have computed: of each slot, and last of the main thread. */
static void look(const Guard *guard, uint64_t *spent)
{
    for (int i = 0; i < SLOT_COUNT; i++)
        spent[i] = slot(guard, i)[WHERE] ? cpu_ns(slot(guard, i)[THREAD]) : 0;
    spent[SLOT_COUNT] = cpu_ns(guard->page[MAIN_THREAD]);
}

/* The slot whose thread has computed most since `before`; -1 if the main thread has computed more than any. */
static int guilty_slot(const Guard *guard, const uint64_t *before)
{
    uint64_t now[SLOT_COUNT + 1], most = 0;
    int found = -1;
    look(guard, now);
    for (int i = 0; i < SLOT_COUNT; i++) {
        uint64_t spent = now[i] - before[i];
        if (slot(guard, i)[WHERE] && (found < 0 || spent > most)) {
            found = i;
            most = spent;
        }
    }
    return now[SLOT_COUNT] - before[SLOT_COUNT] > most ? -1 : found;
}

/* It has a watchdog, and on a busy machine a new life takes its time to begin; that sets the watchdog as it was. */
static void tell_manager(const Guard *guard)
{
    static const char alive[] = "WATCHDOG=1\nWATCHDOG_USEC=60000000\nSTATUS=starting again: a program held the interpreter";
    int speaker = guard->manager_bytes ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (speaker < 0)
        return;
    if (sendto(speaker, alive, sizeof alive - 1, 0, (const struct sockaddr *)&guard->manager, guard->manager_bytes) < 0)
        errno = 0; /* as with every word to it: being supervised is no reason to stop */
    close(speaker);
}

static void execute_anew(Guard *guard, int guilty, uint64_t held_ns)
{
    guard->page[HELD_NS] = held_ns;
    guard->page[GUILTY] = (uint64_t)guilty + 1;
    pthread_kill((pthread_t)slot(guard, guilty)[THREAD], guard->signal);
    pause_ns(STACK_NS);
    if (guard->page[ASKED_TO_END])
        _exit(0);
    tell_manager(guard);
#ifdef SYS_close_range
    syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
#endif
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    execv(guard->argv[0], guard->argv);
    _exit(FAILED_STATUS);
}

static void *run(void *given)
{
    Guard *guard = given;
    uint64_t life = guard->page[LIFE], pulse = guard->page[PULSE], held_ns = 0, before[SLOT_COUNT + 1];
    for (;;) {
        pause_ns(guard->wake_ns);
        if (guard->page[STOPPED] || guard->page[LIFE] != life)
            return NULL;
        uint64_t asked = guard->page[START_AGAIN];
        if (0 < asked && asked <= SLOT_COUNT)
            execute_anew(guard, (int)asked - 1, 0);
        if (guard->page[PULSE] != pulse || !anything_runs(guard)) {
            pulse = guard->page[PULSE];
            held_ns = 0;
            continue;
        }
        if (!held_ns)
            look(guard, before);
        held_ns += guard->wake_ns;
        if (held_ns < guard->held_ns_max)
            continue;
        int guilty = guilty_slot(guard, before);
        if (guilty >= 0)
            execute_anew(guard, guilty, held_ns);
        held_ns = 0; /* it is the daemon's own doing: the service manager's watchdog is there for that */
    }
}

/* begin(page, wake_ns, held_ns_max, signal, argv, manager): the thread begins; it ends when the page says so. `page` is
   kept. `manager` is the service manager's socket (0 first: in the abstract namespace), empty if there is none. */
static PyObject *begin(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer page;
    unsigned long long wake_ns, held_ns_max;
    int number;
    PyObject *argv;
    const char *manager;
    Py_ssize_t manager_bytes;
    if (!PyArg_ParseTuple(args, "w*KKiOy#", &page, &wake_ns, &held_ns_max, &number, &argv, &manager, &manager_bytes))
        return NULL;
    Py_ssize_t count = PyTuple_Size(argv);
    if (count < 1 || !wake_ns || page.len < (SLOTS + SLOT_COUNT * SLOT_WORDS) * (Py_ssize_t)sizeof(uint64_t)) {
        PyBuffer_Release(&page);
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "a page, a time and a command are needed");
    }
    /* None of this is ever given back: the thread may need it until the process is no more. */
    Guard *guard = calloc(1, sizeof *guard);
    char **words = calloc((size_t)count + 1, sizeof *words);
    if (!guard || !words)
        goto no_memory;
    for (Py_ssize_t i = 0; i < count; i++) {
        char *word = PyBytes_AsString(PyTuple_GetItem(argv, i));
        if (!word)
            goto failed;
        if (!(words[i] = strdup(word)))
            goto no_memory;
    }
    *guard = (Guard){.page = page.buf, .wake_ns = wake_ns, .held_ns_max = held_ns_max, .signal = number, .argv = words};
    if (manager_bytes && manager_bytes < (Py_ssize_t)sizeof guard->manager.sun_path) {
        guard->manager.sun_family = AF_UNIX;
        memcpy(guard->manager.sun_path, manager, (size_t)manager_bytes);
        guard->manager_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)manager_bytes);
    }
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, guard);
    if (error) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        goto failed;
    }
    pthread_detach(thread);
    asked_to_end = guard->page + ASKED_TO_END;
    listen_too(SIGTERM);
    listen_too(SIGINT);
    Py_RETURN_NONE;
no_memory:
    PyErr_NoMemory();
failed:
    for (Py_ssize_t i = 0; words && i < count; i++)
        free(words[i]);
    free(words);
    free(guard);
    PyBuffer_Release(&page);
    return NULL;
}

static PyMethodDef functions[] = {
    {"begin", begin, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "daemon.runtime._guard", "The thread of `daemon.runtime.guard`.", 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__guard(void)
{
    return PyModuleDef_Init(&definition);
}
