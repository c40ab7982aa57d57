// The run-time of the emulation: fibers, barriers, shared memory, and the checker behind the hooks of -fsanitize.
//
// A thread of a block is a fiber that runs until it waits. A thread that never waits runs on the stack of the one before
// it, without a switch. Blocks run one after another. In check mode each byte of memory has a shadow: its last writer
// and its last readers, with the barriers they had passed. An access is ordered after another one if a __syncthreads of
// the block lies between them, or a chain of __syncwarp, which vector clocks follow; else one of them being a write
// makes it a race. This is what compute-sanitizer's memcheck, racecheck, initcheck and synccheck look for, and races
// between blocks besides.
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "emulator.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#if !defined(__x86_64__)
#error "the fibers of the CUDA emulation are written for x86-64"
#endif

#define EMU_API extern "C" __attribute__((visibility("default")))

extern "C" void emu_switch(void **save, void *load);
asm(R"(
.text
.hidden emu_switch
.type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emu_switch, .-emu_switch
)");

namespace emu {

uint3 thread_index, block_index;
dim3 block_size, grid_size;

enum Mode { fast, check, profile };
enum Order { up, down, shuffled };

struct Region {  // shared with emulator.py
    uintptr_t base;
    size_t size;
    uint8_t *initialised;
    const char *name;
};

struct Launch {  // shared with emulator.py
    unsigned grid[3], block[3];
    unsigned shared_bytes;
    int order, mode;
    unsigned seed;
};

constexpr size_t stack_bytes = 128 << 10, stagger = 208, gap = 128;
constexpr size_t static_limit = 48 << 10, total_limit = 227 << 10, arena_bytes = 512 << 10;
constexpr uint8_t poison = 0xFF, canary = 0xA5;

struct Stack {
    char *low, *high;
};

struct Thread {
    uint3 index;
    void *context;
    Stack stack;
    int number, lane, warp;
    unsigned mask;
    void *in, *out;
    Site site;
    bool at_barrier, done;
    int vote;
    uint32_t time;        // of its warp's barriers
    uint32_t clock[32];   // what it knows of the other lanes' times
};

struct Access {
    uint32_t thread;  // its number + 1; the highest bit: atomic
    uint32_t epoch, time, pc;
};
constexpr uint32_t atomic_bit = 1u << 31;

struct Cell {
    Access write, reads[3];
};

struct Span {
    Region region;
    Cell *cells;
    bool shared;
};

struct Array {
    const void *key;
    size_t offset, size;
};

// The state of the launch that runs; there is one at a time.
static Mode mode;
static Order order;
static uint64_t random_state;
static std::vector<Thread> threads;
static std::vector<int> sequence, ready;
static size_t ready_head, started;
static int thread_count, done_count, barrier_count;
static Site barrier_site;
static int barrier_votes;
static Thread *current;
static void *main_context;
static void (*entry)(void **);
static void **entry_args;
static bool active, failed;
static char *message;
static size_t message_size;
static std::vector<Stack> all_stacks, free_stacks;
static Stack running;

static char *arena;
static std::vector<Array> arrays;
static size_t arena_used, static_bytes, dynamic_offset, dynamic_bytes;

static std::vector<Span> spans;
static size_t recent;
static uint32_t epoch, block_epoch;
static std::vector<std::pair<uint32_t, uint64_t>> block_starts;
static uintptr_t module_low, module_high;

static void leave_for_good() {
    void *unused;
    emu_switch(&unused, main_context);
    abort();
}

static std::string where() {
    char text[160];
    snprintf(text, sizeof text, " [block (%u,%u,%u) thread (%u,%u,%u)]", block_index.x, block_index.y, block_index.z,
             thread_index.x, thread_index.y, thread_index.z);
    return text;
}

void fail(const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(message, message_size, "%s%s", text, current ? where().c_str() : "");
    failed = true;
    if (current) leave_for_good();
    throw 1;
}

static std::string name_of(const Thread &t) {
    char text[64];
    snprintf(text, sizeof text, "thread (%u,%u,%u)", t.index.x, t.index.y, t.index.z);
    return text;
}

static std::string at(const Site &s) {
    const char *slash = strrchr(s.file, '/');
    return std::string(s.what) + " at " + (slash ? slash + 1 : s.file) + ":" + std::to_string(s.line);
}

static uint32_t draw() {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return uint32_t(random_state >> 33);
}

template <class T> static void arrange(std::vector<T> &items) {
    if (order == down) std::reverse(items.begin(), items.end());
    if (order == shuffled)
        for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[draw() % i]);
}

