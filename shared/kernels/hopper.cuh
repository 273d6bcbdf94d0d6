// What the kernels of clusters need of a GPU of compute capability 9.0, in its own instructions.

typedef unsigned u32;
typedef unsigned short u16;
typedef unsigned long long u64;

// Two numbers of 16 bits in a word.

#if HALF
#define NARROW "f16"
__device__ float low(u32 pair) {
  float found;
  asm("{.reg .f16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, a;}" : "=f"(found) : "r"(pair));
  return found;
}
__device__ float high(u32 pair) {
  float found;
  asm("{.reg .f16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, b;}" : "=f"(found) : "r"(pair));
  return found;
}
#else
#define NARROW "bf16"
__device__ float low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
#endif

__device__ u32 pack(float first, float second) {
  u32 pair;
  asm("cvt.rn." NARROW "x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}

__device__ float sigmoid(float x) {
  float power, found;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(-1.4426950408889634f * x));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(found) : "f"(1.f + power));
  return found;
}

// 16 x 16 numbers for a product: a lane tells where eight of a row are, lane 0 to 15 the first eight and 16 to 31 the others.
__device__ uint4 matrices(u32 here) {
  uint4 found;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(found.x), "=r"(found.y), "=r"(found.z), "=r"(found.w) : "r"(here) : "memory");
  return found;
}
// 16 x 8 += (16 x 16) (16 x 8).
__device__ void multiply(float* sum, uint4 a, uint2 b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NARROW "." NARROW ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

// 64 columns of weights times 32 or 40 rows of states, by four warps at once, while these go on: a thread's sums are those
// of two columns, 8 apart, and of two rows of each eight. Weights are in registers or in shared memory, states always there,
// in matrices of 8 rows of 8 places.

// Where such matrices begin; `rows` is of all that lie above each other, after which the next 8 places follow.
__device__ u64 described(u32 here, u32 rows) { return (u64)(here % (1 << 18) / 16) | (u64)rows << 16 | (u64)8 << 32; }
__device__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
#define FOUR(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3])
#if AT_ONCE == 40
#define SUMS FOUR(0), FOUR(4), FOUR(8), FOUR(12), FOUR(16)
#define MULTIPLY "wgmma.mma_async.sync.aligned.m64n40k16.f32." NARROW "." NARROW \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19}, "
#define REGISTERS "{%20, %21, %22, %23}, %24"
#define DESCRIBED "%20, %21"
#else
#define SUMS FOUR(0), FOUR(4), FOUR(8), FOUR(12)
#define MULTIPLY "wgmma.mma_async.sync.aligned.m64n32k16.f32." NARROW "." NARROW \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
#define REGISTERS "{%16, %17, %18, %19}, %20"
#define DESCRIBED "%16, %17"
#endif
__device__ void multiply_rows(float (&sums)[AT_ONCE / 2], uint4 weights, u64 states) {
  asm volatile(MULTIPLY REGISTERS ", 1, 1, 1, 0;"
               : SUMS : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "l"(states));
}
__device__ void multiply_rows(float (&sums)[AT_ONCE / 2], u64 weights, u64 states) {
  asm volatile(MULTIPLY DESCRIBED ", 1, 1, 1, 0, 0;" : SUMS : "l"(weights), "l"(states));
}
__device__ void finish_products(float (&sums)[AT_ONCE / 2]) {
  asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" : SUMS :: "memory");
}

// Shared memory of the cluster.

__device__ u32 address(const void* here) { return (u32)__cvta_generic_to_shared(here); }
__device__ u32 in_block(u32 here, u32 block) {
  u32 there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(block));
  return there;
}
__device__ void send(u32 to, u32 barrier, uint4 data) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];"
               ::"r"(to), "r"(data.x), "r"(data.y), "r"(data.z), "r"(data.w), "r"(barrier) : "memory");
}
template <int bytes>
__device__ void send_by_engine(u32 to, u32 barrier, u32 from) {  // of what this block has shown
  asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
               ::"r"(to), "r"(from), "n"(bytes), "r"(barrier) : "memory");
}
__device__ void show_written() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ void arrived(u32 barrier, u32 bytes) {  // in this block, which wrote them itself
  asm volatile("fence.acq_rel.cta;\nmbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ void start(u32 barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
}
__device__ void show_started() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ void expect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ bool is_there(u32 barrier, u32 parity) {
  u32 found;
  asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
               : "=r"(found) : "r"(barrier), "r"(parity) : "memory");
  return found;
}
__device__ void meet() { asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory"); }

__device__ u32 read_of(u32 there) {
  u32 found;
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(found) : "r"(there) : "memory");
  return found;
}

// Between clusters, by counters in the GPU's memory that start at zero.

__device__ u32 drawn(u32* counter) {
  u32 found;
  asm volatile("atom.relaxed.gpu.global.add.u32 %0, [%1], 1;" : "=r"(found) : "l"(counter) : "memory");
  return found;
}
__device__ void show(u32* counter) { asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory"); }
__device__ u32 seen(const u32* counter) {
  u32 found;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(found) : "l"(counter) : "memory");
  return found;
}

// Within a block.

// In a register: a compiler would compute it anew in every turn.
__device__ void keep(int& value) { asm volatile("" : "+r"(value)); }

__device__ void* shared_memory() {
  extern __shared__ __align__(128) unsigned char raw[];
  return raw;
}
__device__ u32 of_lane(u32 value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }
__device__ void meet_in_warp() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }
__device__ void meet_in_pairs(int span) {  // the two warps of a span, each at a barrier of its own
  asm volatile("bar.sync %0, 64;" ::"r"(1 + span) : "memory");
}
__device__ void made_by(int threads) { asm volatile("bar.arrive 1, %0;" ::"r"(threads) : "memory"); }
__device__ void wait_for_makers(int threads) { asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory"); }
__device__ void ask_for(const void* line) { asm volatile("prefetch.global.L2 [%0];" ::"l"(line)); }
