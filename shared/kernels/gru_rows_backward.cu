// The backward pass of gru_cluster.cu for 64 rows, of which 32 take a turn: tensor cores take the transposed weights from
// registers, a quarter of them from shared memory, and the slopes of the gates from there.
//
// Four warps multiply for half of the blocks, one after the other, and send the sums from registers: of two neighbouring
// units in four rows, 16 bytes. The order of columns and rows in the tensor cores is such that a lane has them all.
//
// Three buffers of sums are enough. The sums of a turn overwrite those that were added up for the turn before. So they are
// sent after all sums of that turn have come: whoever sent these had added up. Slopes have two buffers: a warp can still
// multiply those of a turn while others make the next.
//
// A thread keeps nearly all of its 255 registers. One that goes to memory in every turn costs a tenth of the time (`STL`
// in the assembler's code).

#if !FORWARD && ROWS > 16

constexpr int SLICES = 3 * UNITS / 16, SHARED_SLICES = SLICES / 4, HELD = SLICES - SHARED_SLICES;  // of 16 gates
constexpr int WARPS = THREADS / 32, TILES = BLOCKS / (WARPS / 4);  // blocks that a warp multiplies for
constexpr int PARTS = AT_ONCE / 2 / WARPS;  // of two rows, that a warp makes
constexpr int SPREAD = AT_ONCE + 1;  // rows and a gap, for the banks
constexpr int ASKED = 32, OF_GATES = 4 * UNITS / ASKED, OF_STATES = UNITS / ASKED;  // numbers asked for at a time, 64 bytes

struct Memory {
  uint4 sums[BUFFERS][BLOCKS][AT_ONCE / 4][32];  // what the blocks of the cluster add to two units in four rows
  u16 weights[2 * SHARED_SLICES][H][8];
  u16 slopes[2][3 * UNITS / 8][SPREAD][8];  // of r, z and W_hn h + b_hn
  float2 own[TURNS][AT_ONCE][UNITS / 2];    // the gradients of this block's units
  int lengths[TURNS * AT_ONCE];
  u64 barriers[BUFFERS];
  u32 ticket;
};
// Sums are messages, numbered by their turns.
__device__ u32 parity_of(int message) { return message / BUFFERS % 2; }
// Where the tensor cores have a row: a lane that has sums of one has those of the three others of its four, too.
__device__ int place_of_row(int row) { return row / 16 * 16 + row / 4 % 4 * 2 + row % 2 + row / 2 % 2 * 8; }
// The column, of a block's 64, where the tensor cores have `place`: a lane that has sums of one has those of the next, too.
__device__ int column_of(int place) { return place / 16 * 16 + place % 8 * 2 + place / 8 % 2; }
__device__ u32 low_halves(u32 first, u32 second) { return (first & 0xffffu) | second << 16; }
__device__ u32 high_halves(u32 first, u32 second) { return first >> 16 | (second & 0xffff0000u); }