// ---- fibers ----

static Stack take_stack() {
    if (free_stacks.empty()) {
        constexpr int many = 64;
        char *memory = static_cast<char *>(mmap(nullptr, many * (stack_bytes + stagger), PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (memory == MAP_FAILED) abort();
        // The same offset in every page would be the same set of the cache for all.
        for (int i = 0; i < many; ++i, memory += stack_bytes + stagger) free_stacks.push_back({memory, memory + stack_bytes});
        all_stacks.insert(all_stacks.end(), free_stacks.begin(), free_stacks.end());
    }
    Stack s = free_stacks.back();
    free_stacks.pop_back();
    return s;
}

static void resume(Thread *t) {
    current = t;
    thread_index = t->index;
    running = t->stack;
}

static void finish(Thread *t) {
    if (barrier_count)
        fail("divergent barrier: a thread ended while %d others wait in %s", barrier_count, at(barrier_site).c_str());
    for (int i = t->number & ~31; i < std::min(thread_count, (t->number & ~31) + 32); ++i)
        if (threads[i].mask >> t->lane & 1)
            fail("the mask 0x%08x of %s names a thread that has ended", threads[i].mask, at(threads[i].site).c_str());
    t->done = true;
    ++done_count;
}

static void work();

// The stack of a new fiber, as emu_switch expects to find it.
static void *new_context(Stack s) {
    auto **top = reinterpret_cast<void **>(reinterpret_cast<uintptr_t>(s.high) & ~uintptr_t(15));
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(work);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    return top;
}

static void switch_to_next(void **save) {
    if (ready_head < ready.size()) {
        Thread *t = &threads[ready[ready_head++]];
        if (ready_head == ready.size()) ready.clear(), ready_head = 0;
        resume(t);
        emu_switch(save, t->context);
    } else if (started < sequence.size()) {
        running = take_stack();
        emu_switch(save, new_context(running));
    } else {
        current = nullptr;
        emu_switch(save, main_context);
    }
}

static void work() {
    const Stack own = running;
    while (started < sequence.size() && ready_head == ready.size()) {
        Thread *t = &threads[sequence[started++]];
        t->stack = own;
        resume(t);
        entry(entry_args);
        finish(t);
    }
    free_stacks.push_back(own);
    void *unused;
    switch_to_next(&unused);
    abort();
}

static void wait() {
    Thread *t = current;
    switch_to_next(&t->context);
    resume(t);
}

// ---- meeting places ----

void warp_meet(unsigned mask, const void *in, void *out, Combine combine, bool orders_memory, Site site) {
    Thread *me = current, *warp = &threads[me->number & ~31];
    const int lanes = std::min(32, thread_count - (me->number & ~31));
    if (!(mask >> me->lane & 1)) fail("%s: the mask 0x%08x does not name the thread that calls", at(site).c_str(), mask);
    me->mask = mask, me->in = const_cast<void *>(in), me->out = out, me->site = site;
    bool complete = true;
    for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        if (lane >= lanes) {
            // A full mask in the last warp of a block that is no multiple of 32 names lanes that do not exist.
            fail("%s: the mask 0x%08x names lane %d, but the warp has %d threads", at(site).c_str(), mask, lane, lanes);
        }
        Thread &other = warp[lane];
        if (other.done) fail("%s: the mask 0x%08x names %s, which has ended", at(site).c_str(), mask, name_of(other).c_str());
        if (other.at_barrier)
            fail("%s: the mask 0x%08x names %s, which waits in %s", at(site).c_str(), mask, name_of(other).c_str(), at(barrier_site).c_str());
        if (!other.mask)
            complete = false;
        else if (other.mask != mask || strcmp(other.site.what, site.what))
            fail("%s with the mask 0x%08x, while %s is in %s with the mask 0x%08x", at(site).c_str(), mask,
                 name_of(other).c_str(), at(other.site).c_str(), other.mask);
    }
    if (!complete) return wait();
    void *ins[32] = {}, *outs[32] = {};
    std::vector<int> others;
    uint32_t joined[32] = {};
    for (int lane = 0; lane < lanes; ++lane) {
        if (!(mask >> lane & 1)) continue;
        Thread &t = warp[lane];
        ins[lane] = t.in, outs[lane] = t.out, t.mask = 0;
        if (&t != me) others.push_back(t.number);
        if (orders_memory) {
            t.clock[lane] = t.time;
            for (int i = 0; i < 32; ++i) joined[i] = std::max(joined[i], t.clock[i]);
        }
    }
    active = false;  // what the emulator itself reads and writes is not the kernel's
    if (combine) combine(mask, ins, outs);
    active = true;
    if (orders_memory)
        for (int lane = 0; lane < lanes; ++lane)
            if (mask >> lane & 1) memcpy(warp[lane].clock, joined, sizeof joined), ++warp[lane].time;
    arrange(others);
    ready.insert(ready.end(), others.begin(), others.end());
}

int block_meet(Vote vote, int predicate, Site site) {
    Thread *me = current;
    if (done_count) fail("divergent barrier: %s, but %d threads of the block have ended", at(site).c_str(), done_count);
    for (int i = me->number & ~31; i < std::min(thread_count, (me->number & ~31) + 32); ++i)
        if (threads[i].mask >> me->lane & 1)
            fail("%s, while the mask 0x%08x of %s names this thread", at(site).c_str(), threads[i].mask, at(threads[i].site).c_str());
    if (!barrier_count)
        barrier_site = site, barrier_votes = 0;
    else if (site.line != barrier_site.line || strcmp(site.file, barrier_site.file))
        fail("divergent barrier: %s, while other threads wait in %s", at(site).c_str(), at(barrier_site).c_str());
    barrier_votes += predicate != 0;
    me->at_barrier = true;
    if (++barrier_count < thread_count) {
        wait();
    } else {
        const int result = vote == Vote::count ? barrier_votes : vote == Vote::all ? barrier_votes == thread_count : barrier_votes > 0;
        std::vector<int> others;
        for (auto &t : threads) {
            t.at_barrier = false, t.vote = result;
            if (&t != me) others.push_back(t.number);
        }
        barrier_count = 0;
        ++epoch;
        arrange(others);
        ready.insert(ready.end(), others.begin(), others.end());
    }
    return me->vote;
}

// ---- shared memory ----

static void add_span(const char *name, char *base, size_t size) {
    if (mode == fast) return;
    Span s{{reinterpret_cast<uintptr_t>(base), size, nullptr, name}, nullptr, true};
    if (mode == check) {
        s.cells = static_cast<Cell *>(calloc(size, sizeof(Cell)));
        s.region.initialised = static_cast<uint8_t *>(calloc(size, 1));
    }
    spans.push_back(s);
}

static size_t place(size_t size, size_t alignment) {
    const size_t offset = (arena_used + alignment - 1) / alignment * alignment;
    arena_used = (offset + size + gap + gap - 1) / gap * gap;
    if (arena_used > arena_bytes) fail("%zu bytes of shared memory are more than any GPU has", arena_used);
    memset(arena + offset, poison, size);
    memset(arena + offset + size, canary, arena_used - offset - size);
    return offset;
}

void *static_shared(const void *key, size_t size, size_t alignment, Site site) {
    for (auto &a : arrays)
        if (a.key == key) return arena + a.offset;
    static_bytes += size;
    if (static_bytes > static_limit)
        fail("%s: %zu bytes of static shared memory, but a block has %zu; make it dynamic", at(site).c_str(), static_bytes, static_limit);
    if (static_bytes + dynamic_bytes > total_limit)
        fail("%s: %zu bytes of shared memory, but a block has %zu", at(site).c_str(), static_bytes + dynamic_bytes, total_limit);
    arrays.push_back({key, place(size, std::max(alignment, size_t(16))), size});
    add_span("shared memory", arena + arrays.back().offset, size);
    return arena + arrays.back().offset;
}

void *dynamic_shared() { return arena + dynamic_offset; }

static void clear_shared() {
    for (auto &s : spans)
        if (s.shared && s.cells) memset(s.cells, 0, s.region.size * sizeof(Cell)), memset(s.region.initialised, 0, s.region.size);
    for (auto &a : arrays) memset(arena + a.offset, poison, a.size);
}

static void check_gaps() {
    for (auto &a : arrays) {
        const size_t end = (a.offset + a.size + gap + gap - 1) / gap * gap;
        for (size_t i = a.offset + a.size; i < end; ++i)
            if (uint8_t(arena[i]) != canary)
                fail("out of bounds: shared memory was written %zu bytes behind the end of an array of %zu bytes, in block (%u,%u,%u)",
                     i - a.offset - a.size, a.size, block_index.x, block_index.y, block_index.z);
    }
}

// ---- the checker ----

static uint32_t offset_of(const void *pc) { return uint32_t(reinterpret_cast<uintptr_t>(pc) - module_low); }

static Span *span_of(uintptr_t a) {
    if (recent < spans.size() && a - spans[recent].region.base < spans[recent].region.size) return &spans[recent];
    for (size_t i = 0; i < spans.size(); ++i)
        if (a - spans[i].region.base < spans[i].region.size) return recent = i, &spans[i];
    return nullptr;
}

static std::string writer(const Access &a, const char *what) {
    auto block = std::upper_bound(block_starts.begin(), block_starts.end(), std::make_pair(a.epoch, ~uint64_t(0))) - 1;
    const uint64_t b = block->second, gx = grid_size.x, gy = grid_size.y;
    char text[200];
    snprintf(text, sizeof text, "%s%s by %s of block (%u,%u,%u) at {%x}", a.thread & atomic_bit ? "an atomic " : "a ", what,
             name_of(threads[(a.thread & ~atomic_bit) - 1]).c_str(), unsigned(b % gx), unsigned(b / gx % gy),
             unsigned(b / gx / gy), a.pc);
    return text;
}

static bool ordered(const Access &a) {
    const int other = int(a.thread & ~atomic_bit) - 1;
    if (a.epoch < block_epoch) return false;
    if (other == current->number || a.epoch < epoch) return true;
    return other >> 5 == current->warp && a.time <= current->clock[other & 31];
}

static const char *kind_of(bool write, bool atomic) { return atomic ? "atomic access" : write ? "write" : "read"; }

static void check_access(uintptr_t a, size_t n, bool write, bool atomic, bool aligned, const void *pc_pointer) {
    if (a - reinterpret_cast<uintptr_t>(running.low) < stack_bytes) return;
    const uint32_t pc = offset_of(pc_pointer);
    Span *s = span_of(a);
    const char *kind = kind_of(write, atomic);
    if (!s || a + n > s->region.base + s->region.size) {
        if (!s && a - module_low < module_high - module_low) return;
        if (a < 4096) fail("null pointer: %s of %zu bytes at {%x}", kind, n, pc);
        const Span *near = s;
        intptr_t best = 0;
        for (auto &t : spans) {
            const intptr_t d = a < t.region.base ? intptr_t(t.region.base - a) : intptr_t(a - t.region.base - t.region.size);
            if (!s && (!near || d < best)) near = &t, best = d;
        }
        if (!near) fail("out of bounds: %s of %zu bytes at {%x}, where there is no memory", kind, n, pc);
        fail("out of bounds: %s of %zu bytes at {%x}, at byte %zd of %s of %zu bytes", kind, n, pc,
             intptr_t(a - near->region.base), near->region.name, near->region.size);
    }
    if (aligned && a % n) fail("misaligned: %s of %zu bytes at {%x}, at byte %zu of %s", kind, n, pc, a - s->region.base, s->region.name);
    const size_t first = a - s->region.base;
    const Access mine{uint32_t(current->number + 1) | (atomic ? atomic_bit : 0), epoch, current->time, pc};
    for (size_t i = first; i < first + n; ++i) {
        if (write && !atomic)
            s->region.initialised[i] = 1;
        else if (!s->region.initialised[i])
            fail("uninitialised: %s of %zu bytes at {%x}, at byte %zu of %s, which nobody has written", kind, n, pc, i, s->region.name);
        Cell &c = s->cells[i];
        auto conflict = [&](const Access &old, const char *what) {
            if (!old.thread || (atomic && old.thread & atomic_bit) || ordered(old)) return;
            fail("race%s: %s of %zu bytes at {%x} at byte %zu of %s, against %s", old.epoch < block_epoch ? " between blocks" : "",
                 kind, n, pc, i, s->region.name, writer(old, what).c_str());
        };
        conflict(c.write, "write");
        if (write) {
            for (auto &r : c.reads) conflict(r, "read"), r.thread = 0;
            c.write = mine;
        } else {
            Access *slot = nullptr;
            for (auto &r : c.reads)
                if (!r.thread || r.thread == mine.thread || ordered(r)) slot = &r;
            *(slot ? slot : &c.reads[0]) = mine;
        }
    }
}

// ---- the profiler ----

struct Request {
    uint32_t pc, warp, occurrence;
    uint8_t size;
    bool write;
    bool shared;
    uintptr_t address;
};
struct Row {  // shared with emulator.py
    uint32_t pc;
    int32_t shared, write;
    uint64_t requests, lanes, cost, ideal;
};
static std::vector<Request> requests;
static std::vector<std::unordered_map<uint32_t, uint32_t>> occurrences;
static std::map<std::pair<uint32_t, std::pair<bool, bool>>, Row> rows;

static void record(uintptr_t a, size_t n, bool write, const void *pc) {
    Span *s = span_of(a);
    if (!s) return;
    const uint32_t p = offset_of(pc);
    requests.push_back({p, uint32_t(current->warp), occurrences[current->number][p]++, uint8_t(n), write, s->shared, a});
}

// What a request of a warp costs: 32-byte sectors of global memory, or passes over the 32 banks of shared memory, which
// serve 128 bytes at once: all lanes at 4 bytes each, half of them at 8, a quarter at 16.
static void add_request(const Request *r, size_t lanes) {
    Row &row = rows[{r->pc, {r->shared, r->write}}];
    row.pc = r->pc, row.shared = r->shared, row.write = r->write;
    ++row.requests, row.lanes += lanes;
    std::vector<uintptr_t> units;
    if (!r->shared) {
        for (size_t i = 0; i < lanes; ++i)
            for (uintptr_t u = r[i].address / 32; u <= (r[i].address + r[i].size - 1) / 32; ++u) units.push_back(u);
        std::sort(units.begin(), units.end());
        row.cost += std::unique(units.begin(), units.end()) - units.begin();
        row.ideal += (lanes * r->size + 31) / 32;
        return;
    }
    const size_t group = std::max<size_t>(1, r->size <= 4 ? 32 : 128 / r->size);
    for (size_t from = 0; from < lanes; from += group) {
        units.clear();
        for (size_t i = from; i < std::min(lanes, from + group); ++i)
            for (uintptr_t w = r[i].address / 4; w <= (r[i].address + r[i].size - 1) / 4; ++w) units.push_back(w);
        std::sort(units.begin(), units.end());
        units.erase(std::unique(units.begin(), units.end()), units.end());
        uint64_t banks[32] = {}, most = 0;
        for (uintptr_t w : units) most = std::max(most, ++banks[w % 32]);
        row.cost += most, ++row.ideal;
    }
}

static void count_requests() {
    auto key = [](const Request &r) { return std::make_tuple(r.pc, r.warp, r.occurrence, r.write); };
    std::stable_sort(requests.begin(), requests.end(), [&](auto &a, auto &b) { return key(a) < key(b); });
    for (size_t i = 0, j; i < requests.size(); i = j) {
        for (j = i; j < requests.size() && key(requests[j]) == key(requests[i]);) ++j;
        add_request(&requests[i], j - i);
    }
    requests.clear();
}

static void memory_access(void *address, size_t n, bool write, bool atomic, bool aligned, const void *pc) {
    if (!active || !current || !n) return;
    const auto a = reinterpret_cast<uintptr_t>(address);
    if (mode == check) check_access(a, n, write, atomic, aligned, pc);
    if (mode == profile) record(a, n, write, pc);
}

void atomic_access(void *address, size_t size, void *caller) { memory_access(address, size, true, true, true, caller); }

// ---- launching ----

static void run_block(uint64_t number) {
    block_index = {unsigned(number % grid_size.x), unsigned(number / grid_size.x % grid_size.y),
                   unsigned(number / grid_size.x / grid_size.y)};
    block_epoch = ++epoch;
    block_starts.push_back({epoch, number});
    started = ready_head = 0;
    ready.clear();
    done_count = barrier_count = 0;
    sequence.resize(thread_count);
    for (int i = 0; i < thread_count; ++i) {
        Thread &t = threads[i];
        t.number = i, t.lane = i & 31, t.warp = i >> 5;
        t.index = {i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y};
        t.mask = 0, t.at_barrier = t.done = false, t.time = 1;
        if (mode == check) memset(t.clock, 0, sizeof t.clock);
        sequence[i] = i;
    }
    arrange(sequence);
    if (mode == profile) occurrences.assign(thread_count, {});
    clear_shared();
    switch_to_next(&main_context);
    current = nullptr;
    if (failed) return;
    if (done_count < thread_count)
        for (auto &t : threads)
            if (!t.done)
                fail("deadlock: %s of block (%u,%u,%u) waits in %s, and nobody comes", name_of(t).c_str(), block_index.x,
                     block_index.y, block_index.z, at(t.at_barrier ? barrier_site : t.site).c_str());
    check_gaps();
    if (mode == profile) count_requests();
}

static int find_module(dl_phdr_info *info, size_t, void *) {
    const auto self = reinterpret_cast<uintptr_t>(&find_module);
    uintptr_t low = ~uintptr_t(0), high = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        low = std::min<uintptr_t>(low, info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        high = std::max<uintptr_t>(high, info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz);
    }
    if (self < low || self >= high) return 0;
    module_low = info->dlpi_addr, module_high = high;
    return 1;
}

EMU_API int emu_launch(void (*function)(void **), void **args, const Launch *launch, const Region *regions, size_t count,
                       char *text, size_t text_size) {
    message = text, message_size = text_size, failed = false, current = nullptr;
    entry = function, entry_args = args;
    mode = Mode(launch->mode), order = Order(launch->order), random_state = launch->seed * 2654435761u + 1;
    grid_size = dim3(launch->grid[0], launch->grid[1], launch->grid[2]);
    block_size = dim3(launch->block[0], launch->block[1], launch->block[2]);
    if (!module_low) dl_iterate_phdr(find_module, nullptr);
    if (!arena) arena = static_cast<char *>(std::aligned_alloc(1024, arena_bytes));
    epoch = 0, block_starts.clear(), rows.clear(), requests.clear(), recent = 0;
    spans.clear(), arrays.clear();
    arena_used = static_bytes = 0;
    for (size_t i = 0; mode != fast && i < count; ++i)
        spans.push_back({regions[i], mode == check ? static_cast<Cell *>(calloc(regions[i].size + 1, sizeof(Cell))) : nullptr, false});
    try {
        const uint64_t per_block = uint64_t(block_size.x) * block_size.y * block_size.z;
        const uint64_t blocks = uint64_t(grid_size.x) * grid_size.y * grid_size.z;
        if (!blocks || grid_size.x > 0x7FFFFFFFu || grid_size.y > 65535 || grid_size.z > 65535)
            fail("a grid of (%u, %u, %u) blocks cannot be launched", grid_size.x, grid_size.y, grid_size.z);
        if (!per_block || per_block > 1024 || block_size.z > 64)
            fail("a block of (%u, %u, %u) threads cannot be launched", block_size.x, block_size.y, block_size.z);
        dynamic_bytes = launch->shared_bytes;
        if (dynamic_bytes > total_limit) fail("%zu bytes of dynamic shared memory, but a block has %zu", dynamic_bytes, total_limit);
        dynamic_offset = place(dynamic_bytes, 16);
        arrays.push_back({nullptr, dynamic_offset, dynamic_bytes});
        add_span("dynamic shared memory", arena + dynamic_offset, dynamic_bytes);
        thread_count = int(per_block);
        threads.resize(thread_count);
        std::vector<uint64_t> numbers(blocks);
        for (uint64_t i = 0; i < blocks; ++i) numbers[i] = i;
        arrange(numbers);
        active = true;
        for (uint64_t b : numbers) {
            run_block(b);
            if (failed) break;
        }
    } catch (int) {
    }
    active = false;
    free_stacks = all_stacks;  // a launch that failed has left fibers in the middle
    for (auto &s : spans) {
        free(s.cells);
        if (s.shared) free(s.region.initialised);
    }
    spans.clear();
    return failed;
}

EMU_API size_t emu_profile(Row *out, size_t capacity) {
    size_t n = 0;
    for (auto &r : rows)
        if (n < capacity) out[n++] = r.second;
    return rows.size();
}

}  // namespace emu

