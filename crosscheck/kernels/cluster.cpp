// Clusters of thread blocks on a CPU, for kernels written for them: their threads take turns, in random order, some warps
// sleep for a while, and what blocks send each other arrives at a random time. Two clusters are there at a time, and the
// one that goes on changes at random. In place of shared/kernels/hopper.cuh.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <setjmp.h>
#include <ucontext.h>
#include <vector>

typedef unsigned u32;
typedef unsigned short u16;
typedef unsigned long long u64;

#define __device__
#define __global__
#define __cluster_dims__(...)
#define __launch_bounds__(...)
#define threadIdx me->thread
#define blockIdx me->block
#define gridDim blocks

using std::max;
using std::min;
struct Index { unsigned x; };
struct alignas(8) float2 { float x, y; };
struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
static float2 make_float2(float x, float y) { return {x, y}; }
static uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
static uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }

constexpr int TOGETHER = H / UNITS, IN_BLOCK = THREADS, STACK = 1 << 16, SHARED_BYTES = 1 << 18;
constexpr int ASLEEP = 64, NAP = 24;  // rounds, of a warp and of a block
constexpr int PATIENCE = 4 * ASLEEP;  // rounds, in each of which one warp of four pauses
constexpr int AT_A_TIME = 2;  // clusters

struct Meeting {  // of a number of threads
  int arrived = 0, left = 0;
};
struct Counter {  // of arrivals and bytes, in phases
  int arrivals = 1, bytes = 0, phase = 0;
};
struct Message {
  u32 to, barrier;
  uint4 data;
  int bytes = sizeof(uint4);
  u32 from = 0;  // of more bytes, which are read when they arrive
};
struct Products {  // of rows of states, and of weights in registers or in shared memory
  bool in_registers;
  uint4 weights;
  u64 shared_weights, states;
};
struct Thread {
  Index thread, block;
  std::vector<Products> products;  // that are computed when they are waited for, and no sooner
  ucontext_t start;
  jmp_buf going_on;  // costs no call of the system
  bool has_started = false, has_ended = false;
  unsigned exchanges = 0;
};

struct Cluster {
  std::vector<Thread> threads = std::vector<Thread>(TOGETHER * IN_BLOCK);
  std::vector<unsigned char> memories = std::vector<unsigned char>(TOGETHER * SHARED_BYTES, 0xff);  // no numbers
  std::map<u32, Counter> counters;
  std::vector<Message> on_their_way;
  Meeting warps[TOGETHER * IN_BLOCK / 32], spans[TOGETHER * 4], whole_blocks[TOGETHER], makers[TOGETHER], all;
  int asleep[TOGETHER * IN_BLOCK / 32] = {};  // rounds that are left
  u32 given[TOGETHER * IN_BLOCK / 32][2][32][6];  // by the lanes of a warp, in this exchange and the one before
  int nap = NAP, napping = 0, idle = 0;  // rounds until and in a nap, whose, and rounds in which nothing happened
  bool is_there = false;
};

static Cluster clusters[AT_A_TIME];
static char* stacks = (char*)malloc((size_t)AT_A_TIME * TOGETHER * IN_BLOCK * STACK);
static Cluster* ours;  // of this thread
static Thread* me;
static Index blocks;
static jmp_buf scheduler;
static std::mt19937 draw;
static bool something_happened;
static int rounds;  // until another cluster may go on

static int rank() { return me->block.x % TOGETHER; }
static int warp_of_all() { return rank() * (IN_BLOCK / 32) + me->thread.x / 32; }
static void take_turns() {
  if (!_setjmp(me->going_on)) _longjmp(scheduler, 1);
}
static void meet_at(Meeting& meeting, int size) {
  const int mine = meeting.left;
  if (++meeting.arrived == size) {
    meeting.arrived = 0, meeting.left++, something_happened = true;
    return;
  }
  while (meeting.left == mine) take_turns();
}