KERNEL gru_backward(const u16* __restrict__ weight, const int* __restrict__ lengths, const u16* __restrict__ before,
                    const u16* __restrict__ gates, const u16* __restrict__ d_outputs, const u16* __restrict__ d_final,
                    u16* d_projected, u16* d_recurrent, float* d_bias, u16* d_initial, float* carried, u32* counters,
                    int batch_size, int steps, int directions) {
  static_assert(sizeof(Memory) == SHARED && UNITS == 64 && AT_ONCE % (2 * WARPS) == 0);
  Memory& memory = *(Memory*)shared_memory();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, eighth = lane / 4, q = lane % 4;
  const int block = blockIdx.x % BLOCKS, clusters = gridDim.x / BLOCKS, groups = (batch_size + ROWS - 1) / ROWS;
  const int tiles = warp / 4 * TILES;            // this warp multiplies for this block and those after it
  const int unit = block * UNITS + lane * 2;     // this thread makes two units of a row
  const int in_message = warp % 4 * 8 + eighth;  // two units' place
  const u32 barriers = address(memory.barriers);
  const u64 shared_weights = described(address(memory.weights[0][tiles * UNITS]), H);
  const u64 first_slopes = described(address(memory.slopes), SPREAD);
  const int ticket = ticket_of(&memory.ticket, counters, barriers), all = groups * directions * steps;
  const int share = (all + clusters - 1) / clusters, begin = ticket * share;  // of the line
  constexpr int NUMBERS = ROWS * UNITS / 2;  // in pairs, of gradients
  auto carried_at = [&](int of) {            // this block's gradients and sums that a cluster left
    return (float2*)carried + ((size_t)of * BLOCKS + block) * (NUMBERS + 4 * THREADS);
  };
  int message = 0;
#pragma unroll 1
  for (int end = min(begin + share, all); end > begin;) {
    const Stretch stretch = last_of(begin, end, steps, groups);
    const int direction = stretch.direction, first_row = stretch.group * ROWS, to = stretch.to;
    end -= to - stretch.from;
    if (stretch.from) wait_for_left(counters + ticket);  // gradients

    const u16* all_weights = weight + ((size_t)direction * 3 * H + block * UNITS) * H;
    auto weights_of = [&](int gate) { return all_weights + (gate / UNITS * H + gate % UNITS) * H; };
    for (int i = threadIdx.x; i < 2 * SHARED_SLICES * 8 * H; i += THREADS) {
      const int place = i % H, gate = 16 * HELD + i / H;
      memory.weights[i / H / 8][place][i / H % 8] = weights_of(gate)[place / UNITS * UNITS + column_of(place % UNITS)];
    }
    for (int i = threadIdx.x; i < ROWS; i += THREADS) memory.lengths[i] = first_row + i < batch_size ? lengths[first_row + i] : 0;
    for (int i = threadIdx.x; i < NUMBERS; i += THREADS) {
      const int of = i / (UNITS / 2), pair = i % (UNITS / 2), from = min(first_row + of, batch_size - 1);
      const u32 start = *(const u32*)(d_final + ((size_t)direction * batch_size + from) * H + block * UNITS + pair * 2);
      memory.own[of / AT_ONCE][of % AT_ONCE][pair] = stretch.from ? carried_at(ticket - 1)[i] : make_float2(low(start), high(start));
    }
    float2 sums_of_bias[4];
    for (int gate = 0; gate < 4; gate++)
      sums_of_bias[gate] = stretch.from ? carried_at(ticket - 1)[NUMBERS + gate * THREADS + threadIdx.x] : make_float2(0.f, 0.f);
    uint4 weights[TILES][HELD];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
      for (int slice = 0; slice < HELD; slice++) {
        const u16* w = weights_of(slice * 16 + q * 2) + (tiles + tile) * UNITS + (warp % 4 * 8 + eighth) * 2;
        const u32 first = *(const u32*)w, second = *(const u32*)(w + H), third = *(const u32*)(w + 8 * H), fourth = *(const u32*)(w + 9 * H);
        weights[tile][slice] = make_uint4(low_halves(first, second), high_halves(first, second), low_halves(third, fourth), high_halves(third, fourth));
      }
    show_written();
    __syncthreads();

    const int places = steps * directions, onward = direction ? directions : -directions;  // of a row; to the next step
    const int beginning = direction ? 1 : (steps - 1) * directions;
    const long long apart = (long long)places * H;  // from a row's outputs to the next one's
    auto gather = [&](int message, bool is_first, int two, float2 (&d_h)[2]) {  // the gradients before the step of a message
      const int turn = message % TURNS, buffer = (message - TURNS) % BUFFERS;
      for (int i = 0; i < 2; i++) d_h[i] = memory.own[turn][two * 2 + i][lane];
      if (is_first) return;
#pragma unroll
      for (int of = 0; of < BLOCKS; of++) {
        const uint2 sum = ((const uint2*)&memory.sums[buffer][of][two / 2][lane])[two % 2];
        d_h[0].x += low(sum.x), d_h[0].y += high(sum.x), d_h[1].x += low(sum.y), d_h[1].y += high(sum.y);
      }
    };
    int step = stretch.from, turn = 0;
#pragma unroll 1
    for (; step < to; message++) {
      const int first = turn * AT_ONCE, buffer = message % 2, time = direction ? step : steps - 1 - step;
      const int live = batch_size - first_row - first - warp * 2;  // rows from this warp's first on
      const long long start = ((long long)(first_row + first + warp * 2) * places + beginning + step * onward) * H + unit;
      uint4 kept[PARTS][2];
      u32 state[PARTS][2], d_out[PARTS][2];
#pragma unroll
      for (int part = 0; part < PARTS; part++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int of = part * WARPS * 2 + i;
          const long long from = start + of * apart;
          kept[part][i] = make_uint4(0, 0, 0, 0), state[part][i] = d_out[part][i] = 0;
          if (of < live)
            kept[part][i] = *(const uint4*)(gates + from * 4), state[part][i] = *(const u32*)(before + from), d_out[part][i] = *(const u32*)(d_outputs + from);
        }
      if (step > stretch.from) wait(barriers + (message - TURNS) % BUFFERS * 8, parity_of(message - TURNS));
#pragma unroll
      for (int part = 0; part < PARTS; part++) {
        const int two = warp + part * WARPS;
        float2 d_h[2];
        gather(message, step == stretch.from, two, d_h);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int row = two * 2 + i, of = part * WARPS * 2 + i;
          const bool valid = time < memory.lengths[first + row], is_live = of < live;
          float slope[4][2];
#pragma unroll
          for (int second = 0; second < 2; second++) {
            const u32 r_z = second ? kept[part][i].z : kept[part][i].x, n_h = second ? kept[part][i].w : kept[part][i].y;
            float& d = second ? d_h[i].y : d_h[i].x;
            const float r = low(r_z), z = high(r_z), n = low(n_h), h_n = high(n_h);
            const float d_step = valid ? d + (second ? high(d_out[part][i]) : low(d_out[part][i])) : 0.f;
            const float d_n = d_step * (1.f - z) * (1.f - n * n);
            slope[2][second] = d_n * r;
            slope[0][second] = slope[2][second] * h_n * (1.f - r);
            slope[1][second] = d_step * ((second ? high(state[part][i]) : low(state[part][i])) - n) * z * (1.f - z);
            slope[3][second] = d_n;
            if (valid) d = d_step * z;
          }
          memory.own[turn][row][lane] = d_h[i];
          const long long of_gates = start * 3 - 2 * unit + of * 3 * apart;
#pragma unroll
          for (int gate = 0; gate < 4; gate++) {
            const u32 made = pack(slope[gate][0], slope[gate][1]);
            sums_of_bias[gate].x += slope[gate][0], sums_of_bias[gate].y += slope[gate][1];
            if (gate != 3) *(u32*)&memory.slopes[buffer][gate * UNITS / 8 + lane / 4][place_of_row(row)][lane % 4 * 2] = made;
            if (is_live && gate != 2) *(u32*)(d_projected + of_gates + min(gate, 2) * H) = made;
            if (is_live && gate != 3) *(u32*)(d_recurrent + of_gates + gate * H) = made;
          }
        }
      }
      show_written();
      __syncthreads();
      const u64 slopes = first_slopes + buffer * sizeof(memory.slopes[0]) / 16;
      const u32 there = address(&memory.sums[message % BUFFERS][block][0][in_message]), barrier = barriers + message % BUFFERS * 8;
      constexpr u32 NEXT_FOUR = sizeof(memory.sums[0][0][0]);  // bytes
#pragma unroll
      for (int tile = 0; tile < TILES; tile++) {
        float products[AT_ONCE / 2] = {};
        begin_products();
#pragma unroll
        for (int slice = 0; slice < SHARED_SLICES; slice++)
          multiply_rows(products, shared_weights + tile * UNITS + slice * 2 * H, slopes + (HELD + slice) * 2 * SPREAD);
#pragma unroll
        for (int slice = 0; slice < HELD; slice++) multiply_rows(products, weights[tile][slice], slopes + slice * 2 * SPREAD);
        finish_products(products);
        if (tile == 0 && message > TURNS)
          while (!is_there(barriers + (message - 1) % BUFFERS * 8, parity_of(message - 1))) {}
        u32 row[AT_ONCE / 4];  // of two units
#pragma unroll
        for (int i = 0; i < AT_ONCE / 4; i++) row[i] = pack(products[i / 2 * 4 + i % 2], products[i / 2 * 4 + 2 + i % 2]);
#pragma unroll
        for (int i = 0; i < 2; i++)
          send(in_block(there + (4 * i + q) * NEXT_FOUR, tiles + tile), in_block(barrier, tiles + tile),
               make_uint4(row[4 * i], row[4 * i + 1], row[4 * i + 2], row[4 * i + 3]));
      }
      if (step + 1 < to)
        for (int i = threadIdx.x; i < AT_ONCE * (OF_GATES + 2 * OF_STATES); i += THREADS) {  // of the step after this
          const int row = i / (OF_GATES + 2 * OF_STATES), piece = i % (OF_GATES + 2 * OF_STATES), rank = piece - OF_GATES;
          const int of = first_row + first + row;
          const long long from = ((long long)of * places + beginning + (step + 1) * onward) * H + block * UNITS;
          const u16* states = rank < OF_STATES ? before + from + rank * ASKED : d_outputs + from + (rank - OF_STATES) * ASKED;
          if (of < batch_size) ask_for(piece < OF_GATES ? gates + from * 4 + piece * ASKED : states);
        }
      turn = turn + 1 == TURNS ? 0 : turn + 1;
      if (turn == 0) step++;
    }
    for (int last = message; last < message + TURNS; last++) {
      wait(barriers + (last - TURNS) % BUFFERS * 8, parity_of(last - TURNS));
      for (int part = 0; part < PARTS; part++) {
        const int two = warp + part * WARPS, row = last % TURNS * AT_ONCE + two * 2;
        float2 d_h[2];
        gather(last, false, two, d_h);
        for (int i = 0; i < 2; i++)
          if (to < steps)
            carried_at(ticket)[(row + i) * (UNITS / 2) + lane] = d_h[i];
          else if (first_row + row + i < batch_size)
            *(u32*)(d_initial + ((size_t)direction * batch_size + first_row + row + i) * H + unit) = pack(d_h[i].x, d_h[i].y);
      }
    }
    if (to < steps) {
      for (int gate = 0; gate < 4; gate++) carried_at(ticket)[NUMBERS + gate * THREADS + threadIdx.x] = sums_of_bias[gate];
      leave(counters + 1 + ticket);
    } else {
      auto totals = (float2(*)[4][32])memory.slopes;  // which all have multiplied
      for (int gate = 0; gate < 4; gate++) totals[warp][gate][lane] = sums_of_bias[gate];
      __syncthreads();
      for (int i = threadIdx.x; i < 4 * UNITS; i += THREADS) {
        const int gate = i / UNITS, of = i % UNITS;
        float sum = 0.f;
        for (int from = 0; from < WARPS; from++) sum += of % 2 ? totals[from][gate][of / 2].y : totals[from][gate][of / 2].x;
        d_bias[(((size_t)direction * groups + stretch.group) * 4 + IN_ORDER(gate)) * H + block * UNITS + of] = sum;
      }
    }
    meet();
  }
}

#endif