// ---- the hooks of -fsanitize=thread ----

using emu::memory_access;
#define HOOKS(n)                                                                                                          \
    extern "C" void __tsan_read##n(void *a) { memory_access(a, n, false, false, true, __builtin_return_address(0)); }      \
    extern "C" void __tsan_write##n(void *a) { memory_access(a, n, true, false, true, __builtin_return_address(0)); }      \
    extern "C" void __tsan_unaligned_read##n(void *a) { memory_access(a, n, false, false, false, __builtin_return_address(0)); } \
    extern "C" void __tsan_unaligned_write##n(void *a) { memory_access(a, n, true, false, false, __builtin_return_address(0)); } \
    extern "C" void __tsan_volatile_read##n(void *a) { memory_access(a, n, false, false, true, __builtin_return_address(0)); } \
    extern "C" void __tsan_volatile_write##n(void *a) { memory_access(a, n, true, false, true, __builtin_return_address(0)); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
extern "C" void __tsan_read_range(void *a, size_t n) { memory_access(a, n, false, false, false, __builtin_return_address(0)); }
extern "C" void __tsan_write_range(void *a, size_t n) { memory_access(a, n, true, false, false, __builtin_return_address(0)); }
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() {}

// ---- the hooks of -fsanitize=undefined: the first thing each is given is the place in the source ----

