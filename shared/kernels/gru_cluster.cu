// All steps of a GRU layer as one launch forward and one backward, by clusters of thread blocks. What the arrays hold is
// told in gru.py, for whose kernels these stand in; the gates kept for the backward pass lie unit by unit here: r, z, n
// and W_hn h + b_hn.
//
// A cluster owns 16 rows of the batch in one direction, or several times as many that take turns. Each of its blocks owns
// 32 or 64 units, whose weights stay in registers. After every step a block writes what the others need into their
// shared memory (st.async), which counts the bytes that arrive on a barrier of theirs: nobody waits for more than the
// data, and while that of some rows is on its way, others are multiplied. The GPU starts the blocks of a cluster together.
//
// Two buffers are enough. Data of a step overwrites that of two steps before; a block sends it after all data of the step
// between has come, and every warp of the others sent its part of that after its last look at what is overwritten.
//
// Compiled FORWARD or not, for H (256 or 512), the UNITS of a block, HALF (1 for float16, 0 for bfloat16), TURNS of 16
// rows, TRAINS and SHARED bytes, without contraction of products and sums into one operation, so that every assembler
// makes the same numbers.

constexpr int BLOCKS = H / UNITS, ROWS = 16, THREADS = 256;
constexpr int PAIRS = UNITS / 32;       // of neighbouring units in one row, that a thread owns
constexpr int OWN = 2 * PAIRS;          // units of a thread
constexpr u32 BYTES = ROWS * H * 2;     // that come into a block at every step
constexpr int EIGHT = ROWS * 8 + 8;     // eight units of all rows, and a gap that spreads them over the banks
constexpr int RESIDENT = UNITS > 32 ? 1 : 2;  // blocks on a multiprocessor

#define KERNEL extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(THREADS, RESIDENT)

struct alignas(4 * OWN) Floats {   // of a thread's units
  float of[OWN];
};
struct alignas(4 * PAIRS) Owned {  // two to a word
  u32 pair[PAIRS];
};
__device__ Owned read(const u16* from) { return *(const Owned*)from; }
__device__ float number(const Owned& owned, int unit) { return unit & 1 ? high(owned.pair[unit / 2]) : low(owned.pair[unit / 2]); }


__device__ float tanh_of(float x) { return 2.f * sigmoid(2.f * x) - 1.f; }

__device__ void wait(u32 barrier, u32 parity) {
  while (!is_there(barrier, parity)) {}
  if (threadIdx.x == 0) expect(barrier, BYTES);  // the data of two steps later
}
__device__ void set_up(u32 barriers) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2 * TURNS; i++) start(barriers + 8 * i);
    show_started();
    for (int i = 0; i < 2 * TURNS; i++) expect(barriers + 8 * i, BYTES);
  }
  __syncthreads();
  meet();
}

#if FORWARD

constexpr int PIECES = H / 32;          // of 16 places of the sum, that a warp multiplies: it takes one half of them

struct Memory {
  u16 states[TURNS][2][H / 8][EIGHT];
  float2 halves[TURNS > 1 ? 2 : 1][2][4][3][PAIRS][32];  // sums of one half of the places, for the warp that has the other
  Floats own[TURNS][THREADS];           // each thread's state, unrounded
  Owned inputs[3][THREADS];             // each thread's, of the next step
  int lengths[TURNS * ROWS];
  float bias[4][UNITS];
  u64 barriers[TURNS][2];
};

