// All steps of a GRU layer as one launch forward and one backward, by clusters of thread blocks. What the arrays hold is
// told in gru.py, for whose kernels these stand in; the gates kept for the backward pass lie unit by unit here: r, z, n
// and W_hn h + b_hn.
//
// A cluster owns 16 rows of the batch in one direction, or more (gru_rows.cu, gru_rows_backward.cu). Each of its blocks
// owns 32 or 64 units, whose weights stay in registers. After every step a block writes what the others need into their
// shared memory (st.async, or the copy engine), which counts the bytes that arrive on a barrier of theirs: nobody waits
// for more than the data. The GPU starts the blocks of a cluster together.
//
// Two buffers are enough. Data of a step overwrites that of two steps before; a block sends it after all data of the step
// between has come, and every warp of the others sent its part of that after its last look at what is overwritten. Slopes
// have two as well: a warp can still multiply those of a step while others of its block have got all sums of it.
//
// Clusters share their work evenly, where there are more rows than clusters that run at once. The steps of all rows stand
// in a line, those of one direction after those of the other, and each cluster takes as many of them as any other. So
// some rows begin in one cluster and end in the next, which goes on with what was `carried`. A cluster first does what
// another goes on with, and last what another began: hardly anybody waits. Whoever does waits for the cluster whose ticket
// was drawn before its own, which has started and waits for nobody as yet.
//
// Compiled FORWARD or not, for H (256 or 512), the UNITS of a block, HALF (1 for float16, 0 for bfloat16), the ROWS of a
// cluster, of which AT_ONCE take a turn, the THREADS of a block, TRAINS and SHARED bytes, without contraction of products
// and sums into one operation, so that every assembler makes the same numbers.

constexpr int BLOCKS = H / UNITS;
constexpr int TURNS = ROWS / AT_ONCE, BUFFERS = TURNS + 1;
constexpr int PAIRS = UNITS / 32;       // of neighbouring units in one row, that a thread owns
constexpr int OWN = 2 * PAIRS;          // units of a thread
constexpr u32 BYTES = AT_ONCE * H * 2;  // that come into a block at every step
constexpr int EIGHT = ROWS * 8 + 8;     // eight units of all rows, and a gap that spreads them over the banks
constexpr int EARLY = 4;  // steps from asking for a line of the inputs to its use
constexpr int RESIDENT = UNITS > 32 ? 1 : 2;  // blocks on a multiprocessor

#define KERNEL extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(THREADS, RESIDENT)

struct alignas(4 * OWN) Floats {   // of a thread's units
  float of[OWN];
};
struct alignas(4 * PAIRS) Owned {  // two to a word
  u32 pair[PAIRS];
};
__device__ Owned read(const u16* from) { return *(const Owned*)from; }
__device__ float number_of(const Owned& owned, int unit) { return unit & 1 ? high(owned.pair[unit / 2]) : low(owned.pair[unit / 2]); }

// Where the sum of a gate's slopes (r, z, W_hn h + b_hn and n) lies among the biases.
__device__ constexpr int IN_ORDER(int gate) { return gate < 2 ? gate : 5 - gate; }

__device__ float tanh_of(float x) { return 2.f * sigmoid(2.f * x) - 1.f; }

__device__ void wait(u32 barrier, u32 parity) {
  while (!is_there(barrier, parity)) {}
  if (threadIdx.x == 0) expect(barrier, BYTES);  // the data of two steps later
}
__device__ void set_up(u32 barriers) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < BUFFERS; i++) start(barriers + 8 * i);
    show_started();
    for (int i = 0; i < BUFFERS; i++) expect(barriers + 8 * i, BYTES);
  }
  __syncthreads();
  meet();
}

struct Stretch {  // steps of the rows of a group in one direction
  int direction, group, from, to;
};
// What is left of a cluster's part of the line, from its end on.
__device__ Stretch last_of(int begin, int end, int steps, int groups) {
  const int of = (end - 1) / steps;
  return {of / groups, of % groups, max(begin - of * steps, 0), end - of * steps};
}
// The cluster's ticket, which its first block draws.
__device__ int ticket_of(u32* ticket, u32* counters, u32 barriers) {
  if (threadIdx.x == 0 && blockIdx.x % BLOCKS == 0) *ticket = drawn(counters);
  set_up(barriers);
  return read_of(in_block(address(ticket), 0));
}
// This block has left what the next cluster goes on with; it waits for all blocks of the one before.
__device__ void leave(u32* counter) {
  __syncthreads();
  if (threadIdx.x == 0) show(counter);
}
__device__ void wait_for_left(u32* counter) {
  if (threadIdx.x == 0)
    while (seen(counter) < BLOCKS) {}
  __syncthreads();
}

