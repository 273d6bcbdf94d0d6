// The forward pass of gru_cluster.cu for more rows than 16, 40 at a time, once or twice a step: tensor cores take the
// weights from registers and the states from shared memory, where warps of 16 rows would read them again and again.
//
// Four warps multiply by a gate's weights of all units of the block. A quarter of the places has its weights in shared
// memory, which leaves registers to make states with. Sums go through shared memory, too, so that a warp makes whole rows
// of the block's units, four, and reads and writes whole lines. Another warp sends them, by the copy engine.
//
// Where rows take two turns, three buffers are enough. The states of a turn overwrite those that were multiplied in the
// turn before. So they are sent after all states of that turn's next step have come: whoever sent these had multiplied.

#if FORWARD && ROWS > 16

constexpr int SLICES = H / 16, SHARED_SLICES = SLICES / 4, HELD = SLICES - SHARED_SLICES;  // of 16 places
constexpr int MAKERS = AT_ONCE / 4, SENDER = MAKERS, TOLD = (MAKERS + 1) * 32;  // warps, a warp, and threads of both
constexpr int SENT = AT_ONCE * UNITS * 2;  // bytes to each block

struct Memory {
  u16 states[BUFFERS][H / 8][AT_ONCE][8];
  u16 weights[2 * SHARED_SLICES][3 * UNITS][8];
  float sums[3][AT_ONCE][UNITS];  // of a row, its units in an order of its own that spreads them over the banks
  float2 own[TURNS][AT_ONCE][UNITS / 2];  // the states of this block's units, unrounded
  float bias[4][UNITS];
  int lengths[TURNS * AT_ONCE];
  u64 barriers[BUFFERS];
  u32 ticket;
};
// States are messages, numbered by their turns; those that a stretch starts with are a block's own.
__device__ u32 parity_of(int message) { return message / BUFFERS % 2; }
__device__ int place_in_row(int row, int unit) { return unit ^ (row / 2 % 4 * 8 + row % 2 * 4); }