KERNEL gru_forward(const u16* __restrict__ projected, const u16* __restrict__ initial, const u16* __restrict__ weight,
                   const float* __restrict__ bias, const int* __restrict__ lengths, u16* outputs, u16* final, u16* before,
                   u16* gates, int batch_size, int steps, int directions) {
  static_assert(sizeof(Memory) == SHARED);
  Memory& memory = *(Memory*)shared_memory();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, eighth = lane / 4, q = lane % 4;
  const int span = warp % 4, half = warp / 4;  // a warp's 8 x PAIRS units, and its half of the places
  const int cluster = blockIdx.x / BLOCKS, block = blockIdx.x % BLOCKS, groups = gridDim.x / BLOCKS / directions;
  const int direction = cluster / groups, first_row = cluster % groups * ROWS * TURNS;
  const int first = block * UNITS + span * 8 * PAIRS;
  const int local = eighth + 8 * half, unit = first + OWN * q, slot = unit % UNITS;  // this thread's row and units

  uint2 weights[PIECES][3][PAIRS];
#pragma unroll
  for (int piece = 0; piece < PIECES; piece++)
#pragma unroll
    for (int gate = 0; gate < 3; gate++)
#pragma unroll
      for (int pair = 0; pair < PAIRS; pair++) {
        const int column = first + OWN * (eighth / 2) + 2 * pair + eighth % 2;
        const u16* w = weight + ((size_t)(direction * 3 + gate) * H + column) * H + (half * PIECES + piece) * 16 + q * 2;
        weights[piece][gate][pair] = make_uint2(*(const u32*)w, *(const u32*)(w + 8));
      }
  const u16* starts = initial + (size_t)direction * batch_size * H;
  for (int i = threadIdx.x; i < TURNS * ROWS * H / 8; i += THREADS) {
    const int eight = i / (TURNS * ROWS), of = i % (TURNS * ROWS), row = min(first_row + of, batch_size - 1);
    *(uint4*)&memory.states[of / ROWS][0][eight][of % ROWS * 8] = *(const uint4*)(starts + (size_t)row * H + eight * 8);
  }
  for (int i = threadIdx.x; i < 4 * UNITS; i += THREADS)
    memory.bias[i / UNITS][i % UNITS] = bias[(direction * 4 + i / UNITS) * H + block * UNITS + i % UNITS];
  for (int i = threadIdx.x; i < TURNS * ROWS; i += THREADS) memory.lengths[i] = lengths[min(first_row + i, batch_size - 1)];
  auto row_of = [&](int turn) { return min(first_row + turn * ROWS + local, batch_size - 1); };
  for (int turn = 0; turn < TURNS; turn++) {
    const Owned start = read(starts + (size_t)row_of(turn) * H + unit);
    for (int i = 0; i < OWN; i++) memory.own[turn][threadIdx.x].of[i] = number(start, i);
  }
  const u32 place = address(&memory.states[0][0][unit / 8][local * 8]);
  const u32 factors = address(&memory.states[0][0][half * 2 * PIECES + lane / 16][lane % 16 * 8]);
  const u32 barriers = address(memory.barriers);
  set_up(barriers);

  const u32 inputs = address(&memory.inputs[0][threadIdx.x]);
  auto place_of = [&](int step, int turn) {
    return ((long long)row_of(turn) * steps + (direction ? steps - 1 - step : step)) * directions + direction;
  };
  auto load = [&](int step, int turn) {
    const u16* from = projected + place_of(step, turn) * 3 * H + unit;
    for (int gate = 0; gate < 3; gate++) copy<sizeof(Owned)>(inputs + gate * sizeof(memory.inputs[0]), from + gate * H);
  };
  load(0, 0);
  int step = 0, turn = 0;
#pragma unroll 1
  for (int number_of = 0; number_of < steps * TURNS; number_of++) {
    const u32 here = barriers + turn * 16;
    Floats h = memory.own[turn][threadIdx.x];
    if (step) wait(here + step % 2 * 8, (step - 1) / 2 % 2);
    float sums[3][PAIRS][4] = {};
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) {
      const uint4 states_of_16 = matrices(factors + (turn * 2 + step % 2) * sizeof(memory.states[0][0]) + piece * 4 * EIGHT);
#pragma unroll
      for (int gate = 0; gate < 3; gate++)
#pragma unroll
        for (int pair = 0; pair < PAIRS; pair++) multiply(sums[gate][pair], states_of_16, weights[piece][gate][pair]);
    }
    auto& halves = memory.halves[TURNS > 1 ? number_of % 2 : 0];
#pragma unroll
    for (int gate = 0; gate < 3; gate++)  // give away the rows of the other half, and take its sums of these
#pragma unroll
      for (int pair = 0; pair < PAIRS; pair++) {
        float* sum = sums[gate][pair];
        halves[half][span][gate][pair][lane] = half ? make_float2(sum[0], sum[1]) : make_float2(sum[2], sum[3]);
        if (half) sum[0] = sum[2], sum[1] = sum[3];
      }
    await_copies();
    Owned x[3];
    for (int gate = 0; gate < 3; gate++) x[gate] = memory.inputs[gate][threadIdx.x];
    const int length = memory.lengths[turn * ROWS + local];
    meet_in_pairs(span);

    const bool valid = (direction ? steps - 1 - step : step) < length;
    Owned last, now, out;
    u32 kept[OWN][2];
#pragma unroll
    for (int pair = 0; pair < PAIRS; pair++) {
      float2 sum[3];
#pragma unroll
      for (int gate = 0; gate < 3; gate++) {
        const float2 others = halves[1 - half][span][gate][pair][lane];
        sum[gate] = make_float2(sums[gate][pair][0] + others.x, sums[gate][pair][1] + others.y);
      }
      last.pair[pair] = pack(h.of[2 * pair], h.of[2 * pair + 1]);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int mine = 2 * pair + i;
        const float r = sigmoid(number(x[0], mine) + (i ? sum[0].y : sum[0].x) + memory.bias[0][slot + mine]);
        const float z = sigmoid(number(x[1], mine) + (i ? sum[1].y : sum[1].x) + memory.bias[1][slot + mine]);
        const float h_n = (i ? sum[2].y : sum[2].x) + memory.bias[3][slot + mine];
        const float n = tanh_of(number(x[2], mine) + memory.bias[2][slot + mine] + r * h_n);
        if (valid) h.of[mine] = n + z * (h.of[mine] - n);
        kept[mine][0] = pack(r, z), kept[mine][1] = pack(n, h_n);
      }
      now.pair[pair] = pack(h.of[2 * pair], h.of[2 * pair + 1]);
      out.pair[pair] = valid ? now.pair[pair] : 0;
    }
    u32 eight[4];  // units of this row, from the lanes that have them
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int from = PAIRS == 2 ? (lane & ~1) + i / 2 : (lane & ~3) + i;
      eight[i] = of_lane(now.pair[i % PAIRS], from);
    }
    if (step + 1 < steps) {
      const u32 next = (step + 1) % 2, to = place + (turn * 2 + next) * sizeof(memory.states[0][0]);
#pragma unroll
      for (int i = 0; i < BLOCKS * PAIRS / 4; i++) {
        const u32 other = i * (4 / PAIRS) + q % (4 / PAIRS);
        send(in_block(to, other), in_block(here + next * 8, other), make_uint4(eight[0], eight[1], eight[2], eight[3]));
      }
    }
    // While the states are on their way: all that nobody waits for.
    memory.own[turn][threadIdx.x] = h;
    const long long at = place_of(step, turn) * H + unit;
    const bool live = first_row + turn * ROWS + local < batch_size;
    if (++turn == TURNS) turn = 0, step++;
    if (step < steps) load(step, turn);
    if (!live) continue;
    *(Owned*)(outputs + at) = out;