#if FORWARD && ROWS == 16

constexpr int SHARES = 2 / PAIRS;       // of the places of a sum, each multiplied by a warp of its own
constexpr int PIECES = H / 16 / SHARES;  // of 16 places, that a warp multiplies
constexpr bool BY_ENGINE = UNITS > 32;  // states travel by the copy engine: measured faster

struct Memory {
  u16 states[2][H / 8][EIGHT];
  float2 halves[2][4][3][32];           // sums of one half of the places, for the warp that has the other
  Floats own[THREADS];                  // each thread's state, unrounded
  int lengths[ROWS];
  float bias[4][UNITS];
  u64 barriers[2];
  u32 ticket;
};

KERNEL gru_forward(const u16* __restrict__ projected, const u16* __restrict__ initial, const u16* __restrict__ weight,
                   const float* __restrict__ bias, const int* __restrict__ lengths, u16* outputs, u16* final, u16* before,
                   u16* gates, float* carried, u32* counters, int batch_size, int steps, int directions) {
  static_assert(sizeof(Memory) == SHARED);
  Memory& memory = *(Memory*)shared_memory();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, eighth = lane / 4, q = lane % 4;
  const int span = warp / SHARES, half = warp % SHARES;  // a warp's 8 units, and its share of the places
  const int block = blockIdx.x % BLOCKS, clusters = gridDim.x / BLOCKS, groups = (batch_size + ROWS - 1) / ROWS;
  const int first = block * UNITS + span * 8, own_row = 8 * half + eighth;
  const int unit = first + 2 * q, slot = unit % UNITS;  // this thread has two units of one row, or of two, 8 apart
  const int given = 8 * half + lane % (8 * PAIRS);  // the row that this lane gives to others
  const u32 factors = address(&memory.states[0][half * 2 * PIECES + lane / 16][(lane + 8 * half) % 16 * 8]);  // own rows first
  const u32 barriers = address(memory.barriers);
  const int ticket = ticket_of(&memory.ticket, counters, barriers), all = groups * directions * steps;
  const int share = (all + clusters - 1) / clusters, begin = ticket * share;  // of the line
  int sent = 0;
#pragma unroll 1
  for (int end = min(begin + share, all); end > begin;) {
    const Stretch stretch = last_of(begin, end, steps, groups);
    const int direction = stretch.direction, from = stretch.from, to = stretch.to;
    end -= to - from;
    const int first_row = stretch.group * ROWS, number = sent - from;  // of the states that a step multiplies, less the step
    const u16* starts = initial + (size_t)direction * batch_size * H;
    const float* left = carried + (size_t)(ticket - 1) * ROWS * H;
    if (from) wait_for_left(counters + ticket);

    uint2 weights[PIECES][3];
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++)
#pragma unroll
      for (int gate = 0; gate < 3; gate++) {
        const int column = first + eighth;
        const u16* w = weight + ((size_t)(direction * 3 + gate) * H + column) * H + (half * PIECES + piece) * 16 + q * 2;
        weights[piece][gate] = make_uint2(*(const u32*)w, *(const u32*)(w + 8));
      }
    for (int i = threadIdx.x; i < ROWS * H / 8; i += THREADS) {
      const int eight = i / ROWS, of = i % ROWS, row = min(first_row + of, batch_size - 1);
      const float* those = left + of * H + eight * 8;
      *(uint4*)&memory.states[sent % 2][eight][of * 8] =
          from ? make_uint4(pack(those[0], those[1]), pack(those[2], those[3]), pack(those[4], those[5]), pack(those[6], those[7]))
               : *(const uint4*)(starts + (size_t)row * H + eight * 8);
    }
    for (int i = threadIdx.x; i < 4 * UNITS; i += THREADS)
      memory.bias[i / UNITS][i % UNITS] = bias[(direction * 4 + i / UNITS) * H + block * UNITS + i % UNITS];
    for (int i = threadIdx.x; i < ROWS; i += THREADS) memory.lengths[i] = lengths[min(first_row + i, batch_size - 1)];
    for (int pair = 0; pair < PAIRS; pair++) {
      const int row = min(first_row + own_row + 8 * pair, batch_size - 1);
      const float* those = left + (own_row + 8 * pair) * H + unit;
      const u32 start = *(const u32*)(starts + (size_t)row * H + unit);
      memory.own[threadIdx.x].of[2 * pair] = from ? those[0] : low(start);
      memory.own[threadIdx.x].of[2 * pair + 1] = from ? those[1] : high(start);
    }
    __syncthreads();

    const int places = steps * directions, onward = direction ? -directions : directions;  // of a row; to the next step
    const int beginning = direction ? places - 1 : 0;
    auto is_live = [&](int pair) { return first_row + own_row + 8 * pair < batch_size; };
    auto place_of = [&](int step) {  // of the first row
      return (long long)(first_row + own_row) * places + (beginning + step * onward);
    };
    const long long apart = (long long)8 * places * H;  // from the first row's outputs to the second's
    Owned x[3] = {};
    auto load = [&](int step) {
      const u16* from = projected + place_of(step) * 3 * H + unit;
      for (int pair = 0; pair < PAIRS; pair++)
        if (is_live(pair))
          for (int gate = 0; gate < 3; gate++) x[gate].pair[pair] = *(const u32*)(from + pair * 3 * apart + gate * H);
    };
    load(from);
#pragma unroll 1
    for (int step = from; step < to; step++) {
      const u32 next = (step + number + 1) % 2, now = (step + number) % 2;
      Floats h = memory.own[threadIdx.x];
      if (step > from) wait(barriers + now * 8, (step + number - 1) / 2 % 2);
      float sums[3][4] = {};
#pragma unroll
      for (int piece = 0; piece < PIECES; piece++) {
        const uint4 states_of_16 = matrices(factors + now * sizeof(memory.states[0]) + piece * 4 * EIGHT);
#pragma unroll
        for (int gate = 0; gate < 3; gate++)
          multiply(sums[gate], states_of_16, weights[piece][gate]);
      }
      if (SHARES > 1) {
#pragma unroll
        for (int gate = 0; gate < 3; gate++)  // give away the rows of the other half, and take its sums of these
          memory.halves[half][span][gate][lane] = make_float2(sums[gate][2], sums[gate][3]);
        meet_in_pairs(span);
#pragma unroll
        for (int gate = 0; gate < 3; gate++) {
          const float2 others = memory.halves[1 - half][span][gate][lane];
          sums[gate][0] += others.x, sums[gate][1] += others.y;
        }
      }
      u32 last[PAIRS], made[PAIRS], out[PAIRS], kept[OWN][2];
#pragma unroll
      for (int pair = 0; pair < PAIRS; pair++) {
        const bool valid = (direction ? steps - 1 - step : step) < memory.lengths[own_row + 8 * pair];
        last[pair] = pack(h.of[2 * pair], h.of[2 * pair + 1]);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int mine = 2 * pair + i;
          const float r = sigmoid(number_of(x[0], mine) + sums[0][mine] + memory.bias[0][slot + i]);
          const float z = sigmoid(number_of(x[1], mine) + sums[1][mine] + memory.bias[1][slot + i]);
          const float h_n = sums[2][mine] + memory.bias[3][slot + i];
          const float n = tanh_of(number_of(x[2], mine) + memory.bias[2][slot + i] + r * h_n);
          if (valid) h.of[mine] = n + z * (h.of[mine] - n);
          kept[mine][0] = pack(r, z), kept[mine][1] = pack(n, h_n);
        }
        made[pair] = pack(h.of[2 * pair], h.of[2 * pair + 1]);
        out[pair] = valid ? made[pair] : 0;
      }
      if (step + 1 < to) {
        const u32 barrier = barriers + next * 8;
        auto& eight = memory.states[next][first / 8];
        for (int pair = 0; pair < PAIRS; pair++) *(u32*)&eight[(own_row + 8 * pair) * 8 + 2 * q] = made[pair];
        if (BY_ENGINE) show_written();
        meet_in_warp();
        if (!BY_ENGINE) {
          const u32 place = address(&eight[given * 8]);
          const uint4 data = *(const uint4*)&eight[given * 8];
#pragma unroll
          for (int i = 0; i < BLOCKS * PAIRS / 4; i++) {
            const u32 other = i * (4 / PAIRS) + lane / (8 * PAIRS);
            send(in_block(place, other), in_block(barrier, other), data);
          }
        } else if (lane == block) {
          arrived(barrier, 8 * PAIRS * 8 * 2);
        } else if (lane < BLOCKS) {
          const u32 from = address(&eight[8 * half * 8]);
          send_by_engine<8 * PAIRS * 8 * 2>(in_block(from, lane), in_block(barrier, lane), from);
        }
      }
      // While the states are on their way: all that nobody waits for.
      memory.own[threadIdx.x] = h;
      if (step + 1 < to) load(step + 1);
      const long long place_now = place_of(step), at = place_now * H + unit;
#pragma unroll
      for (int pair = 0; pair < PAIRS; pair++) {
        if (!is_live(pair)) continue;
        if (step + EARLY < to && q == 0 && span < 3)
          ask_for(projected + ((place_now + EARLY * onward) * 3 + span) * H + unit + pair * 3 * apart);
        *(u32*)(outputs + at + pair * apart) = out[pair];
#if TRAINS
        *(u32*)(before + at + pair * apart) = last[pair];
        *(uint4*)(gates + (at + pair * apart) * 4) =
            make_uint4(kept[2 * pair][0], kept[2 * pair][1], kept[2 * pair + 1][0], kept[2 * pair + 1][1]);
#endif
      }
    }
    const Floats h = memory.own[threadIdx.x];
    for (int pair = 0; pair < PAIRS; pair++)
      if (to < steps)
        *(float2*)(carried + ((size_t)ticket * ROWS + own_row + 8 * pair) * H + unit) = make_float2(h.of[2 * pair], h.of[2 * pair + 1]);
      else if (is_live(pair))
        *(u32*)(final + ((size_t)direction * batch_size + first_row + own_row + 8 * pair) * H + unit) =
            pack(h.of[2 * pair], h.of[2 * pair + 1]);
    if (to < steps) leave(counters + 1 + ticket);
    sent += to - from - 1;
    meet();
  }
}