KERNEL gru_forward(const u16* __restrict__ projected, const u16* __restrict__ initial, const u16* __restrict__ weight,
                   const float* __restrict__ bias, const int* __restrict__ lengths, u16* outputs, u16* final, u16* before,
                   u16* gates, float* carried, u32* counters, int batch_size, int steps, int directions) {
  static_assert(sizeof(Memory) == SHARED && UNITS == 64);
  Memory& memory = *(Memory*)shared_memory();
  int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32, q = lane % 4;
  const int block = blockIdx.x % BLOCKS, clusters = gridDim.x / BLOCKS, groups = (batch_size + ROWS - 1) / ROWS;
  const int gate = warp / 4, column = warp % 4 * 16 + lane / 4;  // this thread multiplies by two columns, 8 apart
  const int row = warp * 4, pair = block * UNITS + lane * 2;  // and makes two units of each of four rows
  const u32 barriers = address(memory.barriers);
  const u64 shared_weights = described(address(memory.weights[0][gate * UNITS]), 3 * UNITS);
  const u64 first_states = described(address(memory.states), AT_ONCE);
  const int ticket = ticket_of(&memory.ticket, counters, barriers), all = groups * directions * steps;
  const int share = (all + clusters - 1) / clusters, begin = ticket * share;  // of the line
  int message = 0;
#pragma unroll 1
  for (int end = min(begin + share, all); end > begin;) {
    const Stretch stretch = last_of(begin, end, steps, groups);
    const int direction = stretch.direction, first_row = stretch.group * ROWS, to = stretch.to;
    end -= to - stretch.from;
    if (stretch.from) wait_for_left(counters + ticket);  // states

    const u16* starts = initial + (size_t)direction * batch_size * H;
    const float* others = carried + (size_t)(ticket - 1) * ROWS * H;
    const u16* all_weights = weight + (size_t)direction * 3 * H * H;
    for (int i = threadIdx.x; i < ROWS * H / 8; i += THREADS) {
      const int eight = i / ROWS, of = i % ROWS, from = min(first_row + of, batch_size - 1);
      const float* those = others + of * H + eight * 8;
      *(uint4*)memory.states[(message + of / AT_ONCE) % BUFFERS][eight][of % AT_ONCE] =
          stretch.from ? make_uint4(pack(those[0], those[1]), pack(those[2], those[3]), pack(those[4], those[5]), pack(those[6], those[7]))
                       : *(const uint4*)(starts + (size_t)from * H + eight * 8);
    }
    for (int i = threadIdx.x; i < 2 * SHARED_SLICES * 3 * UNITS; i += THREADS) {
      const int eight = i / (3 * UNITS), of = i % (3 * UNITS), from = of / UNITS * H + block * UNITS + of % UNITS;
      *(uint4*)memory.weights[eight][of] = *(const uint4*)(all_weights + (size_t)from * H + (2 * HELD + eight) * 8);
    }
    for (int i = threadIdx.x; i < 4 * UNITS; i += THREADS)
      memory.bias[i / UNITS][i % UNITS] = bias[(direction * 4 + i / UNITS) * H + block * UNITS + i % UNITS];
    for (int i = threadIdx.x; i < ROWS; i += THREADS) memory.lengths[i] = lengths[min(first_row + i, batch_size - 1)];
    for (int i = threadIdx.x; i < ROWS * UNITS / 2; i += THREADS) {
      const int of = i / (UNITS / 2), unit = block * UNITS + i % (UNITS / 2) * 2, from = min(first_row + of, batch_size - 1);
      const u32 start = *(const u32*)(starts + (size_t)from * H + unit);
      memory.own[of / AT_ONCE][of % AT_ONCE][unit % UNITS / 2] =
          stretch.from ? *(const float2*)(others + of * H + unit) : make_float2(low(start), high(start));
    }
    uint4 weights[HELD];
#pragma unroll
    for (int slice = 0; slice < HELD; slice++) {
      const u16* w = all_weights + ((size_t)gate * H + block * UNITS + column) * H + slice * 16 + q * 2;
      weights[slice] = make_uint4(*(const u32*)w, *(const u32*)(w + 8 * H), *(const u32*)(w + 8), *(const u32*)(w + 8 * H + 8));
    }
    show_written();
    __syncthreads();
    if (threadIdx.x < TURNS) arrived(barriers + (message + threadIdx.x) % BUFFERS * 8, BYTES);

    const int places = steps * directions, onward = direction ? -directions : directions;  // of a row; to the next step
    const int beginning = direction ? places - 1 : 0;
    const long long apart = (long long)places * H;  // from a row's outputs to the next one's
    if (TRAINS || H == 256) keep(lane);  // else registers are too few
    int step = stretch.from, turn = 0;
#pragma unroll 1
    for (; step < to; message++) {
      const u32 now = message % BUFFERS, next = (message + TURNS) % BUFFERS;
      wait(barriers + now * 8, parity_of(message));
      const u64 states = first_states + now * sizeof(memory.states[0]) / 16;
      float products[AT_ONCE / 2] = {};
      begin_products();
#pragma unroll
      for (int slice = 0; slice < SHARED_SLICES; slice++)
        multiply_rows(products, shared_weights + slice * 2 * 3 * UNITS, states + (HELD + slice) * 2 * AT_ONCE);
#pragma unroll
      for (int slice = 0; slice < HELD; slice++) multiply_rows(products, weights[slice], states + slice * 2 * AT_ONCE);
      finish_products(products);
      const int live = warp < MAKERS ? batch_size - (first_row + turn * AT_ONCE + row) : 0;  // of this thread's rows
      const long long place = (long long)(first_row + turn * AT_ONCE + row) * places + (beginning + step * onward);  // of the first row
      u32 x[4][3] = {};
      const u16* from = projected + place * 3 * H + pair;
#pragma unroll
      for (int i = 0; i < 4; i++, from += 3 * apart)
        for (int of = 0; i < live && of < 3; of++) x[i][of] = *(const u32*)(from + of * H);
      if (TURNS > 1) __syncthreads();  // all have read the sums of the turn before
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int of = q * 2 + i % 2;  // of eight
        float* to = &memory.sums[gate][of][place_in_row(of, column + i / 2 * 8)];
#pragma unroll
        for (int eight = 0; eight < AT_ONCE / 8; eight++) to[eight * 8 * UNITS] = products[eight * 4 + i];
      }
      __syncthreads();
      if (warp < MAKERS) {
        const int time = direction ? steps - 1 - step : step;
        long long at = place * H + pair;
        float2 biases[4];
        for (int of = 0; of < 4; of++) biases[of] = *(const float2*)&memory.bias[of][lane * 2];
#pragma unroll
        for (int i = 0; i < 4; i++, at += apart) {
          const bool valid = time < memory.lengths[turn * AT_ONCE + row + i];
          float2 h = memory.own[turn][row + i][lane], sums[3];
          const int place_of_pair = place_in_row(row % 8, lane * 2) ^ place_in_row(i, 0);
          for (int of = 0; of < 3; of++) sums[of] = *(const float2*)&memory.sums[of][row + i][place_of_pair];
          const u32 last = pack(h.x, h.y);
          u32 kept[2][2];
#pragma unroll
          for (int second = 0; second < 2; second++) {
            auto of = [&](float2 two) { return second ? two.y : two.x; };
            auto read = [&](u32 two) { return second ? high(two) : low(two); };
            const float r = sigmoid(read(x[i][0]) + of(sums[0]) + of(biases[0]));
            const float z = sigmoid(read(x[i][1]) + of(sums[1]) + of(biases[1]));
            const float h_n = of(sums[2]) + of(biases[3]);
            const float n = tanh_of(read(x[i][2]) + of(biases[2]) + r * h_n);
            if (valid) (second ? h.y : h.x) = n + z * (of(h) - n);
            kept[second][0] = pack(r, z), kept[second][1] = pack(n, h_n);
          }
          memory.own[turn][row + i][lane] = h;
          const u32 made = pack(h.x, h.y);
          *(u32*)&memory.states[next][pair / 8][row + i][pair % 8] = made;
          if (i >= live) continue;
          *(u32*)(outputs + at) = valid ? made : 0;
#if TRAINS
          *(u32*)(before + at) = last;
          *(uint4*)(gates + at * 4) = make_uint4(kept[0][0], kept[0][1], kept[1][0], kept[1][1]);
#endif
        }
        if (step + 1 < to) made_by(TOLD);
        const int of = lane / 3;  // a line of the inputs of the step after this, by each of twelve lanes
        if (step + 1 < to && of < min(live, 4))
          ask_for(projected + ((place + (long long)of * places + onward) * 3 + lane % 3) * H + block * UNITS);
      }
      if (warp == SENDER && step + 1 < to) {
        wait_for_makers(TOLD);
        show_written();
        if (TURNS > 1)
          while (!is_there(barriers + (message + 1) % BUFFERS * 8, parity_of(message + 1))) {}
        const u32 from = address(memory.states[next][block * UNITS / 8]), barrier = barriers + next * 8;
        if (lane == block)
          arrived(barrier, SENT);
        else if (lane < BLOCKS)
          send_by_engine<SENT>(in_block(from, lane), in_block(barrier, lane), from);
      }
      turn = turn + 1 == TURNS ? 0 : turn + 1;
      if (turn == 0) step++;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < ROWS * UNITS / 2; i += THREADS) {
      const int of = i / (UNITS / 2), unit = block * UNITS + i % (UNITS / 2) * 2;
      const float2 h = memory.own[of / AT_ONCE][of % AT_ONCE][unit % UNITS / 2];
      if (to < steps)
        *(float2*)(carried + ((size_t)ticket * ROWS + of) * H + unit) = h;
      else if (first_row + of < batch_size)
        *(u32*)(final + ((size_t)direction * batch_size + first_row + of) * H + unit) = pack(h.x, h.y);
    }
    if (to < steps) leave(counters + 1 + ticket);  // states
    meet();
  }
}

#endif