#if TRAINS
    *(Owned*)(before + at) = last;
#pragma unroll
    for (int pair = 0; pair < PAIRS; pair++)
      *(uint4*)(gates + (at + 2 * pair) * 4) =
          make_uint4(kept[2 * pair][0], kept[2 * pair][1], kept[2 * pair + 1][0], kept[2 * pair + 1][1]);
#endif
  }
  for (int turn = 0; turn < TURNS; turn++) {
    const int row = first_row + turn * ROWS + local;
    const Floats h = memory.own[turn][threadIdx.x];
    Owned end;
    for (int pair = 0; pair < PAIRS; pair++) end.pair[pair] = pack(h.of[2 * pair], h.of[2 * pair + 1]);
    if (row < batch_size) *(Owned*)(final + ((size_t)direction * batch_size + row) * H + unit) = end;
  }
  meet();
}

#else

constexpr int PARTS = H / 256;          // of 32 columns, that a warp multiplies
constexpr int PIECES = 3 * UNITS / 16;  // of 16 gates of this block
constexpr int EARLY = 4;                // steps from asking for a line of the inputs to its use

struct Memory {
  u16 sums[TURNS][2][BLOCKS][ROWS][UNITS];  // what the blocks of the cluster add to this block's units
  u16 slopes[TURNS > 1 ? 2 : 1][4 * UNITS / 8][EIGHT];  // of r, z, W_hn h + b_hn and n
  Floats bias[4][THREADS];              // each thread's sums over the steps
  Floats own[TURNS][THREADS];           // each thread's gradients of the state
  u64 barriers[TURNS][2];
};
__device__ constexpr int IN_ORDER(int gate) { return gate < 2 ? gate : 5 - gate; }  // r, z, n and W_hn h + b_hn