struct Place {
    const char *file;
    uint32_t line, column;
};
static void undefined(const char *what, const void *data) {
    if (!emu::current) return;
    const auto *place = static_cast<const Place *>(data);
    const char *slash = strrchr(place->file, '/');
    emu::fail("undefined behaviour: %s at %s:%u", what, slash ? slash + 1 : place->file, place->line);
}
#define UNDEFINED(name, what) extern "C" void __ubsan_handle_##name(void *data, ...) { undefined(what, data); }
UNDEFINED(add_overflow, "a signed sum overflows")
UNDEFINED(sub_overflow, "a signed difference overflows")
UNDEFINED(mul_overflow, "a signed product overflows")
UNDEFINED(negate_overflow, "a negation overflows")
UNDEFINED(divrem_overflow, "a division by zero, or one that overflows")
UNDEFINED(shift_out_of_bounds, "a shift by a negative number or by the width or more")
UNDEFINED(out_of_bounds, "an index outside of an array")
UNDEFINED(builtin_unreachable, "a place that should not be reached")
UNDEFINED(missing_return, "a function ends without its return")
UNDEFINED(vla_bound_not_positive, "an array of no or negative length")
UNDEFINED(load_invalid_value, "a bool or an enum with a value it cannot have")
UNDEFINED(type_mismatch_v1, "a null or misaligned pointer")
UNDEFINED(pointer_overflow, "pointer arithmetic overflows")
UNDEFINED(nonnull_arg, "a null pointer as an argument")
UNDEFINED(invalid_builtin, "a bit count of zero")