#elif !FORWARD && ROWS == 16

constexpr int PARTS = H / 256;          // of 32 columns, that a warp multiplies
constexpr int PIECES = 3 * UNITS / 16;  // of 16 gates of this block
constexpr bool PREPARES_LAST = UNITS > 32;  // a step ends with the next one's slopes: measured faster for 64 units

struct Memory {
  u16 sums[2][BLOCKS][ROWS][UNITS];     // what the blocks of the cluster add to this block's units
  u16 slopes[2][4 * UNITS / 8][EIGHT];  // of r, z, W_hn h + b_hn and n
  Floats bias[4][THREADS];              // each thread's sums over the steps
  Floats own[THREADS];                  // each thread's gradients of the state
  u64 barriers[2];
  u32 ticket;
};
constexpr int CARRIED = 4 + 1;  // the sums and the gradients of each thread

KERNEL gru_backward(const u16* __restrict__ weight, const int* __restrict__ lengths, const u16* __restrict__ before,
                    const u16* __restrict__ gates, const u16* __restrict__ d_outputs, const u16* __restrict__ d_final,
                    u16* d_projected, u16* d_recurrent, float* d_bias, u16* d_initial, float* carried, u32* counters,
                    int batch_size, int steps, int directions) {
  static_assert(sizeof(Memory) == SHARED);
  Memory& memory = *(Memory*)shared_memory();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, eighth = lane / 4, q = lane % 4;
  const int block = blockIdx.x % BLOCKS, clusters = gridDim.x / BLOCKS, groups = (batch_size + ROWS - 1) / ROWS;
  const int local = threadIdx.x / 16, own = OWN * (threadIdx.x % 16), unit = block * UNITS + own;  // this thread's
  const u32 factors = address(&memory.slopes[0][lane / 16][lane % 16 * 8]);
  u32 places[PARTS], theirs[PARTS];
  const u32 barriers = address(memory.barriers);
  for (int part = 0; part < PARTS; part++) {
    const int column = (warp * PARTS + part) * 32, owner = column / UNITS;
    places[part] = in_block(address(&memory.sums[0][block][eighth][column % UNITS + q * 8]), owner);
    theirs[part] = in_block(barriers, owner);
  }
  const int ticket = ticket_of(&memory.ticket, counters, barriers), all = groups * directions * steps;
  const int share = (all + clusters - 1) / clusters, begin = ticket * share;  // of the line
  int sent = 0;
#pragma unroll 1
  for (int end = min(begin + share, all); end > begin;) {
    const Stretch stretch = last_of(begin, end, steps, groups);
    const int direction = stretch.direction, from = stretch.from, to = stretch.to;
    end -= to - from;
    const int first_row = stretch.group * ROWS, number = sent - from;  // of the sums that a step sends, less the step
    sent += to - from;

    uint2 weights[PARTS][4][PIECES];
#pragma unroll
    for (int part = 0; part < PARTS; part++)
#pragma unroll
      for (int tile = 0; tile < 4; tile++)
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
          const int gate = piece / (UNITS / 16), from = block * UNITS + piece % (UNITS / 16) * 16 + q * 2;
          const int column = (warp * PARTS + part) * 32 + 8 * (eighth / 2) + 2 * tile + eighth % 2;
          const u16* w = weight + ((size_t)(direction * 3 + gate) * H + from) * H + column;
          weights[part][tile][piece] = make_uint2(w[0] | (u32)w[H] << 16, w[8 * H] | (u32)w[9 * H] << 16);
        }

    const int row = min(first_row + local, batch_size - 1);
    const bool is_live = first_row + local < batch_size;
    if (from) {
      wait_for_left(counters + ticket);
      const Floats* left = (const Floats*)carried + ((size_t)(ticket - 1) * BLOCKS + block) * CARRIED * THREADS + threadIdx.x;
      for (int gate = 0; gate < 4; gate++) memory.bias[gate][threadIdx.x] = left[gate * THREADS];
      memory.own[threadIdx.x] = left[4 * THREADS];
    } else {
      const Owned start = read(d_final + ((size_t)direction * batch_size + row) * H + unit);
      for (int i = 0; i < OWN; i++) memory.own[threadIdx.x].of[i] = number_of(start, i);
      for (int gate = 0; gate < 4; gate++) memory.bias[gate][threadIdx.x] = Floats();
    }

    uint4 kept[PAIRS];
    Owned state, d_out;
    int length;
    auto place_of = [&](int step) {
      return (((long long)row * steps + (direction ? step : steps - 1 - step)) * directions + direction) * H + unit;
    };
    auto load = [&](int step) {
      const long long from = place_of(step);
      for (int pair = 0; pair < PAIRS; pair++) kept[pair] = *(const uint4*)(gates + (from + 2 * pair) * 4);
      state = read(before + from), d_out = read(d_outputs + from);
      length = is_live ? lengths[row] : 0;
    };
    auto gather = [&](int sums) {  // the gradients before a step, once all of the cluster has multiplied
      Floats d_h = memory.own[threadIdx.x];
      wait(barriers + sums % 2 * 8, sums / 2 % 2);
#pragma unroll
      for (int of = 0; of < BLOCKS; of++) {
        const Owned sum = read(&memory.sums[sums % 2][of][local][own]);
        for (int i = 0; i < OWN; i++) d_h.of[i] += number_of(sum, i);
      }
      return d_h;
    };
    auto prepare = [&](int step) {  // the slopes of a step
      const bool valid = (direction ? step : steps - 1 - step) < length;
      Floats d_h = step > from ? gather(step + number - 1) : memory.own[threadIdx.x];
      Owned made[4];
#pragma unroll
      for (int pair = 0; pair < PAIRS; pair++) {
        float slope[4][2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int mine = 2 * pair + i;
          const u32 r_z = i ? kept[pair].z : kept[pair].x, n_h = i ? kept[pair].w : kept[pair].y;
          const float r = low(r_z), z = high(r_z), n = low(n_h), h_n = high(n_h);
          const float d_step = valid ? d_h.of[mine] + number_of(d_out, mine) : 0.f;
          const float d_n = d_step * (1.f - z) * (1.f - n * n);
          slope[0][i] = d_n * h_n * r * (1.f - r);
          slope[1][i] = d_step * (number_of(state, mine) - n) * z * (1.f - z);
          slope[2][i] = d_n * r;
          slope[3][i] = d_n;
          if (valid) d_h.of[mine] = d_step * z;
        }
        for (int gate = 0; gate < 4; gate++) made[gate].pair[pair] = pack(slope[gate][0], slope[gate][1]);
      }
      for (int gate = 0; gate < 4; gate++) {
        auto& eight = memory.slopes[(step + number) % 2][(gate * UNITS + own) / 8];
        *(Owned*)&eight[local * 8 + own % 8] = made[gate];
      }
      memory.own[threadIdx.x] = d_h;
      __syncthreads();
    };
    load(from);
    if (PREPARES_LAST) prepare(from);
#pragma unroll 1
    for (int step = from; step < to; step++) {
      if (!PREPARES_LAST) prepare(step);
      const u32 buffer = (step + number) % 2;
#pragma unroll
      for (int part = 0; part < PARTS; part++) {
        float sums[4][4] = {};
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
          const uint4 gates_of_16 = matrices(factors + buffer * sizeof(memory.slopes[0]) + piece * 4 * EIGHT);
#pragma unroll
          for (int tile = 0; tile < 4; tile++) multiply(sums[tile], gates_of_16, weights[part][tile][piece]);
        }
#pragma unroll
        for (int i = 0; i < 2; i++)  // the two rows of this lane, 8 columns each
          send(places[part] + buffer * sizeof(memory.sums[0]) + i * 8 * UNITS * 2, theirs[part] + buffer * 8,
               make_uint4(pack(sums[0][2 * i], sums[0][2 * i + 1]), pack(sums[1][2 * i], sums[1][2 * i + 1]),
                          pack(sums[2][2 * i], sums[2][2 * i + 1]), pack(sums[3][2 * i], sums[3][2 * i + 1])));
      }
      // While the sums are on their way: the next inputs, and all that nobody waits for.
      const long long of_gates = (place_of(step) - unit) * 3 + unit;
      if (step + EARLY < to) {
        const long long early = place_of(step + EARLY);
        if (threadIdx.x % (2 / PAIRS) == 0) ask_for(gates + early * 4);
        if (threadIdx.x % (8 / PAIRS) == 0) ask_for(before + early), ask_for(d_outputs + early);
      }
      if (step + 1 < to) load(step + 1);
#pragma unroll
      for (int gate = 0; gate < 4; gate++) {
        const Owned slope = *(const Owned*)&memory.slopes[buffer][(gate * UNITS + own) / 8][local * 8 + own % 8];
        for (int i = 0; i < OWN; i++) memory.bias[gate][threadIdx.x].of[i] += number_of(slope, i);
        if (is_live && gate != 2) *(Owned*)(d_projected + of_gates + min(gate, 2) * H) = slope;
        if (is_live && gate != 3) *(Owned*)(d_recurrent + of_gates + gate * H) = slope;
      }
      if (PREPARES_LAST && step + 1 < to) prepare(step + 1);
    }
    const Floats d_h = gather(to - 1 + number);
    if (to < steps) {
      Floats* leaves = (Floats*)carried + ((size_t)ticket * BLOCKS + block) * CARRIED * THREADS + threadIdx.x;
      for (int gate = 0; gate < 4; gate++) leaves[gate * THREADS] = memory.bias[gate][threadIdx.x];
      leaves[4 * THREADS] = d_h;
      leave(counters + 1 + ticket);
    } else {
      Owned end;
      for (int pair = 0; pair < PAIRS; pair++) end.pair[pair] = pack(d_h.of[2 * pair], d_h.of[2 * pair + 1]);
      if (is_live) *(Owned*)(d_initial + ((size_t)direction * batch_size + row) * H + unit) = end;
      __syncthreads();
      for (int i = threadIdx.x; i < 4 * UNITS; i += THREADS) {
        const int gate = i / UNITS, mine = i % UNITS;
        float sum = 0.f;
        for (int of = 0; of < ROWS; of++) sum += memory.bias[gate][of * 16 + mine / OWN].of[mine % OWN];
        d_bias[(((size_t)direction * groups + stretch.group) * 4 + IN_ORDER(gate)) * H + block * UNITS + mine] = sum;
      }
    }
    meet();
  }
}

#endif