KERNEL gru_backward(const u16* __restrict__ weight, const int* __restrict__ lengths, const u16* __restrict__ before,
                    const u16* __restrict__ gates, const u16* __restrict__ d_outputs, const u16* __restrict__ d_final,
                    u16* d_projected, u16* d_recurrent, float* d_bias, u16* d_initial, int batch_size, int steps,
                    int directions) {
  static_assert(sizeof(Memory) == SHARED);
  Memory& memory = *(Memory*)shared_memory();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, eighth = lane / 4, q = lane % 4;
  const int cluster = blockIdx.x / BLOCKS, block = blockIdx.x % BLOCKS, groups = gridDim.x / BLOCKS / directions;
  const int direction = cluster / groups, first_row = cluster % groups * ROWS * TURNS;
  const int local = threadIdx.x / 16, own = OWN * (threadIdx.x % 16), unit = block * UNITS + own;  // this thread's

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

  auto row_of = [&](int turn) { return min(first_row + turn * ROWS + local, batch_size - 1); };
  auto is_live = [&](int turn) { return first_row + turn * ROWS + local < batch_size; };
  for (int turn = 0; turn < TURNS; turn++) {
    const Owned start = read(d_final + ((size_t)direction * batch_size + row_of(turn)) * H + unit);
    for (int i = 0; i < OWN; i++) memory.own[turn][threadIdx.x].of[i] = number(start, i);
  }
  for (int gate = 0; gate < 4; gate++) memory.bias[gate][threadIdx.x] = Floats();
  const u32 factors = address(&memory.slopes[0][lane / 16][lane % 16 * 8]);
  u32 places[PARTS], theirs[PARTS];
  const u32 barriers = address(memory.barriers);
  for (int part = 0; part < PARTS; part++) {
    const int column = (warp * PARTS + part) * 32, owner = column / UNITS;
    places[part] = in_block(address(&memory.sums[0][0][block][eighth][column % UNITS + q * 8]), owner);
    theirs[part] = in_block(barriers, owner);
  }
  set_up(barriers);

  uint4 kept[PAIRS];
  Owned state, d_out;
  int length;
  auto place_of = [&](int step, int turn) {
    return (((long long)row_of(turn) * steps + (direction ? step : steps - 1 - step)) * directions + direction) * H + unit;
  };
  auto load = [&](int step, int turn) {
    const long long from = place_of(step, turn);
    for (int pair = 0; pair < PAIRS; pair++) kept[pair] = *(const uint4*)(gates + (from + 2 * pair) * 4);
    state = read(before + from), d_out = read(d_outputs + from);
    length = is_live(turn) ? lengths[row_of(turn)] : 0;
  };
  auto gather = [&](int step, int turn) {  // the gradients before a step, once all of the cluster has multiplied
    Floats d_h = memory.own[turn][threadIdx.x];
    wait(barriers + turn * 16 + step % 2 * 8, step / 2 % 2);
#pragma unroll
    for (int from = 0; from < BLOCKS; from++) {
      const Owned sum = read(&memory.sums[turn][step % 2][from][local][own]);
      for (int i = 0; i < OWN; i++) d_h.of[i] += number(sum, i);
    }
    return d_h;
  };
  load(0, 0);
  int step = 0, turn = 0;
#pragma unroll 1
  for (int number_of = 0; number_of < steps * TURNS; number_of++) {
    const bool valid = (direction ? step : steps - 1 - step) < length;
    Floats d_h = step ? gather(step - 1, turn) : memory.own[turn][threadIdx.x];
    const int of_slopes = TURNS > 1 ? number_of % 2 : 0;
    auto& slopes = memory.slopes[of_slopes];
    Owned made[4];
#pragma unroll
    for (int pair = 0; pair < PAIRS; pair++) {
      float slope[4][2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int mine = 2 * pair + i;
        const u32 r_z = i ? kept[pair].z : kept[pair].x, n_h = i ? kept[pair].w : kept[pair].y;
        const float r = low(r_z), z = high(r_z), n = low(n_h), h_n = high(n_h);
        const float d_step = valid ? d_h.of[mine] + number(d_out, mine) : 0.f;
        const float d_n = d_step * (1.f - z) * (1.f - n * n);
        slope[0][i] = d_n * h_n * r * (1.f - r);
        slope[1][i] = d_step * (number(state, mine) - n) * z * (1.f - z);
        slope[2][i] = d_n * r;
        slope[3][i] = d_n;
        if (valid) d_h.of[mine] = d_step * z;
      }
      for (int gate = 0; gate < 4; gate++) made[gate].pair[pair] = pack(slope[gate][0], slope[gate][1]);
    }
    for (int gate = 0; gate < 4; gate++) *(Owned*)&slopes[(gate * UNITS + own) / 8][local * 8 + own % 8] = made[gate];
    memory.own[turn][threadIdx.x] = d_h;
    __syncthreads();
    const u32 buffer = turn * 2 + step % 2;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
      float sums[4][4] = {};
#pragma unroll
      for (int piece = 0; piece < PIECES; piece++) {
        const uint4 gates_of_16 = matrices(factors + of_slopes * sizeof(slopes) + piece * 4 * EIGHT);
#pragma unroll
        for (int tile = 0; tile < 4; tile++) multiply(sums[tile], gates_of_16, weights[part][tile][piece]);
      }
#pragma unroll
      for (int i = 0; i < 2; i++)  // the two rows of this lane, 8 columns each
        send(places[part] + buffer * sizeof(memory.sums[0][0]) + i * 8 * UNITS * 2, theirs[part] + buffer * 8,
             make_uint4(pack(sums[0][2 * i], sums[0][2 * i + 1]), pack(sums[1][2 * i], sums[1][2 * i + 1]),
                        pack(sums[2][2 * i], sums[2][2 * i + 1]), pack(sums[3][2 * i], sums[3][2 * i + 1])));
    }
    // While the sums are on their way: the next inputs, and all that nobody waits for.
    const long long of_gates = (place_of(step, turn) - unit) * 3 + unit;
    const bool live = is_live(turn);
    if (step + EARLY < steps) {
      const long long early = place_of(step + EARLY, turn);
      if (threadIdx.x % (2 / PAIRS) == 0) ask_for(gates + early * 4);
      if (threadIdx.x % (8 / PAIRS) == 0) ask_for(before + early), ask_for(d_outputs + early);
    }
    if (++turn == TURNS) turn = 0, step++;
    if (step < steps) load(step, turn);
#pragma unroll
    for (int gate = 0; gate < 4; gate++) {
      const Owned slope = *(const Owned*)&slopes[(gate * UNITS + own) / 8][local * 8 + own % 8];
      for (int i = 0; i < OWN; i++) memory.bias[gate][threadIdx.x].of[i] += number(slope, i);
      if (live && gate != 2) *(Owned*)(d_projected + of_gates + min(gate, 2) * H) = slope;
      if (live && gate != 3) *(Owned*)(d_recurrent + of_gates + gate * H) = slope;
    }
  }
  for (int turn = 0; turn < TURNS; turn++) {
    const Floats d_h = gather(steps - 1, turn);
    Owned end;
    for (int pair = 0; pair < PAIRS; pair++) end.pair[pair] = pack(d_h.of[2 * pair], d_h.of[2 * pair + 1]);
    if (is_live(turn)) *(Owned*)(d_initial + ((size_t)direction * batch_size + row_of(turn)) * H + unit) = end;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 4 * UNITS; i += THREADS) {
    const int gate = i / UNITS, mine = i % UNITS;
    float sum = 0.f;
    for (int of = 0; of < ROWS; of++) sum += memory.bias[gate][of * 16 + mine / OWN].of[mine % OWN];
    d_bias[((size_t)cluster * 4 + IN_ORDER(gate)) * H + block * UNITS + mine] = sum;
  }
  meet();
}

#endif