static float __uint_as_float(u32 bits) { float found; memcpy(&found, &bits, 4); return found; }
static u32 bits_of(float number) { u32 found; memcpy(&found, &number, 4); return found; }
#if HALF
static float widen(u32 bits) { u16 narrow = bits; _Float16 found; memcpy(&found, &narrow, 2); return found; }
static u32 narrow(float number) { _Float16 found = number; u16 bits; memcpy(&bits, &found, 2); return bits; }
#else
static float widen(u32 bits) { return __uint_as_float(bits << 16); }
static u32 narrow(float number) {
  const u32 bits = bits_of(number);
  return number != number ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
#endif
static float low(u32 pair) { return widen(pair & 0xffff); }
static float high(u32 pair) { return widen(pair >> 16); }
static u32 pack(float first, float second) { return narrow(first) | narrow(second) << 16; }
static float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

static void meet_in_warp() { meet_at(ours->warps[warp_of_all()], 32); }
typedef u32 Words[32][6];
static Words& exchange(const u32* mine, int words) {  // what all lanes of the warp give
  Words& all = ours->given[warp_of_all()][me->exchanges++ % 2];
  memcpy(all[me->thread.x % 32], mine, words * sizeof(u32));
  meet_at(ours->warps[warp_of_all()], 32);
  return all;
}
static uint4 matrices(u32 here) {
  const Words& places = exchange(&here, 1);
  u32 found[4];
  for (int i = 0; i < 4; i++) memcpy(&found[i], &ours->memories[places[8 * i + me->thread.x % 32 / 4][0] + me->thread.x % 4 * 4], 4);
  return {found[0], found[1], found[2], found[3]};
}
static void multiply(float* sum, uint4 a, uint2 b) {
  const u32 mine[6] = {a.x, a.y, a.z, a.w, b.x, b.y};
  const Words& words = exchange(mine, 6);
  const int lane = me->thread.x % 32;
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; k++) {
      const u32 a = words[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], b = words[column * 4 + k % 8 / 2][4 + k / 8];
      sum[i] += k % 2 ? high(a) * high(b) : low(a) * low(b);
    }
  }
}
static u64 described(u32 here, u32 rows) { return here / 16 | (u64)rows << 32; }
static void read_16(u64 described, int row, float* numbers) {
  const u32 here = (u32)described, rows = described >> 32;
  for (int place = 0; place < 16; place++) {
    u16 bits;
    memcpy(&bits, &ours->memories[(here + place / 8 * rows + row) * 16 + place % 8 * 2], 2);
    numbers[place] = widen(bits);
  }
}
static void begin_products() {}
static void multiply_rows(float*, uint4 weights, u64 states) { me->products.push_back({true, weights, 0, states}); }
static void multiply_rows(float*, u64 weights, u64 states) { me->products.push_back({false, {}, weights, states}); }
static void finish_products(float (&sums)[AT_ONCE / 2]) {
  const int lane = me->thread.x % 32, warp = me->thread.x / 32 % 4;
  const Thread* lanes = me - lane;
  meet_in_warp();
  for (size_t of = 0; of < me->products.size(); of++) {
    const Products& mine = me->products[of];
    float weights[2][16], states[16];
    for (int second = 0; second < 2; second++) {
      if (!mine.in_registers) read_16(mine.shared_weights, warp * 16 + lane / 4 + 8 * second, weights[second]);
      for (int k = 0; mine.in_registers && k < 16; k++) {
        const u32 pair = (&lanes[lane / 4 * 4 + k % 8 / 2].products[of].weights.x)[second + k / 8 * 2];
        weights[second][k] = k % 2 ? high(pair) : low(pair);
      }
    }
    for (int i = 0; i < AT_ONCE / 2; i++) {
      if (i % 2 == 0) read_16(mine.states, i / 4 * 8 + lane % 4 * 2 + i / 2 % 2, states);
      for (int k = 0; k < 16; k++) sums[i / 4 * 4 + i % 2 * 2 + i / 2 % 2] += weights[i % 2][k] * states[k];
    }
  }
  meet_in_warp();
  me->products.clear();
}
static void keep(int&) {}
static u32 of_lane(u32 value, int lane) { return exchange(&value, 1)[lane][0]; }

static void* shared_memory() { return &ours->memories[rank() * SHARED_BYTES]; }
static u32 address(const void* here) { return (const unsigned char*)here - ours->memories.data(); }
static u32 in_block(u32 here, u32 block) { return here % SHARED_BYTES + block * SHARED_BYTES; }
static void send(u32 to, u32 barrier, uint4 data) { ours->on_their_way.push_back({to, barrier, data}); }
template <int bytes>
static void send_by_engine(u32 to, u32 barrier, u32 from) { ours->on_their_way.push_back({to, barrier, {}, bytes, from}); }
static void show_written() {}
static void count(Counter& counter) {
  if (counter.arrivals == 0 && counter.bytes == 0) counter.arrivals = 1, counter.phase++, something_happened = true;
}
static void start(u32 barrier) { ours->counters[barrier] = Counter(); }
static void show_started() {}
static void expect(u32 barrier, u32 bytes) {
  Counter& counter = ours->counters[barrier];
  counter.bytes += bytes, counter.arrivals--;
  count(counter);
}
static void arrived(u32 barrier, u32 bytes) {
  ours->counters[barrier].bytes -= bytes;
  count(ours->counters[barrier]);
}
static void deliver(const Message& message) {
  memcpy(&ours->memories[message.to], message.bytes > (int)sizeof(uint4) ? &ours->memories[message.from] : (unsigned char*)&message.data, message.bytes);
  arrived(message.barrier, message.bytes);
  something_happened = true;
}
static bool is_there(u32 barrier, u32 parity) {
  if (ours->counters[barrier].phase % 2 == (int)parity) take_turns();
  return ours->counters[barrier].phase % 2 != (int)parity;
}
static void meet() { meet_at(ours->all, TOGETHER * IN_BLOCK); }
static void made_by(int size) {
  if (++ours->makers[rank()].arrived == size) ours->makers[rank()].arrived = 0, ours->makers[rank()].left++, something_happened = true;
}
static void wait_for_makers(int size) { meet_at(ours->makers[rank()], size); }
static void meet_in_pairs(int span) { meet_at(ours->spans[rank() * 4 + span], 64); }
static void __syncthreads() { meet_at(ours->whole_blocks[rank()], IN_BLOCK); }
static void ask_for(const void*) {}
static u32 read_of(u32 there) { u32 found; memcpy(&found, &ours->memories[there], 4); return found; }
static u32 drawn(u32* counter) { return (*counter)++; }
static void show(u32* counter) {  // and somebody else may look at it at once
  ++*counter, rounds = 0;
  for (Cluster& each : clusters) each.idle = 0;
  take_turns();
}
static u32 seen(const u32* counter) { take_turns(); return *counter; }

