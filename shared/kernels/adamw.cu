// A step of AdamW for many tensors, which reads and writes everything once. Each number is rounded where the ten passes
// of torch.optim.adamw with foreach=True round it, so that the bits are the same. ROWS, THREADS and PIECE are given.

struct Factors {  // rounded from float64
  float decay, mean, kept, square, root, eps, rate;
};
struct Table {
  float *weights[ROWS], *gradients[ROWS], *means[ROWS], *squares[ROWS];
  long long sizes[ROWS];
  int first[ROWS];  // block of a tensor, each of whose blocks has a piece
  int count;
  Factors by;
};

__device__ void move(float &weight, float gradient, float &mean, float &square, const Factors &by) {
  mean = by.mean < 0.5f ? fmaf(by.mean, gradient - mean, mean) : fmaf(1.0f - by.mean, mean - gradient, gradient);
  square = fmaf(by.square, gradient * gradient, square * by.kept);
  weight = fmaf(by.rate, mean / (sqrtf(square) / by.root + by.eps), weight * by.decay);
}

__device__ float4 &four(float *array, long long place) { return *(float4 *)(array + place); }

extern "C" __global__ void __launch_bounds__(THREADS) adamw(const __grid_constant__ Table table) {
  const int block = blockIdx.x;
  int row = 0;
  for (int step = 64; step > 0; step /= 2)
    if (row + step < table.count && table.first[row + step] <= block) row += step;
  float *const weights = table.weights[row], *const gradients = table.gradients[row];
  float *const means = table.means[row], *const squares = table.squares[row];
  const long long start = (long long)(block - table.first[row]) * PIECE, size = table.sizes[row];
  const long long end = start + PIECE < size ? start + PIECE : size, whole = end - end % 4;
  for (long long place = start + 4 * threadIdx.x; place < whole; place += 4 * THREADS) {
    float4 weight = four(weights, place), mean = four(means, place), square = four(squares, place);
    const float4 gradient = four(gradients, place);
    move(weight.x, gradient.x, mean.x, square.x, table.by);
    move(weight.y, gradient.y, mean.y, square.y, table.by);
    move(weight.z, gradient.z, mean.z, square.z, table.by);
    move(weight.w, gradient.w, mean.w, square.w, table.by);
    four(weights, place) = weight, four(means, place) = mean, four(squares, place) = square;
  }
  const long long last = whole + threadIdx.x;  // of up to three
  if (last < end) move(weights[last], gradients[last], means[last], squares[last], table.by);
}