#include KERNELS

static void** arrays;
static const int* numbers;
static void work() {
  auto** a = arrays;
#if FORWARD
  gru_forward((u16*)a[0], (u16*)a[1], (u16*)a[2], (float*)a[3], (int*)a[4], (u16*)a[5], (u16*)a[6], (u16*)a[7], (u16*)a[8],
              (float*)a[9], (u32*)a[10], numbers[0], numbers[1], numbers[2]);
#else
  gru_backward((u16*)a[0], (int*)a[1], (u16*)a[2], (u16*)a[3], (u16*)a[4], (u16*)a[5], (u16*)a[6], (u16*)a[7], (float*)a[8],
               (u16*)a[9], (float*)a[10], (u32*)a[11], numbers[0], numbers[1], numbers[2]);
#endif
  me->has_ended = true, something_happened = true;
  _longjmp(scheduler, 1);
}

static void go_on(Thread& thread) {
  me = &thread;
  if (_setjmp(scheduler)) return;
  if (thread.has_started) _longjmp(thread.going_on, 1);
  thread.has_started = true;
  setcontext(&thread.start);
}
static void set_up_cluster(Cluster& cluster, int number) {
  cluster = Cluster(), cluster.is_there = true;
  for (int i = 0; i < TOGETHER * IN_BLOCK; i++) {
    Thread& thread = cluster.threads[i];
    thread.thread.x = i % IN_BLOCK, thread.block.x = number * TOGETHER + i / IN_BLOCK;
    getcontext(&thread.start);
    thread.start.uc_stack.ss_sp = stacks + ((&cluster - clusters) * cluster.threads.size() + i) * STACK, thread.start.uc_stack.ss_size = STACK;
    thread.start.uc_link = nullptr;
    makecontext(&thread.start, work, 0);
  }
}

// A round of a cluster, in which its warps take turns: whether any of its threads goes on.
static bool round_of(Cluster& cluster) {
  static std::vector<int> order;
  ours = &cluster, order.resize(TOGETHER * IN_BLOCK / 32);
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  bool running = something_happened = false;
  for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[draw() % i]);
  if (cluster.nap-- == 0) cluster.nap = NAP + draw() % NAP, cluster.napping = draw() % TOGETHER;
  for (int warp : order) {
    if (draw() % 1024 == 0) cluster.asleep[warp] = ASLEEP;
    const bool naps = cluster.nap < NAP && warp / (IN_BLOCK / 32) == cluster.napping;
    const bool pauses = draw() % 4 == 0 || naps || (cluster.asleep[warp] && cluster.asleep[warp]--);
    for (int i = 0; i < 32; i++) {
      Thread& thread = cluster.threads[warp * 32 + i];
      running |= !thread.has_ended;
      if (!thread.has_ended && !pauses) go_on(thread);
    }
  }
  for (size_t i = 0; i < cluster.on_their_way.size();) {
    if (draw() % 4) { i++; continue; }
    deliver(cluster.on_their_way[i]);
    cluster.on_their_way[i] = cluster.on_their_way.back(), cluster.on_their_way.pop_back();
  }
  cluster.idle = something_happened ? 0 : cluster.idle + 1;
  return running;
}

// All clusters of a launch: 0, or 1 if the threads of those that are there wait for ever. One goes on until it waits, or
// for so many rounds, few or many.
extern "C" int launch(void** of_arrays, const int* of_numbers, int of_blocks, unsigned seed) {
  arrays = of_arrays, numbers = of_numbers, blocks.x = of_blocks, draw.seed(seed);
  int started = 0, ended = 0, now = 0;
  const int number = of_blocks / TOGETHER;
  for (Cluster& each : clusters) each.is_there = false;
  while (ended < number) {
    Cluster& cluster = clusters[now];
    if (!cluster.is_there && started < number) set_up_cluster(cluster, started++);
    if (cluster.is_there && !round_of(cluster)) {
      cluster.is_there = false, ended++;
      for (Cluster& each : clusters) each.idle = 0;
    }
    bool all_wait = ended < number;
    for (Cluster& each : clusters)
      all_wait &= each.is_there ? each.idle > PATIENCE && each.on_their_way.empty() : started == number;
    if (all_wait) return 1;
    if (!cluster.is_there || cluster.idle > PATIENCE || rounds-- == 0) now = draw() % AT_A_TIME, rounds = 1 << draw() % 16;
  }
  return 0;
}
